/* Happy path: app.worker() gets a pool of threads, each of which has loaded the module (worker_pool.c). What it returns
 * has a function for each of the module's, which makes a call (worker_request.c).
 *
 * Failure modes: whatever is wrong with an option or with the module is an error that begins with the place in the
 * script. */

#include "lua/bind_worker.h"

#include "core/job_pool.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/sys.h"
#include "http/limits.h"
#include "lua/bind_settings.h"
#include "lua/duration.h"
#include "lua/folders.h"
#include "lua/object.h"
#include "lua/script_error.h"
#include "lua/worker_pool.h"
#include "lua/worker_request.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    WORKER_THREADS = 2,           /* by default */
    WORKER_QUEUE = 100,           /* likewise */
    WORKER_TIMEOUT_MS = 30000,    /* likewise */
    WORKER_TIMEOUT_ODD_MS = 1000, /* a number below most likely means seconds */
    WORKER_MEMORY_MIB = 64,       /* likewise, of each thread's state */
    WORKER_MEMORY_LEAST_MIB = 1,  /* with less no module loads */
};

/* Whether the file can be opened; one that cannot be read is there, too, and the error about it says why. */
static bool is_module_there(const struct script *script, const char *path)
{
    if (script_has_packed(script, path)) {
        return true;
    }
    int fd = sys_open(sys_base(script->base_fd), path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (fd >= 0) {
        sys_close(fd);
    }
    return fd != -ENOENT && fd != -ENOTDIR;
}

/* A module lies beside the script, as those of require do, or where relative paths start. Raises. */
static void find_module(lua_State *L, const char *path, char found[PATH_MAX])
{
    const struct script *script = script_of(L);
    char folder[PATH_MAX];
    script_folder(script, folder);
    bool has_two_places = path[0] != '/' && strcmp(folder, ".") != 0;
    if (has_two_places && snprintf(found, PATH_MAX, "%s/%s", folder, path) < PATH_MAX &&
        is_module_there(script, found)) {
        return;
    }
    snprintf(found, PATH_MAX, "%s", path);
    if (has_two_places && !is_module_there(script, found)) {
        script_raise(L, "app.worker: there is no %s, neither in %s nor in the folder that the server was started in",
                     path, folder);
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
    find_module(L, script_check_text(L, 1, "app.worker"), path);
    unsigned threads = check_worker_number(L, 2, "threads", WORKER_THREADS, 1, JOB_THREADS_MAX);
    unsigned queue = check_worker_number(L, 3, "queue", WORKER_QUEUE, 0, JOB_QUEUE_MAX);
    size_t memory_bytes = check_worker_memory(L, 4);
    uint32_t timeout_ms = lua_isnil(L, 5) ? WORKER_TIMEOUT_MS : duration_check(L, 5, "app.worker: timeout");
    script_warn_if_seconds(L, 5, "app.worker", "timeout", timeout_ms, WORKER_TIMEOUT_ODD_MS);
    if (script->jobs == NULL) {
        script_raise(L, "app.worker works only in a script of a server");
    }
    struct worker_handle *handle = lua_newuserdata(L, sizeof *handle);
    script_push_ref(script, L, REF_WORKER_META);
    lua_setmetatable(L, -2);
    const char *package_path = push_package_field(L, "path");
    const char *package_cpath = push_package_field(L, "cpath");
    struct script_worker *worker = make_worker(L, path); /* nothing raises before it has its pool */
    worker->timeout_ms = timeout_ms;
    worker->threads = threads;
    worker->queue = queue;
    handle->number = worker->number;
    const struct worker_pool_plan plan = {
        .module = {.script = script,
                   .path = worker->path,
                   .package_path = package_path,
                   .package_cpath = package_cpath,
                   .memory_bytes = memory_bytes},
        .threads = threads,
        .queue = queue,
    };
    if (script->on_file != NULL && !script_has_packed(script, worker->path)) {
        script->on_file(script->on_file_arg, worker->path, SCRIPT_FILE_CODE);
    }
    int rv = worker_pool_get(&plan, &worker->pool, err, sizeof err);
    if (rv < 0) {
        script->workers = worker->next;
        mem_free(worker);
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

/* worker_stats(): what the pools of the script's workers have done, in the order of app.worker. */
static int worker_stats(lua_State *L)
{
    const struct script *script = script_of(L);
    lua_settop(L, 0);
    lua_newtable(L);
    for (const struct script_worker *worker = script->workers; worker != NULL; worker = worker->next) {
        const struct job_pool_counts counts = job_pool_counts(worker->pool);
        const struct {
            const char *name;
            uint64_t value;
        } fields[] = {{"threads", counts.threads},
                      {"busy", counts.busy},
                      {"waiting", counts.waiting},
                      {"calls", counts.run},
                      {"refused", counts.refused}};
        lua_createtable(L, 0, 6);
        lua_pushstring(L, worker->path);
        lua_setfield(L, -2, "path");
        for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
            lua_pushnumber(L, (lua_Number)fields[i].value);
            lua_setfield(L, -2, fields[i].name);
        }
        lua_rawseti(L, 1, (int)worker->number);
    }
    script_push_ref(script, L, REF_ARRAY_META);
    lua_setmetatable(L, 1);
    return 1;
}

/* The end. */

bool worker_any_is_busy(const struct script *script)
{
    bool is_busy = false;
    for (const struct script_worker *worker = script->workers; worker != NULL && !is_busy; worker = worker->next) {
        is_busy = worker->desk != NULL && job_desk_running(worker->desk) > 0;
    }
    return is_busy;
}

void worker_report_left(const struct script *script)
{
    for (const struct script_worker *worker = script->workers; worker != NULL; worker = worker->next) {
        unsigned running = worker->desk == NULL ? 0 : job_desk_running(worker->desk);
        if (running > 0) {
            log_write(script->log, LOG_WARN,
                      "%s: %u call%s still run%s when the script ends: left behind until %s return%s", worker->path,
                      running, running == 1 ? "" : "s", running == 1 ? "s" : "", running == 1 ? "it" : "they",
                      running == 1 ? "s" : "");
        }
    }
}

void worker_free_all(struct script *script)
{
    while (script->workers != NULL) {
        struct script_worker *worker = script->workers;
        script->workers = worker->next;
        job_desk_close(worker->desk);
        job_pools_put(script->jobs, worker->pool);
        mem_free(worker);
    }
}

void bind_worker(lua_State *L)
{
    static const luaL_Reg methods[] = {{NULL, NULL}};
    static const luaL_Reg functions[] = {
        {"worker_open", worker_open},
        {"worker_call", worker_request_call},
        {"worker_take", worker_request_take},
        {"worker_stats", worker_stats},
        {NULL, NULL},
    };
    object_set_methods(L, methods, "worker", REF_WORKER_META);
    luaL_register(L, NULL, functions);
}
