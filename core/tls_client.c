/* The client's side of TLS.
 *
 * Happy path: hello goes out when the connection is opened, with the session of an earlier one if there is one. When
 * the server has shown a certificate that is for its name, our last words go out with the first content.
 *
 * Failure modes: a certificate that is not accepted, or a server that does not shake hands; the reason is kept as a
 * text, since nothing else is left of it. A session that leads to nothing is forgotten. */

#include "core/tls_client.h"

#include "core/mem.h"
#include "core/tls_client_context.h"
#include "core/tls_client_reason.h"
#include "core/tls_openssl.h"
#include "core/tls_pool.h"
#include "core/tls_reason.h"
#include "core/tls_session.h"
#include "core/tls_sessions.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#ifdef EVSERVE_HAS_TLS

struct tls_caller {
    struct tls_session session;         /* the first member: the state of the transport */
    struct tls_client_context *context; /* one reference */
    char *reason;                       /* why it has failed, or NULL; owned */
    const char *peer;                   /* in texts; or NULL */
    const char *server_name;            /* in texts, without a dot at its end; "" if there is none */
    char texts[];
};

static struct tls_caller *caller_of(const struct transport *transport)
{
    return transport->state;
}

/* Names. */

static bool is_ip_address(const char *name)
{
    unsigned char address[16];
    return inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
}

const char *tls_client_name_fault(const char *server_name)
{
    size_t len = strlen(server_name);
    if (len == 0 || len > TLS_NAME_MAX) {
        return "has 1 to 253 bytes";
    }
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)server_name[i];
        if (c <= ' ' || c >= 0x7f) {
            return "is in ASCII, without blanks (names in other scripts begin with \"xn--\")";
        }
    }
    return server_name[0] == '.' ? "does not begin with a dot" : NULL;
}

/* Opening and closing. */

/* Whose certificate it must be. Common names do not count (RFC 9525, section 6.3). */
static bool check_for(SSL *ssl, const char *server_name)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    return is_ip_address(server_name) ? X509_VERIFY_PARAM_set1_ip_asc(param, server_name) == 1
                                      : X509_VERIFY_PARAM_set1_host(param, server_name, 0) == 1;
}

/* A certificate of the chain was looked at. */
static int on_verified(int is_accepted, X509_STORE_CTX *verify)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(verify, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_caller *tls = SSL_get_ex_data(ssl, 0);
    if (is_accepted != 1 && tls->reason == NULL) {
        tls->reason = mem_alloc(TLS_CLIENT_REASON_MAX);
        if (tls->reason != NULL) {
            tls_client_reason_verify(verify, tls->server_name, tls->reason);
        }
    }
    return is_accepted;
}

/* The server has given us a session. Returns 1: it is taken. */
static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
    const struct tls_caller *tls = SSL_get_ex_data(ssl, 0);
    struct tls_sessions *sessions = tls_client_context_sessions(tls->context);
    if (sessions == NULL || tls->peer == NULL) {
        return 0;
    }
    tls_sessions_put(sessions, tls_client_context_number(tls->context), tls->peer, session);
    return 1;
}

/* Resume a session of this server, if there is one. */
static void resume_session(struct tls_caller *tls)
{
    struct tls_sessions *sessions = tls_client_context_sessions(tls->context);
    if (sessions == NULL || tls->peer == NULL) {
        return;
    }
    SSL_SESSION *session = tls_sessions_take(sessions, tls_client_context_number(tls->context), tls->peer);
    if (session != NULL) {
        (void)SSL_set_session(tls->session.ssl, session); /* else a whole handshake follows */
        SSL_SESSION_free(session);
    }
}

static struct tls_caller *create_caller(const struct tls_client_opening *opening)
{
    size_t name_len = opening->server_name == NULL ? 0 : strlen(opening->server_name);
    if (name_len > 0 && opening->server_name[name_len - 1] == '.') {
        name_len--;
    }
    size_t peer_len = opening->peer == NULL ? 0 : strlen(opening->peer);
    struct tls_caller *tls = mem_zalloc(sizeof *tls + 2 * name_len + peer_len + 3);
    if (tls == NULL) {
        return NULL;
    }
    if (name_len > 0) {
        memcpy(tls->texts, opening->server_name, name_len);
    }
    tls->server_name = tls->texts;
    if (opening->peer != NULL) { /* sessions of a server are those for a name */
        char *peer = tls->texts + name_len + 1;
        memcpy(peer, tls->texts, name_len);
        peer[name_len] = ' ';
        memcpy(peer + name_len + 1, opening->peer, peer_len);
        tls->peer = peer;
    }
    tls->session.is_client = true;
    tls->context = tls_client_context_ref(opening->context);
    return tls;
}

/* Set the session up for a server. Returns 0 or -ENOMEM. */
static int prepare_caller(struct tls_caller *tls)
{
    SSL *ssl = tls->session.ssl;
    bool is_named = tls->server_name[0] != '\0';
    bool is_ready = SSL_set_ex_data(ssl, 0, tls) == 1;
    if (is_named && !is_ip_address(tls->server_name)) {
        is_ready = is_ready && SSL_set_tlsext_host_name(ssl, (char *)(uintptr_t)tls->server_name) == 1;
    }
    if (!tls_client_context_is_unverified(tls->context)) {
        SSL_set_verify(ssl, SSL_VERIFY_PEER, on_verified);
        is_ready = is_ready && check_for(ssl, tls->server_name);
    }
    SSL_set_connect_state(ssl);
    ERR_clear_error();
    return is_ready ? 0 : -ENOMEM;
}

static int client_open(struct transport *transport, void *arg)
{
    const struct tls_client_opening *opening = arg;
    bool is_named = opening->server_name != NULL && tls_client_name_fault(opening->server_name) == NULL;
    if (!is_named && (opening->server_name != NULL || !tls_client_context_is_unverified(opening->context))) {
        return -EINVAL;
    }
    struct tls_caller *tls = create_caller(opening);
    if (tls == NULL) {
        return -ENOMEM;
    }
    SSL_CTX *ctx = tls_client_context_ctx(opening->context);
    SSL_CTX_sess_set_new_cb(ctx, on_new_session);
    int rv = tls_session_open(&tls->session, transport, ctx, opening->pool);
    rv = rv < 0 ? rv : prepare_caller(tls);
    if (rv < 0) {
        return rv;
    }
    resume_session(tls);
    rv = tls_session_shake_hands(transport, true);
    return rv == -EAGAIN ? 0 : rv;
}

static void client_close(struct transport *transport)
{
    struct tls_caller *tls = caller_of(transport);
    if (tls != NULL) {
        if (tls->session.ssl != NULL && tls->session.failure == 0) { /* else OpenSSL does not resume its session */
            SSL_set_shutdown(tls->session.ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
        }
        tls_session_done(&tls->session);
        tls_client_context_put(tls->context);
        mem_free(tls->reason);
        mem_free(tls);
        transport->state = NULL;
    }
}

int tls_client_shake_hands(struct transport *transport)
{
    struct tls_caller *tls = caller_of(transport);
    int rv = tls_session_shake_hands(transport, false);
    struct tls_sessions *sessions = tls_client_context_sessions(tls->context);
    if (rv < 0 && rv != -EAGAIN && sessions != NULL && tls->peer != NULL) {
        tls_sessions_forget(sessions, tls_client_context_number(tls->context), tls->peer);
    }
    return rv;
}

/* It is asked for where nothing may change, but is made only then. */
static const char *client_failure(const struct transport *transport)
{
    struct tls_caller *tls = caller_of(transport);
    if (tls->reason != NULL) {
        return tls->reason;
    }
    if (tls->session.error == 0) {
        return transport->is_opening ? "the server closed the connection in the middle of the TLS handshake"
                                     : "the server closed the connection without an end of TLS";
    }
    tls->reason = mem_alloc(TLS_CLIENT_REASON_MAX);
    if (tls->reason == NULL) {
        return tls_reason(tls->session.error);
    }
    tls_client_reason(tls->session.error, tls->server_name[0] == '\0' ? NULL : tls->server_name, tls->reason);
    return tls->reason;
}

const struct transport_ops tls_client_ops = {
    .open = client_open,
    .recv = tls_session_recv,
    .send = tls_session_send,
    .sendv = tls_session_sendv,
    .interest = tls_session_interest,
    .flush = tls_session_flush,
    .failure = client_failure,
    .unsent_bytes = tls_session_unsent_bytes,
    .end = tls_session_end,
    .close = client_close,
};

bool tls_client_get_info(const struct transport *transport, struct tls_info *info)
{
    if (transport->ops != &tls_client_ops || transport->state == NULL || transport->is_opening) {
        return false;
    }
    struct tls_caller *tls = caller_of(transport);
    tls_session_info(&tls->session, info);
    info->server_name = tls->server_name; /* addresses, too, which are not sent */
    if (tls_client_context_is_unverified(tls->context)) {
        info->client_subject = info->client_fingerprint = "";
    }
    return true;
}

bool tls_client_shows(const struct transport *transport, const struct tls_client_settings *settings)
{
    return tls_client_context_shows(caller_of(transport)->context, settings);
}

#else

const struct transport_ops tls_client_ops = {0};

const char *tls_client_name_fault(const char *server_name)
{
    (void)server_name;
    return NULL;
}

int tls_client_shake_hands(struct transport *transport)
{
    (void)transport;
    return -ENOTSUP;
}

bool tls_client_get_info(const struct transport *transport, struct tls_info *info)
{
    (void)transport;
    (void)info;
    return false;
}

bool tls_client_shows(const struct transport *transport, const struct tls_client_settings *settings)
{
    (void)transport;
    (void)settings;
    return false;
}

#endif
