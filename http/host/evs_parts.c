/* Multipart bodies, part by part, whether the body has been read as a whole or comes piece by piece (EVS_STREAM_BODY).
 *
 * Happy path: what has come of the body goes through the parser of http/multipart.h, which returns content in place;
 * what is not used yet stays with the exchange. So a part of any length needs only the memory of one piece.
 *
 * Failure modes: a body that is malformed, too large or too slow gives a status, negated; further calls return the
 * same. */

#include "http/host/evs_form.h"

#include "core/mem.h"
#include "http/host/evs_blame.h"
#include "http/host/evs_internal.h"
#include "http/host/evs_parsed.h"
#include "http/multipart.h"

#include <errno.h>
#include <string.h>

struct evs_parts {
    size_t offset;  /* taken of a body that was read as a whole */
    int verdict;    /* EVS_END, or a status, negated: further calls return it; 0 before that */
    bool is_inside; /* a part has begun, and has not ended yet */
    bool has_part;  /* multipart and texts are those of the part that evs_part_next() gave */
    struct multipart multipart;
    char texts[MULTIPART_HEAD_MAX + 2]; /* name and filename of the part: slices of one field, each with a NUL */
};

/* The parser of this request, made when the host first asks for a part. NULL with *status. */
static struct evs_parts *parts_of(struct exchange *exchange, int *status)
{
    struct evs_parsed *parsed = evs_parsed_of(exchange);
    *status = -503;
    if (parsed == NULL) {
        return NULL;
    }
    if (parsed->parts != NULL) {
        return parsed->parts;
    }
    struct evs_parts *parts = mem_alloc(sizeof *parts);
    if (parts == NULL) {
        parsed->reason = "out of memory";
        return NULL;
    }
    parts->offset = 0;
    parts->is_inside = false;
    parts->has_part = false;
    size_t len;
    const char *type = evs_body_type(exchange, &len);
    parts->verdict = -multipart_begin(&parts->multipart, type, len);
    if (parts->verdict < 0) {
        parsed->reason = evs_multipart_reason(-parts->verdict);
    }
    parsed->parts = parts;
    return parts;
}

/* An event of the parser. */
struct part_event {
    enum multipart_event kind; /* not MULTIPART_MORE, not MULTIPART_ERROR */
    const char *content;       /* of MULTIPART_CONTENT */
    size_t len;                /* of content */
};

/* Hand bytes of the body to the parser. Returns how many it took. */
static size_t parts_parse(struct evs_parts *parts, const char *data, size_t len, struct part_event *event)
{
    size_t used;
    event->kind = multipart_parse(&parts->multipart, data, len, &used, &event->content, &event->len);
    return used;
}

/* Let the parser take more of the body, until there is an event or no more: EVS_PIECE, EVS_END, EVS_WAIT, or a status,
 * negated. */
static int parts_take(struct exchange *exchange, struct evs_parts *parts, struct part_event *event)
{
    parts_parse(parts, "", 0, event); /* the end of a part may have come with its last bytes */
    while (event->kind == MULTIPART_MORE) {
        const char *data = exchange->body == NULL ? "" : exchange->body;
        size_t len = exchange->body_len - parts->offset;
        if (!evs_streams_body(exchange)) {
            parts->offset += parts_parse(parts, data + parts->offset, len, event);
        } else {
            int rv = exchange_read_body(exchange, &data, &len);
            if (rv == BODY_WAIT || rv < 0) {
                return rv == BODY_WAIT ? EVS_WAIT : rv;
            }
            len = rv == BODY_END ? 0 : len;
            size_t used = parts_parse(parts, data, len, event);
            if (used < len) {
                exchange_unread_body(exchange, len - used);
            }
        }
        if (len == 0 && event->kind == MULTIPART_MORE) {
            return multipart_finish(&parts->multipart) ? EVS_END : -parts->multipart.status;
        }
    }
    return event->kind == MULTIPART_ERROR ? -parts->multipart.status : EVS_PIECE;
}

/* The same, but remember an end for the calls that follow. */
static int parts_go_on(struct exchange *exchange, struct evs_parts *parts, struct part_event *event)
{
    if (parts->verdict != 0) {
        return parts->verdict;
    }
    int rv = parts_take(exchange, parts, event);
    if (rv == EVS_PIECE) {
        parts->is_inside = event->kind != MULTIPART_PART_END;
    } else if (rv != EVS_WAIT) {
        parts->verdict = rv;
        parts->is_inside = false;
        if (rv < 0 && exchange->parsed->reason == NULL) { /* NULL stays when the exchange knows the reason */
            exchange->parsed->reason = parts->multipart.reason;
        }
    }
    return rv;
}

/* The text of a header field of the part. Its NUL replaces a byte of syntax that is no longer needed. */
static const char *part_field(struct multipart *multipart, const char *name)
{
    size_t len;
    const char *value = multipart_field(multipart, name, &len);
    if (value == NULL) {
        return NULL;
    }
    size_t at = (size_t)(value - multipart->head);
    multipart->head[at + len] = '\0';
    return multipart->head + at;
}

/* Copy a text of len bytes to *at, which then points behind its NUL. A negative len means no text: returns NULL. */
static const char *put_part_text(char **at, const char *text, int len)
{
    char *start = *at;
    if (len < 0) {
        return NULL;
    }
    memcpy(start, text, (size_t)len);
    start[len] = '\0';
    *at += len + 1;
    return start;
}

static void describe_part(struct evs_parts *parts, struct evs_part *part)
{
    char value[MULTIPART_HEAD_MAX];
    char *at = parts->texts;
    int len = multipart_parameter(&parts->multipart, "name", value);
    part->name = put_part_text(&at, value, len);
    len = multipart_filename(&parts->multipart, value);
    part->filename = put_part_text(&at, value, len);
    part->type = part_field(&parts->multipart, "content-type");
    parts->has_part = true;
}

int evs_part_next(evs_request *request, struct evs_part *part)
{
    struct exchange *exchange = exchange_of(request);
    if (part == NULL || part->size < sizeof *part) {
        evs_blame(exchange, LOG_ERROR, "evs_part_next", "part.size is not sizeof(struct evs_part)");
        return -EINVAL;
    }
    int rv;
    struct evs_parts *parts = parts_of(exchange, &rv);
    if (parts == NULL) {
        return rv;
    }
    struct part_event event = {.kind = MULTIPART_MORE};
    parts->has_part = false;
    do { /* the unread rest of the previous part is skipped */
        rv = parts_go_on(exchange, parts, &event);
    } while (rv == EVS_PIECE && event.kind != MULTIPART_PART);
    if (rv == EVS_PIECE) {
        describe_part(parts, part);
        return EVS_PART;
    }
    return rv;
}

int evs_part_read(evs_request *request, const void **data, size_t *len)
{
    struct exchange *exchange = exchange_of(request);
    struct evs_parts *parts = exchange->parsed == NULL ? NULL : exchange->parsed->parts;
    if (parts != NULL && parts->verdict < 0) {
        return parts->verdict;
    }
    if (parts == NULL || !parts->is_inside) {
        return EVS_END;
    }
    struct part_event event = {.kind = MULTIPART_MORE};
    int rv = parts_go_on(exchange, parts, &event);
    if (rv != EVS_PIECE) {
        return rv;
    }
    if (event.kind == MULTIPART_PART_END) {
        return EVS_END;
    }
    *data = event.content;
    *len = event.len;
    return EVS_PIECE;
}

const char *evs_part_header(evs_request *request, const char *name)
{
    struct exchange *exchange = exchange_of(request);
    struct evs_parts *parts = exchange->parsed == NULL ? NULL : exchange->parsed->parts;
    return parts == NULL || name == NULL || !parts->has_part ? NULL : part_field(&parts->multipart, name);
}
