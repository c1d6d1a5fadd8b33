#ifndef EVSERVE_HTTP_ROUTE_PATTERN_H
#define EVSERVE_HTTP_ROUTE_PATTERN_H

/* The syntax of route patterns (http/router.h describes it): text to pieces, and the precedence of pieces. For the
 * router, and for redirects that need the names of its parameters; no allocation. */

#include "http/route.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Matching asks about those before PIECE_REST most. */
enum route_piece_kind {
    PIECE_LITERAL, /* these bytes */
    PIECE_TYPED,   /* what is left of a segment, of a type */
    PIECE_PLAIN,   /* what is left of a segment */
    PIECE_REST,    /* everything */
    PIECE_INNER,   /* a segment up to the text that follows, perhaps of a type: another parameter comes behind that */
};

/* What a typed parameter accepts. */
struct route_type {
    uint64_t bytes[4];   /* set of the bytes it may have */
    uint32_t byte_count; /* how many are in it */
    uint32_t max_len;    /* most bytes of a value */
    bool is_uuid;        /* a fixed form beyond the set */
    bool is_int;         /* {int} itself, not a set of the same bytes */
};

struct route_piece {
    enum route_piece_kind kind;    /* what text and type mean */
    uint32_t len;                  /* of text */
    const char *text;              /* PIECE_LITERAL: the bytes, decoded; parameters: what follows in the segment */
    const struct route_type *type; /* of PIECE_TYPED, perhaps of PIECE_INNER, else NULL */
};

struct route_name {
    uint32_t offset; /* in the pattern */
    uint32_t len;    /* bytes */
};

enum { ROUTE_PIECES_MAX = 2 * ROUTE_PARAMS_MAX + 1 };

/* A parsed pattern. Pieces point into it, so it does not move. */
struct route_pattern {
    struct route_piece pieces[ROUTE_PIECES_MAX]; /* never two literals in a row */
    unsigned piece_count;                        /* of pieces, at least 1 */
    struct route_name names[ROUTE_PARAMS_MAX];   /* in order of appearance */
    unsigned name_count;                         /* of names */
    struct route_type types[ROUTE_PARAMS_MAX];   /* of typed pieces */
    unsigned type_count;                         /* of types */
    char bytes[ROUTE_PATTERN_MAX];               /* all literal text, decoded */
};

/* Parse text. Returns 0, or -EINVAL with a text that names where and the pattern, and says how to write it. */
int route_pattern_parse(struct route_pattern *pattern, const char *text, const char *where, char *err, size_t errlen);

/* The parameters of the type {int}: a set of 1 << index in names. */
uint16_t route_pattern_ints(const struct route_pattern *pattern);

/* Order of precedence of two pieces that could stand at one place: below 0 if a comes first, 0 if they are the
 * same. A total order, so that the order of registration never decides. */
int route_piece_compare(const struct route_piece *a, const struct route_piece *b);

/* How many bytes PIECE_INNER's value has in a segment of len bytes: those before the first place where the piece's text
 * is, at least one. 0 if there is none. */
uint32_t route_inner_len(const struct route_piece *piece, const char *segment, uint32_t len);

/* Whether a segment of len bytes, at least 1, is a value of the type. */
bool route_type_accepts(const struct route_type *type, const char *text, size_t len);

#endif
