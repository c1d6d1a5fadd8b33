/* One pass over the text: route_pattern_parse() reads it segment by segment, appends literal text, decoded, to the
 * current piece, and opens a new piece at each parameter. A pattern that could never match, or would not mean what its
 * author thinks, is rejected with a sentence that says how to write it. */

#include "http/route_pattern.h"

#include "core/log.h"
#include "http/char_class.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { INT_DIGITS_MAX = 18, UUID_LEN = 36, QUOTED_MAX = 200, REASON_MAX = 320 };

#define NAME_START   "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_"
#define NAME_BYTES   NAME_START "0123456789"
#define TYPE_CHOICES "{int}, {alpha}, {alnum}, {hex}, {slug}, {uuid} or a set like {[a-z0-9-]+}"

/* The named types. The bytes that they accept are written as the inside of a set. */
static const struct {
    const char *name; /* between the braces */
    const char *set;  /* the bytes it accepts */
    uint32_t max_len; /* most of them */
    bool is_uuid;     /* and in that form */
} named_types[] = {
    /* the first is the one of is_int */
    {"int", "0-9", INT_DIGITS_MAX, false},      {"alpha", "a-zA-Z", UINT32_MAX, false},
    {"alnum", "a-zA-Z0-9", UINT32_MAX, false},  {"hex", "0-9a-fA-F", UINT32_MAX, false},
    {"slug", "a-zA-Z0-9_-", UINT32_MAX, false}, {"uuid", "0-9a-fA-F-", UUID_LEN, true},
};

/* A parse in progress. */
struct pattern_text {
    struct route_pattern *pattern; /* the result */
    const char *text;              /* all of the pattern */
    const char *at;                /* next byte to read */
    uint32_t used;                 /* bytes of pattern->bytes */
    const char *where;             /* for error texts */
    char *err;                     /* caller's buffer */
    size_t errlen;                 /* its size */
};

static int refuse_pattern(const struct pattern_text *source, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static int refuse_pattern(const struct pattern_text *source, const char *format, ...)
{
    char reason[REASON_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    error_text(source->err, source->errlen, -EINVAL, "%s%sbad route pattern \"%.*s%s\": %s", source->where,
               source->where[0] == '\0' ? "" : ": ", QUOTED_MAX, source->text,
               strlen(source->text) > QUOTED_MAX ? "..." : "", reason);
    for (size_t i = 0; i < source->errlen && source->err[i] != '\0'; i++) {
        if ((unsigned char)source->err[i] < ' ') {
            source->err[i] = '?'; /* the text becomes one line of a log */
        }
    }
    return -EINVAL;
}

static bool set_has(const struct route_type *type, unsigned char byte)
{
    return (type->bytes[byte / 64] >> (byte % 64) & 1) != 0;
}

static void set_add(struct route_type *type, unsigned first, unsigned last)
{
    for (unsigned byte = first; byte <= last; byte++) {
        type->byte_count += set_has(type, (unsigned char)byte) ? 0 : 1;
        type->bytes[byte / 64] |= UINT64_C(1) << (byte % 64);
    }
}

/* Add the inside of a set, "a-z0-9_-". Returns false if it is malformed. */
static bool set_parse(struct route_type *type, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned first = (unsigned char)text[i];
        unsigned last = first;
        bool is_range = i + 2 < len && text[i + 1] == '-';
        if (is_range) {
            last = (unsigned char)text[i + 2];
        } else if (first == '-' && i != 0 && i + 1 != len) {
            return false;
        }
        if (first <= ' ' || last > '~' || last < first || (is_range && (first == '-' || last == '-'))) {
            return false;
        }
        if (strchr("/[\\^", (int)first) != NULL || strchr("/[\\^", (int)last) != NULL) {
            return false;
        }
        set_add(type, first, last);
        i += is_range ? 2 : 0;
    }
    return len > 0;
}

/* Parse "{int}" or "{[a-z]+}" at source->at into the piece. */
static int parse_type(struct pattern_text *source, struct route_piece *piece)
{
    struct route_pattern *pattern = source->pattern;
    struct route_type *type = &pattern->types[pattern->type_count];
    const char *name = source->at + 1;
    size_t len = strcspn(name, *name == '[' ? "]" : "}/");
    len += *name == '[' ? strcspn(name + len, "}/") : 0;
    if (name[len] != '}') {
        return refuse_pattern(source, "'{' without '}'; a typed parameter is :name followed by %s", TYPE_CHOICES);
    }
    source->at = name + len + 1;
    *type = (struct route_type){.max_len = UINT32_MAX};
    piece->kind = PIECE_TYPED;
    piece->type = type;
    pattern->type_count++;
    if (*name == '[') {
        if (len >= 3 && memcmp(name + len - 2, "]+", 2) == 0 && set_parse(type, name + 1, len - 3)) {
            return 0;
        }
        return refuse_pattern(source,
                              "{%.*s} is not a set: printable ASCII characters and ranges, '-' itself first or last, "
                              "none of / [ \\ ^, one or more of them, as in {[a-z0-9-]+}",
                              (int)len, name);
    }
    for (size_t i = 0; i < sizeof named_types / sizeof *named_types; i++) {
        if (strlen(named_types[i].name) == len && memcmp(named_types[i].name, name, len) == 0) {
            set_parse(type, named_types[i].set, strlen(named_types[i].set));
            type->max_len = named_types[i].max_len;
            type->is_uuid = named_types[i].is_uuid;
            type->is_int = i == 0;
            return 0;
        }
    }
    return refuse_pattern(source, "unknown parameter type {%.*s}, expected one of %s", (int)len, name, TYPE_CHOICES);
}

/* Remember a parameter's name, len bytes within source->text. */
static int add_name(struct pattern_text *source, const char *name, size_t len)
{
    struct route_pattern *pattern = source->pattern;
    for (unsigned i = 0; i < pattern->name_count; i++) {
        const struct route_name *other = &pattern->names[i];
        if (other->len == len && memcmp(source->text + other->offset, name, len) == 0) {
            return refuse_pattern(source, "two parameters are called \"%.*s\"", (int)len, name);
        }
    }
    if (pattern->name_count == ROUTE_PARAMS_MAX) {
        return refuse_pattern(source, "more than %d parameters", ROUTE_PARAMS_MAX);
    }
    pattern->names[pattern->name_count++] = (struct route_name){(uint32_t)(name - source->text), (uint32_t)len};
    return 0;
}

static struct route_piece *add_piece(struct pattern_text *source, enum route_piece_kind kind)
{
    struct route_piece *piece = &source->pattern->pieces[source->pattern->piece_count++];
    *piece = (struct route_piece){.kind = kind, .text = source->pattern->bytes + source->used};
    return piece;
}

/* Parse ":name" or ":name{type}". append_literal() adds what follows in its segment. */
static int parse_param(struct pattern_text *source)
{
    const char *name = source->at + 1;
    size_t len = strspn(name, NAME_BYTES);
    if (len == 0 || strspn(name, NAME_START) == 0) {
        return refuse_pattern(source,
                              "':' must be followed by a name of letters, digits and '_' (write %%3A for a plain ':')");
    }
    int rv = add_name(source, name, len);
    if (rv < 0) {
        return rv;
    }
    struct route_piece *piece = add_piece(source, PIECE_PLAIN);
    source->at = name + len;
    return *source->at == '{' ? parse_type(source, piece) : 0;
}

/* Parse "*name" or "*", which ends the pattern. */
static int parse_rest(struct pattern_text *source)
{
    const char *name = source->at + 1;
    size_t len = strspn(name, NAME_BYTES);
    if (source->at[-1] != '/' || name[len] != '\0') {
        return refuse_pattern(source, "'*' and its name must be the whole last segment (write %%2A for a plain '*')");
    }
    if (len > 0 && strspn(name, NAME_START) == 0) {
        return refuse_pattern(source, "'*' must be followed by nothing, or by a name of letters, digits and '_' that "
                                      "does not begin with a digit");
    }
    int rv = len == 0 ? add_name(source, source->at, 1) : add_name(source, name, len);
    if (rv < 0) {
        return rv;
    }
    add_piece(source, PIECE_REST);
    source->at = name + len;
    return 0;
}

/* Decode one literal byte at source->at into *byte. */
static int parse_literal(struct pattern_text *source, char *byte)
{
    unsigned char raw = (unsigned char)*source->at;
    if (raw == '?' || raw == '#' || raw == '\\' || raw == '{' || raw == '}') {
        return refuse_pattern(source, "'%c' must be written %%%02X in a pattern%s", raw, raw,
                              raw == '?' || raw == '#' ? ", which is a path without a query"
                              : raw == '\\'            ? ""
                                                       : "; a parameter is :name or :name{type}");
    }
    if (raw < ' ' || raw == 0x7f) {
        return refuse_pattern(source, "a control character must be written %%%02X in a pattern", raw);
    }
    if (raw != '%') {
        *byte = *source->at++;
        return 0;
    }
    int high = char_hex_value(source->at[1]);
    int low = high < 0 ? -1 : char_hex_value(source->at[2]);
    if (low < 0) {
        return refuse_pattern(source, "'%%' must be followed by two hexadecimal digits (write %%25 for a plain '%%')");
    }
    *byte = (char)(high * 16 + low);
    if (*byte == '\0' || *byte == '/') {
        return refuse_pattern(source, "%.3s never matches: the server rejects such paths", source->at);
    }
    source->at += 3;
    return 0;
}

/* Append the literal byte at source->at to the current piece. */
static int append_literal(struct pattern_text *source)
{
    struct route_pattern *pattern = source->pattern;
    char byte = '\0';
    int rv = parse_literal(source, &byte);
    if (rv < 0) {
        return rv;
    }
    struct route_piece *last = pattern->piece_count == 0 ? NULL : &pattern->pieces[pattern->piece_count - 1];
    if (last == NULL || (last->kind != PIECE_LITERAL && byte == '/')) {
        last = add_piece(source, PIECE_LITERAL); /* text before the '/' belongs to the parameter */
    }
    pattern->bytes[source->used++] = byte;
    last->len++;
    return 0;
}

/* Whether the literal segment that was just read is "." or "..", which no normalised path has. */
static bool is_dot_segment(const struct route_pattern *pattern, uint32_t start, uint32_t end)
{
    return (end - start == 1 || end - start == 2) && memcmp(pattern->bytes + start, "..", end - start) == 0;
}

/* Parse one segment with the '/' before it. */
static int parse_segment(struct pattern_text *source)
{
    int rv = append_literal(source);
    uint32_t start = source->used;
    struct route_piece *param = NULL; /* the last one of the segment */
    while (rv == 0 && *source->at != '/' && *source->at != '\0') {
        if (*source->at == '*') {
            return parse_rest(source);
        }
        if (*source->at != ':') {
            rv = append_literal(source);
        } else if (param != NULL && param->len == 0) {
            return refuse_pattern(source,
                                  "two parameters of a segment need text between them, such as '.' or '-' (write "
                                  "%%3A for a plain ':')");
        } else {
            if (param != NULL) {
                param->kind = PIECE_INNER;
            }
            rv = parse_param(source);
            param = &source->pattern->pieces[source->pattern->piece_count - 1];
        }
    }
    if (rv == 0 && param == NULL && is_dot_segment(source->pattern, start, source->used)) {
        return refuse_pattern(source, "a segment \".\" or \"..\" never matches: dot segments are resolved first");
    }
    return rv;
}

int route_pattern_parse(struct route_pattern *pattern, const char *text, const char *where, char *err, size_t errlen)
{
    struct pattern_text source = {
        .pattern = pattern, .text = text, .at = text, .where = where, .err = err, .errlen = errlen};
    if (text[0] != '/') {
        return refuse_pattern(&source, "it must begin with '/'");
    }
    if (strlen(text) > ROUTE_PATTERN_MAX) {
        return refuse_pattern(&source, "longer than %d bytes", ROUTE_PATTERN_MAX);
    }
    pattern->piece_count = 0;
    pattern->name_count = 0;
    pattern->type_count = 0;
    int rv = 0;
    while (rv == 0 && *source.at != '\0') {
        rv = parse_segment(&source);
    }
    return rv;
}

uint16_t route_pattern_ints(const struct route_pattern *pattern)
{
    unsigned ints = 0, name = 0;
    for (unsigned i = 0; i < pattern->piece_count; i++) {
        const struct route_piece *piece = &pattern->pieces[i];
        ints |= piece->type != NULL && piece->type->is_int ? 1U << name : 0;
        name += piece->kind == PIECE_LITERAL ? 0 : 1;
    }
    return (uint16_t)ints;
}

/* A narrower type is tried first. The last comparison only makes the order total. */
static int type_compare(const struct route_type *a, const struct route_type *b)
{
    if (a->is_uuid != b->is_uuid) {
        return a->is_uuid ? -1 : 1;
    }
    if (a->byte_count != b->byte_count) {
        return a->byte_count < b->byte_count ? -1 : 1;
    }
    if (a->max_len != b->max_len) {
        return a->max_len < b->max_len ? -1 : 1;
    }
    return memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

/* An inner parameter ranks as the one that it would be at the end of its segment. */
static enum route_piece_kind rank_of(const struct route_piece *piece)
{
    return piece->kind != PIECE_INNER ? piece->kind : piece->type != NULL ? PIECE_TYPED : PIECE_PLAIN;
}

int route_piece_compare(const struct route_piece *a, const struct route_piece *b)
{
    enum route_piece_kind rank = rank_of(a);
    if (rank != rank_of(b)) {
        return rank < rank_of(b) ? -1 : 1;
    }
    int order = rank == PIECE_TYPED ? type_compare(a->type, b->type) : 0;
    if (order != 0) {
        return order;
    }
    if (a->len != b->len) {
        return a->len > b->len ? -1 : 1;
    }
    order = memcmp(a->text, b->text, a->len);
    return order != 0 ? order : (a->kind == PIECE_INNER) - (b->kind == PIECE_INNER);
}

uint32_t route_inner_len(const struct route_piece *piece, const char *segment, uint32_t len)
{
    const char *found = len <= 1 ? NULL : memmem(segment + 1, len - 1, piece->text, piece->len);
    return found == NULL ? 0 : (uint32_t)(found - segment);
}

static bool is_uuid(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        bool is_hyphen_place = i == 8 || i == 13 || i == 18 || i == 23;
        if ((text[i] == '-') != is_hyphen_place) {
            return false;
        }
    }
    return len == UUID_LEN;
}

bool route_type_accepts(const struct route_type *type, const char *text, size_t len)
{
    if (len > type->max_len || (type->is_uuid && !is_uuid(text, len))) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (!set_has(type, (unsigned char)text[i])) {
            return false;
        }
    }
    return true;
}
