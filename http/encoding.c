/* Accept-Encoding. A value is read element by element; each is a coding and perhaps a weight (RFC 9110 section
 * 12.4.2), and sets one number. */

#include "http/encoding.h"

#include "core/ascii.h"
#include "http/char_class.h"

#include <stdbool.h>
#include <string.h>

enum { QUALITY_ONE = 1000 };

static const struct {
    const char *name;   /* of the coding; NULL for none */
    const char *suffix; /* of files in it */
} encodings[ENCODING_COUNT] = {
    [ENCODING_IDENTITY] = {NULL, ""},
    [ENCODING_BR] = {"br", ".br"},
    [ENCODING_ZSTD] = {"zstd", ".zst"},
    [ENCODING_GZIP] = {"gzip", ".gz"},
};

const char *encoding_name(enum encoding encoding)
{
    return encodings[encoding].name;
}

const char *encoding_suffix(enum encoding encoding)
{
    return encodings[encoding].suffix;
}

enum encoding encoding_of_name(const char *name, size_t len)
{
    for (enum encoding encoding = ENCODING_BR; encoding < ENCODING_COUNT; encoding++) {
        size_t suffix_len = strlen(encodings[encoding].suffix);
        if (len > suffix_len && memcmp(name + len - suffix_len, encodings[encoding].suffix, suffix_len) == 0) {
            return encoding;
        }
    }
    return ENCODING_IDENTITY;
}

void encoding_wishes_init(struct encoding_wishes *wishes)
{
    for (int i = 0; i < ENCODING_COUNT; i++) {
        wishes->quality[i] = QUALITY_UNSAID;
    }
    wishes->rest = QUALITY_UNSAID;
}

/* Reading. */

struct text {
    const char *at, *end;
};

static void skip_whitespace(struct text *text)
{
    while (text->at < text->end && char_is_space(*text->at)) {
        text->at++;
    }
}

static bool is_one_of(const struct text *text, const char *set)
{
    return text->at < text->end && *text->at != '\0' && strchr(set, *text->at) != NULL;
}

/* qvalue: "0" or "1", and up to three digits behind a point, which after "1" are zeros. Returns -1 on anything else. */
static int read_quality(struct text *text)
{
    if (!is_one_of(text, "01")) {
        return -1;
    }
    int quality = *text->at++ == '1' ? QUALITY_ONE : 0;
    if (!is_one_of(text, ".")) {
        return quality;
    }
    text->at++;
    for (int unit = QUALITY_ONE / 10; unit > 0 && is_one_of(text, "0123456789"); unit /= 10) {
        quality += (*text->at++ - '0') * unit;
    }
    return quality <= QUALITY_ONE ? quality : -1;
}

/* weight: OWS ";" OWS "q=" qvalue, up to the end of the element. No weight counts as 1. Returns -1 on anything else. */
static int read_weight(struct text *text)
{
    skip_whitespace(text);
    if (text->at == text->end) {
        return QUALITY_ONE;
    }
    if (*text->at++ != ';') {
        return -1;
    }
    skip_whitespace(text);
    if (text->end - text->at < 2 || !ascii_equals(text->at, "q=", 2)) {
        return -1;
    }
    text->at += 2;
    int quality = read_quality(text);
    skip_whitespace(text);
    return text->at == text->end ? quality : -1;
}

/* The place for the quality of a coding, or NULL if the coding is unknown. */
static int16_t *find_wish(struct encoding_wishes *wishes, const char *name, size_t len)
{
    static const struct {
        const char *name;
        enum encoding encoding;
    } names[] = {
        {"gzip", ENCODING_GZIP},         {"br", ENCODING_BR}, {"zstd", ENCODING_ZSTD}, {"x-gzip", ENCODING_GZIP},
        {"identity", ENCODING_IDENTITY},
    };
    if (len == 1 && name[0] == '*') {
        return &wishes->rest;
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (ascii_is(name, len, names[i].name)) {
            return &wishes->quality[names[i].encoding];
        }
    }
    return NULL;
}

static void add_element(struct encoding_wishes *wishes, struct text element)
{
    skip_whitespace(&element);
    const char *name = element.at;
    while (element.at < element.end && !is_one_of(&element, "; \t")) {
        element.at++;
    }
    int16_t *wish = find_wish(wishes, name, (size_t)(element.at - name));
    if (wish == NULL) {
        return;
    }
    int quality = read_weight(&element);
    quality = quality < 0 ? 0 : quality;
    if (*wish == QUALITY_UNSAID || quality < *wish) {
        *wish = (int16_t)quality;
    }
}

void encoding_wishes_add(struct encoding_wishes *wishes, const char *value, size_t len)
{
    struct text rest = {value, value + len};
    while (rest.at < rest.end) {
        const char *comma = memchr(rest.at, ',', (size_t)(rest.end - rest.at));
        const char *end = comma == NULL ? rest.end : comma;
        add_element(wishes, (struct text){rest.at, end});
        rest.at = comma == NULL ? rest.end : comma + 1;
    }
}

/* Choosing. */

enum encoding encoding_choose_in(const struct encoding_wishes *wishes, const enum encoding *order, unsigned count)
{
    enum encoding best = ENCODING_IDENTITY;
    int best_quality = 0;
    for (unsigned i = 0; i < count; i++) {
        int quality = wishes->quality[order[i]] == QUALITY_UNSAID ? wishes->rest : wishes->quality[order[i]];
        if (quality > best_quality) {
            best = order[i];
            best_quality = quality;
        }
    }
    int identity = wishes->quality[ENCODING_IDENTITY];
    identity = identity == QUALITY_UNSAID ? wishes->rest : identity;
    return identity > best_quality ? ENCODING_IDENTITY : best;
}

enum encoding encoding_choose(const struct encoding_wishes *wishes, unsigned available)
{
    enum encoding order[ENCODING_COUNT];
    unsigned count = 0;
    for (enum encoding encoding = ENCODING_BR; encoding < ENCODING_COUNT; encoding++) {
        if ((available & 1U << encoding) != 0) {
            order[count++] = encoding;
        }
    }
    return encoding_choose_in(wishes, order, count);
}
