/* A listening socket that the host has opened itself, "fd:3": whose it is, before, during and after a server. */

#include "tests/lib/host.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

static void serve(evs_request *request, void *arg)
{
    evs_reply(request, 200, "text/plain", arg, strlen(arg));
}

/* A listening socket of the host's, with its port. */
static int open_listener(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static void start_on(int fd, char *text)
{
    static struct evs_route routes[2];
    char listen[32];
    snprintf(listen, sizeof listen, "fd:%d", fd);
    routes[0] = (struct evs_route){.route = "GET /", .serve = serve, .arg = text};
    host.config.routes = routes;
    host.config.listen = listen;
    host_serve();
}

static void host_may_close_its_socket_after_the_start(void **state)
{
    (void)state;
    static char text[] = "served";
    int port;
    int fd = open_listener(&port);
    start_on(fd, text);
    assert_int_equal(close(fd), 0);
    assert_int_equal(host.port, port);
    assert_string_equal(client_body(client_get(port, "/")), "served");
}

static void socket_that_the_host_keeps_listens_for_a_successor(void **state)
{
    (void)state;
    static char first[] = "first", second[] = "second";
    char reply[1024];
    int port;
    int fd = open_listener(&port);
    start_on(fd, first);
    assert_string_equal(client_body(client_get(port, "/")), "first");
    assert_int_equal(host_stop(1000), 0);
    evserve_free(host.server);
    host.server = NULL;

    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    int waiting = client_connect(port);
    assert_true(waiting >= 0);
    assert_true(client_send(waiting, "GET / HTTP/1.0\r\n\r\n"));
    start_on(fd, second);
    client_read_all(waiting, reply, sizeof reply);
    assert_string_equal(client_body(reply), "second");
    close(waiting);
    assert_int_equal(close(fd), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(host_may_close_its_socket_after_the_start),
        HOST_TEST(socket_that_the_host_keeps_listens_for_a_successor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
