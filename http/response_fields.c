/* The field lines that a handler adds to its response, kept as text in exchange->fields until the head is written.
 *
 * A field whose definition allows one line alone is never sent twice: a second response_add_field() is refused, and
 * what the server knows about the content it sends takes the place of the handler's line
 * (response_drop_rivals()).
 *
 * Failure modes: a field that could break the message, or that is the server's own to say, is refused by the return
 * value, and so is one beyond RESPONSE_FIELDS_MAX. What was added before stays. */

#include "http/response_fields.h"

#include "core/ascii.h"
#include "http/char_class.h"
#include "http/exchange.h"

#include <errno.h>
#include <string.h>

static bool is_token(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!char_is(text[i], CLASS_TOKEN)) {
            return false;
        }
    }
    return len > 0;
}

static bool is_field_value(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!char_is(text[i], CLASS_VALUE)) {
            return false;
        }
    }
    return true;
}

static bool is_name(const char *text, size_t len, const char *name)
{
    return ascii_is(text, len, name);
}

/* Fields that say how the message is framed or what the connection does (RFC 9110 section 7.6.1): the server's own. */
static bool is_own_field(const char *name, size_t len)
{
    static const char *const own[] = {"content-length", "transfer-encoding", "connection", "date",
                                      "keep-alive",     "trailer",           "upgrade"};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        if (is_name(name, len, own[i])) {
            return true;
        }
    }
    return false;
}

bool response_is_single_field(const char *name, size_t len)
{
    /* Response fields whose value is no list, so that two lines of them are malformed or mean what nobody intended
     * (RFC 9110 section 5.3), each with the section that defines it. Content-Length and Date are the server's own. */
    static const char *const single[] = {
        "Accept-Ranges", /* RFC 9110 section 14.3: a list, but "none" beside "bytes" contradicts it */
        "Access-Control-Allow-Credentials", /* Fetch standard section 3.3.3 (CORS protocol, HTTP responses) */
        "Access-Control-Allow-Origin",      /* the same: two lines make browsers refuse the response */
        "Access-Control-Max-Age",           /* the same */
        "Age",                              /* RFC 9111 section 5.1 */
        "Content-Disposition",              /* RFC 6266 section 4.1 */
        "Content-Location",                 /* RFC 9110 section 8.7 */
        "Content-Range",                    /* RFC 9110 section 14.4 */
        "Content-Type",                     /* RFC 9110 section 8.3 */
        "ETag",                             /* RFC 9110 section 8.8.3 */
        "Expires",                          /* RFC 9111 section 5.3 */
        "Last-Modified",                    /* RFC 9110 section 8.8.2 */
        "Location",                         /* RFC 9110 section 10.2.2 */
        "Retry-After",                      /* RFC 9110 section 10.2.3 */
        "Server",                           /* RFC 9110 section 10.2.4 */
        "Strict-Transport-Security",        /* RFC 6797 section 6.1 */
    };
    for (size_t i = 0; i < sizeof single / sizeof single[0]; i++) {
        if (is_name(name, len, single[i])) {
            return true;
        }
    }
    return false;
}

int response_check_field(const char *name, size_t name_len, const char *value, size_t value_len)
{
    if (!is_token(name, name_len) || !is_field_value(value, value_len)) {
        return -EINVAL;
    }
    return is_own_field(name, name_len) ? -EPERM : 0;
}

/* Whether a line of field lines that ends at next is of that name. */
static bool is_line_of(const char *line, const char *next, const char *name, size_t name_len)
{
    return (size_t)(next - line) > name_len && line[name_len] == ':' && ascii_equals(line, name, name_len);
}

bool response_next_field(const struct exchange *exchange, const char *name, size_t name_len,
                         struct response_field_walk *walk)
{
    const struct write_buffer *fields = &exchange->fields;
    size_t len = write_buffer_len(fields);
    const char *lines = len == 0 ? NULL : write_buffer_data(fields);
    while (walk->at < len) {
        const char *line = lines + walk->at;
        const char *next = (const char *)memchr(line, '\n', len - walk->at) + 1;
        walk->at = (size_t)(next - lines);
        if (is_line_of(line, next, name, name_len)) {
            walk->value = line + name_len + 2;
            walk->value_len = (size_t)(next - line) - name_len - 4;
            return true;
        }
    }
    return false;
}

const char *response_added_field(const struct exchange *exchange, const char *name, size_t name_len, size_t *value_len)
{
    struct response_field_walk walk = {0};
    if (!response_next_field(exchange, name, name_len, &walk)) {
        return NULL;
    }
    *value_len = walk.value_len;
    return walk.value;
}

bool response_keeps_field(const struct exchange *exchange, const char *name, size_t name_len)
{
    size_t len;
    const char *value = response_added_field(exchange, name, name_len, &len);
    const struct write_buffer *fields = &exchange->fields;
    return value != NULL && value < fields->block + fields->start + exchange->kept_fields;
}

int response_add_field(struct exchange *exchange, const char *name, size_t name_len, const char *value,
                       size_t value_len)
{
    int rv = response_check_field(name, name_len, value, value_len);
    if (rv == -EPERM && is_name(name, name_len, "connection") && is_name(value, value_len, "close")) {
        exchange->wants_close = true;
        return 0;
    }
    if (rv < 0) {
        return rv;
    }
    size_t ignored;
    if (response_is_single_field(name, name_len) && response_added_field(exchange, name, name_len, &ignored) != NULL) {
        return -EEXIST;
    }
    int error = 0;
    char *at = name_len + value_len > RESPONSE_FIELDS_MAX
                   ? NULL
                   : write_buffer_reserve(&exchange->fields, name_len + value_len + 4, RESPONSE_FIELDS_MAX, &error);
    if (at == NULL) {
        return error < 0 ? error : -ENOBUFS;
    }
    at = mempcpy(at, name, name_len);
    at = mempcpy(at, ": ", 2);
    at = mempcpy(at, value, value_len);
    at[0] = '\r';
    at[1] = '\n';
    write_buffer_commit(&exchange->fields, name_len + value_len + 4);
    return 0;
}

/* Take the lines of a name out of those that were added. */
static void remove_field(struct exchange *exchange, const char *name, size_t name_len)
{
    struct write_buffer *fields = &exchange->fields;
    if (write_buffer_len(fields) == 0) {
        return;
    }
    char *end = fields->block + fields->end;
    for (char *line = fields->block + fields->start; line < end;) {
        char *next = (char *)memchr(line, '\n', (size_t)(end - line)) + 1;
        if (is_line_of(line, next, name, name_len)) {
            bool is_kept = line < fields->block + fields->start + exchange->kept_fields;
            exchange->kept_fields -= is_kept ? (uint32_t)(next - line) : 0;
            memmove(line, next, (size_t)(end - next));
            end -= next - line;
        } else {
            line = next;
        }
    }
    fields->end = (uint32_t)(end - fields->block);
}

void response_drop_field(struct exchange *exchange, const char *name, size_t name_len)
{
    remove_field(exchange, name, name_len);
}

void response_drop_rivals(struct exchange *exchange, const char *lines, size_t len)
{
    /* Conditions and ranges are evaluated by the server's values, so others would mislead the client. */
    static const char *const evaluated[] = {"Accept-Ranges", "Content-Range", "ETag", "Last-Modified"};
    static const char coding[] = "Content-Encoding"; /* a list, but what the server says of it is all of it */
    for (size_t i = 0; i < sizeof evaluated / sizeof evaluated[0]; i++) {
        remove_field(exchange, evaluated[i], strlen(evaluated[i]));
    }
    const char *end = lines + len;
    while (lines < end && write_buffer_len(&exchange->fields) > 0) {
        size_t name_len = (size_t)((const char *)memchr(lines, ':', (size_t)(end - lines)) - lines);
        if (response_is_single_field(lines, name_len) || is_name(lines, name_len, coding)) {
            remove_field(exchange, lines, name_len);
        }
        lines = (const char *)memchr(lines, '\n', (size_t)(end - lines)) + 1;
    }
}

int response_set_field(struct exchange *exchange, const char *name, size_t name_len, const char *value,
                       size_t value_len)
{
    int rv = response_check_field(name, name_len, value, value_len);
    if (rv == 0) {
        remove_field(exchange, name, name_len);
    }
    return response_add_field(exchange, name, name_len, value, value_len);
}

static const char caching[] = "Cache-Control";

bool response_has_caching(const struct exchange *exchange)
{
    size_t ignored;
    return response_added_field(exchange, caching, sizeof caching - 1, &ignored) != NULL;
}

char *response_put_lines(const struct exchange *exchange, char *at, const char *lines, size_t len)
{
    if (!response_has_caching(exchange)) {
        return mempcpy(at, lines, len);
    }
    const char *end = lines + len;
    for (const char *next; lines < end; lines = next) {
        next = (const char *)memchr(lines, '\n', (size_t)(end - lines)) + 1;
        if (!is_line_of(lines, next, caching, sizeof caching - 1)) {
            at = mempcpy(at, lines, (size_t)(next - lines));
        }
    }
    return at;
}

/* Whether a Cache-Control that was added gives an age. */
static bool has_age(const struct exchange *exchange)
{
    static const char name[] = "Cache-Control:";
    const size_t name_len = sizeof name - 1;
    const struct write_buffer *fields = &exchange->fields;
    const char *end = fields->block + fields->end;
    for (const char *line = fields->block + fields->start; line < end;) {
        const char *next = (const char *)memchr(line, '\n', (size_t)(end - line)) + 1;
        if ((size_t)(next - line) > name_len && ascii_equals(line, name, name_len) &&
            memmem(line, (size_t)(next - line), "age=", 4) != NULL) {
            return true;
        }
        line = next;
    }
    return false;
}

void response_drop_content_fields(struct exchange *exchange)
{
    static const char *const names[] = {"Accept-Ranges",    "Content-Disposition",
                                        "Content-Encoding", "Content-Language",
                                        "Content-Location", "Content-Range",
                                        "Content-Type",     "ETag",
                                        "Expires",          "Last-Modified"};
    if (write_buffer_len(&exchange->fields) == 0) {
        return;
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        remove_field(exchange, names[i], strlen(names[i]));
    }
    if (has_age(exchange)) {
        remove_field(exchange, caching, sizeof caching - 1);
    }
}

void response_keep_fields(struct exchange *exchange)
{
    exchange->kept_fields = (uint32_t)write_buffer_len(&exchange->fields);
}

void response_clear_fields(struct exchange *exchange)
{
    exchange->fields.end = exchange->fields.start + exchange->kept_fields;
}
