/* What owners of fetches call.
 *
 * Happy path: fetch_start() copies the request and begins its first hop; everything else happens in callbacks of the
 * reactor. Failure: before anything was sent, fetch_start() says what is wrong; later, FETCH_FAILED comes. */

#include "http/client/fetch.h"

#include "core/gunzip.h"
#include "core/log.h"
#include "core/outbound.h"
#include "core/visible.h"
#include "http/client/fetch_content.h"
#include "http/client/fetch_hop.h"
#include "http/client/fetch_over.h"
#include "http/client/fetch_state.h"
#include "http/head_text.h"

#include <errno.h>
#include <string.h>

const char *fetch_kind_name(enum fetch_kind kind)
{
    static const char *const names[] = {
        [FETCH_SUCCESS] = "",           [FETCH_BAD_REQUEST] = "request", [FETCH_NOT_RESOLVED] = "resolve",
        [FETCH_DENIED] = "denied",      [FETCH_BUSY] = "busy",           [FETCH_NOT_REACHED] = "connect",
        [FETCH_TLS_FAILED] = "tls",     [FETCH_TIMED_OUT] = "timeout",   [FETCH_CUT] = "closed",
        [FETCH_MALFORMED] = "protocol", [FETCH_TOO_LARGE] = "too large", [FETCH_REDIRECTED] = "redirects",
        [FETCH_NO_MEMORY] = "memory",
    };
    return names[kind];
}

static void set_fetch_options(struct fetch *fetch, const struct fetch_request *request)
{
    int redirects = request->redirects == 0 ? FETCH_REDIRECTS : request->redirects;
    uint64_t usual_body = request->streams_response ? UINT64_MAX : FETCH_BODY_MAX;

    fetch->redirects_max = redirects < 0 ? 0 : (unsigned)redirects;
    fetch->timeout_ms = request->timeout_ms == 0 ? FETCH_TIMEOUT_MS : request->timeout_ms;
    fetch->connect_timeout_ms = request->connect_timeout_ms == 0 ? FETCH_CONNECT_TIMEOUT_MS
                                                                 : request->connect_timeout_ms;
    fetch->max_head = request->max_head == 0 ? FETCH_RESPONSE_HEAD_MAX : request->max_head;
    fetch->max_body = request->max_body == 0 ? usual_body : request->max_body;
    fetch->streams_response = request->streams_response;
    fetch->ends_ms = reactor_now_ms(fetch->outbound->links.reactor) + fetch->timeout_ms;
}

/* Where the host of a URL begins that has a user's name, and maybe a password, before it; else 0. */
static size_t skip_user(const char *url, size_t len)
{
    size_t start = 0;
    const char *authority = memmem(url, len, "://", 3);
    for (size_t i = authority == NULL ? len : (size_t)(authority - url) + 3; i < len && url[i] != '/'; i++) {
        start = url[i] == '@' ? i + 1 : start;
    }
    return start;
}

static enum fetch_kind read_request_url(struct fetch *fetch, const struct fetch_request *request, char *err,
                                        size_t errlen)
{
    char shown[128];
    const char *why = "";
    size_t taken;
    int rv = fetch_url_parse(&fetch->url, request->url, request->url_len, &why);

    if (rv == -ENOMEM) {
        error_text(err, errlen, 0, "out of memory");
        return FETCH_NO_MEMORY;
    }
    if (rv < 0) {
        size_t start = skip_user(request->url, request->url_len); /* passwords do not belong into logs */
        size_t len = request->url_len - start;
        visible_copy(shown, sizeof shown, request->url + start, len, VISIBLE_QUOTED, &taken);
        error_text(err, errlen, 0, "the URL \"%s%s%s\" %s", start > 0 ? "...@" : "", shown, taken < len ? "..." : "",
                   why);
        return FETCH_BAD_REQUEST;
    }
    if (fetch->url.unix_path != NULL && fetch->order.unix_path != NULL) {
        error_text(err, errlen, 0, "the URL and the request both name a unix socket");
        return FETCH_BAD_REQUEST;
    }
    return FETCH_SUCCESS;
}

enum fetch_kind fetch_start(struct fetch **started, struct outbound *outbound, const struct fetch_request *request,
                            fetch_event_fn on_event, void *arg, char *err, size_t errlen)
{
    _Static_assert(sizeof(struct fetch) <= SPARE_BLOCK_BYTES, "a fetch fits into a spare block");
    struct fetch *fetch = spare_block_take(&outbound->spares);
    if (fetch == NULL) {
        error_text(err, errlen, 0, "out of memory");
        return FETCH_NO_MEMORY;
    }
    memset(fetch, 0, offsetof(struct fetch, reply));
    fetch_reply_init(&fetch->reply, 0, false); /* fetch_hop_begin() does it again, with what it then knows */
    fetch->failure[0] = '\0';
    fetch->outbound = outbound;
    fetch->on_event = on_event;
    fetch->arg = arg;
    set_fetch_options(fetch, request);
    enum fetch_kind kind = fetch_order_init(&fetch->order, request, gunzip_is_there(), err, errlen);
    kind = kind == FETCH_SUCCESS ? read_request_url(fetch, request, err, errlen) : kind;
    kind = kind == FETCH_SUCCESS ? fetch_hop_begin(fetch, err, errlen) : kind;
    if (kind != FETCH_SUCCESS) {
        fetch_close(fetch);
        return kind;
    }
    *started = fetch;
    return FETCH_SUCCESS;
}

void fetch_close(struct fetch *fetch)
{
    if (fetch == NULL) {
        return;
    }
    if (fetch->is_gone != NULL) {
        *fetch->is_gone = true;
    }
    fetch_let_go(fetch);
    fetch_content_done(fetch);
    fetch_reply_done(&fetch->reply);
    write_buffer_done(&fetch->out);
    fetch_url_done(&fetch->url);
    fetch_order_done(&fetch->order);
    spare_block_put(&fetch->outbound->spares, fetch);
}

const struct fetch_response *fetch_response(const struct fetch *fetch)
{
    bool is_ready = fetch->streams_response || (fetch_is_over(fetch) && fetch->kind == FETCH_SUCCESS);
    return fetch->has_result && is_ready ? &fetch->result : NULL;
}

enum fetch_kind fetch_failure_kind(const struct fetch *fetch)
{
    return (enum fetch_kind)fetch->kind;
}

const char *fetch_failure(const struct fetch *fetch)
{
    return fetch->failure;
}

ssize_t fetch_read(struct fetch *fetch, const char **data)
{
    ssize_t len = fetch->streams_response ? fetch_take_content(fetch, data) : 0;

    if (len < 0 && fetch->due != 0) { /* its owner is told by the reactor, as of all failures, and that it may go on */
        reactor_schedule(fetch->outbound->links.reactor, &fetch->task);
    }
    if (len != 0) {
        fetch_hop_nudge(fetch);
        return len;
    }
    if (fetch_is_over(fetch)) {
        return fetch->kind == FETCH_SUCCESS ? 0 : -EIO;
    }
    fetch->wants_content = true;
    if (fetch->gunzip != NULL) { /* what was there may have been decoded to nothing, and made room */
        fetch_hop_nudge(fetch);
    }
    return -EAGAIN;
}

/* Whether more of a streamed body is wanted. */
static bool is_body_wanted(const struct fetch *fetch)
{
    return fetch->order.streams_body && !fetch->has_written && !fetch->is_send_broken && !fetch_is_over(fetch);
}

static char *put_size_line(char *at, size_t size)
{
    static const char hex[] = "0123456789abcdef";
    char digits[2 * sizeof size];
    size_t first = sizeof digits;

    for (; size > 0; size /= 16) {
        digits[--first] = hex[size % 16];
    }
    return put_text(put(at, digits + first, sizeof digits - first), "\r\n");
}

int fetch_write(struct fetch *fetch, const void *data, size_t len)
{
    enum { SIZE_LINE_ROOM = 24 }; /* its size, and two line ends */
    int error = 0;

    if (!is_body_wanted(fetch)) {
        return -EPIPE;
    }
    if (fetch->order.body_length >= 0 && len > (uint64_t)fetch->order.body_length - fetch->body_written) {
        return -EMSGSIZE;
    }
    if (len == 0) {
        return 0;
    }
    if (write_buffer_len(&fetch->out) >= FETCH_QUEUE_MAX) {
        fetch->wants_room = true;
        return -EAGAIN;
    }
    char *start = write_buffer_reserve(&fetch->out, len + SIZE_LINE_ROOM, UINT32_MAX, &error);
    if (start == NULL) {
        return -ENOMEM;
    }
    char *at = start;
    bool is_chunk = fetch->order.body_length < 0;
    at = is_chunk ? put_size_line(at, len) : at;
    at = put(at, data, len);
    at = is_chunk ? put_text(at, "\r\n") : at;
    write_buffer_commit(&fetch->out, (size_t)(at - start));
    fetch->body_written += len;
    fetch_hop_nudge(fetch);
    return 0;
}

int fetch_write_end(struct fetch *fetch)
{
    static const char last_chunk[] = "0\r\n\r\n";

    if (!is_body_wanted(fetch)) {
        return -EPIPE;
    }
    if (fetch->order.body_length >= 0 && fetch->body_written < (uint64_t)fetch->order.body_length) {
        return -EMSGSIZE;
    }
    if (fetch->order.body_length < 0 &&
        write_buffer_append(&fetch->out, last_chunk, strlen(last_chunk), UINT32_MAX) < 0) {
        return -ENOMEM;
    }
    fetch->has_written = true;
    fetch_hop_nudge(fetch);
    return 0;
}
