/* Happy path: a look at a few fields of the response, most of which it does not have.
 * Failure mode: no memory for another field. */

#include "http/compress_fields.h"

#include "core/ascii.h"
#include "http/compress_options.h"
#include "http/exchange.h"
#include "http/response_fields.h"

#include <stdint.h>
#include <string.h>

/* Whether a list with commas has an element, in any case. */
static bool list_has(const char *list, size_t len, const char *element)
{
    const char *end = list + len;
    while (list < end) {
        const char *comma = memchr(list, ',', (size_t)(end - list));
        const char *part_end = comma == NULL ? end : comma;
        const char *part = list;
        list = comma == NULL ? end : comma + 1;
        while (part < part_end && (*part == ' ' || *part == '\t')) {
            part++;
        }
        while (part_end > part && (part_end[-1] == ' ' || part_end[-1] == '\t')) {
            part_end--;
        }
        if (ascii_is(part, (size_t)(part_end - part), element)) {
            return true;
        }
    }
    return false;
}

/* Whether one of the fields of a name has an element. */
static bool fields_have(const struct exchange *exchange, const char *name, const char *element)
{
    struct response_field_walk walk = {0};
    while (response_next_field(exchange, name, strlen(name), &walk)) {
        if (list_has(walk.value, walk.value_len, element)) {
            return true;
        }
    }
    return false;
}

bool compress_suits(const struct exchange *exchange, const char *type, const struct compress_options *options)
{
    static const char *const obstacles[] = {"Content-Encoding", "Content-Range", "Content-Digest",
                                            "Repr-Digest",      "Digest",        "Content-MD5"};
    size_t len = type == NULL ? 0 : strlen(type);
    if (type == NULL) {
        type = response_added_field(exchange, "Content-Type", 12, &len);
    }
    if (type == NULL || !compress_options_have(options, type, len)) {
        return false;
    }
    for (size_t i = 0; i < sizeof obstacles / sizeof obstacles[0]; i++) {
        size_t ignored;
        if (response_added_field(exchange, obstacles[i], strlen(obstacles[i]), &ignored) != NULL) {
            return false;
        }
    }
    return !fields_have(exchange, "Cache-Control", "no-transform");
}

enum encoding compress_choose(const struct exchange *exchange, const struct compress_options *options)
{
    static const char name[] = "Accept-Encoding";
    struct encoding_wishes wishes;
    encoding_wishes_init(&wishes);
    for (unsigned i = 0; i < exchange->head.field_count; i++) {
        const struct field *field = &exchange->head.fields[i];
        if (ascii_is(exchange_text(exchange, field->name), field->name.len, name)) {
            encoding_wishes_add(&wishes, exchange_text(exchange, field->value), field->value.len);
        }
    }
    return encoding_choose_in(&wishes, options->order, options->count);
}

int compress_add_vary(struct exchange *exchange)
{
    static const char line[] = "Vary: Accept-Encoding\r\n";
    if (fields_have(exchange, "Vary", "Accept-Encoding") || fields_have(exchange, "Vary", "*")) {
        return 0;
    }
    return write_buffer_append(&exchange->fields, line, sizeof line - 1, SIZE_MAX);
}

enum { CODED_TAG_MAX = 512 }; /* bytes of a tag that gets another form; a longer one goes without */

/* Add the coding to a strong entity tag. */
static int change_tag(struct exchange *exchange, enum encoding encoding)
{
    size_t len;
    const char *tag = response_added_field(exchange, "ETag", 4, &len);
    if (tag == NULL || len < 2 || tag[0] != '"' || tag[len - 1] != '"') {
        return 0;
    }
    char line[CODED_TAG_MAX];
    const char *name = encoding_name(encoding);
    size_t name_len = strlen(name);
    bool fits = 6 + len + 1 + name_len + 2 <= sizeof line;
    char *at = line;
    if (fits) {
        memcpy(at, "ETag: ", 6);
        memcpy(at + 6, tag, len - 1);
        at += 6 + len - 1;
        *at++ = '-';
        memcpy(at, name, name_len);
        memcpy(at + name_len, "\"\r\n", 3);
        at += name_len + 3;
    }
    response_drop_field(exchange, "ETag", 4);
    return fits ? write_buffer_append(&exchange->fields, line, (size_t)(at - line), SIZE_MAX) : 0;
}

int compress_mark(struct exchange *exchange, enum encoding encoding)
{
    static const char *const lines[ENCODING_COUNT] = {
        [ENCODING_BR] = "Content-Encoding: br\r\n",
        [ENCODING_ZSTD] = "Content-Encoding: zstd\r\n",
        [ENCODING_GZIP] = "Content-Encoding: gzip\r\n",
    };
    response_drop_field(exchange, "Accept-Ranges", 13);
    int rv = change_tag(exchange, encoding);
    return rv < 0 ? rv : write_buffer_append(&exchange->fields, lines[encoding], strlen(lines[encoding]), SIZE_MAX);
}

/* The coding at the end of a text, before its last quote. */
static enum encoding coding_at_end(const char *text, size_t len, size_t *suffix_len)
{
    for (enum encoding encoding = ENCODING_BR; encoding < ENCODING_COUNT; encoding++) {
        const char *name = encoding_name(encoding);
        size_t name_len = strlen(name);
        if (len > name_len + 1 && text[len - name_len - 1] == '-' &&
            memcmp(text + len - name_len, name, name_len) == 0) {
            *suffix_len = name_len + 1;
            return encoding;
        }
    }
    return ENCODING_IDENTITY;
}

/* Take the codings off the tags of a list, in place. Returns its new length. */
static size_t strip_codings(struct exchange *exchange, char *list, size_t len)
{
    size_t to = 0;
    bool is_inside = false, is_weak = false;
    for (size_t at = 0; at < len; at++) {
        size_t suffix_len;
        if (list[at] == '"' && !is_inside) {
            is_weak = at >= 2 && list[at - 1] == '/' && list[at - 2] == 'W';
        } else if (list[at] == '"' && !is_weak) {
            enum encoding encoding = coding_at_end(list, to, &suffix_len);
            if (encoding != ENCODING_IDENTITY) {
                exchange->tag_coding = (uint8_t)encoding;
                to -= suffix_len;
            }
        }
        is_inside = is_inside != (list[at] == '"');
        list[to++] = list[at];
    }
    return to;
}

void compress_hear_tags(struct exchange *exchange)
{
    static const enum known_field names[] = {FIELD_IF_MATCH, FIELD_IF_NONE_MATCH};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *name = names[i] == FIELD_IF_MATCH ? "If-Match" : "If-None-Match";
        unsigned first = exchange->head.first[names[i]];
        for (unsigned index = first; first != 0 && index <= exchange->head.field_count; index++) {
            struct field *field = &exchange->head.fields[index - 1];
            if (!ascii_is(exchange_text(exchange, field->name), field->name.len, name)) {
                continue;
            }
            char *list = exchange->head_data + field->value.offset;
            field->value.len = (uint32_t)strip_codings(exchange, list, field->value.len);
        }
    }
}

int compress_mark_unchanged(struct exchange *exchange)
{
    if (exchange->tag_coding == ENCODING_IDENTITY) {
        return 0;
    }
    int rv = compress_add_vary(exchange);
    return rv < 0 ? rv : change_tag(exchange, (enum encoding)exchange->tag_coding);
}
