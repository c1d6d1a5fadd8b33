/* One script and its Lua state.
 *
 * Happy path: script_open() makes the state, runs the prelude and the script, puts middleware around the routes, and
 * freezes the globals. From then on requests and timers enter through coro.c, until script_close().
 *
 * Failure modes: whatever goes wrong while the script starts becomes one line that begins with file and line. All that
 * Lua code can reach is owned by the state or by struct script, so an error may jump out of anything. */

#include "lua/script.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/reactor.h"
#include "http/site_parts.h"
#include "lua/anchor.h"
#include "lua/answer.h"
#include "lua/bind_answer.h"
#include "lua/bind_app.h"
#include "lua/bind_auth.h"
#include "lua/bind_body.h"
#include "lua/bind_crypto.h"
#include "lua/bind_defer.h"
#include "lua/bind_events.h"
#include "lua/bind_fetch.h"
#include "lua/bind_host.h"
#include "lua/bind_json.h"
#include "lua/bind_metrics.h"
#include "lua/bind_ngx.h"
#include "lua/bind_number.h"
#include "lua/bind_pages.h"
#include "lua/bind_password.h"
#include "lua/bind_prelude.h"
#include "lua/bind_proxy.h"
#include "lua/bind_publish.h"
#include "lua/bind_redis.h"
#include "lua/bind_refusal.h"
#include "lua/bind_request.h"
#include "lua/bind_rules.h"
#include "lua/bind_seal.h"
#include "lua/bind_session.h"
#include "lua/bind_settings.h"
#include "lua/bind_socket.h"
#include "lua/bind_static.h"
#include "lua/bind_store.h"
#include "lua/bind_stream.h"
#include "lua/bind_subscribe.h"
#include "lua/bind_sync.h"
#include "lua/bind_task.h"
#include "lua/bind_template.h"
#include "lua/bind_timer.h"
#include "lua/bind_tls.h"
#include "lua/bind_topics.h"
#include "lua/bind_udp.h"
#include "lua/bind_url.h"
#include "lua/bind_wait.h"
#include "lua/bind_websocket.h"
#include "lua/bind_worker.h"
#include "lua/birth.h"
#include "lua/call.h"
#include "lua/collector.h"
#include "lua/compiler.h"
#include "lua/coro.h"
#include "lua/coro_error.h"
#include "lua/coro_pool.h"
#include "lua/deadline.h"
#include "lua/events.h"
#include "lua/fetch_object.h"
#include "lua/folders.h"
#include "lua/memory.h"
#include "lua/only_lua.h"
#include "lua/prelude.h"
#include "lua/regex.h"
#include "lua/rehearsal.h"
#include "lua/routes.h"
#include "lua/scratch.h"
#include "lua/script_error.h"
#include "lua/socket_object.h"
#include "lua/stack_guard.h"
#include "lua/subscription.h"
#include "lua/task.h"
#include "lua/udp.h"
#include "lua/watch.h"
#include "lua/websocket.h"

#include <errno.h>
#include <fcntl.h>
#include <luajit.h>
#include <lualib.h>
#include <stdio.h>
#include <string.h>

/* Opening. */

/* The state with all that does not depend on the script. */
static int build_state(lua_State *L)
{
    struct script *script = script_of(L);
    luaL_openlibs(L);
    only_lua_limit(L);
    birth_seed(L);
    compiler_start(L);
    deadline_arm(script);
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
    bind_prelude(L);
    bind_compiler(L);
    bind_stack_guard(L);
    bind_collector(L);
    bind_watch(L); /* around the guards */
    bind_app(L);
    bind_settings(L);
    bind_static(L);
    bind_rules(L);
    bind_auth(L);
    bind_pages(L);
    bind_proxy(L);
    bind_host(L);
    bind_tls(L);
    bind_metrics(L);
    bind_store(L);
    bind_redis(L);
    bind_url(L);
    bind_reply(L);
    bind_answer(L);
    bind_coro_error(L);
    bind_refusal(L);
    bind_defer(L);
    bind_request(L);
    bind_body(L);
    bind_stream(L);
    bind_events(L);
    bind_topics(L);
    bind_subscribe(L);
    bind_timer(L);
    bind_task(L);
    bind_sync(L);
    bind_socket(L);
    bind_wait(L);
    bind_udp(L);
    bind_publish(L);
    bind_websocket(L);
    bind_worker(L);
    bind_fetch(L);
    bind_json(L);
    bind_number(L);
    bind_template(L);
    bind_session(L);
    bind_crypto(L);
    bind_seal(L);
    bind_password(L);
    bind_ngx(L);
    bind_folders(L);
    char folder[PATH_MAX];
    script_folder(script, folder);
    lua_pushstring(L, folder);
    lua_setfield(L, -2, "folder");
    prelude_run(L, evserve_prelude);
    script->store_scope.rules.array_meta = script->refs[REF_ARRAY_META];
    return 0;
}

/* The host's part, which may raise as well as return an error. */
static int call_init(lua_State *L)
{
    const struct script_host *const *host = lua_touserdata(L, 1);
    lua_settop(L, 0);
    int rv = (*host)->init(L, (*host)->arg);
    return rv == 0 ? 0 : luaL_error(L, "lua_init of the host failed (%d)", rv);
}

/* PEM begins with dashes, which are a comment in Lua. Lua's error would quote from the next line, which may be a
 * key. */
static bool is_pem_text(const char *text, size_t len)
{
    static const char begin[] = "-----BEGIN ";
    return len >= sizeof begin - 1 && memcmp(text, begin, sizeof begin - 1) == 0;
}

static int run_script(struct script *script, const struct script_host *host, char *err, size_t errlen)
{
    struct write_buffer *file = script_lend_scratch(script->L, "the script");
    int rv = host->text != NULL ? 0 : script_read_file(script, script_path(script), file);
    if (rv < 0) {
        script_return_scratch(script->L);
        return error_text(err, errlen, rv, "cannot open %s: %s", script_path(script),
                          script_open_error(script_path(script), rv));
    }
    const char *text = host->text != NULL ? host->text : write_buffer_data(file);
    size_t len = host->text != NULL ? host->text_len : write_buffer_len(file);
    if (is_pem_text(text, len)) {
        script_return_scratch(script->L);
        return error_text(
            err, errlen, -EINVAL,
            "%s is PEM text, not a script: a certificate is named with --tls-cert, its key with --tls-key",
            script_path(script));
    }
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
    lua_newtable(L);
    int made = lua_gettop(L); /* handlers for refusals, by function: routes of a group have the same one */
    for (struct lua_route *route = script->routes; route != NULL; route = route->next) {
        if (route->fn_ref == LUA_NOREF) {
            continue;
        }
        script_push_ref(script, L, REF_WRAP);
        lua_rawgeti(L, LUA_REGISTRYINDEX, route->fn_ref);
        lua_call(L, 1, 2);
        if (!lua_isnil(L, -1)) {
            route->handler.refusals = refusals_make(L, made, route);
        }
        lua_pop(L, 1);
        lua_rawseti(L, LUA_REGISTRYINDEX, route->fn_ref);
    }
    refusals_set_no_routes(L);
    script_push_ref(script, L, REF_FREEZE);
    lua_call(L, 0, 0);
    compiler_settle(L);
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
    rv = birth_create(&made, path, err, errlen);
    if (rv < 0) {
        return rv;
    }
    made->reactor = reactor;
    events_init(made);
    coro_init_ready(made);
    tls_plan_init(&made->tls);
    made->site = site;
    made->log = log;
    made->base_fd = host->base_fd;
    made->packed = host->packed;
    made->metrics = host->metrics;
    made->thread = host->thread;
    made->jobs = host->jobs;
    made->outbound = host->outbound;
    made->topics = host->topics;
    made->load_number = host->load == NULL ? 0 : host->load->number;
    bind_store_init(made, host->stores);
    made->on_file = host->on_file;
    made->on_file_arg = host->on_file_arg;
    made->is_piped = host->text != NULL;
    made->is_repeat = host->is_repeat;
    made->load = host->load;
    made->fixed = (struct settings){
        .handler_cpu_ms = host->handler_cpu_ms,
        .lua_memory_bytes = host->lua_memory_bytes,
        .debug = host->debug,
    };
    if (host->lua_memory_default != 0) {
        made->settings.lua_memory_bytes = host->lua_memory_default;
    }
    rv = settings_fix(&made->settings, &made->fixed, err, errlen);
    memory_reset_mark(made);
    rv = rv < 0 ? rv : script_protect(made, build_state, NULL, err, errlen);
    if (rv == 0 && host->init != NULL) {
        rv = script_protect(made, call_init, &host, err, errlen);
    }
    if (rv == 0 && host->on_file != NULL && host->text == NULL && !script_has_packed(made, path)) {
        host->on_file(host->on_file_arg, path, SCRIPT_FILE_CODE);
    }
    rv = rv < 0 ? rv : run_script(made, host, err, errlen);
    rv = rv < 0 ? rv : script_protect(made, finish_loading, NULL, err, errlen);
    rv = rv < 0 ? rv : site_settle_hosts(site, err, errlen);
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

const struct tls_plan *script_tls(const struct script *script)
{
    return &script->tls;
}

int script_start(struct script *script, const struct server *server, char *err, size_t errlen)
{
    int rv = routes_settle_limits(script, err, errlen); /* the host may have changed the site's */
    if (rv < 0) {
        return rv;
    }
    script->server = server;
    script->started_ms = script_now_ms(script);
    rv = events_start(script, err, errlen);
    script->has_started = true;
    if (!script_is_elsewhere(script)) {
        store_scope_settle(&script->store_scope, script->log);
    }
    return rv;
}

int script_adopt(struct script *script, const struct server *server)
{
    script->load = NULL;
    script->server = server;
    store_scope_settle(&script->store_scope, script->log);
    return timer_begin_all(script);
}

void script_announce_stop(struct script *script)
{
    if (!script->is_stopping) {
        script->is_stopping = true;
        events_call(script, REF_STOPPING);
        websocket_retire(script);
        subscription_wake_all(script);
    }
}

void script_end_timers(struct script *script)
{
    timer_cancel_all(script);
}

void script_stop(struct script *script)
{
    script_announce_stop(script);
    defer_finish(script);
    coro_finish_ready(script);
    timer_cancel_all(script);
    script->is_stopped = true;
    subscription_close_all(script);
    coro_report_cut(script);
    worker_report_left(script);
    events_call(script, REF_STOP);
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

int script_each_folder(struct script *script, int (*fn)(void *arg, const char *folder), void *arg)
{
    return folders_each(script, fn, arg);
}

bool script_is_busy(const struct script *script, int64_t until_ms)
{
    return defer_is_due(script) || coro_any_is_busy(script, until_ms) || worker_any_is_busy(script);
}

void script_close(struct script *script)
{
    if (script == NULL) {
        return;
    }
    script->server = NULL;
    birth_close_state(script);
    event_beats_free(script);
    coro_free_all(script);
    worker_free_all(script);
    password_free_all(script);
    fetch_object_free_all(script);
    timer_free_all(script);
    udp_free_all(script);
    defer_free_all(script);
    task_free_all(script);
    sync_end(script);
    socket_free_all(script);
    websocket_free_all(script);
    subscription_free_all(script);
    free_listens(script);
    tls_plan_done(&script->tls);
    routes_free(script);
    anchor_free_all(script);
    regex_cache_destroy(script->regexes);
    birth_free(script);
}

static void script_memory(const struct script *script, uint64_t *held, uint64_t *limit)
{
    *held = script->memory_bytes;
    *limit = script->settings.lua_memory_bytes;
}

const struct script_kind script_lua = {
    .open = script_open,
    .each_setting = script_each_setting,
    .listen = script_listen,
    .listen_place = script_listen_place,
    .tls = script_tls,
    .each_folder = script_each_folder,
    .start = script_start,
    .adopt = script_adopt,
    .announce_stop = script_announce_stop,
    .end_timers = script_end_timers,
    .is_busy = script_is_busy,
    .memory = script_memory,
    .stop = script_stop,
    .close = script_close,
    .test = rehearsal_run,
};
