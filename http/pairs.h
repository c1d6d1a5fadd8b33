#ifndef EVSERVE_HTTP_PAIRS_H
#define EVSERVE_HTTP_PAIRS_H

/* Names and values of a query, of cookies or of a form, decoded, in the order in which the client sent them. One block
 * of memory holds an index and all texts, each followed by NUL, so that asking for each of n pairs costs n steps and
 * not n times n: n is the client's to choose. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PAIRS_TEXT_MAX = INT32_MAX }; /* bytes of all texts of one block */

struct pair_place {
    uint32_t name, value; /* where they begin in the text; the NUL of a name stands before its value */
};

struct pairs {
    size_t count;               /* pairs that were added */
    size_t text_len;            /* bytes of text */
    char *text;                 /* behind the places */
    struct pair_place places[]; /* of each pair, and of the one that comes next */
};

/* Room for count pairs with text_len bytes of names and values. Returns NULL without memory, or for more than
 * PAIRS_TEXT_MAX. To be freed with mem_free(). */
struct pairs *pairs_create(size_t count, size_t text_len);

/* Add a pair as it is, or with name and value decoded (url_decode_component()). There must be room. */
void pairs_add(struct pairs *pairs, const char *name, size_t name_len, const char *value, size_t value_len);
void pairs_add_encoded(struct pairs *pairs, const char *name, size_t name_len, const char *value, size_t value_len);

/* Add a pair whose value comes in pieces: the name, each piece, the end. */
void pairs_begin(struct pairs *pairs, const char *name, size_t name_len);
void pairs_append(struct pairs *pairs, const char *piece, size_t len);
void pairs_end(struct pairs *pairs);

/* Make the pairs of a query (url_next_pair()). Returns 0, -E2BIG for more than max of them, or -ENOMEM. */
int pairs_of_query(struct pairs **pairs, const char *query, size_t len, size_t max);

/* The value of the first pair called name, or NULL. NULL pairs have none. */
const char *pairs_find(const struct pairs *pairs, const char *name);

/* The pair at index, from 0. Returns false past the last. */
bool pairs_at(const struct pairs *pairs, size_t index, const char **name, const char **value);

#endif
