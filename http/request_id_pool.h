#ifndef EVSERVE_HTTP_REQUEST_ID_POOL_H
#define EVSERVE_HTTP_REQUEST_ID_POOL_H

/* What services and exchanges hold of ids: http/request_id.h makes and takes them. */

#include <stdint.h>

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

#endif
