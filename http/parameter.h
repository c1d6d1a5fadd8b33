#ifndef EVSERVE_HTTP_PARAMETER_H
#define EVSERVE_HTTP_PARAMETER_H

/* Parameters of field values (RFC 9110 section 5.6.6): "value; name=x; other=\"y\"". No state, no allocation; any
 * thread. Texts come from the network and have no NUL at their end. */

#include <stdbool.h>
#include <stddef.h>

/* Find a parameter (name in any case) of a value of len bytes, and write its value to out, which has room for len
 * bytes. Of several of one name it is the first. In quotes, \" and \\ stand for the second character and other
 * backslashes for themselves, since some clients send paths. Returns its length, or -1 when there is none or what
 * stands before it is malformed. */
int parameter_find(const char *text, size_t len, const char *name, char *out);

/* Whether what stands before the parameters is value, in any case. */
bool parameter_value_is(const char *text, size_t len, const char *value);

/* Decode an extended value (RFC 8187 section 3.2.1), such as UTF-8'en'caf%C3%A9, where it lies: it becomes UTF-8. The
 * charset is UTF-8 or ISO-8859-1. Returns the new length, not above len, or -1 for what is malformed, is not in its
 * charset, or has control characters. */
int parameter_decode_extended(char *text, size_t len);

#endif
