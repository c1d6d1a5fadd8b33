/* Pairs, decoded into one block: an index in front, the texts behind it.
 *
 * Happy path: whoever knows how many pairs there can be makes room for all of them at once, since decoding makes
 * nothing longer. Failure: only creating can fail. */

#include "http/pairs.h"

#include "core/mem.h"
#include "http/url.h"

#include <errno.h>
#include <string.h>

struct pairs *pairs_create(size_t count, size_t text_len)
{
    if (text_len > PAIRS_TEXT_MAX || count > (PAIRS_TEXT_MAX - text_len) / 2) {
        return NULL;
    }
    size_t places_size = (count + 1) * sizeof(struct pair_place);
    struct pairs *pairs = mem_alloc(sizeof *pairs + places_size + text_len + 2 * count);
    if (pairs != NULL) {
        *pairs = (struct pairs){.text = (char *)pairs->places + places_size};
    }
    return pairs;
}

void pairs_append(struct pairs *pairs, const char *piece, size_t len)
{
    memcpy(pairs->text + pairs->text_len, piece, len);
    pairs->text_len += len;
}

/* A name or a value is complete. Returns where the next text begins. */
static uint32_t end_pair_text(struct pairs *pairs)
{
    pairs->text[pairs->text_len++] = '\0';
    return (uint32_t)pairs->text_len;
}

static void append_decoded(struct pairs *pairs, const char *text, size_t len)
{
    pairs->text_len += url_decode_component(text, len, pairs->text + pairs->text_len);
}

void pairs_begin(struct pairs *pairs, const char *name, size_t name_len)
{
    pairs->places[pairs->count].name = (uint32_t)pairs->text_len;
    pairs_append(pairs, name, name_len);
    pairs->places[pairs->count].value = end_pair_text(pairs);
}

void pairs_end(struct pairs *pairs)
{
    pairs->places[++pairs->count].name = end_pair_text(pairs);
}

void pairs_add(struct pairs *pairs, const char *name, size_t name_len, const char *value, size_t value_len)
{
    pairs_begin(pairs, name, name_len);
    pairs_append(pairs, value, value_len);
    pairs_end(pairs);
}

void pairs_add_encoded(struct pairs *pairs, const char *name, size_t name_len, const char *value, size_t value_len)
{
    pairs->places[pairs->count].name = (uint32_t)pairs->text_len;
    append_decoded(pairs, name, name_len);
    pairs->places[pairs->count].value = end_pair_text(pairs);
    append_decoded(pairs, value, value_len);
    pairs_end(pairs);
}

int pairs_of_query(struct pairs **pairs, const char *query, size_t len, size_t max)
{
    struct url_pair pair;
    const char *at = query;
    size_t count = 0, text_len = 0;
    for (size_t left = len; url_next_pair(&at, &left, &pair); count++) {
        text_len += pair.name_len + pair.value_len;
    }
    if (count > max) {
        return -E2BIG;
    }
    *pairs = pairs_create(count, text_len);
    if (*pairs == NULL) {
        return -ENOMEM;
    }
    for (at = query; url_next_pair(&at, &len, &pair);) {
        pairs_add_encoded(*pairs, pair.name, pair.name_len, pair.value, pair.value_len);
    }
    return 0;
}

const char *pairs_find(const struct pairs *pairs, const char *name)
{
    size_t name_len = strlen(name);
    for (size_t i = 0; pairs != NULL && i < pairs->count; i++) {
        const struct pair_place *place = &pairs->places[i];
        /* A name with a NUL in it is not the shorter one that C would take it for. */
        if (place->value - place->name == name_len + 1 && memcmp(pairs->text + place->name, name, name_len) == 0) {
            return pairs->text + place->value;
        }
    }
    return NULL;
}

bool pairs_at(const struct pairs *pairs, size_t index, const char **name, const char **value)
{
    if (pairs == NULL || index >= pairs->count) {
        return false;
    }
    *name = pairs->text + pairs->places[index].name;
    *value = pairs->text + pairs->places[index].value;
    return true;
}
