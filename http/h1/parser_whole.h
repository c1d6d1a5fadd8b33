/* Lines of a request head that are there as a whole: a template without a header guard, included by each variant after
 * it has defined
 *
 *   VARIANT       the name of its parse_head_fn
 *   TARGET        the attribute that allows the variant's instructions
 *   INLINE        what its functions begin with: always inlined, with these instructions
 *   LOOKS_BACK    bytes before the end of what is looked at that it may read, even if they come before what it looks
 *                 for
 *   clear_head(head)
 *                 sets all to 0 that comes before field_capacity
 *   struct block, begin_block(pos, end)
 *                 what the next two remember from call to call, and the begin
 *   find_name_end(block, data, pos, end, len)
 *                 sets *len to the number of bytes from pos, where a line begins, that are CLASS_TOKEN. false: so are
 *                 all before end
 *   find_value_end(block, data, pos, end, len)
 *                 the same for CLASS_VALUE; pos is at most SPACES_MAX bytes behind the end of the name
 *   find_path_end(data, pos, end, is_plain)
 *                 as find_rest_of_path()
 *   find_query_end(data, pos, end)
 *                 as find_rest_of_query()
 *   is_plain_authority(data, host)
 *                 whether a Host is surely of valid syntax: RFC 3986 section 3.2.2
 *
 * Happy path: take_request_line() and take_field_lines() read what nearly all requests consist of: HTTP/1.1, and lines
 * that are whole and in order. They stop before any other line and note nothing of it: parser_step() reads it, from its
 * begin, and finds the error, or where to resume. What is taken here must be what parser_step() would take: the tests
 * hold the two against each other. Nothing is read behind the end of the bytes, or before their begin.
 *
 * At its end the macros are undefined again. */

/* The place behind at most SPACES_MAX spaces. */
INLINE size_t skip_spaces(const char *data, size_t pos, size_t end)
{
    if ((unsigned char)data[pos] > ' ') {
        return pos;
    }
    size_t most = end - pos > SPACES_MAX ? pos + SPACES_MAX : end;
    while (pos < most && char_is_space(data[pos])) {
        pos++;
    }
    return pos;
}

/* Interpret what most fields of that name say. false: parser_take_field() must do it. */
INLINE bool take_usual_field(struct parser *parser, const struct head *head, const char *data, struct slice value,
                             enum known_field known)
{
    if (known == FIELD_HOST) {
        return head->first[FIELD_HOST] == head->field_count && is_plain_authority(data, value);
    }
    if (known == FIELD_CONNECTION && value.len == 10 && equals_lower(data + value.offset, "keep-alive", 10)) {
        parser->seen |= SEEN_KEEP_ALIVE;
        return true;
    }
    return false;
}

/* The latest field may be a known one. false: it is refused. */
INLINE bool take_known_field(struct scan *s, const struct field *field, enum known_field known)
{
    if (known == FIELD_KNOWN_COUNT) {
        return true;
    }
    note_field(s->head, field, known);
    if (known > LAST_INTERPRETED_FIELD || take_usual_field(s->parser, s->head, s->data, field->value, known)) {
        return true;
    }
    s->verdict = PARSE_ERROR;
    return parser_take_field(s->parser, s->head, s->data, known);
}

/* The bytes end in a value: parser_step() goes on at pos, and need not read the line again. */
INLINE bool stop_in_value(struct scan *s, struct field *field, size_t start, size_t pos)
{
    s->state = STATE_FIELDS + FIELD_LINE_VALUE;
    s->field = field;
    s->start = start;
    s->pos = pos;
    return true;
}

/* Read field lines, and the empty line. Returns true if another line follows, which parser_step() must read; false: the
 * head is complete or refused, as s->verdict says.
 *
 * The last three bytes there are cannot hold the begin of anything in a line that is whole and followed by another one.
 * So nothing is searched for in them, and what was found is followed by bytes that may be looked at without asking. */
INLINE bool take_field_lines(struct scan *s)
{
    const char *data = s->data;
    size_t pos = s->pos;
    size_t end = s->end - 3;
    struct field *field = s->field;
    struct block block = begin_block(pos, end);

    if (s->end < LOOKS_BACK + 3 || s->end - pos < 16) {
        return true;
    }
    while (data[pos] != '\r' && field != s->last_field) {
        size_t name_len, value_len;
        if (!find_name_end(&block, data, pos, end, &name_len)) {
            break;
        }
        size_t value = pos + name_len + 2;
        if (load_16(data + value - 2) != load_16(": ") || (unsigned char)data[value] <= ' ') {
            if (data[value - 2] != ':') {
                break;
            }
            value = skip_spaces(data, value - 1, end);
            if (char_is_space(data[value])) {
                break;
            }
        }
        if (!find_value_end(&block, data, value, end, &value_len)) {
            if (name_len > 0 && value < end) {
                field->name = (struct slice){(uint32_t)pos, (uint32_t)name_len};
                return stop_in_value(s, field, value, end);
            }
            break;
        }
        size_t next = value + value_len;
        if (load_16(data + next) != load_16("\r\n")) {
            break;
        }
        if ((unsigned char)data[next - 1] <= ' ') {
            while (value_len > 0 && char_is_space(data[value + value_len - 1])) {
                value_len--;
            }
        }
        field->name = (struct slice){(uint32_t)pos, (uint32_t)name_len};
        field->value = (struct slice){(uint32_t)value, (uint32_t)value_len};
        if (__builtin_expect(may_be_known(name_len, data[pos]), 0)) {
            if (name_len == 0) {
                break;
            }
            if (!take_known_field(s, field, find_known_field(data + pos, name_len))) {
                return false;
            }
        }
        field++;
        pos = next + 2;
    }
    s->pos = pos;
    s->field = field;
    if (load_16(data + pos) != load_16("\r\n")) {
        return true;
    }
    s->pos += 2;
    return end_head(s);
}

/* The request line. */

/* The end of a method at pos, at most METHOD_NAME_MAX bytes behind it; or pos for none. */
INLINE size_t find_method_end(const char *data, size_t pos)
{
    size_t at = pos;

    while (at - pos <= METHOD_NAME_MAX && char_is(data[at], CLASS_TOKEN)) {
        at++;
    }
    return at - pos <= METHOD_NAME_MAX ? at : pos;
}

INLINE void note_target(struct head *head, size_t start, size_t path_end, size_t end)
{
    head->target = (struct slice){(uint32_t)start, (uint32_t)(end - start)};
    head->path = (struct slice){(uint32_t)start, (uint32_t)(path_end - start)};
    if (end != path_end) {
        head->has_query = true;
        head->query = (struct slice){(uint32_t)path_end + 1, (uint32_t)(end - path_end - 1)};
    }
}

/* Read a request line, if there is one of HTTP/1.1 as a whole; else s->state stays. Returns false if it is refused. */
INLINE bool take_request_line(struct scan *s)
{
    const char *data = s->data;
    struct head *head = s->head;
    size_t start = s->pos;
    size_t most = (size_t)s->limits->max_request_line_bytes;
    size_t end = s->len - start < most ? s->len : start + most;
    size_t target = start + 4;
    bool is_plain = true;

    if (end - start <= METHOD_NAME_MAX) { /* the version and "Host: a" make most requests longer than that */
        return true;
    }
    bool is_get = load_32(data + start) == load_32("GET ");
    if (!is_get) {
        target = find_method_end(data, start) + 1;
        if (data[target - 1] != ' ' || target - 1 == start) {
            return true;
        }
    }
    size_t path_end = find_path_end(data, target, end, &is_plain);
    size_t target_end = path_end;
    if (path_end < end && data[path_end] == '?') {
        target_end = find_query_end(data, path_end + 1, end);
    }
    bool is_usual = is_get && data[target] == '/'; /* parser_end_request_line() would find no more */
    if (end - target_end < 11 || load_64(data + target_end) != load_64(" HTTP/1.1") ||
        load_32(data + target_end + 7) != load_32(".1\r\n") || (!is_usual && target_end == target)) {
        return true;
    }
    head->method_text = (struct slice){(uint32_t)start, (uint32_t)(target - 1 - start)};
    head->path_is_plain = is_plain;
    note_target(head, target, path_end, target_end);
    s->start = target_end + 1;
    s->pos = target_end + 11;
    begin_fields(s);
    if (is_usual) {
        head->minor_version = 1;
        return true;
    }
    s->verdict = PARSE_ERROR;
    return parser_end_request_line(s->parser, head, data, data + s->start);
}

TARGET enum parse_verdict VARIANT(struct parser *parser, struct head *head, const struct limits *limits,
                                  const char *data, size_t len)
{
    struct scan s;

    if (parser->state == STATE_START) {
        clear_head(head);
    }
    if (!begin_scan(&s, parser, head, limits, data, len)) {
        return PARSE_ERROR;
    }
    if (s.state == STATE_START && !take_request_line(&s)) {
        return s.verdict;
    }
    if (s.limit == 0) { /* no request line was read that would have set it */
        resume_limit(&s);
    }
    do {
        if (s.state == STATE_FIELDS && !take_field_lines(&s)) {
            break;
        }
    } while (parser_step(&s));
    return s.verdict;
}

#undef VARIANT
#undef TARGET
#undef INLINE
#undef LOOKS_BACK
