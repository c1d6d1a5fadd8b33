/* One server hands its listeners over to another, here of the same process: evserve_listeners(), evserve_hand_over(),
 * config.inherited. */

#include "tests/lib/host.h"

#include <sys/stat.h>

enum { SOCKETS = 16 };

static struct evs_inherited sockets[SOCKETS];
static unsigned socket_count;
static char listen_text[256], unix_path[128];

static void reply_text(evs_request *request, void *arg)
{
    (void)evs_reply(request, 200, "text/plain", arg, strlen(arg));
}

static const struct evs_route old_routes[] = {{.route = "GET /", .serve = reply_text, .arg = (char *)"old"},
                                              {.route = "GET /healthz", .serve = evs_health},
                                              {.route = NULL}};
static const struct evs_route new_routes[] = {{.route = "GET /", .serve = reply_text, .arg = (char *)"new"},
                                              {.route = NULL}};

/* The old server: a port that the kernel chooses, and a unix socket. */
static void start_old(unsigned reactors)
{
    snprintf(unix_path, sizeof unix_path, "%s/s", host.folder);
    snprintf(listen_text, sizeof listen_text, "127.0.0.1:0,unix:%s", unix_path);
    host.config.listen = listen_text;
    host.config.routes = old_routes;
    host.config.reactors = reactors;
    host_start();
    int count = evserve_listeners(host.server, sockets, SOCKETS);
    assert_in_range(count, 1, SOCKETS);
    socket_count = (unsigned)count;
}

static evserve *start_new(unsigned reactors)
{
    struct evserve_config config = host.config;
    config.routes = new_routes;
    config.reactors = reactors;
    config.inherited = sockets;
    config.inherited_count = socket_count;
    return evserve_start(&config, host.err, sizeof host.err);
}

static void close_sockets(void)
{
    for (unsigned i = 0; i < socket_count; i++) {
        close(sockets[i].fd);
    }
}

static void expect_unix(const char *content)
{
    assert_string_equal(client_body(client_ask_on(client_connect_unix(unix_path), "GET / HTTP/1.0\r\n\r\n")), content);
}

static void stop_old(void)
{
    assert_int_equal(evserve_hand_over(host.server, EVSERVE_SERVED), 0);
    evserve_stop(host.server, 1000);
    assert_int_equal(evserve_wait(host.server), 0);
    evserve_free(host.server);
    host.server = NULL;
}

/* The threads of both, and whether the new one has sockets to spare or must open more. */
static void another_server_goes_on_with_the_same_addresses(void **state)
{
    (void)state;
    static const unsigned reactors[][2] = {{2, 2}, {2, 3}, {3, 1}, {1, 2}};
    for (size_t i = 0; i < sizeof reactors / sizeof reactors[0]; i++) {
        start_old(reactors[i][0]);
        assert_int_equal(socket_count, reactors[i][0] + 1); /* each thread has one of the port */
        host_expect("/", "old");
        expect_unix("old");
        evserve *next = start_new(reactors[i][1]);
        assert_non_null(next);
        assert_int_equal(evserve_port(next, 0), host.port);
        assert_int_equal(host_has_logged("2 of the sockets that were handed over for 127.0.0.1:0 are left"),
                         reactors[i][0] == 3);
        close_sockets();
        stop_old();
        host_expect("/", "new");
        expect_unix("new");
        evserve_free(next);
        host.log[0] = '\0';
        assert_int_equal(client_connect(host.port), -1);
        assert_int_equal(access(unix_path, F_OK), -1); /* which it has removed */
    }
}

static void connections_that_wait_are_served_by_the_other(void **state)
{
    (void)state;
    char buf[1024];
    start_old(0); /* and nobody serves it */
    int waits = client_connect(host.port), waits_too = client_connect_unix(unix_path);
    assert_true(client_send(waits, "GET / HTTP/1.0\r\n\r\n") && client_send(waits_too, "GET / HTTP/1.0\r\n\r\n"));
    evserve *next = start_new(1);
    assert_non_null(next);
    close_sockets();
    client_read_all(waits, buf, sizeof buf);
    assert_string_equal(client_body(buf), "new");
    client_read_all(waits_too, buf, sizeof buf);
    assert_string_equal(client_body(buf), "new");
    close(waits);
    close(waits_too);
    stop_old();
    evserve_free(next);
}

static void a_start_that_fails_changes_nothing(void **state)
{
    (void)state;
    start_old(2);
    struct evserve_config config = host.config;
    char more[512];
    snprintf(more, sizeof more, "%s,unix:/nonexistent/s", listen_text);
    config.listen = more; /* the sockets are taken before that fails */
    for (unsigned n = 0; n < 3; n++) {
        config.reactors = n;
        config.inherited = sockets;
        config.inherited_count = socket_count;
        assert_null(evserve_start(&config, host.err, sizeof host.err));
        assert_non_null(strstr(host.err, "/nonexistent/s"));
        host_expect("/", "old");
        expect_unix("old");
    }
    close_sockets();
    host_expect("/", "old");
}

static int refuse(void *arg, char *err, size_t errlen)
{
    (void)arg;
    snprintf(err, errlen, "refused");
    return -1;
}

static void a_start_that_is_refused_changes_nothing(void **state)
{
    (void)state;
    start_old(2);
    host.config.on_listening = refuse;
    assert_null(start_new(2));
    host.config.on_listening = NULL;
    assert_string_equal(host.err, "refused");
    close_sockets();
    for (int i = 0; i < 8; i++) { /* whichever thread it is */
        host_expect("/", "old");
    }
    expect_unix("old");
}

/* Whatever keeps them, here the duplicates, a connection waits there. */
static void stored_sockets_go_on_listening(void **state)
{
    (void)state;
    start_old(1);
    assert_int_equal(evserve_hand_over(host.server, EVSERVE_STORED), 0);
    evserve_free(host.server);
    host.server = NULL;
    int waits = client_connect(host.port);
    assert_true(waits >= 0);
    assert_int_equal(access(unix_path, F_OK), 0);
    evserve *next = start_new(1);
    assert_non_null(next);
    close_sockets();
    assert_string_equal(client_body(client_ask_on(waits, "GET / HTTP/1.0\r\n\r\n")), "new");
    evserve_free(next);
    assert_int_equal(access(unix_path, F_OK), -1);
}

/* Balancers that ask on a connection they kept must not turn away from the address. */
static void health_is_well_while_another_serves(void **state)
{
    (void)state;
    char buf[1024];
    host.config.drain_delay_ms = 60000; /* which is for those who are not replaced */
    host.config.drain_grace_ms = 60000;
    start_old(1);
    close_sockets();
    int kept = client_connect(host.port);
    assert_true(client_send(kept, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"));
    client_read_until(kept, buf, sizeof buf, "ok\n");
    assert_int_equal(evserve_hand_over(host.server, EVSERVE_SERVED), 0);
    evserve_stop(host.server, 60000);
    while (true) { /* until it drains */
        int fd = client_connect(host.port);
        if (fd < 0) {
            break;
        }
        close(fd);
    }
    assert_true(client_send(kept, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"));
    client_read_all(kept, buf, sizeof buf);
    assert_non_null(strstr(buf, "200 OK"));
    assert_non_null(strstr(buf, "Connection: close"));
    close(kept);
    assert_int_equal(evserve_wait(host.server), 0);
    assert_int_equal(unlink(unix_path), 0); /* the other one's to remove */
}

static void listeners_are_counted_when_there_is_no_room(void **state)
{
    (void)state;
    start_old(2);
    assert_int_equal(socket_count, 3);
    close_sockets();
    assert_int_equal(evserve_listeners(host.server, NULL, 0), 3);
    assert_int_equal(evserve_listeners(host.server, sockets, 1), 3);
    assert_string_equal(sockets[0].address, "127.0.0.1:0");
    close(sockets[0].fd);
    assert_int_equal(evserve_ticket_keys(host.server, sockets), -ENOENT); /* without HTTPS */
    assert_int_equal(evserve_hand_over(host.server, 0), -EINVAL);
    assert_int_equal(evserve_hand_over(host.server, EVSERVE_KEPT + 1), -EINVAL);
    evserve_stop(host.server, 0);
    assert_int_equal(evserve_wait(host.server), 0);
    assert_int_equal(evserve_listeners(host.server, sockets, SOCKETS), -ESHUTDOWN);
}

static void mistakes_are_named(void **state)
{
    (void)state;
    char long_address[EVSERVE_ADDRESS_MAX];
    memset(long_address, 'x', sizeof long_address);
    int idle = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int elsewhere = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(listen(elsewhere, 1), 0);
    struct {
        int fd;
        const char *address, *listen, *error;
    } rows[] = {
        {2, "127.0.0.1:0", "127.0.0.1:0", "inherited[0].fd is 2, expected a listening socket, above 2"},
        {9999, "127.0.0.1:0", "127.0.0.1:0", "cannot listen on 127.0.0.1:0: Bad file descriptor"},
        {idle, "127.0.0.1:0", "127.0.0.1:0", "cannot listen on 127.0.0.1:0: not a listening socket"},
        {idle, "127.0.0.1", "127.0.0.1:0", "inherited[0].address: listen address \"127.0.0.1\""},
        {idle, NULL, "127.0.0.1:0", "inherited[0].address has no end"},
        {elsewhere, "127.0.0.1:1", "127.0.0.1:1", "the socket that was handed over for it listens elsewhere"},
        {elsewhere, "unix:/x/y", "unix:/x/y", "the socket that was handed over for it listens elsewhere"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct evs_inherited socket = {.fd = rows[i].fd};
        strncpy(socket.address, rows[i].address == NULL ? "" : rows[i].address, sizeof socket.address - 1);
        if (rows[i].address == NULL) {
            memcpy(socket.address, long_address, sizeof long_address);
        }
        host.config.listen = rows[i].listen;
        host.config.inherited = &socket;
        host.config.inherited_count = 1;
        host_must_not_start(rows[i].error);
    }
    host.config.inherited = NULL;
    host_must_not_start("inherited is NULL, but inherited_count is 1");
    host.config.inherited_count = 0;
    assert_int_equal(close(idle), 0);
    assert_int_equal(close(elsewhere), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(another_server_goes_on_with_the_same_addresses),
        HOST_TEST(connections_that_wait_are_served_by_the_other),
        HOST_TEST(a_start_that_fails_changes_nothing),
        HOST_TEST(a_start_that_is_refused_changes_nothing),
        HOST_TEST(stored_sockets_go_on_listening),
        HOST_TEST(health_is_well_while_another_serves),
        HOST_TEST(listeners_are_counted_when_there_is_no_room),
        HOST_TEST(mistakes_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
