/* No failure modes: who calls has got the memory. */

#include "http/host/evs_block.h"

#include "evserve.h"

#include <string.h>

void *evs_block_put(struct evs_block *block, const void *from, size_t size)
{
    void *copy = block->data == NULL ? NULL : memcpy(block->data + block->used, from, size);
    block->used += (size + sizeof(void *) - 1) / sizeof(void *) * sizeof(void *); /* what comes next is aligned */
    return copy;
}

const char *evs_block_text(struct evs_block *block, const char *text)
{
    return text == NULL ? NULL : evs_block_put(block, text, strlen(text) + 1);
}

const char *const *evs_block_texts(struct evs_block *block, const char *const *texts)
{
    size_t count = 0;
    while (texts != NULL && texts[count] != NULL) {
        count++;
    }
    const char **copy = texts == NULL ? NULL : evs_block_put(block, texts, (count + 1) * sizeof texts[0]);
    for (size_t i = 0; i < count; i++) {
        const char *text = evs_block_text(block, texts[i]);
        if (copy != NULL) {
            copy[i] = text;
        }
    }
    return copy;
}

const struct evs_limits *evs_block_limits(struct evs_block *block, const struct evs_limits *limits)
{
    struct evs_limits whole = {0};
    if (limits == NULL) {
        return NULL;
    }
    memcpy(&whole, limits, limits->size < sizeof whole ? limits->size : sizeof whole);
    whole.size = limits->size;
    return evs_block_put(block, &whole, sizeof whole);
}

const struct evs_field *evs_block_fields(struct evs_block *block, const struct evs_field *fields)
{
    size_t count = 0;
    while (fields != NULL && fields[count].name != NULL) {
        count++;
    }
    struct evs_field *copy = fields == NULL ? NULL : evs_block_put(block, fields, (count + 1) * sizeof fields[0]);
    for (size_t i = 0; i < count; i++) {
        struct evs_field field = {.name = evs_block_text(block, fields[i].name)};
        field.value = evs_block_text(block, fields[i].value);
        if (copy != NULL) {
            copy[i] = field;
        }
    }
    return copy;
}
