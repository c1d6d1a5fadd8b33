/* A session reads ahead, as OpenSSL does: what follows a record in its block is of no event. */

#include "tests/lib/fake_tls.h"

#include "core/mem.h"
#include "core/sys.h"
#include "core/transport.h"
#include "core/write_buffer.h"
#include "tests/lib/fuzz.h"

#include <errno.h>
#include <string.h>

enum { IN_MAX = FAKE_TLS_RECORD_MAX + FAKE_TLS_HEAD_LEN };

const char fake_tls_plain_reply[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";

struct session {
    struct fake_tls_plan plan; /* how it behaves */
    struct write_buffer out;   /* records on their way to the client */
    struct write_buffer owed;  /* content of records that had to wait, until the caller learns that they have gone */
    size_t in_len, in_used;    /* bytes of in: read, and looked at */
    size_t content_left;       /* bytes from in_used on that are content of a record that has begun */
    int failure;               /* -errno of a session that has failed, or 0 */
    bool has_received;         /* the client has sent something */
    bool is_dry;               /* the last read took all that was there */
    bool is_closed;            /* the client has sent close_notify */
    bool has_said_end;         /* our close_notify has been made */
    bool is_ended;             /* our side has ended */
    bool is_held;              /* out was not offered to the socket: a response may join it */
    char in[IN_MAX];           /* what was read ahead */
};

static struct session *session_of(const struct transport *transport)
{
    return transport->state;
}

size_t fake_tls_record(char *text, enum fake_tls_type type, const char *content, size_t len)
{
    FUZZ_MUST(len <= FAKE_TLS_RECORD_MAX);
    text[0] = (char)type;
    text[1] = (char)(len >> 8);
    text[2] = (char)(len & 0xff);
    if (len > 0) {
        memcpy(text + FAKE_TLS_HEAD_LEN, content, len);
    }
    return len + FAKE_TLS_HEAD_LEN;
}

static size_t record_len(const char *head)
{
    return (size_t)(unsigned char)head[1] << 8 | (unsigned char)head[2];
}

/* Opening and closing. */

static int session_open(struct transport *transport, void *arg)
{
    struct session *session = mem_zalloc(sizeof *session);
    if (session == NULL) {
        return -ENOMEM;
    }
    session->plan = *(const struct fake_tls_plan *)arg;
    FUZZ_MUST(session->plan.records > 0 && session->plan.records <= FAKE_TLS_RECORDS_MAX);
    transport->state = session;
    transport->is_opening = true;
    return 0;
}

static void session_close(struct transport *transport)
{
    struct session *session = session_of(transport);
    if (session != NULL) {
        write_buffer_done(&session->out);
        write_buffer_done(&session->owed);
        mem_free(session);
        transport->state = NULL;
    }
}

static int give_up(struct session *session, int error)
{
    session->failure = session->failure < 0 ? session->failure : error;
    return session->failure;
}

/* Output. */

static bool has_output(const struct session *session)
{
    return write_buffer_len(&session->out) > 0;
}

static bool is_blocked(const struct session *session)
{
    return has_output(session) && !session->is_held;
}

static int append_record(struct session *session, enum fake_tls_type type, const char *content, size_t len)
{
    char record[IN_MAX];
    size_t record_bytes = fake_tls_record(record, type, content, len);
    int rv = write_buffer_append(&session->out, record, record_bytes, SIZE_MAX);
    return rv < 0 ? give_up(session, rv) : 0;
}

/* Send what waits. Returns 0 or -errno; -EAGAIN is none. */
static int flush(struct transport *transport)
{
    struct session *session = session_of(transport);
    session->is_held = false;
    while (has_output(session)) {
        size_t len = write_buffer_len(&session->out);
        ssize_t sent = sys_send(transport->fd, write_buffer_data(&session->out), len, false);
        if (sent == -EINTR) {
            continue;
        }
        if (sent < 0 && sent != -EAGAIN) {
            return give_up(session, (int)sent);
        }
        write_buffer_consume(&session->out, sent < 0 ? 0 : (size_t)sent);
        if (sent < 0 || (size_t)sent < len) {
            break;
        }
    }
    transport->holds_output = has_output(session);
    return 0;
}

static int session_flush(struct transport *transport)
{
    return flush(transport);
}

/* Reading. */

static int reply(struct session *session, enum fake_tls_type type)
{
    static char zeros[FAKE_TLS_RECORD_MAX];
    return append_record(session, type, zeros, session->plan.reply_bytes);
}

/* What the client has sent is wrong. */
static int refuse(struct session *session)
{
    (void)append_record(session, FAKE_TLS_ALERT, NULL, 0);
    return give_up(session, -EPROTO);
}

static int refuse_plain(struct session *session)
{
    int rv = write_buffer_append(&session->out, fake_tls_plain_reply, strlen(fake_tls_plain_reply), SIZE_MAX);
    return give_up(session, rv < 0 ? rv : -EPROTO);
}

/* Read from the socket behind what lies in the block. Returns 0 or -errno. */
static int fill(struct transport *transport)
{
    struct session *session = session_of(transport);
    if (session->is_dry) {
        return -EAGAIN;
    }
    memmove(session->in, session->in + session->in_used, session->in_len - session->in_used);
    session->in_len -= session->in_used;
    session->in_used = 0;
    size_t room = IN_MAX - session->in_len;
    ssize_t got = sys_recv(transport->fd, session->in + session->in_len, room);
    if (got == -EAGAIN || got == -EINTR) {
        session->is_dry = got == -EAGAIN;
        return -EAGAIN;
    }
    if (got <= 0) {
        bool is_handshake_cut = transport->is_opening && session->has_received;
        return give_up(session, got < 0 ? (int)got : is_handshake_cut ? -EPROTO : -ECONNABORTED);
    }
    bool is_plain = !session->has_received && session->in[0] >= 'A' && session->in[0] <= 'Z';
    session->has_received = true;
    session->in_len += (size_t)got;
    session->is_dry = (size_t)got < room && !transport->is_told_more;
    return is_plain ? refuse_plain(session) : 0;
}

/* A record that is whole and is no content. Returns 0 or -errno. */
static int take_record(struct transport *transport, enum fake_tls_type type)
{
    struct session *session = session_of(transport);
    if (transport->is_opening) {
        if (type != FAKE_TLS_HANDSHAKE && type != FAKE_TLS_FINISHED) {
            return refuse(session);
        }
        transport->is_opening = type != FAKE_TLS_FINISHED;
        return reply(session, type);
    }
    if (type == FAKE_TLS_UPDATE) {
        return append_record(session, FAKE_TLS_UPDATE, NULL, 0);
    }
    if (type == FAKE_TLS_CLOSE) {
        session->is_closed = true;
        return 0;
    }
    return refuse(session);
}

/* Read until there is content, or the client's end. Returns 0 or -errno. */
static int find_content(struct transport *transport)
{
    struct session *session = session_of(transport);
    int rv = 0;
    while (rv == 0 && session->content_left == 0 && !session->is_closed) {
        const char *head = session->in + session->in_used;
        size_t there = session->in_len - session->in_used;
        size_t len = there < FAKE_TLS_HEAD_LEN ? 0 : record_len(head);
        if (len > FAKE_TLS_RECORD_MAX) {
            return refuse(session);
        }
        if (there < FAKE_TLS_HEAD_LEN + len) {
            rv = fill(transport);
            continue;
        }
        session->in_used += FAKE_TLS_HEAD_LEN;
        if ((unsigned char)head[0] == FAKE_TLS_CONTENT && !transport->is_opening) {
            session->content_left = len;
        } else {
            session->in_used += len;
            rv = take_record(transport, (enum fake_tls_type)(unsigned char)head[0]);
        }
    }
    return rv;
}

/* Whether there is something that can be read without the socket: content, the client's end, or a failure. Nothing is
 * lost when this says too much. */
static bool holds_input(const struct session *session)
{
    size_t there = session->in_len - session->in_used;
    const char *head = session->in + session->in_used;
    return session->content_left > 0 || session->is_closed || session->failure < 0 ||
           (there >= FAKE_TLS_HEAD_LEN && there >= FAKE_TLS_HEAD_LEN + record_len(head)) ||
           (there >= FAKE_TLS_HEAD_LEN && record_len(head) > FAKE_TLS_RECORD_MAX) ||
           (there > 0 && session->plan.overstates);
}

/* After our end, what the client sends does not matter. */
static ssize_t drop_rest(struct transport *transport, void *data, size_t len)
{
    ssize_t got = sys_recv(transport->fd, data, len);
    transport->holds_input = false;
    transport->is_at_end = got == 0;
    transport->may_have_more = got == (ssize_t)len || (got > 0 && transport->is_told_more) || got == -EINTR;
    return got;
}

static ssize_t session_recv(struct transport *transport, void *data, size_t len)
{
    struct session *session = session_of(transport);
    FUZZ_MUST(len > 0);
    if (session->is_ended) {
        return drop_rest(transport, data, len);
    }
    if (session->failure < 0) {
        return session->failure;
    }
    int rv = flush(transport);
    if (rv < 0 || has_output(session)) {
        transport->may_have_more = true;
        return rv < 0 ? rv : -EAGAIN;
    }
    size_t got = 0;
    bool was_opening = transport->is_opening;
    session->is_dry = false;
    do {
        rv = find_content(transport);
        size_t piece = session->content_left < len - got ? session->content_left : len - got;
        memcpy((char *)data + got, session->in + session->in_used, piece);
        session->in_used += piece;
        session->content_left -= piece;
        got += piece;
    } while (rv == 0 && got < len && !session->is_closed && !(session->plan.reads_one_record && got > 0));
    session->is_held = session->plan.holds_reply && was_opening && got > 0 && session->failure == 0;
    int error = session->is_held ? 0 : flush(transport);
    transport->may_have_more = !session->is_dry;
    transport->holds_input = got > 0 && holds_input(session);
    transport->is_at_end = got == 0 && rv == 0;
    if (got > 0 || rv == 0) {
        return (ssize_t)got;
    }
    return rv == -EAGAIN && error < 0 ? error : rv;
}

/* Writing. */

/* The content of all parts, in a block to be freed. */
static char *join(const struct iovec *parts, size_t count, size_t *len)
{
    *len = 0;
    for (size_t i = 0; i < count; i++) {
        *len += parts[i].iov_len;
    }
    char *text = malloc(*len + 1);
    FUZZ_MUST(text != NULL);
    for (size_t i = 0, at = 0; i < count; i++) {
        if (parts[i].iov_len > 0) {
            memcpy(text + at, parts[i].iov_base, parts[i].iov_len);
        }
        at += parts[i].iov_len;
    }
    return text;
}

/* Make records and send them. Returns the bytes whose records have gone, or -errno. */
static ssize_t write_records(struct transport *transport, const char *text, size_t len)
{
    struct session *session = session_of(transport);
    size_t ends[FAKE_TLS_RECORDS_MAX] = {0}, contents[FAKE_TLS_RECORDS_MAX] = {0};
    size_t made = 0, count = 0;
    FUZZ_MUST(write_buffer_len(&session->owed) == 0);
    while (made < len && count < session->plan.records) {
        size_t piece = len - made < session->plan.record_bytes ? len - made : session->plan.record_bytes;
        int rv = append_record(session, FAKE_TLS_CONTENT, text + made, piece);
        if (rv < 0) {
            return rv;
        }
        made += piece;
        ends[count] = write_buffer_len(&session->out);
        contents[count++] = made;
    }
    if (transport->is_ending && made == len && count > 0) {
        session->has_said_end = append_record(session, FAKE_TLS_CLOSE, NULL, 0) == 0;
    }
    size_t all = write_buffer_len(&session->out);
    int rv = flush(transport);
    if (rv < 0) {
        return rv;
    }
    size_t gone = all - write_buffer_len(&session->out), taken = 0;
    for (size_t i = 0; i < count && ends[i] <= gone; i++) {
        taken = contents[i];
    }
    rv = made == taken ? 0 : write_buffer_append(&session->owed, text + taken, made - taken, SIZE_MAX);
    return rv < 0 ? give_up(session, rv) : (ssize_t)taken;
}

static ssize_t session_sendv(struct transport *transport, const struct iovec *parts, size_t count)
{
    struct session *session = session_of(transport);
    transport->is_full = false;
    int rv = session->failure < 0 || session->is_held ? session->failure : flush(transport);
    if (rv < 0 || session->is_ended || (session->has_said_end && write_buffer_len(&session->owed) == 0)) {
        return rv < 0 ? rv : -EPIPE;
    }
    size_t len;
    char *text = join(parts, count, &len);
    size_t owed = write_buffer_len(&session->owed) < len ? write_buffer_len(&session->owed) : len;
    FUZZ_MUST(owed == 0 || memcmp(write_buffer_data(&session->owed), text, owed) == 0);
    if (is_blocked(session) || transport->is_opening) {
        free(text);
        transport->is_full = true;
        return -EAGAIN;
    }
    write_buffer_consume(&session->owed, owed);
    ssize_t sent = owed < len ? write_records(transport, text + owed, len - owed) : 0;
    free(text);
    transport->is_full = has_output(session);
    if (sent < 0) {
        return sent;
    }
    sent += (ssize_t)owed;
    return sent == 0 && transport->is_full ? -EAGAIN : sent;
}

static ssize_t session_send(struct transport *transport, const void *data, size_t len, bool more)
{
    (void)more;
    const struct iovec part = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
    return session_sendv(transport, &part, 1);
}

static int session_unsent_bytes(const struct transport *transport)
{
    int unsent = sys_unsent_bytes(transport->fd);
    return unsent < 0 ? unsent : unsent + (int)write_buffer_len(&session_of(transport)->out);
}

static unsigned session_interest(struct transport *transport, unsigned wanted, bool keeps_reading, bool is_idle)
{
    if (session_of(transport)->is_held) {
        (void)flush(transport); /* a failure is that of the next call */
    }
    if (transport->holds_output) {
        return transport_socket_interest(transport, REACTOR_WRITABLE, false, is_idle);
    }
    return transport_socket_interest(transport, transport->is_opening ? (unsigned)REACTOR_READABLE : wanted,
                                     keeps_reading, is_idle);
}

static const char *session_failure(const struct transport *transport)
{
    return session_of(transport)->has_received ? "the fake was sent nonsense" : NULL;
}

/* What is cut gets no close_notify behind it; the one behind what is whole may have to wait for room. */
static void session_end(struct transport *transport)
{
    struct session *session = session_of(transport);
    bool is_in_order = session->failure == 0 && !transport->is_opening && !transport->is_cut &&
                       (session->has_said_end ? write_buffer_len(&session->owed) == 0 : !is_blocked(session));
    if (is_in_order && !session->is_ended && !session->has_said_end) {
        session->has_said_end = append_record(session, FAKE_TLS_CLOSE, NULL, 0) == 0;
        (void)flush(transport);
    }
    session->is_ended = true;
    transport->is_opening = false;
    transport->holds_input = false;
    transport->holds_output = is_in_order && session->failure == 0 && has_output(session);
}

const struct transport_ops fake_tls_ops = {
    .open = session_open,
    .recv = session_recv,
    .send = session_send,
    .sendv = session_sendv,
    .interest = session_interest,
    .flush = session_flush,
    .failure = session_failure,
    .unsent_bytes = session_unsent_bytes,
    .end = session_end,
    .close = session_close,
};

/* The other end. */

/* Whether such a record may come now. */
static bool may_come(const struct fake_tls_content *content, unsigned char type, bool is_of_server)
{
    if (type == FAKE_TLS_ALERT) {
        return is_of_server;
    }
    return content->is_open ? type == FAKE_TLS_UPDATE || type == FAKE_TLS_CONTENT || type == FAKE_TLS_CLOSE
                            : type == FAKE_TLS_HANDSHAKE || type == FAKE_TLS_FINISHED;
}

void fake_tls_content_read(struct fake_tls_content *content, const char *data, size_t len, bool is_of_server)
{
    *content = (struct fake_tls_content){.bytes = malloc(len + 1)};
    FUZZ_MUST(content->bytes != NULL);
    size_t at = 0;
    while (at < len && !content->has_close && !content->has_alert && !content->is_cut && !content->is_malformed) {
        size_t there = len - at, record = there < FAKE_TLS_HEAD_LEN ? 0 : record_len(data + at);
        unsigned char type = (unsigned char)data[at];
        content->is_malformed = record > FAKE_TLS_RECORD_MAX;
        content->is_cut = !content->is_malformed && there < FAKE_TLS_HEAD_LEN + record;
        if (content->is_cut || content->is_malformed) {
            break;
        }
        content->is_malformed = !may_come(content, type, is_of_server);
        if (content->is_malformed) {
            break;
        }
        if (type == FAKE_TLS_CONTENT) {
            memcpy(content->bytes + content->len, data + at + FAKE_TLS_HEAD_LEN, record);
            content->len += record;
        }
        content->is_open = content->is_open || type == FAKE_TLS_FINISHED;
        content->has_close = type == FAKE_TLS_CLOSE;
        content->has_alert = type == FAKE_TLS_ALERT;
        at += FAKE_TLS_HEAD_LEN + record;
    }
    content->has_rest = at < len;
    content->bytes[content->len] = '\0';
}

void fake_tls_content_done(struct fake_tls_content *content)
{
    free(content->bytes);
    content->bytes = NULL;
}
