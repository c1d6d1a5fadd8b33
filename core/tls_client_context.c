/* Happy path: files are read once, when the context is made; connections share all of it.
 *
 * Failure modes: those of files and settings, told with their names; OpenSSL is not there. */

#include "core/tls_client_context.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/tls_certificate.h"
#include "core/tls_openssl.h"
#include "core/tls_pem.h"
#include "core/tls_settings.h"

#include <errno.h>
#include <string.h>

#ifdef EVSERVE_HAS_TLS

enum { CLIENT_TEXTS = 8 }; /* of struct tls_client_settings */

struct tls_client_context {
    unsigned refs;
    SSL_CTX *ctx; /* owned */
    struct tls_client_settings settings;
    char *texts[CLIENT_TEXTS];     /* copies of its texts */
    struct tls_identity *identity; /* our certificate, or NULL */
    struct file_stamps files;      /* of authorities, as they were when they were read */
    struct tls_sessions *sessions; /* borrowed; or NULL */
    uint64_t number;
};

static void list_texts(const struct tls_client_settings *settings, const char *texts[CLIENT_TEXTS])
{
    const char *const list[CLIENT_TEXTS] = {settings->ca_file,  settings->ca_pem,     settings->cert_file,
                                            settings->key_file, settings->cert_pem,   settings->key_pem,
                                            settings->alpn,     settings->min_version};
    memcpy(texts, list, sizeof list);
}

static int copy_texts(struct tls_client_context *context, const struct tls_client_settings *settings)
{
    const char *texts[CLIENT_TEXTS];
    list_texts(settings, texts);
    for (size_t i = 0; i < CLIENT_TEXTS; i++) {
        context->texts[i] = texts[i] == NULL ? NULL : mem_copy_text(texts[i]);
        if (texts[i] != NULL && context->texts[i] == NULL) {
            return -ENOMEM;
        }
    }
    char *const *copies = context->texts;
    context->settings = (struct tls_client_settings){.is_unverified = settings->is_unverified,
                                                     .ca_file = copies[0],
                                                     .ca_pem = copies[1],
                                                     .cert_file = copies[2],
                                                     .key_file = copies[3],
                                                     .cert_pem = copies[4],
                                                     .key_pem = copies[5],
                                                     .alpn = copies[6],
                                                     .min_version = copies[7],
                                                     .base_fd = settings->base_fd};
    return 0;
}

static bool is_same_setting(const char *one, const char *other)
{
    return one == NULL || other == NULL ? one == other : strcmp(one, other) == 0;
}

bool tls_client_context_shows(const struct tls_client_context *context, const struct tls_client_settings *settings)
{
    const struct tls_client_settings *own = &context->settings;
    return is_same_setting(own->cert_file, settings->cert_file) && is_same_setting(own->key_file, settings->key_file) &&
           is_same_setting(own->cert_pem, settings->cert_pem) && is_same_setting(own->key_pem, settings->key_pem);
}

bool tls_client_context_fits(const struct tls_client_context *context, const struct tls_client_settings *settings)
{
    const char *texts[CLIENT_TEXTS];
    list_texts(settings, texts);
    bool fits = settings->is_unverified == context->settings.is_unverified &&
                settings->base_fd == context->settings.base_fd;
    for (size_t i = 0; i < CLIENT_TEXTS && fits; i++) {
        fits = is_same_setting(context->texts[i], texts[i]);
    }
    return fits;
}

/* Trust these authorities alone. One may itself be signed by another; and the file may have the server's own
 * certificate. */
static int trust_own(struct tls_client_context *context, char *err, size_t errlen)
{
    const struct tls_client_settings *settings = &context->settings;
    const struct tls_pem pem = {.what = "certificate of an authority",
                                .file = settings->ca_file,
                                .text = settings->ca_pem,
                                .base_fd = settings->base_fd};
    if (pem.text == NULL) {
        (void)file_stamps_note(&context->files, pem.file); /* without memory a change waits for a restart */
    }
    int rv = 0;
    STACK_OF(X509) *list = tls_pem_certificates(&pem, &rv, err, errlen);
    if (list == NULL) {
        return rv;
    }
    X509_STORE *store = X509_STORE_new();
    bool is_whole = store != NULL;
    for (int i = 0; i < sk_X509_num(list) && is_whole; i++) {
        is_whole = X509_STORE_add_cert(store, sk_X509_value(list, i)) == 1;
    }
    is_whole = is_whole && X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN) == 1 &&
               SSL_CTX_set1_verify_cert_store(context->ctx, store) == 1;
    X509_STORE_free(store);
    sk_X509_pop_free(list, X509_free);
    return is_whole ? 0 : error_text(err, errlen, -ENOMEM, "out of memory");
}

static int show_certificate(struct tls_client_context *context, const struct log *log, char *err, size_t errlen)
{
    const struct tls_client_settings *settings = &context->settings;
    const struct tls_certificate certificate = {.cert_file = settings->cert_file,
                                                .key_file = settings->key_file,
                                                .cert_pem = settings->cert_pem,
                                                .key_pem = settings->key_pem};
    int rv = tls_identity_read(&context->identity, &certificate, settings->base_fd, log, err, errlen);
    return rv < 0 ? rv : tls_identity_use(context->identity, context->ctx, err, errlen);
}

static int offer_protocols(struct tls_client_context *context, char *err, size_t errlen)
{
    const struct tls_settings settings = {.alpn = context->settings.alpn};
    unsigned char alpn[TLS_ALPN_MAX];
    int len = tls_settings_alpn(&settings, alpn, err, errlen);
    if (len < 0) {
        return len;
    }
    return SSL_CTX_set_alpn_protos(context->ctx, alpn, (unsigned)len) == 0
               ? 0
               : error_text(err, errlen, -ENOMEM, "out of memory");
}

static int apply_client_settings(struct tls_client_context *context, struct x509_store_st *authorities,
                                 const struct log *log, char *err, size_t errlen)
{
    const struct tls_client_settings *settings = &context->settings;
    int rv = 0;
    if (settings->is_unverified) {
        SSL_CTX_set_verify(context->ctx, SSL_VERIFY_NONE, NULL);
    } else if (settings->ca_file != NULL || settings->ca_pem != NULL) {
        rv = trust_own(context, err, errlen);
    } else if (SSL_CTX_set1_verify_cert_store(context->ctx, authorities) != 1) {
        rv = error_text(err, errlen, -ENOMEM, "out of memory");
    }
    bool has_identity = settings->cert_file != NULL || settings->cert_pem != NULL || settings->key_file != NULL ||
                        settings->key_pem != NULL;
    rv = rv < 0 || !has_identity ? rv : show_certificate(context, log, err, errlen);
    return rv < 0 || settings->alpn == NULL ? rv : offer_protocols(context, err, errlen);
}

int tls_client_context_create(struct tls_client_context **context, const struct tls_client_settings *settings,
                              struct x509_store_st *authorities, struct tls_sessions *sessions, uint64_t number,
                              const struct log *log, char *err, size_t errlen)
{
    int rv = tls_openssl_load(err, errlen);
    if (rv < 0) {
        return rv;
    }
    struct tls_client_context *made = mem_zalloc(sizeof *made);
    if (made == NULL) {
        return error_text(err, errlen, -ENOMEM, "out of memory");
    }
    made->refs = 1;
    made->sessions = sessions;
    made->number = number;
    file_stamps_init(&made->files);
    file_stamps_set_base(&made->files, settings->base_fd);
    rv = copy_texts(made, settings);
    if (rv < 0) {
        error_text(err, errlen, rv, "out of memory");
    } else if ((made->ctx = tls_settings_client_ctx(settings->min_version, &rv, err, errlen)) != NULL) {
        rv = apply_client_settings(made, authorities, log, err, errlen);
    }
    ERR_clear_error();
    if (rv < 0) {
        tls_client_context_put(made);
        return rv;
    }
    *context = made;
    return 0;
}

struct tls_client_context *tls_client_context_ref(struct tls_client_context *context)
{
    context->refs++;
    return context;
}

void tls_client_context_put(struct tls_client_context *context)
{
    if (context == NULL || --context->refs > 0) {
        return;
    }
    SSL_CTX_free(context->ctx);
    tls_identity_put(context->identity);
    file_stamps_done(&context->files);
    for (size_t i = 0; i < CLIENT_TEXTS; i++) {
        mem_free(context->texts[i]);
    }
    mem_free(context);
}

bool tls_client_context_has_changed(struct tls_client_context *context)
{
    bool has_changed = context->identity != NULL && tls_identity_has_changed(context->identity);
    return file_stamps_changed(&context->files) || has_changed;
}

struct ssl_ctx_st *tls_client_context_ctx(const struct tls_client_context *context)
{
    return context->ctx;
}

bool tls_client_context_is_unverified(const struct tls_client_context *context)
{
    return context->settings.is_unverified;
}

struct tls_sessions *tls_client_context_sessions(const struct tls_client_context *context)
{
    return context->sessions;
}

uint64_t tls_client_context_number(const struct tls_client_context *context)
{
    return context->number;
}

#else

struct tls_client_context *tls_client_context_ref(struct tls_client_context *context)
{
    return context;
}

void tls_client_context_put(struct tls_client_context *context)
{
    (void)context;
}

#endif
