/* Happy path: the server is started without listening; its script's kind runs the tests, which connect by pairs of
 * sockets and let the loop turn; the server is stopped.
 *
 * Failure modes: a site that does not start, also in a restart, ends the tests with its error. The clocks stay where
 * the tests have moved them: they belong to the process. */

#include "http/host/stage.h"

#include "core/log.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "core/sys_pipe.h"
#include "core/units.h"
#include "http/host/evs_config.h"
#include "http/host/script_kind.h"

#include <errno.h>

enum { SETTLE_TURNS_MAX = 1000 }; /* after a step of the clock; a script that never rests goes on later */

struct stage {
    const struct stage_door *door;
    struct evserve_config config;
    const struct stage_tests *tests;
    evserve *server; /* NULL after a restart that has failed */
};

static int stage_connect(void *arg)
{
    struct stage *stage = arg;
    int ends[2] = {-1, -1}; /* which gcc would otherwise warn of, compiled as one file */
    int rv = stage->server == NULL ? -ENOTCONN : sys_socket_pair(ends);
    if (rv < 0) {
        return rv;
    }
    rv = stage->door->adopt(stage->server, ends[1]);
    if (rv < 0) {
        sys_close(ends[0]);
    }
    return rv < 0 ? rv : ends[0];
}

static int stage_turn(void *arg, int timeout_ms)
{
    struct stage *stage = arg;
    return stage->server == NULL ? 0 : stage->door->poll(stage->server, timeout_ms);
}

static uint64_t activity_of(const struct reactor *reactor)
{
    struct reactor_counts counts = reactor_counts(reactor);
    return counts.events + counts.timers + counts.tasks;
}

/* Until a turn finds nothing to do. */
static int settle_stage(struct stage *stage, const struct reactor *reactor)
{
    int rv = 1;
    uint64_t before = 0, now = activity_of(reactor);
    for (int i = 0; i < SETTLE_TURNS_MAX && rv > 0 && (i == 0 || before != now); i++) {
        before = now;
        rv = stage->door->poll(stage->server, 0);
        now = rv > 0 ? activity_of(reactor) : now;
    }
    return rv;
}

static int stage_step(void *arg, int64_t end_ms)
{
    struct stage *stage = arg;
    if (stage->server == NULL) {
        return -ENOTCONN;
    }
    const struct reactor *reactor = stage->door->reactor(stage->server);
    int64_t due_ms = reactor_next_due_ms(reactor), now_ms = sys_now_ns() / NS_PER_MS;
    bool is_last = due_ms < 0 || due_ms > end_ms;
    int64_t to_ms = is_last ? end_ms : due_ms;
    if (to_ms > now_ms) {
        sys_shift_clocks((to_ms - now_ms) * NS_PER_MS);
    }
    int rv = settle_stage(stage, reactor);
    return rv < 0 ? rv : rv == 0 ? -ENOTCONN : is_last;
}

static void end_server(struct stage *stage)
{
    if (stage->server != NULL) {
        stage->door->stop(stage->server, 0);
        (void)stage->door->wait(stage->server); /* for what the script does when it stops */
        stage->door->free(stage->server);
        stage->server = NULL;
    }
}

static int stage_restart(void *arg, char *err, size_t errlen)
{
    struct stage *stage = arg;
    end_server(stage);
    stage->server = stage->door->start(&stage->config, err, errlen);
    return stage->server == NULL ? -EINVAL : 0;
}

static void stage_line(void *arg, const char *text)
{
    struct stage *stage = arg;
    stage->tests->line(stage->tests->arg, text);
}

int stage_run(const struct stage_door *door, const struct evserve_config *config, const struct stage_tests *tests,
              char *err, size_t errlen)
{
    struct stage stage = {.door = door, .tests = tests};
    const struct script_stage used = {
        .arg = &stage,
        .connect = stage_connect,
        .turn = stage_turn,
        .step = stage_step,
        .restart = stage_restart,
        .line = stage_line,
    };
    if (door->kind == NULL) {
        return error_text(err, errlen, -1, "cannot run %s: this build has no Lua (EVSERVE_LUA)", tests->path);
    }
    if (evs_config_read(&stage.config, config, err, errlen) < 0) {
        return -1;
    }
    stage.config.listen = "none";
    stage.config.access_log = "off";
    stage.config.reactors = 0;
    if (sys_shift_ns() == 0) {
        sys_shift_clocks(1); /* scripts see by it that the clocks may move */
    }
    int rv = stage_restart(&stage, err, errlen);
    rv = rv < 0 ? rv : door->kind->test(&used, tests->path, tests->only, err, errlen);
    end_server(&stage);
    return rv < 0 ? -1 : rv;
}
