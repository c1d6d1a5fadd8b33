/* The plain socket, and the way to other transports.
 *
 * Happy path: transport_recv() and transport_send() are one system call each.
 * Failure modes: those of the kernel, as -errno; -EAGAIN is no failure. */

#include "core/transport.h"

#include "core/log.h"
#include "core/net.h"
#include "core/sys.h"

#include <errno.h>

unsigned transport_listen_flags(const struct transport_ops *ops)
{
    (void)ops; /* of TLS, too, the client sends first */
    return NET_DEFER;
}

int transport_open(struct transport *transport, const struct transport_ops *ops, void *arg, int fd, int family)
{
    *transport = (struct transport){.ops = ops, .fd = fd, .is_edgy = family == AF_INET || family == AF_INET6};
    return ops == NULL || ops->open == NULL ? 0 : ops->open(transport, arg);
}

int transport_change(struct transport *transport, const struct transport_ops *ops, void *arg)
{
    transport->ops = ops;
    return ops == NULL || ops->open == NULL ? 0 : ops->open(transport, arg);
}

const char *transport_failure(const struct transport *transport)
{
    return transport->ops != NULL && transport->ops->failure != NULL ? transport->ops->failure(transport)
                                                                     : errno_text(EPROTO);
}

int transport_flush(struct transport *transport)
{
    return transport->ops != NULL && transport->ops->flush != NULL ? transport->ops->flush(transport) : 0;
}

void transport_note(struct transport *transport, unsigned events)
{
    transport->is_told_more = transport->is_told_more || (events & REACTOR_MORE) != 0;
    transport->is_half_closed = transport->is_half_closed || (events & REACTOR_END) != 0;
}

ssize_t transport_recv(struct transport *transport, void *data, size_t len)
{
    if (transport->ops != NULL) {
        return transport->ops->recv(transport, data, len);
    }
    ssize_t got = sys_recv(transport->fd, data, len);
    transport->is_at_end = got == 0;
    transport->may_have_more = got == (ssize_t)len || (got > 0 && transport->is_told_more) || got == -EINTR;
    return got;
}

/* A short write means a full socket: asking again would only say -EAGAIN. */
static ssize_t note_sent(struct transport *transport, ssize_t sent, size_t len)
{
    transport->is_full = sent == -EAGAIN || (sent >= 0 && (size_t)sent < len);
    return sent;
}

ssize_t transport_send(struct transport *transport, const void *data, size_t len, bool more)
{
    if (transport->ops != NULL) {
        return transport->ops->send(transport, data, len, more);
    }
    return note_sent(transport, sys_send(transport->fd, data, len, more), len);
}

ssize_t transport_sendv(struct transport *transport, const struct iovec *parts, size_t count)
{
    if (transport->ops != NULL) {
        return transport->ops->sendv(transport, parts, count);
    }
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        len += parts[i].iov_len;
    }
    ssize_t sent = count == 1 ? sys_send(transport->fd, parts->iov_base, len, false)
                              : sys_sendv(transport->fd, parts, count);
    return note_sent(transport, sent, len);
}

ssize_t transport_sendfile(struct transport *transport, int file_fd, int64_t *offset, size_t len)
{
    if (transport->ops != NULL) {
        return transport->ops->sendfile(transport, file_fd, offset, len);
    }
    off_t at = *offset;
    ssize_t sent = sys_sendfile(transport->fd, file_fd, &at, len);
    *offset = at;
    return note_sent(transport, sent, len);
}

unsigned transport_interest(struct transport *transport, unsigned wanted, bool keeps_reading, bool is_idle)
{
    return transport->ops != NULL ? transport->ops->interest(transport, wanted, keeps_reading, is_idle)
                                  : transport_socket_interest(transport, wanted, keeps_reading, is_idle);
}

unsigned transport_socket_interest(struct transport *transport, unsigned wanted, bool keeps_reading, bool is_idle)
{
    bool reads = (wanted & (unsigned)REACTOR_READABLE) != 0;
    bool writes = (wanted & (unsigned)REACTOR_WRITABLE) != 0;
    unsigned interest = wanted | (keeps_reading ? (unsigned)REACTOR_READABLE : 0U) |
                        (transport->is_half_closed ? 0U : (unsigned)REACTOR_END);
    if (transport->is_at_end) {
        interest &= ~(unsigned)(REACTOR_READABLE | REACTOR_END);
    }
    if ((transport->may_have_more && reads) || writes) {
        transport->is_level = true;
    } else if (is_idle) {
        transport->is_level = false;
    }
    bool is_input_alone = (interest | REACTOR_END) == (REACTOR_READABLE | REACTOR_END);
    return is_input_alone && transport->is_edgy && !transport->is_level ? interest | (unsigned)REACTOR_EDGE : interest;
}

int transport_unsent_bytes(const struct transport *transport)
{
    return transport->ops != NULL ? transport->ops->unsent_bytes(transport) : sys_unsent_bytes(transport->fd);
}

int transport_end(struct transport *transport)
{
    transport_say_end(transport);
    return sys_shutdown_write(transport->fd);
}

void transport_reset(struct transport *transport)
{
    transport->is_reset = true;
    sys_reset_on_close(transport->fd);
}

void transport_shut(struct transport *transport, bool is_ended)
{
    if (transport->ops != NULL) {
        transport->ops->close(transport);
    }
    if (!transport->is_reset && !is_ended) {
        sys_shutdown(transport->fd);
    }
}
