/* What a server does not do to its host, and what it leaves behind: nothing. Memory is counted
 * (tests/lib/fake_mem.h). */

#include "tests/lib/fake_mem.h"
#include "tests/lib/host.h"

#include <dirent.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void serve_text(evs_request *request, void *arg)
{
    evs_reply(request, 200, "text/plain", arg, strlen(arg));
}

static char hello[] = "hello";
static const struct evs_route routes[] = {{.route = "GET /hello", .serve = serve_text, .arg = hello}, {.route = NULL}};

static const char site[] = "local app = require 'evserve'\n"
                           "app.get('/lua', function() return 'lua' end)\n"
                           "app.every('1h', function() end)\n";

/* Many lives. */

/* Let the server that was started answer once, each time in another way, and end. */
static void live_and_end(int way, const char *path, const char *content)
{
    switch (way % 3) {
    case 0:
        host_serve();
        host_expect(path, content);
        assert_int_equal(host_stop(60000), 0);
        break;
    case 1:
        host_start();
        evserve_poll(host.server, 0);
        break;
    default:
        host_start(); /* nobody ever serves */
        break;
    }
    evserve_free(host.server);
    host.server = NULL;
}

static void thousand_lives_leave_nothing(void **state)
{
    (void)state;
    enum { LIVES = 1000 };
    size_t blocks = fake_mem_live();
    host.config.routes = routes;
    host.config.root = host.folder;
    for (int i = 0; i < LIVES; i++) {
        live_and_end(i, "/hello", "hello");
        assert_int_equal(fake_mem_live(), blocks);
    }
    assert_int_equal(open_fds(), host.fds_before);
}

static void thousand_lives_of_threads_leave_nothing(void **state)
{
    (void)state;
    enum { LIVES = 1000 };
    size_t blocks = fake_mem_live();
    host.config.routes = routes;
    host.config.reactors = 2;
    for (int i = 0; i < LIVES; i++) {
        host_start();
        if (i % 2 == 0) {
            host_expect("/hello", "hello");
            evserve_stop(host.server, 60000);
            assert_int_equal(evserve_wait(host.server), 0);
        }
        evserve_free(host.server);
        host.server = NULL;
        assert_int_equal(fake_mem_live(), blocks);
    }
    assert_int_equal(open_fds(), host.fds_before);
}

static void lives_with_scripts_leave_nothing(void **state)
{
    (void)state;
    enum { LIVES = 100 };
    host_needs_lua();
    size_t blocks = fake_mem_live();
    host.config.script = strdup(host_write("site.lua", site));
    for (int i = 0; i < LIVES; i++) {
        host.config.reactors = i % 4 == 3 ? 2 : 0;
        if (host.config.reactors == 0) {
            live_and_end(i, "/lua", "lua");
        } else {
            host_start();
            assert_int_equal(evserve_reload(host.server, host.err, sizeof host.err), 0);
            host_expect("/lua", "lua");
            evserve_free(host.server);
            host.server = NULL;
        }
        assert_int_equal(fake_mem_live(), blocks);
    }
    assert_int_equal(open_fds(), host.fds_before);
    free((void *)(uintptr_t)host.config.script);
}

static void two_servers_live_side_by_side(void **state)
{
    (void)state;
    host_needs_lua();
    struct evserve_config other = host.config;
    char *first = strdup(host_write("first.lua", "local app = require 'evserve'\nname = 'first'\n"
                                                 "app.set { max_body = 10 }\n"
                                                 "app.get('/', function() return name end)\n"
                                                 "app.post('/', function(req) return 'posted' end)\n"));
    char *second = strdup(host_write("second.lua", "local app = require 'evserve'\nname = name or 'second'\n"
                                                   "app.get('/', function() return name end)\n"
                                                   "app.post('/', function(req) return 'posted' end)\n"));
    host.config.script = first;
    host.config.reactors = 2;
    other.script = second;
    other.reactors = 1;
    host_start();
    evserve *two = evserve_start(&other, host.err, sizeof host.err);
    assert_non_null(two);
    static const char post[] = "POST / HTTP/1.0\r\nContent-Length: 11\r\n\r\n01234567890";
    host_expect("/", "first");
    assert_string_equal(client_body(client_get(evserve_port(two, 0), "/")), "second");
    assert_memory_equal(client_ask(host.port, post), "HTTP/1.1 413 ", 13);
    assert_string_equal(client_body(client_ask(evserve_port(two, 0), post)), "posted");
    evserve_free(host.server);
    host.server = NULL;
    assert_string_equal(client_body(client_get(evserve_port(two, 0), "/")), "second");
    evserve_free(two);
    free(first);
    free(second);
}

/* The host's own things. */

struct surroundings {
    struct sigaction actions[NSIG];
    sigset_t mask;
    mode_t umask;
    char locale[256], cwd[512];
    struct rlimit files;
};

static void look_around(struct surroundings *around)
{
    memset(around, 0, sizeof *around);
    for (int number = 1; number < NSIG; number++) {
        struct sigaction action;
        if (sigaction(number, NULL, &action) == 0) {
            around->actions[number].sa_handler = action.sa_handler;
            around->actions[number].sa_flags = action.sa_flags;
        }
    }
    pthread_sigmask(SIG_SETMASK, NULL, &around->mask);
    around->umask = umask(0);
    umask(around->umask);
    snprintf(around->locale, sizeof around->locale, "%s", setlocale(LC_ALL, NULL));
    assert_non_null(getcwd(around->cwd, sizeof around->cwd));
    getrlimit(RLIMIT_NOFILE, &around->files);
}

static void surroundings_stay_as_they_are(void **state)
{
    (void)state;
    static struct surroundings before, during, after;
    char socket_path[160];
    snprintf(socket_path, sizeof socket_path, "127.0.0.1:0,unix:%s/socket?mode=600", host.folder);
    look_around(&before);
    for (unsigned reactors = 0; reactors < 3; reactors++) {
        host.config.listen = socket_path;
        host.config.reactors = reactors;
        host.config.routes = routes;
        host.config.root = host.folder;
        host_serve();
        host_expect("/hello", "hello");
        evserve_reload(host.server, host.err, sizeof host.err);
        look_around(&during);
        assert_memory_equal(&before, &during, sizeof before);
        host_stop(0);
        evserve_free(host.server);
        host.server = NULL;
    }
    look_around(&after);
    assert_memory_equal(&before, &after, sizeof before);
}

/* The signal mask of every thread but the calling one, as /proc tells: SigBlk of /proc/self/task/N/status. */
static int count_threads_that_take(int number)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/task");
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char path[300], line[256];
        unsigned long long blocked = 0;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
        FILE *status = entry->d_name[0] == '.' ? NULL : fopen(path, "r");
        while (status != NULL && fgets(line, sizeof line, status) != NULL) {
            if (sscanf(line, "SigBlk: %llx", &blocked) == 1) {
                count += (blocked >> (number - 1) & 1) == 0;
            }
        }
        if (status != NULL) {
            fclose(status);
        }
    }
    closedir(dir);
    return count;
}

static void threads_of_the_library_take_no_signals_but_those_of_faults(void **state)
{
    (void)state;
    int before[] = {count_threads_that_take(SIGTERM), count_threads_that_take(SIGCHLD),
                    count_threads_that_take(SIGSEGV)};
    host.config.routes = routes;
    host.config.reactors = 3;
    host_start();
    while (count_threads_that_take(SIGSEGV) != before[2] + 3) {
        usleep(1000); /* a new thread takes nothing at all for a moment */
    }
    assert_int_equal(count_threads_that_take(SIGTERM), before[0]);
    assert_int_equal(count_threads_that_take(SIGCHLD), before[1]);
}

static void every_fd_is_closed_by_exec(void **state)
{
    (void)state;
    char addresses[160];
    snprintf(addresses, sizeof addresses, "127.0.0.1:0,[::1]:0,unix:%s/socket", host.folder);
    host_write("file", "content");
    bool was_open[4096] = {false};
    for (int fd = 0; fd < 4096; fd++) {
        was_open[fd] = fcntl(fd, F_GETFD) >= 0;
    }
    host.config.listen = addresses;
    host.config.root = host.folder;
    host.config.routes = routes;
    host.config.reactors = 2;
    host_start();
    host_expect("/file", "content");
    int kept = client_connect(host.port);
    int found = 0;
    for (int fd = 0; fd < 4096; fd++) {
        int flags = fcntl(fd, F_GETFD);
        if (flags >= 0 && !was_open[fd]) {
            found++;
            assert_true(flags & FD_CLOEXEC);
        }
    }
    assert_true(found >= 8); /* three listeners and an epoll of each thread */
    close(kept);
}

static void child_of_the_host_does_not_keep_the_port(void **state)
{
    (void)state;
    host.config.routes = routes;
    host_start();
    int pipe_fds[2];
    assert_int_equal(pipe(pipe_fds), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(pipe_fds[0], 0);
        close(pipe_fds[1]);
        execlp("cat", "cat", (char *)NULL);
        _exit(127);
    }
    close(pipe_fds[0]);
    assert_int_equal(write(pipe_fds[1], "", 1), 1);
    char link[64], target[64] = "";
    snprintf(link, sizeof link, "/proc/%d/exe", (int)child);
    while (readlink(link, target, sizeof target - 1) < 0 || strstr(target, "cat") == NULL) {
        usleep(1000); /* until it is what it shall be: coreutils may be one binary under another name */
        if (strstr(target, "coreutils") != NULL || strstr(target, "busybox") != NULL) {
            break;
        }
    }
    char address[64];
    snprintf(address, sizeof address, "127.0.0.1:%d", host.port);
    evserve_free(host.server);
    host.server = NULL;
    assert_int_equal(client_connect(host.port), -1);
    host.config.listen = address;
    host_start(); /* the port is free */
    close(pipe_fds[1]);
    waitpid(child, NULL, 0);
}

static void client_that_leaves_raises_no_sigpipe(void **state)
{
    (void)state;
    enum { SIZE = 4 << 20 };
    struct sigaction fatal = {.sa_handler = SIG_DFL}, before;
    sigaction(SIGPIPE, &fatal, &before);
    char *text = malloc(SIZE + 1);
    memset(text, 'x', SIZE);
    text[SIZE] = '\0';
    host_write("large", text);
    const struct evs_route large[] = {{.route = "GET /reply", .serve = serve_text, .arg = text}, {.route = NULL}};
    host.config.routes = large;
    host.config.root = host.folder;
    host_serve();
    for (int i = 0; i < 20; i++) {
        char byte;
        struct linger reset = {.l_onoff = i % 2};
        int fd = client_connect(host.port);
        assert_true(
            client_send(fd, i % 4 < 2 ? "GET /large HTTP/1.1\r\nHost: a\r\n\r\n" : "GET /reply HTTP/1.0\r\n\r\n"));
        assert_int_equal(recv(fd, &byte, 1, 0), 1);
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(fd);
    }
    assert_memory_equal(client_get(host.port, "/none"), "HTTP/1.1 404 ", 13);
    host_stop(0);
    evserve_free(host.server);
    host.server = NULL;
    sigaction(SIGPIPE, &before, NULL);
    free(text);
}

static void nothing_is_printed(void **state)
{
    (void)state;
    char path[128];
    snprintf(path, sizeof path, "%s/output", host.folder);
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    fflush(stdout);
    fflush(stderr);
    int out = fcntl(1, F_DUPFD_CLOEXEC, 3), err = fcntl(2, F_DUPFD_CLOEXEC, 3);
    dup2(file, 1);
    dup2(file, 2);
    host.config.log = NULL;
    host.config.routes = routes;
    host.config.reactors = 1;
    evserve *server = evserve_start(&host.config, host.err, sizeof host.err);
    bool has_served = server != NULL && client_get(evserve_port(server, 0), "/none")[0] != '\0';
    evserve_free(server);
    host.config.root = "/no/such/directory";
    evserve_start(&host.config, NULL, 0);
    fflush(stdout);
    dup2(out, 1);
    dup2(err, 2);
    close(out);
    close(err);
    struct stat st;
    assert_int_equal(fstat(file, &st), 0);
    close(file);
    assert_true(has_served);
    assert_int_equal(st.st_size, 0);
}

/* What stands in the way of a start. */

static void start_errors_say_what_to_do(void **state)
{
    (void)state;
    struct evserve_config plain = host.config;
    char address[64], text[256];
    int taken = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof any;
    assert_int_equal(bind(taken, (struct sockaddr *)&any, len), 0);
    assert_int_equal(listen(taken, 1), 0);
    assert_int_equal(getsockname(taken, (struct sockaddr *)&any, &len), 0);
    snprintf(address, sizeof address, "127.0.0.1:%d", ntohs(any.sin_port));

    for (unsigned reactors = 0; reactors < 3; reactors += 2) {
        plain.reactors = reactors;
        host.config = plain;
        host.config.listen = address;
        snprintf(text, sizeof text, "cannot listen on %s: address already in use", address);
        host_must_not_start(text);

        host.config = plain;
        host.config.listen = "127.0.0.1:0,nonsense";
        host_must_not_start("listen address \"nonsense\": expected HOST:PORT");
        host.config.listen = ",";
        host_must_not_start("listen address \",\"");

        host.config = plain;
        host.config.root = "/no/such/directory";
        host_must_not_start("/no/such/directory");
        host.config.root = host_write("file", "");
        host_must_not_start(host.path);

        host.config = plain;
        host.config.idle_timeout_ms = 1ULL << 40;
        host_must_not_start("idle_timeout: 1099511627776 is out of range (1 to 86400000 ms)");
        host.config = plain;
        host.config.max_fields = 3;
        host_must_not_start("max_fields: 3 is out of range (4 to 1000)");
        host.config = plain;
        host.config.write_cap = 32768;
        host_must_not_start("write_high_mark (65536 bytes) is above write_cap (32768 bytes)");

        host.config = plain;
        host.config.listen = "none,127.0.0.1:0";
        host_must_not_start("listen address \"none\": it cannot be combined with other addresses");
        host.config = plain;
        host.config.script = "";
        host_must_not_start("evserve_config.script is empty, expected a file, or NULL for none");
        host.config = plain;
        host.config.size = sizeof host.config + 1;
        host_must_not_start("evserve_config.size is");
        host.config.size = 1;
        host_must_not_start("evserve_config.size is");
        assert_null(evserve_start(NULL, host.err, sizeof host.err));
        assert_string_equal(host.err, "the evserve_config is NULL");
        assert_null(evserve_start(NULL, NULL, 0));

        host.config = plain;
        host.config.log_level = EVSERVE_LOG_DEBUG + 1;
        host_must_not_start("evserve_config.log_level is 5: the levels are 1 to 4");
    }
    close(taken);
}

static void host_writes_to_the_log_of_the_server(void **state)
{
    (void)state;
    struct evserve_config config = EVSERVE_CONFIG_INIT;
    config.listen = "none";
    config.log = host_keep_line;
    config.log_level = EVSERVE_LOG_WARN;
    host.server = evserve_start(&config, host.err, sizeof host.err);
    assert_non_null(host.server);
    evserve_log(host.server, EVSERVE_LOG_INFO, "too quiet");
    evserve_log(host.server, EVSERVE_LOG_WARN, "100 %s of a \x1b[31mjob");
    evserve_log(host.server, EVSERVE_LOG_WARN, NULL);
    evserve_log(host.server, 0, "no level");
    assert_string_equal(host.log, "100 %s of a \\x1b[31mjob\n");
}

static void calls_that_may_come_before_the_start_take_null(void **state)
{
    (void)state;
    evserve_stop(NULL, 0);
    evserve_wake(NULL);
    evserve_log(NULL, EVSERVE_LOG_ERROR, "nowhere to go");
    evserve_free(NULL);
    assert_string_equal(host.log, "");
}

static void start_errors_of_scripts_name_file_and_line(void **state)
{
    (void)state;
    host_needs_lua();
    char text[512];
    static const struct {
        const char *script, *what;
    } cases[] = {
        {"local app = require 'evserve'\napp.set { write_high_mark = '1M', write_cap = '64K' }\n",
         "site.lua:2: app.set: write_high_mark (1048576 bytes) is above write_cap (65536 bytes)"},
        {"\n\nerror 'no'\n", "site.lua:3: no"},
        {"local app = require 'evserve'\napp.static('/', '/no/such/directory')\n", "site.lua:2: "},
        {"x = = 1\n", "site.lua:1: "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        host.config.script = strdup(host_write("site.lua", cases[i].script));
        snprintf(text, sizeof text, "%s/%s", host.folder, cases[i].what);
        host.config.reactors = i % 2 == 0 ? 0 : 2;
        host_must_not_start(text);
        free((void *)(uintptr_t)host.config.script);
    }
}

static void address_of_a_script_is_named_with_its_line(void **state)
{
    (void)state;
    host_needs_lua();
    char text[512], script[256];
    host.config.routes = routes;
    host_start();
    struct evserve_config second = host.config;
    snprintf(script, sizeof script, "local app = require 'evserve'\n\napp.listen '127.0.0.1:%d'\n", host.port);
    snprintf(text, sizeof text, "%s/site.lua:3: cannot listen on 127.0.0.1:%d: address already in use", host.folder,
             host.port);
    char *path = strdup(host_write("site.lua", script));
    second.listen = NULL;
    second.script = path;
    assert_null(evserve_start(&second, host.err, sizeof host.err));
    assert_string_equal(host.err, text);
    free(path);
}

static void start_survives_every_failing_allocation(void **state)
{
    (void)state;
    size_t blocks = fake_mem_live();
    host.config.routes = routes;
    host.config.root = host.folder;
    bool has_failed = true;
    for (uint64_t n = 1; has_failed; n++) {
        fake_mem_fail_after(n, false);
        host.server = evserve_start(&host.config, host.err, sizeof host.err);
        has_failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        assert_true(host.server == NULL || !has_failed || fake_mem_live() > blocks);
        if (host.server == NULL) {
            assert_true(has_failed && host.err[0] != '\0');
            assert_int_equal(fake_mem_live(), blocks);
            assert_int_equal(open_fds(), host.fds_before);
        }
        evserve_free(host.server);
        host.server = NULL;
    }
    assert_int_equal(fake_mem_live(), blocks);
}

static void reload_survives_every_failing_allocation(void **state)
{
    (void)state;
    host.config.routes = routes;
    host.config.root = host.folder;
    host_start();
    assert_int_equal(evserve_reload(host.server, host.err, sizeof host.err), 0);
    evserve_poll(host.server, 0);
    size_t blocks = fake_mem_live();
    bool has_failed = true;
    for (uint64_t n = 1; has_failed; n++) {
        fake_mem_fail_after(n, false);
        int rv = evserve_reload(host.server, host.err, sizeof host.err);
        has_failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        assert_true(rv == 0 || (rv == -ENOMEM && has_failed));
        evserve_poll(host.server, 0);
        assert_int_equal(fake_mem_live(), blocks);
    }
    host_serve();
    host_expect("/hello", "hello");
}

/* With a script there are thousands: all of the first ones, then samples. */
static void reload_of_a_script_survives_failing_allocations(void **state)
{
    (void)state;
    host_needs_lua();
    host.config.script = strdup(host_write("site.lua", site));
    host_start();
    assert_int_equal(evserve_reload(host.server, host.err, sizeof host.err), 0);
    evserve_poll(host.server, 0);
    bool has_failed = true;
    int failed_reloads = 0;
    for (uint64_t n = 1; has_failed; n += 1 + n / 32) {
        fake_mem_fail_after(n, false);
        int rv = evserve_reload(host.server, host.err, sizeof host.err);
        has_failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        assert_true(rv == 0 || has_failed);
        assert_true(rv == 0 || host.err[0] != '\0');
        failed_reloads += rv < 0;
        evserve_poll(host.server, 0);
    }
    assert_true(failed_reloads > 50);
    host_serve();
    host_expect("/lua", "lua");
    host_stop(0);
    free((void *)(uintptr_t)host.config.script);
}

static void start_without_fds_says_so_and_leaves_nothing(void **state)
{
    (void)state;
    struct rlimit before, few;
    getrlimit(RLIMIT_NOFILE, &before);
    host.config.routes = routes;
    host.config.root = host.folder;
    host.config.reactors = 2;
    size_t blocks = fake_mem_live();
    for (rlim_t more = 0;; more++) {
        few = before;
        few.rlim_cur = (rlim_t)host.fds_before + more;
        setrlimit(RLIMIT_NOFILE, &few);
        host.server = evserve_start(&host.config, host.err, sizeof host.err);
        setrlimit(RLIMIT_NOFILE, &before);
        if (host.server != NULL) {
            assert_true(more > 0);
            break;
        }
        assert_non_null(strstr(host.err, strerror(EMFILE)));
        assert_int_equal(fake_mem_live(), blocks);
        assert_int_equal(open_fds(), host.fds_before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(thousand_lives_leave_nothing),
        HOST_TEST(thousand_lives_of_threads_leave_nothing),
        HOST_TEST(lives_with_scripts_leave_nothing),
        HOST_TEST(two_servers_live_side_by_side),
        HOST_TEST(surroundings_stay_as_they_are),
        HOST_TEST(threads_of_the_library_take_no_signals_but_those_of_faults),
        HOST_TEST(every_fd_is_closed_by_exec),
        HOST_TEST(child_of_the_host_does_not_keep_the_port),
        HOST_TEST(client_that_leaves_raises_no_sigpipe),
        HOST_TEST(nothing_is_printed),
        HOST_TEST(start_errors_say_what_to_do),
        HOST_TEST(host_writes_to_the_log_of_the_server),
        HOST_TEST(calls_that_may_come_before_the_start_take_null),
        HOST_TEST(start_errors_of_scripts_name_file_and_line),
        HOST_TEST(address_of_a_script_is_named_with_its_line),
        HOST_TEST(start_survives_every_failing_allocation),
        HOST_TEST(reload_survives_every_failing_allocation),
        HOST_TEST(reload_of_a_script_survives_failing_allocations),
        HOST_TEST(start_without_fds_says_so_and_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
