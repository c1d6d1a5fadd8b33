/* The state machine of a request head.
 *
 * Happy path: parser_step() reads the request line, then field lines until one of them is the empty line. Each read_
 * function returns true to go on. It returns false when the bytes end, having noted where to resume; when they break a
 * rule; at a limit; and at the end of the head. scan.verdict says which.
 *
 *   START <-> START_LF
 *     v
 *   METHOD -> PATH [-> QUERY] -> VERSION         step_request_line()
 *                                  v
 *                                FIELDS          read_field_line(), repeated; its states: http/field_line.h */

#include "http/h1/parser_steps.h"

#include "http/field_line_inline.h"
#include "http/h1/parser_rules.h"

/* The element that was read: from start to pos. */
static struct slice element(const struct scan *s)
{
    return (struct slice){(uint32_t)s->start, (uint32_t)(s->pos - s->start)};
}

static bool refuse_head(struct scan *s, int status, const char *reason)
{
    s->verdict = PARSE_ERROR;
    return parser_fail(s->parser, status, reason);
}

/* The byte at pos does not belong where it is. */
static bool refuse_byte(struct scan *s, enum head_state state)
{
    s->verdict = PARSE_ERROR;
    return parser_fail_byte(s->parser, state, s->data[s->pos], s->pos == s->start);
}

/* The bytes ended in state. */
static bool suspend(struct scan *s, enum head_state state)
{
    if (s->pos == s->limit) {
        return state < STATE_FIELDS ? refuse_head(s, 414, "request line too long")
                                    : refuse_head(s, 431, "header fields too long");
    }
    s->head->field_count = (uint16_t)(s->field - s->head->fields);
    s->parser->state = (uint8_t)state;
    s->parser->pos = (uint32_t)s->pos;
    s->parser->mark = (uint32_t)s->start;
    s->verdict = PARSE_INCOMPLETE;
    return false;
}

/* CRLFs before the request line (RFC 9112 section 2.2). */
static bool skip_empty_lines(struct scan *s, enum head_state state)
{
    for (;; s->pos++) {
        if (s->pos == s->end) {
            return suspend(s, state);
        }
        char c = s->data[s->pos];
        if (state == STATE_START_LF) {
            if (c != '\n') {
                return refuse_byte(s, state);
            }
            state = STATE_START;
        } else if (c == '\r') {
            if (s->parser->empty_lines == EMPTY_LINES_MAX) {
                return refuse_head(s, 400, "too many empty lines before the request");
            }
            s->parser->empty_lines++;
            state = STATE_START_LF;
        } else {
            return true;
        }
    }
}

static size_t skip_class(const struct scan *s, enum char_class wanted)
{
    size_t pos = s->pos;

    while (pos < s->end && char_is(s->data[pos], wanted)) {
        pos++;
    }
    return pos;
}

static bool read_method(struct scan *s)
{
    s->pos = skip_class(s, CLASS_TOKEN);
    if (s->pos - s->start > METHOD_NAME_MAX) {
        return refuse_head(s, 501, "method too long");
    }
    if (s->pos == s->end) {
        return suspend(s, STATE_METHOD);
    }
    if (s->data[s->pos] != ' ' || s->pos == s->start) {
        return refuse_byte(s, STATE_METHOD);
    }
    s->head->method_text = element(s);
    s->head->path_is_plain = true; /* until a byte of it says otherwise */
    s->start = ++s->pos;
    return true;
}

/* The target up to '?'. If it is in absolute-form, parser_end_request_line() finds the path in it. */
static bool read_path(struct scan *s)
{
    s->pos = find_rest_of_path(s->data, s->pos, s->end, &s->head->path_is_plain);
    if (s->pos == s->end) {
        return suspend(s, STATE_PATH);
    }
    s->head->path = element(s);
    s->head->target = element(s);
    if (s->data[s->pos] == '?') {
        s->head->has_query = true;
        s->start = ++s->pos;
    }
    return true;
}

static bool read_query(struct scan *s)
{
    s->pos = skip_class(s, CLASS_QUERY);
    if (s->pos == s->end) {
        return suspend(s, STATE_QUERY);
    }
    s->head->query = element(s);
    s->head->target.len += 1 + s->head->query.len;
    return true;
}

static bool end_target(struct scan *s)
{
    if (s->data[s->pos] != ' ' || s->head->target.len == 0) {
        return refuse_byte(s, STATE_QUERY);
    }
    s->start = ++s->pos;
    return true;
}

/* The version and the end of the line: fixed except for two digits, which parser_end_request_line() judges. */
static bool read_version(struct scan *s)
{
    static const char wanted[] = "HTTP/1.1\r\n";
    enum { LEN = sizeof wanted - 1, MAJOR = 5, MINOR = 7 };

    for (size_t i = s->pos - s->start; i < LEN; i++, s->pos++) {
        if (s->pos == s->end) {
            return suspend(s, STATE_VERSION);
        }
        char c = s->data[s->pos];
        if (i == MAJOR || i == MINOR ? !char_is_digit(c) : c != wanted[i]) {
            return refuse_byte(s, STATE_VERSION);
        }
    }
    return true;
}

static bool step_request_line(struct scan *s)
{
    enum head_state state = s->state;

    if (state <= STATE_START_LF) {
        if (!skip_empty_lines(s, state)) {
            return false;
        }
        s->start = s->pos;
        s->parser->section_at = (uint32_t)s->pos;
        set_limit(s, s->pos + s->limits->max_request_line_bytes);
    }
    if (state <= STATE_METHOD && !read_method(s)) {
        return false;
    }
    if (state <= STATE_PATH && !read_path(s)) {
        return false;
    }
    if (state <= STATE_QUERY && ((s->head->has_query && !read_query(s)) || !end_target(s))) {
        return false;
    }
    if (!read_version(s)) {
        return false;
    }
    s->verdict = PARSE_ERROR;
    if (!parser_end_request_line(s->parser, s->head, s->data, s->data + s->start)) {
        return false;
    }
    begin_fields(s);
    return true;
}

/* A field line was read: what it means. */
static bool end_field(struct scan *s)
{
    struct slice name = s->field++->name;
    enum known_field known = find_known_field(s->data + name.offset, name.len);

    s->state = STATE_FIELDS;
    if (known == FIELD_KNOWN_COUNT) {
        return true;
    }
    note_field(s->head, s->field - 1, known);
    s->verdict = PARSE_ERROR;
    return known > LAST_INTERPRETED_FIELD || parser_take_field(s->parser, s->head, s->data, known);
}

static bool read_field_line(struct scan *s)
{
    struct field_line line = {.state = (uint8_t)(s->state - STATE_FIELDS),
                              .pos = (uint32_t)s->pos,
                              .mark = (uint32_t)s->start};

    if (line.state == FIELD_LINE_BEGIN && s->field == s->last_field && s->pos < s->end && s->data[s->pos] != '\r') {
        return refuse_head(s, 431, "too many header fields");
    }
    enum field_line_verdict verdict = scan_field_line(&line, s->data, s->end, s->field);
    s->pos = line.pos;
    s->start = line.mark;
    switch (verdict) {
    case FIELD_LINE_WHOLE:
        return end_field(s);
    case FIELD_LINE_EMPTY:
        return end_head(s);
    case FIELD_LINE_WRONG:
        s->verdict = PARSE_ERROR;
        return parser_fail_field_byte(s->parser, (enum field_line_state)line.state, s->data[s->pos],
                                      s->field == s->head->fields);
    case FIELD_LINE_INCOMPLETE:
        break;
    }
    return suspend(s, (enum head_state)(STATE_FIELDS + line.state));
}

bool parser_step(struct scan *s)
{
    return s->state < STATE_FIELDS ? step_request_line(s) : read_field_line(s);
}
