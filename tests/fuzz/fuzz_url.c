/* Request targets (http/url.c). The input is a raw path, then a query, then a segment: a path that is taken is one that
 * cannot leave the root, and taking it again after encoding it changes nothing; the pairs of a query are parts of it in
 * their order; what was encoded is decoded to what it was. Inputs lie flush against a page that must not be touched,
 * and outputs have no byte too much. */

#include "http/url.h"

#include "core/mem.h"
#include "http/pairs.h"
#include "tests/lib/fuzz.h"

#include <string.h>

/* No NUL, no "." and no ".." between its slashes. */
static void check_normal(const char *path, size_t len)
{
    FUZZ_MUST(len > 0 && path[0] == '/' && memchr(path, '\0', len) == NULL);
    for (size_t at = 1; at <= len;) {
        const char *slash = memchr(path + at, '/', len - at);
        size_t end = slash == NULL ? len : (size_t)(slash - path);
        FUZZ_MUST(!(end - at == 1 && path[at] == '.'));
        FUZZ_MUST(!(end - at == 2 && path[at] == '.' && path[at + 1] == '.'));
        at = end + 1;
    }
}

static char *allocate(size_t size)
{
    char *block = malloc(size > 0 ? size : 1);
    FUZZ_MUST(block != NULL);
    return block;
}

/* Encode a normal path segment by segment. */
static size_t encode_path(const char *path, size_t len, char *out)
{
    size_t size = 0;
    for (size_t i = 0; i < len; i++) {
        if (path[i] == '/') {
            out[size++] = '/';
        } else {
            size += url_encode_segment(path + i, 1, out + size);
        }
    }
    return size;
}

static void check_path(const char *path, size_t len)
{
    const char *reason = NULL;
    size_t cap = len > 0 ? len : 1;
    char *out = allocate(cap), *encoded = allocate(3 * cap), *again = allocate(3 * cap);
    ssize_t rv = url_normalise_path(path, len, out, cap, &reason);
    FUZZ_MUST(rv == -400 ? reason != NULL : rv > 0 && (size_t)rv <= cap);
    if (rv > 0) {
        check_normal(out, (size_t)rv);
        size_t encoded_len = encode_path(out, (size_t)rv, encoded);
        ssize_t second = url_normalise_path(encoded, encoded_len, again, encoded_len, &reason);
        FUZZ_MUST(second == rv && memcmp(out, again, (size_t)rv) == 0);
    }
    free(out);
    free(encoded);
    free(again);
}

static void check_query(const char *query, size_t len)
{
    struct url_pair pair;
    const char *end = query + len, *last = query;
    while (url_next_pair(&query, &len, &pair)) {
        FUZZ_MUST(pair.name >= last && pair.name + pair.name_len <= end);
        FUZZ_MUST(pair.value >= last && pair.value + pair.value_len <= end);
        FUZZ_MUST(query + len == end && query > last);
        FUZZ_MUST(memchr(pair.name, '&', pair.name_len) == NULL && memchr(pair.value, '&', pair.value_len) == NULL);
        FUZZ_MUST(memchr(pair.name, '=', pair.name_len) == NULL);
        char *out = allocate(pair.value_len);
        FUZZ_MUST(url_decode_component(pair.value, pair.value_len, out) <= pair.value_len);
        free(out);
        last = query;
    }
    FUZZ_MUST(len == 0);
}

/* All pairs at once are the same as one after the other, decoded. */
static void check_pairs(const char *query, size_t len)
{
    struct pairs *pairs = NULL;
    struct url_pair pair;
    size_t count = 0;
    FUZZ_MUST(pairs_of_query(&pairs, query, len, SIZE_MAX) == 0);
    char *out = allocate(len);
    for (; url_next_pair(&query, &len, &pair); count++) {
        const char *name, *value;
        FUZZ_MUST(pairs_at(pairs, count, &name, &value));
        size_t name_len = url_decode_component(pair.name, pair.name_len, out);
        FUZZ_MUST(memcmp(name, out, name_len) == 0 && name[name_len] == '\0' && value == name + name_len + 1);
        size_t value_len = url_decode_component(pair.value, pair.value_len, out);
        FUZZ_MUST(memcmp(value, out, value_len) == 0 && value[value_len] == '\0');
        FUZZ_MUST(memchr(name, '\0', name_len) != NULL || pairs_find(pairs, name) != NULL);
    }
    FUZZ_MUST(pairs->count == count);
    free(out);
    mem_free(pairs);
}

static void check_segment(const char *text, size_t len)
{
    char *encoded = allocate(3 * len), *decoded = allocate(3 * len);
    size_t encoded_len = url_encode_segment(text, len, encoded);
    FUZZ_MUST(encoded_len >= len && encoded_len <= 3 * len);
    size_t decoded_len = url_decode_component(encoded, encoded_len, decoded);
    FUZZ_MUST(decoded_len == len && memcmp(decoded, text, len) == 0);
    free(encoded);
    free(decoded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len > GUARDED_BYTES) {
        return 0;
    }
    const char *text = guarded_at_end(fuzz_guarded(), (const char *)data, len);
    check_path(text, len);
    check_query(text, len);
    check_pairs(text, len);
    check_segment(text, len);
    return 0;
}
