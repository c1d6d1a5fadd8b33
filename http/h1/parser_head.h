/* The state machine of a request head: a template without a header guard, included by each variant after it
 * has defined
 *
 *   VARIANT       the name of its parse_head_fn
 *   TARGET        the attribute that allows the variant's instructions
 *   INLINE        what its functions begin with: always inlined, with these instructions
 *   struct block  what find_end() remembers from call to call
 *   no_block(pos) nothing yet: find_end() will begin at pos
 *   find_end(block, data, pos, end, wanted)
 *                 the first byte of data from pos on that is not of the class wanted (CLASS_TOKEN or CLASS_VALUE), or
 *                 end; pos never falls back. It reads nothing outside data[0, end)
 *   find_path_end(data, pos, end, is_plain)
 *                 the same for CLASS_PATH; as find_rest_of_path()
 *   find_query_end(data, pos, end)
 *                 the same for CLASS_QUERY
 *
 * Happy path: VARIANT() reads the request line, then field lines until one of them is the empty line. Each read_
 * function returns true to go on. It returns false when the bytes end, having noted where to resume; when they break
 * a rule; at a limit; and at the end of the head. scan.verdict says which.
 *
 *   START <-> START_LF
 *     v
 *   METHOD -> PATH [-> QUERY] -> VERSION                                  read_request_line()
 *                                  v
 *                                FIELD -> NAME -> SPACE -> VALUE -> VALUE_LF -> FIELD    read_field_line(), repeated
 *                                  v
 *                                END_LF
 *
 * Limits: scan.end is where the bytes end, or what the limit in force allows if that comes first. What is incomplete
 * there is too long if the limit set that end: the answer does not depend on how the bytes arrived.
 *
 * At its end the three macros are undefined again. */

struct scan {
    struct parser *parser;       /* outlives this call */
    struct head *head;           /* the result */
    const struct limits *limits; /* in force */
    const char *data;            /* the message from its first byte */
    size_t len;                  /* bytes of data */
    size_t pos;                  /* next byte to look at */
    size_t start;                /* of the element being read */
    size_t end;                  /* first byte not to look at */
    size_t limit;                /* what is incomplete at this offset is too long */
    struct field *field;         /* of the line being read */
    struct field *last_field;    /* behind the last one allowed */
    struct block block;          /* the finder's */
    enum parse_verdict verdict;  /* why a read_ function returned false */
};

/* From now on nothing may reach beyond limit, which fits 32 bits as all offsets do. It is never behind pos: not even if
 * somebody lowered the limit while the message arrived. */
INLINE void set_limit(struct scan *s, uint64_t limit)
{
    s->limit = limit > s->pos ? (size_t)limit : s->pos;
    size_t end = s->len < s->limit ? s->len : s->limit;
    if (end != s->end) {
        s->end = end;
        s->block = no_block(s->pos); /* it has seen the old end */
    }
}

/* The element that was read: from start to pos. */
INLINE struct slice element(const struct scan *s)
{
    return (struct slice){(uint32_t)s->start, (uint32_t)(s->pos - s->start)};
}

INLINE bool fail(struct scan *s, int status, const char *reason)
{
    s->verdict = PARSE_ERROR;
    parser_fail(s->parser, status, reason);
    return false;
}

/* The byte at pos does not belong where it is. */
INLINE bool fail_byte(struct scan *s, enum head_state state)
{
    s->verdict = PARSE_ERROR;
    parser_fail_byte(s->parser, state, s->data + s->pos, s->pos == s->start, s->field == s->head->fields);
    return false;
}

INLINE bool is_at_end(const struct scan *s)
{
    return __builtin_expect(s->pos == s->end, 0);
}

/* The bytes ended in state. */
INLINE bool suspend(struct scan *s, enum head_state state)
{
    if (s->pos == s->limit) {
        return state < STATE_FIELD ? fail(s, 414, "request line too long") : fail(s, 431, "header fields too long");
    }
    s->head->field_count = (uint16_t)(s->field - s->head->fields);
    s->parser->state = (uint8_t)state;
    s->parser->pos = (uint32_t)s->pos;
    s->parser->mark = (uint32_t)s->start;
    s->verdict = PARSE_INCOMPLETE;
    return false;
}

/* CRLFs before the request line (RFC 9112 section 2.2). */
INLINE bool skip_empty_lines(struct scan *s, enum head_state state)
{
    for (;; s->pos++) {
        if (is_at_end(s)) {
            return suspend(s, state);
        }
        char c = s->data[s->pos];
        if (state == STATE_START_LF) {
            if (c != '\n') {
                return fail_byte(s, state);
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
    s->pos = find_end(&s->block, s->data, s->pos, s->end, CLASS_TOKEN);
    if (s->pos - s->start > METHOD_NAME_MAX) {
        return fail(s, 501, "method too long");
    }
    if (is_at_end(s)) {
        return suspend(s, STATE_METHOD);
    }
    if (s->data[s->pos] != ' ' || s->pos == s->start) {
        return fail_byte(s, STATE_METHOD);
    }
    s->head->method_text = element(s);
    s->head->path_is_plain = true; /* until a byte of it says otherwise */
    s->start = ++s->pos;
    return true;
}

/* The target up to '?'. If it is in absolute-form, parser_end_request_line() finds the path in it. */
INLINE bool read_path(struct scan *s)
{
    s->pos = find_path_end(s->data, s->pos, s->end, &s->head->path_is_plain);
    if (is_at_end(s)) {
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

INLINE bool read_query(struct scan *s)
{
    s->pos = find_query_end(s->data, s->pos, s->end);
    if (is_at_end(s)) {
        return suspend(s, STATE_QUERY);
    }
    s->head->query = element(s);
    s->head->target.len += 1 + s->head->query.len;
    return true;
}

INLINE bool end_target(struct scan *s)
{
    if (s->data[s->pos] != ' ' || s->head->target.len == 0) {
        return fail_byte(s, STATE_QUERY);
    }
    s->start = ++s->pos;
    return true;
}

/* The version and the end of the line: fixed but for two digits, which parser_end_request_line() judges. */
INLINE bool read_version(struct scan *s)
{
    static const char wanted[] = "HTTP/1.1\r\n";
    enum { LEN = sizeof wanted - 1, MAJOR = 5, MINOR = 7 };
    size_t i = s->pos - s->start;

    if (i == 0 && s->end - s->pos >= LEN && memcmp(s->data + s->pos, wanted, LEN) == 0) {
        s->pos += LEN;
        return true;
    }
    for (; i < LEN; i++, s->pos++) {
        if (is_at_end(s)) {
            return suspend(s, STATE_VERSION);
        }
        char c = s->data[s->pos];
        if (i == MAJOR || i == MINOR ? !char_is_digit(c) : c != wanted[i]) {
            return fail_byte(s, STATE_VERSION);
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
    s->parser->section_at = (uint32_t)s->pos;
    s->verdict = PARSE_ERROR;
    return parser_end_request_line(s->parser, s->head, s->data, s->data + s->start);
}

/* The LF of the empty line, and with it the whole head. */
INLINE bool read_end(struct scan *s)
{
    if (is_at_end(s)) {
        return suspend(s, STATE_END_LF);
    }
    if (s->data[s->pos] != '\n') {
        return fail_byte(s, STATE_END_LF);
    }
    s->head->len = (uint32_t)++s->pos;
    s->head->field_count = (uint16_t)(s->field - s->head->fields);
    s->verdict = parser_end_fields(s->parser, s->head) ? PARSE_COMPLETE : PARSE_ERROR;
    return false;
}

INLINE bool begin_field(struct scan *s)
{
    if (is_at_end(s)) {
        return suspend(s, STATE_FIELD);
    }
    if (s->data[s->pos] == '\r') {
        s->pos++;
        return read_end(s);
    }
    if (s->field == s->last_field) {
        return fail(s, 431, "too many header fields");
    }
    s->start = s->pos;
    return true;
}

INLINE bool read_name(struct scan *s)
{
    s->pos = find_end(&s->block, s->data, s->pos, s->end, CLASS_TOKEN);
    if (is_at_end(s)) {
        return suspend(s, STATE_NAME);
    }
    if (s->data[s->pos] != ':' || s->pos == s->start) {
        return fail_byte(s, STATE_NAME);
    }
    s->field->name = element(s);
    s->pos++;
    return true;
}

INLINE bool skip_space(struct scan *s)
{
    do {
        if (is_at_end(s)) {
            return suspend(s, STATE_SPACE);
        }
    } while (char_is_space(s->data[s->pos++]));
    s->start = --s->pos;
    return true;
}

/* The value, the white space after it, and the CR. */
INLINE bool read_value(struct scan *s)
{
    s->pos = find_end(&s->block, s->data, s->pos, s->end, CLASS_VALUE);
    if (is_at_end(s)) {
        return suspend(s, STATE_VALUE);
    }
    if (s->data[s->pos] != '\r') {
        return fail_byte(s, STATE_VALUE);
    }
    struct slice value = element(s);
    while (value.len > 0 && char_is_space(s->data[value.offset + value.len - 1])) {
        value.len--;
    }
    s->field->value = value;
    s->pos++;
    return true;
}

/* The LF of a field line, and what the line means. */
INLINE bool end_field(struct scan *s)
{
    if (is_at_end(s)) {
        return suspend(s, STATE_VALUE_LF);
    }
    if (s->data[s->pos] != '\n') {
        return fail_byte(s, STATE_VALUE_LF);
    }
    s->pos++;
    struct slice name = s->field++->name;
    enum known_field known = find_known_field(s->data + name.offset, name.len);
    if (known == FIELD_KNOWN_COUNT) {
        return true;
    }
    uint16_t number = (uint16_t)(s->field - s->head->fields);
    if (s->head->first[known] == 0) {
        s->head->first[known] = number;
    }
    s->head->field_count = number;
    s->verdict = PARSE_ERROR;
    return known > LAST_INTERPRETED_FIELD || parser_take_field(s->parser, s->head, s->data, known);
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
    enum head_state state = parser->state;
    struct scan s = {.parser = parser,
                     .head = head,
                     .limits = limits,
                     .data = data,
                     .len = len,
                     .pos = parser->pos,
                     .start = parser->mark,
                     .block = no_block(parser->pos)};

    assert(head->field_capacity >= limits->max_fields && len >= s.pos);
    if (state == STATE_FAILED) {
        return PARSE_ERROR;
    }
    if (state == STATE_START) {
        *head = (struct head){.fields = head->fields, .field_capacity = head->field_capacity};
    }
    s.field = head->fields + head->field_count;
    s.last_field = head->fields + limits->max_fields;
    if (state < STATE_FIELD) {
        set_limit(&s, state < STATE_METHOD ? UINT32_MAX : parser->section_at + limits->max_request_line_bytes);
        if (!read_request_line(&s, state)) {
            return s.verdict;
        }
        state = STATE_FIELD;
    }
    set_limit(&s, parser->section_at + limits->max_header_bytes_bytes + 2); /* the empty line does not count */
    bool goes_on = read_field_line(&s, state);
    while (goes_on) {
        goes_on = read_field_line(&s, STATE_FIELD);
    }
    return s.verdict;
}

#undef VARIANT
#undef TARGET
#undef INLINE
