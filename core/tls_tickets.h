#ifndef EVSERVE_CORE_TLS_TICKETS_H
#define EVSERVE_CORE_TLS_TICKETS_H

/* The keys of session tickets (RFC 5077, RFC 8446 section 4.6.1), shared by all threads and by successive contexts,
 * so that clients resume after a reload. A key makes tickets for six hours and opens them for six more; then it is
 * wiped, and what was recorded of connections that it protected cannot be opened any more. A ticket is not opened if
 * the client's certificate has expired since. Any thread may call any function. */

struct ssl_ctx_st; /* OpenSSL's SSL_CTX */
struct tls_tickets;

enum { TICKET_KEY_S = 6 * 3600 }; /* how long a key makes tickets, and then opens them; a ticket may be used so long */

/* Make the keys, with one reference. NULL without memory, or without random bytes. */
struct tls_tickets *tls_tickets_create(void);
struct tls_tickets *tls_tickets_ref(struct tls_tickets *tickets);
void tls_tickets_put(struct tls_tickets *tickets); /* NULL is allowed */

/* Let these keys make and open the tickets of all sessions of ctx, which must not outlive them. Returns 0, or
 * -ENOMEM. */
int tls_tickets_use(struct tls_tickets *tickets, struct ssl_ctx_st *ctx);

/* For the program that takes the place of this one: a pipe with the keys, to be read once (sys_pipe.h). Returns its fd,
 * the caller's to close, or -errno. */
int tls_tickets_pass(struct tls_tickets *tickets);

/* Go on with the keys in such a pipe, as old as they are. Returns 0, or -EINVAL if there are none, or none of a program
 * on this machine that has run since it was booted, and the keys stay as they are. fd stays the caller's. */
int tls_tickets_take(struct tls_tickets *tickets, int fd);

#endif
