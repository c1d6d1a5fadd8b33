#include "tests/lib/made.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include <cmocka.h>

enum { YEAR_1990_S = 631152000 };

static EVP_PKEY *kept_keys[KEY_KINDS];

static EVP_PKEY *make_key(enum key_kind kind)
{
    static const char *const names[KEY_KINDS] = {
        [KEY_RSA_PSS] = "RSA-PSS", [KEY_ED25519] = "ED25519", [KEY_ED448] = "ED448"};
    if (names[kind] == NULL) {
        return kind == KEY_EC ? EVP_EC_gen("P-256") : EVP_RSA_gen(2048);
    }
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, names[kind], NULL);
    EVP_PKEY_keygen_init(ctx);
    EVP_PKEY_keygen(ctx, &key);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static EVP_PKEY *key_of(enum key_kind kind)
{
    if (kept_keys[kind] == NULL) {
        kept_keys[kind] = make_key(kind);
        assert_non_null(kept_keys[kind]);
    }
    return kept_keys[kind];
}

/* Keys of these two kinds sign with a digest of their own. */
static const EVP_MD *digest_for(const EVP_PKEY *key)
{
    int kind = EVP_PKEY_get_base_id(key);
    return kind == EVP_PKEY_ED25519 || kind == EVP_PKEY_ED448 ? NULL : EVP_sha256();
}

void made_keys_free(void)
{
    for (int i = 0; i < KEY_KINDS; i++) {
        EVP_PKEY_free(kept_keys[i]);
        kept_keys[i] = NULL;
    }
}

static void add_extension(X509 *cert, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(cert, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static void write_pem(BIO *bio, char text[MADE_PEM_MAX])
{
    int len = BIO_read(bio, text, MADE_PEM_MAX - 1);
    assert_true(len > 0);
    text[len] = '\0';
    BIO_free(bio);
}

static void make(struct made *made, enum key_kind kind, const char *names, int64_t from_s, int64_t to_s,
                 const struct made *issuer)
{
    static long serial = 1;
    made->key = key_of(kind);
    made->cert = X509_new();
    X509_set_version(made->cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(made->cert), serial++);
    ASN1_TIME_set(X509_getm_notBefore(made->cert), (time_t)from_s);
    ASN1_TIME_set(X509_getm_notAfter(made->cert), (time_t)to_s);
    X509_set_pubkey(made->cert, made->key);
    char common[256] = "someone", list[1024] = "";
    for (const char *at = names; at != NULL && *at != '\0';) {
        size_t len = strcspn(at, ","), used = strlen(list);
        bool is_typed = strncmp(at, "IP:", 3) == 0;
        snprintf(list + used, sizeof list - used, "%s%s%.*s", used == 0 ? "" : ",", is_typed ? "" : "DNS:", (int)len,
                 at);
        if (used == 0) {
            snprintf(common, sizeof common, "%.*s", (int)len, at);
        }
        at += at[len] == '\0' ? len : len + 1;
    }
    X509_NAME_add_entry_by_txt(X509_get_subject_name(made->cert), "CN", MBSTRING_UTF8, (unsigned char *)common, -1, -1,
                               0);
    X509_set_issuer_name(made->cert, X509_get_subject_name(issuer == NULL ? made->cert : issuer->cert));
    if (names != NULL) {
        add_extension(made->cert, NID_subject_alt_name, list);
    }
    if (issuer == NULL) {
        add_extension(made->cert, NID_basic_constraints, "critical,CA:TRUE");
    }
    EVP_PKEY *signer = issuer == NULL ? made->key : issuer->key;
    assert_true(X509_sign(made->cert, signer, digest_for(signer)) > 0);
    X509_check_purpose(made->cert, -1, 0); /* OpenSSL reads the extensions now, not when a test looks for leaks */
    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_X509(bio, made->cert), 1);
    write_pem(bio, made->cert_pem);
    bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PrivateKey(bio, made->key, NULL, NULL, 0, NULL, NULL), 1);
    write_pem(bio, made->key_pem);
}

void made_create(struct made *made, enum key_kind kind, const char *names, const struct made *issuer)
{
    make(made, kind, names, YEAR_1990_S, INT64_C(2208988800), issuer);
}

void made_create_valid(struct made *made, enum key_kind kind, const char *names, int64_t from_s, int64_t to_s)
{
    make(made, kind, names, from_s, to_s, NULL);
}

void made_create_expired(struct made *made, enum key_kind kind, const char *names, const struct made *issuer)
{
    make(made, kind, names, YEAR_1990_S, YEAR_1990_S + 86400, issuer);
}

void made_done(struct made *made)
{
    X509_free(made->cert);
    made->cert = NULL;
}
