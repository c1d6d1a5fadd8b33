#ifndef EVSERVE_TESTS_HOST_H
#define EVSERVE_TESTS_HOST_H

/* What the tests of the embedding API share: a folder for scripts and sockets, a log that is kept, a thread that
 * serves. A test must leave neither fds nor threads behind; LeakSanitizer finds memory. */

#include "evserve.h"

#include "tests/lib/client.h"
#include "tests/lib/open_fds.h"
#include "tests/lib/remove_tree.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct host {
    char folder[64]; /* the test's own */
    char path[128];  /* of the file made last */
    char err[EVSERVE_ERROR_MAX];
    char log[16384];              /* lines, each with its newline */
    struct evserve_config config; /* of start(): port 0 and the log, until the test says more */
    evserve *server;              /* NULL while there is none */
    int port;                     /* of its first listener */
    pthread_t thread;             /* of serve() */
    int result;                   /* of its evserve_wait() */
    bool is_serving;
    int fds_before;
    int threads_before;
};

extern struct host host; /* there is one test at a time */

/* How many threads this process has. */
int host_threads(void);

extern pthread_mutex_t host_log_lock;                        /* of host.log */
void host_keep_line(void *arg, int level, const char *line); /* the sink of host.log */

/* Whether the log has this text, while others write to it. */
bool host_has_logged(const char *text);

/* Before and after each test: a new folder and a config; everything given back, or the test fails. */
int host_set_up(void **state);
int host_tear_down(void **state);
#define HOST_TEST(fn) cmocka_unit_test_setup_teardown(fn, host_set_up, host_tear_down)

/* End the thread of serve(). Returns what evserve_wait() returned there. */
int host_stop(uint32_t drain_ms);

/* In a test that needs a script: a build without Lua skips it. */
void host_needs_lua(void);

/* Write a file of the test's folder. Returns its path, valid until the next call. */
const char *host_write(const char *name, const char *text);

/* Start the server of host.config. */
void host_start(void);

/* evserve_start() must fail with an error text that contains what. */
void host_must_not_start(const char *what);

/* evserve_wait() as a thread runs it: its result goes to host.result. */
void *host_wait(void *arg);

/* Call evserve_wait() on a thread, until host_stop(). */
void host_serve(void);

/* GET path must return this content. */
#define host_expect(path, content) assert_string_equal(client_body(client_get(host.port, (path))), (content))

#endif
