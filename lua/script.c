/* One script and its Lua state.
 *
 * Happy path: script_open() makes the state, runs the prelude and the script, puts middleware around the routes, and
 * freezes the globals. From then on requests and timers enter through coro.c, until script_close().
 *
 * Failure modes: whatever goes wrong while the script starts becomes one line that begins with file and line. All that
 * Lua code can reach is owned by the state or by struct script, so an error may jump out of anything. */

#include "lua/script.h"

#include "core/file_text.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "lua/collector.h"
#include "lua/coro.h"
#include "lua/only_lua.h"
#include "lua/prelude.h"
#include "lua/state.h"

#include <errno.h>
#include <fcntl.h>
#include <luajit.h>
#include <lualib.h>
#include <stdio.h>
#include <string.h>

void script_set_ref(lua_State *L, enum script_ref ref)
{
    struct script *script = script_of(L);
    script->refs[ref] = luaL_ref(L, LUA_REGISTRYINDEX);
}

void script_set_methods(lua_State *L, const luaL_Reg *methods, const char *name, enum script_ref ref)
{
    lua_newtable(L);
    lua_newtable(L);
    luaL_register(L, NULL, methods);
    lua_setfield(L, -2, "__index");
    lua_pushstring(L, name);
    lua_setfield(L, -2, "__metatable");
    script_set_ref(L, ref);
}

void *script_check_object(lua_State *L, int index, enum script_ref meta, size_t size, const char *what)
{
    if (lua_type(L, index) == LUA_TUSERDATA && lua_objlen(L, index) == size && lua_getmetatable(L, index)) {
        script_push_ref(script_of(L), L, meta);
        bool is_same = lua_rawequal(L, -1, -2) != 0;
        lua_pop(L, 2);
        if (is_same) {
            return lua_touserdata(L, index);
        }
    }
    script_raise(L, "%s: call it as a method, with a colon", what);
}

int script_call(struct script *script, int nargs, int nresults, char *err, size_t errlen)
{
    struct run run;
    script_enter_stack(script);
    int handler = lua_gettop(script->L) - nargs;
    script_push_ref(script, script->L, REF_DESCRIBE);
    lua_insert(script->L, handler);
    deadline_enter(script, script->has_started ? script->settings.handler_cpu_ms : 0, &run);
    int rv = lua_pcall(script->L, nargs, nresults, handler);
    deadline_leave(script);
    lua_remove(script->L, handler);
    if (script->running == NULL) {
        collector_look(script, script->L);
    }
    if (rv == 0) {
        return 0;
    }
    /* One that went through pcall or require has no code that says so. */
    bool is_short = rv == LUA_ERRMEM || script_is_memory_error(script->L, -1, &run);
    if (is_short && run.refused_bytes > 0) {
        char text[SCRIPT_TEXT_MAX];
        memory_describe(script, &run, text, sizeof text);
        lua_pop(script->L, 1);
        return error_text(err, errlen, -ENOMEM, "%s: %s", script_path(script), text);
    }
    return script_describe_error(script, is_short ? -ENOMEM : -EINVAL, err, errlen);
}

int script_protect(struct script *script, lua_CFunction fn, void *arg, char *err, size_t errlen)
{
    int rv = lua_cpcall(script->L, fn, arg);
    return rv == 0 ? 0 : script_describe_error(script, rv == LUA_ERRMEM ? -ENOMEM : -EINVAL, err, errlen);
}

/* Opening. */

/* fail(text): an error of the prelude's, told as the script's. */
static int lua_fail(lua_State *L)
{
    script_raise(L, "%s", luaL_checkstring(L, 1));
}

/* quote(text): text between quotes, with what does not show made visible. */
static int lua_quote(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    lua_pushliteral(L, "\"");
    script_push_visible(L, text, len, VISIBLE_QUOTED);
    lua_pushliteral(L, "\"");
    lua_concat(L, 3);
    return 1;
}

/* place(): "scripts/site.lua:12", where the script called. */
static int lua_place(lua_State *L)
{
    char place[PLACE_MAX];
    script_place(L, place);
    lua_pushstring(L, place);
    return 1;
}

/* read_file(path): the text of a file, or nil and what is wrong. What reads files in LuaJIT itself leaves them open when
 * memory fails. */
static int lua_read_file(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    struct write_buffer *text = script_lend_scratch(L, "loadfile");
    int rv = file_text_read(text, script_of(L)->base_fd, path, SCRIPT_BYTES_MAX);
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

/* note_file(path, what): a module, or other code, is about to be read; data has been read, or is about to be written. The
 * host may want to know. Of code and data that are no modules only what is read at start-up counts. */
static int lua_note_file(lua_State *L)
{
    static const char *const names[] = {"module", "code", "read", "written", NULL};
    static const enum script_file meanings[] = {SCRIPT_FILE_CODE, SCRIPT_FILE_CODE, SCRIPT_FILE_READ,
                                                SCRIPT_FILE_WRITTEN};
    const struct script *script = script_of(L);
    const char *path = luaL_checkstring(L, 1);
    int what = luaL_checkoption(L, 2, NULL, names);
    bool is_late = script->has_started && (what == 1 || what == 2);
    if (script->on_file != NULL && !is_late) {
        script->on_file(script->on_file_arg, path, meanings[what]);
    }
    return 0;
}

static int lua_check_loading(lua_State *L)
{
    script_check_loading(L, luaL_checkstring(L, 1));
    return 0;
}

/* allow_globals(on): whether new globals were allowed so far in this run; changes that, if on is given. */
static int lua_allow_globals(lua_State *L)
{
    struct run *run = script_of(L)->run;
    lua_pushboolean(L, run->allows_globals);
    if (lua_isboolean(L, 1)) {
        run->allows_globals = lua_toboolean(L, 1) != 0;
    }
    return 1;
}

/* ref(name, value): a value of the prelude's that C needs. */
static int lua_set_ref(lua_State *L)
{
    static const struct {
        const char *name;    /* in the prelude */
        enum script_ref ref; /* in C */
    } names[] = {
        {"run", REF_RUN},
        {"run_timer", REF_RUN_TIMER},
        {"run_deferred", REF_RUN_DEFERRED},
        {"relay", REF_RELAY},
        {"error_handler", REF_ERROR_HANDLER},
        {"closed", REF_CLOSED},
        {"headers_meta", REF_HEADERS_META},
        {"response_meta", REF_RESPONSE_META},
        {"raised_meta", REF_RAISED_META},
        {"answer_raised", REF_ANSWER_RAISED},
        {"to_response", REF_TO_RESPONSE},
        {"wrap", REF_WRAP},
        {"freeze", REF_FREEZE},
        {"start", REF_START},
        {"memory", REF_MEMORY},
        {"stopping", REF_STOPPING},
        {"stop", REF_STOP},
        {"array_meta", REF_ARRAY_META},
    };
    const struct script *script = script_of(L);
    const char *name = luaL_checkstring(L, 1);
    lua_settop(L, 2);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        bool is_it = strcmp(name, names[i].name) == 0;
        if (is_it && script->refs[names[i].ref] == LUA_NOREF) { /* each once: C relies on what they are */
            script_set_ref(L, names[i].ref);
            return 0;
        }
    }
    return luaL_error(L, "no such value, or it is set already: %s", name);
}

/* Run the parts of the prelude with the table of C functions on top of the stack, the module, and what they share. */
static void run_prelude(lua_State *L)
{
    int core = lua_gettop(L);
    lua_newtable(L);
    lua_newtable(L);
    for (const struct prelude_part *part = evserve_prelude; part->text != NULL; part++) {
        if (luaL_loadbufferx(L, part->text, part->len, "=evserve", "t") != 0) {
            script_raise_top(L);
        }
        luaJIT_setmode(L, -1, LUAJIT_MODE_ALLFUNC | LUAJIT_MODE_OFF);
        for (int table = core; table <= core + 2; table++) {
            lua_pushvalue(L, table);
        }
        lua_call(L, 3, 0);
    }
}

/* LuaJIT begins every state with the same sequence of random numbers. */
static void seed_random(lua_State *L)
{
    lua_getglobal(L, "math");
    lua_getfield(L, -1, "randomseed");
    lua_pushnumber(L, (lua_Number)(script_of(L)->seed >> 11)); /* the bits that a number has */
    lua_call(L, 1, 0);
    lua_pop(L, 1);
}

/* The state with all that does not depend on the script. */
static int build_state(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"fail", lua_fail},
        {"place", lua_place},
        {"quote", lua_quote},
        {"check_loading", lua_check_loading},
        {"allow_globals", lua_allow_globals},
        {"note_file", lua_note_file},
        {"read_file", lua_read_file},
        {"ref", lua_set_ref},
        {NULL, NULL},
    };
    struct script *script = script_of(L);
    luaL_openlibs(L);
    only_lua_limit(L);
    seed_random(L);
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF); /* README.md tells why */
    deadline_arm(script);
    lua_newtable(L);
    script_set_ref(L, REF_REQUESTS);
    lua_newtable(L);
    script_set_ref(L, REF_TRACES);
    lua_newtable(L);
    script_set_ref(L, REF_ANCHORS);
    lua_newtable(L);
    script_set_ref(L, REF_UNSENT);
    lua_pushliteral(L, "closed");
    script_set_ref(L, REF_CLOSED_TEXT);
    lua_pushcfunction(L, script_message_handler);
    script_set_ref(L, REF_DESCRIBE);

    lua_newtable(L);
    luaL_register(L, NULL, functions);
    bind_stack_guard(L);
    bind_collector(L);
    bind_watch(L); /* around the guards */
    bind_app(L);
    bind_settings(L);
    bind_static(L);
    bind_url(L);
    bind_answer(L);
    bind_answer_parts(L);
    bind_coro_error(L);
    bind_defer(L);
    bind_request(L);
    bind_body(L);
    bind_stream(L);
    bind_timer(L);
    bind_json(L);
    bind_number(L);
    bind_folders(L);
    char folder[PATH_MAX];
    script_folder(script, folder);
    lua_pushstring(L, folder);
    lua_setfield(L, -2, "folder");
    run_prelude(L);
    return 0;
}

/* The host's part, which may raise as well as return an error. */
static int call_init(lua_State *L)
{
    const struct script_host *const *host = lua_touserdata(L, 1);
    lua_settop(L, 0);
    int rv = (*host)->init(L, (*host)->arg);
    return rv == 0 ? 0 : luaL_error(L, "the host's Lua set-up failed (%d)", rv);
}

static int run_script(struct script *script, const struct script_host *host, char *err, size_t errlen)
{
    struct write_buffer *file = script_lend_scratch(script->L, "the script");
    int rv = host->text != NULL ? 0 : file_text_read(file, script->base_fd, script_path(script), SCRIPT_BYTES_MAX);
    if (rv < 0) {
        script_return_scratch(script->L);
        return error_text(err, errlen, rv, "cannot open %s: %s", script_path(script),
                          script_open_error(script_path(script), rv));
    }
    const char *text = host->text != NULL ? host->text : write_buffer_data(file);
    size_t len = host->text != NULL ? host->text_len : write_buffer_len(file);
    rv = luaL_loadbufferx(script->L, text, len, script->chunk_name, "t");
    script_return_scratch(script->L);
    if (rv != 0) {
        return script_describe_error(script, rv == LUA_ERRMEM ? -ENOMEM : -EINVAL, err, errlen);
    }
    luaJIT_setmode(script->L, -1, LUAJIT_MODE_ALLFUNC | LUAJIT_MODE_OFF);
    return script_call(script, 0, 0, err, errlen);
}

/* After the script: its middleware around its routes, then the globals are frozen. */
static int finish_loading(lua_State *L)
{
    struct script *script = script_of(L);
    for (struct lua_route *route = script->routes; route != NULL; route = route->next) {
        if (route->fn_ref == LUA_NOREF) {
            continue;
        }
        script_push_ref(script, L, REF_WRAP);
        lua_rawgeti(L, LUA_REGISTRYINDEX, route->fn_ref);
        lua_call(L, 1, 1);
        lua_rawseti(L, LUA_REGISTRYINDEX, route->fn_ref);
    }
    script_push_ref(script, L, REF_FREEZE);
    lua_call(L, 0, 0);
    if (script->has_compiled) { /* nothing else is compiled: all other code was loaded as not to be */
        luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_ON);
    }
    return 0;
}

/* Nobody can foretell it, and no other state has the same. */
static uint64_t make_seed(void)
{
    uint64_t seed;
    if (sys_random(&seed, sizeof seed) < 0) {
        seed = (uint64_t)sys_now_ns() ^ (uint64_t)sys_wall_time_s() << 20;
    }
    return seed;
}

/* Allocate, so that script_close() can clean up whatever follows. Returns as memory_new_state(). */
static int create_script(struct script **script, const char *path)
{
    struct script *made = mem_zalloc(sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < REF_COUNT; i++) {
        made->refs[i] = LUA_NOREF;
    }
    made->run = &made->idle_run;
    write_buffer_init(&made->scratch);
    settings_init(&made->settings);
    memory_reset_mark(made);
    made->seed = make_seed();
    made->request_seed = (uint32_t)make_seed();
    size_t len = strlen(path) + 2;
    made->chunk_name = mem_alloc(len);
    if (made->chunk_name != NULL) {
        snprintf(made->chunk_name, len, "@%s", path);
    }
    int rv = made->chunk_name == NULL ? -ENOMEM : memory_new_state(made);
    if (rv < 0) {
        script_close(made);
        return rv;
    }
    *script = made;
    return 0;
}

int script_open(struct script **script, const char *path, struct site *site, struct reactor *reactor,
                const struct log *log, const struct script_host *host, char *err, size_t errlen)
{
    static const struct script_host no_host;
    host = host == NULL ? &no_host : host;
    struct script *made;
    int rv = only_lua_check(path, host->init != NULL, err, errlen);
    if (rv < 0) {
        return rv;
    }
    rv = create_script(&made, path);
    if (rv == -ENOTSUP) {
        return error_text(err, errlen, rv,
                          "cannot open %s: this LuaJIT was built without GC64, so it takes no memory from the server; "
                          "LuaJIT needs XCFLAGS=-DLUAJIT_ENABLE_GC64, or a version of 2022 or later",
                          path);
    }
    if (rv < 0) {
        return error_text(err, errlen, rv, "cannot open %s: out of memory", path);
    }
    made->site = site;
    made->reactor = reactor;
    made->log = log;
    made->base_fd = host->base_fd;
    made->on_file = host->on_file;
    made->on_file_arg = host->on_file_arg;
    made->is_piped = host->text != NULL;
    made->fixed = (struct settings){
        .handler_cpu_ms = host->handler_cpu_ms,
        .lua_memory_bytes = host->lua_memory_bytes,
        .debug = host->debug,
    };
    rv = settings_fix(&made->settings, &made->fixed, err, errlen);
    memory_reset_mark(made);
    rv = rv < 0 ? rv : script_protect(made, build_state, NULL, err, errlen);
    if (rv == 0 && host->init != NULL) {
        rv = script_protect(made, call_init, &host, err, errlen);
    }
    if (rv == 0 && host->on_file != NULL && host->text == NULL) {
        host->on_file(host->on_file_arg, path, SCRIPT_FILE_CODE);
    }
    rv = rv < 0 ? rv : run_script(made, host, err, errlen);
    rv = rv < 0 ? rv : script_protect(made, finish_loading, NULL, err, errlen);
    rv = rv < 0 ? rv : routes_settle_limits(made, err, errlen);
    if (rv < 0) {
        script_close(made);
        return rv;
    }
    made->phase = SCRIPT_READY;
    *script = made;
    return 0;
}

const struct settings *script_settings(const struct script *script)
{
    return &script->settings;
}

void script_each_setting(const struct script *script,
                         void (*fn)(void *arg, const struct limit_info *info, uint64_t value), void *arg)
{
    for (size_t i = 0; i < setting_table_len; i++) {
        fn(arg, &setting_table[i], settings_get(&script->settings, &setting_table[i]));
    }
}

/* Running and closing. */

const char *script_listen(const struct script *script, size_t n)
{
    return n < script->listen_count ? script->listens[n].address : NULL;
}

const char *script_listen_place(const struct script *script, size_t n)
{
    return n < script->listen_count ? script->listens[n].place : NULL;
}

/* Push the n-th function that app.on() was given for an event, from 1. Whether there is one; if not, nothing is pushed. */
static bool push_listener(const struct script *script, enum script_ref event, size_t n)
{
    lua_State *L = script->L;
    script_push_ref(script, L, event);
    if (n > lua_objlen(L, -1)) {
        lua_pop(L, 1);
        return false;
    }
    lua_rawgeti(L, -1, (int)n);
    lua_remove(L, -2);
    return true;
}

/* Call a function of an event, which lies on the main thread's stack. Returns as script_call(). */
static int call_listener(struct script *script, enum script_ref event, char *err, size_t errlen)
{
    const char *outer = script->event;
    script->event = event == REF_START      ? "start"
                    : event == REF_MEMORY   ? "memory"
                    : event == REF_STOPPING ? "stopping"
                                            : "stop";
    int rv = script_call(script, 0, 0, err, errlen);
    script->event = outer;
    return rv;
}

int script_start(struct script *script, const struct server *server, char *err, size_t errlen)
{
    int rv = routes_settle_limits(script, err, errlen); /* the host may have changed the site's */
    if (rv < 0) {
        return rv;
    }
    script->server = server;
    script->started_ms = reactor_now_ms(script->reactor);
    for (size_t n = 1; rv == 0 && push_listener(script, REF_START, n); n++) {
        rv = call_listener(script, REF_START, err, errlen) < 0 ? -EINVAL : 0;
    }
    script->has_started = true;
    return rv;
}

/* Call the functions of "stopping", "stop" or "memory". One that fails does not take the others with it. */
static void call_listeners(struct script *script, enum script_ref event)
{
    char err[SCRIPT_TEXT_MAX];
    for (size_t n = 1; push_listener(script, event, n); n++) {
        if (call_listener(script, event, err, sizeof err) < 0) {
            log_write(script->log, LOG_ERROR, "%s", err);
        }
    }
}

bool script_tell_memory(struct script *script)
{
    bool is_asked = script->has_started && push_listener(script, REF_MEMORY, 1);
    if (is_asked) {
        lua_pop(script->L, 1);
        call_listeners(script, REF_MEMORY);
    }
    return is_asked;
}

void script_announce_stop(struct script *script)
{
    if (!script->is_stopping) {
        script->is_stopping = true;
        call_listeners(script, REF_STOPPING);
    }
}

void script_end_timers(struct script *script)
{
    timer_cancel_all(script);
}

void script_stop(struct script *script)
{
    script_announce_stop(script);
    while (script->due_deferrals != NULL) { /* each turn begins at least one function, or drops them */
        defer_run_due(script);
    }
    timer_cancel_all(script);
    reactor_cancel_timer(script->reactor, script->defer_timer);
    script->defer_timer = 0;
    script->is_stopped = true;
    coro_report_cut(script);
    call_listeners(script, REF_STOP);
    timer_cancel_all(script); /* those that "stop" has set */
}

static void free_listens(struct script *script)
{
    for (size_t i = 0; i < script->listen_count; i++) {
        mem_free(script->listens[i].address);
        mem_free(script->listens[i].place);
    }
    mem_free(script->listens);
}

static void free_routes(struct script *script)
{
    while (script->routes != NULL) {
        struct lua_route *route = script->routes;
        script->routes = route->next;
        mem_free(route->limits);
        mem_free(route->name);
        mem_free(route);
    }
}

bool script_is_busy(const struct script *script, int64_t until_ms)
{
    bool is_busy = script->due_deferrals != NULL;
    for (uint32_t i = 0; i < script->coro_count && !is_busy; i++) {
        const struct coro *coro = script->coros[i];
        bool sleeps_on = coro->wait == CORO_SLEEPS && coro->wake_ms > until_ms;
        is_busy = coro_is_used(coro) && !sleeps_on;
    }
    return is_busy;
}

void script_close(struct script *script)
{
    if (script == NULL) {
        return;
    }
    script->phase = SCRIPT_CLOSING;
    script->server = NULL;
    if (script->L != NULL) {
        script_enter_stack(script); /* it runs finalizers, maybe on another thread than the script's */
        lua_close(script->L);
    }
    coro_free_all(script);
    timer_free_all(script);
    defer_free_all(script);
    free_listens(script);
    free_routes(script);
    memory_free_all(script);
    mem_free(script->chunk_name);
    mem_free(script);
}

const struct script_kind script_lua = {
    .open = script_open,
    .each_setting = script_each_setting,
    .listen = script_listen,
    .listen_place = script_listen_place,
    .each_folder = script_each_folder,
    .start = script_start,
    .announce_stop = script_announce_stop,
    .end_timers = script_end_timers,
    .is_busy = script_is_busy,
    .stop = script_stop,
    .close = script_close,
};
