#ifndef EVSERVE_HTTP_FETCH_KEPT_H
#define EVSERVE_HTTP_FETCH_KEPT_H

/* Connections that are kept for the next request: which request may have which, and for how long. */

#include <stddef.h>
#include <stdint.h>

struct fetch;

enum { FETCH_KEPT_NAME_MAX = 900 }; /* bytes of the name of a kept connection; one with a longer name is not kept */

/* The name for core/kept_links.h of the connection that this request needs: two requests have the same one if they go
 * to the same server, and tell TLS the same. Returns its length, 0 if it is too long. */
size_t fetch_kept_name(const struct fetch *fetch, char name[FETCH_KEPT_NAME_MAX]);

/* How long to keep the connection of a response that is complete: for less than the server does, if it has said so
 * ("Keep-Alive: timeout=5"). */
uint32_t fetch_kept_ms(const struct fetch *fetch);

#endif
