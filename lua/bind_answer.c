/* What the prelude needs of C to make response objects: directories for app.file, times for header fields.
 *
 * Failure modes: every mistake raises an error that begins with the file and line of the script. */

#include "lua/bind_answer.h"

#include "http/file_reply.h"
#include "http/http_date.h"
#include "http/limits.h"
#include "http/response.h"
#include "http/site.h"
#include "lua/script_error.h"

#include <string.h>

/* check_root(directory): raises when files cannot be served from it. */
static int check_root(lua_State *L)
{
    const struct file_reply reply = {.root = luaL_checkstring(L, 1)};
    char err[SCRIPT_TEXT_MAX];
    if (strlen(reply.root) != lua_objlen(L, 1)) {
        script_raise(L, "app.file: root: the text contains a NUL byte");
    }
    if (file_reply_check(script_of(L)->site->replies, &reply, err, sizeof err) < 0) {
        script_raise(L, "app.file: root: %s", err);
    }
    return 0;
}

/* seconds(what, value): of a time with a unit. A bare number could be meant as seconds or as milliseconds; but for
 * 0. */
static int seconds(lua_State *L)
{
    const char *what = luaL_checkstring(L, 1);
    uint64_t ms = 0;
    char err[SCRIPT_TEXT_MAX];
    bool is_zero = lua_type(L, 2) == LUA_TNUMBER && lua_tonumber(L, 2) == 0;
    if (!is_zero && lua_type(L, 2) != LUA_TSTRING) {
        script_raise(L, "%s: a time with a unit such as \"1h\" expected", what);
    }
    if (!is_zero && limits_parse_value(LIMIT_MS, script_check_text(L, 2, what), &ms, err, sizeof err) < 0) {
        script_raise(L, "%s: %s", what, err);
    }
    uint64_t whole = ms / 1000;
    if (ms % 1000 != 0 || whole > INT32_MAX) {
        script_raise(L, "%s: \"%s\" is not a whole number of seconds below 68 years", what, lua_tostring(L, 2));
    }
    lua_pushnumber(L, (double)whole);
    return 1;
}

/* date(what, seconds): the text of a time since the epoch (RFC 9110 section 5.6.7). */
static int date(lua_State *L)
{
    static const double last = 253402300799; /* of the year 9999 */
    char text[HTTP_DATE_LEN];
    double time = lua_type(L, 2) == LUA_TNUMBER ? lua_tonumber(L, 2) : -1;
    if (!(time >= 0 && time <= last)) {
        script_raise(L, "%s: seconds since 1970 expected, such as os.time() gives them", lua_tostring(L, 1));
    }
    http_date_format((int64_t)time, text);
    lua_pushlstring(L, text, sizeof text);
    return 1;
}

void bind_answer(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"check_root", check_root},
        {"seconds", seconds},
        {"date", date},
        {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
}
