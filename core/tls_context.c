/* Happy path: a certificate is read, and becomes a host of its own or joins the one with the same names. In the
 * handshake, the client's hello is looked at before anything is decided by it, so that the host's rules hold for
 * resumed sessions, too.
 *
 * Failure modes: those of reading a certificate, and of memory. */

#include "core/tls_context.h"

#include "core/file_stamps.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/tls_host.h"
#include "core/tls_names.h"
#include "core/tls_openssl.h"
#include "core/tls_tickets.h"

#include <errno.h>
#include <stdatomic.h>
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
    struct tls_host **hosts;     /* host_count of them, owned; the first is the default */
    size_t host_count;
    struct tls_names names;    /* and which of them a name belongs to */
    struct file_stamps stamps; /* what was read */
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
    const struct tls_host *host = name == NULL ? NULL : tls_names_find(&context->names, name, len);
    if (host != NULL && host != context->hosts[0]) {
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
        tls_tickets_use(context->tickets, ctx);
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
    SSL_CTX *ctx = make_ctx(context, &rv, err, errlen);
    SSL_CTX_free(ctx);
    return ctx == NULL ? rv : 0;
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
    file_stamps_init(&made->stamps);
    file_stamps_set_base(&made->stamps, base_fd);
    made->tickets = former == NULL ? tls_tickets_create() : tls_tickets_ref(former->tickets);
    rv = tls_settings_copy(&made->settings, settings);
    if (rv < 0 || made->tickets == NULL) {
        rv = error_text(err, errlen, -ENOMEM, "out of memory");
    } else {
        rv = check_settings(made, err, errlen);
    }
    if (rv < 0) {
        tls_context_put(made);
        return rv;
    }
    *context = made;
    return 0;
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
    for (size_t i = 0; i < context->host_count; i++) {
        tls_host_destroy(context->hosts[i]);
    }
    mem_free(context->hosts);
    tls_names_done(&context->names);
    tls_tickets_put(context->tickets);
    tls_settings_done(&context->settings);
    file_stamps_done(&context->stamps);
    mem_free(context);
}

/* Certificates. */

static void note_files(struct tls_context *context, const struct tls_certificate *certificate)
{
    const char *const files[] = {certificate->cert_pem == NULL ? certificate->cert_file : NULL,
                                 certificate->key_pem == NULL ? certificate->key_file : NULL,
                                 certificate->client_ca_pem == NULL ? certificate->client_ca_file : NULL};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (files[i] != NULL) {
            (void)file_stamps_note(&context->stamps, files[i]); /* what is not on the list waits for a reload */
        }
    }
}

static int collect_name(void *arg, const char *name, size_t len)
{
    int rv = tls_names_add(arg, name, len, arg);
    return rv == -ENOMEM ? rv : 0; /* a certificate may contain what is no name of a server */
}

/* The names that a certificate is used for. Returns 0, or -errno with a text in err. */
static int collect_names(struct tls_names *names, const struct tls_certificate *certificate,
                         const struct tls_identity *identity, char *err, size_t errlen)
{
    int rv = certificate->name == NULL ? tls_identity_names(identity, collect_name, names)
                                       : tls_names_add(names, certificate->name, strlen(certificate->name), names);
    if (rv == -EINVAL) {
        return error_text(err, errlen, rv, "\"%s\" is not the name of a server", certificate->name);
    }
    return rv < 0 ? error_text(err, errlen, rv, "out of memory") : 0;
}

static struct tls_host *find_tls_host(const struct tls_context *context, const char *names)
{
    for (size_t i = 0; i < context->host_count; i++) {
        if (strcmp(tls_host_names(context->hosts[i]), names) == 0) {
            return context->hosts[i];
        }
    }
    return NULL;
}

/* Give each name of a text to a host, except those that another one has. Returns 0 or -ENOMEM. */
static int give_names(struct tls_context *context, const char *names, struct tls_host *host)
{
    int rv = 0;
    while (*names != '\0' && rv != -ENOMEM) {
        size_t len = strcspn(names, " ");
        rv = tls_names_add(&context->names, names, len, host);
        names += names[len] == '\0' ? len : len + 1;
    }
    return rv == -ENOMEM ? rv : 0;
}

static int add_host(struct tls_context *context, const char *names, struct tls_host **host, char *err, size_t errlen)
{
    struct tls_host **hosts = mem_resize(context->hosts, (context->host_count + 1) * sizeof(struct tls_host *));
    if (hosts == NULL) {
        return error_text(err, errlen, -ENOMEM, "out of memory");
    }
    context->hosts = hosts;
    int rv = 0;
    SSL_CTX *ctx = make_ctx(context, &rv, err, errlen);
    rv = ctx == NULL ? rv : tls_host_create(host, ctx, names, err, errlen);
    if (rv < 0) {
        return rv;
    }
    hosts[context->host_count++] = *host;
    rv = give_names(context, names, *host);
    return rv < 0 ? error_text(err, errlen, rv, "out of memory") : 0;
}

/* Use what was read for these names. */
static int use_identity(struct tls_context *context, const char *names, const struct tls_certificate *certificate,
                        const struct tls_identity *identity, char *err, size_t errlen)
{
    const char *what = certificate->cert_pem != NULL ? "in memory" : certificate->cert_file;
    struct tls_host *host = find_tls_host(context, names);
    int rv = host != NULL ? 0 : add_host(context, names, &host, err, errlen);
    rv = rv < 0 ? rv : tls_host_ask(host, certificate, context->base_fd, err, errlen);
    rv = rv < 0 ? rv : tls_host_add(host, identity, what, err, errlen);
    if (rv == 0) {
        tls_certificate_warn(tls_identity_leaf(identity), what, context->log);
    }
    return rv;
}

int tls_context_add(struct tls_context *context, const struct tls_certificate *certificate, char *err, size_t errlen)
{
    struct tls_identity identity = {0};
    struct tls_names set = {0};
    note_files(context, certificate);
    int rv = tls_identity_read(&identity, certificate, context->base_fd, context->log, err, errlen);
    if (rv < 0) {
        return rv;
    }
    rv = collect_names(&set, certificate, &identity, err, errlen);
    char *names = rv < 0 ? NULL : tls_names_join(&set);
    if (rv == 0) {
        rv = names == NULL ? error_text(err, errlen, -ENOMEM, "out of memory")
                           : use_identity(context, names, certificate, &identity, err, errlen);
    }
    mem_free(names);
    tls_names_done(&set);
    tls_identity_done(&identity);
    return rv;
}

void tls_context_warn(const struct tls_context *context)
{
    for (size_t i = 0; i < context->host_count; i++) {
        tls_host_warn(context->hosts[i], context->log);
    }
}

bool tls_context_is_stale(struct tls_context *context)
{
    return file_stamps_changed(&context->stamps);
}

bool tls_context_has_name(const struct tls_context *context, const char *name, size_t len)
{
    return tls_names_find(&context->names, name, len) != NULL;
}

struct ssl_ctx_st *tls_context_default(const struct tls_context *context)
{
    return context->host_count == 0 ? NULL : tls_host_ctx(context->hosts[0]);
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

void tls_context_warn(const struct tls_context *context)
{
    (void)context;
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

#endif
