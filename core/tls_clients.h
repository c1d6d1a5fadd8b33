#ifndef EVSERVE_CORE_TLS_CLIENTS_H
#define EVSERVE_CORE_TLS_CLIENTS_H

/* What the TLS connections of one reactor to other servers share: contexts by their settings, so that files are read
 * once, the authorities that the system trusts, and sessions to resume. One thread. Built without TLS (EVSERVE_TLS=OFF,
 * or without libssl-dev), tls_clients_create() fails with -ENOTSUP and says so. */

#include "core/tls_client_context.h"

#include <stdbool.h>
#include <stddef.h>

struct log;
struct tls_client_context;
struct tls_clients;
struct tls_pool;

enum {
    TLS_CLIENTS_MAX = 32,     /* contexts kept: then the one that was not used for longest goes */
    TLS_CLIENTS_CHECK_S = 10, /* how often their files are looked at */
};

/* Have OpenSSL loaded and set up, with what it reads for that, before a sandbox keeps it away. Returns whether it
 * is. */
bool tls_clients_prepare(void);

/* Make one, and have OpenSSL loaded. log is borrowed, and may be NULL. Returns 0, or -errno with a text in err. */
int tls_clients_create(struct tls_clients **clients, const struct log *log, char *err, size_t errlen);

/* Connections must not be used afterwards: close them first. NULL is allowed. */
void tls_clients_destroy(struct tls_clients *clients);

/* The context for settings, made if it is not there, or if its files have changed; what cannot be read then is logged,
 * and the former one used. Borrowed until the next call. Returns 0, or -errno with a text in err that names the
 * setting and its file. */
int tls_clients_get(struct tls_clients *clients, const struct tls_client_settings *settings,
                    struct tls_client_context **context, char *err, size_t errlen);

/* For tls_client_opening. */
struct tls_pool *tls_clients_pool(const struct tls_clients *clients);

/* Forget everything that was read from files: what is opened from now on reads it again. Sessions go, too. */
void tls_clients_forget(struct tls_clients *clients);

#endif
