/* Happy path: the texts of the settings are read once, when a site is made.
 * Failure modes: a coding or type that is none, a library that is not there, no memory: nothing is made. */

#include "http/compress_options.h"

#include "core/ascii.h"
#include "core/log.h"
#include "core/mem.h"
#include "http/char_class.h"
#include "http/coders.h"

#include <errno.h>
#include <string.h>

static const char default_types[] =
    "text/*,application/json,application/javascript,application/xml,application/wasm,application/manifest+json,"
    "application/ld+json,application/geo+json,application/problem+json,application/atom+xml,application/rss+xml,"
    "application/xhtml+xml,application/graphql-response+json,application/x-ndjson,application/x-javascript,"
    "application/vnd.api+json,image/svg+xml,image/bmp,image/x-icon,font/ttf,font/otf";

/* The next part of a list with commas, without blanks around it. Returns false at the end. */
static bool next_list_part(const char **at, const char **part, size_t *len)
{
    if (**at == '\0') {
        return false;
    }
    const char *end = *at + strcspn(*at, ",");
    *part = *at;
    *at = *end == ',' ? end + 1 : end;
    while (*part < end && char_is_space(**part)) {
        (*part)++;
    }
    while (end > *part && char_is_space(end[-1])) {
        end--;
    }
    *len = (size_t)(end - *part);
    return true;
}

static bool offers(const struct compress_options *options, enum encoding encoding)
{
    for (unsigned i = 0; i < options->count; i++) {
        if (options->order[i] == encoding) {
            return true;
        }
    }
    return false;
}

static int offer_coding(struct compress_options *options, const char *name, size_t len, char *err, size_t errlen)
{
    for (enum encoding encoding = ENCODING_BR; encoding < ENCODING_COUNT; encoding++) {
        if (!ascii_is(name, len, encoding_name(encoding))) {
            continue;
        }
        if (offers(options, encoding)) {
            return error_text(err, errlen, -EINVAL, "compress: \"%.*s\" is there twice", (int)len, name);
        }
        if (!coder_is_there(coders_kind(encoding))) {
            return error_text(err, errlen, -ELIBACC,
                              "compress: \"%s\" needs a library that is not installed, or not built in: apt install %s",
                              encoding_name(encoding), coder_package(coders_kind(encoding)));
        }
        options->order[options->count++] = encoding;
        return 0;
    }
    return error_text(err, errlen, -EINVAL, "compress: \"br\", \"zstd\" or \"gzip\" expected, got \"%.*s\"",
                      len > 64 ? 64 : (int)len, name);
}

static int read_codings(struct compress_options *options, const char *codings, char *err, size_t errlen)
{
    const char *part;
    size_t len;
    if (codings != NULL && strcmp(codings, "off") == 0) {
        options->is_off = true;
        return 0;
    }
    if (codings == NULL || codings[0] == '\0' || strcmp(codings, "on") == 0) {
        for (enum encoding encoding = ENCODING_BR; encoding < ENCODING_COUNT; encoding++) {
            if (coder_is_there(coders_kind(encoding))) {
                options->order[options->count++] = encoding;
            }
        }
        return options->count > 0
                   ? 0
                   : error_text(err, errlen, -ELIBACC, "compress: there is no library that compresses: apt install %s",
                                coder_package(CODER_GZIP));
    }
    int rv = 0;
    while (rv == 0 && next_list_part(&codings, &part, &len)) {
        rv = offer_coding(options, part, len, err, errlen);
    }
    return rv;
}

/* Whether a text is "type/subtype" or "type/ *" (without the blank). */
static bool is_media_pattern(const char *type, size_t len)
{
    const char *slash = memchr(type, '/', len);
    if (slash == NULL || slash == type || slash == type + len - 1) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        bool is_any = type[i] == '*' && type + i == slash + 1 && i == len - 1;
        if (type + i != slash && !is_any && (type[i] == '*' || !char_is(type[i], CLASS_TOKEN))) {
            return false;
        }
    }
    return true;
}

static int read_compress_types(struct compress_options *options, char *err, size_t errlen)
{
    const char *at = options->text;
    const char *part;
    size_t len;
    while (next_list_part(&at, &part, &len)) {
        if (!is_media_pattern(part, len)) {
            return error_text(err, errlen, -EINVAL,
                              "compress_types: a media type such as \"application/json\" or \"text/*\" expected, got "
                              "\"%.*s\"",
                              len > 64 ? 64 : (int)len, part);
        }
        if (options->type_count == COMPRESS_TYPES_MAX) {
            return error_text(err, errlen, -EINVAL, "compress_types: \"%.*s\" is one too many: at most %d",
                              len > 64 ? 64 : (int)len, part, COMPRESS_TYPES_MAX);
        }
        char *type = options->text + (part - options->text);
        type[len] = '\0'; /* a comma, a blank or the end: next_list_part() has passed it */
        options->types[options->type_count++] = type;
    }
    return 0;
}

static int check_compress_numbers(const struct compress_order *order, char *err, size_t errlen)
{
    if (order->level > CODER_LEVEL_MOST) {
        return error_text(err, errlen, -EINVAL, "compress_level: a number from %d to %d expected, got %u",
                          CODER_LEVEL_LEAST, CODER_LEVEL_MOST, order->level);
    }
    if (order->min_bytes > COMPRESS_MIN_MOST) {
        return error_text(err, errlen, -EINVAL, "compress_min: at most %d bytes", COMPRESS_MIN_MOST);
    }
    return 0;
}

int compress_options_create(struct compress_options **created, const struct compress_order *order, char *err,
                            size_t errlen)
{
    int rv = check_compress_numbers(order, err, errlen);
    if (rv < 0) {
        return rv;
    }
    struct compress_options *options = mem_zalloc(sizeof *options);
    char *text = mem_copy_text(order->types == NULL ? default_types : order->types);
    if (options == NULL || text == NULL) {
        mem_free(options);
        mem_free(text);
        return error_text(err, errlen, -ENOMEM, "compress: %s", errno_text(ENOMEM));
    }
    options->text = text;
    options->level = order->level == 0 ? COMPRESS_LEVEL_DEFAULT : order->level;
    options->min_bytes = order->has_min || order->min_bytes > 0 ? order->min_bytes : COMPRESS_MIN_DEFAULT;
    rv = read_codings(options, order->codings, err, errlen);
    rv = rv < 0 ? rv : read_compress_types(options, err, errlen);
    if (rv < 0) {
        compress_options_destroy(options);
        return rv;
    }
    *created = options;
    return 0;
}

void compress_options_destroy(struct compress_options *options)
{
    if (options != NULL) {
        mem_free(options->text);
        mem_free(options);
    }
}

bool compress_options_have(const struct compress_options *options, const char *type, size_t len)
{
    const char *semicolon = len == 0 ? NULL : memchr(type, ';', len);
    len = semicolon == NULL ? len : (size_t)(semicolon - type);
    while (len > 0 && char_is_space(type[len - 1])) {
        len--;
    }
    for (unsigned i = 0; i < options->type_count; i++) {
        const char *pattern = options->types[i];
        size_t pattern_len = strlen(pattern);
        bool is_any = pattern[pattern_len - 1] == '*';
        size_t compared = is_any ? pattern_len - 1 : pattern_len;
        if ((is_any ? len > compared : len == compared) && ascii_equals(type, pattern, compared)) {
            return true;
        }
    }
    return false;
}
