/* The three ways to run a server, stopping it, posting to it, and its numbers. */

#include "tests/lib/host.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>

static void serve_hello(evs_request *request, void *arg)
{
    (void)arg;
    evs_reply(request, 200, "text/plain", "hello", 5);
}

static void serve_thread(evs_request *request, void *arg)
{
    (void)arg;
    char text[16];
    evs_reply(request, 200, "text/plain", text, (size_t)snprintf(text, sizeof text, "%u", evs_thread(request)));
}

static void serve_never(evs_request *request, void *arg)
{
    (void)request;
    (void)arg;
}

static void on_soon(evs_request *request, int event, void *arg)
{
    (void)arg;
    if (event == EVS_TIMER) {
        evs_reply(request, 200, "text/plain", "soon", 4);
    }
}

static void serve_soon(evs_request *request, void *arg)
{
    evs_on(request, on_soon, arg);
    evs_after(request, 20);
}

static void use_site(void)
{
    static const struct evs_route routes[] = {{.route = "GET /", .serve = serve_hello},
                                              {.route = "GET /thread", .serve = serve_thread},
                                              {.route = "GET /slow", .serve = serve_never},
                                              {.route = "GET /soon", .serve = serve_soon},
                                              {.route = NULL}};
    host.config.routes = routes;
}

static int count_in(const char *text, const char *part)
{
    int count = 0;
    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part)) {
        count++;
    }
    return count;
}

/* Ask for something and do not wait for the answer; returns once the server has the request. */
static int ask_slowly(void)
{
    struct evs_stats stats = {.size = sizeof stats};
    evserve_stats(host.server, &stats);
    uint64_t before = stats.bytes_received;
    int fd = client_connect(host.port);
    assert_true(client_send(fd, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"));
    while (stats.bytes_received == before) {
        usleep(1000);
        evserve_stats(host.server, &stats);
    }
    return fd;
}

static atomic_int wakes;

static void on_wake(void *arg)
{
    (void)arg;
    wakes++;
}

static void on_signal(int number)
{
    (void)number;
    evserve_wake(host.server);
}

static void signal_handler_wakes_the_server(void **state)
{
    (void)state;
    for (unsigned reactors = 0; reactors < 3; reactors++) {
        use_site();
        host.config.reactors = reactors;
        host.config.on_wake = on_wake;
        wakes = 0;
        host_serve();
        struct sigaction before;
        assert_int_equal(sigaction(SIGUSR1, &(struct sigaction){.sa_handler = on_signal}, &before), 0);
        for (int i = 1; i <= 3; i++) {
            errno = 123;
            raise(SIGUSR1);
            assert_int_equal(errno, 123);
            while (wakes < i) {
                usleep(1000);
            }
            host_expect("/", "hello");
            assert_int_equal(wakes, i);
        }
        sigaction(SIGUSR1, &before, NULL);
        assert_int_equal(host_stop(1000), 0);
        evserve_wake(host.server);
        assert_int_equal(evserve_wait(host.server), 0);
        assert_int_equal(wakes, 3);
        evserve_free(host.server);
        host.server = NULL;
    }
}

static void host_loop_is_woken(void **state)
{
    (void)state;
    host.config.on_wake = on_wake;
    wakes = 0;
    host_start();
    evserve_wake(host.server);
    evserve_wake(host.server);
    assert_int_equal(evserve_poll(host.server, -1), 1);
    assert_int_equal(wakes, 1); /* two calls before it make one */
}

static void thread_of_the_host_serves_in_wait(void **state)
{
    (void)state;
    use_site();
    host_serve();
    host_expect("/", "hello");
    assert_int_equal(host_stop(1000), 0);
    assert_int_equal(evserve_wait(host.server), 0);
    assert_int_equal(client_connect(host.port), -1);
}

static void wait_tells_how_many_were_cut(void **state)
{
    (void)state;
    for (unsigned reactors = 0; reactors < 4; reactors += 3) {
        use_site();
        host.config.reactors = reactors;
        host_serve();
        int slow[] = {ask_slowly(), ask_slowly(), ask_slowly()};
        assert_int_equal(host_stop(0), 3);
        assert_int_equal(evserve_wait(host.server), 3);
        for (size_t i = 0; i < 3; i++) {
            close(slow[i]);
        }
        evserve_free(host.server);
        host.server = NULL;
    }
}

static void stop_lets_a_request_in_flight_finish(void **state)
{
    (void)state;
    use_site();
    host.config.reactors = 2;
    host_start();
    char answer[1024];
    int fd = client_connect(host.port);
    assert_true(client_send(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /soon HTTP/1.1\r\nHost: a\r\n\r\n"));
    client_read_until(fd, answer, sizeof answer, "hello"); /* the second is there, too */
    evserve_stop(host.server, 60000);
    client_read_all(fd, answer, sizeof answer);
    assert_string_equal(client_body(answer), "soon");
    close(fd);
    assert_int_equal(evserve_wait(host.server), 0);
}

/* What a host's loop does, until fd has something to read. */
static void run_host_loop(int fd)
{
    struct pollfd fds[] = {{.fd = evserve_fd(host.server), .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    assert_true(fds[0].fd >= 0);
    while (fds[1].revents == 0) {
        assert_true(poll(fds, 2, CLIENT_LIMIT_S * 1000) > 0);
        if (fds[0].revents != 0) {
            assert_int_equal(evserve_poll(host.server, 0), 1);
        }
    }
}

static void host_loop_watches_one_fd(void **state)
{
    (void)state;
    use_site();
    host_start();
    char answer[1024];
    int fd = client_connect(host.port);
    assert_true(client_send(fd, "GET /soon HTTP/1.0\r\n\r\n")); /* a timer is in it */
    run_host_loop(fd);
    client_read_until(fd, answer, sizeof answer, "soon");
    assert_string_equal(client_body(answer), "soon");
    close(fd);
    evserve_stop(host.server, 1000);
    while (evserve_poll(host.server, -1) > 0) {
    }
    assert_int_equal(evserve_poll(host.server, -1), 0);
    assert_int_equal(evserve_wait(host.server), 0);
}

static void adopted_socket_is_served_without_a_listening_one(void **state)
{
    (void)state;
    use_site();
    host.config.listen = "none";
    host.server = evserve_start(&host.config, host.err, sizeof host.err);
    assert_non_null(host.server);
    assert_null(evserve_address(host.server, 0));
    int fds[2];
    char answer[1024];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(evserve_adopt(host.server, fds[1]), 0);
    assert_true(client_send(fds[0], "GET / HTTP/1.0\r\n\r\n"));
    run_host_loop(fds[0]);
    client_read_until(fds[0], answer, sizeof answer, "hello");
    close(fds[0]);
    assert_int_equal(evserve_adopt(host.server, -1), -EBADF);
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(evserve_adopt(host.server, fds[0]), -ENOTSOCK);
    assert_int_equal(fcntl(fds[0], F_GETFD), -1); /* it is closed all the same */
    close(fds[1]);
}

static int adopted_by_route = -1; /* the other end of what serve_adopt() hands over */

/* Hand over a socket that has a request in it already, and ask for turns that belong to whoever called this. */
static void serve_adopt(evs_request *request, void *arg)
{
    (void)arg;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    adopted_by_route = fds[0];
    assert_true(client_send(fds[0], "GET /host HTTP/1.1\r\nHost: the-adopted-one-with-a-long-name\r\n\r\n"));
    assert_int_equal(evserve_adopt(host.server, fds[1]), 0);
    assert_int_equal(evserve_poll(host.server, 0), -EBUSY);
    assert_int_equal(evserve_wait(host.server), -EBUSY);
    const char *name = evs_header(request, "host");
    assert_non_null(name);
    evs_reply(request, 200, "text/plain", name, strlen(name));
}

static void serve_host(evs_request *request, void *arg)
{
    (void)arg;
    const char *name = evs_header(request, "host");
    evs_reply(request, 200, "text/plain", name, strlen(name));
}

static void socket_adopted_by_a_route_does_not_disturb_its_request(void **state)
{
    (void)state;
    static const struct evs_route routes[] = {{.route = "GET /adopt", .serve = serve_adopt},
                                              {.route = "GET /host", .serve = serve_host},
                                              {.route = NULL}};
    host.config.routes = routes;
    host.config.listen = "none";
    host.server = evserve_start(&host.config, host.err, sizeof host.err);
    assert_non_null(host.server);
    int fds[2];
    char answer[2048];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_true(client_send(fds[0], "GET /adopt HTTP/1.1\r\nHost: first\r\n\r\n"
                                    "GET /host HTTP/1.1\r\nHost: second\r\n\r\n"));
    assert_int_equal(evserve_adopt(host.server, fds[1]), 0);
    run_host_loop(fds[0]);
    size_t len = client_read_until(fds[0], answer, sizeof answer, "second");
    assert_true(len > 0);
    assert_int_equal(count_in(answer, "\r\n\r\nfirst"), 1);
    assert_int_equal(count_in(answer, "\r\n\r\nsecond"), 1);
    run_host_loop(adopted_by_route);
    client_read_until(adopted_by_route, answer, sizeof answer, "long-name");
    assert_string_equal(client_body(answer), "the-adopted-one-with-a-long-name");
    close(fds[0]);
    close(adopted_by_route);
}

static void socket_adopted_and_never_served_is_closed(void **state)
{
    (void)state;
    use_site();
    host.config.listen = "none";
    host.server = evserve_start(&host.config, host.err, sizeof host.err);
    assert_non_null(host.server);
    for (int i = 0; i < 9; i++) {
        int fds[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
        assert_int_equal(evserve_adopt(host.server, fds[1]), 0);
        close(fds[0]);
    } /* the end of the test counts the open fds */
}

static void host_loop_is_woken_by_deadlines(void **state)
{
    (void)state;
    host.config.root = host.folder;
    host.config.idle_timeout_ms = 30;
    host_start();
    char byte;
    int fd = client_connect(host.port);
    run_host_loop(fd);
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
    close(fd);
    struct evs_stats stats = {.size = sizeof stats};
    assert_int_equal(evserve_stats(host.server, &stats), 0);
    assert_int_equal(stats.timeouts, 1);
    assert_int_equal(stats.active, 0);
}

static void idle_server_does_not_wake_the_hosts_loop(void **state)
{
    (void)state;
    host.config.root = host.folder;
    host_start();
    struct pollfd fd = {.fd = evserve_fd(host.server), .events = POLLIN};
    while (poll(&fd, 1, 0) > 0) { /* what the start has left behind */
        evserve_poll(host.server, 0);
    }
    assert_int_equal(poll(&fd, 1, 50), 0);
}

static void threads_of_the_library_share_the_connections(void **state)
{
    (void)state;
    enum { THREADS = 3, TRIES = 10000 };
    use_site();
    host.config.reactors = THREADS;
    host_start();
    assert_int_equal(host_threads(), host.threads_before + THREADS);
    bool seen[THREADS] = {false};
    int count = 0;
    for (int i = 0; i < TRIES && count < THREADS; i++) {
        int thread = atoi(client_body(client_get(host.port, "/thread")));
        assert_in_range(thread, 0, THREADS - 1);
        count += seen[thread] ? 0 : 1;
        seen[thread] = true;
    }
    assert_int_equal(count, THREADS);
    evserve_stop(host.server, 1000);
    assert_int_equal(evserve_wait(host.server), 0);
    assert_int_equal(evserve_wait(host.server), 0);
}

static void threads_serve_unix_sockets_and_inherited_ones(void **state)
{
    (void)state;
    use_site();
    int inherited = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof any;
    assert_int_equal(bind(inherited, (struct sockaddr *)&any, len), 0);
    assert_int_equal(listen(inherited, 64), 0);
    assert_int_equal(getsockname(inherited, (struct sockaddr *)&any, &len), 0);
    char addresses[256], path[128];
    snprintf(path, sizeof path, "%s/socket", host.folder);
    snprintf(addresses, sizeof addresses, "unix:%s, fd:%d, [::1]:0", path, inherited);

    host.config.listen = addresses;
    host.config.reactors = 2;
    host_start();
    for (int i = 0; i < 50; i++) {
        assert_string_equal(client_body(client_ask_on(client_connect_unix(path), "GET / HTTP/1.0\r\n\r\n")), "hello");
        assert_string_equal(client_body(client_get(ntohs(any.sin_port), "/")), "hello");
    }
    assert_true(evserve_port(host.server, 2) > 0);
    assert_null(evserve_address(host.server, 3));
    evserve_stop(host.server, 0);
    assert_int_equal(evserve_wait(host.server), 0);
    assert_int_equal(access(path, F_OK), -1);
    close(inherited);
}

static void address_is_in_use_though_its_server_shares_it(void **state)
{
    (void)state;
    char address[64];
    host.config.root = host.folder;
    host.config.reactors = 2;
    host_start();
    snprintf(address, sizeof address, "127.0.0.1:%d", host.port);
    struct evserve_config second = host.config;
    second.listen = address;
    for (unsigned reactors = 0; reactors < 3; reactors++) {
        second.reactors = reactors;
        assert_null(evserve_start(&second, host.err, sizeof host.err));
        assert_non_null(strstr(host.err, address));
        assert_non_null(strstr(host.err, "address already in use"));
    }
}

static void each_thread_has_a_script_that_starts_and_stops(void **state)
{
    (void)state;
    host_needs_lua();
    host.config.script = host_write("site.lua", "local app = require 'evserve'\n"
                                                "app.on('start', function() app.log('info', 'started') end)\n"
                                                "app.on('stop', function() app.log('info', 'stopped') end)\n");
    for (unsigned reactors = 0; reactors < 4; reactors += 3) {
        int threads = reactors == 0 ? 1 : (int)reactors;
        host.log[0] = '\0';
        host.config.reactors = reactors;
        host_start();
        evserve_stop(host.server, 1000);
        assert_int_equal(evserve_wait(host.server), 0);
        assert_int_equal(count_in(host.log, "started"), threads);
        assert_int_equal(count_in(host.log, "stopped"), threads);
        evserve_free(host.server);
        host.server = NULL;
    }
}

static void threads_share_max_connections(void **state)
{
    (void)state;
    enum { CLIENTS = 30, MAX = 4 };
    use_site();
    host.config.reactors = 2;
    host.config.max_connections = MAX;
    host_start();
    int fds[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = client_connect(host.port); /* the kernel takes them all */
        assert_true(client_send(fds[i], "GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    struct evs_stats stats = {.size = sizeof stats};
    while (stats.requests < MAX) {
        usleep(1000);
        evserve_stats(host.server, &stats);
    }
    usleep(20000);
    evserve_stats(host.server, &stats);
    assert_int_equal(stats.active, MAX);
    for (int i = 0; i < CLIENTS; i++) {
        close(fds[i]); /* and whoever waits gets his turn */
    }
    while (stats.accepted < CLIENTS) {
        usleep(1000);
        evserve_stats(host.server, &stats);
    }
}

static void server_with_threads_has_no_fd_to_watch(void **state)
{
    (void)state;
    host.config.root = host.folder;
    host.config.reactors = 1;
    host_start();
    assert_int_equal(evserve_fd(host.server), -EINVAL);
    assert_int_equal(evserve_poll(host.server, 0), -EINVAL);
    int fd = dup(STDIN_FILENO);
    assert_int_equal(evserve_adopt(host.server, fd), -EINVAL);
    assert_int_equal(fcntl(fd, F_GETFD), -1); /* it is closed all the same */
}

static void freed_without_a_stop_it_ends_its_threads(void **state)
{
    (void)state;
    use_site();
    host.config.reactors = 2;
    host_start();
    int slow = ask_slowly();
    evserve_free(host.server);
    host.server = NULL;
    char byte;
    assert_true(recv(slow, &byte, 1, 0) <= 0);
    close(slow);
}

static void as_many_threads_as_allowed_and_one_more(void **state)
{
    (void)state;
    host.config.root = host.folder;
    host.config.reactors = EVSERVE_REACTORS_MAX + 1;
    host_must_not_start("evserve_config.reactors is 257");
    host.config.reactors = EVSERVE_REACTORS_MAX;
    host_start();
    assert_int_equal(host_threads(), host.threads_before + EVSERVE_REACTORS_MAX);
}

/* Posts. */

enum { POSTS = 1000, POSTERS = 3 };

struct poster {
    unsigned next;    /* number that is due: calls of one thread keep their order */
    unsigned strays;  /* calls out of order, or on another thread than the first */
    pthread_t server; /* who called first */
};

struct posted {
    struct poster *poster;
    unsigned number;
};

static void on_post(void *arg)
{
    struct posted *posted = arg;
    struct poster *poster = posted->poster;
    poster->server = posted->number == 0 ? pthread_self() : poster->server;
    poster->strays += posted->number != poster->next++ || !pthread_equal(poster->server, pthread_self());
    free(posted);
}

static void *post_many(void *arg)
{
    for (unsigned i = 0; i < POSTS; i++) {
        struct posted *posted = malloc(sizeof *posted);
        *posted = (struct posted){.poster = arg, .number = i};
        if (evserve_post(host.server, on_post, posted) < 0) {
            free(posted);
        }
    }
    return NULL;
}

static void stop_posted(void *arg)
{
    (void)arg;
    evserve_stop(host.server, 1000);
}

static void posts_of_threads_all_arrive_in_order_on_one_thread(void **state)
{
    (void)state;
    for (unsigned reactors = 0; reactors < 3; reactors += 2) {
        host.config.root = host.folder;
        host.config.reactors = reactors;
        host_serve();
        struct poster posters[POSTERS] = {{0}};
        pthread_t threads[POSTERS];
        for (int i = 0; i < POSTERS; i++) {
            assert_int_equal(pthread_create(&threads[i], NULL, post_many, &posters[i]), 0);
        }
        for (int i = 0; i < POSTERS; i++) {
            pthread_join(threads[i], NULL);
        }
        assert_int_equal(evserve_post(host.server, stop_posted, NULL), 0);
        pthread_join(host.thread, NULL);
        host.is_serving = false;
        for (int i = 0; i < POSTERS; i++) {
            assert_int_equal(posters[i].next, POSTS);
            assert_int_equal(posters[i].strays, 0);
        }
        evserve_free(host.server);
        host.server = NULL;
    }
}

static void count_call(void *arg)
{
    ++*(int *)arg;
}

static void post_is_called_once_accepted_and_refused_after_the_end(void **state)
{
    (void)state;
    int calls = 0;
    host.config.root = host.folder;
    host_start();
    assert_int_equal(evserve_post(host.server, count_call, &calls), 0);
    evserve_free(host.server); /* it has never run */
    assert_int_equal(calls, 1);

    host_start();
    evserve_stop(host.server, 0);
    assert_int_equal(evserve_post(host.server, count_call, &calls), 0);
    assert_int_equal(evserve_wait(host.server), 0);
    assert_int_equal(calls, 2);
    assert_int_equal(evserve_post(host.server, count_call, &calls), -ESHUTDOWN);
    evserve_free(host.server);
    host.server = NULL;
    assert_int_equal(calls, 2);
}

/* Numbers. */

static void stats_are_the_sum_of_all_threads(void **state)
{
    (void)state;
    enum { REQUESTS = 60 };
    use_site();
    host.config.reactors = 3;
    host_start();
    size_t received = 0;
    for (int i = 0; i < REQUESTS; i++) {
        received += strlen(client_get(host.port, i % 3 == 0 ? "/missing" : "/"));
    }
    struct evs_stats stats = {.size = sizeof stats};
    evserve_stop(host.server, 1000);
    assert_int_equal(evserve_wait(host.server), 0);
    assert_int_equal(evserve_stats(host.server, &stats), 0);
    assert_int_equal(stats.accepted, REQUESTS);
    assert_int_equal(stats.active, 0);
    assert_int_equal(stats.requests, REQUESTS);
    assert_int_equal(stats.by_class[2], REQUESTS * 2 / 3);
    assert_int_equal(stats.by_class[4], REQUESTS / 3);
    assert_int_equal(stats.bytes_sent, received);
    assert_int_equal(stats.errors, 0);
}

static void stats_fill_in_what_an_older_host_knows(void **state)
{
    (void)state;
    host.config.root = host.folder;
    host_start();
    struct evs_stats stats;
    memset(&stats, 0xa5, sizeof stats);
    stats.size = offsetof(struct evs_stats, active);
    assert_int_equal(evserve_stats(host.server, &stats), 0);
    assert_int_equal(stats.accepted, 0);
    assert_int_equal(stats.active, 0xa5a5a5a5a5a5a5a5);
    stats.size = sizeof stats + 1;
    assert_int_equal(evserve_stats(host.server, &stats), -EINVAL);
    stats.size = 1;
    assert_int_equal(evserve_stats(host.server, &stats), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(signal_handler_wakes_the_server),
        HOST_TEST(host_loop_is_woken),
        HOST_TEST(thread_of_the_host_serves_in_wait),
        HOST_TEST(wait_tells_how_many_were_cut),
        HOST_TEST(stop_lets_a_request_in_flight_finish),
        HOST_TEST(host_loop_watches_one_fd),
        HOST_TEST(adopted_socket_is_served_without_a_listening_one),
        HOST_TEST(socket_adopted_by_a_route_does_not_disturb_its_request),
        HOST_TEST(socket_adopted_and_never_served_is_closed),
        HOST_TEST(host_loop_is_woken_by_deadlines),
        HOST_TEST(idle_server_does_not_wake_the_hosts_loop),
        HOST_TEST(threads_of_the_library_share_the_connections),
        HOST_TEST(threads_serve_unix_sockets_and_inherited_ones),
        HOST_TEST(address_is_in_use_though_its_server_shares_it),
        HOST_TEST(each_thread_has_a_script_that_starts_and_stops),
        HOST_TEST(threads_share_max_connections),
        HOST_TEST(server_with_threads_has_no_fd_to_watch),
        HOST_TEST(freed_without_a_stop_it_ends_its_threads),
        HOST_TEST(as_many_threads_as_allowed_and_one_more),
        HOST_TEST(posts_of_threads_all_arrive_in_order_on_one_thread),
        HOST_TEST(post_is_called_once_accepted_and_refused_after_the_end),
        HOST_TEST(stats_are_the_sum_of_all_threads),
        HOST_TEST(stats_fill_in_what_an_older_host_knows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
