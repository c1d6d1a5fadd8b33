#ifndef EVSERVE_LUA_STORE_CALL_H
#define EVSERVE_LUA_STORE_CALL_H

/* For store_object.c: the arguments of its functions, and their errors. Everything here may raise. */

#include "core/store.h"
#include "http/limits.h"
#include "http/number.h"
#include "lua/store_scope.h"

#include <stdbool.h>

/* The upvalues of the functions of store objects. */
enum { UP_SCOPE = 1, UP_META, UP_READ, UP_LIST, UP_COUNT = UP_LIST };

/* What Lua holds of a store: a number, no pointer. */
struct store_handle {
    uint32_t index; /* in the scope's uses */
};

/* A call of a method. */
struct store_call {
    lua_State *L;
    const char *what; /* "store:get" */
    struct store_scope *scope;
    const struct store_use *use;
    struct store_key key;
    char key_text[NUMBER_TEXT_MAX]; /* of a key that is a number */
};

/* The scope of the function that runs. Does not raise. */
static inline struct store_scope *store_call_scope(lua_State *L)
{
    return (struct store_scope *)lua_touserdata(L, lua_upvalueindex(UP_SCOPE));
}

/* Give back a buffer of the scope's that is larger than usual. Does not raise. */
void store_call_trim(struct store_scope *scope);

/* Raise an error that begins with what; that memory is short; that a value is too large. */
_Noreturn void store_call_refuse(lua_State *L, const char *what, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
_Noreturn void store_call_refuse_memory(lua_State *L);
_Noreturn void store_call_refuse_size(const struct store_call *call);

/* Begin a method: index 1 is the store. store_call_begin() takes the key at index 2, too. */
void store_call_check_store(struct store_call *call, lua_State *L, const char *what);
void store_call_begin(struct store_call *call, lua_State *L, const char *what);

/* The key at index 2: text, or a number, which becomes text with all its digits. */
void store_call_check_key(struct store_call *call);

/* What an amount is, for errors. */
struct store_amount {
    const char *what;    /* the function: "store:set" */
    const char *store;   /* the store's name; NULL before it has one */
    const char *name;    /* "ttl" */
    const char *example; /* "a duration such as \"30s\"" */
    enum limit_unit unit;
};

/* A whole number of units at index, or text with a unit. */
uint64_t store_call_amount(lua_State *L, int index, const struct store_amount *amount);

/* How long a key is to last, at index: milliseconds; 0 if there is none, or if it is math.huge. is_needed: it must be
 * there. */
int64_t store_call_ttl(const struct store_call *call, int index, bool is_needed);

/* A finite number at index, or another one if there is none; name is what it is, for errors. */
double store_call_number(const struct store_call *call, int index, const char *name, double absent);

/* The value at index, in the scope's buffer if it is no number. */
struct store_value store_call_value(const struct store_call *call, int index);

#endif
