#ifndef EVSERVE_CORE_TLS_POOL_H
#define EVSERVE_CORE_TLS_POOL_H

/* Memory that the TLS connections of one reactor lend each other for the length of a call: an idle connection holds
 * none of it. One thread. */

#include "core/write_buffer.h"

#include <stddef.h>

struct bio_method_st; /* OpenSSL's BIO_METHOD */

enum {
    TLS_RECORD_BYTES = 16384, /* content of a record at most (RFC 8446, section 5.1) */
    TLS_RECORDS = 4,          /* records that are made for one system call: tests/bench/README.md */
    /* The same with headers, padding and tags, whatever the cipher; a handshake with a long chain may need more. */
    TLS_OUT_BYTES = TLS_RECORDS * (TLS_RECORD_BYTES + 384),
};

struct tls_pool {
    char *plain;                  /* TLS_RECORD_BYTES, where small pieces are gathered into one record */
    char *spare_out;              /* block for records on their way out, or NULL while it is lent */
    size_t spare_capacity;        /* bytes of it */
    struct bio_method_st *method; /* of tls_socket.c */
    const char *plain_reply;      /* what a client reads that sends plain HTTP; static text, or NULL */
    char failure[256];            /* why a handshake has failed */
};

/* Make a pool, after a tls_context, which loads OpenSSL. NULL without memory. */
struct tls_pool *tls_pool_create(const char *plain_reply);
void tls_pool_destroy(struct tls_pool *pool); /* NULL is allowed */

/* Lend a block to an empty queue that has none. Returns 0 or -ENOMEM. */
int tls_pool_lend(struct tls_pool *pool, struct write_buffer *out);

/* Take the block back; what still lies in it moves to memory that is as large as it has to be. Without memory for
 * that the block stays where it is. */
void tls_pool_settle(struct tls_pool *pool, struct write_buffer *out);

#endif
