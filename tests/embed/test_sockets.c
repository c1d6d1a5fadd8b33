/* Where a request came from: evs_sockaddr(), evs_listener(), evs_socket(). */

#include "tests/lib/host.h"

#include <arpa/inet.h>
#include <netdb.h>

/* Say where the request came from: the listener, the client as getnameinfo() and evs_peer() see it, and the address
 * that it connected to. */
static void serve_origin(evs_request *request, void *arg)
{
    (void)arg;
    struct sockaddr_storage peer, local;
    socklen_t local_len = sizeof local;
    char name[64] = "unix", port[16] = "", text[64], answer[512];
    memset(&peer, 0xff, sizeof peer);
    int len = evs_sockaddr(request, &peer);
    if (peer.ss_family != AF_UNIX) {
        assert_int_equal(getnameinfo((struct sockaddr *)&peer, (socklen_t)len, name, sizeof name, port, sizeof port,
                                     NI_NUMERICHOST | NI_NUMERICSERV),
                         0);
    } else {
        assert_int_equal(len, sizeof(sa_family_t));
    }
    assert_int_equal(getsockname(evs_socket(request), (struct sockaddr *)&local, &local_len), 0);
    int is_unix_socket = local.ss_family == AF_UNIX;
    struct {
        pid_t pid;
        uid_t uid;
        gid_t gid;
    } peer_of_unix = {0};
    socklen_t size = sizeof peer_of_unix;
    if (is_unix_socket) {
        assert_int_equal(getsockopt(evs_socket(request), SOL_SOCKET, SO_PEERCRED, &peer_of_unix, &size), 0);
        assert_int_equal(peer_of_unix.pid, getpid());
    }
    int answer_len = snprintf(answer, sizeof answer, "%d %s %s %s %d", evs_listener(request), name, port,
                              evs_peer(request, text, sizeof text), is_unix_socket);
    evs_reply(request, 200, NULL, answer, (size_t)answer_len);
}

static const struct evs_route routes[] = {{.route = "GET /", .serve = serve_origin}, {.route = NULL}};

/* Ask on a connection that is there already: what came as content. */
static const char *ask_on(int fd)
{
    return client_body(client_ask_on(fd, "GET / HTTP/1.0\r\n\r\n"));
}

static int own_port(int fd)
{
    struct sockaddr_in own;
    socklen_t len = sizeof own;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&own, &len), 0);
    return ntohs(own.sin_port);
}

static void listener_and_addresses_are_told(void **state)
{
    (void)state;
    char path[128], listen[256], expected[256];
    snprintf(path, sizeof path, "%s/x.sock", host.folder);
    snprintf(listen, sizeof listen, "127.0.0.1:0,unix:%s,[::]:0", path);
    host.config.listen = listen;
    host.config.routes = routes;
    for (unsigned reactors = 0; reactors <= 2; reactors += 2) { /* with several, the second thread joins */
        host.config.reactors = reactors;
        host_serve();
        for (int i = 0; i < 8; i++) {
            int fd = client_connect(host.port), port = own_port(fd);
            snprintf(expected, sizeof expected, "0 127.0.0.1 %d 127.0.0.1:%d 0", port, port);
            assert_string_equal(ask_on(fd), expected);
            assert_string_equal(ask_on(client_connect_unix(path)), "1 unix  unix: 1");
            fd = client_connect(evserve_port(host.server, 2));
            port = own_port(fd);
            snprintf(expected, sizeof expected, "2 127.0.0.1 %d 127.0.0.1:%d 0", port, port);
            assert_string_equal(ask_on(fd), expected);
        }
        host_stop(0);
        evserve_free(host.server);
        host.server = NULL;
    }
}

static void adopted_connection_has_no_listener(void **state)
{
    (void)state;
    int pair[2];
    char answer[1024] = "";
    host.config.listen = "none";
    host.config.routes = routes;
    host_start();
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(evserve_adopt(host.server, pair[1]), 0);
    assert_true(client_send(client_prepare(pair[0]), "GET / HTTP/1.0\r\n\r\n"));
    for (int i = 0; i < 1000 && strstr(answer, "\r\n\r\n") == NULL; i++) {
        evserve_poll(host.server, 10);
        (void)recv(pair[0], answer, sizeof answer - 1, MSG_DONTWAIT);
    }
    close(pair[0]);
    assert_string_equal(client_body(answer), "-1 unix  unix: 1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(listener_and_addresses_are_told),
        HOST_TEST(adopted_connection_has_no_listener),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
