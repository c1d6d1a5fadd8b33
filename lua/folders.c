/* Where require looks: the script's own folder, then the directories of the templates in package.path and package.cpath
 * ("/usr/share/lua/5.1/?.lua"). And why a file cannot be read.
 *
 * Failure modes: a script may have put anything there; what is no text, or does not fit, names no directory. */

#include "lua/folders.h"

#include "core/file_text.h"
#include "core/log.h"
#include "core/packed.h"
#include "core/sys.h"
#include "lua/call.h"
#include "lua/scratch.h"
#include "lua/script_error.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

void script_folder(const struct script *script, char folder[PATH_MAX])
{
    const char *path = script_path(script);
    const char *slash = script->is_piped ? NULL : strrchr(path, '/');
    int len = slash == NULL ? 0 : slash == path ? 1 : (int)(slash - path);
    snprintf(folder, PATH_MAX, "%.*s", slash == NULL ? 1 : len, slash == NULL ? "." : path);
}

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

int folders_each(struct script *script, int (*fn)(void *arg, const char *folder), void *arg)
{
    struct folder_call call = {.fn = fn, .arg = arg};
    char err[SCRIPT_TEXT_MAX], folder[PATH_MAX];
    script_folder(script, folder);
    int rv = script->is_piped ? 0 : fn(arg, folder);
    if (rv != 0) {
        return rv;
    }
    rv = script_protect(script, list_folders, &call, err, sizeof err);
    return rv < 0 ? rv : call.rv;
}

/* Files in memory. */

bool script_has_packed(const struct script *script, const char *path)
{
    return packed_find(script->packed, path) != NULL;
}

int script_read_file(const struct script *script, const char *path, struct write_buffer *text)
{
    const struct packed_file *file = packed_find(script->packed, path);
    if (file == NULL) {
        return file_text_read(text, script->base_fd, path, SCRIPT_BYTES_MAX);
    }
    return file->len > SCRIPT_BYTES_MAX ? -EFBIG
                                        : write_buffer_append(text, file->content, file->len, SCRIPT_BYTES_MAX);
}

/* Why not. */

const char *script_open_error(const char *path, int error)
{
    /* landlock denies files that their owner and mode allow. */
    if (error == -EACCES && sys_may_read(AT_FDCWD, path) == 0) {
        return "Permission denied (by the sandbox, see --allow-read, or by another security module)";
    }
    return errno_text(-error);
}

/* Returns 0 or -errno. Does not wait for the writer of a pipe. */
static int try_open(lua_State *L, const char *path)
{
    if (script_has_packed(script_of(L), path)) {
        return 0;
    }
    int fd = sys_open(sys_base(script_of(L)->base_fd), path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    return fd < 0 ? fd : sys_close(fd);
}

/* can_read(path): whether the file can be opened. */
static int lua_can_read(lua_State *L)
{
    lua_pushboolean(L, try_open(L, luaL_checkstring(L, 1)) == 0);
    return 1;
}

/* why_unreadable(path): why a file that is there cannot be opened; nil when it can, or is not there. */
static int lua_why_unreadable(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    int rv = try_open(L, path);
    if (rv == 0 || rv == -ENOENT || rv == -ENOTDIR) {
        return 0;
    }
    lua_pushstring(L, script_open_error(path, rv));
    return 1;
}

/* Reading. */

/* read_file(path): the text of a file, or nil and what is wrong. What reads files in LuaJIT itself leaves them open
 * when memory fails. */
static int lua_read_file(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    struct write_buffer *text = script_lend_scratch(L, "loadfile");
    int rv = script_read_file(script_of(L), path, text);
    if (rv < 0) {
        script_return_scratch(L);
        lua_pushnil(L);
        lua_pushfstring(L, "cannot open %s: %s", path, script_open_error(path, rv));
        return 2;
    }
    lua_pushlstring(L, write_buffer_data(text), write_buffer_len(text));
    script_return_scratch(L);
    return 1;
}

/* note_file(path, what): a module, or other code, is about to be read; data has been read, or is about to be written.
 * The host may want to know. Of code and data that are no modules only what is read at start-up counts. */
static int lua_note_file(lua_State *L)
{
    static const char *const names[] = {"module", "code", "read", "written", NULL};
    static const enum script_file meanings[] = {SCRIPT_FILE_CODE, SCRIPT_FILE_CODE, SCRIPT_FILE_READ,
                                                SCRIPT_FILE_WRITTEN};
    const struct script *script = script_of(L);
    const char *path = luaL_checkstring(L, 1);
    int what = luaL_checkoption(L, 2, NULL, names);
    bool is_late = script->has_started && (what == 1 || what == 2);
    if (script->on_file != NULL && !is_late && !script_has_packed(script, path)) {
        script->on_file(script->on_file_arg, path, meanings[what]);
    }
    return 0;
}

/* script_folder(): the script's folder; nil for one from a pipe. */
static int lua_script_folder(lua_State *L)
{
    char folder[PATH_MAX];
    script_folder(script_of(L), folder);
    lua_pushstring(L, script_of(L)->is_piped ? NULL : folder);
    return 1;
}

void bind_folders(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"script_folder", lua_script_folder}, {"can_read", lua_can_read},   {"why_unreadable", lua_why_unreadable},
        {"note_file", lua_note_file},         {"read_file", lua_read_file}, {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
}
