/* Happy path: certificates are read, or taken over. In the handshake, the client's hello is looked at before anything
 * is decided by it, so that the rules of the host that it asks for hold for resumed sessions, too.
 *
 * Failure modes: those of reading a certificate, and of memory. */

#include "core/tls_context.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/tls_host.h"
#include "core/tls_names.h"
#include "core/tls_openssl.h"
#include "core/tls_roster.h"
#include "core/tls_tickets.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#ifdef EVSERVE_HAS_TLS

struct tls_context {
    atomic_uint refs;
    struct tls_settings settings; /* owned copies */
    unsigned char alpn[TLS_ALPN_MAX];
    unsigned alpn_len; /* of alpn */
    int base_fd;
    const struct log *log;       /* borrowed */
    struct tls_tickets *tickets; /* one reference */
    struct tls_roster roster;    /* the certificates, and which is shown for which name */
    SSL_CTX *trial;              /* in which certificates are tried; NULL once the context is finished */
};

/* What OpenSSL asks during a handshake. */

/* The name in the extension server_name (RFC 6066, section 3): a list with one entry of type 0. NULL without one. */
static const char *asked_name(SSL *ssl, size_t *len)
{
    const unsigned char *data;
    size_t size;
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &data, &size) != 1 || size < 5 || data[2] != 0) {
        return NULL;
    }
    *len = (size_t)data[3] << 8 | data[4];
    return *len <= size - 5 ? (const char *)data + 5 : NULL;
}

static int on_client_hello(SSL *ssl, int *alert, void *arg)
{
    (void)alert;
    const struct tls_context *context = arg;
    size_t len;
    const char *name = asked_name(ssl, &len);
    const struct tls_host *host = name == NULL ? NULL : tls_names_find(&context->roster.names, name, len);
    if (host != NULL && host != context->roster.fallback) {
        SSL_CTX *ctx = tls_host_ctx(host);
        if (SSL_set_SSL_CTX(ssl, ctx) == NULL) {
            return SSL_CLIENT_HELLO_ERROR;
        }
        SSL_set_verify(ssl, SSL_CTX_get_verify_mode(ctx), NULL); /* which it does not take over */
    }
    return SSL_CLIENT_HELLO_SUCCESS;
}

/* Confirms the name to the client, and has it kept with the session. */
static int on_server_name(SSL *ssl, int *alert, void *arg)
{
    (void)alert;
    (void)arg;
    return SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) == NULL ? SSL_TLSEXT_ERR_NOACK : SSL_TLSEXT_ERR_OK;
}

/* The first protocol of ours that the client offers. With none the handshake fails (RFC 7301, section 3.2), so that
 * nobody can lead a client of another protocol here. */
static int on_alpn(SSL *ssl, const unsigned char **chosen, unsigned char *chosen_len, const unsigned char *offered,
                   unsigned offered_len, void *arg)
{
    (void)ssl;
    const struct tls_context *context = arg;
    unsigned char *out;
    int rv = SSL_select_next_proto(&out, chosen_len, context->alpn, context->alpn_len, offered, offered_len);
    *chosen = out;
    return rv == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static SSL_CTX *make_ctx(struct tls_context *context, int *error, char *err, size_t errlen)
{
    SSL_CTX *ctx = tls_settings_ctx(&context->settings, error, err, errlen);
    if (ctx != NULL) {
        SSL_CTX_set_client_hello_cb(ctx, on_client_hello, context);
        SSL_CTX_set_tlsext_servername_callback(ctx, on_server_name);
        SSL_CTX_set_alpn_select_cb(ctx, on_alpn, context);
    }
    if (ctx != NULL && tls_tickets_use(context->tickets, ctx) < 0) {
        *error = error_text(err, errlen, -ENOMEM, "out of memory");
        SSL_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

/* Life. */

static int check_settings(struct tls_context *context, char *err, size_t errlen)
{
    int rv = tls_settings_alpn(&context->settings, context->alpn, err, errlen);
    if (rv < 0) {
        return rv;
    }
    context->alpn_len = (unsigned)rv;
    context->trial = make_ctx(context, &rv, err, errlen);
    return context->trial == NULL ? rv : 0;
}

int tls_context_create(struct tls_context **context, const struct tls_settings *settings, struct tls_context *former,
                       int base_fd, const struct log *log, char *err, size_t errlen)
{
    int rv = tls_openssl_load(err, errlen);
    if (rv < 0) {
        return rv;
    }
    struct tls_context *made = mem_zalloc(sizeof *made);
    if (made == NULL) {
        return error_text(err, errlen, -ENOMEM, "out of memory");
    }
    atomic_init(&made->refs, 1);
    made->base_fd = base_fd;
    made->log = log;
    made->tickets = former == NULL ? tls_tickets_create() : tls_tickets_ref(former->tickets);
    rv = tls_settings_copy(&made->settings, settings);
    if (rv < 0 || made->tickets == NULL) {
        rv = error_text(err, errlen, -ENOMEM, "out of memory");
    } else {
        rv = check_settings(made, err, errlen);
    }
    ERR_clear_error();
    if (rv < 0) {
        tls_context_put(made);
        return rv;
    }
    *context = made;
    return 0;
}

struct tls_tickets *tls_context_tickets(const struct tls_context *context)
{
    return context->tickets;
}

struct tls_context *tls_context_ref(struct tls_context *context)
{
    atomic_fetch_add_explicit(&context->refs, 1, memory_order_relaxed);
    return context;
}

void tls_context_put(struct tls_context *context)
{
    if (context == NULL || atomic_fetch_sub_explicit(&context->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    tls_roster_done(&context->roster);
    SSL_CTX_free(context->trial);
    tls_tickets_put(context->tickets);
    tls_settings_done(&context->settings);
    mem_free(context);
    ERR_clear_error(); /* without memory, SSL_CTX_free() leaves errors */
}

/* Certificates. */

int tls_context_add(struct tls_context *context, const struct tls_certificate *certificate, char *err, size_t errlen)
{
    struct tls_identity *identity = NULL;
    int rv = tls_identity_read(&identity, certificate, context->base_fd, context->log, err, errlen);
    rv = rv < 0 ? rv : tls_identity_use(identity, context->trial, err, errlen);
    rv = rv < 0 ? rv : tls_roster_check(&context->roster, identity, err, errlen);
    if (rv < 0) {
        tls_identity_put(identity);
        ERR_clear_error();
        return rv;
    }
    tls_identity_warn(identity, context->log, true);
    ERR_clear_error();
    rv = tls_roster_add(&context->roster, identity);
    return rv < 0 ? error_text(err, errlen, rv, "out of memory") : 0;
}

int tls_context_take(struct tls_context *context, struct tls_context *former, size_t n, const char *reason)
{
    struct tls_identity *identity = former->roster.identities[n];
    bool is_news = reason != NULL && tls_identity_note_failure(identity, reason);
    int rv = tls_roster_add(&context->roster, tls_identity_ref(identity));
    return rv < 0 ? rv : is_news ? 1 : 0;
}

/* Make the ctx of a host, unless nothing leads to it any more. */
static int open_host(struct tls_context *context, struct tls_host *host, char *err, size_t errlen)
{
    char *names = tls_names_join(&context->roster.names, host);
    if (names == NULL) {
        return error_text(err, errlen, -ENOMEM, "out of memory");
    }
    int rv = 0;
    if (names[0] != '\0' || host == context->roster.fallback) {
        SSL_CTX *ctx = make_ctx(context, &rv, err, errlen);
        rv = ctx == NULL ? rv : tls_host_open(host, ctx, names, err, errlen);
        context->roster.asks_clients = context->roster.asks_clients || tls_host_asks_clients(host);
    }
    mem_free(names);
    return rv;
}

int tls_context_finish(struct tls_context *context, char *err, size_t errlen)
{
    int rv = 0;
    SSL_CTX_free(context->trial);
    context->trial = NULL;
    for (size_t i = 0; i < context->roster.host_count && rv == 0; i++) {
        rv = open_host(context, context->roster.hosts[i], err, errlen);
    }
    ERR_clear_error();
    return rv;
}

void tls_context_warn(struct tls_context *context, bool is_full)
{
    for (size_t i = 0; i < context->roster.identity_count; i++) {
        tls_identity_warn(context->roster.identities[i], context->log, is_full);
    }
    ERR_clear_error();
}

bool tls_context_describe(const struct tls_context *context, size_t n, char *text, size_t size)
{
    if (n >= context->roster.identity_count) {
        return false;
    }
    const struct tls_identity *identity = context->roster.identities[n];
    int used = snprintf(text, size, "%s: ", identity->what);
    if (used >= 0 && (size_t)used < size) {
        tls_identity_describe(identity, text + used, size - (size_t)used);
    }
    return true;
}

bool tls_context_log_renewed(const struct tls_context *context, size_t n, const struct tls_context *former, size_t was)
{
    return tls_identity_log_renewed(context->roster.identities[n], former->roster.identities[was], context->log);
}

bool tls_context_is_stale(struct tls_context *context)
{
    bool has_changed = false;
    for (size_t i = 0; i < context->roster.identity_count; i++) {
        has_changed = tls_identity_has_changed(context->roster.identities[i]) || has_changed;
    }
    return has_changed;
}

bool tls_context_is_behind(const struct tls_context *context, size_t n)
{
    return context->roster.identities[n]->is_behind;
}

bool tls_context_has_behind(const struct tls_context *context)
{
    bool is_behind = false;
    for (size_t i = 0; i < context->roster.identity_count && !is_behind; i++) {
        is_behind = context->roster.identities[i]->is_behind;
    }
    return is_behind;
}

bool tls_context_has_name(const struct tls_context *context, const char *name, size_t len)
{
    return tls_names_find(&context->roster.names, name, len) != NULL;
}

struct ssl_ctx_st *tls_context_default(const struct tls_context *context)
{
    return context->roster.fallback == NULL ? NULL : tls_host_ctx(context->roster.fallback);
}

bool tls_context_separates(const struct tls_context *context, const struct ssl_ctx_st *ctx, const char *name,
                           size_t len)
{
    return tls_roster_separates(&context->roster, ctx, name, len);
}

#else

/* Built without TLS. */

int tls_context_create(struct tls_context **context, const struct tls_settings *settings, struct tls_context *former,
                       int base_fd, const struct log *log, char *err, size_t errlen)
{
    (void)context;
    (void)settings;
    (void)former;
    (void)base_fd;
    (void)log;
    return error_text(err, errlen, -ENOTSUP, "this evserve was built without TLS (libssl-dev)");
}

int tls_context_add(struct tls_context *context, const struct tls_certificate *certificate, char *err, size_t errlen)
{
    (void)context;
    (void)certificate;
    return error_text(err, errlen, -ENOTSUP, "this evserve was built without TLS (libssl-dev)");
}

int tls_context_take(struct tls_context *context, struct tls_context *former, size_t n, const char *reason)
{
    (void)context;
    (void)former;
    (void)n;
    (void)reason;
    return -ENOTSUP;
}

int tls_context_finish(struct tls_context *context, char *err, size_t errlen)
{
    (void)context;
    return error_text(err, errlen, -ENOTSUP, "this evserve was built without TLS (libssl-dev)");
}

bool tls_context_is_behind(const struct tls_context *context, size_t n)
{
    (void)context;
    (void)n;
    return false;
}

bool tls_context_has_behind(const struct tls_context *context)
{
    (void)context;
    return false;
}

void tls_context_warn(struct tls_context *context, bool is_full)
{
    (void)context;
    (void)is_full;
}

bool tls_context_log_renewed(const struct tls_context *context, size_t n, const struct tls_context *former, size_t was)
{
    (void)context;
    (void)n;
    (void)former;
    (void)was;
    return false;
}

bool tls_context_describe(const struct tls_context *context, size_t n, char *text, size_t size)
{
    (void)context;
    (void)n;
    (void)text;
    (void)size;
    return false;
}

bool tls_context_is_stale(struct tls_context *context)
{
    (void)context;
    return false;
}

bool tls_context_has_name(const struct tls_context *context, const char *name, size_t len)
{
    (void)context;
    (void)name;
    (void)len;
    return false;
}

struct tls_tickets *tls_context_tickets(const struct tls_context *context)
{
    (void)context;
    return NULL;
}

struct tls_context *tls_context_ref(struct tls_context *context)
{
    return context;
}

void tls_context_put(struct tls_context *context)
{
    (void)context;
}

struct ssl_ctx_st *tls_context_default(const struct tls_context *context)
{
    (void)context;
    return NULL;
}

bool tls_context_separates(const struct tls_context *context, const struct ssl_ctx_st *ctx, const char *name,
                           size_t len)
{
    (void)context;
    (void)ctx;
    (void)name;
    (void)len;
    return false;
}

#endif
