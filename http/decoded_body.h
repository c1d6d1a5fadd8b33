#ifndef EVSERVE_HTTP_DECODED_BODY_H
#define EVSERVE_HTTP_DECODED_BODY_H

/* Request bodies with a Content-Encoding (RFC 9110 section 8.4), decoded before the handler sees them. max_body holds
 * for what was decoded as well as for what was sent, and a body that decodes to far more than was sent takes its turns
 * with other connections. */

#include <stdbool.h>
#include <stddef.h>

struct exchange;

enum {
    DECODED_BODY_PIECE = 16 << 10, /* bytes of one piece */
    DECODED_BODY_TURN = 256 << 10, /* bytes that are decoded for one request before others have their turn */
};

/* Look at the Content-Encoding of a request that has a body, none of which was taken, and whose handler takes bodies.
 * Without one nothing changes. With one that can be decoded, the functions of http/exchange.h for bodies give decoded
 * content from now on, and a handler with BODY_WHOLE is called when all of it is there; Content-Encoding and
 * Content-Length, which say nothing about that content, are not among the fields any more.
 *
 * Returns 0, or the status of a request that is to be refused, with *reason: 415 for a coding that is not known, not
 * there, or one of several, and exchange->fields then has what codings are (section 15.5.16); 503 for no memory, or if
 * decode_streams bodies are being decoded already. */
int decoded_body_begin(struct exchange *exchange, const char **reason);

enum { DECODED_CODINGS_MAX = 32 }; /* bytes of what decoded_body_codings() writes, with its NUL */

/* Write the codings that can be decoded, as Accept-Encoding lists them: "gzip, br"; "identity" if there are none. */
void decoded_body_codings(char *text);

/* Load what is needed to decode, before a sandbox forbids that. */
void decoded_body_load(void);

#endif
