/* A server where newer system calls fail: with ENOSYS on kernels that are older than they are, with EPERM or ENOSYS
 * under filters of container runtimes that do not know them. A filter of BPF alone, since libseccomp need not be
 * there. */

#include "tests/lib/host.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { OPENAT2 = 437, EPOLL_PWAIT2 = 441, LANDLOCK_CREATE = 444, FCHMODAT2 = 452 };

/* Let the calls of newer kernels fail from now on. Returns whether the kernel takes filters. */
static bool forget_newer_calls(int error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OPENAT2, 4, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, EPOLL_PWAIT2, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, LANDLOCK_CREATE, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FCHMODAT2, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) == 0 && prctl(PR_SET_SECCOMP, 2L, &program) == 0;
}

static void on_time(evs_request *request, int event, void *arg)
{
    (void)arg;
    if (event == EVS_TIMER) {
        evs_reply(request, 200, "text/plain", "late", 4);
    }
}

static void serve_later(evs_request *request, void *arg)
{
    (void)arg;
    evs_on(request, on_time, NULL);
    evs_after(request, 20);
}

static const struct evs_route routes[] = {{.route = "GET /later", .serve = serve_later}, {.route = NULL}};

enum { NO_FILTERS = 77 }; /* what serve_without() returns where there are none */

/* In a process of its own, since a filter stays. Returns 0 when all went well. */
static int serve_without(int error)
{
    char listen[160];
    char unix_path[128];
    snprintf(unix_path, sizeof unix_path, "%s/s", host.folder);
    snprintf(listen, sizeof listen, "127.0.0.1:0,unix:%s?mode=660", unix_path);
    host_write("page.txt", "page");
    host.config.listen = listen;
    host.config.root = host.folder;
    host.config.routes = routes;
    if (!forget_newer_calls(error)) {
        return NO_FILTERS;
    }
    host_serve();
    bool is_served = strcmp(client_body(client_get(host.port, "/page.txt")), "page") == 0 &&
                     strcmp(client_body(client_get(host.port, "/later")), "late") == 0;
    bool is_refused = strncmp(client_get(host.port, "/../etc/passwd"), "HTTP/1.1 4", 10) == 0;
    host_stop(60000);
    evserve_free(host.server);
    host.config.sandbox = EVSERVE_SANDBOX;
    host.server = evserve_start(&host.config, host.err, sizeof host.err);
    bool is_warned = host.server != NULL && host_has_logged("sandbox without landlock");
    evserve_free(host.server);
    return is_served && is_refused && is_warned ? 0 : 1;
}

static void server_serves_without_the_calls_of_newer_kernels(void **state)
{
    (void)state;
    static const int errors[] = {ENOSYS, EPERM};
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        int status;
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            alarm(CLIENT_LIMIT_S);
            _exit(serve_without(errors[i]));
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) == NO_FILTERS) {
            skip();
        }
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {HOST_TEST(server_serves_without_the_calls_of_newer_kernels)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
