/* Happy path: regex() runs a pattern over a text and says where the match is; match_table() makes a table of the groups
 * of that match.
 *
 * Failure modes: whatever goes wrong with a pattern or a match is returned as a text. The deadline is looked at behind
 * each match, which may have taken a while. */

#include "lua/bind_regex.h"

#include "lua/hook.h"
#include "lua/regex.h"
#include "lua/scratch.h"
#include "lua/script_error.h"

#include <errno.h>

/* load_regex(): true, or nil and why there are no regular expressions. */
static int lua_load_regex(lua_State *L)
{
    char err[REGEX_ERROR_MAX];
    if (regex_load(err, sizeof err) < 0) {
        lua_pushnil(L);
        lua_pushstring(L, err);
        return 2;
    }
    lua_pushboolean(L, 1);
    return 1;
}

static struct regex_cache *check_cache(lua_State *L)
{
    struct script *script = script_of(L);
    if (script->regexes == NULL) {
        script->regexes = regex_cache_create();
    }
    if (script->regexes == NULL) {
        script_raise_memory(L);
    }
    return script->regexes;
}

/* Nil, and the text of an error; the numbers are those that drivers for PCRE know. */
static int give_match_error(lua_State *L, int rv)
{
    lua_pushnil(L);
    switch (rv) {
    case -ERANGE:
        lua_pushfstring(L,
                        "pcre_exec() failed: -8 (the match takes more than %d steps, more than %d ms, or too much "
                        "memory)",
                        (int)REGEX_STEPS_MAX, (int)REGEX_TIME_MAX_MS);
        break;
    case -EILSEQ:
        lua_pushliteral(L, "pcre_exec() failed: -10 (the subject is not UTF-8)");
        break;
    default:
        lua_pushfstring(L, "pcre_exec() failed: %s", rv == -ENOMEM ? "-6 (out of memory)" : "-24 (bad offset)");
        break;
    }
    return 2;
}

/* Find the pattern at index 2 with the options at index 3, for a subject of so many bytes. Returns false with nil and a
 * text pushed. */
static bool find_regex(lua_State *L, struct regex_cache *cache, size_t subject_len, struct regex **regex)
{
    char err[REGEX_ERROR_MAX];
    size_t len;
    const char *pattern = luaL_checklstring(L, 2, &len);
    unsigned options = (unsigned)luaL_checkinteger(L, 3) | (subject_len > REGEX_SHORT_MAX ? REGEX_TIMED : 0);
    if (regex_find(cache, pattern, len, options, regex, err, sizeof err) == 0) {
        return true;
    }
    lua_pushnil(L);
    lua_pushfstring(L, "pcre_compile() failed: %s", err);
    return false;
}

/* Append the value on top of the stack, which is popped, to the list that the table has under the key below it. */
static void append_to_list(lua_State *L, int table)
{
    lua_pushvalue(L, -2);
    lua_rawget(L, table);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -3);
        lua_pushvalue(L, -2);
        lua_rawset(L, table);
    }
    lua_insert(L, -2);
    lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
    lua_pop(L, 1);
}

/* Groups that have names. may_repeat: the names have lists, of those that were set. */
static void set_names(lua_State *L, int table, const struct regex *regex, bool may_repeat)
{
    const char *name;
    unsigned group;
    for (unsigned n = 0; regex_name(regex, n, &name, &group); n++) {
        lua_pushstring(L, name);
        lua_rawgeti(L, table, (int)group);
        if (!may_repeat) {
            lua_rawset(L, table);
            continue;
        }
        if (lua_toboolean(L, -1)) {
            append_to_list(L, table);
        } else {
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
    }
}

/* Fill the table at index with the groups of the match that was just found in subject. */
static void fill_table(lua_State *L, int table, const struct regex_cache *cache, const struct regex *regex, int set,
                       unsigned options)
{
    const char *subject = lua_tolstring(L, 1, NULL);
    size_t begin, end;
    for (unsigned group = 0; group <= regex_groups(regex); group++) {
        if (group < (unsigned)set && regex_group(cache, group, &begin, &end)) {
            lua_pushlstring(L, subject + begin, end - begin);
        } else {
            lua_pushboolean(L, 0);
        }
        lua_rawseti(L, table, (int)group);
    }
    set_names(L, table, regex, (options & REGEX_DUPLICATES) != 0);
}

/* regex(subject, pattern, options, offset, is_checked, group, table): where a group of the first match from offset on
 * begins and ends, counted from 0, the end behind its last byte; and where the match ends. is_checked: as in regex.h.
 * table, if given, gets the groups. Nil: there is none, or, with a text, why not; false: there is a match, but the
 * group is no part of it. */
static int lua_regex(lua_State *L)
{
    size_t len, begin, end, match_begin, match_end;
    struct regex *regex;
    lua_settop(L, 7);
    const char *subject = luaL_checklstring(L, 1, &len);
    lua_Number offset = luaL_checknumber(L, 4);
    unsigned group = (unsigned)luaL_optinteger(L, 6, 0);
    struct regex_cache *cache = check_cache(L);
    hook_look_soon(script_of(L));
    if (!find_regex(L, cache, len, &regex)) {
        return 2;
    }
    if (group > regex_groups(regex)) {
        script_raise(L, "ngx.re.find: the pattern has no group %d", (int)group);
    }
    if (!(offset >= 0 && offset <= (lua_Number)len)) {
        return 0;
    }
    int rv = regex_match(cache, regex, subject, len, (size_t)offset, lua_toboolean(L, 5) != 0);
    if (rv <= 0) {
        return rv < 0 ? give_match_error(L, rv) : 0;
    }
    bool is_part = group < (unsigned)rv && regex_group(cache, group, &begin, &end);
    if (!regex_group(cache, 0, &match_begin, &match_end)) {
        return give_match_error(L, -EINVAL);
    }
    if (lua_istable(L, 7)) {
        (void)script_lend_scratch(L, "ngx.re"); /* compiled code must not collect: a finalizer may use the cache */
        fill_table(L, 7, cache, regex, rv, (unsigned)lua_tointeger(L, 3));
        script_return_scratch(L);
    }
    if (is_part) {
        lua_pushnumber(L, (lua_Number)begin);
        lua_pushnumber(L, (lua_Number)end);
    } else {
        lua_pushboolean(L, 0);
        lua_pushboolean(L, 0);
    }
    lua_pushnumber(L, (lua_Number)match_end);
    return 3;
}

void bind_regex(lua_State *L)
{
    static const luaL_Reg functions[] = {{"load_regex", lua_load_regex}, {"regex", lua_regex}, {NULL, NULL}};
    luaL_register(L, NULL, functions);
}
