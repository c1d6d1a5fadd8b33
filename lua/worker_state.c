/* Happy path: worker_state_open() makes a state, runs the prelude's parts for workers and the module, and keeps the
 * module's functions by number. worker_state_run() copies the arguments in, calls, and copies the results out.
 *
 * Failure modes: an error of the module while it loads is a text for whoever loads the script. An error in a call goes
 * back as a value with its traceback; one that cannot be copied goes back as its text. Without memory even for that the
 * call ends as WORKER_SHORT. LuaJIT collects garbage by itself in here, because compiled code calls no hook. */

#include "lua/worker_state.h"

#include "core/file_text.h"
#include "core/log.h"
#include "core/mem.h"
#include "lua/bind_app.h"
#include "lua/bind_crypto.h"
#include "lua/bind_json.h"
#include "lua/bind_number.h"
#include "lua/bind_password.h"
#include "lua/bind_prelude.h"
#include "lua/bind_seal.h"
#include "lua/bind_store.h"
#include "lua/bind_timer.h"
#include "lua/birth.h"
#include "lua/call.h"
#include "lua/collector.h"
#include "lua/compiler.h"
#include "lua/deadline.h"
#include "lua/folders.h"
#include "lua/memory.h"
#include "lua/only_lua.h"
#include "lua/prelude.h"
#include "lua/scratch.h"
#include "lua/script_error.h"
#include "lua/stack_guard.h"
#include "lua/value.h"

#include <errno.h>
#include <luajit.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Names. */

void worker_names_free(struct worker_names *names)
{
    for (uint32_t i = 0; i < names->count; i++) {
        mem_free(names->list[i]);
    }
    mem_free(names->list);
    *names = (struct worker_names){0};
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int keep_name(struct worker_names *names, const char *name)
{
    int rv = script_grow((void ***)&names->list, names->count, &names->capacity);
    char *copy = rv < 0 ? NULL : mem_copy_text(name);
    if (copy == NULL) {
        return -ENOMEM;
    }
    names->list[names->count++] = copy;
    return 0;
}

/* Building. */

struct build_call {
    const struct worker_module *module;
    struct worker_names *names;
    bool has_names; /* they are those of another state with the same module */
};

/* Set a field of the table `package`. */
static void set_package_path(lua_State *L, const char *name, const char *path)
{
    if (path != NULL) {
        lua_getglobal(L, "package");
        lua_pushstring(L, path);
        lua_setfield(L, -2, name);
        lua_pop(L, 1);
    }
}

void worker_state_push_core(lua_State *L, const struct script *folder_of)
{
    static const char *const kept[] = {"log", "now", "null", "version"};
    char folder[PATH_MAX];
    lua_newtable(L);
    bind_app(L);
    bind_timer(L);
    lua_newtable(L);
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        lua_getfield(L, -2, kept[i]);
        lua_setfield(L, -2, kept[i]);
    }
    lua_remove(L, -2);
    bind_prelude(L);
    bind_compiler(L);
    bind_stack_guard(L);
    bind_collector(L);
    bind_json(L);
    bind_number(L);
    bind_crypto(L);
    bind_seal(L);
    bind_password(L);
    bind_store(L);
    bind_folders(L);
    script_folder(folder_of, folder);
    lua_pushstring(L, folder);
    lua_setfield(L, -2, "folder");
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, "is_worker");
}

static int build_worker_state(lua_State *L)
{
    struct script *state = script_of(L);
    const struct build_call *call = lua_touserdata(L, 1);
    luaL_openlibs(L);
    only_lua_limit(L);
    birth_seed(L);
    compiler_start(L);
    if (state->load != NULL) {
        deadline_arm(state);
    }
    lua_pushcfunction(L, script_message_handler);
    script_set_ref(L, REF_DESCRIBE);
    worker_state_push_core(L, state->worker_of);
    prelude_run(L, evserve_worker_prelude);
    state->store_scope.rules.array_meta = state->refs[REF_ARRAY_META];
    set_package_path(L, "path", call->module->package_path);
    set_package_path(L, "cpath", call->module->package_cpath);
    return 0;
}

/* Push the code of the module. */
static void push_module(lua_State *L)
{
    struct script *state = script_of(L);
    if (!script_has_packed(state, script_path(state)) && file_text_is_passing(state->base_fd, script_path(state))) {
        luaL_error(L, "it is a pipe, a terminal or a socket; a module is read by each thread, so it must be a file");
    }
    struct write_buffer *file = script_lend_scratch(L, "the module");
    int rv = script_read_file(state, script_path(state), file);
    if (rv < 0) {
        script_return_scratch(L);
        luaL_error(L, "cannot open it: %s", script_open_error(script_path(state), rv));
    }
    rv = luaL_loadbufferx(L, write_buffer_data(file), write_buffer_len(file), state->chunk_name, "t");
    script_return_scratch(L);
    if (rv != 0) {
        lua_error(L);
    }
}

/* Read the names of the functions of the module at index. */
static void read_names(lua_State *L, int index, struct worker_names *names)
{
    lua_pushnil(L);
    while (lua_next(L, index) != 0) {
        bool is_named = lua_type(L, -2) == LUA_TSTRING && lua_isfunction(L, -1);
        size_t len;
        const char *name = is_named ? lua_tolstring(L, -2, &len) : NULL;
        if (is_named && (len > WORKER_NAME_MAX || strlen(name) < len)) {
            luaL_error(L, "the name of a function has more than %d bytes, or a NUL byte in it", (int)WORKER_NAME_MAX);
        }
        if (is_named && names->count == WORKER_FUNCTIONS_MAX) {
            luaL_error(L, "the module has more than %d functions", (int)WORKER_FUNCTIONS_MAX);
        }
        if (is_named && keep_name(names, name) < 0) {
            script_raise_memory(L);
        }
        lua_pop(L, 1);
    }
    if (names->count == 0) {
        luaL_error(L, "the module has no functions: it must return a table of them, such as { find = find }");
    }
    qsort(names->list, names->count, sizeof names->list[0], compare_names);
}

/* Keep the functions of the module at index. */
static void keep_functions(lua_State *L, int index, const struct worker_names *names)
{
    lua_createtable(L, (int)names->count, 0);
    for (uint32_t i = 0; i < names->count; i++) {
        lua_getfield(L, index, names->list[i]);
        if (!lua_isfunction(L, -1)) {
            luaL_error(L, "the module has no function %s on one thread, but on another", names->list[i]);
        }
        lua_rawseti(L, -2, (int)i + 1);
    }
    script_set_ref(L, REF_FUNCTIONS);
}

/* Run the module. */
static int load_worker_module(lua_State *L)
{
    const struct build_call *call = lua_touserdata(L, 1);
    lua_settop(L, 0);
    script_push_ref(script_of(L), L, REF_DESCRIBE);
    push_module(L);
    if (lua_pcall(L, 0, 1, 1) != 0) {
        lua_error(L);
    }
    if (!lua_istable(L, 2)) {
        luaL_error(L, "the module must return a table of functions, got %s", luaL_typename(L, 2));
    }
    if (!call->has_names) {
        read_names(L, 2, call->names);
    }
    keep_functions(L, 2, call->names);
    return 0;
}

/* It is loaded: from now on nobody stops it. */
static int settle_worker_state(lua_State *L)
{
    struct script *state = script_of(L);
    lua_sethook(L, NULL, 0, 0);
    state->on_count = NULL;
    state->load = NULL;
    state->has_compiled = true;
    compiler_settle(L);
    return 0;
}

int worker_state_open(struct script **state, const struct worker_module *module, struct worker_names *names, char *err,
                      size_t errlen)
{
    const struct script *script = module->script;
    struct build_call call = {.module = module, .names = names, .has_names = names->count > 0};
    struct script *made;
    struct run run;
    int rv = birth_create(&made, module->path, err, errlen);
    if (rv < 0) {
        return rv;
    }
    made->is_worker = true;
    made->worker_of = script;
    made->log = script->log;
    made->base_fd = script->base_fd;
    made->packed = script->packed;
    made->load = script->load;
    bind_store_init(made, script->store_scope.stores);
    made->on_file = script->on_file;
    made->on_file_arg = script->on_file_arg;
    made->is_repeat = true; /* that nothing can be compiled is worth one warning, which routes may give */
    made->settings.lua_memory_bytes = module->memory_bytes;
    memory_reset_mark(made);
    script_enter_stack(made);
    deadline_enter(made, 0, &run);
    rv = script_protect(made, build_worker_state, &call, err, errlen);
    collector_let(made->L);
    rv = rv < 0 ? rv : script_protect(made, load_worker_module, &call, err, errlen);
    deadline_leave(made);
    rv = rv < 0 ? rv : script_protect(made, settle_worker_state, NULL, err, errlen);
    made->worker_of = NULL;
    if (rv < 0) {
        worker_state_close(made);
        return rv;
    }
    made->phase = SCRIPT_READY;
    made->has_started = true;
    *state = made;
    return 0;
}

void worker_state_close(struct script *state)
{
    if (state != NULL) {
        birth_close_state(state);
        birth_free(state);
    }
}

/* Running. */

static struct value_rules rules_of(const struct script *state)
{
    return (struct value_rules){.array_meta = state->refs[REF_ARRAY_META]};
}

/* Push the traceback, without the frames at its end that are ours, which have no names; "" if there are no others. */
static void push_trace_of_call(lua_State *L)
{
    static const char ours[] = "\n\t[C]: at ";
    luaL_traceback(L, L, NULL, 1);
    size_t len;
    const char *text = lua_tolstring(L, -1, &len);
    const char *line = memrchr(text, '\n', len);
    while (line != NULL && strncmp(line, ours, sizeof ours - 1) == 0) {
        len = (size_t)(line - text);
        line = memrchr(text, '\n', len);
    }
    lua_pushlstring(L, text, line == NULL ? 0 : len);
    lua_remove(L, -2);
}

/* The message handler of a call: the error and its traceback as a table. An error for want of memory stays as it is. */
static int keep_error(lua_State *L)
{
    const struct script *state = script_of(L);
    lua_settop(L, 1);
    if (!script_is_memory_error(L, 1, state->run)) {
        lua_createtable(L, 2, 0);
        lua_insert(L, 1);
        push_trace_of_call(L);
        lua_rawseti(L, 1, 2);
        lua_rawseti(L, 1, 1);
    }
    return 1;
}

/* Append what the call returned, or raised, to its bytes. Raises if that cannot be copied. */
static void write_results(lua_State *L, struct worker_call *call, int first)
{
    const struct value_rules rules = rules_of(script_of(L));
    int count = lua_gettop(L) - first + 1;
    char where[32], err[SCRIPT_TEXT_MAX];
    luaL_checkstack(L, VALUE_SLOTS, "too many results");
    write_buffer_consume(&call->bytes, SIZE_MAX);
    if (count > WORKER_VALUES_MAX) {
        luaL_error(L, "%s: more than %d results", call->name, (int)WORKER_VALUES_MAX);
    }
    for (int i = 0; i < count; i++) {
        snprintf(where, sizeof where, "result %d", i + 1);
        int rv = value_write(L, first + i, &rules, &call->bytes, WORKER_CALL_BYTES_MAX, where, err, sizeof err);
        if (rv == -ENOBUFS) {
            luaL_error(L, "%s: the results have more than %d bytes", call->name, (int)WORKER_CALL_BYTES_MAX);
        } else if (rv == -ENOMEM) {
            script_raise_memory(L);
        } else if (rv < 0) {
            luaL_error(L, "%s: %s", call->name, err);
        }
    }
    call->count = (uint32_t)count;
}

/* Copy the arguments in, call the function, copy its results out. */
static int run_function(lua_State *L)
{
    struct worker_call *call = lua_touserdata(L, 1);
    const struct script *state = script_of(L);
    const struct value_rules rules = rules_of(state);
    lua_settop(L, 0);
    luaL_checkstack(L, (int)call->count + VALUE_SLOTS, "too many arguments");
    script_push_ref(state, L, REF_FUNCTIONS);
    lua_rawgeti(L, 1, (int)call->function + 1);
    const char *bytes = write_buffer_data(&call->bytes);
    for (uint32_t i = 0; i < call->count; i++) {
        bytes = value_read(L, &rules, bytes);
    }
    lua_call(L, (int)call->count, LUA_MULTRET);
    write_results(L, call, 2);
    call->outcome = WORKER_RETURNED;
    return 0;
}

/* The error on top of the stack is the result: what keep_error() has made of it. */
static void write_error(lua_State *L, struct worker_call *call)
{
    const struct value_rules rules = rules_of(script_of(L));
    char err[SCRIPT_TEXT_MAX];
    int top = lua_gettop(L);
    if (!lua_istable(L, top)) { /* memory, or an error in keep_error() */
        script_raise_memory(L);
    }
    luaL_checkstack(L, VALUE_SLOTS, "an error");
    lua_rawgeti(L, top, 1);
    lua_rawgeti(L, top, 2);
    write_buffer_consume(&call->bytes, SIZE_MAX);
    int rv = value_write(L, top + 1, &rules, &call->bytes, WORKER_CALL_BYTES_MAX, "", err, sizeof err);
    if (rv < 0) {
        script_push_error_text(L, top + 1);
        write_buffer_consume(&call->bytes, SIZE_MAX);
        rv = value_write(L, lua_gettop(L), &rules, &call->bytes, WORKER_CALL_BYTES_MAX, "", err, sizeof err);
    }
    rv = rv < 0 ? rv : value_write(L, top + 2, &rules, &call->bytes, SIZE_MAX, "", err, sizeof err);
    if (rv < 0) {
        script_raise_memory(L);
    }
    call->count = 2;
    call->outcome = WORKER_RAISED;
}

static int run_call(lua_State *L)
{
    struct worker_call *call = lua_touserdata(L, 1);
    lua_settop(L, 0);
    lua_pushcfunction(L, keep_error);
    lua_pushcfunction(L, run_function);
    lua_pushlightuserdata(L, call);
    if (lua_pcall(L, 1, 0, 1) != 0) {
        write_error(L, call);
    }
    return 0;
}

void worker_state_run(struct script *state, struct worker_call *call)
{
    struct run run;
    script_enter_stack(state);
    deadline_enter(state, 0, &run);
    if (lua_cpcall(state->L, run_call, call) != 0) {
        lua_settop(state->L, 0);
        write_buffer_consume(&call->bytes, SIZE_MAX);
        call->count = 0;
        call->outcome = WORKER_SHORT;
        call->held_bytes = state->memory_bytes;
    }
    deadline_leave(state);
    if (memory_is_low(state)) {
        memory_collect(state->L);
    } else {
        collector_look(state, state->L);
    }
}
