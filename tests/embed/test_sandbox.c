/* A host that asks for a sandbox: which of its threads it holds for. Each case has a thread of its own, since there is
 * no way out. */

#include "tests/lib/host.h"

#include <fcntl.h>
#include <sys/syscall.h>

/* What a thread found. */
struct found {
    const struct evserve_config *config;
    char err[EVSERVE_ERROR_MAX];
    int outside;     /* of open(2) of a file outside, in a route: 0 or errno */
    int inside;      /* of one inside */
    int own_outside; /* the same on the thread that started the server */
    int started;     /* it did start */
};

static int try_open(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno;
    }
    close(fd);
    return 0;
}

static void serve_tries(evs_request *request, void *arg)
{
    struct found *found = arg;
    found->outside = try_open("/etc/passwd");
    found->inside = try_open(host.path);
    evs_reply(request, 200, "text/plain", "x", 1);
    evserve_stop(evs_server(request), 1000);
}

static void *start_and_serve(void *arg)
{
    struct found *found = arg;
    evserve *server = evserve_start(found->config, found->err, sizeof found->err);
    found->started = server != NULL;
    found->own_outside = try_open("/etc/passwd");
    if (server != NULL) {
        host.port = evserve_port(server, 0); /* for the client, the test's thread: this one cannot connect any more */
        __atomic_store_n(&host.server, server, __ATOMIC_RELEASE);
        evserve_wait(server);
        evserve_free(server);
        __atomic_store_n(&host.server, NULL, __ATOMIC_RELEASE);
    }
    return NULL;
}

static bool has_landlock(void)
{
    return syscall(444, NULL, 0L, 1) > 0;
}

static void in_sandbox(unsigned reactors)
{
    if (!has_landlock()) {
        skip();
    }
    host_write("inside.txt", "inside");
    struct found found = {.outside = -1, .inside = -1};
    const struct evs_route routes[] = {{.route = "GET /try", .serve = serve_tries, .arg = &found}, {.route = NULL}};
    host.config.routes = routes;
    host.config.root = host.folder;
    host.config.reactors = reactors;
    host.config.sandbox = EVSERVE_SANDBOX;
    found.config = &host.config;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, start_and_serve, &found), 0);
    for (int i = 0; i < 60000 && __atomic_load_n(&host.server, __ATOMIC_ACQUIRE) == NULL; i++) {
        usleep(1000);
    }
    host_expect("/try", "x");
    pthread_join(thread, NULL);
    assert_true(found.started);
    assert_int_equal(found.outside, EACCES);
    assert_int_equal(found.inside, 0);
    assert_int_equal(found.own_outside, EACCES);
    assert_int_equal(try_open("/etc/passwd"), 0);
}

/* The first test, since a process reads its zone once. */
static void access_log_of_a_sandbox_has_the_local_time(void **state)
{
    (void)state;
    char path[128], line[64] = "";
    if (access("/usr/share/zoneinfo/Asia/Kolkata", R_OK) != 0) {
        skip();
    }
    setenv("TZ", "Asia/Kolkata", 1);
    snprintf(path, sizeof path, "%s/access.log", host.folder);
    host.config.access_log = path;
    host.config.access_log_format = "$time_iso8601";
    in_sandbox(0);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof line, file));
    fclose(file);
    assert_non_null(strstr(line, "+05:30"));
    remove(path);
}

static void sandbox_holds_for_the_thread_that_serves_and_not_for_the_others(void **state)
{
    (void)state;
    in_sandbox(0);
}

static void sandbox_holds_for_the_threads_of_the_server(void **state)
{
    (void)state;
    in_sandbox(2);
}

static void without_the_field_nothing_is_given_up(void **state)
{
    (void)state;
    host_start();
    assert_int_equal(try_open("/etc/passwd"), 0);
}

static int refuse(void *arg, char *err, size_t errlen)
{
    (void)arg;
    snprintf(err, errlen, "not like this");
    return 1;
}

static void host_that_refuses_when_all_is_bound_gets_its_text(void **state)
{
    (void)state;
    host.config.on_listening = refuse;
    host.config.sandbox = EVSERVE_SANDBOX; /* not reached */
    assert_null(evserve_start(&host.config, host.err, sizeof host.err));
    assert_string_equal(host.err, "not like this");
    assert_int_equal(try_open("/etc/passwd"), 0);
}

static int refuse_without_a_text(void *arg, char *err, size_t errlen)
{
    (void)arg, (void)err, (void)errlen;
    return -7;
}

static void host_that_refuses_without_a_text_gets_one(void **state)
{
    (void)state;
    host.config.on_listening = refuse_without_a_text;
    memset(host.err, 'x', sizeof host.err - 1);
    assert_null(evserve_start(&host.config, host.err, sizeof host.err));
    assert_string_equal(host.err, "evserve_config.on_listening returned -7");
    assert_null(evserve_start(&host.config, NULL, 0));
}

static void what_cannot_be_allowed_is_an_error(void **state)
{
    (void)state;
    static char long_path[5000];
    memset(long_path, 'x', sizeof long_path - 1);
    const struct {
        int sandbox;
        const char *read, *write, *text;
    } rows[] = {
        {-1, NULL, NULL, "evserve_config.sandbox is -1, expected 0, EVSERVE_SANDBOX or EVSERVE_SANDBOX_REQUIRE"},
        {3, NULL, NULL, "evserve_config.sandbox is 3, expected 0, EVSERVE_SANDBOX or EVSERVE_SANDBOX_REQUIRE"},
        {1, "/tmp:/nothing/there", NULL, "cannot allow /nothing/there in the sandbox: No such file or directory"},
        {1, NULL, "::/nothing/there", "cannot allow /nothing/there in the sandbox: No such file or directory"},
        {1, long_path, NULL, "in the sandbox: "},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        host.config.sandbox = rows[i].sandbox;
        host.config.allow_read = rows[i].read;
        host.config.allow_write = rows[i].write;
        assert_null(evserve_start(&host.config, host.err, sizeof host.err));
        assert_non_null(strstr(host.err, rows[i].text));
    }
    assert_int_equal(try_open("/etc/passwd"), 0); /* no part is in force yet */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(access_log_of_a_sandbox_has_the_local_time),
        HOST_TEST(sandbox_holds_for_the_thread_that_serves_and_not_for_the_others),
        HOST_TEST(sandbox_holds_for_the_threads_of_the_server),
        HOST_TEST(without_the_field_nothing_is_given_up),
        HOST_TEST(host_that_refuses_when_all_is_bound_gets_its_text),
        HOST_TEST(host_that_refuses_without_a_text_gets_one),
        HOST_TEST(what_cannot_be_allowed_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
