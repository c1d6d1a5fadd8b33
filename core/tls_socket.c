/* Happy path: a read is one recv(2), which leaves nothing behind; a write only copies.
 *
 * Failure modes: those of the kernel, kept in socket->error, since OpenSSL has no errno of ours; and of memory. */

#include "core/tls_socket.h"

#include "core/sys.h"
#include "core/tls_openssl.h"
#include "core/transport.h"

#include <errno.h>

#ifdef EVSERVE_HAS_TLS

enum { SOCKET_OUT_MAX = 1 << 20 }; /* bytes gathered at most: no handshake is so long */

/* Whether this begins as requests do: with capitals, and hyphens between them, up to a space or as far as it has come.
 * TLS begins with the type of a record (RFC 8446, section 5.1), and SSH with its version. */
static bool is_like_a_request(const char *data, size_t len)
{
    size_t i = 0;
    while (i < len && ((data[i] >= 'A' && data[i] <= 'Z') || (data[i] == '-' && i > 0))) {
        i++;
    }
    return i > 0 && (i == len || data[i] == ' ');
}

/* How many bytes may be received that are not content. */
static size_t overhead_max(const struct tls_socket *socket)
{
    return socket->is_wasteful ? TLS_OVERHEAD_LOW : TLS_OVERHEAD_MAX;
}

/* After a short read the socket is empty: asking again would only say -EAGAIN. A peer that sends much without content
 * has to wait for its next turn. */
static int on_bio_read(BIO *bio, char *data, size_t len, size_t *got)
{
    struct tls_socket *socket = BIO_get_data(bio);
    const struct transport *transport = socket->transport;
    BIO_clear_retry_flags(bio);
    *got = 0;
    if (socket->is_dry || socket->overhead >= overhead_max(socket)) {
        BIO_set_retry_read(bio);
        return 0;
    }
    len = socket->is_wasteful && len > TLS_OVERHEAD_LOW ? TLS_OVERHEAD_LOW : len;
    ssize_t rv = sys_recv(transport->fd, data, len);
    if (rv == -EAGAIN || rv == -EINTR || (rv == 0 && socket->is_looked_at)) {
        socket->is_dry = rv != -EINTR;
        BIO_set_retry_read(bio);
        return 0;
    }
    if (rv <= 0) {
        socket->error = (int)rv;
        socket->is_at_end = rv == 0;
        return 0;
    }
    if (!socket->has_received) {
        socket->has_received = true;
        socket->is_plain = is_like_a_request(data, (size_t)rv);
    }
    socket->is_dry = (size_t)rv < len && !transport->is_told_more;
    socket->overhead += (size_t)rv;
    *got = (size_t)rv;
    return 1;
}

static int on_bio_write(BIO *bio, const char *data, size_t len, size_t *written)
{
    struct tls_socket *socket = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    *written = 0;
    int rv = write_buffer_append(&socket->out, data, len, SOCKET_OUT_MAX);
    if (rv < 0) {
        socket->error = rv;
        return 0;
    }
    *written = len;
    return 1;
}

static long on_bio_ctrl(BIO *bio, int command, long number, void *arg)
{
    (void)number;
    (void)arg;
    const struct tls_socket *socket = BIO_get_data(bio);
    switch (command) {
    case BIO_CTRL_EOF:
        return socket->is_at_end;
    case BIO_CTRL_FLUSH:
        return 1; /* the session's owner does that */
    default:
        return 0;
    }
}

struct bio_method_st *tls_socket_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "evserve socket");
    if (method != NULL) {
        BIO_meth_set_read_ex(method, on_bio_read);
        BIO_meth_set_write_ex(method, on_bio_write);
        BIO_meth_set_ctrl(method, on_bio_ctrl);
    }
    return method;
}

void tls_socket_method_free(struct bio_method_st *method)
{
    BIO_meth_free(method);
}

struct bio_st *tls_socket_bio(const struct bio_method_st *method, struct tls_socket *socket)
{
    BIO *bio = BIO_new(method);
    if (bio != NULL) {
        BIO_set_data(bio, socket);
        BIO_set_init(bio, 1);
    }
    return bio;
}

void tls_socket_begin_read(struct tls_socket *socket)
{
    socket->is_wasteful = socket->overhead >= overhead_max(socket);
    socket->overhead = 0;
    socket->is_dry = false;
}

void tls_socket_note_content(struct tls_socket *socket, size_t len)
{
    socket->overhead -= len < socket->overhead ? len : socket->overhead;
}

int tls_socket_flush(struct tls_socket *socket)
{
    while (write_buffer_len(&socket->out) > 0) {
        size_t len = write_buffer_len(&socket->out);
        ssize_t sent = sys_send(socket->transport->fd, write_buffer_data(&socket->out), len, false);
        if (sent == -EINTR) {
            continue;
        }
        if (sent < 0) {
            return sent == -EAGAIN ? 0 : (int)sent;
        }
        write_buffer_consume(&socket->out, (size_t)sent);
        if ((size_t)sent < len) {
            return 0; /* the socket is full */
        }
    }
    return 0;
}

#endif
