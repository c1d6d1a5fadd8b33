/* Happy path: the context is found among a few, the latest one first.
 *
 * Failure modes: those of making one; nothing is remembered of them, so the next connection tries again. */

#include "core/tls_clients.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/sys.h"
#include "core/tls_authorities.h"
#include "core/tls_openssl.h"
#include "core/tls_pool.h"
#include "core/tls_sessions.h"
#include "core/tls_settings.h"

#include <errno.h>
#include <string.h>

#ifdef EVSERVE_HAS_TLS

struct known_client {
    struct tls_client_context *context; /* one reference */
    int64_t checked_s;                  /* when its files were looked at, of the wall clock */
};

struct tls_clients {
    const struct log *log;
    struct tls_pool *pool;
    struct tls_sessions *sessions;
    struct x509_store_st *authorities;         /* of the system; NULL until they are needed */
    uint64_t made;                             /* contexts so far: their numbers */
    struct known_client list[TLS_CLIENTS_MAX]; /* count of them, in the order of their last use, the latest first */
    size_t count;
};

bool tls_clients_prepare(void)
{
    char err[256];
    int error;
    SSL_CTX *ctx = tls_openssl_load(err, sizeof err) < 0 ? NULL
                                                         : tls_settings_client_ctx(NULL, &error, err, sizeof err);
    if (ctx != NULL) {
        SSL_CTX_free(ctx);
    }
    ERR_clear_error();
    return ctx != NULL;
}

int tls_clients_create(struct tls_clients **clients, const struct log *log, char *err, size_t errlen)
{
    int rv = tls_openssl_load(err, errlen);
    if (rv < 0) {
        return rv;
    }
    struct tls_clients *made = mem_zalloc(sizeof *made);
    if (made != NULL) {
        made->log = log;
        made->pool = tls_pool_create(NULL);
        made->sessions = tls_sessions_create();
        ERR_clear_error();
    }
    if (made == NULL || made->pool == NULL || made->sessions == NULL) {
        tls_clients_destroy(made);
        return error_text(err, errlen, -ENOMEM, "out of memory");
    }
    *clients = made;
    return 0;
}

static void forget_contexts(struct tls_clients *clients)
{
    while (clients->count > 0) {
        tls_client_context_put(clients->list[--clients->count].context);
    }
    tls_authorities_free(clients->authorities);
    clients->authorities = NULL;
}

void tls_clients_destroy(struct tls_clients *clients)
{
    if (clients != NULL) {
        forget_contexts(clients);
        tls_sessions_destroy(clients->sessions);
        tls_pool_destroy(clients->pool);
        mem_free(clients);
    }
}

void tls_clients_forget(struct tls_clients *clients)
{
    forget_contexts(clients); /* numbers go on, so sessions of before are not found any more, and age away */
}

/* Returns 0, or -errno with a text in err. */
static int make_client(struct tls_clients *clients, const struct tls_client_settings *settings,
                       struct tls_client_context **context, char *err, size_t errlen)
{
    bool needs_system = !settings->is_unverified && settings->ca_file == NULL && settings->ca_pem == NULL;
    int rv = needs_system && clients->authorities == NULL ? tls_authorities_find(&clients->authorities, err, errlen)
                                                          : 0;
    return rv < 0 ? rv
                  : tls_client_context_create(context, settings, clients->authorities, clients->sessions,
                                              ++clients->made, clients->log, err, errlen);
}

/* Make it the first one. */
static struct known_client *bring_to_front(struct tls_clients *clients, size_t n)
{
    struct known_client known = clients->list[n];
    memmove(&clients->list[1], &clients->list[0], n * sizeof known);
    clients->list[0] = known;
    return &clients->list[0];
}

/* If its files have changed, make another one in its place. */
static void renew_client(struct tls_clients *clients, struct known_client *known,
                         const struct tls_client_settings *settings)
{
    int64_t now_s = sys_wall_time_s();
    if (now_s < known->checked_s + TLS_CLIENTS_CHECK_S && now_s >= known->checked_s) {
        return;
    }
    known->checked_s = now_s;
    if (!tls_client_context_has_changed(known->context)) {
        return;
    }
    char reason[512];
    struct tls_client_context *context;
    if (make_client(clients, settings, &context, reason, sizeof reason) < 0) {
        log_write(clients->log, LOG_ERROR, "TLS to other servers goes on with what was read before: %s", reason);
        return;
    }
    tls_client_context_put(known->context);
    known->context = context;
}

int tls_clients_get(struct tls_clients *clients, const struct tls_client_settings *settings,
                    struct tls_client_context **context, char *err, size_t errlen)
{
    for (size_t i = 0; i < clients->count; i++) {
        if (tls_client_context_fits(clients->list[i].context, settings)) {
            struct known_client *known = bring_to_front(clients, i);
            renew_client(clients, known, settings);
            *context = known->context;
            return 0;
        }
    }
    struct known_client made = {.checked_s = sys_wall_time_s()};
    int rv = make_client(clients, settings, &made.context, err, errlen);
    if (rv < 0) {
        return rv;
    }
    if (clients->count == TLS_CLIENTS_MAX) {
        tls_client_context_put(clients->list[--clients->count].context);
    }
    clients->list[clients->count] = made;
    *context = bring_to_front(clients, clients->count++)->context;
    return 0;
}

struct tls_pool *tls_clients_pool(const struct tls_clients *clients)
{
    return clients->pool;
}

#else

bool tls_clients_prepare(void)
{
    return false;
}

int tls_clients_create(struct tls_clients **clients, const struct log *log, char *err, size_t errlen)
{
    (void)clients;
    (void)log;
    return error_text(err, errlen, -ENOTSUP, "this evserve was built without TLS (libssl-dev)");
}

void tls_clients_destroy(struct tls_clients *clients)
{
    (void)clients;
}

void tls_clients_forget(struct tls_clients *clients)
{
    (void)clients;
}

int tls_clients_get(struct tls_clients *clients, const struct tls_client_settings *settings,
                    struct tls_client_context **context, char *err, size_t errlen)
{
    (void)clients;
    (void)settings;
    (void)context;
    return error_text(err, errlen, -ENOTSUP, "this evserve was built without TLS (libssl-dev)");
}

struct tls_pool *tls_clients_pool(const struct tls_clients *clients)
{
    (void)clients;
    return NULL;
}

#endif
