/* Happy path: a read takes all records that have come, in one recv(2), and decrypts them into the caller's buffer; a
 * write makes up to TLS_RECORDS records and sends them in one send(2). What the end of the handshake has to say goes
 * out with the first content: a server's, if the request came with the client's last words of the handshake, and a
 * client's, if it writes at once.
 *
 * Failure modes: a handshake that fails, for which the peer gets an alert, or a text if it sent plain HTTP; a
 * connection that is cut. After that the session says nothing any more.
 *
 * Records that the kernel does not take at once cannot be made again. They wait in socket.out; their content, owed to
 * the caller, counts as taken when the last of them is gone: the caller sees a full socket, as without TLS. */

#include "core/tls_session.h"

#include "core/sys.h"
#include "core/tls_openssl.h"
#include "core/tls_parts.h"
#include "core/tls_peer.h"
#include "core/tls_pool.h"
#include "core/transport.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>

#ifdef EVSERVE_HAS_TLS

static struct tls_session *session_of(const struct transport *transport)
{
    return transport->state;
}

/* Opening and closing. */

int tls_session_open(struct tls_session *tls, struct transport *transport, struct ssl_ctx_st *ctx,
                     struct tls_pool *pool)
{
    transport->state = tls;
    transport->is_opening = true;
    tls->pool = pool;
    tls->socket.transport = transport;
    tls->ssl = SSL_new(ctx);
    BIO *bio = tls->ssl == NULL ? NULL : tls_socket_bio(pool->method, &tls->socket);
    if (bio == NULL) {
        ERR_clear_error();
        return -ENOMEM;
    }
    SSL_set_bio(tls->ssl, bio, bio);
    return 0;
}

void tls_session_done(struct tls_session *tls)
{
    SSL_free(tls->ssl);
    tls_peer_destroy(tls->peer);
    write_buffer_done(&tls->socket.out);
}

/* The session says something. Returns 0 or -ENOMEM. */
static int begin_call(struct tls_session *tls)
{
    ERR_clear_error();
    return tls_pool_lend(tls->pool, &tls->socket.out);
}

/* It has said all: send that. Returns 0 or -errno. */
static int finish_call(struct tls_session *tls)
{
    struct transport *transport = tls->socket.transport;
    tls->is_held = false;
    int rv = tls_socket_flush(&tls->socket);
    tls_pool_settle(tls->pool, &tls->socket.out);
    transport->holds_output = write_buffer_len(&tls->socket.out) > 0;
    if (rv < 0 && tls->failure == 0) {
        tls->failure = rv;
    }
    return rv;
}

static bool has_output(const struct tls_session *tls)
{
    return write_buffer_len(&tls->socket.out) > 0;
}

/* Whether the kernel has refused to take what was said before. */
static bool is_blocked(const struct tls_session *tls)
{
    return has_output(tls) && !tls->is_held;
}

/* Failures. */

/* A client that sent plain HTTP reads why that does not work. The alert that OpenSSL may have for it is dropped. */
static void reply_in_plain(struct tls_session *tls)
{
    const char *text = tls->pool->plain_reply;
    write_buffer_consume(&tls->socket.out, SIZE_MAX);
    if (text != NULL) {
        int rv = write_buffer_append(&tls->socket.out, text, strlen(text), SIZE_MAX);
        tls->socket.transport->replied = rv == 0 ? (uint16_t)strlen(text) : 0; /* without memory it gets nothing */
    }
}

/* OpenSSL has given up. Returns -errno, which stays. */
static int fail_session(struct tls_session *tls)
{
    tls->error = ERR_peek_error();
    if (tls->socket.error < 0) {
        tls->failure = tls->socket.error;
    } else if (tls->socket.is_at_end) {
        tls->failure = tls->socket.transport->is_opening && tls->socket.has_received ? -EPROTO : -ECONNABORTED;
    } else {
        tls->failure = -EPROTO;
    }
    if (tls->socket.is_plain && !tls->is_client && tls->socket.transport->is_opening) {
        reply_in_plain(tls);
    }
    ERR_clear_error();
    return tls->failure;
}

/* Reading. */

int tls_session_shake_hands(struct transport *transport, bool is_first)
{
    struct tls_session *tls = session_of(transport);
    int rv = tls->failure < 0 ? tls->failure : transport_flush(transport);
    if (rv < 0 || has_output(tls)) {
        return rv < 0 ? rv : -EAGAIN;
    }
    rv = begin_call(tls);
    if (rv < 0) {
        return rv;
    }
    tls_socket_begin_read(&tls->socket);
    tls->socket.is_dry = is_first;
    int said = SSL_do_handshake(tls->ssl);
    if (said == 1) {
        transport->is_opening = false;
    } else {
        int error = SSL_get_error(tls->ssl, said);
        rv = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? -EAGAIN : fail_session(tls);
    }
    tls->is_held = rv == 0 && has_output(tls);
    int error = tls->is_held ? 0 : finish_call(tls);
    transport->may_have_more = !tls->socket.is_dry;
    transport->holds_input = rv == 0 && SSL_has_pending(tls->ssl) != 0;
    return rv == -EAGAIN && error < 0 ? error : rv;
}

/* What SSL_read() or SSL_peek() returned. Returns bytes, 0 at the peer's close_notify, or -errno. */
static ssize_t read_verdict(struct tls_session *tls, int got)
{
    if (got > 0) {
        return got;
    }
    switch (SSL_get_error(tls->ssl, got)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return -EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        return fail_session(tls);
    }
}

/* Read once from the session. Returns as read_verdict(). */
static ssize_t read_session(struct tls_session *tls, char *data, size_t len)
{
    int got = SSL_read(tls->ssl, data, len > INT_MAX ? INT_MAX : (int)len);
    if (got > 0) {
        tls_socket_note_content(&tls->socket, (size_t)got);
    }
    return read_verdict(tls, got);
}

/* Read until the buffer is full, or the socket has no more for this turn. Returns what the last read said. */
static ssize_t read_all_records(struct tls_session *tls, char *data, size_t len, size_t *got)
{
    ssize_t rv;
    do {
        rv = read_session(tls, data + *got, len - *got);
        *got += rv > 0 ? (size_t)rv : 0;
    } while (rv > 0 && *got < len && (SSL_has_pending(tls->ssl) != 0 || !tls->socket.is_dry));
    return rv;
}

/* After our end, what the peer sends does not matter. */
static ssize_t drop_rest(struct transport *transport, void *data, size_t len)
{
    ssize_t got = sys_recv(transport->fd, data, len);
    transport->holds_input = false;
    transport->is_at_end = got == 0;
    transport->may_have_more = got == (ssize_t)len || (got > 0 && transport->is_told_more) || got == -EINTR;
    return got;
}

/* What a session needs before it takes records. A peer that takes nothing is not read from: it could make us say ever
 * more. Returns 0 or -errno. */
static int begin_read(struct tls_session *tls)
{
    struct transport *transport = tls->socket.transport;
    int rv = tls->failure < 0 ? tls->failure : transport_flush(transport);
    if (rv == 0 && has_output(tls)) {
        transport->may_have_more = true;
        return -EAGAIN;
    }
    rv = rv < 0 ? rv : begin_call(tls);
    if (rv == 0) {
        tls_socket_begin_read(&tls->socket);
    }
    return rv;
}

ssize_t tls_session_recv(struct transport *transport, void *data, size_t len)
{
    struct tls_session *tls = session_of(transport);
    if (tls->is_ended) {
        return drop_rest(transport, data, len);
    }
    int error = begin_read(tls);
    if (error < 0) {
        return error;
    }
    size_t got = 0;
    ssize_t rv = read_all_records(tls, data, len, &got);
    bool was_opening = transport->is_opening;
    transport->is_opening = was_opening && SSL_is_init_finished(tls->ssl) == 0;
    tls->is_held = was_opening && got > 0 && tls->failure == 0 && has_output(tls);
    error = tls->is_held ? 0 : finish_call(tls);
    transport->may_have_more = !tls->socket.is_dry;
    transport->holds_input = got > 0 && (got == len ? SSL_has_pending(tls->ssl) != 0 : rv != -EAGAIN && rv <= 0);
    transport->is_half_closed = transport->is_half_closed || rv == 0;
    transport->is_at_end = got == 0 && rv == 0;
    if (got > 0) {
        return (ssize_t)got;
    }
    return rv == -EAGAIN && error < 0 ? error : rv;
}

/* A bare FIN is no failure here, but that of the read to come: whoever writes may go on until then. */
int tls_session_look(struct transport *transport)
{
    struct tls_session *tls = session_of(transport);
    char byte;
    int error = begin_read(tls);
    if (error < 0) {
        return error == -EAGAIN ? 0 : error;
    }
    tls->socket.is_looked_at = true;
    ssize_t rv = read_verdict(tls, SSL_peek(tls->ssl, &byte, 1));
    tls->socket.is_looked_at = false;
    error = finish_call(tls);
    transport->may_have_more = !tls->socket.is_dry;
    transport->holds_input = rv >= 0;
    transport->is_half_closed = transport->is_half_closed || rv == 0;
    return rv < 0 && rv != -EAGAIN ? (int)rv : error;
}

/* Writing. */

/* It stays behind all records: a client that is cut off from these never reads it. */
static void say_close_notify(struct tls_session *tls)
{
    tls->has_said_end = SSL_shutdown(tls->ssl) >= 0;
    ERR_clear_error();
}

/* Encrypt, and send what was encrypted. Returns the bytes of content whose records the kernel has taken, or -errno. */
static ssize_t write_records(struct tls_session *tls, struct tls_parts *cursor)
{
    struct {
        size_t content; /* up to the end of a record */
        size_t wire;    /* and of what was made of it */
    } ends[TLS_RECORDS] = {0};
    int rv = begin_call(tls);
    if (rv < 0) {
        return rv;
    }
    int count = 0, max = tls->is_slow ? 1 : TLS_RECORDS;
    size_t content = 0;
    while (count < max) {
        struct tls_piece piece = tls_parts_next(cursor, tls->pool->plain);
        if (piece.len == 0) {
            break;
        }
        if (SSL_write(tls->ssl, piece.data, (int)piece.len) != (int)piece.len) {
            rv = fail_session(tls);
            (void)finish_call(tls);
            return rv;
        }
        content += piece.len;
        ends[count].content = content;
        ends[count++].wire = write_buffer_len(&tls->socket.out);
    }
    if (tls->socket.transport->is_ending && cursor->count == 0 && count > 0) {
        say_close_notify(tls);
    }
    size_t made = write_buffer_len(&tls->socket.out);
    rv = finish_call(tls);
    if (rv < 0) {
        return rv;
    }
    size_t sent = made - write_buffer_len(&tls->socket.out), taken = 0;
    for (int i = 0; i < count && ends[i].wire <= sent; i++) {
        taken = ends[i].content;
    }
    tls->owed += content - taken;
    tls->is_slow = has_output(tls);
    return (ssize_t)taken;
}

/* The records of before are gone: their content, which is offered again, counts as taken now. Returns its bytes. */
static size_t settle_debt(struct tls_session *tls, struct tls_parts *cursor)
{
    size_t len = 0;
    for (size_t i = 0; i < cursor->count; i++) {
        len += cursor->parts[i].iov_len;
    }
    size_t owed = tls->owed < len ? tls->owed : len;
    tls_parts_skip(cursor, owed);
    tls->owed -= owed;
    return owed;
}

static ssize_t send_parts(struct transport *transport, const struct iovec *parts, size_t count)
{
    struct tls_session *tls = session_of(transport);
    transport->is_full = false;
    int rv = tls->failure < 0 || tls->is_held ? tls->failure : transport_flush(transport);
    if (rv < 0 || tls->is_ended || (tls->has_said_end && tls->owed == 0)) {
        return rv < 0 ? rv : -EPIPE;
    }
    if (is_blocked(tls) || transport->is_opening) {
        transport->is_full = true;
        return -EAGAIN;
    }
    struct tls_parts cursor = {.parts = parts, .count = count};
    size_t owed = settle_debt(tls, &cursor);
    ssize_t sent = write_records(tls, &cursor);
    transport->is_full = has_output(tls);
    if (sent < 0) {
        return sent;
    }
    sent += (ssize_t)owed;
    return sent == 0 && transport->is_full ? -EAGAIN : sent;
}

/* more is not passed on: the kernel would hold the end of a record back, without which the peer cannot decrypt it. */
ssize_t tls_session_send(struct transport *transport, const void *data, size_t len, bool more)
{
    (void)more;
    const struct iovec part = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
    return send_parts(transport, &part, 1);
}

ssize_t tls_session_sendv(struct transport *transport, const struct iovec *parts, size_t count)
{
    return send_parts(transport, parts, count);
}

int tls_session_flush(struct transport *transport)
{
    struct tls_session *tls = session_of(transport);
    return has_output(tls) ? finish_call(tls) : 0;
}

int tls_session_unsent_bytes(const struct transport *transport)
{
    const struct tls_session *tls = session_of(transport);
    int unsent = sys_unsent_bytes(transport->fd);
    return unsent < 0 ? unsent : unsent + (int)write_buffer_len(&tls->socket.out);
}

/* While bytes of the session's own wait, nothing is read; during the handshake nothing is written for anybody else. The
 * turn is over: without a response in it, what was held for one goes out now. */
unsigned tls_session_interest(struct transport *transport, unsigned wanted, bool keeps_reading, bool is_idle)
{
    struct tls_session *tls = session_of(transport);
    if (tls->is_held) {
        (void)finish_call(tls); /* a failure is that of the next call */
    }
    if (transport->holds_output) {
        return transport_socket_interest(transport, REACTOR_WRITABLE, false, is_idle);
    }
    if (transport->is_opening) {
        wanted = REACTOR_READABLE;
    }
    return transport_socket_interest(transport, wanted, keeps_reading, is_idle);
}

/* A response that was cut gets no close_notify behind it. The one behind a whole response may have to wait for room;
 * what is left of an alert is not waited for. */
void tls_session_end(struct transport *transport)
{
    struct tls_session *tls = session_of(transport);
    bool is_in_order = tls->failure == 0 && !transport->is_opening && !transport->is_cut &&
                       (tls->has_said_end ? tls->owed == 0 : !is_blocked(tls));
    if (is_in_order && !tls->is_ended && !tls->has_said_end && begin_call(tls) == 0) {
        say_close_notify(tls);
        (void)finish_call(tls);
    }
    tls->is_ended = true;
    transport->is_opening = transport->holds_input = false;
    transport->holds_output = is_in_order && tls->failure == 0 && has_output(tls);
}

/* What it is. */

void tls_session_info(struct tls_session *tls, struct tls_info *info)
{
    if (tls->peer == NULL) {
        tls->peer = tls_peer_create(tls->ssl);
        ERR_clear_error();
    }
    tls_peer_info(tls->peer, tls->ssl, info);
}

#endif
