/* evs_events(): hosts whose clients are subscribers. */

#include "tests/lib/client.h"
#include "tests/lib/host.h"

#include <stdatomic.h>
#include <unistd.h>

static struct evs_events_options options;
static int result;            /* of the last evs_events() */
static atomic_int over_count; /* how often on_over() was called */

static void on_over(void *arg)
{
    assert_ptr_equal(arg, &over_count);
    over_count++;
}

static void serve_events(evs_request *request, void *arg)
{
    (void)arg;
    evs_on_done(request, on_over, &over_count);
    result = evs_events(request, &options);
}

static void serve_late(evs_request *request, void *arg)
{
    (void)arg;
    evs_reply(request, 200, "text/plain", "whole", 5);
    result = evs_events(request, &options);
}

static const struct evs_route routes[] = {
    {.route = "GET /events", .serve = serve_events},
    {.route = "GET /late", .serve = serve_late},
    {.route = NULL},
};

static void begin(unsigned reactors)
{
    options = (struct evs_events_options){.size = sizeof options, .topic = "news", .replay = 10, .retry_ms = 2000};
    over_count = 0;
    host.config.routes = routes;
    host.config.reactors = reactors;
    host_start();
    host_serve();
}

/* A client that has read text of its response. */
static int open_stream(const char *target, const char *text)
{
    char request[256], response[4096];
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", target);
    int fd = client_connect(host.port);
    assert_true(client_send(fd, request));
    assert_true(client_read_until(fd, response, sizeof response, text) > 0);
    assert_non_null(strstr(response, "text/event-stream"));
    return fd;
}

static void what_is_published_is_an_event_for_all(void **state)
{
    (void)state;
    enum { CLIENTS = 20 };
    begin(2);
    int fds[CLIENTS];
    char response[4096];
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = open_stream("/events", "retry: 2000\n\n");
    }
    assert_int_equal(evserve_publish(host.server, "news", "one", 3), 0);
    assert_int_equal(evserve_publish(host.server, "others", "no", 2), 0);
    const struct evs_publication two = {.size = sizeof two, .topic = "news", .data = "two", .len = 3, .event = "named"};
    assert_int_equal(evserve_publish_as(host.server, &two), 0);
    for (int i = 0; i < CLIENTS; i++) {
        assert_true(client_read_until(fds[i], response, sizeof response, "data: two\n\n") > 0);
        assert_non_null(strstr(response, "\ndata: one\n\n"));
        assert_non_null(strstr(response, "\nevent: named\ndata: two\n\n"));
        assert_null(strstr(response, "data: no"));
    }
    int late = open_stream("/events?lastEventId=earliest", "data: two\n\n");
    close(late);
    host_stop(1000); /* ends the streams */
    for (int i = 0; i < CLIENTS; i++) {
        assert_true(client_read_until(fds[i], response, sizeof response, "0\r\n\r\n") > 0);
        close(fds[i]);
    }
    assert_int_equal(over_count, CLIENTS + 1);
}

static void mistakes_end_the_request_and_are_logged(void **state)
{
    (void)state;
    static char long_topic[300];
    memset(long_topic, 't', sizeof long_topic - 1);
    begin(0);
    const struct evs_events_options right = options;
    const struct {
        struct evs_events_options options;
        const char *complaint;
    } cases[] = {
        {{.size = 8, .topic = "news"}, "evs_events: size is not sizeof(struct evs_events_options)"},
        {{.size = sizeof right}, "evs_events: topic is NULL"},
        {{.size = sizeof right, .topic = "news", .flags = 2}, "evs_events: flags has unknown ones"},
        {{.size = sizeof right, .topic = "news", .replay = 10001}, "evs_events: replay is above 10,000"},
        {{.size = sizeof right, .topic = "news", .heartbeat_ms = 99}, "evs_events: heartbeat_ms is below 100"},
        {{.size = sizeof right, .topic = ""}, "evs_events: the name"},
        {{.size = sizeof right, .topic = long_topic}, "evs_events: the name"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        options = cases[i].options;
        assert_memory_equal(client_get(host.port, "/events"), "HTTP/1.1 500 ", 13);
        assert_int_equal(result, -EINVAL);
        assert_true(host_has_logged(cases[i].complaint));
    }
    options = right;
    assert_string_equal(client_body(client_get(host.port, "/late")), "whole");
    assert_int_equal(result, -EALREADY);
    options.heartbeat_ms = 100;
    int fd = open_stream("/events", ":\n\n");
    options.heartbeat_ms = EVS_NO_HEARTBEAT;
    close(open_stream("/events", "retry: 2000\n\n"));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(what_is_published_is_an_event_for_all),
        HOST_TEST(mistakes_end_the_request_and_are_logged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
