#ifndef EVSERVE_HTTP_REQUEST_ID_H
#define EVSERVE_HTTP_REQUEST_ID_H

/* The id of a request: what its lines in all logs have in common, those of a proxy in front included. It is made when
 * somebody first asks for it, so a request whose id nobody wants pays nothing. */

#include <stdint.h>

struct exchange;

enum {
    REQUEST_ID_DIGITS = 32, /* of an id that is made here: 128 random bits, as in nginx */
    REQUEST_ID_MAX = 128,   /* bytes of one that a proxy has given */
    REQUEST_ID_POOL = 256,  /* random bytes that one system call fetches, for 16 ids */
};

/* Random bytes for the ids of one server: zeros at first. */
struct request_id_pool {
    uint8_t bytes[REQUEST_ID_POOL];
    uint16_t left;    /* of them that are unused */
    uint64_t counter; /* for ids without randomness, should the kernel ever give none */
};

/* The id, ended with NUL: the one that request_id_take() found, or else one of REQUEST_ID_DIGITS hexadecimal digits.
 * Valid as long as the exchange's head, and the same until then. */
const char *request_id(struct exchange *exchange);

/* The client is a trusted proxy: if it has sent one well-formed X-Request-Id (1 to REQUEST_ID_MAX letters, digits and
 * "-_.~=:+@", the first a letter or a digit), it is the id, and the response repeats it. Once the head is parsed. */
void request_id_take(struct exchange *exchange);

#endif
