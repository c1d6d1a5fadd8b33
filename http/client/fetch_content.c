/* Content of responses.
 *
 * Happy path: a head becomes the owner's result, unless it is a redirect that is followed; content is appended to
 * fetch->content, where the owner finds all of it at the end, or takes it piece by piece. Content of a known length is
 * received where it will stay. Content in gzip is decoded as it comes; a streamed one when it is taken, so that a small
 * one that is huge when it is decoded takes no more memory than others. Failure: fetch_fail(), with what the response
 * did. */

#include "http/client/fetch_content.h"

#include "core/ascii.h"
#include "core/gunzip.h"
#include "core/mem.h"
#include "core/outbound.h"
#include "http/client/fetch_over.h"
#include "http/client/fetch_state.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum {
    CONTENT_MARK = 1 << 16,    /* bytes that a reader has not taken, from which on nothing is read from the server */
    CONTENT_LEAST = 1024,      /* room for content */
    CONTENT_DIRECT = 1 << 16,  /* room that is received to directly */
    CONTENT_AT_ONCE = 1 << 20, /* a length up to this is believed: room for all of it is made */
    CODED_SLICE = 1024,        /* bytes that are decoded at a time: they make 1 MiB at most */
    DECODED_TURN = 1 << 19,    /* decoded bytes after which others have their turn */
};

/* Room. */

/* Make room for len more bytes, and a NUL. Returns whether there is: fail_for_memory() says why not. */
static bool grow_content(struct fetch *fetch, struct fetch_content *content, size_t len)
{
    size_t needed;
    size_t *held = &fetch->outbound->held_bytes;
    size_t held_max = fetch->outbound->held_max == 0 ? (size_t)OUTBOUND_HELD_MAX : fetch->outbound->held_max;

    if (__builtin_add_overflow(content->len, len, &needed) || needed > SIZE_MAX / 2 - 1) {
        return false;
    }
    if (++needed <= content->capacity) {
        return true;
    }
    size_t room = content->capacity < CONTENT_LEAST ? (size_t)CONTENT_LEAST : 2 * content->capacity;
    room = room < needed ? needed : room;
    fetch->is_one_too_many = room - content->capacity > held_max - *held;
    char *block = fetch->is_one_too_many ? NULL : mem_resize(content->block, room);
    if (block == NULL) {
        return false;
    }
    *held += room - content->capacity;
    content->block = block;
    content->capacity = room;
    return true;
}

static enum fetch_reply_verdict fail_for_memory(struct fetch *fetch)
{
    if (fetch->is_one_too_many) {
        fetch_fail(
            fetch, FETCH_NO_MEMORY,
            "responses from other servers fill the memory that they may have together, %zu bytes; large ones can "
            "be taken in pieces",
            fetch->outbound->held_max == 0 ? (size_t)OUTBOUND_HELD_MAX : fetch->outbound->held_max);
    } else {
        fetch_fail(fetch, FETCH_NO_MEMORY, "out of memory");
    }
    return REPLY_MALFORMED;
}

static enum fetch_reply_verdict fail_for_size(struct fetch *fetch)
{
    char name[FETCH_FAILURE_MAX / 2];
    fetch_fail(fetch, FETCH_TOO_LARGE, "the body from %s has more than %" PRIu64 " bytes (max_body)",
               fetch_peer_name(fetch, name), fetch->max_body);
    return REPLY_MALFORMED;
}

bool fetch_has_room(const struct fetch *fetch)
{
    bool is_behind = fetch->streams_response && fetch->content.len - fetch->content.at >= CONTENT_MARK;
    return !is_behind && !fetch_has_rest(fetch);
}

bool fetch_has_rest(const struct fetch *fetch)
{
    return fetch->rest.at < fetch->rest.len;
}

char *fetch_content_room(struct fetch *fetch, size_t *room)
{
    const struct fetch_body *body = &fetch->reply.body;
    size_t wanted = CONTENT_DIRECT;

    if (fetch->streams_response || !fetch->has_result || fetch->is_redirect || fetch->gunzip != NULL) {
        return NULL;
    }
    if (body->framing == FRAMING_LENGTH) {
        /* One byte more shows whether the server sends more than it said. */
        size_t most = body->left < CONTENT_AT_ONCE ? (size_t)body->left + 1 : CONTENT_AT_ONCE;
        wanted = wanted < most ? wanted : most;
        wanted = fetch->content.len == 0 ? most : wanted;
    } else if (body->framing != FRAMING_TO_CLOSE) {
        return NULL;
    }
    if (!grow_content(fetch, &fetch->content, wanted)) {
        return NULL; /* what comes then fails for memory */
    }
    *room = fetch->content.capacity - fetch->content.len - 1;
    return fetch->content.block + fetch->content.len;
}

static enum fetch_reply_verdict fail_for_coding(struct fetch *fetch, int error)
{
    char name[FETCH_FAILURE_MAX / 2];
    if (error == -ENOMEM) {
        return fail_for_memory(fetch);
    }
    if (error == -EFBIG) {
        return fail_for_size(fetch);
    }
    fetch_fail(fetch, FETCH_MALFORMED, "malformed response from %s: its content is not in gzip, or damaged",
               fetch_peer_name(fetch, name));
    return REPLY_MALFORMED;
}

/* Decode content that came to where it is to stay. */
static enum fetch_reply_verdict add_decoded(struct fetch *fetch, const char *data, size_t len)
{
    struct fetch_content *content = &fetch->content;
    size_t room;
    ssize_t decoded;

    do {
        if (!grow_content(fetch, content, CONTENT_LEAST)) {
            return fail_for_memory(fetch);
        }
        room = content->capacity - content->len - 1;
        decoded = gunzip_run(fetch->gunzip, &data, &len, content->block + content->len, room);
        if (decoded < 0) {
            return fail_for_coding(fetch, (int)decoded);
        }
        content->len += (size_t)decoded;
        if (content->len > fetch->max_body) {
            return fail_for_size(fetch);
        }
    } while ((size_t)decoded == room);
    return REPLY_MORE;
}

/* Content that came, which may lie where it is to stay. */
static enum fetch_reply_verdict add_content(struct fetch *fetch, const char *data, size_t len)
{
    struct fetch_content *content = &fetch->content;

    if (len == 0 || fetch->is_redirect) {
        return REPLY_MORE;
    }
    if (fetch->gunzip != NULL && !fetch->streams_response) {
        return add_decoded(fetch, data, len);
    }
    if (fetch->gunzip == NULL) { /* else it is counted when it is decoded, in fetch_take_content() */
        fetch->content_total += len;
        if (fetch->content_total > fetch->max_body) {
            return fail_for_size(fetch);
        }
    }
    if (content->block == NULL || data != content->block + content->len) {
        if (!grow_content(fetch, content, len)) {
            return fail_for_memory(fetch);
        }
        memcpy(content->block + content->len, data, len);
    }
    content->len += len;
    if (fetch->wants_content) {
        fetch->wants_content = false;
        fetch_note(fetch, FETCH_READABLE);
    }
    return REPLY_MORE;
}

/* Heads. */

/* Whether this response is a redirect that is to be followed. */
static bool is_followed_redirect(const struct fetch *fetch)
{
    return fetch->redirects_max > 0 && fetch_status_redirects(fetch->reply.head.status) &&
           fetch_reply_find(&fetch->reply, "Location") != NULL;
}

/* Whether the content comes in gzip, as was asked for. */
static bool is_in_gzip(const struct fetch *fetch)
{
    const struct fetch_field *field = fetch_reply_find(&fetch->reply, "Content-Encoding");
    return fetch->order.asks_for_gzip && fetch->reply.body.framing != FRAMING_NONE && field != NULL &&
           (ascii_is(field->value, field->value_len, "gzip") || ascii_is(field->value, field->value_len, "x-gzip"));
}

static enum fetch_reply_verdict take_response_head(struct fetch *fetch)
{
    const struct fetch_reply *reply = &fetch->reply;
    const struct fetch_head *head = &reply->head;

    fetch->is_redirect = is_followed_redirect(fetch);
    if (fetch->is_redirect) {
        return REPLY_MORE;
    }
    if (is_in_gzip(fetch)) {
        int rv = gunzip_create(&fetch->gunzip);
        if (rv < 0) {
            return fail_for_coding(fetch, rv);
        }
    } else if (reply->body.framing == FRAMING_LENGTH && head->content_length > fetch->max_body) {
        return fail_for_size(fetch);
    }
    fetch->result = (struct fetch_response){
        .status = head->status,
        .minor_version = head->minor_version,
        .reason = reply->bytes + head->reason.offset,
        .fields = reply->fields,
        .field_count = head->field_count,
        .url = fetch->url.text,
        .redirects = fetch->redirects,
        .is_reused = fetch->reused > 0,
        .is_decoded = fetch->gunzip != NULL,
    };
    fetch->has_result = true;
    if (fetch->streams_response) {
        fetch_note(fetch, FETCH_HEAD);
    }
    return REPLY_MORE;
}

/* What came. */

static enum fetch_reply_verdict fail_reply_of(struct fetch *fetch, enum fetch_reply_verdict verdict)
{
    char name[FETCH_FAILURE_MAX / 2];
    const char *why = fetch->reply.why;

    fetch_peer_name(fetch, name);
    if (verdict == REPLY_NO_MEMORY) {
        return fail_for_memory(fetch);
    }
    if (verdict == REPLY_TOO_LARGE) {
        fetch_fail(fetch, FETCH_TOO_LARGE, "response from %s: %s (max_head)", name, why);
    } else if (verdict == REPLY_CUT) {
        fetch_fail(fetch, FETCH_CUT, "%s closed the connection %s", name, why);
    } else {
        fetch_fail(fetch, FETCH_MALFORMED, "malformed response from %s: %s", name, why);
    }
    return REPLY_MALFORMED;
}

/* Keep bytes for the next turn. They may be a part of what is kept already. */
static enum fetch_reply_verdict set_rest_aside(struct fetch *fetch, const char *data, size_t len)
{
    struct fetch_content *rest = &fetch->rest;

    if (fetch_has_rest(fetch)) {
        rest->at = rest->len - len;
        return REPLY_MORE;
    }
    rest->at = rest->len = 0;
    if (!grow_content(fetch, rest, len)) {
        return fail_for_memory(fetch);
    }
    memcpy(rest->block, data, len);
    rest->len = len;
    return REPLY_MORE;
}

enum fetch_reply_verdict fetch_take_bytes(struct fetch *fetch, const char *data, size_t len)
{
    size_t before = fetch->content.len;

    for (;;) {
        size_t used;
        struct slice piece;
        bool is_decoded = fetch->gunzip != NULL && !fetch->streams_response;
        size_t part = is_decoded && len > CODED_SLICE ? CODED_SLICE : len;
        if (is_decoded && len > 0 && fetch->content.len - before > DECODED_TURN) {
            return set_rest_aside(fetch, data, len);
        }
        enum fetch_reply_verdict taken = REPLY_MORE;
        enum fetch_reply_verdict verdict = fetch_reply_take(&fetch->reply, data, part, &used, &piece);
        switch (verdict) {
        case REPLY_HEAD:
            taken = take_response_head(fetch);
            break;
        case REPLY_CONTENT:
        case REPLY_DONE:
            taken = add_content(fetch, data + piece.offset, piece.len);
            break;
        case REPLY_MORE:
            if (used == len) {
                return REPLY_MORE;
            }
            break;
        case REPLY_MALFORMED:
        case REPLY_TOO_LARGE:
        case REPLY_CUT:
        case REPLY_NO_MEMORY:
            return fail_reply_of(fetch, verdict);
        }
        data += used;
        len -= used;
        if (taken != REPLY_MORE || verdict == REPLY_DONE) {
            fetch->reply.is_followed |= len > 0;
            return taken != REPLY_MORE ? taken : REPLY_DONE;
        }
    }
}

enum fetch_reply_verdict fetch_take_rest(struct fetch *fetch)
{
    struct fetch_content *rest = &fetch->rest;
    size_t before = rest->at;
    enum fetch_reply_verdict verdict = fetch_take_bytes(fetch, rest->block + before, rest->len - before);

    if (rest->at == before) { /* nothing is kept of it */
        rest->at = rest->len = 0;
    }
    return verdict;
}

enum fetch_reply_verdict fetch_take_end(struct fetch *fetch)
{
    enum fetch_reply_verdict verdict = fetch_reply_end(&fetch->reply);
    return verdict == REPLY_DONE ? REPLY_DONE : fail_reply_of(fetch, verdict);
}

int fetch_finish_content(struct fetch *fetch)
{
    if (fetch->streams_response) {
        return 0;
    }
    if (fetch->gunzip != NULL && !gunzip_is_whole(fetch->gunzip)) {
        fail_for_coding(fetch, -EPROTO);
        return -EPROTO;
    }
    if (!grow_content(fetch, &fetch->content, 0)) {
        fail_for_memory(fetch);
        return -ENOMEM;
    }
    fetch->content.block[fetch->content.len] = '\0';
    fetch->result.body = fetch->content.block;
    fetch->result.body_len = fetch->content.len;
    return 0;
}

/* A response that is complete may fail all the same, when its last content is decoded. */
static ssize_t fail_taking(struct fetch *fetch, int error)
{
    bool is_done = fetch_is_over(fetch) && fetch->kind == FETCH_SUCCESS;
    bool is_told = is_done && (fetch->due & 1U << FETCH_DONE) == 0;

    if (is_done) {
        fetch->stage = FETCH_WORKS;
        fetch->due = 0;
    }
    fail_for_coding(fetch, error);
    if (is_told) {
        fetch->due = 0; /* its owner has heard of the end, and hears of this one by the result */
    }
    return -EIO;
}

/* The same for content in gzip, which is decoded as it is taken. */
static ssize_t take_decoded(struct fetch *fetch, const char **data)
{
    struct fetch_content *content = &fetch->content;
    struct fetch_content *taken = &fetch->taken;
    const char *in = content->len > 0 ? content->block + content->at : NULL;
    size_t in_len = content->len - content->at;

    if (fetch->decoded_turn >= DECODED_TURN) { /* a little that becomes much must not hold the loop */
        fetch->decoded_turn = 0;
        fetch_note(fetch, FETCH_READABLE);
        return -EAGAIN;
    }
    taken->len = 0;
    if (!grow_content(fetch, taken, CONTENT_MARK)) {
        return fail_taking(fetch, -ENOMEM);
    }
    ssize_t len = gunzip_run(fetch->gunzip, &in, &in_len, taken->block, CONTENT_MARK);
    if (len < 0) {
        return fail_taking(fetch, (int)len);
    }
    content->at = content->len - in_len;
    if (in_len == 0) {
        content->at = content->len = 0;
    }
    fetch->content_total += (size_t)len;
    fetch->decoded_turn += (uint32_t)len;
    if (fetch->content_total > fetch->max_body) {
        return fail_taking(fetch, -EFBIG);
    }
    bool is_cut = len == 0 && fetch_is_over(fetch) && fetch->kind == FETCH_SUCCESS && !gunzip_is_whole(fetch->gunzip);
    *data = taken->block;
    return is_cut ? fail_taking(fetch, -EPROTO) : len;
}

ssize_t fetch_take_content(struct fetch *fetch, const char **data)
{
    struct fetch_content empty = fetch->taken;

    if (fetch->gunzip != NULL) {
        return take_decoded(fetch, data);
    }
    if (fetch->content.len == 0) {
        return 0;
    }
    fetch->taken = fetch->content;
    empty.len = 0;
    fetch->content = empty;
    *data = fetch->taken.block;
    return (ssize_t)fetch->taken.len;
}

void fetch_content_done(struct fetch *fetch)
{
    gunzip_destroy(fetch->gunzip);
    fetch->outbound->held_bytes -= fetch->content.capacity + fetch->taken.capacity + fetch->rest.capacity;
    mem_free(fetch->content.block);
    mem_free(fetch->taken.block);
    mem_free(fetch->rest.block);
}
