/* Happy path: worker_request_call() copies the arguments into a job and waits. When the job has run, the coroutine is
 * resumed, and the prelude takes the results with worker_request_take().
 *
 * Failure modes: a full queue is an error at once, and so is an argument that cannot be copied. If the client goes away
 * or the time is up, the job is dropped: it does not run if it has not begun, and nobody hears of its results. The
 * results of a coroutine that is stopped between its being resumed and worker_request_take() are freed at its end. */

#include "lua/worker_request.h"

#include "core/job_pool.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/reactor.h"
#include "lua/coro.h"
#include "lua/coro_error.h"
#include "lua/deadline.h"
#include "lua/object.h"
#include "lua/relay.h"
#include "lua/scratch.h"
#include "lua/script_error.h"
#include "lua/value.h"
#include "lua/worker_pool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { WORKER_NAMED_MAX = PLACE_MAX }; /* bytes of "scripts/db.lua: find_users", with its NUL */

/* A call that was made, until its results are taken. While it waits, wait_id of its coroutine leads to it; once it is
 * done, result. */
struct worker_request {
    struct job job; /* first */
    struct worker_call call;
    struct coro *coro; /* that waits */
    uint64_t timer;    /* for the timeout; 0: none */
    char name[];       /* for errors: "scripts/db.lua: find_users" */
};

static struct script_worker *find_worker(const struct script *script, uint32_t number)
{
    struct script_worker *worker = script->workers;
    while (worker != NULL && worker->number != number) {
        worker = worker->next;
    }
    return worker;
}

static void free_request(struct worker_request *request)
{
    write_buffer_done(&request->call.bytes);
    mem_free(request);
}

static void drop_request(struct job *job)
{
    free_request((struct worker_request *)job);
}

static void run_request(struct job *job, void *arg, unsigned thread)
{
    worker_pool_run(arg, thread, &((struct worker_request *)job)->call);
}

/* Free the results that a coroutine has: struct coro.end_result, too. */
static void end_result(struct coro *coro)
{
    free_request(coro->result);
    coro->result = NULL;
}

static void end_request_timer(struct worker_request *request)
{
    if (request->timer != 0) {
        reactor_cancel_timer(request->coro->script->reactor, request->timer);
        request->timer = 0;
    }
}

static void on_request_done(struct job *job)
{
    struct worker_request *request = (struct worker_request *)job;
    struct coro *coro = request->coro;
    end_request_timer(request);
    coro->result = request;
    coro->end_result = end_result;
    coro->wait_id = 0;
    lua_pushboolean(coro->L, 1);
    coro_wake(coro, 1);
}

/* The wait is over before the call is. Returns whether that has begun. */
static bool drop_call(struct coro *coro)
{
    struct worker_request *request = (struct worker_request *)(uintptr_t)coro->wait_id;
    coro->wait_id = 0;
    end_request_timer(request);
    return job_drop(&request->job);
}

static void give_up_request(struct coro *coro)
{
    (void)drop_call(coro);
}

static int on_request_unwanted(struct coro *coro)
{
    (void)drop_call(coro);
    lua_pushboolean(coro->L, 0);
    return 1;
}

/* The time is up: worker_take() finds no results, and says why. */
static void on_request_late(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)reactor;
    (void)timer;
    struct worker_request *request = arg;
    struct coro *coro = request->coro;
    request->timer = 0;
    bool has_begun = drop_call(coro);
    lua_pushboolean(coro->L, 1);
    lua_pushboolean(coro->L, has_begun);
    coro_wake(coro, 2);
}

static const struct coro_wait worker_wait = {.on_gone = on_request_unwanted, .cancel = give_up_request};

static struct script_worker *check_worker(lua_State *L, char name[WORKER_NAMED_MAX])
{
    const struct worker_handle *handle = object_check(L, 1, REF_WORKER_META, sizeof *handle, "a function of a worker");
    struct script_worker *worker = find_worker(script_of(L), handle->number);
    lua_Integer number = luaL_checkinteger(L, 2);
    if (worker == NULL || number < 1 || number > (lua_Integer)worker_pool_names(worker->pool)->count) {
        script_raise(L, "there is no such function of a worker");
    }
    snprintf(name, WORKER_NAMED_MAX, "%s: %s", worker->path, worker_pool_names(worker->pool)->list[number - 1]);
    return worker;
}

/* Lend the scratch buffer with the arguments from index 3 on in it. Raises. */
static struct write_buffer *write_arguments(lua_State *L, const char *name)
{
    const struct value_rules rules = {.array_meta = script_of(L)->refs[REF_ARRAY_META], .look = deadline_check};
    char where[32], err[SCRIPT_TEXT_MAX];
    int count = lua_gettop(L) - 2;
    if (count > WORKER_VALUES_MAX) {
        script_raise(L, "%s: more than %d arguments", name, (int)WORKER_VALUES_MAX);
    }
    luaL_checkstack(L, VALUE_SLOTS, "too many arguments");
    struct write_buffer *out = script_lend_scratch(L, "a call of a worker");
    for (int i = 1; i <= count; i++) {
        snprintf(where, sizeof where, "argument %d", i);
        int rv = value_write(L, i + 2, &rules, out, WORKER_CALL_BYTES_MAX, where, err, sizeof err);
        if (rv == -ENOBUFS) {
            script_raise(L, "%s: the arguments have more than %d bytes", name, (int)WORKER_CALL_BYTES_MAX);
        } else if (rv == -ENOMEM) {
            script_raise_memory(L);
        } else if (rv < 0) {
            script_raise(L, "%s: %s", name, err);
        }
    }
    return out;
}

/* A request with the arguments. Raises. */
static struct worker_request *make_worker_request(lua_State *L, const char *name)
{
    const struct write_buffer *arguments = write_arguments(L, name);
    size_t size = strlen(name) + 1;
    struct worker_request *request = mem_zalloc(sizeof *request + size);
    int rv = request == NULL ? -ENOMEM : 0;
    if (rv == 0) {
        *request = (struct worker_request){
            .job = {.run = run_request, .on_done = on_request_done, .drop = drop_request},
            .call = {.name = request->name,
                     .function = (uint32_t)lua_tointeger(L, 2) - 1,
                     .count = (uint32_t)(lua_gettop(L) - 2)},
        };
        memcpy(request->name, name, size);
        write_buffer_init(&request->call.bytes);
        rv = write_buffer_append(&request->call.bytes, write_buffer_data(arguments), write_buffer_len(arguments),
                                 WORKER_CALL_BYTES_MAX);
    }
    script_return_scratch(L);
    if (rv < 0) {
        mem_free(request);
        script_raise_memory(L);
    }
    return request;
}

/* The request was not taken. */
static void refuse_call(lua_State *L, struct script_worker *worker, const char *name, int error)
{
    const struct script *script = script_of(L);
    char others[OTHERS_MAX];
    if (error == -EAGAIN) {
        if (script_may_log(script, &worker->full, others)) {
            log_write(script->log, LOG_WARN, "%s is refused: %u threads are busy, and %u calls wait already (queue)%s",
                      name, worker->threads, worker->queue, others);
        }
        script_raise_answer(L, 503, "busy: the queue is full, try again later");
    }
    if (error == -ENOMEM) {
        script_raise_memory(L);
    }
    script_raise(L, "%s: no thread can be started: %s", name, errno_text(-error));
}

int worker_request_call(lua_State *L)
{
    struct script *script = script_of(L);
    char name[WORKER_NAMED_MAX];
    if (relay_is_needed(L)) {
        return relay_call(L);
    }
    struct script_worker *worker = check_worker(L, name);
    struct coro *coro = coro_check_waiting(L, name);
    if (coro_is_unwanted(coro)) {
        return coro_say_gone(L, coro);
    }
    coro_end_result(coro); /* of a call whose results could not be read */
    int rv = worker->desk != NULL ? 0 : job_desk_open(&worker->desk, worker->pool, script->reactor);
    if (rv < 0) {
        script_raise(L, "%s: %s", name, errno_text(-rv));
    }
    struct worker_request *request = make_worker_request(L, name);
    request->coro = coro;
    if (worker->timeout_ms > 0) {
        request->timer = reactor_set_timeout(script->reactor, worker->timeout_ms, on_request_late, request);
        rv = request->timer == 0 ? -ENOMEM : 0;
    }
    rv = rv < 0 ? rv : job_submit(worker->desk, &request->job);
    if (rv < 0) {
        end_request_timer(request);
        free_request(request);
        refuse_call(L, worker, name, rv);
    }
    coro->wait_id = (uint64_t)(uintptr_t)request;
    return coro_wait(L, coro, &worker_wait);
}

/* Push the values of a call. Raises. */
static void read_results(lua_State *L, const struct worker_call *call)
{
    const struct value_rules rules = {.array_meta = script_of(L)->refs[REF_ARRAY_META], .look = deadline_check};
    luaL_checkstack(L, (int)call->count + VALUE_SLOTS, "too many results");
    const char *bytes = write_buffer_data(&call->bytes);
    for (uint32_t i = 0; i < call->count; i++) {
        bytes = value_read(L, &rules, bytes);
    }
}

int worker_request_take(lua_State *L)
{
    char name[WORKER_NAMED_MAX];
    const struct script_worker *worker = check_worker(L, name);
    struct coro *coro = coro_check_running(L, name);
    const struct worker_request *request = coro->end_result == end_result ? coro->result : NULL;
    if (request == NULL) {
        script_raise(L, "%s: no result within %u ms (timeout); %s", name, worker->timeout_ms,
                     lua_toboolean(L, 3) ? "its thread goes on"
                                         : "all threads were busy, so it has not begun and is dropped");
    }
    lua_settop(L, 0);
    read_results(L, &request->call);
    enum worker_outcome outcome = request->call.outcome;
    size_t held = request->call.held_bytes;
    int count = (int)request->call.count;
    end_result(coro);
    if (outcome == WORKER_RETURNED) {
        return count;
    }
    if (outcome == WORKER_SHORT) {
        script_raise(L, "%s: not enough memory: %zu bytes are held (memory of app.worker)", name, held);
    }
    coro_keep_trace(L, 1, 2);
    lua_settop(L, 1);
    script_raise_top(L);
}
