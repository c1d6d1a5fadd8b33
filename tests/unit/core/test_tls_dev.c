/* core/tls_dev.c: the certificate for development is what it says it is, and opens nothing else. */

#include "core/tls_dev.h"

#include "core/tls_context.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cmocka.h>

static struct tls_dev dev, another;
static char err[512];

static int tear_down(void **state)
{
    (void)state;
    fake_sys_reset();
    return fake_mem_live() == 0 ? 0 : -1;
}

static X509 *read_certificate(void)
{
    BIO *bio = BIO_new_mem_buf(dev.cert, -1);
    X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    assert_non_null(cert);
    return cert;
}

static void it_is_for_this_machine_and_the_names(void **state)
{
    (void)state;
    assert_int_equal(tls_dev_make(&dev, "app.test, *.App.test,192.0.2.7,2001:db8::7,", err, sizeof err), 0);
    X509 *cert = read_certificate();
    assert_int_equal(X509_check_host(cert, "localhost", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(cert, "app.test", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(cert, "x.app.test", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(cert, "other.test", 0, 0, NULL), 0);
    assert_int_equal(X509_check_ip_asc(cert, "127.0.0.1", 0), 1);
    assert_int_equal(X509_check_ip_asc(cert, "::1", 0), 1);
    assert_int_equal(X509_check_ip_asc(cert, "192.0.2.7", 0), 1);
    assert_int_equal(X509_check_ip_asc(cert, "2001:db8::7", 0), 1);
    assert_int_equal(X509_check_ip_asc(cert, "127.0.0.2", 0), 0);
    assert_int_equal(X509_check_ca(cert), 0); /* it signs no others */
    assert_int_equal(X509_check_purpose(cert, X509_PURPOSE_SSL_SERVER, 0), 1);
    assert_int_equal(X509_check_purpose(cert, X509_PURPOSE_SSL_CLIENT, 0), 0);
    assert_int_equal(EVP_PKEY_get_base_id(X509_get0_pubkey(cert)), EVP_PKEY_EC);
    assert_int_equal(X509_verify(cert, X509_get0_pubkey(cert)), 1);
    X509_free(cert);
}

static void it_is_valid_for_some_days_of_the_clock(void **state)
{
    (void)state;
    int days, seconds;
    assert_int_equal(tls_dev_make(&dev, "", err, sizeof err), 0);
    X509 *cert = read_certificate();
    assert_int_equal(ASN1_TIME_diff(&days, &seconds, X509_get0_notBefore(cert), X509_get0_notAfter(cert)), 1);
    assert_int_equal(days, TLS_DEV_DAYS);
    ASN1_TIME *now = ASN1_TIME_set(NULL, 784111777); /* the fake clock's start */
    assert_int_equal(ASN1_TIME_diff(&days, &seconds, X509_get0_notBefore(cert), now), 1);
    assert_int_equal(days * 86400 + seconds, 3600);
    ASN1_TIME_free(now);
    X509_free(cert);
}

static void its_texts_are_those_that_clients_take(void **state)
{
    (void)state;
    unsigned char digest[EVP_MAX_MD_SIZE], info[512], *end = info;
    unsigned len;
    char text[128] = "";
    assert_int_equal(tls_dev_make(&dev, "", err, sizeof err), 0);
    X509 *cert = read_certificate();
    X509_digest(cert, EVP_sha256(), digest, &len);
    for (unsigned i = 0; i < len; i++) {
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%02X", i == 0 ? "" : ":", digest[i]);
    }
    assert_string_equal(dev.fingerprint, text);
    int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &end);
    EVP_Digest(info, (size_t)size, digest, &len, EVP_sha256(), NULL);
    EVP_EncodeBlock((unsigned char *)text, digest, (int)len);
    assert_string_equal(dev.pin, text);
    X509_free(cert);

    assert_int_equal(tls_dev_make(&another, "", err, sizeof err), 0); /* each has a key of its own */
    assert_string_not_equal(dev.pin, another.pin);
    tls_dev_wipe(&dev);
    assert_string_equal(dev.key, "");
}

static void a_context_takes_it(void **state)
{
    (void)state;
    const struct tls_settings settings = {0};
    struct tls_context *context;
    assert_int_equal(tls_dev_make(&dev, "app.test", err, sizeof err), 0);
    const struct tls_certificate certificate = {.cert_pem = dev.cert, .key_pem = dev.key};
    assert_int_equal(tls_context_create(&context, &settings, NULL, 0, NULL, err, sizeof err), 0);
    assert_int_equal(tls_context_add(context, &certificate, err, sizeof err), 0);
    assert_int_equal(tls_context_finish(context, err, sizeof err), 0);
    assert_true(tls_context_has_name(context, "localhost", 9) && tls_context_has_name(context, "app.test", 8));
    tls_context_put(context);
}

static void what_is_no_name_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"a b", "a;b",         "*",   "*.",    "a.*",       "..a",
                                      ".a",  "caf\xc3\xa9", "a:1", "[::1]", "https://a", "DNS:other.test",
                                      "a/b", "a\nb"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char names[64];
        snprintf(names, sizeof names, "good.test,%s", bad[i]);
        assert_int_equal(tls_dev_check(names, err, sizeof err), -EINVAL);
        if (strstr(err, bad[i]) == NULL) {
            fail_msg("%s: %s", bad[i], err);
        }
        assert_int_equal(tls_dev_make(&dev, names, err, sizeof err), -EINVAL);
    }
    static const char *const good[] = {"", ",", "a", "a_b.test", "*.a", "1.2.3.4", "::", "xn--caf-dma.test"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(tls_dev_check(good[i], err, sizeof err), 0);
    }
}

/* As many names as there may be, as long as they may be. */
static void there_are_limits(void **state)
{
    (void)state;
    static char names[(TLS_DEV_NAMES_MAX + 1) * (TLS_DEV_NAME_MAX + 2)];
    char *at = names;
    for (int i = 0; i < TLS_DEV_NAMES_MAX; i++) {
        memset(at, 'a', TLS_DEV_NAME_MAX);
        for (int dot = 60; dot < TLS_DEV_NAME_MAX; dot += 61) {
            at[dot] = '.';
        }
        snprintf(at, 3, "%02d", i);
        at[2] = 'a';
        at[TLS_DEV_NAME_MAX] = ',';
        at += TLS_DEV_NAME_MAX + 1;
    }
    *at = '\0';
    assert_int_equal(tls_dev_make(&dev, names, err, sizeof err), 0);
    X509 *cert = read_certificate();
    GENERAL_NAMES *list = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    assert_int_equal(sk_GENERAL_NAME_num(list), TLS_DEV_NAMES_MAX + 3);
    GENERAL_NAMES_free(list);
    X509_free(cert);
    strcpy(at, "b");
    assert_int_equal(tls_dev_check(names, err, sizeof err), -EINVAL);
    assert_string_equal(err, "more than 32 names");
    names[TLS_DEV_NAME_MAX] = 'a'; /* one byte more, to the next comma */
    names[TLS_DEV_NAME_MAX + 1] = ',';
    names[TLS_DEV_NAME_MAX + 2] = '\0';
    assert_int_equal(tls_dev_check(names, err, sizeof err), -EINVAL);
    assert_non_null(strstr(err, "is neither a server name"));
}

#define DEV_TEST(fn) cmocka_unit_test_teardown(fn, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        DEV_TEST(it_is_for_this_machine_and_the_names),
        DEV_TEST(it_is_valid_for_some_days_of_the_clock),
        DEV_TEST(its_texts_are_those_that_clients_take),
        DEV_TEST(a_context_takes_it),
        DEV_TEST(what_is_no_name_is_refused),
        DEV_TEST(there_are_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
