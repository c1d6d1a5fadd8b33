/* A server and a process that the host forks: the child has all fds of the server, and harms nothing of it. */

#include "tests/lib/host.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void serve_text(evs_request *request, void *arg)
{
    evs_reply(request, 200, "text/plain", arg, strlen(arg));
}

static void serve_until_close(evs_request *request, void *arg)
{
    (void)arg;
    evs_set_header(request, "Connection", "close");
    evs_reply(request, 200, "text/plain", "x", 1);
}

static evs_request *kept; /* of serve_later() */
static int gone;          /* how often it was told so */

static void on_kept(evs_request *request, int event, void *arg)
{
    (void)request;
    (void)arg;
    gone += event == EVS_GONE ? 1 : 0;
}

static void serve_later(evs_request *request, void *arg)
{
    (void)arg;
    kept = request;
    evs_on(request, on_kept, NULL);
}

static char hello[] = "hello";
static const struct evs_route routes[] = {{.route = "GET /hello", .serve = serve_text, .arg = hello},
                                          {.route = "GET /close", .serve = serve_until_close},
                                          {.route = "GET /later", .serve = serve_later},
                                          {.route = NULL}};

/* What a child does; it ends with the result as its status. */
typedef int (*child_fn)(void);

static int run_child(child_fn fn)
{
    int status = -1;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(CLIENT_LIMIT_S);
        _exit(fn());
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status;
}

static int own_fds; /* that the test has beside those of the server */

static int free_and_count(void)
{
    evserve_free(host.server);
    return open_fds() == host.fds_before + own_fds ? 0 : 1;
}

/* A child that has every fd of the server, and lives until the test ends it. */
static pid_t fork_sleeper(void)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(CLIENT_LIMIT_S);
        pause();
        _exit(0);
    }
    return child;
}

static void end_sleeper(pid_t child)
{
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

/* Whether text comes. */
static bool has_come(int fd, const char *text)
{
    char buf[4096];
    client_read_until(fd, buf, sizeof buf, text);
    return strstr(buf, text) != NULL;
}

static void free_in_a_child_closes_fds_and_nothing_else(void **state)
{
    (void)state;
    char listen[160];
    char socket_path[128];
    snprintf(socket_path, sizeof socket_path, "%s/s", host.folder);
    snprintf(listen, sizeof listen, "127.0.0.1:0,unix:%s", socket_path);
    host_write("page.txt", "page");
    host.config.listen = listen;
    host.config.routes = routes;
    host.config.root = host.folder;
    for (unsigned reactors = 0; reactors < 3; reactors++) {
        host.config.reactors = reactors;
        host_start();
        assert_true(reactors > 0 || evserve_fd(host.server) >= 0); /* a timer of the kernel's, which is shared, too */
        if (reactors == 0) {
            host_serve();
        }
        host_expect("/page.txt", "page");
        int idle = client_connect(host.port);
        client_send(idle, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_true(has_come(idle, "hello"));
        own_fds = 1;
        assert_int_equal(run_child(free_and_count), 0);
        own_fds = 0;
        assert_int_equal(access(socket_path, F_OK), 0);
        client_send(idle, "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        assert_true(has_come(idle, "hello"));
        close(idle);
        host_expect("/hello", "hello");
        host_expect("/page.txt", "page");
        host_stop(0);
        evserve_free(host.server);
        host.server = NULL;
        assert_int_not_equal(access(socket_path, F_OK), 0);
    }
}

static int free_and_say_who_was_told(void)
{
    evserve_free(host.server);
    return gone;
}

/* Requests wait, timers of the loop run, and bytes of an answer are unsent. */
static void requests_of_the_parent_outlive_a_free_in_a_child(void **state)
{
    (void)state;
    host.config.routes = routes;
    host_start();
    kept = NULL;
    gone = 0;
    assert_true(evserve_fd(host.server) >= 0);
    int waiting = client_connect(host.port);
    client_send(waiting, "GET /later HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    while (kept == NULL) {
        assert_int_equal(evserve_poll(host.server, CLIENT_LIMIT_S * 1000), 1);
    }
    assert_int_equal(evs_after(kept, 10), 0);
    assert_int_equal(run_child(free_and_say_who_was_told), 0);
    evs_reply(kept, 200, "text/plain", "late", 4);
    assert_int_equal(evserve_poll(host.server, CLIENT_LIMIT_S * 1000), 1);
    assert_true(has_come(waiting, "late"));
    close(waiting);
    assert_int_equal(gone, 0);
}

/* The timerfd is shared, too. */
static void loop_of_the_host_still_hears_of_timers_after_a_free_in_a_child(void **state)
{
    (void)state;
    host_needs_lua();
    host.config.script = host_write("site.lua", "local app = require 'evserve'\n"
                                                "app.after(200, function() app.log('info', 'rung') end)\n");
    host_start();
    int fd = evserve_fd(host.server);
    assert_int_equal(run_child(free_and_count), 0);
    for (int i = 0; i < 1000 && !host_has_logged("rung"); i++) {
        fd_set readable;
        struct timeval limit = {.tv_sec = CLIENT_LIMIT_S};
        FD_ZERO(&readable);
        FD_SET(fd, &readable);
        assert_int_equal(select(fd + 1, &readable, NULL, NULL, &limit), 1);
        assert_int_equal(evserve_poll(host.server, 0), 1);
    }
    assert_true(host_has_logged("rung"));
}

static void free_in_a_child_runs_no_stop_function(void **state)
{
    (void)state;
    host_needs_lua();
    static char script[] = "local app = require 'evserve'\n"
                           "app.on('stop', function() os.remove(app_marker) end)\n";
    char text[512];
    char *marker = strdup(host_write("marker", "x"));
    snprintf(text, sizeof text, "app_marker = '%s'\n%s", marker, script);
    host.config.script = host_write("site.lua", text);
    host_start();
    assert_int_equal(run_child(free_and_count), 0);
    assert_int_equal(access(marker, F_OK), 0);
    host_serve();
    host_stop(0);
    assert_int_not_equal(access(marker, F_OK), 0);
    free(marker);
}

static void do_nothing(void *arg)
{
    (void)arg;
}

/* The bit of the first call that did not do as it says. */
static int try_all(void)
{
    char err[EVSERVE_ERROR_MAX] = "";
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0) {
        return 100;
    }
    if (evserve_poll(host.server, 0) != -ECHILD) {
        return 1;
    }
    if (evserve_wait(host.server) != -ECHILD) {
        return 2;
    }
    if (evserve_fd(host.server) != -ECHILD) {
        return 3;
    }
    if (evserve_post(host.server, do_nothing, NULL) != -ECHILD) {
        return 4;
    }
    if (evserve_reload(host.server, err, sizeof err) != -ECHILD || strstr(err, "another process") == NULL) {
        return 5;
    }
    if (evserve_adopt(host.server, pair[0]) != -ECHILD || fcntl(pair[0], F_GETFD) != -1) {
        return 6;
    }
    evserve_wake(host.server);
    evserve_stop(host.server, 0);
    evserve_log(host.server, EVSERVE_LOG_INFO, "from a child");
    return evserve_changed(host.server) == 0 ? 0 : 7;
}

static void calls_in_a_child_are_refused(void **state)
{
    (void)state;
    host.config.routes = routes;
    for (unsigned reactors = 0; reactors < 2; reactors++) {
        host.config.reactors = reactors;
        host_serve();
        host_expect("/hello", "hello");
        assert_int_equal(run_child(try_all), 0);
        assert_false(host_has_logged("from a child"));
        host_expect("/hello", "hello");
        assert_int_equal(host_stop(0), 0);
        evserve_free(host.server);
        host.server = NULL;
    }
}

static atomic_int log_is_busy;

/* Holds up the line of a thread, which has the lock of the log meanwhile. */
static void log_slowly(void *arg, int level, const char *line)
{
    (void)arg;
    (void)level;
    if (strstr(line, "slow") != NULL) {
        log_is_busy = 1;
        while (log_is_busy == 1) {
            usleep(1000);
        }
    }
}

static void write_slow_line(void *arg)
{
    evserve_log(arg, EVSERVE_LOG_INFO, "slow");
}

static int log_and_free(void)
{
    evserve_log(host.server, EVSERVE_LOG_INFO, "from a child");
    (void)evserve_changed(host.server);
    evserve_free(host.server);
    return 0;
}

static void child_does_not_wait_for_locks_of_threads_that_it_does_not_have(void **state)
{
    (void)state;
    host.config.log = log_slowly;
    host.config.reactors = 2;
    host_start();
    log_is_busy = 0;
    assert_int_equal(evserve_post(host.server, write_slow_line, host.server), 0);
    while (log_is_busy == 0) {
        usleep(1000);
    }
    assert_int_equal(run_child(log_and_free), 0);
    log_is_busy = 2;
}

static int use_ticket_in_child(evs_request *request, evs_ticket ticket)
{
    evserve *server = evs_server(request);
    bool are_refused = evserve_set_header_to(server, ticket, "X-Child", "1") == -ECHILD &&
                       evserve_begin_to(server, ticket, 200, NULL, -1) == -ECHILD &&
                       evserve_write_to(server, ticket, "child", 5) == -ECHILD &&
                       evserve_ready_to(server, ticket, 0) == -ECHILD && evserve_end_to(server, ticket) == -ECHILD &&
                       evserve_abort_to(server, ticket) == -ECHILD &&
                       evserve_reply_to(server, ticket, 200, NULL, "child", 5) == -ECHILD &&
                       evs_find(server, ticket) == NULL;
    return are_refused ? 0 : 1;
}

static atomic_int child_result;

static void serve_by_fork(evs_request *request, void *arg)
{
    (void)arg;
    evs_ticket ticket = evs_defer(request);
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        alarm(CLIENT_LIMIT_S);
        _exit(use_ticket_in_child(request, ticket));
    }
    waitpid(child, &status, 0);
    child_result = status;
    evserve_reply_to(evs_server(request), ticket, 200, "text/plain", "parent", 6);
}

/* The child's thread is, as far as it knows, the one that serves. */
static void tickets_are_refused_in_a_child_that_a_callback_forks(void **state)
{
    (void)state;
    static const struct evs_route forking[] = {{.route = "GET /fork", .serve = serve_by_fork}, {.route = NULL}};
    host.config.routes = forking;
    child_result = -1;
    host_serve();
    host_expect("/fork", "parent");
    assert_int_equal(child_result, 0);
}

/* A child that has the client's socket, and does not end, does not keep the client waiting for the end. */
static void client_sees_the_end_while_a_child_lives(void **state)
{
    (void)state;
    host.config.routes = routes;
    host_serve();
    int fd = client_connect(host.port);
    char buf[4096];
    client_send(fd, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_true(has_come(fd, "hello"));
    int idle = client_connect(host.port);
    client_send(idle, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_true(has_come(idle, "hello"));
    pid_t child = fork_sleeper();
    client_send(fd, "GET /close HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_true(client_read_all(fd, buf, sizeof buf) > 0); /* returns when the end comes */
    assert_int_equal(recv(fd, buf, sizeof buf, 0), 0);
    close(fd);
    host_stop(0);
    assert_int_equal(recv(idle, buf, sizeof buf, 0), 0);
    close(idle);
    end_sleeper(child);
}

/* Nor does it keep the port. */
static void stopped_server_refuses_clients_while_a_child_lives(void **state)
{
    (void)state;
    static char listen[160];
    char socket_path[128];
    snprintf(socket_path, sizeof socket_path, "%s/s", host.folder);
    snprintf(listen, sizeof listen, "127.0.0.1:0,unix:%s", socket_path);
    host.config.listen = listen;
    for (unsigned reactors = 0; reactors < 3; reactors++) {
        host.config.reactors = reactors;
        host_start();
        pid_t child = fork_sleeper();
        evserve_free(host.server);
        host.server = NULL;
        assert_int_equal(client_connect(host.port), -1);
        assert_int_equal(client_connect_unix(socket_path), -1);
        char again[64];
        snprintf(again, sizeof again, "127.0.0.1:%d", host.port);
        host.config.listen = again;
        host_start();
        evserve_free(host.server);
        host.server = NULL;
        host.config.listen = listen;
        end_sleeper(child);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(free_in_a_child_closes_fds_and_nothing_else),
        HOST_TEST(requests_of_the_parent_outlive_a_free_in_a_child),
        HOST_TEST(loop_of_the_host_still_hears_of_timers_after_a_free_in_a_child),
        HOST_TEST(free_in_a_child_runs_no_stop_function),
        HOST_TEST(calls_in_a_child_are_refused),
        HOST_TEST(child_does_not_wait_for_locks_of_threads_that_it_does_not_have),
        HOST_TEST(tickets_are_refused_in_a_child_that_a_callback_forks),
        HOST_TEST(client_sees_the_end_while_a_child_lives),
        HOST_TEST(stopped_server_refuses_clients_while_a_child_lives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
