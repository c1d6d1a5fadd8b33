#ifndef EVSERVE_HTTP_RULES_CREDENTIALS_H
#define EVSERVE_HTTP_RULES_CREDENTIALS_H

/* The value of an Authorization field of the Basic scheme (RFC 7617): base64 of "name:password". No allocation; any
 * thread. */

#include <stdbool.h>
#include <stddef.h>

enum { CREDENTIALS_MAX = 1024 }; /* bytes of name, colon and password */

/* Slices of text: they are valid as long as the struct stays where it is. */
struct credentials {
    const char *name, *password; /* each ends with NUL */
    size_t name_len, password_len;
    char text[CREDENTIALS_MAX + 4]; /* a decoder may need more room than its result */
};

/* Read a field value. Returns false for another scheme and for what is malformed: no base64, no colon, an empty name,
 * control characters, more than CREDENTIALS_MAX bytes. Wipe the struct with credentials_wipe() after use. */
bool credentials_read(struct credentials *credentials, const char *value, size_t len);

/* Copy what was read. */
void credentials_copy(struct credentials *copy, const struct credentials *credentials);

void credentials_wipe(struct credentials *credentials);

#endif
