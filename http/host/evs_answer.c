/* Responses of a host: thin wrappers over response.h and file_reply.h. Each function that completes a response calls
 * evs_part() first.
 *
 * Failure modes: without memory a call returns -ENOMEM, and the connection is cut. An invalid call is the host's
 * mistake: the log names the route and the function, and the request ends, since a host that ignores return values
 * would leave its client waiting forever. */

#include "http/host/evs_blame.h"
#include "http/host/evs_events.h"
#include "http/host/evs_internal.h"

#include "core/hub.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/publication.h"
#include "http/event_stream.h"
#include "http/exchange.h"
#include "http/file_reply.h"
#include "http/response.h"
#include "http/router.h"
#include "http/service.h"
#include "http/site.h"
#include "http/sse.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const char already[] = "the response has already begun";
static const char is_complete_already[] = "the response is already complete";

/* Why a response may not begin in this way, with len bytes of content; NULL when it may. */
static const char *find_mistake(const struct exchange *exchange, int status, const char *type, const void *content,
                                size_t len)
{
    if (exchange->response_state != RESPONSE_NONE) {
        return already;
    }
    if (status < 200 || status > 599) {
        return "the status is not between 200 and 599";
    }
    if (type != NULL && response_check_field("Content-Type", 12, type, strlen(type)) < 0) {
        return "the type has control characters";
    }
    return content == NULL && len > 0 ? "the content is NULL" : NULL;
}

/* Refuse a call that would have completed the response. The client gets a 500 or, if the response has begun, an end
 * that shows that it is incomplete; a complete response stays as it is. Returns error. */
static int refuse(evs_request *request, const char *function, const char *why, int error)
{
    struct exchange *exchange = evs_part(request);
    evs_blame(exchange, LOG_ERROR, function, why);
    if (exchange->response_state != RESPONSE_COMPLETE) {
        response_abort(exchange);
    }
    return error;
}

/* Refuse a call after which the host expects to continue, and to get EVS_GONE if something goes wrong. The 500 that is
 * sent if the response has not begun takes no more content, like the response to a HEAD request. Returns error. */
static int refuse_stream(struct exchange *exchange, const char *function, const char *why, int error)
{
    static const char page[] = "500 Internal Server Error\n";
    evs_blame(exchange, LOG_ERROR, function, why);
    if (exchange->response_state == RESPONSE_NONE) {
        response_clear_fields(exchange);
        response_begin(exchange, 500, "text/plain; charset=utf-8", sizeof page - 1);
        (void)response_write(exchange, page, sizeof page - 1);
        exchange->head_only = true;
        evs_end_without_content(exchange);
    } else if (exchange->response_state != RESPONSE_COMPLETE) {
        response_abort(exchange);
    }
    return error;
}

/* Whether a response may begin in this way: 0, or what refuse() returned. */
static int check_answer(evs_request *request, int status, const char *type, const void *content, size_t len,
                        const char *function)
{
    const char *why = find_mistake(exchange_of(request), status, type, content, len);
    return why == NULL ? 0 : refuse(request, function, why, why == already ? -EALREADY : -EINVAL);
}

/* The return value for a response that was not refused. */
static int outcome(const struct exchange *exchange)
{
    return exchange->response_state == RESPONSE_ABORTED ? -ENOMEM : 0;
}

/* name or value may be NULL, if the host passes on what evs_header() returned for an absent field. */
static int can_set_field(evs_request *request, const char *name, const char *value)
{
    return exchange_of(request)->response_state != RESPONSE_NONE ? -EALREADY
           : name == NULL || value == NULL                       ? -EINVAL
                                                                 : 0;
}

int evs_set_header(evs_request *request, const char *name, const char *value)
{
    int rv = can_set_field(request, name, value);
    return rv < 0 ? rv : response_set_field(exchange_of(request), name, strlen(name), value, strlen(value));
}

int evs_add_header(evs_request *request, const char *name, const char *value)
{
    int rv = can_set_field(request, name, value);
    return rv < 0 ? rv : response_add_field(exchange_of(request), name, strlen(name), value, strlen(value));
}

int evs_reply(evs_request *request, int status, const char *type, const void *content, size_t len)
{
    int rv = check_answer(request, status, type, content, len, "evs_reply");
    if (rv < 0) {
        return rv;
    }
    response_send(evs_part(request), status, type, content, len);
    return outcome(exchange_of(request));
}

/* Copy the Content-Type that the host has set, which takes precedence over the one that a file's name implies. *type is
 * NULL if there is none. Returns 0 or -ENOMEM. */
static int copy_set_type(const struct exchange *exchange, char **type)
{
    size_t len = 0;
    const char *value = response_added_field(exchange, "Content-Type", 12, &len);
    *type = value == NULL ? NULL : mem_alloc(len + 1);
    if (value == NULL || *type == NULL) {
        return value == NULL ? 0 : -ENOMEM;
    }
    memcpy(*type, value, len);
    (*type)[len] = '\0';
    return 0;
}

int evs_file(evs_request *request, const char *root, const char *path)
{
    struct file_replies *replies = exchange_of(request)->site->replies;
    if (root == NULL || path == NULL) {
        return -EINVAL;
    }
    struct file_reply reply = {.root = root, .path = path, .path_len = strlen(path), .status = 200};
    char *type = NULL;
    int rv = file_reply_check(replies, &reply, NULL, 0);
    rv = rv < 0 ? rv : check_answer(request, 200, NULL, NULL, 0, "evs_file");
    rv = rv < 0 ? rv : copy_set_type(exchange_of(request), &type);
    if (rv == 0) {
        reply.type = type;
        file_reply_send(replies, evs_part(request), &reply);
    }
    mem_free(type);
    return rv;
}

/* Why a stream of events may not begin in this way; NULL when it may. */
static const char *find_events_mistake(const struct exchange *exchange, const struct evs_events_options *options)
{
    uint32_t heartbeat_ms = options->heartbeat_ms;
    if (exchange->response_state != RESPONSE_NONE) {
        return already;
    }
    if (options->size != sizeof *options) {
        return "size is not sizeof(struct evs_events_options)";
    }
    if (options->topic == NULL) {
        return "topic is NULL";
    }
    if ((options->flags & ~(unsigned)EVS_SKIP) != 0) {
        return "flags has unknown ones";
    }
    if (options->replay > TOPIC_REPLAY_MAX) {
        return "replay is above 10,000";
    }
    if (heartbeat_ms != 0 && heartbeat_ms < EVENT_STREAM_HEARTBEAT_LEAST_MS) {
        return "heartbeat_ms is below 100";
    }
    int rv = topic_check_name(options->topic, strnlen(options->topic, TOPIC_NAME_MAX + 1));
    return rv == 0 ? NULL : message_error_text(rv);
}

int evs_events(evs_request *request, const struct evs_events_options *options)
{
    const char *why = find_events_mistake(exchange_of(request), options);
    if (why != NULL) {
        return refuse(request, "evs_events", why, why == already ? -EALREADY : -EINVAL);
    }
    struct event_stream_options stream = {
        .topic = options->topic,
        .topic_len = strlen(options->topic),
        .replay = options->replay,
        .heartbeat_ms = options->heartbeat_ms,
        .retry_ms = options->retry_ms == 0 ? SSE_NO_RETRY : (int64_t)options->retry_ms,
        .skips = (options->flags & EVS_SKIP) != 0,
    };
    if (options->heartbeat_ms == 0) {
        stream.heartbeat_ms = EVENT_STREAM_HEARTBEAT_MS;
    } else if (options->heartbeat_ms == EVS_NO_HEARTBEAT) {
        stream.heartbeat_ms = 0;
    }
    struct exchange *exchange = evs_part(request);
    int rv = event_stream_begin(exchange, &stream);
    if (rv < 0) {
        response_error(exchange, 503, NULL);
    }
    return rv < 0 ? rv : outcome(exchange);
}

int evs_begin(evs_request *request, int status, const char *type, int64_t length)
{
    struct exchange *exchange = exchange_of(request);
    const char *why = find_mistake(exchange, status, type, NULL, 0);
    if (why != NULL) {
        return refuse_stream(exchange, "evs_begin", why, why == already ? -EALREADY : -EINVAL);
    }
    response_begin(exchange, status, type, length < 0 ? RESPONSE_LENGTH_UNKNOWN : length);
    return outcome(exchange);
}

/* Whether len bytes of content may be written; the first ones begin the response. Returns 0, or -1 and nothing may be
 * written. */
static int check_write(struct exchange *exchange, const void *content, size_t len, const char *function)
{
    if (content == NULL && len > 0) {
        return refuse_stream(exchange, function, "the content is NULL", -1);
    }
    if (exchange->response_state == RESPONSE_NONE) {
        response_begin(exchange, 200, NULL, RESPONSE_LENGTH_UNKNOWN);
    } else if (exchange->response_state == RESPONSE_COMPLETE) {
        return refuse_stream(exchange, function, is_complete_already, -1);
    }
    if (exchange->head_only && exchange->response_state == RESPONSE_STREAMING && len > 0) {
        evs_end_without_content(exchange);
        return -1;
    }
    if (exchange->response_state == RESPONSE_STREAMING && exchange->has_content_length &&
        len > exchange->content_left) {
        return refuse_stream(exchange, function, "more content than evs_begin() announced", -1);
    }
    return 0;
}

/* A piece was not queued, and the connection is cut. If write_cap is the reason, log it: the host continued to write
 * after 0, or wrote a piece that was too large. A host that waits after 0 and writes pieces smaller than write_cap less
 * write_high_mark never gets here, however slow its client is. At most once for each request, since the stream is
 * over. */
static void blame_cut(struct exchange *exchange, size_t len, const char *function)
{
    if (!response_is_beyond_cap(exchange, len)) {
        return; /* memory */
    }
    char why[256];
    snprintf(
        why, sizeof why,
        "the client is cut, since %zu bytes are queued and %zu more exceed write_cap (%" PRIu64
        " bytes): after 0 wait for EVS_DRAIN and write smaller pieces, or use evs_reply(), which has no such limit",
        exchange_queued(exchange), len, exchange->limits->write_cap_bytes);
    evs_blame(exchange, LOG_WARN, function, why);
}

int evs_write(evs_request *request, const void *content, size_t len)
{
    struct exchange *exchange = exchange_of(request);
    if (check_write(exchange, content, len, "evs_write") < 0) {
        return -1;
    }
    bool was_open = exchange->response_state == RESPONSE_STREAMING;
    int rv = response_write(exchange, content, len);
    if (rv < 0 && was_open) {
        blame_cut(exchange, len, "evs_write");
    }
    return rv;
}

/* Content that is not copied. It belongs to the server from here on, whatever the return value. */

static void release_content(void (*release)(void *arg), void *arg)
{
    if (release != NULL) {
        release(arg);
    }
}

int evs_write_ref(evs_request *request, const void *content, size_t len, void (*release)(void *arg), void *arg)
{
    struct exchange *exchange = exchange_of(request);
    if (check_write(exchange, content, len, "evs_write_ref") < 0) {
        release_content(release, arg);
        return -1;
    }
    bool was_open = exchange->response_state == RESPONSE_STREAMING;
    int rv = response_write_borrowed(exchange, content, len, release, arg);
    if (rv < 0 && was_open) {
        blame_cut(exchange, len, "evs_write_ref");
    }
    return rv;
}

int evs_reply_ref(evs_request *request, int status, const char *type, const void *content, size_t len,
                  void (*release)(void *arg), void *arg)
{
    int rv = check_answer(request, status, type, content, len, "evs_reply_ref");
    if (rv < 0) {
        release_content(release, arg);
        return rv;
    }
    if (len > REF_COPY_MAX) {
        response_send_borrowed(evs_part(request), status, type, content, len, release, arg);
        return outcome(exchange_of(request));
    }
    response_send(evs_part(request), status, type, content, len);
    rv = outcome(exchange_of(request));
    release_content(release, arg);
    return rv;
}

int evs_end(evs_request *request)
{
    struct exchange *exchange = evs_part(request);
    switch (exchange->response_state) {
    case RESPONSE_NONE:
        response_send(exchange, 204, NULL, NULL, 0);
        return outcome(exchange);
    case RESPONSE_STREAMING:
        if (exchange->content_left > 0 && !exchange->head_only) {
            return refuse(request, "evs_end", "less content than evs_begin() announced", -EINVAL);
        }
        response_end(exchange);
        return outcome(exchange);
    case RESPONSE_COMPLETE:
        return refuse(request, "evs_end", is_complete_already, -EALREADY);
    case RESPONSE_ABORTED:
        break;
    }
    return -EPIPE;
}

int evs_abort(evs_request *request)
{
    struct exchange *exchange = evs_part(request);
    if (exchange->response_state == RESPONSE_COMPLETE) {
        return refuse(request, "evs_abort", is_complete_already, -EALREADY);
    }
    response_abort(exchange);
    return 0;
}

int evs_begun(evs_request *request)
{
    switch (exchange_of(request)->response_state) {
    case RESPONSE_NONE:
        return 0;
    case RESPONSE_STREAMING:
        return 1;
    case RESPONSE_COMPLETE:
    case RESPONSE_ABORTED:
        break;
    }
    return 2;
}
