/* Options of a mount: checked in full, then copied into one block: the struct, the arrays, the texts. */

#include "http/static_options.h"

#include "core/ascii.h"
#include "core/log.h"
#include "core/mem.h"
#include "http/response.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const default_index[] = {"index.html"};

enum { CACHE_LINE_MAX = 64 };

static const char no_cache[] = "Cache-Control: no-cache\r\n"; /* of a fallback */

/* Checks. */

/* Whether a header before the n-th one has the same name. */
static bool is_said_before(const struct static_options *options, size_t n)
{
    size_t i = 0;
    while (i < n && ascii_compare(options->headers[i].name, options->headers[n].name) != 0) {
        i++;
    }
    return i < n;
}

static int check_headers(const struct static_options *options, char *err, size_t errlen)
{
    /* Fields that the server sends with each file, beside those that response_check_field() knows as the server's
     * own. */
    static const char *const own[] = {"Accept-Ranges", "Content-Encoding", "Content-Range", "Content-Type",
                                      "ETag",          "Last-Modified",    "Location"};
    size_t total = 0;
    if (options->header_count > STATIC_HEADERS_MAX) {
        return error_text(err, errlen, -EINVAL, "headers: more than %d", STATIC_HEADERS_MAX);
    }
    for (size_t i = 0; i < options->header_count; i++) {
        const char *name = options->headers[i].name;
        const char *value = options->headers[i].value;
        int rv = response_check_field(name, strlen(name), "", 0);
        for (size_t j = 0; j < sizeof own / sizeof own[0]; j++) {
            rv = ascii_is(name, strlen(name), own[j]) ? -EPERM : rv;
        }
        if (rv < 0) {
            return error_text(err, errlen, -EINVAL, "headers: \"%.64s\" is %s%s", name,
                              rv == -EPERM ? "the server's own field" : "not a field name",
                              ascii_is(name, strlen(name), "Content-Type") ? "; types changes it" : "");
        }
        if (response_check_field(name, strlen(name), value, strlen(value)) < 0) {
            return error_text(err, errlen, -EINVAL, "headers: the value of %.64s has a control character", name);
        }
        if (options->cache_s > 0 && ascii_is(name, strlen(name), "Cache-Control")) {
            return error_text(err, errlen, -EINVAL, "headers: %s cannot be combined with the option cache", name);
        }
        if (response_is_single_field(name, strlen(name)) && is_said_before(options, i)) {
            return error_text(err, errlen, -EINVAL, "headers: %s occurs twice; a response may have it only once", name);
        }
        total += strlen(name) + strlen(value) + sizeof ": \r";
    }
    return total <= STATIC_FIELDS_MAX
               ? 0
               : error_text(err, errlen, -EINVAL, "headers: more than %d bytes in total", STATIC_FIELDS_MAX);
}

static int check_index(const struct static_options *options, char *err, size_t errlen)
{
    if (options->index_count > STATIC_INDEX_MAX) {
        return error_text(err, errlen, -EINVAL, "index: more than %d names", STATIC_INDEX_MAX);
    }
    for (size_t i = 0; i < options->index_count; i++) {
        const char *name = options->index[i];
        bool is_dots = strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
        if (name[0] == '\0' || is_dots || strchr(name, '/') != NULL || strlen(name) > STATIC_NAME_MAX) {
            return error_text(err, errlen, -EINVAL, "index: \"%.64s\" is not a file name", name);
        }
    }
    return 0;
}

static const char *skip_one(const char *text, char c)
{
    return text + (text[0] == c ? 1 : 0);
}

/* Check a path below the directory. The kernel would reject dot segments, or they would lead elsewhere than they seem
 * to. */
static int check_page(const char *option, const char *path, char *err, size_t errlen)
{
    if (path == NULL) {
        return 0;
    }
    const char *at = skip_one(path, '/');
    bool is_good = strlen(path) <= STATIC_FILE_MAX;
    while (is_good) {
        size_t len = strcspn(at, "/");
        is_good = len > 0 && !(len <= 2 && strspn(at, ".") >= len);
        if (at[len] == '\0') {
            break;
        }
        at += len + 1;
    }
    return is_good ? 0
                   : error_text(err, errlen, -EINVAL, "%s: \"%.64s\" is not the path of a file below the directory",
                                option, path);
}

/* Check "type/subtype", perhaps with parameters (RFC 9110 section 8.3.1), which are not checked. */
static bool is_media_type(const char *type)
{
    size_t len = strcspn(type, "; \t");
    const char *slash = memchr(type, '/', len);
    return slash != NULL && response_check_field(type, (size_t)(slash - type), "", 0) != -EINVAL &&
           response_check_field(slash + 1, len - (size_t)(slash + 1 - type), type, strlen(type)) != -EINVAL;
}

static int check_types(const struct static_options *options, char *err, size_t errlen)
{
    if (options->type_count > STATIC_TYPES_MAX) {
        return error_text(err, errlen, -EINVAL, "types: more than %d", STATIC_TYPES_MAX);
    }
    for (size_t i = 0; i < options->type_count; i++) {
        const char *extension = skip_one(options->types[i].extension, '.');
        size_t len = strlen(extension);
        if (len == 0 || len > STATIC_EXTENSION_MAX || strpbrk(extension, "./") != NULL) {
            return error_text(err, errlen, -EINVAL, "types: \"%.64s\" is not an extension",
                              options->types[i].extension);
        }
        if (!is_media_type(options->types[i].type) || strlen(options->types[i].type) > STATIC_NAME_MAX) {
            return error_text(err, errlen, -EINVAL, "types: \"%.64s\", for %.64s, is not a media type",
                              options->types[i].type, options->types[i].extension);
        }
    }
    return 0;
}

int static_options_check(const struct static_options *options, char *err, size_t errlen)
{
    int rv = check_headers(options, err, errlen);
    rv = rv < 0 ? rv : check_index(options, err, errlen);
    rv = rv < 0 ? rv : check_page("fallback", options->fallback, err, errlen);
    rv = rv < 0 ? rv : check_page("not_found", options->not_found, err, errlen);
    return rv < 0 ? rv : check_types(options, err, errlen);
}

/* The copy. Its size is added up first, so that it is one block, with the texts behind the arrays. */

static size_t room_of_text(const char *text)
{
    return text == NULL ? 0 : strlen(text) + 1;
}

static size_t measure(const struct static_options *options)
{
    size_t room = 2 * (size_t)CACHE_LINE_MAX + room_of_text(options->fallback) + room_of_text(options->not_found);
    for (size_t i = 0; i < options->header_count; i++) { /* by itself, and in a line for files and for the fallback */
        size_t texts = room_of_text(options->headers[i].name) + room_of_text(options->headers[i].value);
        room += 3 * texts + 2 * sizeof ": \r\n";
    }
    for (size_t i = 0; i < options->index_count; i++) {
        room += room_of_text(options->index[i]);
    }
    for (size_t i = 0; i < options->type_count; i++) {
        room += room_of_text(options->types[i].extension) + room_of_text(options->types[i].type);
    }
    return room;
}

static const char *copy_text(char **at, const char *text)
{
    if (text == NULL) {
        return NULL;
    }
    size_t len = strlen(text) + 1;
    char *copy = memcpy(*at, text, len);
    *at += len;
    return copy;
}

static const char *copy_extension(char **at, const char *extension)
{
    char *copy = *at;
    copy_text(at, skip_one(extension, '.'));
    for (char *c = copy; *c != '\0'; c++) {
        *c = ascii_lower(*c);
    }
    return copy;
}

static bool has_header(const struct static_options *options, const char *name)
{
    for (size_t i = 0; i < options->header_count; i++) {
        if (ascii_compare(options->headers[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Field lines: one more (or "") before the headers. */
static const char *format_fields(char **at, const struct static_options *options, const char *first)
{
    char *start = *at;
    *at = stpcpy(*at, first);
    for (size_t i = 0; i < options->header_count; i++) {
        *at += sprintf(*at, "%s: %s\r\n", options->headers[i].name, options->headers[i].value);
    }
    (*at)++;
    return start;
}

int static_settings_create(struct static_settings **settings, const struct static_options *options, char *err,
                           size_t errlen)
{
    struct static_options asked = options == NULL ? (struct static_options){0} : *options;
    if (asked.index_count == 0 && !asked.no_index) {
        asked.index = default_index;
        asked.index_count = 1;
    }
    if (static_options_check(&asked, err, errlen) < 0) {
        return -EINVAL;
    }
    size_t headers_size = asked.header_count * sizeof(struct static_field);
    size_t types_size = asked.type_count * sizeof(struct mime_override);
    struct static_settings *made = mem_alloc(sizeof *made + headers_size + types_size + measure(&asked));
    if (made == NULL) {
        return error_text(err, errlen, -ENOMEM, "%s", errno_text(ENOMEM));
    }
    *made = (struct static_settings){
        .headers = (struct static_field *)(made + 1),
        .types = (struct mime_override *)((struct static_field *)(made + 1) + asked.header_count),
        .header_count = asked.header_count,
        .index_count = asked.no_index ? 0 : asked.index_count,
        .type_count = asked.type_count,
        .dotfiles = asked.dotfiles,
        .list = asked.list,
        .precompressed = !asked.no_precompressed,
    };
    char *at = (char *)(made->types + asked.type_count);
    char age[CACHE_LINE_MAX] = "";
    if (asked.cache_s > 0) {
        snprintf(age, sizeof age, "Cache-Control: max-age=%" PRIu32 "\r\n", asked.cache_s);
    }
    made->fields = format_fields(&at, &asked, age);
    made->fallback_fields = format_fields(&at, &asked, has_header(&asked, "Cache-Control") ? "" : no_cache);
    for (size_t i = 0; i < asked.header_count; i++) {
        made->headers[i].name = copy_text(&at, asked.headers[i].name);
        made->headers[i].value = copy_text(&at, asked.headers[i].value);
    }
    for (size_t i = 0; i < made->index_count; i++) {
        made->index[i] = copy_text(&at, asked.index[i]);
    }
    for (size_t i = 0; i < asked.type_count; i++) {
        made->types[i].extension = copy_extension(&at, asked.types[i].extension);
        made->types[i].type = copy_text(&at, asked.types[i].type);
    }
    made->fallback = copy_text(&at, asked.fallback == NULL ? NULL : skip_one(asked.fallback, '/'));
    made->not_found = copy_text(&at, asked.not_found == NULL ? NULL : skip_one(asked.not_found, '/'));
    *settings = made;
    return 0;
}
