#ifndef EVSERVE_CORE_TLS_ROSTER_H
#define EVSERVE_CORE_TLS_ROSTER_H

/* The certificates of a context, and which of them clients are shown for which name. Built up by one thread; reading is
 * for any thread once nothing is added any more. Begins as zeroes. */

#include "core/tls_names.h"

#include <stdbool.h>
#include <stddef.h>

struct ssl_ctx_st; /* OpenSSL's SSL_CTX */
struct tls_host;
struct tls_identity;

struct tls_roster {
    struct tls_identity **identities; /* identity_count of them, one reference each, in the order of adding */
    size_t identity_count;            /* of identities */
    struct tls_host **hosts;          /* host_count of them, owned */
    size_t host_count;                /* of hosts */
    struct tls_host *fallback;        /* which of them is for clients that name no server, or an unknown one */
    bool asks_clients;                /* some of them ask clients for certificates */
    struct tls_names names;           /* and which of them a name belongs to */
};

/* Whether any client would be shown identity: 0, -EEXIST if earlier ones have all of its names, or -EINVAL if it has
 * none; with a text in err. */
int tls_roster_check(const struct tls_roster *roster, const struct tls_identity *identity, char *err, size_t errlen);

/* Add what was read, and take over the reference to it. The first one is the default. Returns 0, or -ENOMEM: then the
 * roster is good for nothing but tls_roster_done(). */
int tls_roster_add(struct tls_roster *roster, struct tls_identity *identity);

/* Once the hosts are open: tls_context_separates(). */
bool tls_roster_separates(const struct tls_roster *roster, const struct ssl_ctx_st *ctx, const char *name, size_t len);

void tls_roster_done(struct tls_roster *roster);

#endif
