#ifndef EVSERVE_LUA_ANCHOR_H
#define EVSERVE_LUA_ANCHOR_H

/* Strings that C sends from where Lua has them. */

#include "lua/state.h"

struct exchange;

enum { BORROW_MIN = 8192 }; /* a Lua string of this length or more is sent from where it is, a shorter one copied */

/* A Lua string that must stay while C sends it. */
struct anchor {
    struct script *script;     /* whose it is */
    struct anchor *next_free;  /* in the list of those in no use */
    const char *data;          /* bytes of the string */
    size_t len;                /* of data */
    int index;                 /* in the table REF_ANCHORS */
    struct exchange *exchange; /* whose response it is; NULL before, and then it is in no list */
    struct anchor *older;      /* in the list of those that answer */
    struct anchor *newer;
    bool is_cut; /* its response is being cut */
};

/* Keep the string at index of L alive until script_release() is called with the anchor. Raises (memory). */
struct anchor *script_anchor(lua_State *L, int index);

/* Let it go. anchor is a struct anchor. */
void script_release(void *anchor);

/* The string is the response of exchange, or the next part of it: from now on it may be cut when its client does not
 * take it. */
void anchor_send(struct anchor *anchor, struct exchange *exchange);

/* How many bytes of strings anchors hold, each string once. */
size_t anchor_unsent_bytes(const struct script *script);

/* Free all of a script whose Lua state is closed. */
void anchor_free_all(struct script *script);

#endif
