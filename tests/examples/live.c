/* Two servers in one program. The first one runs a Lua script, which SIGHUP reloads. The second one pushes live
 * messages to every client of GET /live, as server-sent events. Scripts can require "live": say(text) sends a text to
 * all of these clients, and count() returns their number:
 *
 *     live live.lua                                        (prints both addresses)
 *     curl -N http://.../live                              data: hello
 *     curl -d hello http://.../say                         1, the response of live.lua
 *
 * A slow client is cut when 64 KiB wait for it, so it does not delay others. A browser's EventSource reconnects. */

#include "evserve.h"

#include <lauxlib.h>
#include <lua.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STREAMS_MAX = 10000, EVENT_MAX = 16 << 10, QUEUE_MAX = 64 << 10 };

static evserve *site; /* runs the script; main() serves it */
static evserve *push; /* has a thread of its own */

/* Owned by push's thread, except that any thread may read the number. */
static evs_request *streams[STREAMS_MAX];
static atomic_uint count;

static void forget(const evs_request *request)
{
    unsigned i = 0;
    while (streams[i] != request) {
        i++;
    }
    streams[i] = streams[--count];
}

static void on_event(evs_request *request, int event, void *arg)
{
    (void)arg;
    if (event == EVS_GONE || event == EVS_STOPPING) {
        forget(request);
    }
    if (event == EVS_STOPPING) {
        evs_end(request);
    }
}

static void get_live(evs_request *request, void *arg)
{
    (void)arg;
    if (count == STREAMS_MAX) {
        evs_reply(request, 503, NULL, NULL, 0);
        return;
    }
    streams[count++] = request;
    evs_on(request, on_event, NULL);
    evs_set_header(request, "Cache-Control", "no-store");
    evs_begin(request, 200, "text/event-stream", -1);
}

/* Runs on push's thread. If a write cuts a stream, its EVS_GONE comes after this and removes it. */
static void deliver(void *arg)
{
    size_t len = strlen(arg);
    for (unsigned i = 0; i < count; i++) {
        evs_write(streams[i], arg, len);
    }
    free(arg);
}

/* live.say(text) sends one event, with a "data: " line for each line of text. */
static int say(lua_State *L)
{
    const char *text = luaL_gsub(L, luaL_checkstring(L, 1), "\r", "");
    const char *data = luaL_gsub(L, text, "\n", "\ndata: ");
    const char *text_event = lua_pushfstring(L, "data: %s\n\n", data);
    luaL_argcheck(L, strlen(text_event) <= EVENT_MAX, 1, "a text of at most 16 KiB");
    char *event = strdup(text_event);
    if (event == NULL || evserve_post(push, deliver, event) < 0) {
        free(event);
        return luaL_error(L, "nothing can be sent");
    }
    return 0;
}

static int get_count(lua_State *L)
{
    lua_pushinteger(L, count);
    return 1;
}

/* lua_init: package.loaded.live = {say = say, count = get_count}. */
static int add_module(lua_State *L, void *arg)
{
    (void)arg;
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "loaded");
    lua_newtable(L);
    lua_pushcfunction(L, say);
    lua_setfield(L, -2, "say");
    lua_pushcfunction(L, get_count);
    lua_setfield(L, -2, "count");
    lua_setfield(L, -2, "live");
    lua_pop(L, 2);
    return 0;
}

static void write_log(void *arg, int level, const char *line)
{
    (void)arg;
    (void)level;
    fprintf(stderr, "%s\n", line);
}

static void on_wake(void *arg)
{
    (void)arg;
    char err[EVSERVE_ERROR_MAX];
    if (evserve_reload(site, err, sizeof err) < 0) {
        evserve_log(site, EVSERVE_LOG_ERROR, err); /* the old script stays in use */
    }
}

static void on_signal(int number)
{
    if (number == SIGHUP) {
        evserve_wake(site);
    } else {
        evserve_stop(site, 1000);
    }
}

int main(int argc, char **argv)
{
    const struct evs_limits limits = {.size = sizeof limits, .write_cap = QUEUE_MAX};
    const struct evs_route routes[] = {
        {.route = "GET /live", .serve = get_live, .limits = &limits},
        {.route = NULL},
    };
    struct evserve_config push_config = {.size = sizeof push_config,
                                         .listen = "127.0.0.1:0",
                                         .routes = routes,
                                         .reactors = 1};
    struct evserve_config site_config = {
        .size = sizeof site_config,
        .script = argc > 1 ? argv[1] : "live.lua",
        .lua_init = add_module,
        .on_wake = on_wake,
        .log = write_log,
    };
    char err[EVSERVE_ERROR_MAX];
    push = evserve_start(&push_config, err, sizeof err);
    site = push == NULL ? NULL : evserve_start(&site_config, err, sizeof err);
    if (site == NULL) {
        fprintf(stderr, "%s\n", err);
        evserve_free(push);
        return 1;
    }
    signal(SIGHUP, on_signal);
    signal(SIGTERM, on_signal);
    fprintf(stderr, "listening on %s and %s\n", evserve_address(site, 0), evserve_address(push, 0));
    int cut = evserve_wait(site);
    evserve_stop(push, 1000); /* the streams end at EVS_STOPPING */
    cut += evserve_wait(push);
    signal(SIGHUP, SIG_IGN); /* the handler uses a server that is about to be freed */
    signal(SIGTERM, SIG_IGN);
    evserve_free(site);
    evserve_free(push);
    return cut != 0;
}
