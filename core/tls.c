/* The server's side of TLS.
 *
 * Happy path: the session has the certificate that is for clients without a name, until the client has named one; the
 * rest is core/tls_session.c.
 *
 * Failure modes: those of a session, told in words about the client. */

#include "core/tls.h"

#include "core/mem.h"
#include "core/tls_context.h"
#include "core/tls_openssl.h"
#include "core/tls_pool.h"
#include "core/tls_reason.h"
#include "core/tls_session.h"
#include "core/transport.h"

#include <errno.h>
#include <stdio.h>

#ifdef EVSERVE_HAS_TLS

struct tls {
    struct tls_session session;  /* the first member: the state of the transport */
    struct tls_context *context; /* one reference */
};

static struct tls *tls_of(const struct transport *transport)
{
    return transport->state;
}

/* Opening and closing. */

static int tls_open(struct transport *transport, void *arg)
{
    const struct tls_opening *opening = arg;
    SSL_CTX *ctx = tls_context_default(opening->context);
    struct tls *tls = ctx == NULL ? NULL : mem_zalloc(sizeof *tls);
    if (tls == NULL) {
        return -ENOMEM;
    }
    tls->context = tls_context_ref(opening->context);
    int rv = tls_session_open(&tls->session, transport, ctx, opening->pool);
    if (rv == 0) {
        SSL_set_accept_state(tls->session.ssl);
    }
    return rv;
}

static void tls_close(struct transport *transport)
{
    struct tls *tls = tls_of(transport);
    if (tls != NULL) {
        tls_session_done(&tls->session);
        tls_context_put(tls->context);
        mem_free(tls);
        transport->state = NULL;
    }
}

static const char *tls_failure(const struct transport *transport)
{
    const struct tls_session *tls = &tls_of(transport)->session;
    char *text = tls->pool->failure;
    size_t size = sizeof tls->pool->failure;
    const char *reason = tls_reason(tls->error), *plain = tls_reason_plain(tls->error);
    if (tls->socket.is_plain) {
        return "the client sent plain HTTP to a port for HTTPS";
    }
    if (tls->error == 0) {
        return tls->socket.has_received ? "the client closed the connection" : NULL;
    }
    if (ERR_GET_LIB(tls->error) == ERR_LIB_SSL && ERR_GET_REASON(tls->error) == SSL_R_CERTIFICATE_VERIFY_FAILED) {
        snprintf(text, size, "%s: %s", plain, X509_verify_cert_error_string(SSL_get_verify_result(tls->ssl)));
    } else if (plain != NULL) {
        snprintf(text, size, "%s (%s)", plain, reason);
    } else {
        snprintf(text, size, "%s", reason);
    }
    return text;
}

const struct transport_ops tls_transport_ops = {
    .open = tls_open,
    .recv = tls_session_recv,
    .send = tls_session_send,
    .sendv = tls_session_sendv,
    .interest = tls_session_interest,
    .flush = tls_session_flush,
    .look = tls_session_look,
    .failure = tls_failure,
    .unsent_bytes = tls_session_unsent_bytes,
    .end = tls_session_end,
    .close = tls_close,
};

bool tls_get_info(const struct transport *transport, struct tls_info *info)
{
    if (transport->ops != &tls_transport_ops || transport->state == NULL || transport->is_opening) {
        return false;
    }
    tls_session_info(&tls_of(transport)->session, info);
    return true;
}

bool tls_is_misdirected(const struct transport *transport, const char *host, size_t len)
{
    const struct tls *tls = transport->ops == &tls_transport_ops ? tls_of(transport) : NULL;
    return tls != NULL && tls_context_separates(tls->context, SSL_get_SSL_CTX(tls->session.ssl), host, len);
}

#else

const struct transport_ops tls_transport_ops = {0};

bool tls_is_misdirected(const struct transport *transport, const char *host, size_t len)
{
    (void)transport;
    (void)host;
    (void)len;
    return false;
}

bool tls_get_info(const struct transport *transport, struct tls_info *info)
{
    (void)transport;
    (void)info;
    return false;
}

#endif
