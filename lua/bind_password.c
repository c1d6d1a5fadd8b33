/* app.password: a hash takes as long as a hundred requests, so a thread makes it: one of those that hash the passwords
 * of app.basic_auth, too.
 *
 * Happy path: password_start() copies what it needs into a job and waits. When the job has run, the coroutine is resumed,
 * and the prelude takes the result with password_take(). Where nothing else is served, while the script starts and in
 * workers, the caller's own thread does it.
 *
 * Failure modes: a full queue is a response, 503, and so is a password that is too long, 400, as it comes from a client.
 * If the client goes away, the job is dropped: it does not run if it has not begun, and nobody hears of its result. A
 * job has copies of all that it needs, so it outlives the script. Passwords are wiped with their job. */

#include "lua/bind_password.h"

#include "core/job_pool.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/password_hash.h"
#include "http/rules/auth_threads.h"
#include "lua/coro.h"
#include "lua/relay.h"
#include "lua/script_error.h"

#include <errno.h>
#include <string.h>

/* What a script has of these threads. */
struct password_desk {
    struct auth_threads threads;
    struct line_limit full; /* lines about a full queue */
};

/* A password to be hashed or verified. While a coroutine waits for it, wait_id leads to it; once it is done, result. */
struct password_job {
    struct job job;               /* first */
    struct coro *coro;            /* that waits */
    unsigned cost;                /* of the new hash; 0: verify the one below */
    int verdict;                  /* of core/password_hash.h */
    size_t len;                   /* of password */
    char password[PASSWORD_MAX];  /* wiped at the end */
    char hash[PASSWORD_HASH_MAX]; /* with NUL */
    char err[256];                /* why there is none */
};

static void free_password_job(struct password_job *made)
{
    explicit_bzero(made, sizeof *made);
    mem_free(made);
}

static void drop_password_job(struct job *job)
{
    free_password_job((struct password_job *)job);
}

static void do_password_job(struct password_job *made)
{
    made->verdict = made->cost > 0 ? password_hash_make(made->password, made->len, made->cost, made->hash, made->err,
                                                        sizeof made->err)
                                   : password_hash_verify(made->hash, made->password, made->len);
}

static void run_password_job(struct job *job, void *arg, unsigned thread)
{
    (void)arg, (void)thread;
    do_password_job((struct password_job *)job);
}

/* struct coro.end_result. */
static void end_password_job(struct coro *coro)
{
    free_password_job(coro->result);
    coro->result = NULL;
}

static void on_password_done(struct job *job)
{
    struct coro *coro = ((struct password_job *)job)->coro;
    coro->result = job;
    coro->end_result = end_password_job;
    coro->wait_id = 0;
    lua_pushboolean(coro->L, 1);
    coro_wake(coro, 1);
}

static void give_up_password(struct coro *coro)
{
    struct password_job *made = (struct password_job *)(uintptr_t)coro->wait_id;
    coro->wait_id = 0;
    (void)job_drop(&made->job);
}

static int on_password_unwanted(struct coro *coro)
{
    give_up_password(coro);
    lua_pushboolean(coro->L, 0);
    return 1;
}

static const struct coro_wait password_wait = {.on_gone = on_password_unwanted, .cancel = give_up_password};

/* Arguments: a password, and the hash that it is to have, or the cost of a new one. */

static const char *check_password(lua_State *L, const char *what, size_t *len)
{
    if (lua_type(L, 1) != LUA_TSTRING) {
        script_raise(L, "%s: the password: a string expected, got %s", what,
                     lua_isnone(L, 1) ? "nil" : luaL_typename(L, 1));
    }
    return lua_tolstring(L, 1, len);
}

static const char *check_password_hash(lua_State *L)
{
    char err[SCRIPT_TEXT_MAX];
    if (lua_type(L, 2) != LUA_TSTRING) {
        script_raise(L,
                     "app.password.verify: the hash: a string expected, got %s; for a name that nobody has, give the "
                     "hash of any password, so that it takes as long",
                     lua_isnone(L, 2) ? "nil" : luaL_typename(L, 2));
    }
    const char *hash = lua_tostring(L, 2);
    if (strlen(hash) != lua_objlen(L, 2)) {
        script_raise(L, "app.password.verify: the hash has a NUL byte in it");
    }
    if (password_hash_check(hash, err, sizeof err) < 0) {
        script_raise(L, "app.password.verify: %s", err);
    }
    return hash;
}

/* A job, which nobody owns yet: nothing may raise before it is freed or submitted. */
static struct password_job *make_password_job(const char *password, size_t len, const char *hash, unsigned cost)
{
    struct password_job *made = mem_zalloc(sizeof *made);
    if (made != NULL) {
        made->job = (struct job){.run = run_password_job, .on_done = on_password_done, .drop = drop_password_job};
        made->cost = cost;
        made->len = len;
        memcpy(made->password, password, len);
        memcpy(made->hash, hash, strlen(hash) + 1);
    }
    return made;
}

/* Push what a job has found out, and free it. Raises. */
static int give_password_result(lua_State *L, struct password_job *made)
{
    int verdict = made->verdict;
    bool is_new = made->cost > 0;
    char hash[PASSWORD_HASH_MAX], err[sizeof made->err];
    memcpy(hash, made->hash, sizeof hash);
    memcpy(err, made->err, sizeof err);
    free_password_job(made);
    if (verdict == -ENOMEM) {
        script_raise_memory(L);
    }
    if (verdict < 0) {
        script_raise(L, "app.password: %s", err);
    }
    if (is_new) {
        lua_pushstring(L, hash);
    } else {
        lua_pushboolean(L, verdict);
    }
    return 1;
}

/* Waiting. */

/* The job was not taken. */
static _Noreturn void refuse_password(lua_State *L, int error)
{
    const struct script *script = script_of(L);
    char others[OTHERS_MAX];
    if (error == -EAGAIN) {
        if (script_may_log(script, &script->passwords->full, others)) {
            log_write(script->log, LOG_WARN,
                      "app.password: a call is refused, as %d passwords wait to be hashed already%s",
                      (int)AUTH_HASHES_WAITING, others);
        }
        script_raise_answer(L, 503, "busy: too many passwords wait, try again later");
    }
    if (error == -ENOMEM) {
        script_raise_memory(L);
    }
    script_raise(L, "app.password: no thread can be started: %s", errno_text(-error));
}

static void open_password_desk(lua_State *L)
{
    struct script *script = script_of(L);
    if (script->passwords == NULL) {
        script->passwords = mem_zalloc(sizeof *script->passwords);
        if (script->passwords == NULL) {
            script_raise_memory(L);
        }
        script->passwords->threads.hashes = true;
    }
}

/* Whether nobody is kept waiting if this thread does it. */
static bool may_block(const struct script *script)
{
    return script->is_worker || !script->has_started || script->jobs == NULL;
}

/* Returns what the prelude's function does: true, and the result, or true, later, when there is one to be taken; false
 * when the client has gone. */
static int start_password_job(lua_State *L, const char *what, const char *password, size_t len, const char *hash,
                              unsigned cost)
{
    struct script *script = script_of(L);
    struct coro *coro = NULL;
    if (!may_block(script)) {
        coro = coro_check_waiting(L, what);
        if (coro_is_unwanted(coro)) {
            return coro_say_gone(L, coro);
        }
        coro_end_result(coro); /* of a call whose result could not be read */
        open_password_desk(L);
    }
    struct password_job *made = make_password_job(password, len, hash, cost);
    if (made == NULL) {
        script_raise_memory(L);
    }
    if (coro == NULL) {
        do_password_job(made);
        lua_pushboolean(L, 1);
        return 1 + give_password_result(L, made);
    }
    made->coro = coro;
    int rv = auth_threads_submit(&script->passwords->threads, script->jobs, script->reactor, &made->job);
    if (rv < 0) {
        free_password_job(made);
        refuse_password(L, rv);
    }
    coro->wait_id = (uint64_t)(uintptr_t)made;
    return coro_wait(L, coro, &password_wait);
}

/* password_hash(password, cost). */
static int lua_password_hash(lua_State *L)
{
    size_t len;
    lua_settop(L, 2);
    if (relay_is_needed(L)) {
        return relay_call(L);
    }
    const char *password = check_password(L, "app.password.hash", &len);
    double cost = lua_isnil(L, 2) ? PASSWORD_COST : lua_type(L, 2) == LUA_TNUMBER ? lua_tonumber(L, 2) : 0;
    if (!(cost >= 1 && cost <= PASSWORD_COST_MAX) || cost != (double)(unsigned)cost) {
        script_raise(L, "app.password.hash: cost: a whole number from 1 to %d expected", (int)PASSWORD_COST_MAX);
    }
    if (len > PASSWORD_NEW_MAX || memchr(password, '\0', len) != NULL) {
        script_raise_answer(L, 400, "a password has at most %d bytes, and no NUL byte", (int)PASSWORD_NEW_MAX);
    }
    return start_password_job(L, "app.password.hash", password, len, "", (unsigned)cost);
}

/* password_verify(password, hash). */
static int lua_password_verify(lua_State *L)
{
    size_t len;
    lua_settop(L, 2);
    if (relay_is_needed(L)) {
        return relay_call(L);
    }
    const char *password = check_password(L, "app.password.verify", &len);
    const char *hash = check_password_hash(L);
    if (len > PASSWORD_MAX) { /* nobody has one, so this says nothing about the hash */
        lua_pushboolean(L, 1);
        lua_pushboolean(L, 0);
        return 2;
    }
    return start_password_job(L, "app.password.verify", password, len, hash, 0);
}

/* password_take(): the result of the job that has just been done. */
static int lua_password_take(lua_State *L)
{
    struct coro *coro = coro_check_running(L, "app.password");
    struct password_job *made = coro->result;
    if (made == NULL || coro->end_result != end_password_job) {
        script_raise(L, "app.password: there is no result");
    }
    coro->result = NULL;
    return give_password_result(L, made);
}

void password_free_all(struct script *script)
{
    if (script->passwords != NULL) {
        auth_threads_close(&script->passwords->threads);
        mem_free(script->passwords);
        script->passwords = NULL;
    }
}

void bind_password(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"password_hash", lua_password_hash},
        {"password_verify", lua_password_verify},
        {"password_take", lua_password_take},
        {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
}
