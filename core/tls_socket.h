#ifndef EVSERVE_CORE_TLS_SOCKET_H
#define EVSERVE_CORE_TLS_SOCKET_H

/* The socket below a TLS session, as OpenSSL sees it: a BIO whose system calls are those of core/sys.h. Reads come
 * from the socket. Writes are gathered, and go out when the session has said all it has to say: one system call for
 * any number of records. */

#include "core/write_buffer.h"

#include <stdbool.h>
#include <stddef.h>

struct bio_method_st; /* OpenSSL's BIO_METHOD */
struct bio_st;        /* OpenSSL's BIO */
struct transport;

/* A record of content has about 30 bytes that are not content; but a peer may send nothing but key updates, or a byte
 * of content in each record. Such bytes are bounded in each read of the session, so that it takes about a
 * millisecond. */
enum {
    TLS_OVERHEAD_MAX = 16384, /* so many are received in one read, */
    TLS_OVERHEAD_LOW = 2048,  /* and in the next one, if the last came to its bound */
};

struct tls_socket {
    struct transport *transport; /* whose fd it is */
    struct write_buffer out;     /* bytes on their way to the peer */
    size_t overhead;             /* bytes received in this read, less the content that has come of them */
    int error;                   /* -errno of a call that has failed for good, or 0 */
    bool has_received : 1;       /* the peer has sent something */
    bool is_plain : 1;           /* and it began like a request in plain HTTP */
    bool is_dry : 1;             /* the last read took all that was there */
    bool is_wasteful : 1;        /* the last read came to the bound of overhead */
    bool is_looked_at : 1;       /* nobody reads: the socket's own end is left to the next read */
    bool is_at_end : 1;          /* the peer has shut its side */
};

/* What OpenSSL has to know of such BIOs. NULL without memory. Outlives the BIOs; freed by BIO_meth_free(). */
struct bio_method_st *tls_socket_method(void);
void tls_socket_method_free(struct bio_method_st *method);

/* Make a BIO of a socket, which outlives it. NULL without memory. */
struct bio_st *tls_socket_bio(const struct bio_method_st *method, struct tls_socket *socket);

/* A read of the session begins; and it has brought content, len bytes. */
void tls_socket_begin_read(struct tls_socket *socket);
void tls_socket_note_content(struct tls_socket *socket, size_t len);

/* Send what is gathered. Returns 0 or -errno; what is left in out waits for room. */
int tls_socket_flush(struct tls_socket *socket);

#endif
