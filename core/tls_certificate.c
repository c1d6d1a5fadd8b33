/* Happy path: the chain and the key are read and fit.
 *
 * Failure modes: those of tls_pem.c; a key of another certificate. */

#include "core/tls_certificate.h"

#include "core/log.h"
#include "core/sys.h"
#include "core/tls_openssl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#ifdef EVSERVE_HAS_TLS

enum { EXPIRY_NOTICE_DAYS = 14 };

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

int tls_identity_read(struct tls_identity *identity, const struct tls_certificate *certificate, int base_fd,
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
    if (cert.file == NULL && cert.text == NULL) {
        return error_text(err, errlen, -EINVAL, "a key without a certificate: name its file, or give it in memory");
    }
    identity->chain = tls_pem_certificates(&cert, &rv, err, errlen);
    identity->key = identity->chain == NULL ? NULL : tls_pem_key(&key, &rv, err, errlen);
    if (identity->key != NULL && place_in_chain(identity) != 0) {
        rv = error_text(err, errlen, -EINVAL, "the private key (%s) does not belong to the certificate (%s)%s",
                        tls_pem_name(&key), tls_pem_name(&cert),
                        place_in_chain(identity) < 0 ? ""
                                                     : ", but to another one there: the server's own must come first");
    }
    ERR_clear_error();
    if (rv < 0) {
        tls_identity_done(identity);
        return rv;
    }
    if (tls_pem_is_open_to_others(&key)) {
        log_write(log, LOG_WARN, "the private key %s can be read by other users: chmod o= %s", key.file, key.file);
    }
    return 0;
}

void tls_identity_done(struct tls_identity *identity)
{
    sk_X509_pop_free(identity->chain, X509_free);
    EVP_PKEY_free(identity->key);
    *identity = (struct tls_identity){0};
}

struct x509_st *tls_identity_leaf(const struct tls_identity *identity)
{
    return sk_X509_value(identity->chain, 0);
}

static int name_from_address(const ASN1_OCTET_STRING *address, int (*fn)(void *arg, const char *name, size_t len),
                             void *arg)
{
    char text[INET6_ADDRSTRLEN];
    int len = ASN1_STRING_length(address);
    if ((len != 4 && len != 16) ||
        inet_ntop(len == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(address), text, sizeof text) == NULL) {
        return 0;
    }
    return fn(arg, text, strlen(text));
}

static int name_from_subject(const X509 *leaf, int (*fn)(void *arg, const char *name, size_t len), void *arg)
{
    const X509_NAME *subject = X509_get_subject_name(leaf);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (at < 0) {
        return 0;
    }
    const ASN1_STRING *name = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
    return fn(arg, (const char *)ASN1_STRING_get0_data(name), (size_t)ASN1_STRING_length(name));
}

int tls_identity_names(const struct tls_identity *identity, int (*fn)(void *arg, const char *name, size_t len),
                       void *arg)
{
    const X509 *leaf = tls_identity_leaf(identity);
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    if (names == NULL) {
        return name_from_subject(leaf, fn, arg);
    }
    int rv = 0;
    for (int i = 0; i < sk_GENERAL_NAME_num(names) && rv == 0; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_DNS) {
            rv = fn(arg, (const char *)ASN1_STRING_get0_data(name->d.dNSName),
                    (size_t)ASN1_STRING_length(name->d.dNSName));
        } else if (name->type == GEN_IPADD) {
            rv = name_from_address(name->d.iPAddress, fn, arg);
        }
    }
    GENERAL_NAMES_free(names);
    return rv;
}

/* Days until then, rounded down; negative when it is past. */
static int days_until(const ASN1_TIME *then, time_t now)
{
    ASN1_TIME *from = ASN1_TIME_set(NULL, now);
    int days = 0, seconds = 0;
    if (from != NULL && ASN1_TIME_diff(&days, &seconds, from, then) == 1 && seconds < 0) {
        days--;
    }
    ASN1_TIME_free(from);
    return days;
}

void tls_certificate_warn(const struct x509_st *leaf, const char *what, const struct log *log)
{
    time_t now = (time_t)sys_wall_time_s();
    int left = days_until(X509_get0_notAfter(leaf), now);
    if (left < 0) {
        log_write(log, LOG_WARN, "the certificate %s has expired: clients will refuse it", what);
    } else if (left < EXPIRY_NOTICE_DAYS) {
        log_write(log, LOG_WARN, "the certificate %s expires in %d day%s", what, left, left == 1 ? "" : "s");
    }
    if (days_until(X509_get0_notBefore(leaf), now + 1) >= 0) {
        log_write(log, LOG_WARN, "the certificate %s is not valid yet: clients will refuse it; is the clock right?",
                  what);
    }
}

#endif
