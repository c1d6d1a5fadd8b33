#include "tests/lib/host.h"

struct host host;
pthread_mutex_t host_log_lock = PTHREAD_MUTEX_INITIALIZER;

static int host_own_threads; /* without any server; 0 before host_count_threads() */

int host_threads(void)
{
    int threads = 0;
    char line[256];
    FILE *status = fopen("/proc/self/status", "r");
    while (status != NULL && fgets(line, sizeof line, status) != NULL) {
        if (sscanf(line, "Threads: %d", &threads) == 1) {
            break;
        }
    }
    if (status != NULL) {
        fclose(status);
    }
    return threads;
}

void host_keep_line(void *arg, int level, const char *line)
{
    (void)arg;
    (void)level;
    pthread_mutex_lock(&host_log_lock);
    size_t used = strlen(host.log);
    snprintf(host.log + used, sizeof host.log - used, "%s\n", line);
    pthread_mutex_unlock(&host_log_lock);
}

bool host_has_logged(const char *text)
{
    pthread_mutex_lock(&host_log_lock);
    bool has_text = strstr(host.log, text) != NULL;
    pthread_mutex_unlock(&host_log_lock);
    return has_text;
}

static void *host_do_nothing(void *arg)
{
    return arg;
}

/* How many threads there are without a server: ThreadSanitizer has one of its own from the first one on. A thread that
 * was joined leaves /proc a little later. */
static void host_count_threads(void)
{
    pthread_t first;
    if (host_own_threads == 0 && pthread_create(&first, NULL, host_do_nothing, NULL) == 0) {
        pthread_join(first, NULL);
        host_own_threads = host_threads();
        for (int i = 0; i < 100; i++) {
            usleep(1000);
            host_own_threads = host_threads() < host_own_threads ? host_threads() : host_own_threads;
        }
    }
}

int host_set_up(void **state)
{
    *state = NULL;
    host_count_threads();
    host = (struct host){.fds_before = open_fds(), .threads_before = host_own_threads};
    strcpy(host.folder, "/tmp/evserve-host-XXXXXX");
    host.config = (struct evserve_config){.size = sizeof host.config, .listen = "127.0.0.1:0", .log = host_keep_line};
    return mkdtemp(host.folder) == NULL ? -1 : 0;
}

int host_stop(uint32_t drain_ms)
{
    if (host.is_serving) {
        evserve_stop(host.server, drain_ms);
        pthread_join(host.thread, NULL);
        host.is_serving = false;
    }
    return host.result;
}

int host_tear_down(void **state)
{
    (void)state;
    host_stop(0);
    evserve_free(host.server);
    remove_tree(host.folder);
    int threads = host_threads();
    for (int i = 0; i < 1000 && threads != host.threads_before; i++) { /* a joined thread leaves /proc a little later */
        usleep(1000);
        threads = host_threads();
    }
    int fds = open_fds();
    if (fds != host.fds_before || threads != host.threads_before) {
        print_error("left behind: %d fds, %d threads; log:\n%s", fds - host.fds_before, threads - host.threads_before,
                    host.log);
        return -1;
    }
    return 0;
}

void host_needs_lua(void)
{
    const char *has_lua = getenv("EVSERVE_LUA");
    if (has_lua != NULL && strcmp(has_lua, "0") == 0) {
        skip();
    }
}

const char *host_write(const char *name, const char *text)
{
    snprintf(host.path, sizeof host.path, "%s/%s", host.folder, name);
    FILE *file = fopen(host.path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    return host.path;
}

void host_start(void)
{
    host.server = evserve_start(&host.config, host.err, sizeof host.err);
    if (host.server == NULL) {
        fail_msg("%s", host.err);
    }
    host.port = evserve_port(host.server, 0);
}

void host_must_not_start(const char *what)
{
    host.server = evserve_start(&host.config, host.err, sizeof host.err);
    assert_null(host.server);
    if (strstr(host.err, what) == NULL) {
        fail_msg("\"%s\" is not in \"%s\"", what, host.err);
    }
}

void *host_wait(void *arg)
{
    (void)arg;
    host.result = evserve_wait(host.server);
    return NULL;
}

void host_serve(void)
{
    if (host.server == NULL) {
        host_start();
    }
    assert_int_equal(pthread_create(&host.thread, NULL, host_wait, NULL), 0);
    host.is_serving = true;
}
