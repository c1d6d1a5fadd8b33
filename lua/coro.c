/* The life of a coroutine.
 *
 * Happy path: coro_serve() takes a coroutine from the pool and resumes it with the prelude's run(); that makes the
 * request object, calls the handler and answers. The thread goes back to the pool with an empty stack. A handler that
 * waits yields; on_sleep_over(), on_drain(), on_data() or on_gone() resume it.
 *
 * Failure modes. An error is caught by the prelude's run() and logged with its traceback; then app.on("error", fn) may
 * answer, else the client gets a 500, or a cut connection when its answer has begun. A client that goes away wakes its
 * coroutine: app.sleep and req.body raise REF_CLOSED, out:write returns nil, "closed". So what the script has open is unwound. A
 * script that goes on regardless is never resumed again; its thread is left to the collector. */

#include "lua/coro.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/reactor.h"
#include "http/response.h"
#include "lua/error_page.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum { IDLE_THREADS_MAX = 1024 }; /* threads kept for later; each has about 1 KiB */

static void on_drain(struct exchange *exchange);
static void on_gone(struct exchange *exchange);

/* The pool. */

static int new_thread(lua_State *L)
{
    struct coro *coro = lua_touserdata(L, 1);
    lua_State *thread = lua_newthread(L);
    coro->thread_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    coro->L = thread;
    return 0;
}

/* Give coro a fresh thread. Returns 0 or -ENOMEM, with coro as before. */
static int make_thread(struct coro *coro)
{
    return script_protect(coro->script, new_thread, coro, NULL, 0) < 0 ? -ENOMEM : 0;
}

static void drop_thread(struct coro *coro)
{
    luaL_unref(coro->script->L, LUA_REGISTRYINDEX, coro->thread_ref);
    coro->L = NULL;
}

static struct coro *make_coro(struct script *script)
{
    if (script_grow((void ***)&script->coros, script->coro_count, &script->coro_capacity) < 0) {
        return NULL;
    }
    struct coro *coro = mem_zalloc(sizeof *coro);
    if (coro != NULL) {
        coro->script = script;
        coro->index = script->coro_count;
        script->coros[script->coro_count++] = coro;
    }
    return coro;
}

struct coro *coro_take(struct script *script)
{
    struct coro *coro = script->free_coros;
    if (!script_has_spare(script) || !memory_has_room(script)) {
        return NULL;
    }
    if (coro != NULL) {
        script->free_coros = coro->next_free;
    } else {
        coro = make_coro(script);
    }
    if (coro == NULL) {
        return NULL;
    }
    if (coro->L != NULL) {
        script->idle_threads--;
    } else if (make_thread(coro) < 0) {
        coro->next_free = script->free_coros;
        script->free_coros = coro;
        return NULL;
    }
    return coro;
}

/* The request object must not outlive its use here: it may hold a body. One that was never made, for want of memory, has
 * no place in the table yet, and nothing here may need memory. */
static void forget_request(const struct coro *coro)
{
    lua_State *L = coro->script->L;
    script_push_ref(coro->script, L, REF_REQUESTS);
    lua_rawgeti(L, -1, (int)coro->index + 1);
    if (!lua_isnil(L, -1)) {
        lua_pushnil(L);
        lua_rawseti(L, -3, (int)coro->index + 1);
    }
    lua_pop(L, 2);
}

/* Back to the pool, with a thread that is at its end or without one. */
static void put_coro(struct coro *coro)
{
    struct script *script = coro->script;
    struct deferral *deferral = coro->deferral;
    assert(coro->exchange == NULL && coro->pending == NULL && coro->sleep_timer == 0);
    error_page_drop(coro);
    if (coro->route != NULL) {
        forget_request(coro);
    } else if (coro->timer != NULL) {
        timer_run_ended(coro->timer, coro->timer_id);
    }
    if (coro->L != NULL) {
        lua_settop(coro->L, 0);
        if (script->idle_threads == IDLE_THREADS_MAX) {
            drop_thread(coro);
        } else {
            script->idle_threads++;
        }
    }
    struct coro fresh = {
        .script = script,
        .next_free = script->free_coros,
        .L = coro->L,
        .thread_ref = coro->thread_ref,
        .index = coro->index,
        .generation = coro->generation + 1,
    };
    *coro = fresh;
    script->free_coros = coro;
    if (deferral != NULL) {
        defer_release(deferral); /* last: it may begin another coroutine */
    }
}

void coro_free_all(struct script *script)
{
    for (uint32_t i = 0; i < script->coro_count; i++) {
        if (script->coros[i]->sleep_timer != 0) {
            reactor_cancel_timer(script->reactor, script->coros[i]->sleep_timer);
        }
        defer_free(script->coros[i]->deferral);
        mem_free(script->coros[i]);
    }
    mem_free(script->coros);
}

struct coro *coro_find(const struct script *script, uint32_t index, uint32_t generation)
{
    struct coro *coro = script->coros[index];
    return coro->generation == generation ? coro : NULL;
}

/* Errors. */

/* Push the text of the error value at index, without what could forge log lines or move cursors: the client may have
 * sent what it quotes. May raise. */
static void push_error_text(lua_State *L, int index)
{
    bool is_text = lua_type(L, index) == LUA_TSTRING;
    lua_pushvalue(L, index);
    if (!is_text && luaL_getmetafield(L, index, "__tostring")) {
        lua_pushvalue(L, index);
        is_text = lua_pcall(L, 1, 1, 0) == 0 && lua_type(L, -1) == LUA_TSTRING;
    }
    if (!is_text) {
        lua_pushfstring(L, "(the error is a %s)", luaL_typename(L, index));
        return;
    }
    size_t len = lua_objlen(L, -1);
    struct write_buffer *text = script_scratch(script_of(L));
    if (write_buffer_append(text, lua_tostring(L, -1), len + 1, SIZE_MAX) < 0) {
        script_raise_memory(L);
    }
    for (char *at = text->block + text->start; len > 0; len--, at++) {
        bool is_blank = *at == '\n' || *at == '\t';
        *at = is_blank ? ' ' : (unsigned char)*at < ' ' || *at == 0x7f ? '?' : *at;
    }
    lua_pushstring(L, write_buffer_data(text));
    script_trim_scratch(script_of(L));
}

/* Log what failed and for whom. */
static void log_failure(const struct coro *coro, const char *text)
{
    const struct log *log = coro->script->log;
    if (coro->route == NULL) {
        log_write(log, LOG_ERROR, "timer: %s", text);
    } else if (coro->exchange == NULL) {
        log_write(log, LOG_ERROR, "route at %s: %s", coro->route->place, text);
    } else {
        const struct head *head = &coro->exchange->head;
        log_write(log, LOG_ERROR, "%.*s %.*s (route at %s): %s", (int)head->method_text.len,
                  exchange_text(coro->exchange, head->method_text), (int)head->target.len,
                  exchange_text(coro->exchange, head->target), coro->route->place, text);
    }
}

/* Push the text of the error at index with the traceback of thread; the prelude's part of it is left out. */
static void push_traceback(lua_State *L, int index, lua_State *thread, int level)
{
    static const char prelude_part[] = "\n\t[C]: in function 'xpcall'\n\tevserve:";
    push_error_text(L, index);
    luaL_traceback(L, thread, lua_tostring(L, -1), level);
    const char *text = lua_tostring(L, -1);
    const char *last = NULL;
    for (const char *at = strstr(text, prelude_part); at != NULL; at = strstr(at + 1, prelude_part)) {
        last = at;
    }
    if (last == NULL) {
        return;
    }
    const char *line = memrchr(text, '\n', (size_t)(last - text));
    if (line != NULL && strncmp(line, "\n\tevserve:", 10) == 0) {
        last = line;
    }
    lua_pushlstring(L, text, (size_t)(last - text));
}

struct report_call {
    struct coro *coro;
    const char *text;
};

static int report_place(lua_State *L)
{
    const struct report_call *call = lua_touserdata(L, 1);
    char place[PLACE_MAX];
    script_place(L, place);
    lua_pushfstring(L, "%s: %s", place, call->text);
    push_traceback(L, lua_gettop(L), L, 1);
    log_failure(call->coro, lua_tostring(L, -1));
    error_page_keep(L, call->coro, lua_gettop(L));
    return 0;
}

bool coro_report(lua_State *L, struct coro *coro, const char *text)
{
    struct report_call call = {.coro = coro, .text = text};
    if (lua_cpcall(L, report_place, &call) != 0) {
        lua_pop(L, 1);
        return false;
    }
    return true;
}

/* That its client has gone needs no log line, be it the error of coro_raise_closed() or that of assert(out:write()),
 * to which LuaJIT adds a place. */
static bool is_closed_error(lua_State *L, const struct coro *coro, int index)
{
    static const char closed[] = ": closed";
    if (!coro->is_gone) {
        return false;
    }
    if (lua_type(L, index) == LUA_TSTRING) {
        size_t len;
        const char *text = lua_tolstring(L, index, &len);
        return strcmp(text, closed + 2) == 0 ||
               (len >= sizeof closed && memcmp(text + len - (sizeof closed - 1), closed, sizeof closed) == 0);
    }
    script_push_ref(coro->script, L, REF_CLOSED);
    bool is_same = lua_rawequal(L, -1, index) != 0;
    lua_pop(L, 1);
    return is_same;
}

/* The error value at index is an answer (app.error), and there is still an answer to be given. */
static bool is_answer_error(lua_State *L, const struct coro *coro, int index)
{
    if (coro->exchange == NULL || coro->exchange->response_state != RESPONSE_NONE || coro->is_raised ||
        !lua_getmetatable(L, index)) {
        return false;
    }
    script_push_ref(coro->script, L, REF_RAISED_META);
    bool is_same = lua_rawequal(L, -1, -2) != 0;
    lua_pop(L, 2);
    return is_same;
}

/* report(err): the message handler of xpcall. It runs where the error happened, so the traceback has every line. */
static int lua_report(lua_State *L)
{
    struct coro *coro = script_of(L)->running;
    lua_settop(L, 1);
    if (!is_closed_error(L, coro, 1) && !is_answer_error(L, coro, 1)) {
        push_traceback(L, 1, L, 1);
        if (coro->script->run.stop == STOP_NONE) { /* else it is in the log already */
            log_failure(coro, lua_tostring(L, -1));
        }
        error_page_keep(L, coro, lua_gettop(L));
    }
    coro->is_reported = true;
    lua_settop(L, 1);
    return 1;
}

static void release_pending(struct coro *coro)
{
    if (coro->pending != NULL) {
        script_release(coro->pending);
        coro->pending = NULL;
    }
}

static bool is_memory_error(lua_State *L, int index)
{
    return lua_type(L, index) == LUA_TSTRING && strcmp(lua_tostring(L, index), "not enough memory") == 0;
}

/* Log an error for which there was no memory to make a traceback of. */
static void log_short_failure(const struct coro *coro, const char *text)
{
    char cap[SCRIPT_TEXT_MAX];
    const struct run *run = &coro->script->run;
    memory_describe(coro->script, run, cap, sizeof cap);
    log_failure(coro, run->refused_bytes > 0 ? cap : text);
}

/* No more of the answer: status if it has not begun, else the connection is cut. */
static void give_up(struct coro *coro, int status)
{
    if (coro->exchange == NULL || error_page_send(coro, status)) {
        return;
    }
    if (coro->exchange->response_state == RESPONSE_NONE) {
        response_error(coro_detach(coro), status, NULL);
    } else {
        response_abort(coro_detach(coro));
    }
}

/* recover(err): after a failure, the function that may still answer: answer_raised() for an error that is an answer, else
 * that of app.on("error", fn); nothing when all is settled. Each is given once, so a request fails three times at most. */
static int lua_recover(lua_State *L)
{
    struct coro *coro = script_of(L)->running;
    bool was_reported = coro->is_reported;
    coro->is_reported = false;
    if (!was_reported) { /* memory was too short for a report */
        log_short_failure(coro, lua_type(L, 1) == LUA_TSTRING ? lua_tostring(L, 1) : luaL_typename(L, 1));
    }
    if (coro->exchange == NULL) {
        return 0;
    }
    if (is_answer_error(L, coro, 1)) {
        response_clear_fields(coro->exchange);
        coro->is_raised = true;
        coro->is_stream = false;
        script_push_ref(coro->script, L, REF_ANSWER_RAISED);
        return 1;
    }
    bool has_handler = coro->script->refs[REF_ERROR_HANDLER] != LUA_NOREF && !coro->is_error_handler;
    if (!has_handler || coro->exchange->response_state != RESPONSE_NONE) {
        give_up(coro, is_memory_error(L, 1) ? 503 : 500);
        return 0;
    }
    response_clear_fields(coro->exchange);
    coro->is_error_handler = true;
    coro->is_stream = false;
    script_push_ref(coro->script, L, REF_ERROR_HANDLER);
    return 1;
}

/* decline(err): the function of app.on("error", fn) has no answer to err. */
static int lua_decline(lua_State *L)
{
    give_up(script_of(L)->running, is_memory_error(L, 1) ? 503 : 500);
    return 0;
}

void bind_coro(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"report", lua_report},
        {"recover", lua_recover},
        {"decline", lua_decline},
        {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
}

/* Log a coroutine that the script suspended itself. */
static int report_yield(lua_State *L)
{
    struct coro *coro = lua_touserdata(L, 1);
    lua_pushliteral(L, "coroutine.yield() outside of a coroutine of the script's own");
    push_traceback(L, lua_gettop(L), coro->L, 0);
    log_failure(coro, lua_tostring(L, -1));
    error_page_keep(L, coro, lua_gettop(L));
    return 0;
}

/* Give coro up in the middle: its thread cannot run again. */
static void abandon(struct coro *coro, int status)
{
    release_pending(coro);
    drop_thread(coro);
    give_up(coro, status);
    put_coro(coro);
}

/* An end that recover() did not see to: a stray yield, or no memory even for that. */
static void coro_fail(struct coro *coro, int verdict)
{
    if (verdict != LUA_YIELD || script_protect(coro->script, report_yield, coro, NULL, 0) < 0) {
        log_failure(coro, verdict == LUA_ERRMEM ? "not enough memory" : "error in error handling");
    }
    abandon(coro, verdict == LUA_ERRMEM ? 503 : 500);
}

/* It was stopped by deadline.c. */
static void coro_stop(struct coro *coro, const struct run *run)
{
    if (!run->is_reported) {
        char text[SCRIPT_TEXT_MAX];
        deadline_describe(coro->script, run, text, sizeof text);
        log_failure(coro, text);
    }
    if (coro->exchange != NULL) {
        exchange_end_turn(coro->exchange);
    }
    abandon(coro, 503);
}

/* It was stopped, and came to its end all the same: some C function has swallowed the error that was raised in the hook.
 * For LuaJIT the hook is then still at work, and it calls no other, until an error ends a coroutine: here one that calls
 * nil. */
static void revive_hook(struct coro *coro)
{
    lua_settop(coro->L, 0);
    lua_pushnil(coro->L);
    (void)lua_resume(coro->L, 0);
    drop_thread(coro);
}

/* Processor time that it may take, 0 without an end. */
static uint64_t budget_of(const struct coro *coro)
{
    if (coro->route == NULL || (!coro->route->is_compiled && coro->route->cpu_ms == 0)) {
        return coro->script->settings.handler_cpu_ms;
    }
    return coro->route->is_compiled ? 0 : coro->route->cpu_ms;
}

/* Running. */

void coro_resume(struct coro *coro, int nargs)
{
    struct script *script = coro->script;
    struct coro *outer = script->running;
    struct run outer_run, run;
    coro->wait = CORO_RUNS;
    script->running = coro;
    deadline_enter(script, budget_of(coro), &outer_run);
    int verdict = lua_resume(coro->L, nargs);
    deadline_leave(script, &outer_run, &run);
    script->running = outer;
    if (verdict == 0) {
        if (run.stop != STOP_NONE) {
            revive_hook(coro);
        }
        put_coro(coro);
    } else if (run.stop != STOP_NONE && coro->wait == CORO_RUNS) {
        coro_stop(coro, &run);
    } else if (verdict != LUA_YIELD || coro->wait == CORO_RUNS) {
        coro_fail(coro, verdict);
    } else if (coro->wait == CORO_ENDS) {
        drop_thread(coro);
        put_coro(coro);
    } else if (coro->is_stream && coro->exchange != NULL) {
        coro_begin_stream(coro); /* before it waits, the client may know the head */
    }
}

struct coro *coro_check_waiting(lua_State *L, const char *what)
{
    const struct script *script = script_of(L);
    if (script->phase == SCRIPT_LOADING) {
        script_raise(L, "%s cannot wait while the script starts: call it in a handler, a stream or a timer", what);
    }
    if (script->running == NULL) {
        script_raise(L, "%s cannot wait here: call it in a handler, a stream or a timer", what);
    }
    if (!lua_isyieldable(L)) {
        script_raise(L, "%s cannot wait inside a function that C calls back, such as that of table.sort", what);
    }
    if (script->running->L != L) {
        script_raise(L, "%s cannot wait inside a coroutine of the script's own", what);
    }
    return script->running;
}

struct exchange *coro_detach(struct coro *coro)
{
    struct exchange *exchange = coro->exchange;
    coro->exchange = NULL;
    exchange->user = NULL;
    exchange->on_drain = NULL;
    exchange->on_data = NULL;
    exchange->on_gone = NULL;
    return exchange;
}

void coro_raise_closed(lua_State *L)
{
    script_push_ref(script_of(L), L, REF_CLOSED);
    script_raise_top(L);
}

void coro_begin_stream(struct coro *coro)
{
    if (!coro->has_begun) {
        coro->has_begun = true;
        response_begin(coro->exchange, coro->stream_status, coro->stream_type, coro->stream_length);
    }
}

/* What resumes it. */

/* More room: first for what the script has written already, then for what it will write. */
static void on_drain(struct exchange *exchange)
{
    struct coro *coro = exchange->user;
    if (coro->wait != CORO_DRAINS) {
        return;
    }
    if (coro->pending != NULL) {
        struct anchor *pending = coro->pending;
        int rv = stream_write_pieces(coro, pending->data, pending->len, &coro->pending_done);
        if (rv == 0) {
            return;
        }
        release_pending(coro);
        if (rv < 0) {
            on_gone(exchange);
            return;
        }
    }
    lua_pushboolean(coro->L, 1);
    coro_resume(coro, 1);
}

/* More of the body, its end, or a fault: the script asks for it again. */
static void on_data(struct exchange *exchange)
{
    struct coro *coro = exchange->user;
    if (coro->wait == CORO_READS) {
        lua_pushboolean(coro->L, 1);
        coro_resume(coro, 1);
    }
}

static void on_gone(struct exchange *exchange)
{
    struct coro *coro = exchange->user;
    coro_detach(coro);
    coro->is_gone = true;
    release_pending(coro);
    if (coro->wait == CORO_SLEEPS) {
        reactor_cancel_timer(coro->script->reactor, coro->sleep_timer);
        coro->sleep_timer = 0;
        coro->is_told = true;
        lua_pushboolean(coro->L, 0);
        coro_resume(coro, 1);
    } else if (coro->wait == CORO_READS) {
        coro->is_told = true;
        lua_pushboolean(coro->L, 0);
        coro_resume(coro, 1);
    } else if (coro->wait == CORO_DRAINS) {
        coro->is_told = true;
        lua_pushnil(coro->L);
        script_push_ref(coro->script, coro->L, REF_CLOSED_TEXT);
        coro_resume(coro, 2);
    }
}

void coro_serve(struct exchange *exchange, void *ctx)
{
    const struct lua_route *route = ctx;
    struct script *script = route->script;
    struct coro *coro = coro_take(script);
    if (coro == NULL) {
        char text[SCRIPT_TEXT_MAX];
        memory_describe(script, NULL, text, sizeof text);
        log_write(script->log, LOG_ERROR, "route at %s: %s", route->place, text);
        response_error(exchange, 503, NULL);
        return;
    }
    coro->exchange = exchange;
    coro->route = route;
    coro->request_number = ++script->request_count;
    exchange->user = coro;
    exchange->on_drain = on_drain;
    exchange->on_data = on_data;
    exchange->on_gone = on_gone;
    script_push_ref(script, coro->L, REF_RUN);
    lua_rawgeti(coro->L, LUA_REGISTRYINDEX, route->fn_ref);
    coro_resume(coro, 1);
}
