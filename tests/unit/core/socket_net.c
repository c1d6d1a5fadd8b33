/* core/net.c on real sockets: what the kernel decides, and a fake could only repeat. */

#include "core/log.h"
#include "core/net.h"
#include "core/net_unix.h"
#include "core/reactor.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/open_fds.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { CLIENTS_MAX = 256 };

/* A reactor with a listener that keeps what it accepts. */
struct stage {
    struct reactor *reactor;
    struct net_listener listener;
    struct log log;
    char lines[16][256];          /* log lines */
    int line_count;               /* of them */
    int accepted[CLIENTS_MAX];    /* fds, in the order they came */
    int accepted_count;           /* of them */
    struct sockaddr_storage peer; /* of the last one */
    socklen_t peer_len;           /* of it */
    char folder[64];              /* for socket files */
    char err[256];                /* text of the last failure */
    int fds_before;               /* open at the start */
    size_t blocks_before;         /* alive at the start */
};

static void on_line(void *arg, int level, const char *line)
{
    struct stage *stage = arg;
    assert_int_equal(level, LOG_ERROR);
    assert_true(stage->line_count < 16);
    snprintf(stage->lines[stage->line_count++], sizeof stage->lines[0], "%s", line);
}

static void on_accept(void *arg, int fd, const struct sockaddr *peer, socklen_t peer_len)
{
    struct stage *stage = arg;
    assert_true(stage->accepted_count < CLIENTS_MAX);
    stage->accepted[stage->accepted_count++] = fd;
    memcpy(&stage->peer, peer, peer_len);
    stage->peer_len = peer_len;
}

static int set_up(void **state)
{
    struct stage *stage = calloc(1, sizeof *stage);
    assert_non_null(stage);
    stage->fds_before = open_fds();
    stage->blocks_before = fake_mem_live();
    stage->log = (struct log){.sink = on_line, .arg = stage, .level = LOG_DEBUG};
    stage->listener.fd = -1;
    strcpy(stage->folder, "/tmp/evserve-net-XXXXXX");
    assert_non_null(mkdtemp(stage->folder));
    assert_int_equal(reactor_create(&stage->reactor, &stage->log), 0);
    *state = stage;
    return 0;
}

static void close_accepted(struct stage *stage)
{
    while (stage->accepted_count > 0) {
        close(stage->accepted[--stage->accepted_count]);
    }
}

static int tear_down(void **state)
{
    struct stage *stage = *state;
    net_listener_close(&stage->listener);
    close_accepted(stage);
    reactor_destroy(stage->reactor);
    int rv = rmdir(stage->folder); /* fails when a socket file was left */
    bool is_clean = rv == 0 && open_fds() == stage->fds_before && fake_mem_live() == stage->blocks_before;
    if (!is_clean) {
        print_error("left behind: %d fds, %zu blocks, folder %d\n", open_fds() - stage->fds_before,
                    fake_mem_live() - stage->blocks_before, rv);
    }
    free(stage);
    return is_clean ? 0 : -1;
}

static int open_listener(struct stage *stage, const char *text, bool edge)
{
    struct net_address address;
    assert_int_equal(net_address_parse(&address, text, stage->err, sizeof stage->err), 0);
    return net_listener_open(&stage->listener, stage->reactor, &address, edge, on_accept, stage, &stage->log,
                             stage->err, sizeof stage->err);
}

static void must_open(struct stage *stage, const char *text, bool edge)
{
    if (open_listener(stage, text, edge) < 0) {
        fail_msg("%s", stage->err);
    }
}

/* A blocking client of address. */
static int connect_to(const struct sockaddr *address, socklen_t len)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (connect(fd, address, len) < 0) {
        fail_msg("connect: %s", strerror(errno));
    }
    return fd;
}

static int connect_v4(int port)
{
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return connect_to((struct sockaddr *)&in, sizeof in);
}

static int connect_v6(int port)
{
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6,
                               .sin6_port = htons((uint16_t)port),
                               .sin6_addr = in6addr_loopback};
    return connect_to((struct sockaddr *)&in6, sizeof in6);
}

static int connect_unix(const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
    return connect_to((struct sockaddr *)&un, sizeof un);
}

static void accept_until(struct stage *stage, int count)
{
    while (stage->accepted_count < count) {
        assert_true(reactor_run_once(stage->reactor, -1) >= 0);
    }
    assert_int_equal(stage->accepted_count, count);
}

/* Whether the peer at the other end of a blocking client has gone. */
static bool is_cut(int fd)
{
    char byte;
    ssize_t len = recv(fd, &byte, 1, 0);
    return len == 0 || (len < 0 && errno == ECONNRESET);
}

static bool has_ipv6(void)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    bool has = fd >= 0 && bind(fd, (struct sockaddr *)&in6, sizeof in6) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return has;
}

static int get_option(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof value;
    assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

/* Addresses. */

static void a_port_is_chosen_and_named(void **state)
{
    struct stage *stage = *state;
    must_open(stage, "127.0.0.1:0", false);
    assert_true(stage->listener.port > 0);
    char expected[64];
    snprintf(expected, sizeof expected, "127.0.0.1:%d", stage->listener.port);
    assert_string_equal(stage->listener.name, expected);
    int client = connect_v4(stage->listener.port);
    accept_until(stage, 1);
    struct sockaddr_in name = {0};
    socklen_t len = sizeof name;
    assert_int_equal(getsockname(client, (struct sockaddr *)&name, &len), 0);
    assert_int_equal(stage->peer_len, sizeof name);
    assert_int_equal(net_port((struct sockaddr *)&stage->peer), ntohs(name.sin_port));
    close(client);
}

static void localhost_is_127_0_0_1(void **state)
{
    struct stage *stage = *state;
    must_open(stage, "localhost:0", false);
    assert_int_equal(strncmp(stage->listener.name, "127.0.0.1:", 10), 0);
    close(connect_v4(stage->listener.port));
}

static void an_ipv6_address_is_listened_on(void **state)
{
    struct stage *stage = *state;
    if (!has_ipv6()) {
        skip();
    }
    must_open(stage, "[::1]:0", false);
    char expected[64];
    snprintf(expected, sizeof expected, "[::1]:%d", stage->listener.port);
    assert_string_equal(stage->listener.name, expected);
    int client = connect_v6(stage->listener.port);
    accept_until(stage, 1);
    char text[NET_TEXT_MAX];
    net_address_format((struct sockaddr *)&stage->peer, stage->peer_len, text);
    assert_int_equal(strncmp(text, "[::1]:", 6), 0);
    close(client);
}

static void a_port_alone_means_ipv4_and_ipv6(void **state)
{
    struct stage *stage = *state;
    must_open(stage, ":0", false);
    assert_true(stage->listener.port > 0);
    int clients[2] = {connect_v4(stage->listener.port), -1};
    int count = 1;
    if (has_ipv6()) {
        assert_int_equal(get_option(stage->listener.fd, IPPROTO_IPV6, IPV6_V6ONLY), 0);
        clients[count++] = connect_v6(stage->listener.port);
    }
    accept_until(stage, count);
    while (count > 0) {
        close(clients[--count]);
    }
}

static void accepted_sockets_are_ready_for_use(void **state)
{
    struct stage *stage = *state;
    const char *addresses[] = {"127.0.0.1:0", "[::1]:0"};
    for (int i = 0; i < (has_ipv6() ? 2 : 1); i++) {
        must_open(stage, addresses[i], false);
        int client = i == 0 ? connect_v4(stage->listener.port) : connect_v6(stage->listener.port);
        accept_until(stage, 1);
        int fd = stage->accepted[0];
        assert_true(get_option(fd, IPPROTO_TCP, TCP_NODELAY) != 0);
        assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
        assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        close(client);
        close_accepted(stage);
        net_listener_close(&stage->listener);
    }
}

static void an_address_in_use_is_named(void **state)
{
    struct stage *stage = *state;
    must_open(stage, "127.0.0.1:0", false);
    struct net_listener second = {.fd = -1};
    struct net_address address;
    char err[256];
    char expected[320];
    assert_int_equal(net_address_parse(&address, stage->listener.name, err, sizeof err), 0);
    assert_int_equal(net_listener_open(&second, stage->reactor, &address, false, on_accept, stage, &stage->log, err,
                                       sizeof err),
                     -EADDRINUSE);
    snprintf(expected, sizeof expected, "cannot listen on %s: address already in use", stage->listener.name);
    assert_string_equal(err, expected);
    assert_int_equal(second.fd, -1);
    net_listener_close(&second);
    close(connect_v4(stage->listener.port)); /* the first one is as it was */
    accept_until(stage, 1);
}

static void an_address_of_another_machine_is_refused(void **state)
{
    struct stage *stage = *state;
    assert_int_equal(open_listener(stage, "192.0.2.1:0", false), -EADDRNOTAVAIL); /* TEST-NET-1 is nobody's */
    assert_string_equal(stage->err, "cannot listen on 192.0.2.1:0: no such address on this machine");
}

static void a_port_can_be_listened_on_again_at_once(void **state)
{
    struct stage *stage = *state;
    must_open(stage, "127.0.0.1:0", false);
    char name[NET_TEXT_MAX];
    memcpy(name, stage->listener.name, sizeof name);
    int client = connect_v4(stage->listener.port);
    accept_until(stage, 1);
    close_accepted(stage); /* our side closes first: TIME_WAIT stays with our port */
    assert_true(is_cut(client));
    close(client);
    net_listener_close(&stage->listener);
    must_open(stage, name, false);
    assert_string_equal(stage->listener.name, name);
}

/* Unix sockets. */

static void socket_path(const struct stage *stage, char path[96], char text[128])
{
    snprintf(path, 96, "%s/s.sock", stage->folder);
    snprintf(text, 128, "unix:%s", path);
}

static void a_unix_socket_has_a_file_while_it_is_open(void **state)
{
    struct stage *stage = *state;
    char path[96];
    char text[128];
    socket_path(stage, path, text);
    must_open(stage, text, false);
    assert_string_equal(stage->listener.name, text);
    assert_int_equal(stage->listener.port, 0);
    struct stat st;
    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    int client = connect_unix(path);
    accept_until(stage, 1);
    char peer[NET_TEXT_MAX];
    net_address_format((struct sockaddr *)&stage->peer, stage->peer_len, peer);
    assert_string_equal(peer, "unix:"); /* a client without a name */
    close(client);
    net_listener_close(&stage->listener);
    assert_int_equal(lstat(path, &st), -1);
    assert_int_equal(errno, ENOENT);
}

/* A socket file as a killed server leaves it. */
static void leave_stale_socket(const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
    assert_int_equal(listen(fd, 1), 0);
    close(fd);
}

static void a_stale_socket_file_is_replaced(void **state)
{
    struct stage *stage = *state;
    char path[96];
    char text[128];
    socket_path(stage, path, text);
    leave_stale_socket(path);
    must_open(stage, text, false);
    close(connect_unix(path));
    accept_until(stage, 1);
}

static void a_live_socket_file_is_refused_and_left_alone(void **state)
{
    struct stage *stage = *state;
    char path[96];
    char text[128];
    socket_path(stage, path, text);
    must_open(stage, text, false);
    struct net_listener second = {.fd = -1};
    struct net_address address;
    char err[256];
    char expected[320];
    assert_int_equal(net_address_parse(&address, text, err, sizeof err), 0);
    assert_int_equal(net_listener_open(&second, stage->reactor, &address, false, on_accept, stage, &stage->log, err,
                                       sizeof err),
                     -EADDRINUSE);
    snprintf(expected, sizeof expected,
             "cannot listen on %s: address already in use: if a server listens there, stop it first, or "
             "move its socket file away",
             text);
    assert_string_equal(err, expected);
    net_listener_close(&second);
    close(connect_unix(path)); /* still there, and still the first one's */
    accept_until(stage, 2);    /* with the second one's knock at the door */
}

/* Its backlog is full, so it does not answer a knock: but it lives. */
static void a_busy_socket_file_is_left_alone(void **state)
{
    struct stage *stage = *state;
    char path[96];
    char text[128];
    socket_path(stage, path, text);
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
    int busy = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(busy, (struct sockaddr *)&un, sizeof un), 0);
    assert_int_equal(listen(busy, 0), 0);
    int clients[16];
    int count = 0;
    do {
        assert_true(count < 16);
        clients[count] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    } while (connect(clients[count++], (struct sockaddr *)&un, sizeof un) == 0);
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(open_listener(stage, text, false), -EADDRINUSE);
    while (count > 0) {
        close(clients[--count]);
    }
    close(busy);
    assert_int_equal(unlink(path), 0); /* it was there */
}

/* connect(2) says ECONNREFUSED for a plain file too: that alone must not be a reason to remove it. */
static void a_file_that_is_no_socket_is_never_removed(void **state)
{
    struct stage *stage = *state;
    char path[96];
    char text[128];
    char expected[256];
    socket_path(stage, path, text);
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
    assert_int_equal(write(fd, "precious", 8), 8);
    close(fd);
    assert_int_equal(open_listener(stage, text, false), -EADDRINUSE);
    snprintf(expected, sizeof expected,
             "cannot listen on %s: a file that is not a socket exists there; it is left alone", text);
    assert_string_equal(stage->err, expected);
    struct stat st;
    assert_int_equal(lstat(path, &st), 0);
    assert_int_equal(st.st_size, 8);
    assert_int_equal(unlink(path), 0);

    char target[128];
    snprintf(target, sizeof target, "%s/stale", stage->folder);
    leave_stale_socket(target);
    assert_int_equal(symlink(target, path), 0);
    assert_int_equal(open_listener(stage, text, false), -EADDRINUSE);
    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(unlink(target), 0);
}

static void a_unix_path_that_cannot_be_is_named(void **state)
{
    struct stage *stage = *state;
    char text[128];
    char expected[256];
    snprintf(text, sizeof text, "unix:%s/no/such/folder", stage->folder);
    assert_int_equal(open_listener(stage, text, false), -ENOENT);
    snprintf(expected, sizeof expected, "cannot listen on %s: no such directory", text);
    assert_string_equal(stage->err, expected);
}

/* A name in the kernel alone: there is no file to replace or to remove, and the last close frees it. */
static void an_abstract_socket_has_no_file(void **state)
{
    struct stage *stage = *state;
    char text[64];
    snprintf(text, sizeof text, "unix:@evserve-test-%ld", (long)getpid());
    for (int i = 0; i < 2; i++) {
        must_open(stage, text, false);
        assert_string_equal(stage->listener.name, text);
        struct sockaddr_un name = {.sun_family = AF_UNIX};
        size_t len = strlen(text) - 5;
        memcpy(name.sun_path + 1, text + 6, len - 1);
        int client = socket(AF_UNIX, SOCK_STREAM, 0);
        socklen_t name_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
        assert_int_equal(connect(client, (struct sockaddr *)&name, name_len), 0);
        accept_until(stage, 1);
        close_accepted(stage);
        close(client);
        struct net_address address;
        struct net_listener second;
        char err[256];
        assert_int_equal(net_address_parse(&address, text, err, sizeof err), 0);
        assert_int_equal(net_listener_open(&second, stage->reactor, &address, 0, NULL, NULL, NULL, err, sizeof err),
                         -EADDRINUSE);
        assert_non_null(strstr(err, "address already in use"));
        assert_null(strstr(err, "file"));
        net_listener_close(&stage->listener);
    }
    assert_int_equal(access(text + 5, F_OK), -1);
}

/* Inherited sockets. */

static int host_listener(int *port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof in;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
    *port = ntohs(in.sin_port);
    return fd;
}

static void an_inherited_socket_is_duplicated_and_stays_the_hosts(void **state)
{
    struct stage *stage = *state;
    int port;
    int host = host_listener(&port);
    char text[32];
    snprintf(text, sizeof text, "fd:%d", host);
    must_open(stage, text, false);
    assert_true(stage->listener.fd != host);
    assert_int_equal(fcntl(stage->listener.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(stage->listener.port, port);
    char expected[64];
    snprintf(expected, sizeof expected, "127.0.0.1:%d", port);
    assert_string_equal(stage->listener.name, expected);

    int client = connect_v4(port);
    accept_until(stage, 1);
    assert_true(get_option(stage->accepted[0], IPPROTO_TCP, TCP_NODELAY) != 0);
    close(client);
    net_listener_close(&stage->listener);

    assert_true(get_option(host, SOL_SOCKET, SO_ACCEPTCONN)); /* the host's goes on listening */
    client = connect_v4(port);
    struct pollfd poller = {.fd = host, .events = POLLIN};
    assert_int_equal(poll(&poller, 1, -1), 1);
    close(accept(host, NULL, NULL));
    close(client);
    close(host);
}

static void an_inherited_unix_socket_keeps_its_file(void **state)
{
    struct stage *stage = *state;
    char path[96];
    char name[128];
    socket_path(stage, path, name);
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
    int host = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(host, (struct sockaddr *)&un, sizeof un), 0);
    assert_int_equal(listen(host, 8), 0);
    char text[32];
    snprintf(text, sizeof text, "fd:%d", host);
    must_open(stage, text, false);
    assert_string_equal(stage->listener.name, name);
    int client = connect_unix(path);
    accept_until(stage, 1);
    close(client);
    net_listener_close(&stage->listener);
    assert_int_equal(unlink(path), 0); /* it was there */
    close(host);
}

static void an_inherited_fd_that_does_not_listen_is_refused(void **state)
{
    struct stage *stage = *state;
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int idle = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int pipe_fds[2];
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    const struct {
        int fd;
        int error;
        const char *reason;
    } rows[] = {
        {null, -ENOTSOCK, "not a listening socket"},
        {pipe_fds[0], -ENOTSOCK, "not a listening socket"},
        {idle, -EINVAL, "not a listening socket"},
        {9999, -EBADF, "Bad file descriptor"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[32];
        char expected[128];
        snprintf(text, sizeof text, "fd:%d", rows[i].fd);
        snprintf(expected, sizeof expected, "cannot listen on %s: %s", text, rows[i].reason);
        assert_int_equal(open_listener(stage, text, false), rows[i].error);
        assert_string_equal(stage->err, expected);
        assert_int_equal(stage->listener.fd, -1);
    }
    close(null);
    close(idle);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

/* Accepting. */

static void connections_that_came_before_the_loop_are_all_accepted(void **state)
{
    struct stage *stage = *state;
    for (int edge = 0; edge < 2; edge++) {
        must_open(stage, "127.0.0.1:0", edge);
        int clients[2 * NET_ACCEPT_BUDGET - 20];
        enum { COUNT = sizeof clients / sizeof clients[0] };
        for (int i = 0; i < COUNT; i++) {
            clients[i] = connect_v4(stage->listener.port);
        }
        accept_until(stage, COUNT);
        for (int i = 0; i < COUNT; i++) {
            close(clients[i]);
        }
        close_accepted(stage);
        net_listener_close(&stage->listener);
    }
}

static void a_paused_listener_leaves_connections_to_the_kernel(void **state)
{
    struct stage *stage = *state;
    for (int edge = 0; edge < 2; edge++) {
        must_open(stage, "127.0.0.1:0", edge);
        net_listener_pause(&stage->listener);
        int client = connect_v4(stage->listener.port);
        assert_int_equal(reactor_run_once(stage->reactor, 20), 0);
        assert_int_equal(stage->accepted_count, 0);
        net_listener_resume(&stage->listener);
        accept_until(stage, 1);
        close(client);
        close_accepted(stage);
        net_listener_close(&stage->listener);
    }
}

/* Use up all fds but left. Returns how many there were to use. */
static int use_up_fds(int *fds, int max, int left)
{
    int count = 0;
    while (count < max && (fds[count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0) {
        count++;
    }
    for (; left > 0 && count > 0; left--) {
        close(fds[--count]);
    }
    return count;
}

/* In a child of its own, because the limit is the process's: with no fd left, peers are turned away at once and not
 * left hanging; with fds again, the next one is served. */
static void run_out_of_fds(struct stage *stage)
{
    int port = stage->listener.port;
    int clients[5];
    for (int i = 0; i < 5; i++) {
        clients[i] = connect_v4(port);
    }
    struct rlimit limit = {.rlim_cur = 64, .rlim_max = 64};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    int hogs[64];
    int hog_count = use_up_fds(hogs, 64, 1);

    accept_until(stage, 1); /* the one fd that was left */
    while (reactor_run_once(stage->reactor, 0) > 0) {
    }
    for (int i = 1; i < 5; i++) {
        assert_true(is_cut(clients[i]));
    }
    assert_int_equal(stage->accepted_count, 1);
    assert_int_equal(stage->line_count, 1);
    char expected[128];
    snprintf(expected, sizeof expected,
             "out of file descriptors while accepting on 127.0.0.1:%d: turning connections away", port);
    assert_string_equal(stage->lines[0], expected);
    assert_true(stage->listener.reserve_fd >= 0);
    assert_int_equal(fcntl(stage->listener.reserve_fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);

    while (hog_count > 0) {
        close(hogs[--hog_count]);
    }
    int client = connect_v4(port);
    accept_until(stage, 2);
    assert_int_equal(stage->line_count, 1);
    close(client);
    for (int i = 0; i < 5; i++) {
        close(clients[i]);
    }
}

static void out_of_fds_peers_are_turned_away_and_accepting_resumes(void **state)
{
    struct stage *stage = *state;
    for (int edge = 0; edge < 2; edge++) {
        must_open(stage, "127.0.0.1:0", edge);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            run_out_of_fds(stage);
            _exit(0); /* a failed assertion leaves main() with 1 and more */
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
        net_listener_close(&stage->listener);
    }
}

static void on_timeout(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)timer;
    (void)arg;
    reactor_stop(reactor);
}

/* Whoever shares an inherited socket may shut it down: it then hangs up for ever. */
static void a_socket_that_the_host_shut_down_does_not_keep_the_loop_busy(void **state)
{
    struct stage *stage = *state;
    int port;
    int host = host_listener(&port);
    char text[32];
    snprintf(text, sizeof text, "fd:%d", host);
    must_open(stage, text, false);
    assert_int_equal(shutdown(host, SHUT_RDWR), 0);
    reactor_set_timeout(stage->reactor, 350, on_timeout, NULL);
    assert_int_equal(reactor_run(stage->reactor), 0);
    assert_true(reactor_counts(stage->reactor).ticks < 20); /* it tries again every NET_PAUSE_MS */
    assert_int_equal(stage->line_count, 1);
    close(host);
}

/* Sharing: two listeners, as of two threads, here in one reactor. */

static void count_and_close(void *arg, int fd, const struct sockaddr *peer, socklen_t peer_len)
{
    (void)peer;
    (void)peer_len;
    ++*(int *)arg;
    close(fd);
}

/* Who sends is accepted, and who does not is so in the end; a joined listener does as the first. */
static void deferred_peers_are_all_accepted(void **state)
{
    struct stage *stage = *state;
    struct net_listener first, second;
    struct net_address address;
    int count = 0;
    assert_int_equal(net_address_parse(&address, "127.0.0.1:0", stage->err, sizeof stage->err), 0);
    assert_int_equal(net_listener_open(&first, stage->reactor, &address, NET_SHARED | NET_DEFER, count_and_close,
                                       &count, &stage->log, stage->err, sizeof stage->err),
                     0);
    assert_int_equal(net_listener_join(&second, stage->reactor, &first, 0, count_and_close, &count, &stage->log,
                                       stage->err, sizeof stage->err),
                     0);
    assert_int_equal(get_option(first.fd, IPPROTO_TCP, TCP_DEFER_ACCEPT), NET_SILENT_S);
    assert_int_equal(get_option(second.fd, IPPROTO_TCP, TCP_DEFER_ACCEPT), NET_SILENT_S);
    int talker = connect_v4(first.port);
    int silent = connect_v4(first.port);
    assert_int_equal(send(talker, "x", 1, MSG_NOSIGNAL), 1);
    while (count < 2) {
        assert_true(reactor_run_once(stage->reactor, -1) >= 0);
    }
    close(talker);
    close(silent);
    net_listener_close(&first);
    net_listener_close(&second);
}

static void joined_listeners_share_the_connections(void **state)
{
    enum { CLIENTS = 64 };
    static const char *const texts[] = {"127.0.0.1:0", "[::1]:0", ":0"};
    struct stage *stage = *state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct net_listener first, second;
        struct net_address address;
        int counts[2] = {0, 0};
        assert_int_equal(net_address_parse(&address, texts[i], stage->err, sizeof stage->err), 0);
        assert_int_equal(net_listener_open(&first, stage->reactor, &address, NET_SHARED, count_and_close, &counts[0],
                                           &stage->log, stage->err, sizeof stage->err),
                         0);
        assert_int_equal(net_listener_join(&second, stage->reactor, &first, 0, count_and_close, &counts[1], &stage->log,
                                           stage->err, sizeof stage->err),
                         0);
        assert_string_equal(second.name, first.name);
        assert_int_equal(second.port, first.port);
        for (int n = 0; n < CLIENTS; n++) {
            close(i == 0 ? connect_v4(first.port) : connect_v6(first.port));
        }
        while (counts[0] + counts[1] < CLIENTS) {
            assert_true(reactor_run_once(stage->reactor, -1) >= 0);
        }
        assert_true(counts[0] > 0 && counts[1] > 0); /* once in 2^63 runs it fails */
        net_listener_close(&first);
        close(i == 0 ? connect_v4(second.port) : connect_v6(second.port)); /* the other goes on alone */
        while (counts[0] + counts[1] < CLIENTS + 1) {
            assert_true(reactor_run_once(stage->reactor, -1) >= 0);
        }
        net_listener_close(&second);
    }
}

static void port_that_is_shared_is_in_use_for_a_first_one(void **state)
{
    struct stage *stage = *state;
    char text[NET_TEXT_MAX];
    struct net_listener second = {.fd = -1};
    struct net_address address;
    assert_int_equal(net_address_parse(&address, "127.0.0.1:0", stage->err, sizeof stage->err), 0);
    assert_int_equal(net_listener_open(&stage->listener, stage->reactor, &address, NET_SHARED, on_accept, stage,
                                       &stage->log, stage->err, sizeof stage->err),
                     0);
    memcpy(text, stage->listener.name, sizeof text);
    assert_int_equal(net_address_parse(&address, text, stage->err, sizeof stage->err), 0);
    for (unsigned flags = 0; flags <= NET_SHARED; flags += NET_SHARED) {
        assert_int_equal(net_listener_open(&second, stage->reactor, &address, flags, on_accept, stage, &stage->log,
                                           stage->err, sizeof stage->err),
                         -EADDRINUSE);
    }
}

static void joined_unix_socket_is_one_queue_and_its_file_the_firsts(void **state)
{
    struct stage *stage = *state;
    struct net_listener second;
    struct net_address address;
    char path[96];
    char text[128];
    socket_path(stage, path, text);
    assert_int_equal(net_address_parse(&address, text, stage->err, sizeof stage->err), 0);
    assert_int_equal(net_listener_open(&stage->listener, stage->reactor, &address, NET_SHARED, on_accept, stage,
                                       &stage->log, stage->err, sizeof stage->err),
                     0);
    assert_int_equal(net_listener_join(&second, stage->reactor, &stage->listener, 0, on_accept, stage, &stage->log,
                                       stage->err, sizeof stage->err),
                     0);
    net_listener_pause(&stage->listener);
    close(connect_unix(path));
    accept_until(stage, 1); /* by the second */
    net_listener_close(&second);
    assert_int_equal(access(path, F_OK), 0);
    net_listener_resume(&stage->listener);
    close(connect_unix(path));
    accept_until(stage, 2);
}

static void unix_socket_gets_the_mode_it_was_asked_for(void **state)
{
    static const unsigned modes[] = {0600, 0666, 0777};
    struct stage *stage = *state;
    char path[96];
    char text[128];
    char with_mode[160];
    socket_path(stage, path, text);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        struct stat st;
        snprintf(with_mode, sizeof with_mode, "%s?mode=%o", text, modes[i]);
        must_open(stage, with_mode, false);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, modes[i]);
        assert_string_equal(stage->listener.name, text);
        close(connect_unix(path));
        accept_until(stage, (int)i + 1);
        net_listener_close(&stage->listener);
    }
}

/* Another socket listens at the path by now: the file is its, not ours. */
static void the_file_of_a_successor_is_left_alone(void **state)
{
    struct stage *stage = *state;
    char path[96];
    char text[128];
    socket_path(stage, path, text);
    must_open(stage, text, false);
    assert_int_equal(unlink(path), 0);
    leave_stale_socket(path);
    net_listener_close(&stage->listener);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(unlink(path), 0);
}

/* The owner of the folder swaps a link in between bind(2) and the change of the mode. */
static void a_link_that_is_swapped_in_does_not_lead_the_mode_astray(void **state)
{
    struct stage *stage = *state;
    char path[96];
    char text[128];
    char with_mode[160];
    char victim[128];
    socket_path(stage, path, text);
    snprintf(victim, sizeof victim, "%s/victim", stage->folder);
    snprintf(with_mode, sizeof with_mode, "%s?mode=777", text);
    close(open(victim, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600));

    struct net_address address;
    struct net_unix_file file = {.path = ""};
    char err[256];
    assert_int_equal(net_address_parse(&address, with_mode, err, sizeof err), 0);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address.socket, address.len), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink(victim, path), 0);
    int rv = net_unix_note(&file, fd, &address); /* 0 where the socket tells its file, to root */
    assert_true(rv == 0 || rv == -ESTALE);
    net_unix_remove(&file);
    close(fd);
    struct stat st;
    assert_int_equal(stat(victim, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(lstat(path, &st), 0); /* the link is not ours to remove */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(unlink(victim), 0);
}

/* A socket that is bound, but does not listen yet, refuses connections as a dead one does. */
static void servers_that_begin_at_once_do_not_take_each_other_for_dead(void **state)
{
    struct stage *stage = *state;
    char path[96];
    char text[128];
    socket_path(stage, path, text);
    leave_stale_socket(path);
    struct net_address address;
    char err[256];
    assert_int_equal(net_address_parse(&address, text, err, sizeof err), 0);
    int folder = net_unix_lock(&address);
    assert_true(folder >= 0);
    net_unix_remove_stale(&address);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address.socket, address.len), 0);
    int second = open(stage->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(flock(second, LOCK_EX | LOCK_NB), -1);
    assert_int_equal(errno, EWOULDBLOCK);
    assert_int_equal(listen(fd, 1), 0);
    close(folder);
    assert_int_equal(flock(second, LOCK_EX | LOCK_NB), 0);
    close(second);
    assert_int_equal(open_listener(stage, text, false), -EADDRINUSE);
    close(connect_unix(path));
    close(fd);
    assert_int_equal(unlink(path), 0);
}

static void two_listeners_live_in_one_reactor(void **state)
{
    struct stage *stage = *state;
    char path[96];
    char text[128];
    socket_path(stage, path, text);
    must_open(stage, "127.0.0.1:0", false);
    struct net_listener second;
    struct net_address address;
    assert_int_equal(net_address_parse(&address, text, stage->err, sizeof stage->err), 0);
    assert_int_equal(net_listener_open(&second, stage->reactor, &address, true, on_accept, stage, NULL, stage->err,
                                       sizeof stage->err),
                     0);
    int clients[2] = {connect_v4(stage->listener.port), connect_unix(path)};
    accept_until(stage, 2);
    net_listener_close(&second);
    net_listener_close(&second); /* a second time is no harm */
    close(connect_v4(stage->listener.port));
    accept_until(stage, 3);
    close(clients[0]);
    close(clients[1]);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_port_is_chosen_and_named),
        TEST(localhost_is_127_0_0_1),
        TEST(an_ipv6_address_is_listened_on),
        TEST(a_port_alone_means_ipv4_and_ipv6),
        TEST(accepted_sockets_are_ready_for_use),
        TEST(an_address_in_use_is_named),
        TEST(an_address_of_another_machine_is_refused),
        TEST(a_port_can_be_listened_on_again_at_once),
        TEST(a_unix_socket_has_a_file_while_it_is_open),
        TEST(a_stale_socket_file_is_replaced),
        TEST(a_live_socket_file_is_refused_and_left_alone),
        TEST(a_busy_socket_file_is_left_alone),
        TEST(a_file_that_is_no_socket_is_never_removed),
        TEST(a_unix_path_that_cannot_be_is_named),
        TEST(an_abstract_socket_has_no_file),
        TEST(an_inherited_socket_is_duplicated_and_stays_the_hosts),
        TEST(an_inherited_unix_socket_keeps_its_file),
        TEST(an_inherited_fd_that_does_not_listen_is_refused),
        TEST(connections_that_came_before_the_loop_are_all_accepted),
        TEST(a_paused_listener_leaves_connections_to_the_kernel),
        TEST(out_of_fds_peers_are_turned_away_and_accepting_resumes),
        TEST(a_socket_that_the_host_shut_down_does_not_keep_the_loop_busy),
        TEST(deferred_peers_are_all_accepted),
        TEST(joined_listeners_share_the_connections),
        TEST(port_that_is_shared_is_in_use_for_a_first_one),
        TEST(joined_unix_socket_is_one_queue_and_its_file_the_firsts),
        TEST(unix_socket_gets_the_mode_it_was_asked_for),
        TEST(the_file_of_a_successor_is_left_alone),
        TEST(a_link_that_is_swapped_in_does_not_lead_the_mode_astray),
        TEST(servers_that_begin_at_once_do_not_take_each_other_for_dead),
        TEST(two_listeners_live_in_one_reactor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
