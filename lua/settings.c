/* Settings by name: the table of lua/settings.def, and app.set.
 *
 * Happy path: app.set hands each value to the limits of http/ or to the script's own settings; what the host fixed
 * stays as it is.
 *
 * Failure modes: every mistake raises an error that begins with the file and line of the script. */

#include "lua/settings.h"

#include "http/site.h"
#include "lua/state.h"

#include <errno.h>
#include <string.h>

const struct limit_info setting_table[] = {
#define SETTING(name, scope, unit, initial, least, most, what)                                                         \
    {#name,   LIMIT_##scope, LIMIT_##unit, offsetof(struct settings, LIMIT_FIELD_##unit(name)),                        \
     initial, least,         most,         what},
#include "lua/settings.def"
#undef SETTING
};
const size_t setting_table_len = sizeof setting_table / sizeof setting_table[0];

void settings_init(struct settings *settings)
{
    for (size_t i = 0; i < setting_table_len; i++) {
        memcpy((char *)settings + setting_table[i].offset, &setting_table[i].initial, sizeof(uint64_t));
    }
}

const struct limit_info *settings_find(const char *name)
{
    for (size_t i = 0; i < setting_table_len; i++) {
        if (strcmp(setting_table[i].name, name) == 0) {
            return &setting_table[i];
        }
    }
    return NULL;
}

uint64_t settings_get(const struct settings *settings, const struct limit_info *info)
{
    uint64_t value;
    memcpy(&value, (const char *)settings + info->offset, sizeof value);
    return value;
}

int settings_set(struct settings *settings, const struct limit_info *info, uint64_t value, char *err, size_t errlen)
{
    int rv = limit_check_value(info, value, err, errlen);
    if (rv == 0) {
        memcpy((char *)settings + info->offset, &value, sizeof value);
    }
    return rv;
}

int settings_fix(struct settings *settings, const struct settings *fixed, char *err, size_t errlen)
{
    int rv = 0;
    for (size_t i = 0; rv == 0 && i < setting_table_len; i++) {
        uint64_t value = settings_get(fixed, &setting_table[i]);
        rv = value == 0 ? 0 : settings_set(settings, &setting_table[i], value, err, errlen);
    }
    return rv;
}

/* app.set. */

static void push_names(lua_State *L, const struct limit_info *table, size_t len)
{
    int used = (int)lua_objlen(L, -1);
    for (size_t i = 0; i < len; i++) {
        lua_pushstring(L, table[i].name);
        lua_rawseti(L, -2, used + (int)i + 1);
    }
}

/* setting_names(): a list. */
static int lua_setting_names(lua_State *L)
{
    lua_newtable(L);
    push_names(L, limit_table, limit_table_len);
    push_names(L, setting_table, setting_table_len);
    return 1;
}

uint64_t script_check_setting(lua_State *L, int index, const struct limit_info *info, const char *what)
{
    static const char *const expected[] = {
        [LIMIT_MS] = "a number or a text such as \"30s\"",
        [LIMIT_BYTES] = "a number or a text such as \"64K\"",
        [LIMIT_COUNT] = "a number or a text such as \"100\"",
        [LIMIT_FLAG] = "true or false",
    };
    char err[SCRIPT_TEXT_MAX];
    uint64_t value = 0;
    int type = lua_type(L, index);
    if (type == LUA_TBOOLEAN && info->unit == LIMIT_FLAG) {
        return lua_toboolean(L, index) != 0;
    }
    if (info->unit == LIMIT_FLAG || (type != LUA_TNUMBER && type != LUA_TSTRING)) {
        script_raise(L, "%s: %s: %s expected, not %s", what, info->name, expected[info->unit], luaL_typename(L, index));
    }
    if (type == LUA_TNUMBER) {
        double number = lua_tonumber(L, index);
        if (!(number >= 0 && number < 9007199254740992.0) || number != (double)(uint64_t)number) {
            lua_pushnumber(L, number);
            script_raise(L, "%s: %s: %s is not a whole number", what, info->name, lua_tostring(L, -1));
        }
        value = (uint64_t)number;
    } else if (strlen(lua_tostring(L, index)) != lua_objlen(L, index)) {
        script_raise(L, "%s: %s: the text contains a NUL byte", what, info->name);
    } else if (limits_parse_value(info->unit, lua_tostring(L, index), &value, err, sizeof err) < 0) {
        script_raise(L, "%s: %s: %s", what, info->name, err);
    }
    if (limit_check_value(info, value, err, sizeof err) < 0) {
        script_raise(L, "%s: %s", what, err);
    }
    return value;
}

/* set(name, value): name is a setting. */
static int lua_set(lua_State *L)
{
    struct script *script = script_of(L);
    const char *name = luaL_checkstring(L, 1);
    const struct limit_info *limit = limits_find(name);
    const struct limit_info *info = limit != NULL ? limit : settings_find(name);
    char err[SCRIPT_TEXT_MAX];
    script_check_loading(L, "app.set");
    if (info == NULL) {
        script_raise(L, "app.set: unknown setting \"%.40s\"", name);
    }
    uint64_t value = script_check_setting(L, 2, info, "app.set"); /* within its range */
    if (limit != NULL) {
        (void)limits_set(&script->site->limits, limit, value, err, sizeof err);
    } else if (settings_get(&script->fixed, info) == 0) {
        (void)settings_set(&script->settings, info, value, err, sizeof err);
        memory_reset_mark(script);
    }
    return 0;
}

/* check_settings(): whether they fit together. */
static int lua_check_settings(lua_State *L)
{
    char err[SCRIPT_TEXT_MAX];
    if (limits_check(&script_of(L)->site->limits, err, sizeof err) < 0) {
        script_raise(L, "app.set: %s", err);
    }
    return 0;
}

void bind_settings(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"setting_names", lua_setting_names},
        {"set", lua_set},
        {"check_settings", lua_check_settings},
        {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
}
