/* Where a request came from: evs_sockaddr(), evs_listener(), evs_socket(), and what a trusted proxy tells: evs_client(),
 * evs_host_name(), evs_scheme(). */

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

static void serve_client(evs_request *request, void *arg)
{
    (void)arg;
    char text[1024], client[64], name[16], cut[4];
    size_t len = evs_host_name(request, name, sizeof name);
    assert_int_equal(evs_host_name(request, cut, sizeof cut), len);
    assert_int_equal(strlen(cut), len < 3 ? len : 3);
    assert_int_equal(evs_host_name(request, NULL, 0), len);
    int text_len = snprintf(text, sizeof text, "%s %s %s %zu %d", evs_client(request, client, sizeof client),
                            evs_scheme(request), name, len, evs_header(request, "forwarded") != NULL);
    evs_reply(request, 200, NULL, text, (size_t)text_len);
}

static void trusted_proxy_tells_the_client(void **state)
{
    (void)state;
    static const struct evs_route told[] = {{.route = "GET /", .serve = serve_client}, {.route = NULL}};
    static const char request[] = "GET / HTTP/1.0\r\nHost: Inner\r\nX-Forwarded-For: 1.1.1.1, 203.0.113.7\r\n"
                                  "Forwarded: for=1.1.1.1;proto=https;host=Example.org\r\n\r\n";
    host.config.routes = told;
    host.config.trusted_proxies = "127.0.0.1";
    host.config.forwarded = "x-forwards";
    host_must_not_start(
        "evserve_config.forwarded: \"x-forwards\" is not one of \"x-forwarded\", \"forwarded\" and \"off\"");
    static const struct {
        const char *trusted, *forwarded;
        int strips;
        const char *answer;
    } rows[] = {
        {"127.0.0.1", NULL, 0, "203.0.113.7 http inner 5 1"},
        {"127.0.0.1", NULL, 1, "203.0.113.7 http inner 5 0"},
        {"127.0.0.1", "forwarded", 1, "1.1.1.1 https example.org 11 1"},
        {"127.0.0.1", "x-forwarded-proto", 0, "127.0.0.1 http inner 5 1"},
        {"127.0.0.1", "off", 1, "127.0.0.1 http inner 5 0"},
        {"127.0.0.2", NULL, 1, "127.0.0.1 http inner 5 0"},
        {NULL, NULL, 1, "127.0.0.1 http inner 5 0"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        host.config.trusted_proxies = rows[i].trusted;
        host.config.forwarded = rows[i].forwarded;
        host.config.strip_forwarded = rows[i].strips;
        host_serve();
        assert_string_equal(client_body(client_ask(host.port, request)), rows[i].answer);
        host_stop(0);
        evserve_free(host.server);
        host.server = NULL;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(listener_and_addresses_are_told),
        HOST_TEST(adopted_connection_has_no_listener),
        HOST_TEST(trusted_proxy_tells_the_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
