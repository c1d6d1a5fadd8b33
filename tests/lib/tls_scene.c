#include "tests/lib/tls_scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include <cmocka.h>

enum { YEAR_1990_S = 631152000, CLIENT_STEPS_MAX = 200000 };

static EVP_PKEY *kept_keys[KEY_KINDS];

static EVP_PKEY *key_of(enum key_kind kind)
{
    if (kept_keys[kind] == NULL) {
        kept_keys[kind] = kind == KEY_EC ? EVP_EC_gen("P-256") : EVP_RSA_gen(2048);
        assert_non_null(kept_keys[kind]);
    }
    return kept_keys[kind];
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
    assert_true(X509_sign(made->cert, issuer == NULL ? made->key : issuer->key, EVP_sha256()) > 0);
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

/* Clients. */

void tls_client_init(struct tls_client *client, int version, void (*step)(void))
{
    memset(client, 0, sizeof *client);
    client->ctx = SSL_CTX_new(TLS_client_method());
    assert_non_null(client->ctx);
    SSL_CTX_set_min_proto_version(client->ctx, version);
    SSL_CTX_set_max_proto_version(client->ctx, version);
    client->step = step;
}

void tls_client_connect(struct tls_client *client, struct fake_peer *peer, const char *server_name)
{
    client->peer = peer;
    client->ssl = SSL_new(client->ctx);
    SSL_set_bio(client->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(client->ssl);
    client->input_len = 0;
    client->has_close_notify = client->has_failed = false;
    if (server_name != NULL) {
        SSL_set_tlsext_host_name(client->ssl, (char *)(uintptr_t)server_name);
    }
}

void tls_client_hang_up(struct tls_client *client)
{
    if (client->ssl != NULL) {
        SSL_set_shutdown(client->ssl,
                         SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* else its session is not for resuming */
    }
    SSL_free(client->ssl);
    client->ssl = NULL;
}

void tls_client_done(struct tls_client *client)
{
    tls_client_hang_up(client);
    SSL_CTX_free(client->ctx);
    client->ctx = NULL;
}

static bool take_output(struct tls_client *client)
{
    size_t len;
    const char *data = fake_peer_output(client->peer, &len);
    if (len > 0) {
        BIO_write(SSL_get_rbio(client->ssl), data, (int)len);
        fake_peer_forget_output(client->peer);
    }
    return len > 0;
}

static bool give_input(struct tls_client *client)
{
    static char data[1 << 20];
    int len = BIO_read(SSL_get_wbio(client->ssl), data, (int)sizeof data);
    for (int at = 0; at < len;) {
        int piece = client->piece == 0 || (int)client->piece > len - at ? len - at : (int)client->piece;
        fake_peer_send(client->peer, data + at, (size_t)piece);
        client->step();
        at += piece;
    }
    return len > 0;
}

static void read_content(struct tls_client *client)
{
    int got;
    do {
        int room = (int)(sizeof client->input - 1 - client->input_len);
        got = room == 0 ? 0 : SSL_read(client->ssl, client->input + client->input_len, room);
        client->input_len += got > 0 ? (size_t)got : 0;
        client->input[client->input_len] = '\0';
        if (got <= 0 && !client->has_failed) {
            int error = SSL_get_error(client->ssl, got);
            client->has_close_notify = client->has_close_notify || error == SSL_ERROR_ZERO_RETURN;
            client->has_failed = error == SSL_ERROR_SSL || error == SSL_ERROR_SYSCALL;
        }
    } while (got > 0);
    ERR_clear_error();
}

void tls_client_run(struct tls_client *client)
{
    for (int i = 0, quiet = 0; quiet < 3; i++) {
        assert_true(i < CLIENT_STEPS_MAX);
        if (!client->has_failed) {
            read_content(client);
        }
        bool has_moved = give_input(client);
        if (!has_moved) {
            client->step();
        }
        has_moved = take_output(client) || has_moved;
        quiet = has_moved ? 0 : quiet + 1;
    }
}

void tls_client_say(struct tls_client *client, const char *content)
{
    assert_int_equal(SSL_write(client->ssl, content, (int)strlen(content)), (int)strlen(content));
    tls_client_run(client);
}

const char *tls_client_saw(const struct tls_client *client)
{
    static char name[256];
    X509 *cert = SSL_get0_peer_certificate(client->ssl);
    name[0] = '\0';
    if (cert != NULL) {
        X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, name, (int)sizeof name);
    }
    return name;
}
