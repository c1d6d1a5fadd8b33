/* Happy path: app.worker() gets a pool of threads, each of which has loaded the module (worker_pool.c). A call copies
 * its arguments into a job and waits. When the job has run, the coroutine is resumed, and the prelude takes the results
 * with worker_take().
 *
 * Failure modes: a full queue is an error at once, and so is an argument that cannot be copied. If the client goes away
 * or the time is up, the job is dropped: it does not run if it has not begun, and nobody hears of its results. A
 * coroutine that is stopped between its being resumed and worker_take() leaves a finished call behind, which the next
 * call of the script frees. */

#include "lua/bind_worker.h"

#include "core/job_pool.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "http/limits.h"
#include "lua/coro.h"
#include "lua/coro_error.h"
#include "lua/deadline.h"
#include "lua/duration.h"
#include "lua/folders.h"
#include "lua/object.h"
#include "lua/relay.h"
#include "lua/scratch.h"
#include "lua/script_error.h"
#include "lua/value.h"
#include "lua/worker_pool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    WORKER_THREADS = 2,           /* by default */
    WORKER_QUEUE = 100,           /* likewise */
    WORKER_TIMEOUT_MS = 30000,    /* likewise */
    WORKER_MEMORY_MIB = 64,       /* likewise, of each thread's state */
    WORKER_MEMORY_LEAST_MIB = 1,  /* with less no module loads */
    WORKER_NAMED_MAX = PLACE_MAX, /* bytes of "scripts/db.lua: find_users", with its NUL */
};

/* An app.worker. */
struct script_worker {
    struct script_worker *next; /* of the script */
    uint32_t number;            /* of the script's, from 1 */
    uint32_t timeout_ms;        /* of a call; 0: none */
    unsigned threads, queue;    /* at most */
    struct job_pool *pool;      /* held; NULL while it is made */
    struct job_desk *desk;      /* of the script's reactor; NULL before the first call */
    struct line_limit full;     /* lines about a full queue */
    char path[];                /* of the module */
};

/* What Lua holds of it. */
struct worker_handle {
    uint32_t number;
};

/* A call that was made, until its results are taken. While it waits, wait_id of its coroutine leads to it. */
struct worker_request {
    struct job job; /* first */
    struct worker_call call;
    struct worker_request *next; /* in the list of finished calls */
    struct coro *coro;           /* that waits */
    uint32_t generation;         /* of coro */
    uint64_t timer;              /* for the timeout; 0: none */
    bool is_taken;               /* reading its results has begun, and failed if it is still in the list */
    char name[];                 /* for errors: "scripts/db.lua: find_users" */
};

/* Workers. */

static struct script_worker *find_worker(const struct script *script, uint32_t number)
{
    struct script_worker *worker = script->workers;
    while (worker != NULL && worker->number != number) {
        worker = worker->next;
    }
    return worker;
}

static bool can_open(const struct script *script, const char *path)
{
    int fd = sys_open(sys_base(script->base_fd), path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    return fd >= 0 && sys_close(fd) == 0;
}

/* A module lies beside the script, as those of require do, or where relative paths start. */
static void find_module(const struct script *script, const char *path, char found[PATH_MAX])
{
    char folder[PATH_MAX];
    script_folder(script, folder);
    bool is_beside = path[0] != '/' && strcmp(folder, ".") != 0;
    if (!is_beside || snprintf(found, PATH_MAX, "%s/%s", folder, path) >= PATH_MAX || !can_open(script, found)) {
        snprintf(found, PATH_MAX, "%s", path);
    }
}

/* The option at index: a whole number from least to most. */
static unsigned check_worker_number(lua_State *L, int index, const char *name, unsigned usual, unsigned least,
                                    unsigned most)
{
    if (lua_isnil(L, index)) {
        return usual;
    }
    double number = lua_type(L, index) == LUA_TNUMBER ? lua_tonumber(L, index) : -1;
    if (!(number >= least && number <= most) || number != (double)(unsigned)number) {
        script_raise(L, "app.worker: %s: a whole number from %u to %u expected", name, least, most);
    }
    return (unsigned)number;
}

/* The option at index: bytes of a state's memory. */
static size_t check_worker_memory(lua_State *L, int index)
{
    char err[SCRIPT_TEXT_MAX];
    uint64_t bytes = (uint64_t)WORKER_MEMORY_MIB << 20;
    if (lua_type(L, index) == LUA_TNUMBER) {
        double number = lua_tonumber(L, index);
        bytes = number >= 0 && number < (double)(SIZE_MAX / 2) ? (uint64_t)number : 0;
    } else if (lua_type(L, index) == LUA_TSTRING) {
        if (limits_parse_value(LIMIT_BYTES, script_check_text(L, index, "app.worker"), &bytes, err, sizeof err) < 0) {
            script_raise(L, "app.worker: memory: %s", err);
        }
    } else if (!lua_isnil(L, index)) {
        script_raise(L, "app.worker: memory: a size such as \"64M\" expected, got %s", luaL_typename(L, index));
    }
    if (bytes < (uint64_t)WORKER_MEMORY_LEAST_MIB << 20 || bytes > SIZE_MAX / 2) {
        script_raise(L, "app.worker: memory: at least \"%dM\" expected", (int)WORKER_MEMORY_LEAST_MIB);
    }
    return (size_t)bytes;
}

/* Where require looks, as the script has set it; NULL if it is no text. It stays on the stack. */
static const char *push_package_field(lua_State *L, const char *name)
{
    lua_getglobal(L, "package");
    if (lua_istable(L, -1)) {
        lua_getfield(L, -1, name);
        lua_remove(L, -2);
    }
    return lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
}

static struct script_worker *make_worker(lua_State *L, const char *path)
{
    struct script *script = script_of(L);
    size_t size = strlen(path) + 1;
    struct script_worker *worker = mem_zalloc(sizeof *worker + size);
    if (worker == NULL) {
        script_raise_memory(L);
    }
    memcpy(worker->path, path, size);
    worker->number = script->workers == NULL ? 1 : script->workers->number + 1;
    worker->next = script->workers;
    script->workers = worker;
    return worker;
}

/* worker_open(path, threads, queue, memory, timeout): a handle, and the names of the module's functions. */
static int worker_open(lua_State *L)
{
    struct script *script = script_of(L);
    char path[PATH_MAX], err[SCRIPT_TEXT_MAX];
    lua_settop(L, 5);
    script_check_loading(L, "app.worker");
    find_module(script, script_check_text(L, 1, "app.worker"), path);
    unsigned threads = check_worker_number(L, 2, "threads", WORKER_THREADS, 1, JOB_THREADS_MAX);
    unsigned queue = check_worker_number(L, 3, "queue", WORKER_QUEUE, 0, JOB_QUEUE_MAX);
    size_t memory_bytes = check_worker_memory(L, 4);
    uint32_t timeout_ms = lua_isnil(L, 5) ? WORKER_TIMEOUT_MS : duration_check(L, 5, "app.worker: timeout");
    if (script->jobs == NULL) {
        script_raise(L, "app.worker works only in a script of a server");
    }
    struct worker_handle *handle = lua_newuserdata(L, sizeof *handle);
    script_push_ref(script, L, REF_WORKER_META);
    lua_setmetatable(L, -2);
    struct script_worker *worker = make_worker(L, path);
    worker->timeout_ms = timeout_ms;
    worker->threads = threads;
    worker->queue = queue;
    handle->number = worker->number;
    const struct worker_pool_plan plan = {
        .module = {.script = script,
                   .path = worker->path,
                   .package_path = push_package_field(L, "path"),
                   .package_cpath = push_package_field(L, "cpath"),
                   .memory_bytes = memory_bytes},
        .threads = threads,
        .queue = queue,
    };
    if (script->on_file != NULL) {
        script->on_file(script->on_file_arg, worker->path, SCRIPT_FILE_CODE);
    }
    int rv = worker_pool_get(&plan, &worker->pool, err, sizeof err);
    if (rv < 0) {
        script_raise(L, "app.worker: %s", err);
    }
    lua_settop(L, 6);
    const struct worker_names *names = worker_pool_names(worker->pool);
    lua_createtable(L, (int)names->count, 0);
    for (uint32_t i = 0; i < names->count; i++) {
        lua_pushstring(L, names->list[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 2;
}

/* Calls. */

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

/* Free finished calls that nobody will take. */
static void sweep_finished(struct script *script)
{
    struct worker_request **place = &script->finished_calls;
    while (*place != NULL) {
        struct worker_request *request = *place;
        if (request->is_taken || request->coro->generation != request->generation) {
            *place = request->next;
            free_request(request);
        } else {
            place = &request->next;
        }
    }
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
    request->next = coro->script->finished_calls;
    coro->script->finished_calls = request;
    coro->wait_id = 0;
    lua_pushboolean(coro->L, 1);
    coro_wake(coro, 1);
}

/* The wait is over before the call is. */
static void give_up_request(struct coro *coro)
{
    struct worker_request *request = (struct worker_request *)(uintptr_t)coro->wait_id;
    coro->wait_id = 0;
    end_request_timer(request);
    job_drop(&request->job);
}

static int on_request_unwanted(struct coro *coro)
{
    give_up_request(coro);
    lua_pushboolean(coro->L, 0);
    return 1;
}

/* The time is up: worker_take() finds no results. */
static void on_request_late(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)reactor;
    (void)timer;
    struct worker_request *request = arg;
    struct coro *coro = request->coro;
    request->timer = 0;
    give_up_request(coro);
    lua_pushboolean(coro->L, 1);
    coro_wake(coro, 1);
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
    script_raise(L, "%s: no thread can be started: %s", name, errno_text(-error));
}

/* worker_call(handle, number, ...): true, later, when the call has been made; false when the client has gone. */
static int worker_call(lua_State *L)
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
    sweep_finished(script);
    int rv = worker->desk != NULL ? 0 : job_desk_open(&worker->desk, worker->pool, script->reactor);
    if (rv < 0) {
        script_raise(L, "%s: %s", name, errno_text(-rv));
    }
    struct worker_request *request = make_worker_request(L, name);
    request->coro = coro;
    request->generation = coro->generation;
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

/* The finished call of a coroutine; NULL: there is none. */
static struct worker_request *find_finished(const struct script *script, const struct coro *coro)
{
    struct worker_request *request = script->finished_calls;
    while (request != NULL && (request->is_taken || request->coro != coro || request->generation != coro->generation)) {
        request = request->next;
    }
    return request;
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

/* worker_take(handle, number): the results of the call that has ended last. Raises its error. */
static int worker_take(lua_State *L)
{
    struct script *script = script_of(L);
    char name[WORKER_NAMED_MAX];
    const struct script_worker *worker = check_worker(L, name);
    struct coro *coro = coro_check_running(L, name);
    struct worker_request *request = find_finished(script, coro);
    if (request == NULL) {
        script_raise(L, "%s: no result within %u ms (timeout); its thread goes on", name, worker->timeout_ms);
    }
    lua_settop(L, 0);
    request->is_taken = true; /* if this raises, it is freed later */
    read_results(L, &request->call);
    enum worker_outcome outcome = request->call.outcome;
    size_t held = request->call.held_bytes;
    int count = (int)request->call.count;
    sweep_finished(script);
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

/* The end. */

bool worker_any_is_busy(const struct script *script)
{
    bool is_busy = false;
    for (const struct script_worker *worker = script->workers; worker != NULL && !is_busy; worker = worker->next) {
        is_busy = worker->desk != NULL && job_desk_is_busy(worker->desk);
    }
    return is_busy;
}

void worker_free_all(struct script *script)
{
    while (script->finished_calls != NULL) {
        struct worker_request *request = script->finished_calls;
        script->finished_calls = request->next;
        free_request(request);
    }
    while (script->workers != NULL) {
        struct script_worker *worker = script->workers;
        script->workers = worker->next;
        job_desk_close(worker->desk);
        if (worker->pool != NULL) {
            job_pools_put(script->jobs, worker->pool);
        }
        mem_free(worker);
    }
}

void bind_worker(lua_State *L)
{
    static const luaL_Reg methods[] = {{NULL, NULL}};
    static const luaL_Reg functions[] = {
        {"worker_open", worker_open},
        {"worker_call", worker_call},
        {"worker_take", worker_take},
        {NULL, NULL},
    };
    object_set_methods(L, methods, "worker", REF_WORKER_META);
    luaL_register(L, NULL, functions);
}
