/* Happy path: the files are stamped, then read; chain and key fit.
 *
 * Failure modes: those of tls_pem.c; a key of another certificate. A file that changes while it is read has another
 * stamp by the next look. */

#include "core/tls_certificate.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/sys.h"
#include "core/tls_leaf.h"
#include "core/tls_openssl.h"
#include "core/tls_pem.h"
#include "core/tls_reason.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#ifdef EVSERVE_HAS_TLS

enum { EXPIRY_NOTICE_DAYS = 14 };

/* How near the end of a certificate is. */
enum { EXPIRY_UNKNOWN, EXPIRY_FAR, EXPIRY_NEAR, EXPIRY_PAST };

/* Reading. */

/* Which certificate of the chain the key belongs to; -1: none. */
static int place_in_chain(const struct tls_identity *identity)
{
    for (int i = 0; i < sk_X509_num(identity->chain); i++) {
        if (X509_check_private_key(sk_X509_value(identity->chain, i), identity->key) == 1) {
            return i;
        }
    }
    return -1;
}

/* Stamp the files. One that is not on the list, for lack of memory, waits for a reload. */
static void note_files(struct tls_identity *identity, const struct tls_certificate *certificate)
{
    const char *const files[] = {certificate->cert_pem == NULL ? certificate->cert_file : NULL,
                                 certificate->key_pem == NULL ? certificate->key_file : NULL,
                                 certificate->client_ca_pem == NULL ? certificate->client_ca_file : NULL};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (files[i] != NULL) {
            (void)file_stamps_note(&identity->files, files[i]);
        }
    }
}

static int read_pair(struct tls_identity *identity, const struct tls_certificate *certificate, int base_fd,
                     const struct log *log, char *err, size_t errlen)
{
    const struct tls_pem cert = {.what = "certificate",
                                 .file = certificate->cert_file,
                                 .text = certificate->cert_pem,
                                 .base_fd = base_fd};
    bool is_apart = certificate->key_file != NULL || certificate->key_pem != NULL;
    const struct tls_pem key = {.what = "private key",
                                .file = is_apart ? certificate->key_file : certificate->cert_file,
                                .text = is_apart ? certificate->key_pem : certificate->cert_pem,
                                .base_fd = base_fd};
    int rv = 0;
    identity->chain = tls_pem_certificates(&cert, &rv, err, errlen);
    identity->key = identity->chain == NULL ? NULL : tls_pem_key(&key, &rv, err, errlen);
    if (identity->key != NULL && place_in_chain(identity) != 0) {
        rv = error_text(err, errlen, -EINVAL, "the private key (%s) does not belong to the certificate (%s)%s",
                        tls_pem_name(&key), tls_pem_name(&cert),
                        place_in_chain(identity) < 0 ? ""
                                                     : ", but to another one there: the server's own must come first");
    }
    ERR_clear_error();
    if (rv == 0 && tls_pem_is_open_to_others(&key)) {
        log_write(log, LOG_WARN, "the private key %s can be read by other users: chmod o= %s", key.file, key.file);
    }
    return rv;
}

static int read_authorities(struct tls_identity *identity, const struct tls_certificate *certificate, int base_fd,
                            char *err, size_t errlen)
{
    const struct tls_pem pem = {.what = "certificate of an authority",
                                .file = certificate->client_ca_file,
                                .text = certificate->client_ca_pem,
                                .base_fd = base_fd};
    int rv = 0;
    if (pem.file != NULL || pem.text != NULL) {
        identity->authorities = tls_pem_certificates(&pem, &rv, err, errlen);
    }
    return rv;
}

/* Names. */

/* A certificate may be used for a name that it does not contain, but hardly anybody wants that. */
static int warn_of_name(const struct tls_identity *identity, const char *name, const struct log *log)
{
    struct tls_names own = {0};
    int rv = tls_leaf_names(sk_X509_value(identity->chain, 0), &own);
    size_t len = strlen(name);
    if (rv == 0 && tls_names_get(&own, name, len) == NULL && tls_names_find(&own, name, len) == NULL) {
        char names[TLS_NAMES_TOLD_BYTES];
        tls_leaf_tell_names(&own, names);
        log_write(log, LOG_WARN,
                  "the certificate %s is for %s, not for %s: clients that ask for that name will refuse it",
                  identity->what, names, name);
    }
    tls_names_done(&own);
    return rv;
}

static int collect_names(struct tls_identity *identity, const struct tls_certificate *certificate,
                         const struct log *log, char *err, size_t errlen)
{
    struct tls_names *names = &identity->names;
    int rv = certificate->name == NULL ? tls_leaf_names(sk_X509_value(identity->chain, 0), names)
                                       : tls_names_add(names, certificate->name, strlen(certificate->name), names);
    if (rv == -EINVAL) {
        return error_text(err, errlen, rv, "\"%s\" is not the name of a server", certificate->name);
    }
    rv = rv < 0 || certificate->name == NULL ? rv : warn_of_name(identity, certificate->name, log);
    return rv < 0 ? error_text(err, errlen, rv, "out of memory") : 0;
}

/* Life. */

static struct tls_identity *create_identity(const struct tls_certificate *certificate, int base_fd)
{
    struct tls_identity *made = mem_zalloc(sizeof *made);
    if (made == NULL) {
        return NULL;
    }
    atomic_init(&made->refs, 1);
    file_stamps_init(&made->files);
    file_stamps_set_base(&made->files, base_fd);
    made->is_client_optional = certificate->is_client_optional;
    made->what = mem_copy_text(certificate->cert_pem == NULL ? certificate->cert_file
                               : certificate->place == NULL  ? "in memory"
                                                             : certificate->place);
    if (made->what == NULL) {
        tls_identity_put(made);
        return NULL;
    }
    return made;
}

int tls_identity_read(struct tls_identity **identity, const struct tls_certificate *certificate, int base_fd,
                      const struct log *log, char *err, size_t errlen)
{
    if (certificate->cert_file == NULL && certificate->cert_pem == NULL) {
        return error_text(err, errlen, -EINVAL, "a key without a certificate: name its file, or give it in memory");
    }
    struct tls_identity *made = create_identity(certificate, base_fd);
    if (made == NULL) {
        return error_text(err, errlen, -ENOMEM, "out of memory");
    }
    note_files(made, certificate);
    int rv = read_pair(made, certificate, base_fd, log, err, errlen);
    rv = rv < 0 ? rv : read_authorities(made, certificate, base_fd, err, errlen);
    rv = rv < 0 ? rv : collect_names(made, certificate, log, err, errlen);
    if (rv < 0) {
        tls_identity_put(made);
        return rv;
    }
    *identity = made;
    return 0;
}

struct tls_identity *tls_identity_ref(struct tls_identity *identity)
{
    atomic_fetch_add_explicit(&identity->refs, 1, memory_order_relaxed);
    return identity;
}

void tls_identity_put(struct tls_identity *identity)
{
    if (identity == NULL || atomic_fetch_sub_explicit(&identity->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    sk_X509_pop_free(identity->chain, X509_free);
    sk_X509_pop_free(identity->authorities, X509_free);
    EVP_PKEY_free(identity->key);
    tls_names_done(&identity->names);
    file_stamps_done(&identity->files);
    mem_free(identity->failure);
    mem_free(identity->what);
    mem_free(identity);
}

/* Use. */

int tls_identity_use(const struct tls_identity *identity, struct ssl_ctx_st *ctx, char *err, size_t errlen)
{
    STACK_OF(X509) *chain = sk_X509_dup(identity->chain);
    X509 *leaf = sk_X509_shift(chain);
    ERR_clear_error();
    bool is_used = leaf != NULL && SSL_CTX_use_cert_and_key(ctx, leaf, identity->key, chain, 1) == 1;
    sk_X509_free(chain);
    if (!is_used) {
        unsigned long error = ERR_peek_last_error();
        const char *plain = tls_reason_plain(error);
        error_text(err, errlen, 0, "the certificate %s cannot be used: %s", identity->what,
                   plain == NULL ? tls_reason(error) : plain);
        ERR_clear_error();
        return -EINVAL;
    }
    return 0;
}

int tls_identity_kind(const struct tls_identity *identity)
{
    return EVP_PKEY_get_base_id(identity->key);
}

const char *tls_identity_kind_text(const struct tls_identity *identity)
{
    return OBJ_nid2sn(tls_identity_kind(identity));
}

bool tls_identity_has_changed(struct tls_identity *identity)
{
    bool has_changed = file_stamps_changed(&identity->files);
    identity->is_behind = identity->is_behind || has_changed;
    return has_changed;
}

bool tls_identity_note_failure(struct tls_identity *identity, const char *reason)
{
    identity->is_behind = true;
    if (identity->failure != NULL && strcmp(identity->failure, reason) == 0) {
        return false;
    }
    mem_free(identity->failure);
    identity->failure = mem_copy_text(reason); /* NULL: the log will have it again */
    return true;
}

/* Days until then, rounded down; negative when it is past. unknown: what to say without memory. */
static int days_until(const ASN1_TIME *then, time_t now, int unknown)
{
    ASN1_TIME *from = ASN1_TIME_set(NULL, now);
    int days = 0, seconds = 0;
    if (from == NULL || ASN1_TIME_diff(&days, &seconds, from, then) != 1) {
        days = unknown;
    } else if (seconds < 0) {
        days--;
    }
    ASN1_TIME_free(from);
    return days;
}

/* left: days to its end. */
static void log_expiry(const struct tls_identity *identity, const struct log *log, int left, bool is_just_over)
{
    char text[TLS_TIME_TEXT_MAX];
    const char *end = tls_leaf_time(X509_get0_notAfter(sk_X509_value(identity->chain, 0)), text);
    if (left < 0) {
        log_write(log, is_just_over ? LOG_ERROR : LOG_WARN,
                  "the certificate %s has expired (%s): clients will refuse it", identity->what, end);
    } else if (left == 0) {
        log_write(log, LOG_WARN, "the certificate %s expires at %s", identity->what, end);
    } else {
        log_write(log, LOG_WARN, "the certificate %s expires in %d day%s (%s)", identity->what, left,
                  left == 1 ? "" : "s", end);
    }
}

/* Clients would refuse it, though OpenSSL serves it. */
static void log_unfit(const struct tls_identity *identity, const struct log *log)
{
    X509 *leaf = sk_X509_value(identity->chain, 0);
    if (X509_get_ext_by_NID(leaf, NID_subject_alt_name, -1) < 0) {
        log_write(log, LOG_WARN,
                  "the certificate %s has no subjectAltName: browsers refuse it, since they do not look at its common "
                  "name",
                  identity->what);
    }
    if (X509_check_purpose(leaf, X509_PURPOSE_SSL_SERVER, 0) == 0) {
        log_write(log, LOG_WARN,
                  "the certificate %s is not for servers (its key usage says what it is for): clients will refuse it",
                  identity->what);
    }
    ERR_clear_error();
}

void tls_identity_warn(struct tls_identity *identity, const struct log *log, bool is_full)
{
    const X509 *leaf = sk_X509_value(identity->chain, 0);
    time_t now = (time_t)sys_wall_time_s();
    int left = days_until(X509_get0_notAfter(leaf), now, EXPIRY_NOTICE_DAYS);
    int expiry = left < 0 ? EXPIRY_PAST : left < EXPIRY_NOTICE_DAYS ? EXPIRY_NEAR : EXPIRY_FAR;
    int was = identity->expiry;
    identity->expiry = expiry > was ? expiry : was;
    if (expiry >= EXPIRY_NEAR && (is_full || expiry > was)) {
        log_expiry(identity, log, left, expiry == EXPIRY_PAST && was != EXPIRY_UNKNOWN && expiry > was);
    }
    if (is_full && days_until(X509_get0_notBefore(leaf), now + 1, -1) >= 0) {
        log_write(log, LOG_WARN, "the certificate %s is not valid yet: clients will refuse it; is the clock right?",
                  identity->what);
    }
    if (is_full) {
        log_unfit(identity, log);
    }
}

void tls_identity_describe(const struct tls_identity *identity, char *text, size_t size)
{
    char names[TLS_NAMES_TOLD_BYTES], end[TLS_TIME_TEXT_MAX];
    tls_leaf_tell_names(&identity->names, names);
    snprintf(text, size, "%s, until %s", names,
             tls_leaf_time(X509_get0_notAfter(sk_X509_value(identity->chain, 0)), end));
}

bool tls_identity_log_renewed(const struct tls_identity *identity, const struct tls_identity *former,
                              const struct log *log)
{
    char text[TLS_NAMES_TOLD_BYTES + TLS_TIME_TEXT_MAX];
    if (identity == former || X509_cmp(sk_X509_value(identity->chain, 0), sk_X509_value(former->chain, 0)) == 0) {
        return false;
    }
    tls_identity_describe(identity, text, sizeof text);
    log_write(log, LOG_INFO, "%s renewed: %s", identity->what, text);
    return true;
}

#endif
