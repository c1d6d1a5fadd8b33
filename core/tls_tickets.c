/* Happy path: OpenSSL asks for the key of a ticket in the handshake. There are two, the present one and the one
 * before; the first handshake after TICKET_KEY_S makes another.
 *
 * Failure mode: without random bytes the old key stays, or the client gets no ticket: it makes a whole handshake the
 * next time. The next program makes new keys if it cannot have those of this one, with the same effect. */

#include "core/tls_tickets.h"

#include "core/mem.h"
#include "core/sys.h"
#include "core/sys_pipe.h"
#include "core/tls_openssl.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#ifdef EVSERVE_HAS_TLS

enum { TICKET_NAME_BYTES = 16, TICKET_KEY_BYTES = 32, TICKET_KEYS = 2 };

struct ticket_key {
    int64_t born_ns;                       /* when it was made; 0: there is none */
    unsigned char name[TICKET_NAME_BYTES]; /* by which a ticket says which key it needs */
    unsigned char cipher[TICKET_KEY_BYTES];
    unsigned char mac[TICKET_KEY_BYTES];
};

struct tls_tickets {
    atomic_uint refs;
    pthread_mutex_t lock;                /* protects keys */
    struct ticket_key keys[TICKET_KEYS]; /* the present one first */
    EVP_CIPHER *cipher;                  /* AES-256-CBC */
};

static bool make_ticket_key(struct ticket_key *key, int64_t now_ns)
{
    key->born_ns = now_ns;
    return RAND_bytes(key->name, TICKET_NAME_BYTES) == 1 && RAND_priv_bytes(key->cipher, TICKET_KEY_BYTES) == 1 &&
           RAND_priv_bytes(key->mac, TICKET_KEY_BYTES) == 1;
}

static bool is_ticket_key_older(const struct ticket_key *key, int64_t now_ns, int64_t seconds)
{
    return now_ns - key->born_ns >= seconds * 1000000000;
}

/* Make another key when it is time, and forget what is too old. Under the lock. */
static void rotate_ticket_keys(struct tls_tickets *tickets)
{
    int64_t now_ns = sys_coarse_ns();
    struct ticket_key *keys = tickets->keys;
    struct ticket_key fresh;
    if (is_ticket_key_older(&keys[0], now_ns, TICKET_KEY_S) && make_ticket_key(&fresh, now_ns)) {
        keys[1] = keys[0];
        keys[0] = fresh;
        OPENSSL_cleanse(&fresh, sizeof fresh);
    }
    if (keys[1].born_ns != 0 && is_ticket_key_older(&keys[1], now_ns, INT64_C(2) * TICKET_KEY_S)) {
        OPENSSL_cleanse(&keys[1], sizeof keys[1]);
    }
}

/* Copy the key that a name asks for, the present one for NULL. Returns its place, or -1. */
static int find_ticket_key(struct tls_tickets *tickets, const unsigned char *name, struct ticket_key *key)
{
    int found = -1;
    pthread_mutex_lock(&tickets->lock);
    rotate_ticket_keys(tickets);
    for (int i = 0; i < TICKET_KEYS && found < 0; i++) {
        const struct ticket_key *it = &tickets->keys[i];
        if (it->born_ns != 0 && (name == NULL || memcmp(it->name, name, TICKET_NAME_BYTES) == 0)) {
            *key = *it;
            found = i;
        }
    }
    pthread_mutex_unlock(&tickets->lock);
    return found;
}

static bool start_ticket(const struct tls_tickets *tickets, struct ticket_key *key, unsigned char *iv,
                         EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int is_made)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, TICKET_KEY_BYTES),
                           OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                           OSSL_PARAM_construct_end()};
    return EVP_CipherInit_ex(cipher, tickets->cipher, NULL, key->cipher, iv, is_made) == 1 &&
           EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* What SSL_CTX_set_tlsext_ticket_key_evp_cb(3) asks for: 1 on success, 2 for a ticket that should be replaced, 0 for
 * no ticket, -1 on failure. */
static int on_ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                         int is_made)
{
    struct tls_tickets *tickets = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    struct ticket_key key;
    int place = find_ticket_key(tickets, is_made != 0 ? NULL : name, &key);
    if (place < 0) {
        return 0;
    }
    /* A client of TLS 1.3 uses a ticket once (RFC 8446, appendix C.4), so it needs another one each time. */
    int rv = place == 0 && SSL_version(ssl) < TLS1_3_VERSION ? 1 : 2;
    if (is_made != 0) {
        memcpy(name, key.name, TICKET_NAME_BYTES);
        rv = RAND_bytes(iv, EVP_CIPHER_get_iv_length(tickets->cipher)) == 1 ? 1 : -1;
    }
    if (rv > 0 && !start_ticket(tickets, &key, iv, cipher, mac, is_made)) {
        rv = -1;
    }
    OPENSSL_cleanse(&key, sizeof key);
    return rv;
}

/* Whether a session was agreed on with a client's certificate that is no longer valid. */
static bool has_expired_client(SSL_SESSION *session)
{
    const X509 *certificate = SSL_SESSION_get0_peer(session);
    time_t now = (time_t)sys_wall_time_s();
    return certificate != NULL && X509_cmp_time(X509_get0_notAfter(certificate), &now) <= 0;
}

/* A ticket was opened, or not. Nobody looks at a certificate again when a session is resumed, and each ticket brings
 * another one: without this, a client could go on with it for ever. */
static int on_ticket_opened(SSL *ssl, SSL_SESSION *session, const unsigned char *name, size_t len, int status,
                            void *arg)
{
    (void)ssl;
    (void)name;
    (void)len;
    (void)arg;
    bool is_open = status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW;
    if (!is_open || has_expired_client(session)) {
        return SSL_TICKET_RETURN_IGNORE_RENEW; /* a whole handshake */
    }
    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

struct tls_tickets *tls_tickets_create(void)
{
    struct tls_tickets *tickets = mem_zalloc(sizeof *tickets);
    if (tickets == NULL) {
        return NULL;
    }
    atomic_init(&tickets->refs, 1);
    pthread_mutex_init(&tickets->lock, NULL);
    tickets->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    if (tickets->cipher == NULL || !make_ticket_key(&tickets->keys[0], sys_coarse_ns())) {
        tls_tickets_put(tickets);
        return NULL;
    }
    return tickets;
}

struct tls_tickets *tls_tickets_ref(struct tls_tickets *tickets)
{
    atomic_fetch_add_explicit(&tickets->refs, 1, memory_order_relaxed);
    return tickets;
}

void tls_tickets_put(struct tls_tickets *tickets)
{
    if (tickets == NULL || atomic_fetch_sub_explicit(&tickets->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    EVP_CIPHER_free(tickets->cipher);
    OPENSSL_cleanse(tickets->keys, sizeof tickets->keys);
    pthread_mutex_destroy(&tickets->lock);
    mem_free(tickets);
}

int tls_tickets_use(struct tls_tickets *tickets, struct ssl_ctx_st *ctx)
{
    if (SSL_CTX_set_app_data(ctx, tickets) != 1) {
        return -ENOMEM;
    }
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket_key);
    if (SSL_CTX_set_session_ticket_cb(ctx, NULL, on_ticket_opened, NULL) != 1) {
        return -ENOMEM;
    }
    SSL_CTX_set_timeout(ctx, TICKET_KEY_S);
    return 0;
}

/* What one program passes to the next: the same machine, so numbers and structs are as they are in memory. */
struct passed_keys {
    char format[8]; /* of what follows */
    struct ticket_key keys[TICKET_KEYS];
};

static const char passed_format[8] = "evtick1";

int tls_tickets_pass(struct tls_tickets *tickets)
{
    struct passed_keys passed;
    memset(&passed, 0, sizeof passed); /* with the padding */
    memcpy(passed.format, passed_format, sizeof passed.format);
    pthread_mutex_lock(&tickets->lock);
    memcpy(passed.keys, tickets->keys, sizeof passed.keys);
    pthread_mutex_unlock(&tickets->lock);
    int fd = sys_pipe_with(&passed, sizeof passed);
    OPENSSL_cleanse(&passed, sizeof passed);
    return fd;
}

/* Whether they can be of a program that ran on this machine before: else their age is not known. */
static bool has_valid_keys(const struct passed_keys *passed, ssize_t len)
{
    const struct ticket_key *keys = passed->keys;
    return len == (ssize_t)sizeof *passed && memcmp(passed->format, passed_format, sizeof passed->format) == 0 &&
           keys[0].born_ns > 0 && keys[0].born_ns <= sys_coarse_ns() && keys[1].born_ns >= 0 &&
           keys[1].born_ns <= keys[0].born_ns;
}

int tls_tickets_take(struct tls_tickets *tickets, int fd)
{
    struct passed_keys passed;
    bool is_valid = has_valid_keys(&passed, sys_read(fd, &passed, sizeof passed));
    if (is_valid) {
        pthread_mutex_lock(&tickets->lock);
        memcpy(tickets->keys, passed.keys, sizeof passed.keys);
        pthread_mutex_unlock(&tickets->lock);
    }
    OPENSSL_cleanse(&passed, sizeof passed);
    return is_valid ? 0 : -EINVAL;
}

#else

int tls_tickets_pass(struct tls_tickets *tickets)
{
    (void)tickets;
    return -ENOTSUP;
}

int tls_tickets_take(struct tls_tickets *tickets, int fd)
{
    (void)tickets;
    (void)fd;
    return -ENOTSUP;
}

#endif
