/* The metrics of a host: evs_metrics(), summed over threads. */

#include "tests/lib/client.h"
#include "tests/lib/host.h"

#include <poll.h>

static void serve_word(evs_request *request, void *arg)
{
    evs_reply(request, 200, "text/plain", arg, strlen(arg));
}

static const struct evs_route routes[] = {
    {.route = "GET /hello", .serve = serve_word, .arg = "hello"},
    {.route = "GET /metrics", .serve = evs_metrics},
    {.route = NULL},
};

/* The value of a sample in the response to GET /metrics; -1 if there is none. */
static double sample(const char *name)
{
    const char *body = client_body(client_get(host.port, "/metrics"));
    for (const char *line = body; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ' ') {
            return strtod(line + strlen(name), NULL);
        }
    }
    return -1;
}

/* What a thread has counted in a tick is there when the tick has ended, which may be after the response. */
static bool becomes(const char *name, double value)
{
    double now = sample(name);
    for (int i = 0; i < 200 && now != value; i++) {
        poll(NULL, 0, 10);
        now = sample(name);
    }
    return now == value;
}

static void numbers_are_the_sums_over_all_threads(void **state)
{
    (void)state;
    host.config.reactors = 3;
    host.config.routes = routes;
    host_start();
    assert_true(sample("evserve_reactors") == 3);
    double before = sample("evserve_responses_total{class=\"2xx\"}");
    for (int i = 0; i < 20; i++) { /* each of them comes to one thread or another */
        host_expect("/hello", "hello");
    }
    client_get(host.port, "/none");
    assert_true(sample("evserve_responses_total{class=\"2xx\"}") - before == 21);
    assert_true(sample("evserve_responses_total{class=\"4xx\"}") == 1);
    struct evs_stats stats = {.size = sizeof stats};
    assert_int_equal(evserve_stats(host.server, &stats), 0);
    assert_true(sample("evserve_connections_accepted_total") == (double)stats.accepted + 1);
    assert_true(sample("evserve_sent_bytes_total") >= (double)stats.bytes_sent);
}

static void requests_are_counted_by_route(void **state)
{
    (void)state;
    host.config.reactors = 2;
    host.config.routes = routes;
    host_start();
    for (int i = 0; i < 5; i++) {
        host_expect("/hello", "hello");
    }
    client_get(host.port, "/none");
    assert_true(sample("evserve_requests_total{method=\"GET\",route=\"/hello\",code=\"200\"}") == 5);
    assert_true(sample("evserve_requests_total{route=\"none\",code=\"404\"}") == 1);
    assert_true(sample("evserve_response_bytes_total{route=\"none\",code=\"404\"}") > 50);
}

static void listed_hosts_are_shown(void **state)
{
    (void)state;
    host.config.reactors = 2;
    host.config.routes = routes;
    host.config.metrics_hosts = "LOCALHOST, example.org";
    host_start();
    for (int i = 0; i < 5; i++) {
        client_ask(host.port, "GET /hello HTTP/1.0\r\nHost: localhost:8080\r\n\r\n");
    }
    assert_true(sample("evserve_requests_total{host=\"localhost\",method=\"GET\",route=\"/hello\",code=\"200\"}") == 5);
    assert_true(sample("evserve_requests_total{method=\"GET\",route=\"/hello\",code=\"200\"}") < 0);
    assert_true(becomes("evserve_request_duration_seconds_count{method=\"GET\",route=\"/hello\"}", 5));
}

static void hosts_that_are_none_are_refused(void **state)
{
    (void)state;
    host.config.routes = routes;
    host.config.metrics_hosts = "example.org, example.org:80";
    host_must_not_start("evserve_config.metrics_hosts: \"example.org:80\" is no host name");
}

static void serve_guarded(evs_request *request, void *arg)
{
    if (evs_header(request, "Authorization") == NULL && strcmp(evs_query_string(request), "key") != 0) {
        evs_reply(request, 401, NULL, NULL, 0);
        return;
    }
    evs_metrics(request, arg);
}

static void route_that_calls_it_says_so(void **state)
{
    (void)state;
    static const struct evs_route guarded[] = {
        {.route = "GET /hello", .serve = serve_word, .arg = "hello"},
        {.route = "GET /metrics", .serve = serve_guarded, .flags = EVS_METRICS},
        {.route = NULL},
    };
    host.config.routes = guarded;
    host_start();
    host_serve();
    host_expect("/hello", "hello");
    assert_non_null(strstr(client_get(host.port, "/metrics"), " 401 "));
    assert_non_null(strstr(client_get(host.port, "/metrics?key"), "route=\"/hello\",code=\"200\"} 1\n"));
    host_stop(1000);
}

static void host_has_metrics_of_its_own(void **state)
{
    (void)state;
    static const char *const labels[] = {"kind", NULL};
    static const double buckets[] = {1, 10};
    struct evs_metric wanted = {.size = sizeof wanted,
                                .kind = EVSERVE_COUNTER,
                                .name = "orders_total",
                                .help = "Orders taken.",
                                .labels = labels};
    host.config.routes = routes;
    host_start();
    host_serve();
    int orders = evserve_metric(host.server, &wanted, host.err, sizeof host.err);
    assert_int_equal(evserve_metric(host.server, &wanted, host.err, sizeof host.err), orders);
    assert_int_equal(evserve_metric_add(host.server, orders, 2.5, (const char *const[]){"book"}), 0);
    assert_int_equal(evserve_metric_add(host.server, orders, 1, (const char *const[]){"book"}), 0);
    assert_true(sample("orders_total{kind=\"book\"}") == 3.5);
    assert_int_equal(evserve_metric_add(host.server, orders, -1, (const char *const[]){"book"}), -EINVAL);
    assert_int_equal(evserve_metric_add(host.server, orders, 1, NULL), -EINVAL);
    assert_int_equal(evserve_metric_add(host.server, orders, 1, (const char *const[]){NULL}), -EINVAL);
    assert_int_equal(evserve_metric_set(host.server, orders, 1, (const char *const[]){"book"}), -EINVAL);
    assert_int_equal(evserve_metric_observe(host.server, orders, 1, (const char *const[]){"book"}), -EINVAL);
    assert_int_equal(evserve_metric_add(host.server, orders + 1, 1, NULL), -EINVAL);
    assert_int_equal(evserve_metric_add(host.server, -1, 1, NULL), -EINVAL);
    wanted = (struct evs_metric){.size = sizeof wanted, .kind = EVSERVE_GAUGE, .name = "queue", .help = "Jobs."};
    int queue = evserve_metric(host.server, &wanted, host.err, sizeof host.err);
    assert_true(sample("queue") == 0);
    assert_int_equal(evserve_metric_set(host.server, queue, 7, NULL), 0);
    assert_int_equal(evserve_metric_add(host.server, queue, -2, NULL), 0);
    assert_true(sample("queue") == 5);
    wanted = (struct evs_metric){.size = sizeof wanted,
                                 .kind = EVSERVE_HISTOGRAM,
                                 .name = "sizes",
                                 .help = "Sizes.",
                                 .buckets = buckets,
                                 .bucket_count = 2};
    int sizes = evserve_metric(host.server, &wanted, host.err, sizeof host.err);
    assert_int_equal(evserve_metric_observe(host.server, sizes, 10, NULL), 0);
    assert_true(sample("sizes_bucket{le=\"1.0\"}") == 0);
    assert_true(sample("sizes_bucket{le=\"10.0\"}") == 1);
    assert_true(sample("sizes_sum") == 10);
    host_stop(1000);
}

static void definitions_that_are_wrong_are_named(void **state)
{
    (void)state;
    static const char *const nine[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", NULL};
    static const struct {
        struct evs_metric metric;
        const char *what;
    } cases[] = {
        {{.size = 1}, "evs_metric.size is 1, and not"},
        {{.size = sizeof(struct evs_metric), .help = "H."}, "evs_metric.name is NULL"},
        {{.size = sizeof(struct evs_metric), .name = "a"}, "evs_metric.help is NULL"},
        {{.size = sizeof(struct evs_metric), .name = "a", .help = "H."}, "evs_metric.kind is none of"},
        {{.size = sizeof(struct evs_metric), .kind = 4, .name = "a", .help = "H."}, "kind is none of EVSERVE_COUNTER"},
        {{.size = sizeof(struct evs_metric), .kind = EVSERVE_GAUGE, .name = "a", .help = "H.", .labels = nine},
         "evs_metric.labels: a has more than 8"},
        {{.size = sizeof(struct evs_metric), .kind = EVSERVE_GAUGE, .name = "evserve_a", .help = "H."},
         "names that begin with evserve_ are the server's own"},
    };
    host_start();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(evserve_metric(host.server, &cases[i].metric, host.err, sizeof host.err), -EINVAL);
        assert_non_null(strstr(host.err, cases[i].what));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(numbers_are_the_sums_over_all_threads), HOST_TEST(requests_are_counted_by_route),
        HOST_TEST(route_that_calls_it_says_so),           HOST_TEST(host_has_metrics_of_its_own),
        HOST_TEST(definitions_that_are_wrong_are_named),  HOST_TEST(listed_hosts_are_shown),
        HOST_TEST(hosts_that_are_none_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
