/* A response from the bytes of its connection.
 *
 *   READS_HEAD -> READS_CONTENT -> HAS_ENDED
 *
 * Happy path: a head that comes in one piece is parsed where it lies, and copied once; one that comes in pieces is
 * gathered. Failure: HAS_FAILED, with why. A head that grows beyond max_head fails while it comes, so no more memory
 * than twice that is taken. */

#include "http/client/fetch_reply.h"

#include "core/ascii.h"
#include "core/mem.h"
#include "http/client/fetch.h"

#include <string.h>

enum reply_state { READS_HEAD, READS_CONTENT, HAS_ENDED, HAS_FAILED };

enum { REPLY_HEAD_ROOM = 1024 }; /* bytes that the first piece of a head gets at least, if it came in several */

static void begin_reply_head(struct fetch_reply *reply)
{
    fetch_head_reset(&reply->head);
    reply->head.max_bytes = reply->max_head;
    reply->head.max_fields = FETCH_RESPONSE_FIELDS_MAX;
    reply->len = 0;
}

void fetch_reply_init(struct fetch_reply *reply, size_t max_head, bool is_to_head)
{
    memset(reply, 0, offsetof(struct fetch_reply, head)); /* the rest is set below, and by finish_reply_head() */
    reply->is_to_head = is_to_head;
    reply->state = READS_HEAD;
    reply->max_head = (uint32_t)(max_head < FETCH_RESPONSE_HEAD_MAX ? max_head : FETCH_RESPONSE_HEAD_MAX);
    begin_reply_head(reply);
}

void fetch_reply_done(struct fetch_reply *reply)
{
    mem_free(reply->bytes);
    mem_free(reply->fields);
    reply->bytes = NULL;
    reply->fields = NULL;
}

static enum fetch_reply_verdict fail_reply(struct fetch_reply *reply, enum fetch_reply_verdict verdict, const char *why)
{
    reply->state = HAS_FAILED;
    reply->failure = (uint8_t)verdict;
    reply->why = why;
    return verdict;
}

/* Append to what has come of the head. */
static bool keep_bytes(struct fetch_reply *reply, const char *data, size_t len)
{
    size_t needed = reply->len + len;

    if (needed > reply->capacity) {
        size_t room = needed > REPLY_HEAD_ROOM ? 2 * needed : REPLY_HEAD_ROOM;
        char *bytes = mem_resize(reply->bytes, room);
        if (bytes == NULL) {
            return false;
        }
        reply->bytes = bytes;
        reply->capacity = (uint32_t)room;
    }
    memcpy(reply->bytes + reply->len, data, len);
    reply->len += (uint32_t)len;
    return true;
}

/* The head of the response, no interim one, is complete, and in bytes. */
static enum fetch_reply_verdict finish_reply_head(struct fetch_reply *reply)
{
    const struct fetch_head *head = &reply->head;
    struct fetch_field *fields = mem_alloc((head->field_count + 1) * sizeof *fields); /* not 0 bytes */

    if (fields == NULL) {
        return fail_reply(reply, REPLY_NO_MEMORY, "out of memory");
    }
    reply->fields = fields;
    fetch_head_list(head, reply->bytes, fields);
    fetch_body_begin(&reply->body, fetch_head_framing(head, reply->is_to_head), head->content_length);
    if (reply->body.framing == FRAMING_CHUNKS) {
        limits_init(&reply->limits);
    }
    reply->state = READS_CONTENT;
    return REPLY_HEAD;
}

/* Take bytes of a head. Returns REPLY_MORE also when an interim response ended at *used. */
static enum fetch_reply_verdict reply_head_bytes(struct fetch_reply *reply, const char *data, size_t len, size_t *used)
{
    struct fetch_head *head = &reply->head;
    size_t before = reply->len;
    size_t most = reply->max_head - before; /* more is not looked at */
    size_t there = len < most ? len : most;

    if (before > 0 && !keep_bytes(reply, data, there)) {
        return fail_reply(reply, REPLY_NO_MEMORY, "out of memory");
    }
    switch (fetch_head_parse(head, before > 0 ? reply->bytes : data, before + there)) {
    case PARSE_ERROR:
        return fail_reply(reply, head->is_too_large ? REPLY_TOO_LARGE : REPLY_MALFORMED, head->why);
    case PARSE_INCOMPLETE:
        *used = there;
        if (before == 0 && !keep_bytes(reply, data, there)) {
            return fail_reply(reply, REPLY_NO_MEMORY, "out of memory");
        }
        return REPLY_MORE;
    case PARSE_COMPLETE:
        break;
    }
    *used = head->len - before;
    if (head->status < 200) {
        reply->max_head -= head->len;
        begin_reply_head(reply);
        return REPLY_MORE;
    }
    if (before == 0 && !keep_bytes(reply, data, head->len)) {
        return fail_reply(reply, REPLY_NO_MEMORY, "out of memory");
    }
    return finish_reply_head(reply);
}

static enum fetch_reply_verdict reply_content_bytes(struct fetch_reply *reply, const char *data, size_t len,
                                                    size_t *used, struct slice *piece)
{
    do {
        size_t taken;
        enum parse_verdict verdict = fetch_body_take(&reply->body, &reply->limits, data + *used, len - *used, &taken,
                                                     piece);
        piece->offset += (uint32_t)*used;
        *used += taken;
        if (verdict == PARSE_ERROR) {
            return fail_reply(reply, REPLY_MALFORMED, reply->body.chunk.reason);
        }
        if (verdict == PARSE_COMPLETE) {
            reply->state = HAS_ENDED;
            reply->is_followed = *used < len;
            return REPLY_DONE;
        }
    } while (piece->len == 0 && *used < len);
    return piece->len > 0 ? REPLY_CONTENT : REPLY_MORE;
}

enum fetch_reply_verdict fetch_reply_take(struct fetch_reply *reply, const char *data, size_t len, size_t *used,
                                          struct slice *piece)
{
    *used = 0;
    *piece = (struct slice){0, 0};
    reply->has_bytes |= len > 0;
    while (reply->state == READS_HEAD && *used < len) {
        size_t taken = 0;
        enum fetch_reply_verdict verdict = reply_head_bytes(reply, data + *used, len - *used, &taken);
        *used += taken;
        if (verdict != REPLY_MORE) {
            return verdict;
        }
    }
    switch ((enum reply_state)reply->state) {
    case READS_HEAD:
        return REPLY_MORE;
    case READS_CONTENT:
        return reply_content_bytes(reply, data, len, used, piece);
    case HAS_ENDED:
        reply->is_followed |= len > 0;
        return REPLY_DONE;
    case HAS_FAILED:
        break;
    }
    return (enum fetch_reply_verdict)reply->failure;
}

enum fetch_reply_verdict fetch_reply_end(struct fetch_reply *reply)
{
    if (reply->state == HAS_ENDED || (reply->state == READS_CONTENT && fetch_body_end(&reply->body))) {
        reply->state = HAS_ENDED;
        reply->head.keep_alive = false;
        return REPLY_DONE;
    }
    if (reply->state == READS_CONTENT) {
        return fail_reply(reply, REPLY_CUT, "in the middle of the response's content");
    }
    return fail_reply(reply, REPLY_CUT,
                      reply->has_bytes ? "in the middle of the response's head" : "before any byte of the response");
}

const struct fetch_field *fetch_reply_find(const struct fetch_reply *reply, const char *name)
{
    for (uint32_t i = 0; i < reply->head.field_count; i++) {
        if (ascii_is(reply->fields[i].name, reply->fields[i].name_len, name)) {
            return &reply->fields[i];
        }
    }
    return NULL;
}

bool fetch_reply_keeps(const struct fetch_reply *reply)
{
    return reply->state == HAS_ENDED && reply->head.keep_alive && !reply->is_followed &&
           reply->body.framing != FRAMING_TO_CLOSE;
}
