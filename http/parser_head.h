/* The state machine of a request head: a template without a header guard, included by each variant after it has defined
 *
 *   VARIANT       the name of its parse_head_fn
 *   INLINE        what its functions begin with: inlining, and the instructions they may use
 *   TARGET        those instructions alone, for VARIANT itself
 *   struct block  what find_end() remembers from call to call about one class; {0} is nothing
 *   find_end(block, data, pos, end, wanted)
 *                 the first byte of data from pos on that is not of the class wanted, or end; reads only data[0, end)
 *
 * Happy path: VARIANT() reads the request line, then field lines until one of them is the empty line. Each read_ function
 * returns true to go on.
 * It returns false when the bytes end, having noted where to resume; when they break a rule; at a limit; and at the end
 * of the head. scan.verdict says which.
 *
 *   START <-> START_LF
 *     v
 *   METHOD -> PATH [-> QUERY] -> VERSION                     read_request_line()
 *                                  v
 *                                FIELD -> NAME -> SPACE -> VALUE -> VALUE_LF -> FIELD    read_field_line(), repeated
 *                                  v
 *                                END_LF
 *
 * Limits: scan.end is where the bytes end, or what the limit in force allows if that comes first. An element that is
 * incomplete there is too long if the limit set that end: the answer does not depend on how the bytes arrived. */

struct scan {
    struct parser *parser;       /* outlives this call */
    struct head *head;           /* the result */
    const struct limits *limits; /* in force */
    const char *data;            /* the message from its first byte */
    size_t len;                  /* bytes of data */
    uint32_t pos;                /* next byte to look at */
    uint32_t end;                /* first byte not to look at */
    uint64_t max_fields;         /* the limit, at hand */
    uint32_t limit;              /* what is incomplete at this offset is too long */
    enum parse_verdict verdict;  /* why a read_ function returned false */
    struct field field;          /* of the line being read */
    struct block names;          /* of find_end() for names */
    struct block values;         /* of find_end() for values */
};

/* From now on nothing may reach beyond limit. */
INLINE void set_limit(struct scan *s, uint64_t limit)
{
    uint32_t end = (uint32_t)(s->len < limit ? s->len : limit);

    s->limit = (uint32_t)limit;
    if (end != s->end) {
        s->end = end;
        s->names = (struct block){0}; /* they have seen the old end */
        s->values = (struct block){0};
    }
}

INLINE bool fail(struct scan *s, int status, const char *reason)
{
    s->verdict = PARSE_ERROR;
    return parser_fail(s->parser, status, reason);
}

/* The byte at pos does not belong where it is. */
INLINE bool fail_byte(struct scan *s, enum head_state state, bool is_first)
{
    s->verdict = PARSE_ERROR;
    return parser_fail_byte(s->parser, state, s->data + s->pos, is_first, s->head->field_count == 0);
}

/* The bytes ended in state. */
INLINE bool suspend(struct scan *s, enum head_state state)
{
    if (s->pos == s->limit) {
        return state < STATE_FIELD ? fail(s, 414, "request line too long") : fail(s, 431, "header fields too long");
    }
    if (state >= STATE_NAME && state <= STATE_VALUE_LF) {
        s->head->fields[s->head->field_count] = s->field;
    }
    s->parser->state = (uint8_t)state;
    s->parser->pos = s->pos;
    s->verdict = PARSE_INCOMPLETE;
    return false;
}

/* CRLFs before the request line (RFC 9112 section 2.2). */
INLINE bool skip_empty_lines(struct scan *s, enum head_state state)
{
    for (;; s->pos++) {
        if (s->pos == s->end) {
            return suspend(s, state);
        }
        char c = s->data[s->pos];
        if (state == STATE_START_LF) {
            if (c != '\n') {
                return fail_byte(s, state, false);
            }
            state = STATE_START;
        } else if (c == '\r') {
            if (s->parser->empty_lines == EMPTY_LINES_MAX) {
                return fail(s, 400, "too many empty lines before the request");
            }
            s->parser->empty_lines++;
            state = STATE_START_LF;
        } else {
            return true;
        }
    }
}

INLINE bool read_method(struct scan *s)
{
    struct slice *method = &s->head->method_text;

    s->pos = find_end(&s->names, s->data, s->pos, s->end, CLASS_TOKEN);
    method->len = s->pos - method->offset;
    if (method->len > METHOD_NAME_MAX) {
        return fail(s, 501, "method too long");
    }
    if (s->pos == s->end) {
        return suspend(s, STATE_METHOD);
    }
    if (s->data[s->pos] != ' ' || method->len == 0) {
        return fail_byte(s, STATE_METHOD, method->len == 0);
    }
    s->head->target.offset = ++s->pos;
    return true;
}

/* The target up to '?'. If it is in absolute-form, parser_end_request_line() finds the path in it. */
INLINE bool read_path(struct scan *s)
{
    struct head *head = s->head;

    struct block block = {0};

    s->pos = find_end(&block, s->data, s->pos, s->end, CLASS_PATH);
    if (s->pos == s->end) {
        return suspend(s, STATE_PATH);
    }
    head->path = (struct slice){head->target.offset, s->pos - head->target.offset};
    if (s->data[s->pos] == '?') {
        head->has_query = true;
        head->query.offset = ++s->pos;
    }
    return true;
}

INLINE bool read_query(struct scan *s)
{
    struct block block = {0};

    s->pos = find_end(&block, s->data, s->pos, s->end, CLASS_QUERY);
    if (s->pos == s->end) {
        return suspend(s, STATE_QUERY);
    }
    s->head->query.len = s->pos - s->head->query.offset;
    return true;
}

INLINE bool end_target(struct scan *s)
{
    struct slice *target = &s->head->target;

    target->len = s->pos - target->offset;
    if (s->data[s->pos] != ' ' || target->len == 0) {
        return fail_byte(s, STATE_QUERY, target->len == 0);
    }
    s->pos++;
    return true;
}

/* The version and the end of the line: fixed but for two digits, which parser_end_request_line() judges. */
INLINE bool read_version(struct scan *s)
{
    static const char wanted[] = "HTTP/1.1\r\n";
    enum { LEN = VERSION_LINE_LEN, MAJOR = 5, MINOR = 7 };
    uint32_t i = s->pos - version_offset(s->head);

    if (i == 0 && s->end - s->pos >= LEN && memcmp(s->data + s->pos, wanted, LEN) == 0) {
        s->pos += LEN;
        return true;
    }
    for (; i < LEN; i++, s->pos++) {
        if (s->pos == s->end) {
            return suspend(s, STATE_VERSION);
        }
        char c = s->data[s->pos];
        if (i == MAJOR || i == MINOR ? !char_is_digit(c) : c != wanted[i]) {
            return fail_byte(s, STATE_VERSION, i == 0);
        }
    }
    return true;
}

INLINE bool read_request_line(struct scan *s, enum head_state state)
{
    if (state <= STATE_START_LF) {
        if (!skip_empty_lines(s, state)) {
            return false;
        }
        s->head->method_text.offset = s->pos;
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
    return parser_end_request_line(s->parser, s->head, s->data);
}

/* The LF of the empty line, and with it the whole head. */
INLINE bool read_end(struct scan *s)
{
    if (s->pos == s->end) {
        return suspend(s, STATE_END_LF);
    }
    if (s->data[s->pos] != '\n') {
        return fail_byte(s, STATE_END_LF, false);
    }
    s->head->len = ++s->pos;
    s->verdict = parser_end_fields(s->parser, s->head) ? PARSE_COMPLETE : PARSE_ERROR;
    return false;
}

INLINE bool begin_field(struct scan *s)
{
    if (s->pos == s->end) {
        return suspend(s, STATE_FIELD);
    }
    if (s->data[s->pos] == '\r') {
        s->pos++;
        return read_end(s);
    }
    if (s->head->field_count == s->max_fields) {
        return fail(s, 431, "too many header fields");
    }
    s->field.name.offset = s->pos;
    return true;
}

INLINE bool read_name(struct scan *s)
{
    s->pos = find_end(&s->names, s->data, s->pos, s->end, CLASS_TOKEN);
    if (s->pos == s->end) {
        return suspend(s, STATE_NAME);
    }
    s->field.name.len = s->pos - s->field.name.offset;
    if (s->data[s->pos] != ':' || s->field.name.len == 0) {
        return fail_byte(s, STATE_NAME, s->field.name.len == 0);
    }
    s->pos++;
    return true;
}

INLINE bool skip_space(struct scan *s)
{
    while (s->pos != s->end && char_is_space(s->data[s->pos])) {
        s->pos++;
    }
    s->field.value.offset = s->pos;
    return s->pos != s->end || suspend(s, STATE_SPACE);
}

/* The value, the white space after it, and the CR. */
INLINE bool read_value(struct scan *s)
{
    s->pos = find_end(&s->values, s->data, s->pos, s->end, CLASS_VALUE);
    if (s->pos == s->end) {
        return suspend(s, STATE_VALUE);
    }
    if (s->data[s->pos] != '\r') {
        return fail_byte(s, STATE_VALUE, false);
    }
    uint32_t end = s->pos++;
    while (end > s->field.value.offset && char_is_space(s->data[end - 1])) {
        end--;
    }
    s->field.value.len = end - s->field.value.offset;
    return true;
}

/* The LF of a field line, and what the line means. */
INLINE bool end_field(struct scan *s)
{
    struct head *head = s->head;

    if (s->pos == s->end) {
        return suspend(s, STATE_VALUE_LF);
    }
    if (s->data[s->pos] != '\n') {
        return fail_byte(s, STATE_VALUE_LF, false);
    }
    s->pos++;
    head->fields[head->field_count++] = s->field;
    enum known_field known = find_known_field(s->data + s->field.name.offset, s->field.name.len);
    if (known == FIELD_KNOWN_COUNT) {
        return true;
    }
    if (head->first[known] == 0) {
        head->first[known] = head->field_count;
    }
    s->verdict = PARSE_ERROR;
    return known > LAST_INTERPRETED_FIELD || parser_take_field(s->parser, head, s->data, known);
}

INLINE bool read_field_line(struct scan *s, enum head_state state)
{
    if (state == STATE_END_LF) {
        return read_end(s);
    }
    if (state <= STATE_FIELD && !begin_field(s)) {
        return false;
    }
    if (state <= STATE_NAME && !read_name(s)) {
        return false;
    }
    if (state <= STATE_SPACE && !skip_space(s)) {
        return false;
    }
    if (state <= STATE_VALUE && !read_value(s)) {
        return false;
    }
    return end_field(s);
}

TARGET enum parse_verdict VARIANT(struct parser *parser, struct head *head, const struct limits *limits,
                                  const char *data, size_t len)
{
    struct scan s = {.parser = parser, .head = head, .limits = limits, .data = data, .len = len, .pos = parser->pos};
    enum head_state state = parser->state;

    assert(head->field_capacity >= limits->max_fields && len >= parser->pos);
    if (state == STATE_FAILED) {
        return PARSE_ERROR;
    }
    if (state == STATE_START) {
        parser_clear_head(head);
    }
    if (state < STATE_FIELD) {
        set_limit(&s, state < STATE_METHOD ? UINT32_MAX : head->method_text.offset + limits->max_request_line_bytes);
        if (!read_request_line(&s, state)) {
            return s.verdict;
        }
        state = STATE_FIELD;
    }
    /* The field lines begin after the version; the empty line does not count. */
    set_limit(&s, version_offset(head) + VERSION_LINE_LEN + limits->max_header_bytes_bytes + 2);
    s.max_fields = limits->max_fields;
    if (state > STATE_FIELD && state <= STATE_VALUE_LF) {
        s.field = head->fields[head->field_count];
    }
    bool goes_on = read_field_line(&s, state);
    while (goes_on) {
        goes_on = read_field_line(&s, STATE_FIELD);
    }
    return s.verdict;
}
