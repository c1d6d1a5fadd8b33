/* Happy path: a first pass counts the parts and copies the text, a second one cuts it at its variables.
 *
 * Failure modes: mistakes in the text, with the place counted from 1; lack of memory. */

#include "http/access_format.h"

#include "core/ascii.h"
#include "core/log.h"
#include "core/mem.h"
#include "http/message.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static const char format_combined[] = "$remote_addr - $remote_user [$time_local] \"$request\" $status "
                                      "$body_bytes_sent \"$http_referer\" \"$http_user_agent\"";

static const char format_json[] =
    "escape=json {\"time\":\"$time_iso8601\",\"remote_addr\":\"$remote_addr\",\"remote_user\":\"$remote_user\","
    "\"method\":\"$request_method\",\"uri\":\"$request_uri\",\"protocol\":\"$server_protocol\",\"scheme\":\"$scheme\","
    "\"host\":\"$host\",\"status\":$status,\"body_bytes_sent\":$body_bytes_sent,\"request_time\":$request_time,"
    "\"request_id\":\"$request_id\",\"completion\":\"$request_completion\",\"route\":\"$route\","
    "\"referer\":\"$http_referer\",\"user_agent\":\"$http_user_agent\",\"tls_version\":\"$tls_version\"}";

static const struct variable_name {
    const char *text;
    enum access_variable variable;
} variable_names[] = {
#define NAME_ROW(text, name) {#text, ACCESS_##name},
    ACCESS_VARIABLES(NAME_ROW)
#undef NAME_ROW
};

static const char user_field[] = "authorization";

enum {
    VARIABLE_NAMES = sizeof variable_names / sizeof variable_names[0],
    VARIABLE_NAME_MAX = 64,
};

/* Names. */

/* How many letters must be put in, left out or replaced to make one of the names from the other. */
static unsigned edit_distance(const char *one, size_t one_len, const char *other)
{
    unsigned row[VARIABLE_NAME_MAX + 1];
    for (unsigned i = 0; i <= one_len; i++) {
        row[i] = i;
    }
    for (unsigned n = 1; other[n - 1] != '\0'; n++) {
        unsigned corner = row[0];
        row[0] = n;
        for (size_t i = 1; i <= one_len; i++) {
            unsigned replaced = corner + (one[i - 1] != other[n - 1]);
            corner = row[i];
            unsigned least = row[i] < row[i - 1] ? row[i] : row[i - 1];
            row[i] = replaced < least + 1 ? replaced : least + 1;
        }
    }
    return row[one_len];
}

static int refuse_name(const char *name, size_t len, size_t place, char *err, size_t errlen)
{
    const char *nearest = NULL;
    unsigned least = len < 4 ? 2 : 4; /* what is further off was not meant */
    for (size_t i = 0; len <= VARIABLE_NAME_MAX && i < VARIABLE_NAMES; i++) {
        unsigned distance = edit_distance(name, len, variable_names[i].text);
        if (distance < least) {
            least = distance;
            nearest = variable_names[i].text;
        }
    }
    return error_text(err, errlen, -EINVAL, "unknown variable $%.*s at character %zu%s%s%s",
                      (int)(len < VARIABLE_NAME_MAX ? len : VARIABLE_NAME_MAX), name, place,
                      nearest == NULL ? "" : " (did you mean $", nearest == NULL ? "" : nearest,
                      nearest == NULL ? "" : "?)");
}

/* A part shows a field: note its name among *count others, unless it is there. Returns 0 or -EINVAL. */
static int take_field(struct access_field fields[ACCESS_FIELDS_MAX], uint8_t *count, struct access_part *part,
                      const char *name, size_t len, const char *whose, char *err, size_t errlen)
{
    unsigned n = 0;
    while (n < *count && (fields[n].len != len || memcmp(fields[n].name, name, len) != 0)) {
        n++;
    }
    if (n == ACCESS_FIELDS_MAX) {
        return error_text(err, errlen, -EINVAL, "more than %d fields of %s", ACCESS_FIELDS_MAX, whose);
    }
    if (n == *count) {
        fields[n] = (struct access_field){.name = name, .len = (uint8_t)len};
        (*count)++;
    }
    part->field = (uint8_t)n;
    return 0;
}

static int take_request_field(struct access_format *format, struct access_part *part, const char *name, size_t len,
                              char *err, size_t errlen)
{
    format->field_lens |= UINT64_C(1) << len;
    return take_field(format->fields, &format->field_count, part, name, len, "requests", err, errlen);
}

/* A field of responses: of those that the server writes into heads itself, nothing is kept. */
static int take_sent_field(struct access_format *format, struct access_part *part, const char *name, size_t len,
                           size_t place, char *err, size_t errlen)
{
    static const char *const own[] = {"connection", "content-length", "content-type", "date", "transfer-encoding"};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        if (strlen(own[i]) == len && memcmp(own[i], name, len) == 0) {
            return error_text(err, errlen, -EINVAL,
                              "no $sent_http_ for %s at character %zu: the server writes that field itself, and only "
                              "those that routes add can be logged",
                              own[i], place);
        }
    }
    return take_field(format->sent_fields, &format->sent_count, part, name, len, "responses", err, errlen);
}

/* The name of a field behind prefix, in lower case with '-'; or NULL if the variable has another prefix. */
static const char *take_prefix(char *name, size_t *len, const char *prefix)
{
    size_t prefix_len = strlen(prefix);
    if (*len <= prefix_len || *len >= VARIABLE_NAME_MAX || memcmp(name, prefix, prefix_len) != 0) {
        return NULL;
    }
    *len -= prefix_len;
    for (size_t i = prefix_len; i < prefix_len + *len; i++) {
        name[i] = name[i] == '_' ? '-' : ascii_lower(name[i]);
    }
    return name + prefix_len;
}

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Find the variable called name, len bytes of the format's own memory. Returns 0 or -EINVAL. */
static int find_variable(struct access_format *format, struct access_part *part, char *name, size_t len, size_t place,
                         char *err, size_t errlen)
{
    for (size_t i = 0; i < VARIABLE_NAMES; i++) {
        if (strlen(variable_names[i].text) == len && memcmp(variable_names[i].text, name, len) == 0) {
            part->variable = variable_names[i].variable;
            return part->variable == ACCESS_REMOTE_USER
                       ? take_request_field(format, part, user_field, sizeof user_field - 1, err, errlen)
                       : 0;
        }
    }
    const char *field = take_prefix(name, &len, "http_");
    if (field != NULL) {
        part->variable = ACCESS_FIELD;
        return take_request_field(format, part, field, len, err, errlen);
    }
    field = take_prefix(name, &len, "sent_http_");
    if (field != NULL) {
        part->variable = ACCESS_SENT_FIELD;
        return take_sent_field(format, part, field, len, place, err, errlen);
    }
    return refuse_name(name, len, place, err, errlen);
}

/* The text. */

/* Cut the text at its variables. base: how many bytes were before it, for places. Returns 0 or -EINVAL. */
static int cut_parts(struct access_format *format, char *text, size_t base, char *err, size_t errlen)
{
    const char *begin = text;
    char *put = text; /* "$$" makes the text shorter */
    struct access_part *part = &format->parts[0];
    *part = (struct access_part){.text = text};
    while (*text != '\0') {
        size_t place = base + (size_t)(text - begin) + 1;
        if (*text != '$' || text[1] == '$') {
            if ((unsigned char)*text < ' ' || *text == 0x7f) {
                return error_text(err, errlen, -EINVAL, "a control character at character %zu", place);
            }
            text += *text == '$';
            *put++ = *text++;
            continue;
        }
        bool has_brace = text[1] == '{';
        char *name = text + (has_brace ? 2 : 1);
        size_t len = 0;
        while (is_name_char(name[len])) {
            len++;
        }
        if (len == 0 || (has_brace && name[len] != '}')) {
            return error_text(err, errlen, -EINVAL,
                              "a $ without the name of a variable at character %zu (a dollar sign is written $$)",
                              place);
        }
        part->text_len = (uint16_t)(put - part->text);
        int rv = find_variable(format, part, name, len, place, err, errlen);
        if (rv < 0) {
            return rv;
        }
        format->is_timed = format->is_timed || part->variable == ACCESS_REQUEST_TIME;
        text = put = name + len + has_brace;
        *++part = (struct access_part){.text = put};
    }
    part->text_len = (uint16_t)(put - part->text);
    format->count = (unsigned)(part - format->parts) + 1;
    return 0;
}

/* What a line keeps for the parts behind each one, so that a long value never takes their place. */
static void keep_rest(struct access_format *format)
{
    size_t rest = 1; /* the newline */
    for (unsigned i = format->count; i > 0; i--) {
        format->parts[i - 1].rest = (uint16_t)rest;
        rest += format->parts[i - 1].text_len + (size_t)ACCESS_VALUE_LEAST;
    }
}

_Static_assert(ACCESS_FORMAT_MAX + ACCESS_PARTS_MAX * ACCESS_VALUE_LEAST + 1 < 4096,
               "texts and least values of every format fit into a line");

/* Another escape than ours would become part of each line. Returns 0 or -EINVAL. */
static int check_escape(const char *text, bool is_json, char *err, size_t errlen)
{
    static const char escape[] = "escape=";
    bool is_other = !is_json && strncmp(text, escape, sizeof escape - 1) == 0;
    return is_other ? error_text(err, errlen, -EINVAL,
                                 "\"%.*s\" at character 1: only \"escape=json \" can stand in front of the text",
                                 (int)strcspn(text, " "), text)
                    : 0;
}

/* Most likely the name of a format was meant, such as "JSON" or "common". */
static int refuse_constant(const char *text, char *err, size_t errlen)
{
    return error_text(err, errlen, -EINVAL,
                      "\"%.100s\" has no $variable, so all lines would be the same; \"combined\", \"json\" or a text "
                      "such as \"$remote_addr $status\" expected",
                      text);
}

int access_format_parse(struct access_format **format, const char *text, char *err, size_t errlen)
{
    static const char escape[] = "escape=json ";
    text = strcmp(text, "combined") == 0 ? format_combined : strcmp(text, "json") == 0 ? format_json : text;
    bool is_json = strncmp(text, escape, sizeof escape - 1) == 0;
    size_t base = is_json ? sizeof escape - 1 : 0, len = strlen(text), count = 1;
    for (const char *at = text; (at = strchr(at, '$')) != NULL; at += at[1] == '$' ? 2 : 1) {
        count++;
    }
    if (len == base || len > ACCESS_FORMAT_MAX) {
        return error_text(err, errlen, -EINVAL, "a format of 1 to %d bytes expected, got %zu", ACCESS_FORMAT_MAX,
                          len - base);
    }
    int rv = check_escape(text, is_json, err, errlen);
    if (rv < 0) {
        return rv;
    }
    if (count > ACCESS_PARTS_MAX) {
        return error_text(err, errlen, -EINVAL, "more than %d variables", ACCESS_PARTS_MAX - 1);
    }
    struct access_format *made = mem_zalloc(sizeof *made + count * sizeof made->parts[0] + len - base + 1 +
                                            ACCESS_COPY_SLACK);
    if (made == NULL) {
        return error_text(err, errlen, -ENOMEM, "%s", errno_text(ENOMEM));
    }
    char *copy = (char *)&made->parts[count];
    memcpy(copy, text + base, len - base + 1);
    made->references = 1;
    made->is_json = is_json;
    made->is_combined = text == format_combined;
    rv = cut_parts(made, copy, base, err, errlen);
    rv = rv == 0 && made->count == 1 ? refuse_constant(text, err, errlen) : rv;
    if (rv < 0) {
        mem_free(made);
        return rv;
    }
    keep_rest(made);
    *format = made;
    return 0;
}

struct access_format *access_format_ref(struct access_format *format)
{
    if (format != NULL) {
        __atomic_fetch_add(&format->references, 1, __ATOMIC_RELAXED);
    }
    return format;
}

void access_format_put(struct access_format *format)
{
    if (format != NULL && __atomic_fetch_sub(&format->references, 1, __ATOMIC_ACQ_REL) == 1) {
        mem_free(format);
    }
}
