/* Happy path: the names become a subjectAltName, OpenSSL makes the key and signs the certificate with it.
 *
 * Failure modes: a name that is none; no memory. */

#include "core/tls_dev.h"

#include "core/log.h"
#include "core/sys.h"
#include "core/tls_openssl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Names. */

static bool is_host_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
}

/* What a name is, in the words of OpenSSL's subjectAltName: "DNS" or "IP"; NULL for what is neither. */
static const char *name_kind(const char *name)
{
    unsigned char address[sizeof(struct in6_addr)];
    if (inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1) {
        return "IP";
    }
    const char *at = strncmp(name, "*.", 2) == 0 ? name + 2 : name;
    if (*at == '\0' || *at == '.' || strstr(at, "..") != NULL) {
        return NULL;
    }
    for (; *at != '\0'; at++) {
        if (!is_host_byte(*at)) {
            return NULL;
        }
    }
    return "DNS";
}

/* Take the next name of a list. Returns false at its end. One that is too long is cut, and is no name then. */
static bool next_name(const char **names, char name[TLS_DEV_NAME_MAX + 2])
{
    *names += strspn(*names, ", ");
    size_t len = strcspn(*names, ",");
    snprintf(name, TLS_DEV_NAME_MAX + 2, "%.*s", (int)(len > TLS_DEV_NAME_MAX + 1 ? TLS_DEV_NAME_MAX + 1 : len),
             *names);
    *names += len;
    return len > 0;
}

int tls_dev_check(const char *names, char *err, size_t errlen)
{
    char name[TLS_DEV_NAME_MAX + 2];
    for (int count = 0; next_name(&names, name); count++) {
        if (count == TLS_DEV_NAMES_MAX) {
            return error_text(err, errlen, -EINVAL, "more than %d names", TLS_DEV_NAMES_MAX);
        }
        if (strlen(name) > TLS_DEV_NAME_MAX || name_kind(name) == NULL) {
            return error_text(err, errlen, -EINVAL,
                              "\"%.80s\" is neither a server name, such as \"app.test\" or \"*.app.test\", nor an IP "
                              "address",
                              name);
        }
    }
    return 0;
}

#ifdef EVSERVE_HAS_TLS

enum { NAMES_TEXT_MAX = (TLS_DEV_NAMES_MAX + 3) * (TLS_DEV_NAME_MAX + 8) };

static const char common_name[] = "evserve, for development only";

/* The value of subjectAltName. names were checked. */
static void write_names(char text[NAMES_TEXT_MAX], const char *names)
{
    char name[TLS_DEV_NAME_MAX + 2];
    int used = snprintf(text, NAMES_TEXT_MAX, "DNS:localhost,IP:127.0.0.1,IP:::1");
    while (next_name(&names, name)) {
        used += snprintf(text + used, NAMES_TEXT_MAX - (size_t)used, ",%s:%s", name_kind(name), name);
    }
}

static bool add_extension(X509 *cert, int which, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, which, value);
    bool is_added = extension != NULL && X509_add_ext(cert, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return is_added;
}

/* Fill a certificate for the key, and sign it. */
static bool fill_certificate(X509 *cert, EVP_PKEY *key, const char *names)
{
    char text[NAMES_TEXT_MAX];
    uint64_t serial = 0;
    time_t now = (time_t)sys_wall_time_s();
    X509_NAME *subject = X509_get_subject_name(cert);
    write_names(text, names);
    return RAND_bytes((unsigned char *)&serial, sizeof serial) == 1 && X509_set_version(cert, X509_VERSION_3) == 1 &&
           ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), serial >> 1 | 1) == 1 &&
           ASN1_TIME_set(X509_getm_notBefore(cert), now - 3600) != NULL &&
           ASN1_TIME_set(X509_getm_notAfter(cert), now + TLS_DEV_DAYS * 86400) != NULL &&
           X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)common_name, -1, -1, 0) ==
               1 &&
           X509_set_issuer_name(cert, subject) == 1 && X509_set_pubkey(cert, key) == 1 &&
           add_extension(cert, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(cert, NID_key_usage, "critical,digitalSignature") &&
           add_extension(cert, NID_ext_key_usage, "serverAuth") && add_extension(cert, NID_subject_alt_name, text) &&
           X509_sign(cert, key, EVP_sha256()) > 0;
}

/* Write PEM. Returns whether it was whole. */
static bool write_pem(BIO *bio, bool is_written, char *text, size_t size)
{
    int len = is_written ? BIO_read(bio, text, (int)size - 1) : -1;
    text[len < 0 ? 0 : len] = '\0';
    return len > 0 && BIO_pending(bio) == 0;
}

static bool write_fingerprint(const X509 *cert, char *text, size_t size)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    size_t used = 0;
    text[0] = '\0';
    if (X509_digest(cert, EVP_sha256(), digest, &len) != 1) {
        return false;
    }
    for (unsigned i = 0; i < len && used < size; i++) {
        used += (size_t)snprintf(text + used, size - used, "%s%02X", i == 0 ? "" : ":", digest[i]);
    }
    return used < size;
}

/* The digest of the key as it is in a certificate (SubjectPublicKeyInfo). */
static bool write_pin(EVP_PKEY *key, char pin[64])
{
    unsigned char info[256], digest[EVP_MAX_MD_SIZE], *end = info;
    unsigned len = 0;
    EVP_MD_CTX *sum = i2d_PUBKEY(key, NULL) > (int)sizeof info ? NULL : EVP_MD_CTX_new();
    int size = sum == NULL ? 0 : i2d_PUBKEY(key, &end);
    bool is_whole = size > 0 && EVP_DigestInit_ex(sum, EVP_sha256(), NULL) == 1 &&
                    EVP_DigestUpdate(sum, info, (size_t)size) == 1 && EVP_DigestFinal_ex(sum, digest, &len) == 1 &&
                    EVP_EncodeBlock((unsigned char *)pin, digest, (int)len) > 0;
    EVP_MD_CTX_free(sum);
    return is_whole;
}

static bool write_all(struct tls_dev *dev, X509 *cert, EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_mem());
    bool is_whole = bio != NULL && write_pem(bio, PEM_write_bio_X509(bio, cert) == 1, dev->cert, sizeof dev->cert) &&
                    write_pem(bio, PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1, dev->key,
                              sizeof dev->key) &&
                    write_fingerprint(cert, dev->fingerprint, sizeof dev->fingerprint) && write_pin(key, dev->pin);
    BIO_free(bio);
    return is_whole;
}

int tls_dev_make(struct tls_dev *dev, const char *names, char *err, size_t errlen)
{
    int rv = tls_dev_check(names, err, errlen);
    rv = rv < 0 ? rv : tls_openssl_load(err, errlen);
    if (rv < 0) {
        return rv;
    }
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    X509 *cert = X509_new();
    if (key == NULL || cert == NULL || !fill_certificate(cert, key, names) || !write_all(dev, cert, key)) {
        rv = error_text(err, errlen, -ENOMEM, "cannot make a certificate for development: %s", errno_text(ENOMEM));
        tls_dev_wipe(dev);
    }
    ERR_clear_error();
    X509_free(cert);
    EVP_PKEY_free(key);
    return rv;
}

#else

int tls_dev_make(struct tls_dev *dev, const char *names, char *err, size_t errlen)
{
    (void)dev;
    (void)names;
    return error_text(err, errlen, -ENOTSUP, "this evserve was built without TLS (libssl-dev)");
}

#endif

void tls_dev_wipe(struct tls_dev *dev)
{
    explicit_bzero(dev->key, sizeof dev->key);
}
