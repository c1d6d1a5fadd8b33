#ifndef EVSERVE_CORE_TLS_SESSIONS_H
#define EVSERVE_CORE_TLS_SESSIONS_H

/* Sessions with servers that may be resumed: the next handshake with the same server then costs it, and us, no
 * signature. Only a connection that would check the same things of the same server gets one. One thread. */

#include <stdint.h>

struct ssl_session_st; /* OpenSSL's SSL_SESSION */
struct tls_sessions;

enum {
    TLS_SESSIONS_MAX = 256,     /* kept in all: then the oldest one goes */
    TLS_SESSIONS_OF_SERVER = 4, /* and of one server */
    TLS_SESSION_KEPT_S = 3600,  /* for so long: a certificate that is no longer trusted is noticed by then */
};

/* NULL without memory. */
struct tls_sessions *tls_sessions_create(void);
void tls_sessions_destroy(struct tls_sessions *sessions); /* NULL is allowed */

/* Keep a session, one reference of which is taken over, with the number of its context and a text that says which
 * server it is with. Without memory it is dropped. */
void tls_sessions_put(struct tls_sessions *sessions, uint64_t context, const char *server,
                      struct ssl_session_st *session);

/* The latest session for these two, as a reference; NULL: there is none, or none that is still good. One of TLS 1.3 is
 * used once (RFC 8446, appendix C.4), and no longer kept. */
struct ssl_session_st *tls_sessions_take(struct tls_sessions *sessions, uint64_t context, const char *server);

/* Drop those of a server: the last one has led to nothing. */
void tls_sessions_forget(struct tls_sessions *sessions, uint64_t context, const char *server);

#endif
