#ifndef EVSERVE_HTTP_AUTHORITY_H
#define EVSERVE_HTTP_AUTHORITY_H

/* A host with its port, as Host, targets and forwarded fields have it. No state; any thread. */

#include <stdbool.h>
#include <stddef.h>

/* Whether text is host [":" port], the host not empty (RFC 9110 section 4.2.1): a registered name, or an IPv6 address
 * in brackets. User information, which may look like a host, makes it none. */
bool authority_is_valid(const char *text, size_t len);

/* Bytes of the host in a valid authority: without the colon and the port. Brackets are part of it. */
size_t authority_host_len(const char *text, size_t len);

#endif
