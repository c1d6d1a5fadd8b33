/* Sockets that systemd is to keep, while other threads send it notices and its socket is replaced: fd_store_fill() and
 * systemd_notify() share one connection. ThreadSanitizer looks on. */

#include "core/program/fd_store.h"

#include "core/program/systemd.h"
#include "core/program/upgraded.h"
#include "tests/lib/host.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { TURNS = 50, NEWS_MAX = 512 };

static struct systemd_notifier notifier;
static char notify_path[100];
static atomic_bool is_over;

static void reply_text(evs_request *request, void *arg)
{
    (void)evs_reply(request, 200, "text/plain", arg, strlen(arg));
}

static const struct evs_route routes[] = {{.route = "GET /", .serve = reply_text, .arg = (char *)"served"},
                                          {.route = NULL}};

/* systemd's end. */
static struct {
    pthread_t thread;
    int fd;
    atomic_int stored;   /* sockets that have come, and are closed */
    atomic_bool is_over; /* it reads no more */
} systemd;

static void read_message(int fd)
{
    char news[NEWS_MAX];
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    struct iovec part = {news, sizeof news};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
    ssize_t len = recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    struct cmsghdr *head = len < 0 ? NULL : CMSG_FIRSTHDR(&message);
    if (head != NULL && head->cmsg_type == SCM_RIGHTS) {
        int stored;
        memcpy(&stored, CMSG_DATA(head), sizeof stored);
        close(stored);
        atomic_fetch_add(&systemd.stored, 1);
    }
}

/* Senders wait for it, as the real one's do. */
static void *read_messages(void *arg)
{
    while (!atomic_load(&systemd.is_over)) {
        struct pollfd fd = {systemd.fd, POLLIN, 0};
        if (poll(&fd, 1, 10) > 0) {
            read_message(systemd.fd);
        }
    }
    return arg;
}

static void start_systemd(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", notify_path);
    (void)unlink(notify_path);
    systemd.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(systemd.fd, (struct sockaddr *)&address, sizeof address), 0);
    atomic_store(&systemd.is_over, false);
    assert_int_equal(pthread_create(&systemd.thread, NULL, read_messages, NULL), 0);
}

/* Returns how many sockets have come since the last call. */
static int end_systemd(void)
{
    atomic_store(&systemd.is_over, true);
    pthread_join(systemd.thread, NULL);
    for (struct pollfd fd = {systemd.fd, POLLIN, 0}; poll(&fd, 1, 0) > 0;) {
        read_message(systemd.fd);
    }
    close(systemd.fd);
    return atomic_exchange(&systemd.stored, 0);
}

static void *send_notices(void *arg)
{
    (void)arg;
    while (!atomic_load(&is_over)) {
        systemd_notify(&notifier, "WATCHDOG=1");
        systemd_notify_serving(&notifier, "127.0.0.1:80", NULL);
    }
    return NULL;
}

static void start(unsigned reactors)
{
    host.config.listen = "127.0.0.1:0";
    host.config.routes = routes;
    host.config.reactors = reactors;
    host_start();
    snprintf(notify_path, sizeof notify_path, "%s/notify", host.folder);
    start_systemd();
    systemd_notifier_open(&notifier, notify_path);
}

static void sockets_are_stored_while_others_send_notices(void **state)
{
    (void)state;
    const struct upgraded passed = {.fd = -1};
    pthread_t thread;
    start(2);
    atomic_store(&is_over, false);
    assert_int_equal(pthread_create(&thread, NULL, send_notices, NULL), 0);
    int found = 0;
    for (int i = 1; i <= TURNS; i++) {
        fd_store_fill(&notifier, "8", &passed, host.server);
        if (i % 10 == 0) { /* systemd has been executed again: whoever sends a notice next connects anew */
            found += end_systemd();
            start_systemd();
        }
    }
    atomic_store(&is_over, true);
    pthread_join(thread, NULL);
    assert_true(found > 0);
    (void)end_systemd();
    start_systemd();
    systemd_notify(&notifier, "WATCHDOG=1"); /* connects anew */
    fd_store_fill(&notifier, "8", &passed, host.server);
    assert_int_equal(end_systemd(), 2); /* each thread has one */
    host_expect("/", "served");
    systemd_notifier_close(&notifier);
}

static void without_a_store_nothing_is_sent(void **state)
{
    (void)state;
    static const char *const stores[] = {NULL, "", "0", "x", "-1"};
    const struct upgraded passed = {.fd = -1};
    start(1);
    for (size_t i = 0; i < sizeof stores / sizeof stores[0]; i++) {
        fd_store_fill(&notifier, stores[i], &passed, host.server);
    }
    systemd_notifier_close(&notifier);
    fd_store_fill(&notifier, "8", &passed, host.server); /* not connected */
    assert_int_equal(end_systemd(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(sockets_are_stored_while_others_send_notices),
        HOST_TEST(without_a_store_nothing_is_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
