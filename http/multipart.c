/* multipart/form-data: content between delimiters, each part with a few header fields before its content.
 *
 *   START -> [DELIMITER] -> PADDING -> HEAD -> CONTENT -> DELIMITER -> PADDING -> HEAD ...
 *                              `-> CLOSING -> EPILOGUE
 *
 * A delimiter is CR LF "--" boundary. Its CR comes nowhere else in it, so a match that fails leaves only one place
 * where the next one can begin: the byte at hand. Before the first delimiter its CR LF counts as seen.
 *
 * Happy path: multipart_parse() finds the next CR with memchr() and hands out what lies before. Failure: 400 for what
 * is no multipart body or no form part, 413 for more than the limits in the header. Nothing is skipped silently but
 * what stands before the first delimiter (nothing, from any known client) and behind the last. */

#include "http/multipart.h"

#include "core/ascii.h"
#include "http/char_class.h"
#include "http/field_line.h"
#include "http/parameter.h"

#include <string.h>

enum multipart_state {
    MULTIPART_START,    /* before the first delimiter */
    MULTIPART_BODY,     /* in the content of a part */
    MULTIPART_PADDING,  /* behind a delimiter: white space and CR LF, or "--" */
    MULTIPART_LF,       /* behind the CR of that line */
    MULTIPART_DASH,     /* behind the first dash */
    MULTIPART_HEAD,     /* in header fields */
    MULTIPART_EPILOGUE, /* behind the last delimiter */
    MULTIPART_FAILED,   /* status and reason are set */
};

bool media_type_is(const char *content_type, size_t len, const char *type)
{
    return parameter_value_is(content_type, len, type);
}

/* Beginning. */

/* RFC 2046 section 5.1.1 allows fewer; clients that make up others quote them, and no byte of these can be taken for a
 * line end. */
static bool is_boundary_char(char c)
{
    return c >= ' ' && c <= '~';
}

int multipart_begin(struct multipart *multipart, const char *content_type, size_t len)
{
    char value[MULTIPART_HEAD_MAX];
    multipart->state = MULTIPART_START;
    multipart->matched = 2;
    multipart->parts = 0;
    multipart->head_len = 0;
    multipart->field_count = 0;
    multipart->status = 0;
    multipart->reason = NULL;
    if (!media_type_is(content_type, len, "multipart/form-data")) {
        return 415;
    }
    int boundary_len = len > sizeof value ? -1 : parameter_find(content_type, len, "boundary", value);
    if (boundary_len < 1 || boundary_len > MULTIPART_BOUNDARY_MAX || value[boundary_len - 1] == ' ') {
        return 400;
    }
    for (int i = 0; i < boundary_len; i++) {
        if (!is_boundary_char(value[i])) {
            return 400;
        }
    }
    memcpy(multipart->delimiter, "\r\n--", 4);
    memcpy(multipart->delimiter + 4, value, (size_t)boundary_len);
    multipart->delimiter_len = (uint8_t)(boundary_len + 4);
    return 0;
}

/* Parsing. */

static enum multipart_event fail(struct multipart *multipart, int status, const char *reason)
{
    multipart->state = MULTIPART_FAILED;
    multipart->status = status;
    multipart->reason = reason;
    return MULTIPART_ERROR;
}

/* How many bytes of data go on with the delimiter of which matched are seen. */
static size_t match(const struct multipart *multipart, const char *data, size_t len, size_t matched)
{
    size_t count = 0;
    while (count < len && matched + count < multipart->delimiter_len &&
           data[count] == multipart->delimiter[matched + count]) {
        count++;
    }
    return count;
}

/* The delimiter is complete. */
static enum multipart_event end_content(struct multipart *multipart)
{
    bool was_part = multipart->state == MULTIPART_BODY;
    multipart->state = MULTIPART_PADDING;
    multipart->matched = 0;
    return was_part ? MULTIPART_PART_END : MULTIPART_MORE;
}

/* Content, up to the delimiter or the end of data. */
static enum multipart_event take_content(struct multipart *multipart, const char *data, size_t len, size_t *used,
                                         const char **content, size_t *content_len)
{
    if (multipart->matched > 0) {
        size_t seen = multipart->matched;
        size_t more = match(multipart, data, len, seen);
        if (seen + more == multipart->delimiter_len) {
            *used = more;
            return end_content(multipart);
        }
        if (more == len) {
            multipart->matched = (uint8_t)(seen + more);
            *used = len;
            return MULTIPART_MORE;
        }
        multipart->matched = 0;
        *used = more;
        *content = multipart->delimiter; /* it was content that looked like one */
        *content_len = seen + more;
        return MULTIPART_CONTENT;
    }
    size_t at = 0;
    while (at < len) {
        const char *cr = memchr(data + at, '\r', len - at);
        if (cr == NULL) {
            break;
        }
        at = (size_t)(cr - data);
        size_t seen = match(multipart, cr, len - at, 0);
        if (seen == multipart->delimiter_len || at + seen == len) {
            multipart->matched = (uint8_t)seen;
            *used = at + seen;
            *content = data;
            *content_len = at;
            if (at > 0) {
                return MULTIPART_CONTENT; /* a delimiter that is complete is told in the next call */
            }
            return seen == multipart->delimiter_len ? end_content(multipart) : MULTIPART_MORE;
        }
        at += seen; /* at least the CR; no other can lie in what matched */
    }
    *used = len;
    *content = data;
    *content_len = len;
    return len > 0 ? MULTIPART_CONTENT : MULTIPART_MORE;
}

/* Split head, which lacks its empty line, into fields. Returns whether it consists of field lines. A DEL in a value,
 * which is wrong in the head of a request, is let through: browsers put the names of files there as they are. */
static bool split_head(struct multipart *multipart)
{
    struct field_line line = {0};
    struct field field;

    multipart->field_count = 0;
    while (line.pos < multipart->head_len) {
        enum field_line_verdict verdict = field_line_scan(&line, multipart->head, multipart->head_len, &field);
        if (verdict == FIELD_LINE_WRONG && line.state == FIELD_LINE_VALUE && multipart->head[line.pos] == 0x7f) {
            line.pos++;
            continue;
        }
        if (verdict != FIELD_LINE_WHOLE || multipart->field_count == MULTIPART_FIELDS_MAX) {
            return false;
        }
        multipart->fields[multipart->field_count++] = field;
    }
    return line.state == FIELD_LINE_BEGIN;
}

/* The empty line came. A part of a form has a name (RFC 7578 section 4.2). */
static enum multipart_event begin_part(struct multipart *multipart)
{
    char name[MULTIPART_HEAD_MAX];
    multipart->state = MULTIPART_BODY;
    multipart->matched = 0;
    if (multipart->parts == MULTIPART_PARTS_MAX) {
        return fail(multipart, 413, "too many parts");
    }
    multipart->parts++;
    if (!split_head(multipart)) {
        return fail(multipart, 400, "malformed header fields of a part");
    }
    size_t len = 0;
    const char *disposition = multipart_field(multipart, "content-disposition", &len);
    if (disposition == NULL || !parameter_value_is(disposition, len, "form-data") ||
        parameter_find(disposition, len, "name", name) < 0) {
        return fail(multipart, 400, "a part without a name");
    }
    int extended = parameter_find(disposition, len, "filename*", name);
    if (extended >= 0 && parameter_decode_extended(name, (size_t)extended) < 0) {
        return fail(multipart, 400, "malformed filename* of a part");
    }
    return MULTIPART_PART;
}

/* One byte of header fields. */
static enum multipart_event take_head(struct multipart *multipart, char c)
{
    char *head = multipart->head;
    if (multipart->head_len == MULTIPART_HEAD_MAX) {
        return fail(multipart, 413, "header fields of a part too long");
    }
    head[multipart->head_len++] = c;
    size_t len = multipart->head_len;
    if (c != '\n') {
        return MULTIPART_MORE;
    }
    if (len < 2 || head[len - 2] != '\r') {
        return fail(multipart, 400, "line feed without carriage return in a part's header");
    }
    bool is_empty = len == 2 || (len >= 4 && head[len - 3] == '\n');
    if (!is_empty) {
        return MULTIPART_MORE;
    }
    multipart->head_len -= 2;
    return begin_part(multipart);
}

/* One byte of the rest of a delimiter's line. */
static enum multipart_event take_line(struct multipart *multipart, char c)
{
    switch (multipart->state) {
    case MULTIPART_PADDING:
        if (c == '\r') {
            multipart->state = MULTIPART_LF;
        } else if (c == '-') {
            multipart->state = MULTIPART_DASH;
        } else if (!char_is_space(c)) {
            return fail(multipart, 400, "text after a boundary");
        }
        break;
    case MULTIPART_LF:
        if (c != '\n') {
            return fail(multipart, 400, "text after a boundary");
        }
        multipart->state = MULTIPART_HEAD;
        multipart->head_len = 0;
        break;
    default:
        if (c != '-') {
            return fail(multipart, 400, "text after a boundary");
        }
        multipart->state = MULTIPART_EPILOGUE;
        break;
    }
    return MULTIPART_MORE;
}

enum multipart_event multipart_parse(struct multipart *multipart, const char *data, size_t len, size_t *used,
                                     const char **content, size_t *content_len)
{
    size_t at = 0;
    enum multipart_event event = MULTIPART_MORE;
    *content = NULL;
    *content_len = 0;
    if (multipart->state == MULTIPART_BODY && multipart->matched == multipart->delimiter_len) {
        *used = 0;
        return end_content(multipart);
    }
    while (at < len && event == MULTIPART_MORE) {
        size_t taken = 1;
        switch ((enum multipart_state)multipart->state) {
        case MULTIPART_START:
        case MULTIPART_BODY:
            event = take_content(multipart, data + at, len - at, &taken, content, content_len);
            if (event == MULTIPART_CONTENT && multipart->state == MULTIPART_START) {
                event = MULTIPART_MORE;
                if (multipart->matched == multipart->delimiter_len) {
                    event = end_content(multipart);
                }
            }
            break;
        case MULTIPART_PADDING:
        case MULTIPART_LF:
        case MULTIPART_DASH:
            event = take_line(multipart, data[at]);
            break;
        case MULTIPART_HEAD:
            event = take_head(multipart, data[at]);
            break;
        case MULTIPART_EPILOGUE:
            taken = len - at;
            break;
        case MULTIPART_FAILED:
            taken = 0;
            event = MULTIPART_ERROR;
            break;
        }
        at += taken;
    }
    *used = at;
    return event;
}

bool multipart_finish(struct multipart *multipart)
{
    if (multipart->state == MULTIPART_EPILOGUE) {
        return true;
    }
    if (multipart->state != MULTIPART_FAILED) {
        fail(multipart, 400, "the body ends before its last boundary");
    }
    return false;
}

/* The part. */

const char *multipart_field(const struct multipart *multipart, const char *name, size_t *len)
{
    size_t name_len = strlen(name);
    for (unsigned i = 0; i < multipart->field_count; i++) {
        const struct field *field = &multipart->fields[i];
        if (field->name.len == name_len && ascii_equals(multipart->head + field->name.offset, name, name_len)) {
            *len = field->value.len;
            return multipart->head + field->value.offset;
        }
    }
    return NULL;
}

int multipart_parameter(const struct multipart *multipart, const char *name, char *out)
{
    size_t len = 0;
    const char *disposition = multipart_field(multipart, "content-disposition", &len);
    return disposition == NULL ? -1 : parameter_find(disposition, len, name, out);
}

int multipart_filename(const struct multipart *multipart, char *out)
{
    int len = multipart_parameter(multipart, "filename*", out);
    return len >= 0 ? parameter_decode_extended(out, (size_t)len) : multipart_parameter(multipart, "filename", out);
}
