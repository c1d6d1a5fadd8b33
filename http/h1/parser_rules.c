/* What a request head means (RFC 9112 sections 2, 3, 6 and 9, RFC 9110 sections 7 to 10): those who find its elements
 * ask here about each of them.
 *
 * Happy path: parser_end_request_line() splits the target and judges version and method; parser_take_field() is called
 * for each field that framing or the connection depends on; parser_end_fields() looks at what they say together.
 * Failure: parser_fail() with a status and a phrase. It is final: the end of the message is then not known. */

#include "http/h1/parser_rules.h"

#include "http/authority.h"

#include <string.h>

bool parser_fail(struct parser *parser, int status, const char *reason)
{
    parser->state = STATE_FAILED;
    parser->status = status;
    parser->reason = reason;
    return false;
}

static const char *method_byte_reason(char c, bool is_first)
{
    switch (c) {
    case '\r':
    case '\n':
        return is_first ? "line feed without carriage return" : "request line without a target";
    case ' ':
        return "white space before the method"; /* after it, it would be in order */
    default:
        return is_first ? "request does not begin with a method" : "invalid character in method";
    }
}

static const char *target_byte_reason(char c)
{
    switch (c) {
    case ' ':
        return "more than one space before the request target"; /* after it, it would be in order */
    case '\r':
    case '\n':
        return "request line without a version";
    case '#':
        return "fragment in request target";
    default:
        return (unsigned char)c < 0x80 ? "control character in request target" : "unencoded byte in request target";
    }
}

static const char *version_byte_reason(char c, bool is_first)
{
    if (c == '\n') {
        return "line feed without carriage return"; /* after one, it would be in order */
    }
    return is_first && c == ' ' ? "more than one space before the version" : "malformed HTTP version";
}

static const char *name_byte_reason(char c, bool is_first, bool is_first_line)
{
    switch (c) {
    case ':':
        return "empty field name"; /* after it, it would be in order */
    case '\r':
    case '\n':
        return is_first ? "line feed without carriage return" : "field line without a colon";
    case ' ':
    case '\t':
        if (!is_first) {
            return "space between field name and colon";
        }
        return is_first_line ? "white space before the first field" : "field value continued on the next line";
    default:
        return "invalid character in field name";
    }
}

static const char *value_byte_reason(char c)
{
    switch (c) {
    case '\n':
        return "line feed without carriage return";
    case '\0':
        return "NUL in field value";
    default:
        return "control character in field value";
    }
}

bool parser_fail_byte(struct parser *parser, enum head_state state, char byte, bool is_first)
{
    const char *reason = "carriage return without line feed";

    switch (state) {
    case STATE_METHOD:
        reason = method_byte_reason(byte, is_first);
        break;
    case STATE_PATH:
    case STATE_QUERY:
        reason = target_byte_reason(byte);
        break;
    case STATE_VERSION:
        reason = version_byte_reason(byte, is_first);
        break;
    default:
        break;
    }
    return parser_fail(parser, 400, reason);
}

bool parser_fail_field_byte(struct parser *parser, enum field_line_state state, char byte, bool is_first_line)
{
    const char *reason = "carriage return without line feed";

    switch (state) {
    case FIELD_LINE_BEGIN:
    case FIELD_LINE_NAME:
        reason = name_byte_reason(byte, state == FIELD_LINE_BEGIN, is_first_line);
        break;
    case FIELD_LINE_SPACE:
    case FIELD_LINE_VALUE:
        reason = value_byte_reason(byte);
        break;
    case FIELD_LINE_LF:
    case FIELD_LINE_END_LF:
        break;
    }
    return parser_fail(parser, 400, reason);
}

/* Request line. */

/* absolute-form (RFC 9112 section 3.2.2): authority and path out of "http://authority/path", whose part up to '?' is
 * head->path so far. */
static bool split_absolute_form(struct parser *parser, struct head *head, const char *data)
{
    const char *start = data + head->path.offset;
    const char *end = start + head->path.len;
    size_t scheme_len = 0;

    if (head->path.len >= 7 && equals_lower(start, "http", 4) && memcmp(start + 4, "://", 3) == 0) {
        scheme_len = 7;
    } else if (head->path.len >= 8 && equals_lower(start, "https", 5) && memcmp(start + 5, "://", 3) == 0) {
        scheme_len = 8;
    } else {
        return parser_fail(parser, 400, "request target is neither a path nor an http URI");
    }
    const char *authority = start + scheme_len;
    const char *path = memchr(authority, '/', (size_t)(end - authority));
    if (path == NULL) {
        path = end;
    }
    if (!authority_is_valid(authority, (size_t)(path - authority))) {
        return parser_fail(parser, 400, "malformed host in request target");
    }
    if ((scheme_len == 8) != parser->is_secured) { /* RFC 9110 section 7.4 */
        return parser_fail(parser, 421,
                           parser->is_secured ? "http request on a connection with TLS"
                                              : "https request on a connection without TLS");
    }
    head->authority = (struct slice){(uint32_t)(authority - data), (uint32_t)(path - authority)};
    head->path = (struct slice){(uint32_t)(path - data), (uint32_t)(end - path)};
    head->path_is_plain &= path < end;
    /* What a proxy would have forwarded as "*" (RFC 9112 section 3.2.4). */
    head->is_asterisk = head->method == METHOD_OPTIONS && head->path.len == 0 && !head->has_query;
    return true;
}

static bool split_target(struct parser *parser, struct head *head, const char *data)
{
    const char *target = data + head->target.offset;

    if (*target == '/') {
        return true; /* origin-form: path and query are where they were found */
    }
    if (head->target.len == 1 && *target == '*') {
        if (head->method != METHOD_OPTIONS) {
            return parser_fail(parser, 400, "request target * is for OPTIONS only");
        }
        head->is_asterisk = true;
        head->path.len = 0;
        head->path_is_plain = false;
        return true;
    }
    return split_absolute_form(parser, head, data);
}

static bool is_connect(const char *method, size_t len)
{
    return len == 7 && memcmp(method, "CONNECT", 7) == 0;
}

bool parser_end_request_line(struct parser *parser, struct head *head, const char *data, const char *version)
{
    if (version[5] != '1') {
        return parser_fail(parser, 505, "HTTP major version is not 1");
    }
    head->minor_version = version[7] != '0';
    head->method = method_find(data + head->method_text.offset, head->method_text.len);
    if (head->method == METHOD_OTHER && is_connect(data + head->method_text.offset, head->method_text.len)) {
        return parser_fail(parser, 501, "CONNECT is for proxies"); /* its target has a form of its own */
    }
    return split_target(parser, head, data);
}

/* Fields. */

/* Take the next element of a comma-separated list (RFC 9110 section 5.6.1), *list up to end, without the white space
 * around it; it may be empty. false: there is none. Commas in quoted strings separate, too: the lists read here have no
 * element with a quoted string that would be accepted. */
static bool next_element(const char **list, const char *end, const char **element, size_t *len)
{
    const char *p = *list;

    if (p == NULL) {
        return false;
    }
    while (p < end && char_is_space(*p)) {
        p++;
    }
    *element = p;
    while (p < end && *p != ',') {
        p++;
    }
    *list = p < end ? p + 1 : NULL;
    while (p > *element && char_is_space(p[-1])) {
        p--;
    }
    *len = (size_t)(p - *element);
    return true;
}

#define ELEMENT_IS(word) (len == sizeof(word) - 1 && equals_lower(element, word, sizeof(word) - 1))

/* RFC 9112 section 3.2: one Host, of valid syntax. An empty one says that the target has no authority. */
static bool take_host(struct parser *parser, struct head *head, const char *value, const char *end)
{
    if (head->first[FIELD_HOST] != head->field_count) {
        return parser_fail(parser, 400, "more than one Host");
    }
    return value == end || authority_is_valid(value, (size_t)(end - value)) ||
           parser_fail(parser, 400, "malformed Host");
}

/* RFC 9112 section 9.3. Other connection options name fields for proxies to remove. */
static bool take_connection(struct parser *parser, const char *value, const char *end)
{
    const char *element;
    size_t len;

    while (next_element(&value, end, &element, &len)) {
        if (ELEMENT_IS("close")) {
            parser->seen |= SEEN_CLOSE;
        } else if (ELEMENT_IS("keep-alive")) {
            parser->seen |= SEEN_KEEP_ALIVE;
        }
    }
    return true;
}

/* RFC 9110 section 8.6: digits; the same number again, in a list or another field, changes nothing. */
static bool take_content_length(struct parser *parser, struct head *head, const char *value, const char *end)
{
    const char *element;
    size_t len;

    while (next_element(&value, end, &element, &len)) {
        uint64_t number = 0;
        if (len == 0) {
            return parser_fail(parser, 400, "Content-Length without a number");
        }
        for (size_t i = 0; i < len; i++) {
            if (!char_is_digit(element[i])) {
                return parser_fail(parser, 400, "Content-Length is not a number");
            }
            if (__builtin_mul_overflow(number, 10, &number) ||
                __builtin_add_overflow(number, (uint64_t)(element[i] - '0'), &number)) {
                return parser_fail(parser, 400, "Content-Length out of range");
            }
        }
        if (head->has_length && head->content_length != number) {
            return parser_fail(parser, 400, "different values of Content-Length");
        }
        head->has_length = true;
        head->content_length = number;
    }
    return true;
}

/* RFC 9112 sections 6.1 and 7: chunked, once and last. Stricter than a list must be read: what is not a plain token is
 * refused, and so is an empty element, since proxies are known to read such lists in different ways. */
static bool take_transfer_encoding(struct parser *parser, struct head *head, const char *value, const char *end)
{
    const char *element;
    size_t len;

    parser->seen |= SEEN_CODING;
    while (next_element(&value, end, &element, &len)) {
        if (head->chunked) {
            return parser_fail(parser, 400, "transfer coding after chunked");
        }
        if (ELEMENT_IS("chunked")) {
            head->chunked = true;
            continue;
        }
        bool is_token = len > 0;
        for (size_t i = 0; i < len; i++) {
            is_token = is_token && char_is(element[i], CLASS_TOKEN);
        }
        if (!is_token) {
            return parser_fail(parser, 400, "malformed Transfer-Encoding");
        }
        parser->seen |= SEEN_OTHER_CODING;
    }
    return true;
}

/* RFC 9110 section 10.1.1. An empty element expects nothing. */
static bool take_expect(struct parser *parser, struct head *head, const char *value, const char *end)
{
    const char *element;
    size_t len;

    while (next_element(&value, end, &element, &len)) {
        if (ELEMENT_IS("100-continue")) {
            head->expect_continue = head->minor_version == 1;
        } else if (len > 0) {
            parser->seen |= SEEN_OTHER_EXPECTATION;
        }
    }
    return true;
}

bool parser_take_field(struct parser *parser, struct head *head, const char *data, enum known_field known)
{
    const struct field *field = &head->fields[head->field_count - 1];
    const char *value = data + field->value.offset;
    const char *end = value + field->value.len;

    switch (known) {
    case FIELD_HOST:
        return take_host(parser, head, value, end);
    case FIELD_CONNECTION:
        return take_connection(parser, value, end);
    case FIELD_CONTENT_LENGTH:
        return take_content_length(parser, head, value, end);
    case FIELD_TRANSFER_ENCODING:
        return take_transfer_encoding(parser, head, value, end);
    case FIELD_EXPECT:
        return take_expect(parser, head, value, end);
    default:
        return true;
    }
}

/* RFC 9112 section 6.3: one way to tell where the content ends, or none at all. */
static bool check_framing(struct parser *parser, const struct head *head)
{
    if (head->first[FIELD_TRANSFER_ENCODING] == 0) {
        return true;
    }
    if (head->minor_version == 0) {
        return parser_fail(parser, 400, "Transfer-Encoding in HTTP/1.0");
    }
    if (head->has_length) {
        return parser_fail(parser, 400, "both Content-Length and Transfer-Encoding");
    }
    if (!head->chunked) {
        return parser_fail(parser, 400, "last transfer coding is not chunked");
    }
    return !(parser->seen & SEEN_OTHER_CODING) || parser_fail(parser, 501, "unknown transfer coding");
}

bool parser_end_fields(struct parser *parser, struct head *head)
{
    if (!check_framing(parser, head)) {
        return false;
    }
    if (head->first[FIELD_HOST] == 0) {
        if (head->minor_version == 1) {
            return parser_fail(parser, 400, "HTTP/1.1 request without Host");
        }
    } else if (head->authority.len == 0) {
        head->authority = head->fields[head->first[FIELD_HOST] - 1].value;
    } else {
        head->fields[head->first[FIELD_HOST] - 1].value = head->authority; /* RFC 9112 section 3.2.2 */
    }
    if (parser->seen & SEEN_OTHER_EXPECTATION) {
        return parser_fail(parser, 417, "unknown expectation");
    }
    head->keep_alive = parser_keeps_alive(parser, head);
    return true;
}
