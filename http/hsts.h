#ifndef EVSERVE_HTTP_HSTS_H
#define EVSERVE_HTTP_HSTS_H

/* HTTP Strict Transport Security (RFC 6797): a field of responses over TLS, by which browsers keep to HTTPS. */

#include <stddef.h>
#include <stdint.h>

enum { HSTS_LINE_MAX = 96 }; /* bytes of the field line */

struct hsts {
    uint8_t len;              /* of line; 0: there is none */
    char line[HSTS_LINE_MAX]; /* "Strict-Transport-Security: max-age=31536000\r\n", not ended by NUL */
};

/* Make the field line of a text: "365d", in whole days, hours, minutes or seconds, at most ten years; "365d;
 * includeSubDomains", to which "; preload" may be added; or "off". "0s" makes browsers forget. Returns 0, or -EINVAL
 * with a text in err that says what is wrong, and hsts as it was. */
int hsts_parse(struct hsts *hsts, const char *text, char *err, size_t errlen);

#endif
