/* Happy path: Mozilla's intermediate configuration (https://wiki.mozilla.org/Security/Server_Side_TLS), without the
 * suites with finite-field Diffie-Hellman: they let a client make the server compute far more than itself
 * (CVE-2002-20001). The server's order counts, since all of these are safe and the first is the cheapest; but a client
 * that has ChaCha20 first, as those without instructions for AES do, gets it.
 *
 * Failure mode: OpenSSL refuses a list. */

#include "core/tls_settings.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/tls_openssl.h"
#include "core/tls_reason.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#ifdef EVSERVE_HAS_TLS

static const char default_ciphers[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                                      "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                                      "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
static const char default_ciphersuites[] = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
static const char default_groups[] = "X25519:prime256v1:secp384r1";
static const char default_alpn[] = "http/1.1,http/1.0"; /* the second one from curl -0 */

static int copy_setting(const char **to, const char *from)
{
    *to = from == NULL ? NULL : mem_copy_text(from);
    return from != NULL && *to == NULL ? -ENOMEM : 0;
}

int tls_settings_copy(struct tls_settings *to, const struct tls_settings *from)
{
    *to = (struct tls_settings){0};
    int rv = copy_setting(&to->min_version, from->min_version);
    rv = rv < 0 ? rv : copy_setting(&to->ciphers, from->ciphers);
    rv = rv < 0 ? rv : copy_setting(&to->ciphersuites, from->ciphersuites);
    rv = rv < 0 ? rv : copy_setting(&to->groups, from->groups);
    rv = rv < 0 ? rv : copy_setting(&to->ciphers_place, from->ciphers_place);
    rv = rv < 0 ? rv : copy_setting(&to->groups_place, from->groups_place);
    return rv < 0 ? rv : copy_setting(&to->alpn, from->alpn);
}

void tls_settings_done(struct tls_settings *settings)
{
    const char *const texts[] = {settings->min_version, settings->ciphers, settings->ciphersuites,
                                 settings->groups,      settings->alpn,    settings->ciphers_place,
                                 settings->groups_place};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        mem_free((void *)(uintptr_t)texts[i]);
    }
    *settings = (struct tls_settings){0};
}

int tls_settings_alpn(const struct tls_settings *settings, unsigned char alpn[TLS_ALPN_MAX], char *err, size_t errlen)
{
    const char *text = settings->alpn == NULL ? default_alpn : settings->alpn;
    size_t used = 0;
    for (;;) {
        size_t len = strcspn(text, ",");
        if (len == 0 || used + 1 + len > TLS_ALPN_MAX) {
            return error_text(err, errlen, -EINVAL, "TLS alpn \"%s\": names of protocols with commas between them",
                              settings->alpn);
        }
        alpn[used] = (unsigned char)len;
        memcpy(alpn + used + 1, text, len);
        used += 1 + len;
        if (text[len] == '\0') {
            return (int)used;
        }
        text += len + 1;
    }
}

/* The lowest version, or -1. */
static int parse_min_version(const char *text)
{
    if (text == NULL || strcmp(text, "1.2") == 0) {
        return TLS1_2_VERSION;
    }
    return strcmp(text, "1.3") == 0 ? TLS1_3_VERSION : -1;
}

/* hint: what to write instead. */
static int refuse_setting(const char *place, const char *name, const char *value, const char *hint, char *err,
                          size_t errlen)
{
    int rv = error_text(err, errlen, -EINVAL, "%s%sTLS %s \"%s\": %s; %s", place == NULL ? "" : place,
                        place == NULL ? "" : ": ", name, value, tls_reason(ERR_peek_last_error()), hint);
    ERR_clear_error();
    return rv;
}

static int apply_settings(SSL_CTX *ctx, const struct tls_settings *settings, char *err, size_t errlen)
{
    int min_version = parse_min_version(settings->min_version);
    const char *ciphers = settings->ciphers == NULL ? default_ciphers : settings->ciphers;
    const char *suites = settings->ciphersuites == NULL ? default_ciphersuites : settings->ciphersuites;
    const char *groups = settings->groups == NULL ? default_groups : settings->groups;
    if (min_version < 0) {
        return error_text(err, errlen, -EINVAL, "TLS min_version \"%s\": 1.2 and 1.3 are possible",
                          settings->min_version);
    }
    if (settings->min_version == NULL && SSL_CTX_get_min_proto_version(ctx) > min_version) {
        min_version = (int)SSL_CTX_get_min_proto_version(ctx); /* the administrator's, of openssl.cnf */
    }
    SSL_CTX_set_min_proto_version(ctx, min_version);
    if (SSL_CTX_set_cipher_list(ctx, ciphers) != 1) {
        return refuse_setting(settings->ciphers_place, "ciphers", ciphers, "\"openssl ciphers -v\" lists the names",
                              err, errlen);
    }
    if (SSL_CTX_set_ciphersuites(ctx, suites) != 1) {
        return refuse_setting(NULL, "ciphersuites", suites, "\"openssl ciphers -v -s -tls1_3\" lists the names", err,
                              errlen);
    }
    return SSL_CTX_set1_groups_list(ctx, (char *)(uintptr_t)groups) == 1
               ? 0
               : refuse_setting(settings->groups_place, "groups", groups,
                                "names such as \"X25519:prime256v1:secp384r1\" are expected, and \"openssl ecparam "
                                "-list_curves\" lists curves",
                                err, errlen);
}

struct ssl_ctx_st *tls_settings_ctx(const struct tls_settings *settings, int *error, char *err, size_t errlen)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (ctx == NULL) {
        *error = error_text(err, errlen, -ENOMEM, "no context for TLS: %s", tls_reason(ERR_peek_last_error()));
        ERR_clear_error();
        return NULL;
    }
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                 SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_read_ahead(ctx, 1); /* one system call for a record, not one for its header and one for the rest */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); /* tickets alone: the client keeps its session */
    *error = apply_settings(ctx, settings, err, errlen);
    if (*error < 0) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

struct ssl_ctx_st *tls_settings_client_ctx(const char *min_version, int *error, char *err, size_t errlen)
{
    int version = parse_min_version(min_version);
    if (version < 0) {
        *error = error_text(err, errlen, -EINVAL, "TLS min_version \"%s\": 1.2 and 1.3 are possible", min_version);
        return NULL;
    }
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    if (ctx == NULL) {
        *error = error_text(err, errlen, -ENOMEM, "no context for TLS: %s", tls_reason(ERR_peek_last_error()));
        ERR_clear_error();
        return NULL;
    }
    if (min_version != NULL || SSL_CTX_get_min_proto_version(ctx) < version) {
        SSL_CTX_set_min_proto_version(ctx, version); /* openssl.cnf of the administrator may ask for more */
    }
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL); /* core/tls_sessions.h */
    return ctx;
}

#endif
