/* Where require looks: the directories of the templates in package.path and package.cpath ("/usr/share/lua/5.1/?.lua").
 *
 * Failure modes: a script may have put anything there; what is no text, or does not fit, names no directory. */

#include "lua/script.h"
#include "lua/state.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

struct folder_call {
    int (*fn)(void *arg, const char *folder);
    void *arg;
    int rv; /* of fn */
};

/* The directory before the first "?" of a template of len bytes. */
static void tell_folder(struct folder_call *call, const char *template, size_t len)
{
    const char *mark = memchr(template, '?', len);
    const char *end = mark == NULL ? template + len : mark;
    const char *slash = memrchr(template, '/', (size_t)(end - template));
    char folder[PATH_MAX];
    if (template[0] != '/' || slash == NULL || slash == template || slash - template >= PATH_MAX) {
        return;
    }
    snprintf(folder, sizeof folder, "%.*s", (int)(slash - template), template);
    call->rv = call->fn(call->arg, folder);
}

static int list_folders(lua_State *L)
{
    static const char *const fields[] = {"path", "cpath"};
    struct folder_call *call = lua_touserdata(L, 1);
    lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
    lua_getfield(L, -1, "package");
    for (size_t i = 0; i < 2 && lua_istable(L, -1); i++) {
        lua_getfield(L, -1, fields[i]);
        const char *list = lua_tostring(L, -1);
        while (list != NULL && *list != '\0' && call->rv == 0) {
            size_t len = strcspn(list, ";");
            tell_folder(call, list, len);
            list += len + strspn(list + len, ";");
        }
        lua_pop(L, 1);
    }
    return 0;
}

int script_each_folder(struct script *script, int (*fn)(void *arg, const char *folder), void *arg)
{
    struct folder_call call = {.fn = fn, .arg = arg};
    char err[SCRIPT_TEXT_MAX];
    int rv = script_protect(script, list_folders, &call, err, sizeof err);
    return rv < 0 ? rv : call.rv;
}
