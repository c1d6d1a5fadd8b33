#ifndef EVSERVE_TESTS_LUA_SCENE_H
#define EVSERVE_TESTS_LUA_SCENE_H

/* What the tests of Lua sites share: a whole server with a script, on the fake kernel, and clients that are fake peers.
 * Nothing moves except in settle(), ask() and pass_ms(). When a test ends, no memory and no fd may be left.
 * tests/CMakeLists.txt links the scene to every program whose source includes this header. */

#include "core/log.h"
#include "core/outbound.h"
#include "core/reactor.h"
#include "core/topics.h"
#include "http/server.h"
#include "http/site.h"
#include "http/site_parts.h"
#include "lua/script.h"

#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"

#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { LOG_MAX = 16384 };

struct scene {
    char path[64];           /* of the script's file, in /tmp */
    char logged[LOG_MAX];    /* lines, each with a newline */
    struct log log;          /* into logged */
    struct reactor *reactor; /* on the fake kernel */
    struct outbound outbound;
    struct hub *hub;
    struct topics topics;
    struct site *site;
    struct script *script;
    struct server *server;
    int listener_fd; /* of server */
    char err[512];   /* of the last start() that failed */
};

void on_line(void *arg, int level, const char *line); /* the sink of scene->log, whose arg is the scene */

/* Writes text to a new file, scene->path. */
void write_script(struct scene *scene, const char *text);

/* Everything from the script to a listening server. Returns 0, or the -errno of the step that failed. */
int start(struct scene *scene, int (*init)(lua_State *L, void *arg), void *arg);

/* Takes down what start() made, all of it or a part. */
void stop(struct scene *scene);

/* A server with a script of text; init, or NULL, adds what the script may call. */
struct scene *scene_open_with(const char *text, int (*init)(lua_State *L, void *arg));
struct scene *scene_open(const char *text);

/* Ends the scene, and the test fails if anything is left. */
void scene_close(struct scene *scene);

/* Run until nothing happens any more without time passing. */
void settle(struct scene *scene);
void pass_ms(struct scene *scene, int64_t ms);

/* Sends GET from a new client, and runs settle(). */
struct fake_peer *ask(struct scene *scene, const char *target);
bool got(const struct fake_peer *peer, const char *text);

/* GET target must be answered with this content. The handler must not wait. */
void assert_answer(struct scene *scene, const char *target, const char *body);

/* GET target must be answered with this status, as in "503". */
void assert_status(struct scene *scene, const char *target, const char *status);

#define APP "local app = require 'evserve'\n"

#endif
