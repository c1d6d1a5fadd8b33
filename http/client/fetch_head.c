/* Heads of responses.
 *
 *   VERSION -> REASON -> REASON_LF -> FIELDS -> COMPLETE
 *
 * Happy path: the status line is compared with its pattern byte by byte; field lines are read one at a time, and those
 * about the end of the content, or of the connection, are noted; at the empty line they are judged together. Failure:
 * fail_head() with a phrase. It is final: the end of the message is not known then. */

#include "http/client/fetch_head.h"

#include "core/ascii.h"
#include "http/char_class.h"
#include "http/client/fetch.h"

#include <string.h>

enum fetch_head_state { HEAD_VERSION, HEAD_REASON, HEAD_REASON_LF, HEAD_FIELDS, HEAD_COMPLETE, HEAD_FAILED };

enum { SAID_CLOSE = 1, SAID_KEEP_ALIVE = 2, SAID_CODING = 4 };

/* Each '0' stands for any digit. What follows is a space and a reason, or the end of the line. */
static const char status_pattern[] = "HTTP/1.0 000";
static const char usual_version[] = "HTTP/1.1 "; /* what most responses begin with */
enum { STATUS_PATTERN_LEN = sizeof status_pattern - 1, STATUS_AT = 9, MINOR_VERSION_AT = 7 };

void fetch_head_reset(struct fetch_head *head)
{
    memset(head, 0, offsetof(struct fetch_head, noted));
}

static enum parse_verdict fail_head(struct fetch_head *head, const char *why)
{
    head->state = HEAD_FAILED;
    head->why = why;
    return PARSE_ERROR;
}

static enum parse_verdict outgrow_head(struct fetch_head *head, const char *why)
{
    head->is_too_large = true;
    return fail_head(head, why);
}

/* Why the byte at pos cannot be there in a status line. */
static const char *status_byte_reason(uint32_t pos, char byte)
{
    if (pos == 0 && (byte == 0x15 || byte == 0x16)) { /* a TLS record with an alert or a handshake */
        return "the server sends TLS: use https";
    }
    if (pos < 5) {
        return "what came does not begin with HTTP/";
    }
    return pos < STATUS_AT - 1 ? "the version is not HTTP/1" : "the status is not three digits";
}

static enum parse_verdict parse_version(struct fetch_head *head, const char *data, size_t len)
{
    uint32_t pos = head->line.pos;

    if (pos == 0 && len >= STATUS_AT && memcmp(data, usual_version, STATUS_AT) == 0) {
        pos = STATUS_AT;
    }
    for (; pos < len && pos < STATUS_PATTERN_LEN; pos++) {
        bool fits = status_pattern[pos] == '0' ? char_is_digit(data[pos]) : data[pos] == status_pattern[pos];
        if (!fits) {
            return fail_head(head, status_byte_reason(pos, data[pos]));
        }
    }
    head->line.pos = pos;
    if (pos == len) {
        return PARSE_INCOMPLETE;
    }
    const char *digits = data + STATUS_AT;
    head->status = (digits[0] - '0') * 100 + (digits[1] - '0') * 10 + (digits[2] - '0');
    if (head->status < 100) {
        return fail_head(head, "the status is below 100");
    }
    if (data[pos] != ' ' && data[pos] != '\r') {
        return fail_head(head, char_is_digit(data[pos]) ? "the status is not three digits"
                                                        : "there is no space behind the status");
    }
    head->minor_version = data[MINOR_VERSION_AT] != '0';
    head->line.pos += data[pos] == ' ';
    head->reason.offset = head->line.pos;
    head->state = HEAD_REASON;
    return PARSE_COMPLETE;
}

static enum parse_verdict parse_reason(struct fetch_head *head, const char *data, size_t len)
{
    uint32_t pos = head->line.pos;

    if (head->state == HEAD_REASON) {
        while (pos < len && char_is(data[pos], CLASS_VALUE)) {
            pos++;
        }
        head->line.pos = pos;
        if (pos == len) {
            return PARSE_INCOMPLETE;
        }
        if (data[pos] != '\r') {
            return fail_head(head, data[pos] == '\n' ? "line feed without carriage return"
                                                     : "control character in the status line");
        }
        head->reason.len = pos - head->reason.offset;
        head->line.pos = ++pos;
        head->state = HEAD_REASON_LF;
    }
    if (pos == len) {
        return PARSE_INCOMPLETE;
    }
    if (data[pos] != '\n') {
        return fail_head(head, "carriage return without line feed");
    }
    head->fields_at = head->line.pos = pos + 1;
    head->state = HEAD_FIELDS;
    return PARSE_COMPLETE;
}

/* The next element of a comma-separated list, without the white space around it; it may be empty. Returns false at the
 * end, when *list is NULL. */
static bool next_in_list(const char **list, const char *end, const char **element, size_t *len)
{
    if (*list == NULL) {
        return false;
    }
    const char *start = *list;
    const char *comma = memchr(start, ',', (size_t)(end - start));
    const char *stop = comma != NULL ? comma : end;

    *list = comma != NULL ? comma + 1 : NULL;
    start += char_skip_space(start, (size_t)(stop - start), 0);
    while (stop > start && char_is_space(stop[-1])) {
        stop--;
    }
    *element = start;
    *len = (size_t)(stop - start);
    return true;
}

/* The same number again, in a list or another field, changes nothing (RFC 9110 section 8.6). */
static const char *note_length(struct fetch_head *head, const char *value, const char *end)
{
    const char *element;
    size_t len;

    while (next_in_list(&value, end, &element, &len)) {
        uint64_t number;
        if (!ascii_parse_number(element, len, INT64_MAX, &number)) {
            return "Content-Length is not a number";
        }
        if (head->has_length && number != head->content_length) {
            return "two different Content-Length";
        }
        head->has_length = true;
        head->content_length = number;
    }
    return NULL;
}

/* Nothing but chunked was asked for. */
static const char *note_coding(struct fetch_head *head, const char *value, const char *end)
{
    const char *element;
    size_t len;

    while (next_in_list(&value, end, &element, &len)) {
        if (len == 0) {
            continue;
        }
        if (!ascii_is(element, len, "chunked")) {
            return "Transfer-Encoding with a coding other than chunked";
        }
        if (head->is_chunked) {
            return "Transfer-Encoding chunked twice";
        }
        head->is_chunked = true;
    }
    head->seen |= SAID_CODING;
    return NULL;
}

static void note_options(struct fetch_head *head, const char *value, const char *end)
{
    const char *element;
    size_t len;

    while (next_in_list(&value, end, &element, &len)) {
        if (ascii_is(element, len, "close")) {
            head->seen |= SAID_CLOSE;
        } else if (ascii_is(element, len, "keep-alive")) {
            head->seen |= SAID_KEEP_ALIVE;
        } else if (len > 0) {
            head->has_options = true;
        }
    }
}

/* A field line is whole. Returns NULL, or why it is refused. */
static const char *note_line(struct fetch_head *head, const char *data)
{
    const char *name = data + head->field.name.offset;
    size_t len = head->field.name.len;
    const char *value = data + head->field.value.offset;
    const char *end = value + head->field.value.len;

    if (ascii_is(name, len, "Content-Length")) {
        return note_length(head, value, end);
    }
    if (ascii_is(name, len, "Transfer-Encoding")) {
        return note_coding(head, value, end);
    }
    if (ascii_is(name, len, "Connection")) {
        note_options(head, value, end);
    }
    return NULL;
}

static const char *field_byte_reason(const struct field_line *line, char byte)
{
    bool is_in_name = line->state <= FIELD_LINE_NAME;

    if (byte == '\n' && line->state < FIELD_LINE_LF) {
        return "line feed without carriage return";
    }
    if (line->state >= FIELD_LINE_LF) {
        return "carriage return without line feed";
    }
    if (line->state == FIELD_LINE_BEGIN && char_is_space(byte)) {
        return "field value continued on the next line";
    }
    if (line->state == FIELD_LINE_NAME && char_is_space(byte)) {
        return "space between field name and colon";
    }
    if (line->state == FIELD_LINE_NAME && byte == '\r') {
        return "field line without a colon";
    }
    return is_in_name ? "invalid character in field name" : "control character in field value";
}

/* The head is complete: what its fields say together (RFC 9112 sections 6.1 and 6.3). */
static enum parse_verdict judge(struct fetch_head *head)
{
    if ((head->seen & SAID_CODING) && head->has_length) {
        return fail_head(head, "both Transfer-Encoding and Content-Length");
    }
    if ((head->seen & SAID_CODING) && head->minor_version == 0) {
        return fail_head(head, "Transfer-Encoding in a response of HTTP/1.0");
    }
    if ((head->seen & SAID_CODING) && !head->is_chunked) {
        return fail_head(head, "Transfer-Encoding without a coding");
    }
    if (head->status == 101 && !head->may_switch) {
        return fail_head(head, "101 without a request to switch protocols");
    }
    head->keep_alive = !(head->seen & SAID_CLOSE) && (head->minor_version > 0 || (head->seen & SAID_KEEP_ALIVE));
    if (head->status == 204 && (head->is_chunked || head->content_length > 0)) {
        head->keep_alive = false; /* it has no content, but this server may send some (RFC 9110 section 8.6) */
    }
    head->len = head->line.pos;
    head->state = HEAD_COMPLETE;
    return PARSE_COMPLETE;
}

static enum parse_verdict parse_fields(struct fetch_head *head, const char *data, size_t len)
{
    for (;;) {
        switch (field_line_scan(&head->line, data, len, &head->field)) {
        case FIELD_LINE_WHOLE:
            if (head->field_count == head->max_fields) {
                return outgrow_head(head, "too many header fields");
            }
            if (head->field_count < FETCH_HEAD_NOTED) {
                head->noted[head->field_count] = head->field;
            }
            head->field_count++;
            const char *why = note_line(head, data);
            if (why != NULL) {
                return fail_head(head, why);
            }
            break;
        case FIELD_LINE_EMPTY:
            return judge(head);
        case FIELD_LINE_WRONG:
            return fail_head(head, field_byte_reason(&head->line, data[head->line.pos]));
        case FIELD_LINE_INCOMPLETE:
            return PARSE_INCOMPLETE;
        }
    }
}

static enum parse_verdict parse_some(struct fetch_head *head, const char *data, size_t len)
{
    enum parse_verdict verdict = PARSE_COMPLETE;

    if (head->state == HEAD_VERSION) {
        verdict = parse_version(head, data, len);
    }
    if (verdict == PARSE_COMPLETE && (head->state == HEAD_REASON || head->state == HEAD_REASON_LF)) {
        verdict = parse_reason(head, data, len);
    }
    if (verdict == PARSE_COMPLETE && head->state == HEAD_FIELDS) {
        verdict = parse_fields(head, data, len);
    }
    return head->state == HEAD_FAILED ? PARSE_ERROR : verdict;
}

enum parse_verdict fetch_head_parse(struct fetch_head *head, const char *data, size_t len)
{
    enum parse_verdict verdict = parse_some(head, data, len < head->max_bytes ? len : head->max_bytes);

    if (verdict == PARSE_INCOMPLETE && len >= head->max_bytes) {
        return outgrow_head(head, "header fields too long");
    }
    return verdict;
}

enum fetch_framing fetch_head_framing(const struct fetch_head *head, bool is_to_head)
{
    if (is_to_head || head->status < 200 || head->status == 204 || head->status == 304) {
        return FRAMING_NONE;
    }
    if (head->is_chunked) {
        return FRAMING_CHUNKS;
    }
    return head->has_length ? FRAMING_LENGTH : FRAMING_TO_CLOSE;
}

bool fetch_head_next(const struct fetch_head *head, const char *data, struct fetch_head_walk *walk, struct field *field)
{
    if (walk->count == head->field_count) {
        return false;
    }
    if (head->field_count <= FETCH_HEAD_NOTED) {
        *field = head->noted[walk->count];
    } else {
        walk->line.pos = walk->count == 0 ? head->fields_at : walk->line.pos;
        (void)field_line_scan(&walk->line, data, head->len, field);
    }
    walk->count++;
    return true;
}

void fetch_head_list(const struct fetch_head *head, char *data, struct fetch_field *fields)
{
    struct field_line line = {.pos = head->fields_at};
    bool is_noted = head->field_count <= FETCH_HEAD_NOTED;

    /* Behind a reason comes CR, behind a name its colon, behind a value white space or CR: all are behind the scanner
     * when it has read the line. */
    data[head->reason.offset + head->reason.len] = '\0';
    for (uint32_t i = 0; i < head->field_count; i++) {
        struct field field = head->noted[is_noted ? i : 0];
        if (!is_noted) {
            (void)field_line_scan(&line, data, head->len, &field);
        }
        char *name = data + field.name.offset;
        char *value = data + field.value.offset;
        name[field.name.len] = '\0';
        value[field.value.len] = '\0';
        fields[i] = (struct fetch_field){.name = name,
                                         .name_len = field.name.len,
                                         .value = value,
                                         .value_len = field.value.len};
    }
}
