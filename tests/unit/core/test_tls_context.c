/* Contexts: what is read, what is refused and with which words, and what the log warns of. */

#include "core/tls_context.h"

#include "core/log.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"
#include "tests/lib/file_tree.h"
#include "tests/lib/tls_scene.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/pem.h>

#include <cmocka.h>

enum { DAY_S = 86400, FAKE_NOW_S = 784111777 }; /* the fake clock's start */

static struct made made, made_rsa, made_other;
static struct file_tree tree;
static struct tls_context *context;
static char log_text[4096], err[512];
static struct log sink_log;

static void keep(void *arg, int level, const char *line)
{
    (void)arg;
    size_t used = strlen(log_text);
    snprintf(log_text + used, sizeof log_text - used, "%s: %s\n", log_level_name(level), line);
}

static const char *path_of(const char *name)
{
    static char paths[8][512];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", tree.path, name);
    return path;
}

static int set_up(void **state)
{
    (void)state;
    fake_sys_reset();
    tree_make(&tree);
    sink_log = (struct log){.sink = keep, .level = LOG_DEBUG};
    log_text[0] = err[0] = '\0';
    tree_add_file(&tree, "cert.pem", made.cert_pem);
    tree_add_file(&tree, "key.pem", made.key_pem);
    assert_int_equal(chmod(path_of("key.pem"), 0600), 0);
    const struct tls_settings settings = {0};
    context = NULL;
    return tls_context_create(&context, &settings, NULL, 0, &sink_log, err, sizeof err);
}

static int tear_down(void **state)
{
    (void)state;
    tls_context_put(context);
    int fds = fake_sys_open_fds();
    fake_sys_reset();
    tree_remove(&tree);
    return fds == 0 && fake_mem_live() == 0 ? 0 : -1;
}

static int add(const struct tls_certificate *certificate)
{
    err[0] = '\0';
    return tls_context_add(context, certificate, err, sizeof err);
}

static bool has_name(const char *name)
{
    return tls_context_has_name(context, name, strlen(name));
}

static void files_are_read_and_their_names_known(void **state)
{
    (void)state;
    assert_null(tls_context_default(context));
    const struct tls_certificate files = {.cert_file = path_of("cert.pem"), .key_file = path_of("key.pem")};
    assert_int_equal(add(&files), 0);
    assert_string_equal(log_text, "");
    assert_null(tls_context_default(context));
    assert_true(has_name("example.org") && has_name("x.wild.example") && has_name("192.0.2.7"));
    assert_false(has_name("example.com") || has_name("wild.example"));
    const struct tls_certificate named = {.name = "*.other.org", .cert_pem = made.cert_pem, .key_pem = made.key_pem};
    assert_int_equal(add(&named), 0);
    assert_true(has_name("a.other.org"));
    char both[2 * MADE_PEM_MAX];
    snprintf(both, sizeof both, "%s%s", made_other.cert_pem, made_other.key_pem);
    const struct tls_certificate whole = {.cert_pem = both};
    assert_int_equal(add(&whole), 0);
    assert_true(has_name("someone")); /* its subject, for lack of names */
    assert_int_equal(tls_context_finish(context, err, sizeof err), 0);
    assert_non_null(tls_context_default(context));
}

static void second_certificate_of_the_same_kind_is_refused(void **state)
{
    (void)state;
    const struct tls_certificate ec = {.cert_pem = made.cert_pem, .key_pem = made.key_pem};
    const struct tls_certificate rsa = {.cert_pem = made_rsa.cert_pem, .key_pem = made_rsa.key_pem};
    assert_int_equal(add(&ec), 0);
    assert_int_equal(add(&rsa), 0);
    assert_int_equal(add(&rsa), -EEXIST);
    assert_non_null(strstr(err, "the same names"));
    assert_non_null(strstr(err, "rsaEncryption"));
}

static void kinds_of_keys_that_openssl_has_are_all_side_by_side(void **state)
{
    (void)state;
    for (int kind = 0; kind < KEY_KINDS; kind++) {
        struct made one;
        made_create(&one, (enum key_kind)kind, "example.org", NULL);
        const struct tls_certificate certificate = {.cert_pem = one.cert_pem, .key_pem = one.key_pem};
        if (add(&certificate) < 0) {
            fail_msg("%s", err);
        }
        made_done(&one);
    }
    assert_int_equal(tls_context_finish(context, err, sizeof err), 0);
}

static void certificate_that_nobody_would_be_shown_is_refused(void **state)
{
    (void)state;
    const struct tls_certificate whole = {.cert_pem = made.cert_pem, .key_pem = made.key_pem};
    const struct tls_certificate part = {.name = "example.org", .cert_pem = made.cert_pem, .key_pem = made.key_pem};
    const struct tls_certificate more = {.name = "a.example.org", .cert_pem = made.cert_pem, .key_pem = made.key_pem};
    struct made nameless;
    made_create(&nameless, KEY_RSA, "IP:192.0.2.8", NULL);
    assert_int_equal(add(&whole), 0);
    assert_int_equal(add(&part), -EEXIST);
    assert_int_equal(add(&more), 0);
    assert_int_equal(add(&whole), -EEXIST);
    const struct tls_certificate address = {.cert_pem = nameless.cert_pem, .key_pem = nameless.key_pem};
    assert_int_equal(add(&address), 0);
    assert_int_equal(tls_context_finish(context, err, sizeof err), 0);
    made_done(&nameless);
}

/* What a reload does with a pair whose files are broken, and a look with one whose files are as they were. */
static void certificates_go_on_from_one_context_to_the_next(void **state)
{
    (void)state;
    const struct tls_settings settings = {0};
    const struct tls_certificate files = {.cert_file = path_of("cert.pem"), .key_file = path_of("key.pem")};
    const struct tls_certificate rsa = {.cert_pem = made_rsa.cert_pem, .key_pem = made_rsa.key_pem};
    assert_int_equal(add(&files), 0);
    assert_int_equal(add(&rsa), 0);
    assert_int_equal(tls_context_finish(context, err, sizeof err), 0);
    assert_false(tls_context_has_behind(context));
    tree_add_file(&tree, "cert.pem", "not whole yet");
    assert_true(tls_context_is_stale(context));
    assert_true(tls_context_is_behind(context, 0));
    assert_false(tls_context_is_behind(context, 1));
    for (int i = 0; i < 3; i++) {
        struct tls_context *next;
        assert_int_equal(tls_context_create(&next, &settings, context, 0, &sink_log, err, sizeof err), 0);
        assert_int_equal(tls_context_take(next, context, 1, NULL), 0);
        assert_true(tls_context_add(next, &files, err, sizeof err) < 0);
        assert_int_equal(tls_context_take(next, context, 0, i < 2 ? "not whole" : "gone"), i == 1 ? 0 : 1);
        assert_int_equal(tls_context_finish(next, err, sizeof err), 0);
        tls_context_put(context); /* those of the next one outlive it */
        context = next;
        assert_true(has_name("example.org"));
        assert_true(tls_context_has_behind(context));
        assert_false(tls_context_is_stale(context));
        next = NULL;
        assert_int_equal(tls_context_create(&next, &settings, context, 0, &sink_log, err, sizeof err), 0);
        assert_int_equal(tls_context_take(next, context, 1, NULL), 0);
        assert_int_equal(tls_context_take(next, context, 0, NULL), 0);
        assert_int_equal(tls_context_finish(next, err, sizeof err), 0);
        tls_context_put(context);
        context = next;
    }
}

/* A certificate whose extension basicConstraints is no ASN.1: OpenSSL reads it, and then does not use it. */
static void add_odd_certificate(const char *name)
{
    char text[MADE_PEM_MAX];
    X509 *odd = X509_dup(made.cert);
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    ASN1_OCTET_STRING_set(value, (const unsigned char *)"odd", 3);
    X509_EXTENSION *extension = X509_EXTENSION_create_by_NID(NULL, NID_basic_constraints, 1, value);
    int at = X509_get_ext_by_NID(odd, NID_basic_constraints, -1);
    X509_EXTENSION_free(at < 0 ? NULL : X509_delete_ext(odd, at));
    X509_add_ext(odd, extension, -1);
    X509_sign(odd, made.key, EVP_sha256());
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, odd);
    int len = BIO_read(bio, text, (int)sizeof text - 1);
    text[len] = '\0';
    tree_add_file(&tree, name, text);
    BIO_free(bio);
    X509_EXTENSION_free(extension);
    ASN1_OCTET_STRING_free(value);
    X509_free(odd);
}

static void what_is_wrong_is_said_with_the_name_of_the_file(void **state)
{
    (void)state;
    char encrypted[MADE_PEM_MAX];
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PKCS8PrivateKey(bio, made.key, EVP_aes_128_cbc(), "secret", 6, NULL, NULL);
    int len = BIO_read(bio, encrypted, (int)sizeof encrypted - 1);
    encrypted[len] = '\0';
    BIO_free(bio);
    tree_add_file(&tree, "secret.pem", encrypted);
    tree_add_file(&tree, "empty.pem", "");
    tree_add_file(&tree, "text.pem", "hello\n");
    tree_add_file(&tree, "broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    tree_add_file(&tree, "torn.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n");
    tree_add_file(&tree, "rsa.pem", made_rsa.key_pem);
    add_odd_certificate("odd.pem");
    static const char begin[] = "-----BEGIN CERTIFICATE-----\n";
    char sealed[sizeof made + 128];
    snprintf(sealed, sizeof sealed,
             "%sProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\n%s", begin,
             made.cert_pem + strlen(begin));
    tree_add_file(&tree, "sealed.pem", sealed);
    static const struct {
        const char *cert, *key, *ca;
        const char *words[3];
    } rows[] = {
        {"none.pem", "key.pem", NULL, {"cannot read the certificate", "none.pem", "No such file"}},
        {"cert.pem", "none.pem", NULL, {"cannot read the private key", "none.pem", "No such file"}},
        {"empty.pem", "key.pem", NULL, {"no certificate in", "empty.pem", "-----BEGIN CERTIFICATE-----"}},
        {"text.pem", "key.pem", NULL, {"no certificate in", "text.pem", "BEGIN"}},
        {"key.pem", "key.pem", NULL, {"no certificate in", "key.pem", "BEGIN"}},
        {"cert.pem", "cert.pem", NULL, {"no private key in", "cert.pem", "BEGIN PRIVATE KEY"}},
        {"cert.pem", "text.pem", NULL, {"private key", "text.pem", ""}},
        {"broken.pem", "key.pem", NULL, {"the certificate in", "broken.pem", "is damaged or cut off"}},
        {"odd.pem", "key.pem", NULL, {"the certificate in", "odd.pem", "has extensions that cannot be read"}},
        {"torn.pem", "key.pem", NULL, {"certificate in", "torn.pem", ""}},
        {"sealed.pem", "key.pem", NULL, {"the certificate in", "sealed.pem", "is encrypted"}},
        {"cert.pem", "secret.pem", NULL, {"secret.pem has a passphrase", "", ""}},
        {"cert.pem", "rsa.pem", NULL, {"does not belong to", "rsa.pem", "cert.pem"}},
        {"cert.pem", "key.pem", "none.pem", {"cannot read the certificate of an authority", "none.pem", ""}},
        {"cert.pem", "key.pem", "text.pem", {"no certificate of an authority in", "text.pem", ""}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct tls_certificate certificate = {.cert_file = path_of(rows[i].cert),
                                                    .key_file = path_of(rows[i].key),
                                                    .client_ca_file = rows[i].ca == NULL ? NULL : path_of(rows[i].ca)};
        assert_true(add(&certificate) < 0);
        for (int word = 0; word < 3; word++) {
            if (strstr(err, rows[i].words[word]) == NULL) {
                fail_msg("row %zu: %s", i, err);
            }
        }
    }
    const struct tls_certificate none = {.key_file = path_of("key.pem")};
    assert_int_equal(add(&none), -EINVAL);
}

static void settings_are_checked(void **state)
{
    (void)state;
    static const struct {
        struct tls_settings settings;
        const char *word;
    } rows[] = {
        {{.min_version = "1.1"}, "TLS min_version \"1.1\""},
        {{.ciphers = "NO-SUCH-CIPHER"}, "TLS ciphers \"NO-SUCH-CIPHER\": no cipher match"},
        {{.ciphersuites = "TLS_NONE"}, "TLS ciphersuites \"TLS_NONE\""},
        {{.groups = "P-1"}, "TLS groups \"P-1\""},
        {{.ciphers = "FOO", .ciphers_place = "site.lua:3"},
         "site.lua:3: TLS ciphers \"FOO\": no cipher match; \"openssl ciphers -v\""},
        {{.groups = "FOO", .groups_place = "site.lua:4"}, "site.lua:4: TLS groups \"FOO\": "},
        {{.alpn = "http/1.1,,h2"}, "TLS alpn"},
        {{.alpn = ""}, "TLS alpn"},
        {{.min_version = "1.3", .ciphersuites = "TLS_AES_128_GCM_SHA256", .groups = "X25519", .alpn = "h2,http/1.1"},
         NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tls_context *other = NULL;
        int rv = tls_context_create(&other, &rows[i].settings, NULL, 0, NULL, err, sizeof err);
        assert_int_equal(rv, rows[i].word == NULL ? 0 : -EINVAL);
        if (rv < 0 && strstr(err, rows[i].word) == NULL) {
            fail_msg("row %zu: %s", i, err);
        }
        tls_context_put(other);
    }
}

static void log_warns_of_a_name_that_the_certificate_does_not_contain(void **state)
{
    (void)state;
    static const struct {
        const char *names, *name, *word; /* word: "" for no warning */
    } rows[] = {
        {"one.example,two.example", "two.example", ""},
        {"one.example,*.two.example", "WWW.Two.Example", ""},
        {"*.two.example", "*.two.example", ""},
        {"*.two.example", "two.example", "is for *.two.example, not for two.example: clients that ask for that name"},
        {"a.example,b.example,c.example,d.example", "e.example",
         "is for a.example, b.example, c.example and 1 more, not for e.example"},
        {"one.example", "*.one.example", "is for one.example, not for *.one.example"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct made near;
        char text[512];
        made_create(&near, KEY_EC, rows[i].names, NULL);
        struct tls_certificate certificate = {.cert_pem = near.cert_pem,
                                              .key_pem = near.key_pem,
                                              .name = rows[i].name,
                                              .place = "site.lua:3"};
        struct tls_context *other;
        log_text[0] = '\0';
        assert_int_equal(tls_context_create(&other, &(struct tls_settings){0}, NULL, 0, &sink_log, text, sizeof text),
                         0);
        assert_int_equal(tls_context_add(other, &certificate, text, sizeof text), 0);
        if (rows[i].word[0] == '\0' ? log_text[0] != '\0' : strstr(log_text, rows[i].word) == NULL) {
            fail_msg("%s: %s", rows[i].name, log_text);
        }
        assert_true(tls_context_describe(other, 0, text, sizeof text));
        assert_int_equal(strncmp(text, "site.lua:3: ", 12), 0);
        assert_non_null(strstr(text, ".example, until "));
        assert_false(tls_context_describe(other, 1, text, sizeof text));
        tls_context_put(other);
        made_done(&near);
    }
}

static void log_warns_of_keys_that_others_can_read_and_of_certificates_near_their_end(void **state)
{
    (void)state;
    assert_int_equal(chmod(path_of("key.pem"), 0644), 0);
    const struct tls_certificate files = {.cert_file = path_of("cert.pem"), .key_file = path_of("key.pem")};
    assert_int_equal(add(&files), 0);
    assert_non_null(strstr(log_text, "warn: the private key "));
    assert_non_null(strstr(log_text, "can be read by other users"));
    static const struct {
        int64_t from_s, to_s;
        const char *word; /* "" for no warning */
    } rows[] = {
        {-DAY_S, 20 * DAY_S, ""},
        {-DAY_S, 13 * DAY_S + 10, "expires in 13 days (1994-11-19 08:49 UTC)\n"},
        {-DAY_S, DAY_S + 10, "expires in 1 day (1994-11-07 08:49 UTC)\n"},
        {-DAY_S, 10, "in memory expires at 1994-11-06 08:49 UTC\n"},
        {-DAY_S, -10, "has expired (1994-11-06 08:49 UTC)"},
        {3600, 20 * DAY_S, "is not valid yet"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct made near;
        char name[32];
        snprintf(name, sizeof name, "near%zu.example", i);
        made_create_valid(&near, KEY_EC, name, FAKE_NOW_S + rows[i].from_s, FAKE_NOW_S + rows[i].to_s);
        const struct tls_certificate certificate = {.cert_pem = near.cert_pem, .key_pem = near.key_pem};
        log_text[0] = '\0';
        assert_int_equal(add(&certificate), 0);
        if (strstr(log_text, rows[i].word) == NULL || (rows[i].word[0] == '\0' && log_text[0] != '\0')) {
            fail_msg("row %zu: %s", i, log_text);
        }
        made_done(&near);
    }
    log_text[0] = '\0';
    tls_context_warn(context, true);
    assert_non_null(strstr(log_text, "warn: the certificate in memory has expired"));
    assert_non_null(strstr(log_text, "is not valid yet"));
    log_text[0] = '\0';
    tls_context_warn(context, false); /* nothing of it is new */
    assert_string_equal(log_text, "");
}

/* What the log has when the wall clock is this many seconds before the end of the certificate. */
static const char *said_before_end(int64_t before_s)
{
    log_text[0] = '\0';
    fake_sys_set_wall_time_s(FAKE_NOW_S + 20 * DAY_S - before_s);
    tls_context_warn(context, false);
    return log_text;
}

static void crossing_the_last_fourteen_days_and_the_end_is_said_once_each(void **state)
{
    (void)state;
    struct made near;
    made_create_valid(&near, KEY_EC, "near.example", FAKE_NOW_S - DAY_S, FAKE_NOW_S + 20 * DAY_S);
    const struct tls_certificate certificate = {.cert_pem = near.cert_pem,
                                                .key_pem = near.key_pem,
                                                .place = "site.lua:3"};
    assert_int_equal(add(&certificate), 0);
    assert_string_equal(said_before_end(14 * DAY_S), "");
    assert_string_equal(said_before_end(14 * DAY_S - 1),
                        "warn: the certificate site.lua:3 expires in 13 days (1994-11-26 08:49 UTC)\n");
    assert_string_equal(said_before_end(14 * DAY_S - 60), "");
    assert_string_equal(said_before_end(0), "");
    assert_string_equal(said_before_end(-1), "error: the certificate site.lua:3 has expired (1994-11-26 08:49 UTC): "
                                             "clients will refuse it\n");
    assert_string_equal(said_before_end(-60), "");
    assert_string_equal(said_before_end(60), ""); /* the clock was set back */
    assert_string_equal(said_before_end(-60), "");
    made_done(&near);
}

static void a_renewal_is_said_with_names_and_end(void **state)
{
    (void)state;
    const struct tls_settings settings = {0};
    const struct tls_certificate files = {.cert_file = path_of("cert.pem"), .key_file = path_of("key.pem")};
    struct tls_context *next;
    struct made few, many;
    made_create_valid(&few, KEY_EC, "one.example,two.example", FAKE_NOW_S, FAKE_NOW_S + 20 * DAY_S);
    made_create_valid(&many, KEY_RSA, "a.example,b.example,c.example,d.example,e.example", FAKE_NOW_S,
                      FAKE_NOW_S + 20 * DAY_S);
    const struct tls_certificate mine = {.cert_pem = few.cert_pem, .key_pem = few.key_pem, .place = "site.lua:3"};
    const struct tls_certificate big = {.cert_pem = many.cert_pem, .key_pem = many.key_pem, .place = "site.lua:4"};
    assert_int_equal(add(&files), 0);
    assert_int_equal(tls_context_create(&next, &settings, context, 0, &sink_log, err, sizeof err), 0);
    assert_int_equal(tls_context_add(next, &files, err, sizeof err), 0);
    assert_int_equal(tls_context_add(next, &mine, err, sizeof err), 0);
    assert_int_equal(tls_context_add(next, &big, err, sizeof err), 0);
    log_text[0] = '\0';
    assert_false(tls_context_log_renewed(next, 0, context, 0)); /* read again, and the same */
    assert_string_equal(log_text, "");
    assert_true(tls_context_log_renewed(next, 1, context, 0));
    assert_true(tls_context_log_renewed(next, 2, context, 0));
    assert_string_equal(log_text,
                        "info: site.lua:3 renewed: one.example, two.example, until 1994-11-26 08:49 UTC\n"
                        "info: site.lua:4 renewed: a.example, b.example, c.example and 2 more, until 1994-11-26 08:49 "
                        "UTC\n");
    tls_context_put(next);
    made_done(&few);
    made_done(&many);
}

/* PEM in memory has no file's name; its errors read well all the same. */
static void damaged_pem_is_said_in_plain_words(void **state)
{
    (void)state;
    char cert[MADE_PEM_MAX], key[MADE_PEM_MAX];
    snprintf(cert, sizeof cert, "%.200s\n-----END CERTIFICATE-----\n", made.cert_pem);
    snprintf(key, sizeof key, "%.80s", made.key_pem);
    const struct tls_certificate broken = {.cert_pem = cert, .key_pem = made.key_pem};
    assert_int_equal(add(&broken), -EINVAL);
    assert_ptr_equal(strstr(err, "the certificate in the PEM text is damaged or cut off (OpenSSL: "), err);
    const struct tls_certificate no_key = {.cert_pem = made.cert_pem, .key_pem = key};
    assert_int_equal(add(&no_key), -EINVAL);
    assert_ptr_equal(strstr(err, "the private key in the PEM text is damaged or cut off"), err);
    const struct tls_certificate none = {.cert_pem = "x", .key_pem = made.key_pem};
    assert_int_equal(add(&none), -EINVAL);
    assert_string_equal(err,
                        "no certificate in the PEM text: PEM text with \"-----BEGIN CERTIFICATE-----\" is expected");
}

static void files_that_are_replaced_make_it_stale_once(void **state)
{
    (void)state;
    assert_int_equal(symlink("cert.pem", path_of("live.pem")), 0);
    tree_add_file(&tree, "cert2.pem", made.cert_pem);
    const struct tls_certificate files = {.cert_file = path_of("live.pem"), .key_file = path_of("key.pem")};
    assert_int_equal(add(&files), 0);
    assert_false(tls_context_is_stale(context));
    assert_int_equal(unlink(path_of("live.pem")), 0);
    assert_false(tls_context_is_stale(context)); /* it is being replaced */
    assert_int_equal(symlink("cert2.pem", path_of("live.pem")), 0);
    assert_true(tls_context_is_stale(context));
    assert_false(tls_context_is_stale(context));
    tree_add_file(&tree, "key2.pem", made.key_pem);
    assert_int_equal(rename(path_of("key2.pem"), path_of("key.pem")), 0);
    assert_true(tls_context_is_stale(context));
}

static void without_memory_a_certificate_is_refused_and_nothing_leaks(void **state)
{
    (void)state;
    const struct tls_settings settings = {.alpn = "http/1.1"};
    bool has_failed = true;
    for (uint64_t n = 1; has_failed; n++) {
        struct tls_context *other = NULL;
        const struct tls_certificate files = {.cert_file = path_of("cert.pem"), .key_file = path_of("key.pem")};
        fake_mem_fail_after(n, false);
        int rv = tls_context_create(&other, &settings, context, 0, NULL, err, sizeof err);
        rv = rv < 0 ? rv : tls_context_add(other, &files, err, sizeof err);
        rv = rv < 0 ? rv : tls_context_finish(other, err, sizeof err);
        has_failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        assert_true(has_failed || rv == 0);
        tls_context_put(other);
    }
}

static int make_certificates(void **state)
{
    (void)state;
    made_create(&made, KEY_EC, "example.org,*.wild.example,IP:192.0.2.7", NULL);
    made_create(&made_rsa, KEY_RSA, "*.wild.example,IP:192.0.2.7,example.org", NULL);
    made_create(&made_other, KEY_EC, NULL, NULL);
    return 0;
}

static int free_certificates(void **state)
{
    (void)state;
    made_done(&made);
    made_done(&made_rsa);
    made_done(&made_other);
    made_keys_free();
    return 0;
}

#define CONTEXT_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONTEXT_TEST(files_are_read_and_their_names_known),
        CONTEXT_TEST(second_certificate_of_the_same_kind_is_refused),
        CONTEXT_TEST(kinds_of_keys_that_openssl_has_are_all_side_by_side),
        CONTEXT_TEST(certificate_that_nobody_would_be_shown_is_refused),
        CONTEXT_TEST(certificates_go_on_from_one_context_to_the_next),
        CONTEXT_TEST(what_is_wrong_is_said_with_the_name_of_the_file),
        CONTEXT_TEST(settings_are_checked),
        CONTEXT_TEST(log_warns_of_a_name_that_the_certificate_does_not_contain),
        CONTEXT_TEST(log_warns_of_keys_that_others_can_read_and_of_certificates_near_their_end),
        CONTEXT_TEST(crossing_the_last_fourteen_days_and_the_end_is_said_once_each),
        CONTEXT_TEST(a_renewal_is_said_with_names_and_end),
        CONTEXT_TEST(damaged_pem_is_said_in_plain_words),
        CONTEXT_TEST(files_that_are_replaced_make_it_stale_once),
        CONTEXT_TEST(without_memory_a_certificate_is_refused_and_nothing_leaks),
    };
    return cmocka_run_group_tests(tests, make_certificates, free_certificates);
}
