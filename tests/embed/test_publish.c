/* Topics of a host: evserve_publish() from any thread, and WebSockets that subscribe on all threads of the server. */

#include "tests/lib/client.h"
#include "tests/lib/host.h"

#include <stdatomic.h>
#include <sys/wait.h>

#define HELLO                                                                                                          \
    "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"        \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

enum { CLIENTS = 12, PUBLISHERS = 3, MESSAGES = 300 };

static atomic_int joined, closed; /* WebSockets */

static void on_open(evs_ws *ws, void *arg)
{
    static char name[EVSERVE_ERROR_MAX + 300];
    (void)arg;
    assert_int_equal(evs_ws_subscribe(ws, "news", 0), 0);
    assert_int_equal(evs_ws_subscribe(ws, "news", EVS_WS_SKIP), 0);
    assert_int_equal(evs_ws_subscribe(ws, "news", 0), 0);
    assert_int_equal(evs_ws_subscribe(ws, "other", 0), 0);
    assert_int_equal(evs_ws_unsubscribe(ws, "other"), 0);
    assert_int_equal(evs_ws_unsubscribe(ws, "other"), -ENOENT);
    assert_int_equal(evs_ws_unsubscribe(ws, NULL), -ENOENT);
    assert_int_equal(evs_ws_subscribe(ws, "", 0), -EINVAL);
    assert_int_equal(evs_ws_subscribe(ws, NULL, 0), -EINVAL);
    assert_int_equal(evs_ws_subscribe(ws, "news", 2), -EINVAL);
    if (atomic_fetch_add(&joined, 1) == 0) {
        memset(name, 'n', sizeof name - 1);
        assert_int_equal(evs_ws_subscribe(ws, name, 0), -ENAMETOOLONG);
    }
}

static void on_message(evs_ws *ws, int kind, const void *data, size_t len, void *arg)
{
    (void)ws;
    (void)kind;
    (void)arg;
    assert_int_equal(evserve_publish(host.server, "news", data, len), 0); /* in a callback, too */
}

static void on_close(evs_ws *ws, int code, const char *reason, void *arg)
{
    (void)ws;
    (void)code;
    (void)reason;
    (void)arg;
    atomic_fetch_add(&closed, 1);
}

static void serve(evs_request *request, void *arg)
{
    (void)arg;
    const struct evs_ws_callbacks socket = {.size = sizeof socket,
                                            .on_open = on_open,
                                            .on_message = on_message,
                                            .on_close = on_close};
    evs_websocket(request, &socket);
}

static const struct evs_route routes[] = {{.route = "GET /ws", .serve = serve},
                                          {.route = "GET /metrics", .serve = evs_metrics},
                                          {.route = NULL}};

static void start(unsigned reactors)
{
    host.config.routes = routes;
    host.config.reactors = reactors;
    joined = closed = 0;
    host_start();
}

static void wait_for(atomic_int *count, int n)
{
    for (int i = 0; i < 1000 && atomic_load(count) < n; i++) {
        usleep(5000);
    }
    assert_int_equal(atomic_load(count), n);
}

static void subscribe_all(int fds[CLIENTS])
{
    char buf[2048];
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = client_connect(host.port);
        assert_true(client_send(fds[i], HELLO));
        client_read_until(fds[i], buf, sizeof buf, "\r\n\r\n");
    }
    wait_for(&joined, CLIENTS);
}

/* A frame of a short text comes next. */
static void expect_text(int fd, char text[128])
{
    unsigned char head[2];
    assert_int_equal(recv(fd, head, 2, MSG_WAITALL), 2);
    assert_int_equal(head[0], 0x81);
    assert_in_range(head[1], 1, 125);
    assert_int_equal(recv(fd, text, head[1], MSG_WAITALL), head[1]);
    text[head[1]] = '\0';
}

static void *publish(void *arg)
{
    char text[32];
    for (int i = 0; i < MESSAGES; i++) {
        size_t len = (size_t)sprintf(text, "%d %d", (int)(intptr_t)arg, i);
        assert_int_equal(evserve_publish(host.server, "news", text, len), 0);
    }
    return NULL;
}

static void all_threads_deliver_all_messages_in_one_order(void **state)
{
    (void)state;
    int fds[CLIENTS];
    pthread_t threads[PUBLISHERS];
    static char first[PUBLISHERS * MESSAGES][128];
    start(3);
    subscribe_all(fds);
    for (intptr_t i = 0; i < PUBLISHERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, publish, (void *)i), 0);
    }
    for (int i = 0; i < PUBLISHERS; i++) {
        pthread_join(threads[i], NULL);
    }
    for (int i = 0; i < CLIENTS; i++) {
        int next[PUBLISHERS] = {0};
        for (int n = 0; n < PUBLISHERS * MESSAGES; n++) {
            char text[128];
            int publisher, number;
            expect_text(fds[i], text);
            assert_int_equal(sscanf(text, "%d %d", &publisher, &number), 2);
            assert_int_equal(number, next[publisher]++);
            if (i == 0) {
                strcpy(first[n], text);
            } else {
                assert_string_equal(text, first[n]);
            }
        }
    }
    assert_int_equal(send(fds[0], "\x81\x82\0\0\0\0hi", 8, MSG_NOSIGNAL), 8);
    for (int i = 0; i < CLIENTS; i++) {
        char text[128];
        expect_text(fds[i], text);
        assert_string_equal(text, "hi");
        close(fds[i]);
    }
    wait_for(&closed, CLIENTS);
    assert_int_equal(evserve_publish(host.server, "news", "nobody", 6), 0);
    struct evs_stats stats = {.size = sizeof stats};
    assert_int_equal(evserve_stats(host.server, &stats), 0);
    assert_int_equal(stats.subscribers, 0);
    assert_int_equal(stats.published, PUBLISHERS * MESSAGES + 2);
    assert_int_equal(stats.delivered, (PUBLISHERS * MESSAGES + 1) * CLIENTS);
    assert_int_equal(stats.skipped, 0);
    const char *metrics = client_body(client_get(host.port, "/metrics"));
    assert_non_null(strstr(metrics, "\nevserve_published_total 902\n"));
    assert_non_null(strstr(metrics, "\nevserve_deliveries_total{result=\"sent\"} 10812\n"));
    assert_non_null(strstr(metrics, "\nevserve_subscribers 0\n"));
}

static void reload_leaves_subscribers_alone(void **state)
{
    (void)state;
    int fds[CLIENTS];
    start(2);
    subscribe_all(fds);
    assert_true(evserve_reload(host.server, host.err, sizeof host.err) >= 0);
    assert_int_equal(evserve_publish(host.server, "news", "still here", 10), 0);
    for (int i = 0; i < CLIENTS; i++) {
        char text[128];
        expect_text(fds[i], text);
        assert_string_equal(text, "still here");
        close(fds[i]);
    }
    wait_for(&closed, CLIENTS);
}

static void messages_are_checked(void **state)
{
    (void)state;
    static char big[(1 << 20) + 1], name[258];
    memset(big, 'x', sizeof big);
    memset(name, 'n', sizeof name - 1);
    start(1);
    evserve *server = host.server;
    assert_int_equal(evserve_publish(server, "a", big, sizeof big - 1), 0);
    assert_int_equal(evserve_publish(server, "a", big, sizeof big), -EMSGSIZE);
    assert_int_equal(evserve_publish(server, "a", "", 0), 0);
    assert_int_equal(evserve_publish(server, "a", NULL, 0), 0);
    assert_int_equal(evserve_publish(server, "a", NULL, 1), -EINVAL);
    assert_int_equal(evserve_publish(server, "a", "\xff", 1), -EILSEQ);
    assert_int_equal(evserve_publish(server, "", "x", 1), -EINVAL);
    assert_int_equal(evserve_publish(server, NULL, "x", 1), -EINVAL);
    assert_int_equal(evserve_publish(server, name + 1, "x", 1), 0);
    assert_int_equal(evserve_publish(server, name, "x", 1), -ENAMETOOLONG);
    struct evs_publication publication = {
        .size = sizeof publication, .topic = "a", .data = "\xff", .len = 1, .event = "e", .binary = 1};
    assert_int_equal(evserve_publish_as(server, &publication), 0);
    publication.event = "a\nb";
    assert_int_equal(evserve_publish_as(server, &publication), -EINVAL);
    publication.event = NULL;
    publication.size--;
    assert_int_equal(evserve_publish_as(server, &publication), -EINVAL);
    pid_t child = fork();
    if (child == 0) {
        _exit(evserve_publish(server, "a", "x", 1) == -ECHILD ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* What a broker does is tested in unit/core/socket_broker.c and e2e/test_broker.py. */
static void broker_is_checked(void **state)
{
    (void)state;
    host.config.broker = "redis://hush@localhost";
    host_must_not_start("evserve_config.broker: the URL of the broker is not valid: it has a user without a password");
    host.config.broker = "redis://localhost:0";
    host_must_not_start("evserve_config.broker: the URL of the broker is not valid: a URL such as ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(all_threads_deliver_all_messages_in_one_order),
        HOST_TEST(reload_leaves_subscribers_alone),
        HOST_TEST(messages_are_checked),
        HOST_TEST(broker_is_checked),
    };
    return cmocka_run_group_tests_name("publish", tests, NULL, NULL);
}
