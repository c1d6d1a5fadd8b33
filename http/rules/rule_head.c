/* Happy path: the filter puts the carrier back in its place, lets the rules change the head, and passes it on.
 *
 * A file's head was made beforehand and is passed on as it is, with what the rules add in exchange->fields. Only a rule
 * that drops one of its lines makes a new head of it.
 *
 * Failure mode: without memory the head is not written, and the response is aborted. */

#include "http/rules/rule_head.h"

#include "core/ascii.h"
#include "http/exchange.h"
#include "http/http_date.h"
#include "http/prebuilt.h"
#include "http/response_fields.h"
#include "http/rules/rules.h"
#include "http/status.h"

#include <errno.h>
#include <string.h>

static struct rules *rules_of_filter(const struct exchange *exchange)
{
    return (struct rules *)(uintptr_t)((const char *)exchange->framing - offsetof(struct rules, filter));
}

/* Let the rules change a head. Returns 0 or -ENOMEM. */
static int change_head(struct exchange *exchange, const struct rules *rules, struct rule_head *head)
{
    int rv = 0;
    if (head->status < 200) { /* a switch to another protocol, which has no content and is kept by nobody */
        return 0;
    }
    for (unsigned order = 0; rv == 0 && order < RULE_ORDERS; order++) {
        if (rules->first[order] == NULL || rules->first[order]->kind->on_head == NULL) {
            continue;
        }
        const struct rule *first = rules_first(rules, (enum rule_order)order, exchange->path, exchange->path_len);
        rv = first == NULL ? 0 : first->kind->on_head(exchange, first, head);
    }
    return rv;
}

static int rules_begin(struct exchange *exchange, const struct response_head *given)
{
    const struct rules *rules = rules_of_filter(exchange);
    struct rule_head head = {.status = given->status, .type = given->type, .is_sent_with_type = given->type != NULL};
    exchange->framing = rules->carrier;
    int rv = change_head(exchange, rules, &head);
    return rv < 0 ? rv : exchange->framing->begin(exchange, given);
}

/* What a head made beforehand says about the length of the content. */
static int64_t length_of_prebuilt(const struct prebuilt *prebuilt)
{
    static const char name[] = "Content-Length: ";
    const char *at = prebuilt->bytes + prebuilt->lines_offset + prebuilt->lines_len + sizeof name - 1;
    int64_t length = 0;
    if (status_has_no_body(prebuilt->status)) {
        return LENGTH_NONE;
    }
    for (; *at != '\r'; at++) {
        length = 10 * length + (*at - '0');
    }
    return length;
}

/* The lines of the head are among the fields: write it anew. */
static int begin_moved(struct exchange *exchange, const struct prebuilt *prebuilt, size_t content_len)
{
    const struct response_head head = {
        .status = prebuilt->status,
        .length = length_of_prebuilt(prebuilt),
        .content = prebuilt->bytes + prebuilt->head_len,
        .content_len = content_len,
    };
    exchange->is_uncoded = true; /* the rest of its content may follow as a range of a file */
    return exchange->framing->begin(exchange, &head);
}

static int rules_prebuilt(struct exchange *exchange, const struct prebuilt *prebuilt, size_t content_len)
{
    const struct rules *rules = rules_of_filter(exchange);
    const uint32_t begin = prebuilt->date_offset + HTTP_DATE_LEN + 2; /* of the lines with that of the type */
    struct rule_head head = {
        .status = prebuilt->status,
        .type = prebuilt->type,
        .lines = prebuilt->bytes + begin,
        .lines_len = prebuilt->lines_offset + prebuilt->lines_len - begin,
    };
    exchange->framing = rules->carrier;
    int rv = change_head(exchange, rules, &head);
    if (rv < 0) {
        return rv;
    }
    return head.is_moved ? begin_moved(exchange, prebuilt, content_len)
                         : exchange->framing->prebuilt(exchange, prebuilt, content_len);
}

void rule_head_install(struct exchange *exchange, struct rules *rules)
{
    if (rules->carrier != exchange->framing) { /* its first request, or the first that may be compressed */
        rules->carrier = exchange->framing;
        rules->filter = *exchange->framing;
        rules->filter.begin = rules_begin;
        rules->filter.prebuilt = rules_prebuilt;
    }
    exchange->framing = &rules->filter;
}

/* For kinds. */

static const char *find_line(const char *lines, size_t len, const char *name, size_t name_len)
{
    const char *end = len == 0 ? lines : lines + len; /* lines may be NULL */
    for (const char *next; lines < end; lines = next) {
        next = (const char *)memchr(lines, '\n', (size_t)(end - lines)) + 1;
        if ((size_t)(next - lines) > name_len && lines[name_len] == ':' && ascii_equals(lines, name, name_len)) {
            return lines;
        }
    }
    return NULL;
}

bool rule_head_has(const struct exchange *exchange, const struct rule_head *head, const char *name, size_t name_len)
{
    static const char type[] = "Content-Type";
    size_t ignored;
    return (head->is_sent_with_type && ascii_is(name, name_len, type)) ||
           response_added_field(exchange, name, name_len, &ignored) != NULL ||
           find_line(head->lines, head->lines_len, name, name_len) != NULL;
}

int rule_head_add(struct exchange *exchange, const char *lines, size_t len)
{
    return write_buffer_append(&exchange->fields, lines, len, SIZE_MAX);
}

int rule_head_drop(struct exchange *exchange, struct rule_head *head, const char *name, size_t name_len)
{
    if (find_line(head->lines, head->lines_len, name, name_len) != NULL) {
        int error = 0;
        char *at = write_buffer_reserve(&exchange->fields, head->lines_len, SIZE_MAX, &error);
        if (at == NULL) {
            return error;
        }
        char *end = response_put_lines(exchange, at, head->lines, head->lines_len);
        write_buffer_commit(&exchange->fields, (size_t)(end - at));
        head->lines_len = 0;
        head->is_moved = true;
    }
    response_drop_field(exchange, name, name_len);
    return 0;
}
