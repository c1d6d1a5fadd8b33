/* How a coroutine fails.
 *
 * Happy path of a failure: the prelude's run() catches the error; trace() keeps its traceback when a nxt() or a
 * coroutine of the script's own has caught it before. report(), where it happened, logs it with its
 * traceback. recover() says who may still answer: the error itself when it is a response (app.error), else the function
 * of app.on("error", fn); decline() when that has none to give. Else the client gets a 500, or a cut connection when
 * its response has begun.
 *
 * Failure modes: memory may be too short for a traceback, then a line without one is logged, and the client gets a
 * 503. */

#include "lua/coro_error.h"

#include "core/log.h"
#include "http/exchange_log.h"
#include "http/response.h"
#include "lua/call.h"
#include "lua/coro_pool.h"
#include "lua/error_page.h"
#include "lua/memory.h"
#include "lua/object.h"
#include "lua/script_error.h"

#include <stdio.h>
#include <string.h>

enum { TRACE_MAX = 8192 }; /* bytes of a kept traceback, beyond which no coroutine adds its own */

/* Push the text of the error value at index, with what does not show made visible: the client may have sent what it
 * quotes. May raise. */
static void push_error_text(lua_State *L, int index)
{
    script_push_error_text(L, index);
    script_place_error(L);
    size_t len;
    const char *text = lua_tolstring(L, -1, &len);
    script_push_visible(L, text, len, VISIBLE_LINE);
}

/* Whether the query of a target may be logged: it may hold a secret. */
static size_t logged_len(const struct coro *coro, const char *target, size_t len)
{
    const char *query = memchr(target, '?', len);
    bool is_shown = query == NULL || coro->script->settings.debug || log_is_on(coro->script->log, LOG_DEBUG);
    return is_shown ? len : (size_t)(query - target);
}

void coro_log_failure(const struct coro *coro, const char *text)
{
    const struct log *log = coro->script->log;
    if (coro->route == NULL) {
        log_write_about(log, LOG_ERROR, &(struct log_subject){.place = coro->owner->what}, "%s: %s", coro->owner->what,
                        text);
    } else if (coro->exchange == NULL) {
        char client[NET_TEXT_MAX];
        const struct log_subject subject = coro_subject(coro, coro->route, client);
        log_write_about(log, LOG_ERROR, &subject, "route at %s: %s", coro->route->place, text);
    } else {
        const struct head *head = &coro->exchange->head;
        const char *target = exchange_text(coro->exchange, head->target);
        size_t len = logged_len(coro, target, head->target.len);
        exchange_log(coro->exchange, LOG_ERROR, coro->route, "%.*s %.*s%s (route at %s): %s",
                     (int)head->method_text.len, exchange_text(coro->exchange, head->method_text), (int)len, target,
                     len < head->target.len ? "?..." : "", coro->route->place, text);
    }
}

/* The last line of text, its newline first, if it begins with start. */
static const char *last_line(const char *text, size_t len, const char *start)
{
    const char *line = memrchr(text, '\n', len);
    return line != NULL && strncmp(line, start, strlen(start)) == 0 ? line : NULL;
}

/* Where the prelude's part of a traceback begins; NULL when it has none. */
static const char *find_prelude_part(const char *text)
{
    static const char entry[] = "\n\t[C]: in function 'xpcall'\n\tevserve:";
    static const char *const bases[] = {"\n\t[builtin#", "\n\t[C]: at "}; /* xpcall, when C has called it (serve.c) */
    const char *found = NULL;
    for (size_t i = 0; i < sizeof bases / sizeof bases[0] && found == NULL; i++) {
        found = last_line(text, strlen(text), bases[i]);
    }
    for (const char *at = found != NULL ? NULL : strstr(text, entry); at != NULL; at = strstr(at + 1, entry)) {
        found = at;
    }
    const char *ours = found == NULL ? NULL : last_line(text, (size_t)(found - text), "\n\tevserve:");
    return ours != NULL ? ours : found;
}

/* Put a traceback of thread behind the text on top of the stack; the prelude's part of it is left out. */
static void add_traceback(lua_State *L, lua_State *thread, int level)
{
    luaL_traceback(L, thread, lua_tostring(L, -1), level);
    const char *text = lua_tostring(L, -1);
    const char *end = find_prelude_part(text);
    if (end != NULL) {
        lua_pushlstring(L, text, (size_t)(end - text));
    }
}

static void push_traceback(lua_State *L, int index, lua_State *thread, int level)
{
    push_error_text(L, index);
    add_traceback(L, thread, level);
}

static int report_place(lua_State *L)
{
    const char *text = lua_touserdata(L, 1);
    struct script *script = script_of(L);
    struct coro *coro = script->running;
    char place[PLACE_MAX];
    char others[OTHERS_MAX] = "";
    script_place(L, place);
    bool is_logged = script->run->stop != STOP_MEMORY || script_may_log(script, &script->full_lines, others);
    lua_pushfstring(L, "%s: %s%s", place, text, others);
    push_traceback(L, lua_gettop(L), L, 1);
    if (is_logged) {
        coro_log_failure(coro, lua_tostring(L, -1));
    }
    error_page_keep(L, coro, lua_gettop(L), place);
    return 0;
}

bool coro_report(lua_State *L, const char *text)
{
    if (lua_cpcall(L, report_place, (void *)(uintptr_t)text) != 0) { /* which changes nothing there */
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
    script_push_ref(coro->script, L, REF_CANCELLED);
    bool is_same = lua_rawequal(L, -1, index) != 0 || lua_rawequal(L, -2, index) != 0;
    lua_pop(L, 2);
    return is_same;
}

/* The error value at index is of app.error. */
static bool is_raised_error(lua_State *L, int index)
{
    return object_has_meta(L, index, REF_RAISED_META);
}

/* Whether the error at index concerns nobody: it says that the client has gone, or is a response for a client that has
 * gone. */
static bool is_for_nobody(lua_State *L, const struct coro *coro, int index)
{
    return is_closed_error(L, coro, index) || (coro->is_gone && is_raised_error(L, index));
}

/* It is a response, and there is still a response to be given. */
static bool is_answer_error(lua_State *L, const struct coro *coro, int index)
{
    return coro->exchange != NULL && coro->exchange->response_state == RESPONSE_NONE && !coro->is_raised &&
           is_raised_error(L, index);
}

static bool is_memory_error(lua_State *L, int index)
{
    return script_is_memory_error(L, index, script_of(L)->run);
}

/* Push the traceback that is kept for the error at index, put where that happened into place, and return true; or
 * nothing. */
static bool push_trace(lua_State *L, const struct coro *coro, int index, char place[PLACE_MAX])
{
    coro_push_kept(L, coro, REF_TRACES);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        return false;
    }
    lua_rawgeti(L, -1, 1);
    if (lua_rawequal(L, -1, index) == 0) {
        lua_pop(L, 2);
        return false;
    }
    lua_rawgeti(L, -2, 3);
    snprintf(place, PLACE_MAX, "%s", lua_tostring(L, -1));
    lua_rawgeti(L, -3, 2);
    return true;
}

/* Give the error on top of the stack the place that a script knows, if it is a text. */
static void place_text(lua_State *L)
{
    if (lua_type(L, -1) == LUA_TSTRING) {
        script_place_error(L);
    }
}

/* trace(err, thread): keep the traceback of an error that is caught here and raised again: where that happens, the
 * place of the error is no more to be seen. As the message handler of nxt() it runs at this place, and thread is nil;
 * else it is the coroutine that err has ended. An error that is raised again, and caught by the next one, has its
 * traceback already, to which that of whoever has resumed thread is added, until it is long: coroutines may be nested
 * 100,000 deep. */
static int lua_trace(lua_State *L)
{
    struct coro *coro = script_of(L)->running;
    lua_State *thread = lua_tothread(L, 2);
    lua_settop(L, 1);
    if (thread == NULL) {
        place_text(L);
    }
    if (coro == NULL || is_closed_error(L, coro, 1) || is_raised_error(L, 1) || is_memory_error(L, 1)) {
        return 1;
    }
    char place[PLACE_MAX];
    bool is_kept = push_trace(L, coro, 1, place);
    if (!is_kept) {
        script_place(thread == NULL ? L : thread, place);
        push_traceback(L, 1, thread == NULL ? L : thread, thread == NULL ? 1 : 0);
    }
    if (is_kept && (thread == NULL || lua_objlen(L, -1) > TRACE_MAX)) {
        lua_settop(L, 1);
        return 1;
    }
    if (thread != NULL) {
        add_traceback(L, L, 2); /* above unwrap() of prelude_coroutine.lua */
    }
    lua_createtable(L, 3, 0);
    lua_pushvalue(L, 1);
    lua_rawseti(L, -2, 1);
    lua_pushvalue(L, -2);
    lua_rawseti(L, -2, 2);
    lua_pushstring(L, place);
    lua_rawseti(L, -2, 3);
    coro_keep(L, coro, REF_TRACES);
    lua_settop(L, 1);
    return 1;
}

void coro_keep_trace(lua_State *L, int index, int trace)
{
    struct coro *coro = script_of(L)->running;
    char place[PLACE_MAX];
    script_place(L, place);
    lua_createtable(L, 3, 0);
    int kept = lua_gettop(L);
    lua_pushvalue(L, index);
    lua_rawseti(L, kept, 1);
    push_error_text(L, index);
    if (lua_objlen(L, trace) > 0) {
        lua_pushliteral(L, "\nin the worker: ");
        lua_pushvalue(L, trace);
        lua_concat(L, 3);
    }
    add_traceback(L, L, 1);
    lua_rawseti(L, kept, 2);
    lua_settop(L, kept);
    lua_pushstring(L, place);
    lua_rawseti(L, kept, 3);
    coro_keep(L, coro, REF_TRACES);
}

/* report(err): the message handler of xpcall. It runs where the error happened, so the traceback has every line. */
static int lua_report(lua_State *L)
{
    struct coro *coro = coro_check_running(L, "an error");
    lua_settop(L, 1);
    if (is_memory_error(L, 1)) { /* it was caught on its way: recover() logs it with the figures */
        return 1;
    }
    if (!is_for_nobody(L, coro, 1) && !is_answer_error(L, coro, 1)) {
        char place[PLACE_MAX];
        if (!push_trace(L, coro, 1, place)) {
            script_place(L, place);
            push_traceback(L, 1, L, 1);
        }
        if (coro->script->run->stop == STOP_NONE) { /* else it is in the log already */
            coro_log_failure(coro, lua_tostring(L, -1));
        }
        error_page_keep(L, coro, lua_gettop(L), place);
    }
    coro->is_reported = true;
    lua_settop(L, 1);
    place_text(L);
    return 1;
}

/* Log an error for which there was no memory to make a traceback of; that lua_memory is reached, once a second at
 * most. */
static void log_short_failure(const struct coro *coro, const char *text)
{
    char cap[SCRIPT_TEXT_MAX];
    char others[OTHERS_MAX];
    struct script *script = coro->script;
    if (script->run->refused_bytes == 0) {
        coro_log_failure(coro, text);
    } else if (script_may_log(script, &script->full_lines, others)) {
        memory_describe(script, script->run, cap, sizeof cap - sizeof others);
        coro_log_failure(coro, strcat(cap, others));
    }
}

void coro_give_up(struct coro *coro, int status)
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

/* recover(err): after a failure, the function that may still answer: answer_raised() for an error that is a response,
 * else that of app.on("error", fn); nothing when all is settled. Each is given once, so a request fails three times at
 * most. */
static int lua_recover(lua_State *L)
{
    struct coro *coro = coro_check_running(L, "an error");
    lua_settop(L, 1);
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
        coro->before_wait = NULL;
        script_push_ref(coro->script, L, REF_ANSWER_RAISED);
        return 1;
    }
    bool has_handler = coro->script->refs[REF_ERROR_HANDLER] != LUA_NOREF && !coro->is_error_handler;
    if (!has_handler || coro->exchange->response_state != RESPONSE_NONE) {
        coro_give_up(coro, is_memory_error(L, 1) ? 503 : 500);
        return 0;
    }
    response_clear_fields(coro->exchange);
    coro->is_error_handler = true;
    coro->before_wait = NULL;
    script_push_ref(coro->script, L, REF_ERROR_HANDLER);
    return 1;
}

/* failed(err): after a failure inside a middleware, whose nxt() returns a response in its place: the function of
 * app.on("error", fn), or false if there is none or it was given before; the text of err; then the page of a developer
 * and its type, if there is one. nil for an error that ends the coroutine: its client has gone, or memory is short. */
static int lua_failed(lua_State *L)
{
    struct coro *coro = coro_check_running(L, "an error");
    lua_settop(L, 1);
    bool ends = coro->exchange == NULL || coro->exchange->response_state != RESPONSE_NONE || coro->is_gone ||
                is_memory_error(L, 1) || is_closed_error(L, coro, 1);
    if (ends) {
        return 0;
    }
    coro->is_reported = false;
    coro->before_wait = NULL;
    response_clear_fields(coro->exchange);
    push_error_text(L, 1);
    lua_replace(L, 1);
    lua_settop(L, 1);
    if (coro->script->refs[REF_ERROR_HANDLER] != LUA_NOREF && !coro->is_error_handler) {
        coro->is_error_handler = true;
        script_push_ref(coro->script, L, REF_ERROR_HANDLER);
    } else {
        lua_pushboolean(L, 0);
    }
    lua_insert(L, 1);
    return 2 + error_page_push(L, coro);
}

/* decline(err): the function of app.on("error", fn) has no response to err. */
static int lua_decline(lua_State *L)
{
    coro_give_up(coro_check_running(L, "an error"), is_memory_error(L, 1) ? 503 : 500);
    return 0;
}

static int report_yield(lua_State *L)
{
    struct coro *coro = lua_touserdata(L, 1);
    lua_pushliteral(L, "coroutine.yield() outside a coroutine that the script created");
    push_traceback(L, lua_gettop(L), coro->L, 0);
    coro_log_failure(coro, lua_tostring(L, -1));
    char place[PLACE_MAX];
    script_place(coro->L, place);
    error_page_keep(L, coro, lua_gettop(L), place);
    return 0;
}

int coro_report_yield(struct coro *coro)
{
    return script_protect(coro->script, report_yield, coro, NULL, 0);
}

void bind_coro_error(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"report", lua_report},   {"trace", lua_trace},   {"recover", lua_recover},
        {"decline", lua_decline}, {"failed", lua_failed}, {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
}
