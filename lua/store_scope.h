#ifndef EVSERVE_LUA_STORE_SCOPE_H
#define EVSERVE_LUA_STORE_SCOPE_H

/* The stores that a Lua state uses: the script's, or that of a worker's thread. */

#include "core/stores.h"
#include "core/write_buffer.h"
#include "lua/value.h"

#include <lauxlib.h>
#include <lua.h>
#include <stddef.h>
#include <stdint.h>

struct log;
struct store;

struct store_use {
    struct store *store;           /* kept */
    uint64_t size;                 /* that was asked for; 0: none was */
    const void *object;            /* the Lua object, to be recognized; NULL: there is none yet */
    char name[STORE_NAME_MAX + 1]; /* of the store */
};

struct store_scope {
    struct stores *stores;    /* where they come from: a reference; NULL before the first use of own ones */
    struct store_use **uses;  /* use_count of them; indices are what Lua objects hold */
    uint32_t use_count;       /* up to STORES_MAX */
    struct write_buffer text; /* a value on its way into a store */
    void *argument;           /* of a call in protected mode that begins: see store_object.c */
    struct value_rules rules; /* how the state copies values */
    void (*raise)(lua_State *L, const char *format, ...); /* raises an error; as luaL_error(), but like printf(3) */
};

/* A scope of stores, which it refers to. NULL: it has some of its own. */
void store_scope_init(struct store_scope *scope, struct stores *stores,
                      void (*raise)(lua_State *L, const char *format, ...));

/* Let go of all stores. The Lua state is closed. */
void store_scope_done(struct store_scope *scope);

/* Use the store of a name, which has size bytes if it is new; 0: as it is, or the usual ones. Returns its index in
 * uses, or -errno with a text in err. Does not raise. */
int store_scope_open(struct store_scope *scope, const char *name, uint64_t size, char *err, size_t errlen);

/* The script has been loaded: stores that had another size get the one that it asks for. */
void store_scope_settle(const struct store_scope *scope, const struct log *log);

#endif
