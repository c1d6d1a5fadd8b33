/* A small kernel. An fd names a description (struct file), as in the real one; each description knows its watchers, the
 * pairs of an epoll and an fd number that epoll_ctl(2) made. What changes a description calls wake(), which puts its
 * watchers on the ready lists of their epolls; epoll_wait takes them from there, asks poll_file() what holds now, and
 * puts level-triggered ones back. This is how the real kernel does it, so both triggering modes come out right.
 *
 * It is one file because all of it is one machine: sockets wake epolls, epolls move time, time wakes timerfds. Memory
 * is malloc's, not core/mem.h's, so that the fake does not show in fake_mem's counts; running out of it aborts. */

#include "tests/lib/fake_sys.h"

#include "core/program/sys_user.h"
#include "core/sys.h"
#include "core/sys_rights.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    NS_PER_S = 1000000000,
    NS_PER_MS = 1000000,
    SENDFILE_CHUNK = 1 << 16, /* bytes read from a file at once */
    OPTIONS_MAX = 16,         /* options kept for a socket */
    FIRST_PORT = 20000,       /* given to bind(2) with port 0, and on */
    FIRST_PEER_PORT = 50000,  /* of the first peer, and on */
};

#define START_NS     (INT64_C(1000) * NS_PER_S)
#define START_WALL_S INT64_C(784111777)
#define NEVER        INT64_MAX

enum kind { REAL_FILE, EPOLL, EVENTFD, TIMERFD, SOCKET };

/* One epoll_ctl(2) registration. */
struct watcher {
    struct watcher *next;                    /* of the same file */
    struct file *epoll;                      /* who is told */
    struct file *file;                       /* what is watched */
    int fd;                                  /* by which number */
    uint32_t events;                         /* wanted, EPOLLET included */
    uint64_t data;                           /* given back with events */
    bool is_ready;                           /* on epoll's ready list */
    struct watcher *prev_ready, *next_ready; /* neighbours there */
};

struct option {
    int level, name, value;
};

/* A description. */
struct file {
    enum kind kind;
    int refs;                                   /* fds that name it */
    struct file *next, *prev;                   /* all of them */
    struct watcher *watchers;                   /* who watches it */
    struct watcher *ready_first, *ready_last;   /* EPOLL: what may be ready */
    uint64_t count;                             /* EVENTFD: its counter; TIMERFD: expirations */
    int64_t deadline_ns;                        /* TIMERFD: 0 while disarmed */
    struct sockaddr_storage address;            /* SOCKET: local one */
    socklen_t address_len;                      /* of it */
    bool listening;                             /* SOCKET: listen(2) was called */
    bool is_datagram;                           /* SOCKET: for datagrams */
    struct fake_peer *peer;                     /* SOCKET: connected to */
    struct fake_peer *queue_first, *queue_last; /* SOCKET: waiting for accept(2) */
    struct option options[OPTIONS_MAX];         /* SOCKET: set by setsockopt(2) */
    int option_count;                           /* of them */
};

struct segment {
    struct segment *next; /* sent after this one */
    size_t len, read;     /* bytes, and how many of them were taken */
    char data[];
};

/* A connection: both its near end's state and what the test does with the far one. */
struct fake_peer {
    struct fake_peer *next;          /* all of them */
    struct fake_peer *next_queued;   /* waiting at the same listener, or accepted by the same server */
    struct fake_server *server;      /* that the near end waits for: it is not connected; else NULL */
    struct file *socket;             /* near end; NULL when not accepted, or closed */
    int fd;                          /* number of the near end, -1 without */
    struct sockaddr_storage address; /* of the far end */
    socklen_t address_len;           /* of it */
    struct segment *arrived;         /* what recv gives, or NULL */
    struct segment *coming, *last;   /* sent, not arrived */
    size_t coming_len;               /* bytes of them */
    bool end_sent;                   /* the far end's stream ends after what is coming */
    bool hang_up_sent;               /* and it takes nothing more */
    bool closed;                     /* the far end answers bytes by a reset */
    bool read_shut, write_shut;      /* the near end's directions */
    bool is_reset;                   /* by an RST */
    int error;                       /* SO_ERROR, -errno or 0 */
    int64_t room;                    /* bytes that can be sent, FAKE_NO_LIMIT */
    int unsent;                      /* what sys_unsent_bytes() says */
    int64_t window;                  /* room after each wait, FAKE_NO_LIMIT: left alone */
    char *output;                    /* received from the near end */
    size_t output_len, output_capacity;
    bool saw_end, saw_close, saw_reset; /* as the functions tell */
    bool resets_on_close;               /* sys_reset_on_close() was called */
};

struct fake_server {
    struct fake_server *next; /* all of them */
    struct sockaddr_storage address;
    socklen_t address_len;
    enum fake_server_way way;
    int error;                      /* of FAKE_SERVER_FAILS */
    struct fake_peer *first, *last; /* accepted, not asked for yet */
};

/* A wish for a failure. */
struct wish {
    struct wish *next;
    enum fake_op op;
    int skip, times, error;
};

static struct {
    bool started;                   /* the values below are set */
    int64_t now_ns, wall_zero_s;    /* monotonic; wall time less the monotonic one */
    int64_t cpu_ns;                 /* processor time of the thread */
    int64_t overshoot_ns;           /* of waits */
    struct file **fds;              /* by number */
    bool *held;                     /* a real fd holds the number */
    int fd_count, open_count;       /* size of the tables; entries in use */
    int fd_limit;                   /* -1 without */
    struct file *files;             /* all */
    struct fake_peer *peers;        /* all, newest first */
    struct fake_server *servers;    /* all */
    int next_port, next_peer_port;  /* to give away */
    size_t recv_max;                /* 0 without */
    fake_idle_fn idle;              /* may be NULL */
    void *idle_arg;                 /* for it */
    uint64_t fail_at;               /* number of the call that fails, 0 for none */
    int fail_error;                 /* how */
    bool failed;                    /* it has */
    struct wish *wishes;            /* in order of wishing */
    uint64_t total;                 /* calls counted for fail_at */
    int64_t costs[FAKE_OP_COUNT];   /* nanoseconds that a call of each op takes */
    uint64_t counts[FAKE_OP_COUNT]; /* calls by op */
    int datagram_fd;                /* of sys_connect_datagram(), when target_len is not 0 */
    char datagram[2048];            /* the last one */
    struct sockaddr_storage target; /* where it was sent to */
    socklen_t target_len;           /* 0 before the first */
    struct fake_call *trace;        /* record */
    size_t trace_len, trace_capacity;
} fake;

/* Housekeeping. */

static void *must(void *block)
{
    if (block == NULL) {
        fprintf(stderr, "fake_sys: out of memory\n");
        abort();
    }
    return block;
}

static void start(void)
{
    if (!fake.started) {
        fake.started = true;
        fake.now_ns = START_NS;
        fake.wall_zero_s = START_WALL_S - START_NS / NS_PER_S;
        fake.fd_limit = -1;
        fake.next_port = FIRST_PORT;
        fake.next_peer_port = FIRST_PEER_PORT;
    }
}

const char *fake_op_name(enum fake_op op)
{
#define FAKE_OP_TEXT(name) #name,
    static const char *const names[] = {FAKE_OPS(FAKE_OP_TEXT)};
#undef FAKE_OP_TEXT
    return op < FAKE_OP_COUNT ? names[op] : "?";
}

static bool is_infallible(enum fake_op op)
{
    return op == FAKE_CLOSE || op == FAKE_PROCESS_ID || op == FAKE_NOW_NS || op == FAKE_COARSE_NS ||
           op == FAKE_WALL_TIME_S || op == FAKE_THREAD_CPU_NS || op == FAKE_PROCESS_ID;
}

/* The wish that this call of op meets, served: its error, or 0. */
static int serve_wish(enum fake_op op)
{
    for (struct wish *wish = fake.wishes; wish != NULL; wish = wish->next) {
        if (wish->op != op || wish->times == 0) {
            continue;
        }
        if (wish->skip > 0) {
            wish->skip--;
            return 0;
        }
        wish->times -= wish->times > 0 ? 1 : 0;
        return wish->error;
    }
    return 0;
}

/* Every function begins here: count, and say whether the call must fail. */
static int enter(enum fake_op op)
{
    start();
    fake.counts[op]++;
    fake.now_ns += fake.costs[op];
    if (!is_infallible(op) && ++fake.total == fake.fail_at) {
        fake.failed = true;
        return fake.fail_error;
    }
    return serve_wish(op);
}

/* Every function ends here. */
static int64_t leave(enum fake_op op, int fd, int64_t arg, int64_t result)
{
    if (fake.trace_len == fake.trace_capacity) {
        fake.trace_capacity = fake.trace_capacity == 0 ? 256 : fake.trace_capacity * 2;
        fake.trace = must(realloc(fake.trace, fake.trace_capacity * sizeof *fake.trace));
    }
    fake.trace[fake.trace_len++] = (struct fake_call){.op = op, .fd = fd, .arg = arg, .result = result};
    return result;
}

static int leave_int(enum fake_op op, int fd, int64_t arg, int result)
{
    return (int)leave(op, fd, arg, result);
}

static int system_verdict(int result)
{
    return result < 0 ? -errno : result;
}

/* Fds. */

static struct file *find_file(int fd)
{
    return fd < 0 || fd >= fake.fd_count ? NULL : fake.fds[fd];
}

static struct file *find_kind(int fd, enum kind kind)
{
    struct file *file = find_file(fd);
    return file == NULL || file->kind != kind ? NULL : file;
}

/* -ENOTSOCK or -EBADF, for what is no simulated socket. */
static int no_socket(int fd)
{
    return find_file(fd) != NULL || fcntl(fd, F_GETFD) >= 0 ? -ENOTSOCK : -EBADF;
}

static void put_fd(int fd, struct file *file, bool held)
{
    if (fd >= fake.fd_count) {
        int count = fake.fd_count * 2 > fd ? fake.fd_count * 2 : fd + 1;
        fake.fds = must(realloc(fake.fds, (size_t)count * sizeof(struct file *)));
        fake.held = must(realloc(fake.held, (size_t)count * sizeof *fake.held));
        memset(fake.fds + fake.fd_count, 0, (size_t)(count - fake.fd_count) * sizeof(struct file *));
        fake.fd_count = count;
    }
    fake.fds[fd] = file;
    fake.held[fd] = held;
    fake.open_count++;
    file->refs++;
}

static struct file *new_file(enum kind kind)
{
    struct file *file = must(calloc(1, sizeof *file));
    file->kind = kind;
    file->next = fake.files;
    if (fake.files != NULL) {
        fake.files->prev = file;
    }
    fake.files = file;
    return file;
}

static bool is_fd_table_full(void)
{
    return fake.fd_limit >= 0 && fake.open_count >= fake.fd_limit;
}

/* Give a file the lowest free number, held by a real fd: real_fd, or a new one when that is -1. */
static int name_file(struct file *file, int real_fd)
{
    int fd = real_fd >= 0 ? real_fd : system_verdict(open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (fd >= 0) {
        put_fd(fd, file, true);
    }
    return fd;
}

static int new_fd(enum kind kind)
{
    if (is_fd_table_full()) {
        return -EMFILE;
    }
    int fd = system_verdict(open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (fd >= 0) {
        put_fd(fd, new_file(kind), true);
    }
    return fd;
}

int fake_sys_open_fds(void)
{
    return fake.open_count;
}

void fake_sys_print_open_fds(void)
{
    static const char *const names[] = {"file", "epoll", "eventfd", "timerfd", "socket"};
    for (int fd = 0; fd < fake.fd_count; fd++) {
        if (fake.fds[fd] != NULL) {
            fprintf(stderr, "fake_sys: fd %d is open: %s\n", fd, names[fake.fds[fd]->kind]);
        }
    }
}

void fake_sys_set_fd_limit(int limit)
{
    start();
    fake.fd_limit = limit;
}

/* Readiness. */

static bool has_ready_watcher(const struct file *epoll);

/* What poll(2) tells of a connection, after tcp_poll() of the real kernel. */
static uint32_t poll_peer(const struct fake_peer *peer)
{
    uint32_t events = 0;
    events |= peer->read_shut && peer->write_shut ? EPOLLHUP : 0U;
    events |= peer->read_shut ? EPOLLIN | EPOLLRDHUP : 0U;
    events |= peer->arrived != NULL ? EPOLLIN : 0U;
    events |= peer->write_shut || peer->room != 0 ? EPOLLOUT : 0U;
    events |= peer->error != 0 ? EPOLLERR : 0U;
    return events;
}

static uint32_t poll_file(const struct file *file)
{
    switch (file->kind) {
    case EPOLL:
        return has_ready_watcher(file) ? EPOLLIN : 0;
    case EVENTFD:
        return EPOLLOUT | (file->count > 0 ? EPOLLIN : 0U);
    case TIMERFD:
        return file->count > 0 ? EPOLLIN : 0;
    case SOCKET:
        if (file->peer != NULL) {
            return poll_peer(file->peer);
        }
        return file->listening ? (file->queue_first != NULL ? EPOLLIN : 0U) : EPOLLOUT | EPOLLHUP;
    case REAL_FILE:
        break;
    }
    return EPOLLIN | EPOLLOUT;
}

static uint32_t poll_watcher(const struct watcher *watcher)
{
    return poll_file(watcher->file) & (watcher->events | EPOLLERR | EPOLLHUP) & ~(uint32_t)EPOLLET;
}

static bool has_ready_watcher(const struct file *epoll)
{
    for (const struct watcher *watcher = epoll->ready_first; watcher != NULL; watcher = watcher->next_ready) {
        if (poll_watcher(watcher) != 0) {
            return true;
        }
    }
    return false;
}

static void wake(struct file *file, uint32_t events);

static void push_ready(struct watcher *watcher)
{
    struct file *epoll = watcher->epoll;
    if (watcher->is_ready) {
        return;
    }
    watcher->is_ready = true;
    watcher->prev_ready = epoll->ready_last;
    watcher->next_ready = NULL;
    *(epoll->ready_last == NULL ? &epoll->ready_first : &epoll->ready_last->next_ready) = watcher;
    epoll->ready_last = watcher;
}

static void drop_ready(struct watcher *watcher)
{
    struct file *epoll = watcher->epoll;
    if (!watcher->is_ready) {
        return;
    }
    watcher->is_ready = false;
    *(watcher->prev_ready == NULL ? &epoll->ready_first : &watcher->prev_ready->next_ready) = watcher->next_ready;
    *(watcher->next_ready == NULL ? &epoll->ready_last : &watcher->next_ready->prev_ready) = watcher->prev_ready;
}

/* Something happened to file: those who asked for one of events look at it again. */
static void wake(struct file *file, uint32_t events)
{
    for (struct watcher *watcher = file->watchers; watcher != NULL; watcher = watcher->next) {
        if (events & (watcher->events | EPOLLERR | EPOLLHUP)) {
            push_ready(watcher);
            wake(watcher->epoll, EPOLLIN);
        }
    }
}

static void wake_peer(struct fake_peer *peer, uint32_t events)
{
    if (peer->socket != NULL) {
        wake(peer->socket, events);
    }
}

/* Time. */

static void expire_timers(void)
{
    for (struct file *file = fake.files; file != NULL; file = file->next) {
        if (file->kind == TIMERFD && file->deadline_ns != 0 && file->deadline_ns <= fake.now_ns) {
            file->deadline_ns = 0;
            file->count++;
            wake(file, EPOLLIN);
        }
    }
}

static int64_t next_timer_ns(void)
{
    int64_t next_ns = NEVER;
    for (const struct file *file = fake.files; file != NULL; file = file->next) {
        if (file->kind == TIMERFD && file->deadline_ns != 0 && file->deadline_ns < next_ns) {
            next_ns = file->deadline_ns;
        }
    }
    return next_ns;
}

void fake_sys_set_now_ns(int64_t now_ns)
{
    start();
    if (now_ns < fake.now_ns) {
        fprintf(stderr, "fake_sys: a monotonic clock does not go back\n");
        abort();
    }
    fake.now_ns = now_ns;
    expire_timers();
}

void fake_sys_advance_ns(int64_t ns)
{
    start();
    fake_sys_set_now_ns(fake.now_ns + ns);
}

void fake_sys_advance_ms(int64_t ms)
{
    fake_sys_advance_ns(ms * NS_PER_MS);
}

void fake_sys_spend_ns(int64_t ns)
{
    fake_sys_advance_ns(ns);
    fake.cpu_ns += ns;
}

void fake_sys_set_wall_time_s(int64_t now_s)
{
    start();
    fake.wall_zero_s = now_s - fake.now_ns / NS_PER_S;
}

void fake_sys_set_cost_ns(enum fake_op op, int64_t ns)
{
    start();
    fake.costs[op] = ns;
}

void fake_sys_set_wait_overshoot_ns(int64_t ns)
{
    fake.overshoot_ns = ns;
}

void fake_sys_on_idle(fake_idle_fn fn, void *arg)
{
    fake.idle = fn;
    fake.idle_arg = arg;
}

bool fake_sys_is_readable(int fd)
{
    const struct file *file = find_file(fd);
    return file != NULL && (poll_file(file) & EPOLLIN) != 0;
}

int64_t fake_sys_timerfd_deadline_ns(int fd)
{
    const struct file *file = find_kind(fd, TIMERFD);
    return file == NULL ? 0 : file->deadline_ns;
}

void sys_shift_clocks(int64_t ns)
{
    fake_sys_advance_ns(ns);
}

int64_t sys_shift_ns(void)
{
    return 0; /* the only clock is the fake one */
}

int64_t sys_now_ns(void)
{
    enter(FAKE_NOW_NS);
    return fake.now_ns;
}

int64_t sys_coarse_ns(void)
{
    enter(FAKE_COARSE_NS);
    return fake.now_ns;
}

int64_t sys_wall_time_s(void)
{
    enter(FAKE_WALL_TIME_S);
    return fake.wall_zero_s + fake.now_ns / NS_PER_S;
}

int64_t sys_wall_time_ms(void)
{
    return sys_wall_time_s() * 1000 + fake.now_ns % NS_PER_S / 1000000;
}

int64_t sys_thread_cpu_ns(void)
{
    enter(FAKE_THREAD_CPU_NS);
    return fake.cpu_ns;
}

/* Failures and the record. */

void fake_sys_fail(uint64_t n, int error)
{
    fake.fail_at = n == 0 ? 0 : fake.total + n;
    fake.fail_error = error;
    fake.failed = false;
}

bool fake_sys_failed(void)
{
    return fake.failed;
}

void fake_sys_fail_op(enum fake_op op, int skip, int times, int error)
{
    struct wish **end = &fake.wishes;
    while (*end != NULL) {
        end = &(*end)->next;
    }
    *end = must(malloc(sizeof **end));
    **end = (struct wish){.op = op, .skip = skip, .times = times, .error = error};
}

void fake_sys_set_recv_max(size_t max)
{
    fake.recv_max = max;
}

uint64_t fake_sys_count(enum fake_op op)
{
    return fake.counts[op];
}

uint64_t fake_sys_total(void)
{
    return fake.total;
}

const struct fake_call *fake_sys_trace(size_t *count)
{
    *count = fake.trace_len;
    return fake.trace;
}

void fake_sys_clear_trace(void)
{
    fake.trace_len = 0;
    memset(fake.counts, 0, sizeof fake.counts);
}

int fake_sys_listener_fd(void)
{
    size_t i = fake.trace_len;
    while (i > 0 && fake.trace[i - 1].op != FAKE_LISTEN) {
        i--;
    }
    return i == 0 ? -1 : fake.trace[i - 1].fd;
}

/* Segments on their way. */

/* The next segment arrives when the one before has been read; the end of the stream comes with the last one. */
static void move_segments(struct fake_peer *peer)
{
    if (peer->is_reset) {
        return;
    }
    if (peer->arrived == NULL && peer->coming != NULL) {
        peer->arrived = peer->coming;
        peer->coming = peer->coming->next;
        peer->coming_len -= peer->arrived->len;
        peer->arrived->next = NULL;
        wake_peer(peer, EPOLLIN);
    }
    if (peer->coming != NULL) {
        return;
    }
    if (peer->end_sent && !peer->read_shut) {
        peer->read_shut = true;
        wake_peer(peer, EPOLLIN | EPOLLRDHUP | (peer->write_shut ? EPOLLHUP : 0U));
    }
    if (peer->hang_up_sent && !peer->write_shut) {
        peer->write_shut = true;
        wake_peer(peer, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP);
    }
}

/* The near end is connected from now on. */
static void finish_connect(struct fake_peer *peer)
{
    struct fake_server *server = peer->server;
    peer->server = NULL;
    *(server->first == NULL ? &server->first : &server->last->next_queued) = peer;
    server->last = peer;
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
}

static void decide_connect(struct fake_peer *peer)
{
    switch (peer->server->way) {
    case FAKE_SERVER_ACCEPTS:
        finish_connect(peer);
        break;
    case FAKE_SERVER_FAILS:
        fake_peer_reset(peer, peer->server->error);
        peer->server = NULL;
        break;
    case FAKE_SERVER_HANGS:
        break;
    }
}

static void pass_instant(void)
{
    for (struct fake_peer *peer = fake.peers; peer != NULL; peer = peer->next) {
        if (peer->server != NULL && peer->socket != NULL) {
            decide_connect(peer);
        }
        move_segments(peer);
        if (peer->window != FAKE_NO_LIMIT) {
            fake_peer_set_room(peer, peer->window);
        }
    }
}

static void send_segment(struct fake_peer *peer, const char *data, size_t len)
{
    if (peer->saw_close) {
        peer->saw_reset = true; /* to a closed socket */
        return;
    }
    if (len == 0 || peer->end_sent || peer->is_reset) {
        return;
    }
    struct segment *segment = must(malloc(sizeof *segment + len));
    *segment = (struct segment){.len = len};
    memcpy(segment->data, data, len);
    *(peer->coming == NULL ? &peer->coming : &peer->last->next) = segment;
    peer->last = segment;
    peer->coming_len += len;
    move_segments(peer);
}

static void free_segments(struct segment *segment)
{
    while (segment != NULL) {
        struct segment *next = segment->next;
        free(segment);
        segment = next;
    }
}

/* Peers. */

static struct fake_peer *new_peer(int family)
{
    start();
    struct fake_peer *peer = must(calloc(1, sizeof *peer));
    peer->next = fake.peers;
    fake.peers = peer;
    peer->fd = -1;
    peer->room = peer->window = FAKE_NO_LIMIT;
    peer->output = must(calloc(1, 1));
    peer->output_capacity = 1;
    in_port_t port = htons((uint16_t)fake.next_peer_port++);
    if (family == AF_INET6) {
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = port, .sin6_addr = in6addr_loopback};
        fake_peer_set_address(peer, (struct sockaddr *)&in6, sizeof in6);
    } else if (family == AF_UNIX) {
        struct sockaddr un = {.sa_family = AF_UNIX};
        fake_peer_set_address(peer, &un, sizeof un.sa_family);
    } else {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        fake_peer_set_address(peer, (struct sockaddr *)&in, sizeof in);
    }
    return peer;
}

static void attach_peer(struct fake_peer *peer, int fd)
{
    peer->fd = fd;
    peer->socket = find_file(fd);
    peer->socket->peer = peer;
}

static void queue_peer(struct file *listener, struct fake_peer *peer)
{
    *(listener->queue_first == NULL ? &listener->queue_first : &listener->queue_last->next_queued) = peer;
    listener->queue_last = peer;
    wake(listener, EPOLLIN);
}

struct fake_peer *fake_peer_connect(int listener_fd)
{
    struct file *listener = find_kind(listener_fd, SOCKET);
    if (listener == NULL || !listener->listening) {
        fprintf(stderr, "fake_sys: fd %d does not listen\n", listener_fd);
        abort();
    }
    struct fake_peer *peer = new_peer(listener->address.ss_family);
    queue_peer(listener, peer);
    return peer;
}

void fake_peer_set_address(struct fake_peer *peer, const struct sockaddr *address, socklen_t len)
{
    memset(&peer->address, 0, sizeof peer->address);
    memcpy(&peer->address, address, len);
    peer->address_len = len;
}

struct fake_peer *fake_peer_create(int fd)
{
    struct fake_peer *peer = new_peer(AF_INET);
    struct file *file = new_file(SOCKET);
    file->address = peer->address;
    file->address_len = peer->address_len;
    if (fd < 0) {
        fd = name_file(file, -1);
    } else if (find_file(fd) == NULL && fcntl(fd, F_GETFD) < 0) {
        put_fd(fd, file, false);
    } else {
        fd = -1;
    }
    if (fd < 0) {
        fprintf(stderr, "fake_sys: no such fd for a peer\n");
        abort();
    }
    attach_peer(peer, fd);
    return peer;
}

struct fake_peer *fake_peer_of(int fd)
{
    struct file *file = find_kind(fd, SOCKET);
    return file == NULL ? NULL : file->peer;
}

int fake_peer_fd(const struct fake_peer *peer)
{
    return peer->fd;
}

void fake_peer_send(struct fake_peer *peer, const void *data, size_t len)
{
    send_segment(peer, data, len);
}

void fake_peer_send_text(struct fake_peer *peer, const char *text)
{
    send_segment(peer, text, strlen(text));
}

void fake_peer_send_in_pieces(struct fake_peer *peer, const void *data, size_t len, size_t size)
{
    for (size_t sent = 0; sent < len; sent += size) {
        send_segment(peer, (const char *)data + sent, len - sent < size ? len - sent : size);
    }
}

void fake_peer_send_split(struct fake_peer *peer, const void *data, size_t len, size_t position)
{
    send_segment(peer, data, position);
    send_segment(peer, (const char *)data + position, len - position);
}

size_t fake_peer_unread(const struct fake_peer *peer)
{
    return peer->coming_len + (peer->arrived == NULL ? 0 : peer->arrived->len - peer->arrived->read);
}

void fake_peer_shutdown(struct fake_peer *peer)
{
    peer->end_sent = true;
    move_segments(peer);
}

void fake_peer_close(struct fake_peer *peer)
{
    peer->closed = true;
    fake_peer_shutdown(peer);
}

void fake_peer_hang_up(struct fake_peer *peer)
{
    peer->hang_up_sent = true;
    fake_peer_shutdown(peer);
}

void fake_peer_reset(struct fake_peer *peer, int error)
{
    free_segments(peer->coming);
    peer->coming = NULL;
    peer->coming_len = 0;
    peer->is_reset = true;
    peer->error = error == 0 ? -ECONNRESET : error;
    peer->read_shut = peer->write_shut = true;
    wake_peer(peer, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP | EPOLLERR);
}

void fake_peer_set_room(struct fake_peer *peer, int64_t bytes)
{
    bool was_full = peer->room == 0;
    peer->room = bytes;
    if (was_full && bytes != 0) {
        wake_peer(peer, EPOLLOUT);
    }
}

void fake_peer_add_room(struct fake_peer *peer, int64_t bytes)
{
    if (peer->room != FAKE_NO_LIMIT) {
        fake_peer_set_room(peer, peer->room + bytes);
    }
}

void fake_peer_set_unsent(struct fake_peer *peer, int bytes)
{
    peer->unsent = bytes;
}

void fake_peer_set_window(struct fake_peer *peer, int64_t bytes)
{
    peer->window = bytes;
    fake_peer_set_room(peer, bytes);
}

const char *fake_peer_output(const struct fake_peer *peer, size_t *len)
{
    if (len != NULL) {
        *len = peer->output_len;
    }
    return peer->output;
}

void fake_peer_forget_output(struct fake_peer *peer)
{
    peer->output_len = 0;
    peer->output[0] = '\0';
}

bool fake_peer_saw_end(const struct fake_peer *peer)
{
    return peer->saw_end;
}

bool fake_peer_saw_close(const struct fake_peer *peer)
{
    return peer->saw_close;
}

bool fake_peer_saw_reset(const struct fake_peer *peer)
{
    return peer->saw_reset;
}

static void free_peer(struct fake_peer *peer)
{
    free_segments(peer->arrived);
    free_segments(peer->coming);
    free(peer->output);
    free(peer);
}

/* The near end is closed for good. */
static void close_peer(struct fake_peer *peer)
{
    peer->saw_end = peer->saw_close = true;
    peer->saw_reset = peer->saw_reset || ((peer->resets_on_close || fake_peer_unread(peer) > 0) && !peer->is_reset);
    peer->socket = NULL;
    peer->fd = -1;
}

/* epoll(7). */

static struct watcher **find_watcher(struct file *epoll, struct file *file, int fd)
{
    struct watcher **link = &file->watchers;
    while (*link != NULL && ((*link)->epoll != epoll || (*link)->fd != fd)) {
        link = &(*link)->next;
    }
    return link;
}

static void free_watcher(struct watcher **link)
{
    struct watcher *watcher = *link;
    drop_ready(watcher);
    *link = watcher->next;
    free(watcher);
}

/* It takes no time. */
void sys_sleep_ms(int ms)
{
    enter(FAKE_SLEEP_MS);
    leave(FAKE_SLEEP_MS, -1, ms, 0);
}

unsigned sys_processors(void)
{
    return 2;
}

uid_t sys_user_id(void)
{
    enter(FAKE_USER_ID);
    return (uid_t)leave(FAKE_USER_ID, -1, 0, geteuid());
}

int sys_random(void *buf, size_t len)
{
    int error = enter(FAKE_RANDOM);
    for (size_t i = 0; i < len && error == 0; i++) {
        ((unsigned char *)buf)[i] = (unsigned char)i;
    }
    return leave_int(FAKE_RANDOM, -1, (int64_t)len, error);
}

int sys_epoll_create(void)
{
    int error = enter(FAKE_EPOLL_CREATE);
    return leave_int(FAKE_EPOLL_CREATE, -1, 0, error != 0 ? error : new_fd(EPOLL));
}

/* The checks that all three operations share: 0 with both files, or -errno. */
static int find_pair(int epoll_fd, int fd, struct file **epoll, struct file **file)
{
    *epoll = find_kind(epoll_fd, EPOLL);
    *file = find_file(fd);
    if (*epoll == NULL || *file == NULL) {
        return *file == NULL && fcntl(fd, F_GETFD) >= 0 ? -EPERM : -EBADF;
    }
    return (*file)->kind == REAL_FILE ? -EPERM : *epoll == *file ? -EINVAL : 0;
}

static int set_watcher(struct watcher *watcher, uint32_t events, uint64_t data)
{
    watcher->events = events;
    watcher->data = data;
    if (poll_watcher(watcher) != 0) {
        push_ready(watcher);
        wake(watcher->epoll, EPOLLIN);
    }
    return 0;
}

static int add_watcher(int epoll_fd, int fd, uint32_t events, uint64_t data)
{
    struct file *epoll, *file;
    int rv = find_pair(epoll_fd, fd, &epoll, &file);
    if (rv < 0) {
        return rv;
    }
    struct watcher **link = find_watcher(epoll, file, fd);
    if (*link != NULL) {
        return -EEXIST;
    }
    *link = must(calloc(1, sizeof **link));
    **link = (struct watcher){.epoll = epoll, .file = file, .fd = fd};
    return set_watcher(*link, events, data);
}

int sys_epoll_add(int epoll_fd, int fd, uint32_t events, uint64_t data)
{
    int error = enter(FAKE_EPOLL_ADD);
    return leave_int(FAKE_EPOLL_ADD, fd, events, error != 0 ? error : add_watcher(epoll_fd, fd, events, data));
}

static int modify_watcher(int epoll_fd, int fd, uint32_t events, uint64_t data)
{
    struct file *epoll, *file;
    int rv = find_pair(epoll_fd, fd, &epoll, &file);
    if (rv < 0) {
        return rv;
    }
    struct watcher *watcher = *find_watcher(epoll, file, fd);
    return watcher == NULL ? -ENOENT : set_watcher(watcher, events, data);
}

int sys_epoll_modify(int epoll_fd, int fd, uint32_t events, uint64_t data)
{
    int error = enter(FAKE_EPOLL_MODIFY);
    int rv = error != 0 ? error : modify_watcher(epoll_fd, fd, events, data);
    return leave_int(FAKE_EPOLL_MODIFY, fd, events, rv);
}

static int delete_watcher(int epoll_fd, int fd)
{
    struct file *epoll, *file;
    int rv = find_pair(epoll_fd, fd, &epoll, &file);
    if (rv < 0) {
        return rv;
    }
    struct watcher **link = find_watcher(epoll, file, fd);
    if (*link == NULL) {
        return -ENOENT;
    }
    free_watcher(link);
    return 0;
}

int sys_epoll_delete(int epoll_fd, int fd)
{
    int error = enter(FAKE_EPOLL_DELETE);
    return leave_int(FAKE_EPOLL_DELETE, fd, 0, error != 0 ? error : delete_watcher(epoll_fd, fd));
}

static int take_ready(struct file *epoll, struct epoll_event *events, int max)
{
    int pending = 0;
    for (struct watcher *watcher = epoll->ready_first; watcher != NULL; watcher = watcher->next_ready) {
        pending++;
    }
    int taken = 0;
    for (; pending > 0 && taken < max; pending--) {
        struct watcher *watcher = epoll->ready_first;
        drop_ready(watcher);
        uint32_t held = poll_watcher(watcher);
        if (held == 0) {
            continue;
        }
        events[taken++] = (struct epoll_event){.events = held, .data.u64 = watcher->data};
        if (!(watcher->events & (uint32_t)EPOLLET)) {
            push_ready(watcher);
        }
    }
    return taken;
}

static int wait_ready(struct file *epoll, struct epoll_event *events, int max, int64_t timeout_ns)
{
    int64_t end_ns = timeout_ns < 0 ? NEVER : fake.now_ns + timeout_ns;
    for (;;) {
        pass_instant();
        int taken = take_ready(epoll, events, max);
        if (taken > 0 || fake.now_ns >= end_ns) {
            return taken;
        }
        if (fake.idle != NULL && fake.idle(fake.idle_arg)) {
            continue;
        }
        int64_t timer_ns = next_timer_ns();
        if (timer_ns == NEVER && end_ns == NEVER) {
            return -EDEADLK;
        }
        bool is_over = end_ns <= timer_ns;
        fake_sys_set_now_ns(is_over ? end_ns + fake.overshoot_ns : timer_ns);
    }
}

int sys_epoll_wait(int epoll_fd, struct epoll_event *events, int max, int64_t timeout_ns)
{
    int rv = enter(FAKE_EPOLL_WAIT);
    struct file *epoll = find_kind(epoll_fd, EPOLL);
    if (rv == 0) {
        rv = epoll == NULL ? -EBADF : max <= 0 ? -EINVAL : wait_ready(epoll, events, max, timeout_ns);
    }
    return leave_int(FAKE_EPOLL_WAIT, -1, max, rv);
}

int sys_epoll_wait_ms(int epoll_fd, struct epoll_event *events, int max, int timeout_ms)
{
    int rv = enter(FAKE_EPOLL_WAIT_MS);
    struct file *epoll = find_kind(epoll_fd, EPOLL);
    if (rv == 0) {
        int64_t timeout_ns = timeout_ms < 0 ? -1 : (int64_t)timeout_ms * 1000000;
        rv = epoll == NULL ? -EBADF : max <= 0 ? -EINVAL : wait_ready(epoll, events, max, timeout_ns);
    }
    return leave_int(FAKE_EPOLL_WAIT_MS, -1, max, rv);
}

int sys_eventfd_create(void)
{
    int error = enter(FAKE_EVENTFD_CREATE);
    return leave_int(FAKE_EVENTFD_CREATE, -1, 0, error != 0 ? error : new_fd(EVENTFD));
}

int sys_eventfd_wake(int fd)
{
    int rv = enter(FAKE_EVENTFD_WAKE);
    struct file *file = find_kind(fd, EVENTFD);
    if (rv == 0 && file != NULL) {
        file->count++;
        wake(file, EPOLLIN);
    }
    return leave_int(FAKE_EVENTFD_WAKE, fd, 0, rv != 0 ? rv : file == NULL ? -EBADF : 0);
}

int sys_timerfd_create(void)
{
    int error = enter(FAKE_TIMERFD_CREATE);
    return leave_int(FAKE_TIMERFD_CREATE, -1, 0, error != 0 ? error : new_fd(TIMERFD));
}

int sys_timerfd_set(int fd, int64_t deadline_ns)
{
    int rv = enter(FAKE_TIMERFD_SET);
    struct file *file = find_kind(fd, TIMERFD);
    if (rv == 0 && file != NULL) {
        file->count = 0;
        file->deadline_ns = deadline_ns;
        expire_timers();
    }
    return leave_int(FAKE_TIMERFD_SET, fd, deadline_ns, rv != 0 ? rv : file == NULL ? -EBADF : 0);
}

/* Sockets. */

static int open_socket(enum fake_op op, int family)
{
    int rv = enter(op);
    if (rv == 0) {
        rv = new_fd(SOCKET);
    }
    if (rv >= 0) {
        struct file *file = find_file(rv);
        file->address.ss_family = (sa_family_t)family;
        file->address_len = family == AF_INET    ? (socklen_t)sizeof(struct sockaddr_in)
                            : family == AF_INET6 ? (socklen_t)sizeof(struct sockaddr_in6)
                                                 : (socklen_t)sizeof(sa_family_t);
        file->is_datagram = op == FAKE_DATAGRAM_SOCKET;
    }
    return leave_int(op, rv, family, rv);
}

int sys_socket(int family)
{
    return open_socket(FAKE_SOCKET, family);
}

int sys_datagram_socket(int family)
{
    return open_socket(FAKE_DATAGRAM_SOCKET, family);
}

/* Where the port of an address stands, NULL for a unix socket. */
static in_port_t *port_of(struct sockaddr_storage *address)
{
    switch (address->ss_family) {
    case AF_INET:
        return &((struct sockaddr_in *)address)->sin_port;
    case AF_INET6:
        return &((struct sockaddr_in6 *)address)->sin6_port;
    default:
        return NULL;
    }
}

/* The listening socket at address; which of the machine's addresses it is does not matter here. */
static struct file *find_listener(struct sockaddr_storage *address)
{
    in_port_t *port = port_of(address);
    for (struct file *file = fake.files; file != NULL; file = file->next) {
        if (file->kind != SOCKET || !file->listening || file->address.ss_family != address->ss_family) {
            continue;
        }
        const char *path = ((struct sockaddr_un *)&file->address)->sun_path;
        if (port != NULL ? *port_of(&file->address) == *port
                         : strcmp(path, ((struct sockaddr_un *)address)->sun_path) == 0) {
            return file;
        }
    }
    return NULL;
}

static int bind_socket(struct file *file, const struct sockaddr *address, socklen_t len)
{
    struct sockaddr_storage wanted = {0};
    memcpy(&wanted, address, len < sizeof wanted ? len : sizeof wanted);
    in_port_t *port = port_of(&wanted);
    if (port != NULL && *port == 0) {
        *port = htons((uint16_t)fake.next_port++);
    }
    if (find_listener(&wanted) != NULL) {
        return -EADDRINUSE;
    }
    if (wanted.ss_family == AF_UNIX) { /* a socket file of the real kernel, to which no socket belongs */
        if (mknod(((struct sockaddr_un *)&wanted)->sun_path, S_IFSOCK | 0600, 0) < 0) {
            return errno == EEXIST ? -EADDRINUSE : -errno;
        }
    }
    file->address = wanted;
    file->address_len = len;
    return 0;
}

int sys_bind(int fd, const struct sockaddr *address, socklen_t len)
{
    int rv = enter(FAKE_BIND);
    struct file *file = find_kind(fd, SOCKET);
    if (rv == 0) {
        rv = file == NULL ? no_socket(fd) : bind_socket(file, address, len);
    }
    return leave_int(FAKE_BIND, fd, 0, rv);
}

struct fake_server *fake_server_create(const struct sockaddr *address, socklen_t len)
{
    start();
    struct fake_server *server = must(calloc(1, sizeof *server));
    memcpy(&server->address, address, len);
    server->address_len = len;
    server->next = fake.servers;
    fake.servers = server;
    return server;
}

void fake_server_set(struct fake_server *server, enum fake_server_way way, int error)
{
    server->way = way;
    server->error = error;
}

struct fake_peer *fake_server_next(struct fake_server *server)
{
    struct fake_peer *peer = server->first;
    server->first = peer == NULL ? NULL : peer->next_queued;
    return peer;
}

static struct fake_server *find_server(const struct sockaddr *address, socklen_t len)
{
    struct fake_server *server = fake.servers;
    while (server != NULL && (server->address_len != len || memcmp(&server->address, address, len) != 0)) {
        server = server->next;
    }
    return server;
}

/* The near end is not writable before it is connected. */
static int connect_to_server(int fd, struct fake_server *server)
{
    bool is_unix = server->address.ss_family == AF_UNIX;
    if (is_unix && server->way != FAKE_SERVER_ACCEPTS) {
        return server->way == FAKE_SERVER_FAILS ? server->error : -EAGAIN;
    }
    struct fake_peer *peer = new_peer(server->address.ss_family);
    fake_peer_set_address(peer, (struct sockaddr *)&server->address, server->address_len);
    peer->server = server;
    peer->room = 0;
    attach_peer(peer, fd);
    if (is_unix) {
        finish_connect(peer);
    }
    return is_unix ? 0 : -EINPROGRESS;
}

/* A listener at the address gets a connection; the test holds both its ends, nothing joins them. */
static int connect_socket(int fd, struct file *file, const struct sockaddr *address, socklen_t len)
{
    struct sockaddr_storage wanted = {0};
    memcpy(&wanted, address, len < sizeof wanted ? len : sizeof wanted);
    if (file->peer != NULL) {
        return -EISCONN;
    }
    struct fake_server *server = file->is_datagram ? NULL : find_server(address, len);
    if (server != NULL) {
        return connect_to_server(fd, server);
    }
    if (file->is_datagram) {
        attach_peer(new_peer(wanted.ss_family), fd);
        return 0;
    }
    struct file *listener = find_listener(&wanted);
    if (listener == NULL) {
        bool no_file = wanted.ss_family == AF_UNIX && access(((struct sockaddr_un *)&wanted)->sun_path, F_OK) != 0;
        return no_file ? -ENOENT : -ECONNREFUSED;
    }
    queue_peer(listener, new_peer(wanted.ss_family));
    attach_peer(new_peer(wanted.ss_family), fd);
    return 0;
}

int sys_connect(int fd, const struct sockaddr *address, socklen_t len)
{
    int rv = enter(FAKE_CONNECT);
    struct file *file = find_kind(fd, SOCKET);
    if (rv == 0) {
        rv = file == NULL ? no_socket(fd) : connect_socket(fd, file, address, len);
    }
    return leave_int(FAKE_CONNECT, fd, 0, rv);
}

int sys_listen(int fd, int backlog)
{
    int rv = enter(FAKE_LISTEN);
    struct file *file = find_kind(fd, SOCKET);
    if (rv == 0 && file != NULL) {
        file->listening = true;
    }
    return leave_int(FAKE_LISTEN, fd, backlog, rv != 0 ? rv : file == NULL ? no_socket(fd) : 0);
}

static int accept_peer(struct file *listener, struct sockaddr *address, socklen_t *len)
{
    struct fake_peer *peer = listener->queue_first;
    if (is_fd_table_full()) {
        return -EMFILE; /* the real kernel, too, looks for an fd first */
    }
    if (peer == NULL) {
        return -EAGAIN;
    }
    int fd = new_fd(SOCKET);
    if (fd < 0) {
        return fd;
    }
    listener->queue_first = peer->next_queued;
    struct file *file = find_file(fd);
    file->address = listener->address;
    file->address_len = listener->address_len;
    memcpy(file->options, listener->options, sizeof file->options);
    file->option_count = listener->option_count;
    attach_peer(peer, fd);
    if (address != NULL) {
        memcpy(address, &peer->address, *len < peer->address_len ? *len : peer->address_len);
        *len = peer->address_len;
    }
    return fd;
}

int sys_accept(int fd, struct sockaddr *peer, socklen_t *peer_len)
{
    int rv = enter(FAKE_ACCEPT);
    struct file *listener = find_kind(fd, SOCKET);
    if (rv == 0) {
        rv = listener == NULL ? no_socket(fd) : !listener->listening ? -EINVAL : accept_peer(listener, peer, peer_len);
    }
    return leave_int(FAKE_ACCEPT, fd, 0, rv);
}

/* A kernel that does not allow it. */
int sys_socket_file(int fd)
{
    int error = enter(FAKE_SOCKET_FILE);
    return leave_int(FAKE_SOCKET_FILE, fd, 0, error != 0 ? error : -EPERM);
}

int sys_socket_name(int fd, struct sockaddr *name, socklen_t *len)
{
    int rv = enter(FAKE_SOCKET_NAME);
    struct file *file = find_kind(fd, SOCKET);
    if (rv == 0 && file != NULL) {
        memcpy(name, &file->address, *len < file->address_len ? *len : file->address_len);
        *len = file->address_len;
    }
    return leave_int(FAKE_SOCKET_NAME, fd, 0, rv != 0 ? rv : file == NULL ? no_socket(fd) : 0);
}

static struct option *find_option(struct file *file, int level, int name)
{
    for (int i = 0; i < file->option_count; i++) {
        if (file->options[i].level == level && file->options[i].name == name) {
            return &file->options[i];
        }
    }
    return NULL;
}

static int set_option(struct file *file, int level, int name, int value)
{
    struct option *option = find_option(file, level, name);
    if (option == NULL) {
        if (file->option_count == OPTIONS_MAX) {
            return -ENOMEM;
        }
        option = &file->options[file->option_count++];
    }
    *option = (struct option){.level = level, .name = name, .value = value};
    return 0;
}

int sys_set_option(int fd, int level, int option, int value)
{
    int rv = enter(FAKE_SET_OPTION);
    struct file *file = find_kind(fd, SOCKET);
    if (rv == 0) {
        rv = file == NULL ? no_socket(fd) : set_option(file, level, option, value);
    }
    return leave_int(FAKE_SET_OPTION, fd, option, rv);
}

static int get_option(struct file *file, int level, int name)
{
    if (level == SOL_SOCKET && name == SO_ACCEPTCONN) {
        return file->listening;
    }
    if (level == SOL_SOCKET && name == SO_ERROR) {
        int error = file->peer == NULL ? 0 : -file->peer->error;
        if (file->peer != NULL) {
            file->peer->error = 0;
        }
        return error;
    }
    const struct option *option = find_option(file, level, name);
    return option == NULL ? 0 : option->value;
}

int sys_get_option(int fd, int level, int option)
{
    int rv = enter(FAKE_GET_OPTION);
    struct file *file = find_kind(fd, SOCKET);
    if (rv == 0) {
        rv = file == NULL ? no_socket(fd) : get_option(file, level, option);
    }
    return leave_int(FAKE_GET_OPTION, fd, option, rv);
}

int fake_sys_option(int fd, int level, int option)
{
    struct file *file = find_kind(fd, SOCKET);
    const struct option *found = file == NULL ? NULL : find_option(file, level, option);
    return found == NULL ? -1 : found->value;
}

/* What has come, as far as recv would tell. */
int sys_unread_bytes(int fd)
{
    int rv = enter(FAKE_UNREAD_BYTES);
    const struct file *file = find_kind(fd, SOCKET);
    if (rv == 0) {
        bool has_peer = file != NULL && file->peer != NULL;
        rv = file == NULL ? no_socket(fd) : has_peer && file->peer->arrived != NULL ? 1 : 0;
    }
    return leave_int(FAKE_UNREAD_BYTES, fd, 0, rv);
}

uint64_t sys_fd_limit(void)
{
    enter(FAKE_FD_LIMIT);
    uint64_t limit = fake.fd_limit < 0 ? UINT64_MAX : (uint64_t)fake.fd_limit;
    return (uint64_t)leave(FAKE_FD_LIMIT, -1, 0, (int64_t)limit);
}

uint64_t sys_open_fds(void)
{
    return 0; /* an old kernel */
}

int sys_unsent_bytes(int fd)
{
    int rv = enter(FAKE_UNSENT_BYTES);
    const struct file *file = find_kind(fd, SOCKET);
    if (rv == 0) {
        rv = file == NULL ? no_socket(fd) : file->peer == NULL ? 0 : file->peer->unsent;
    }
    return leave_int(FAKE_UNSENT_BYTES, fd, 0, rv);
}

int sys_set_nonblocking(int fd)
{
    int error = enter(FAKE_SET_NONBLOCKING);
    bool is_open = find_file(fd) != NULL || fcntl(fd, F_GETFD) >= 0;
    return leave_int(FAKE_SET_NONBLOCKING, fd, 0, error != 0 ? error : is_open ? 0 : -EBADF);
}

/* The connection of fd: NULL with *error when there is none. */
static struct fake_peer *find_peer(int fd, int *error)
{
    struct file *file = find_kind(fd, SOCKET);
    if (file != NULL && file->peer != NULL) {
        return file->peer;
    }
    *error = file == NULL ? no_socket(fd) : -ENOTCONN;
    return NULL;
}

int sys_shutdown_write(int fd)
{
    int rv = enter(FAKE_SHUTDOWN_WRITE);
    struct fake_peer *peer = rv != 0 ? NULL : find_peer(fd, &rv);
    if (peer != NULL) {
        rv = peer->is_reset ? -ENOTCONN : 0;
        peer->write_shut = peer->saw_end = true;
        wake_peer(peer, EPOLLOUT | (peer->read_shut ? EPOLLHUP : 0U));
    }
    return leave_int(FAKE_SHUTDOWN_WRITE, fd, 0, rv);
}

/* Of a listener: nobody accepts any more, and it is closed right after. */
int sys_shutdown(int fd)
{
    int rv = enter(FAKE_SHUTDOWN);
    int error = 0;
    struct fake_peer *peer = rv != 0 ? NULL : find_peer(fd, &error);
    if (peer != NULL) {
        rv = peer->is_reset ? -ENOTCONN : 0;
        peer->write_shut = peer->saw_end = true;
        wake_peer(peer, EPOLLOUT | EPOLLHUP);
    }
    return leave_int(FAKE_SHUTDOWN, fd, 0, rv);
}

int sys_reset_on_close(int fd)
{
    int rv = enter(FAKE_SET_OPTION);
    struct fake_peer *peer = rv != 0 ? NULL : find_peer(fd, &rv);
    if (peer != NULL) {
        peer->resets_on_close = true;
    }
    return leave_int(FAKE_SET_OPTION, fd, 0, rv);
}

static int take_error(struct fake_peer *peer)
{
    int error = peer->error;
    peer->error = 0;
    return error;
}

static ssize_t receive(struct fake_peer *peer, void *buf, size_t len)
{
    struct segment *segment = peer->arrived;
    if (segment == NULL) {
        return peer->error != 0 ? take_error(peer) : peer->read_shut ? 0 : -EAGAIN;
    }
    size_t left = segment->len - segment->read;
    size_t taken = len < left ? len : left;
    if (fake.recv_max != 0 && taken > fake.recv_max) {
        taken = fake.recv_max;
        wake_peer(peer, EPOLLIN); /* the rest comes while this is read */
    }
    memcpy(buf, segment->data + segment->read, taken);
    segment->read += taken;
    if (segment->read == segment->len) {
        free(segment);
        peer->arrived = NULL;
    }
    return (ssize_t)taken;
}

ssize_t sys_recv(int fd, void *buf, size_t len)
{
    int error = enter(FAKE_RECV);
    struct fake_peer *peer = error != 0 ? NULL : find_peer(fd, &error);
    return leave(FAKE_RECV, fd, (int64_t)len, peer == NULL ? error : receive(peer, buf, len));
}

ssize_t sys_peek(int fd, void *buf, size_t len)
{
    int error = enter(FAKE_RECV);
    struct fake_peer *peer = error != 0 ? NULL : find_peer(fd, &error);
    if (peer != NULL && peer->arrived != NULL) {
        size_t left = peer->arrived->len - peer->arrived->read;
        size_t seen = len < left ? len : left;
        memcpy(buf, peer->arrived->data + peer->arrived->read, seen);
        return leave(FAKE_RECV, fd, (int64_t)len, (int64_t)seen);
    }
    return leave(FAKE_RECV, fd, (int64_t)len, peer == NULL ? error : receive(peer, buf, len));
}

/* How many of len bytes the connection takes now: > 0, or -errno. */
static ssize_t find_room(struct fake_peer *peer, size_t len)
{
    if (peer->error != 0) {
        return take_error(peer);
    }
    if (peer->write_shut) {
        return -EPIPE;
    }
    if (peer->room == 0) {
        return -EAGAIN;
    }
    return peer->room != FAKE_NO_LIMIT && (uint64_t)peer->room < len ? (ssize_t)peer->room : (ssize_t)len;
}

static void take_output(struct fake_peer *peer, const void *data, size_t len)
{
    if (peer->output_len + len + 1 > peer->output_capacity) {
        peer->output_capacity = (peer->output_len + len + 1) * 2;
        peer->output = must(realloc(peer->output, peer->output_capacity));
    }
    memcpy(peer->output + peer->output_len, data, len);
    peer->output_len += len;
    peer->output[peer->output_len] = '\0';
    if (peer->room != FAKE_NO_LIMIT) {
        peer->room -= (int64_t)len;
    }
}

/* Bytes went to a peer that has closed: they are lost, and a reset comes back. The near end's stream had ended, so the
 * error is EPIPE (tcp_reset() in the real kernel). */
static void answer_closed(struct fake_peer *peer)
{
    if (peer->closed && peer->read_shut && !peer->is_reset) {
        fake_peer_reset(peer, -EPIPE);
    }
}

static ssize_t send_bytes(struct fake_peer *peer, const void *data, size_t len)
{
    ssize_t room = find_room(peer, len);
    if (room > 0) {
        take_output(peer, data, (size_t)room);
        answer_closed(peer);
    }
    return room;
}

static ssize_t send_datagram(const void *data, size_t len)
{
    if (len >= sizeof fake.datagram) {
        return -EMSGSIZE;
    }
    memset(fake.datagram, 0, sizeof fake.datagram);
    memcpy(fake.datagram, data, len);
    return (ssize_t)len;
}

ssize_t sys_send(int fd, const void *buf, size_t len, bool more)
{
    int error = enter(FAKE_SEND);
    if (error == 0 && fake.target_len > 0 && fd == fake.datagram_fd) {
        return leave(FAKE_SEND, fd, (int64_t)len, send_datagram(buf, len));
    }
    struct fake_peer *peer = error != 0 ? NULL : find_peer(fd, &error);
    ssize_t rv = leave(FAKE_SEND, fd, (int64_t)len, peer == NULL ? error : send_bytes(peer, buf, len));
    fake.trace[fake.trace_len - 1].more = more;
    return rv;
}

static ssize_t send_parts(struct fake_peer *peer, const struct iovec *parts, size_t count, size_t len)
{
    ssize_t room = find_room(peer, len);
    size_t left = room > 0 ? (size_t)room : 0;
    for (size_t i = 0; i < count && left > 0; i++) {
        size_t part = parts[i].iov_len < left ? parts[i].iov_len : left;
        take_output(peer, parts[i].iov_base, part);
        left -= part;
    }
    if (room > 0) {
        answer_closed(peer);
    }
    return room;
}

ssize_t sys_sendv(int fd, const struct iovec *parts, size_t count)
{
    int error = enter(FAKE_SENDV);
    struct fake_peer *peer = error != 0 ? NULL : find_peer(fd, &error);
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        len += parts[i].iov_len;
    }
    return leave(FAKE_SENDV, fd, (int64_t)len, peer == NULL ? error : send_parts(peer, parts, count, len));
}

int sys_connect_datagram(const struct sockaddr *address, socklen_t address_len)
{
    int rv = enter(FAKE_CONNECT_DATAGRAM);
    rv = rv == 0 && address_len > sizeof fake.target ? -EINVAL : rv;
    if (rv == 0) {
        rv = new_fd(EVENTFD); /* of any kind: sys_send() knows it by its number */
    }
    if (rv >= 0) {
        memcpy(&fake.target, address, address_len);
        fake.target_len = address_len;
        fake.datagram_fd = rv;
    }
    return leave_int(FAKE_CONNECT_DATAGRAM, -1, 0, rv);
}

const char *fake_sys_datagram(struct sockaddr_storage *address, socklen_t *address_len)
{
    *address = fake.target;
    *address_len = fake.target_len;
    return fake.datagram[0] == '\0' ? NULL : fake.datagram;
}

static ssize_t send_file(struct fake_peer *peer, int file_fd, off_t *offset, size_t len)
{
    char chunk[SENDFILE_CHUNK];
    ssize_t sent = 0;
    while ((size_t)sent < len) {
        size_t wanted = len - (size_t)sent < sizeof chunk ? len - (size_t)sent : sizeof chunk;
        ssize_t got = pread(file_fd, chunk, wanted, *offset);
        if (got <= 0) { /* the file comes first: at its end the result is 0 though the socket may be full */
            return sent > 0 ? sent : got < 0 ? -errno : 0;
        }
        ssize_t room = send_bytes(peer, chunk, (size_t)got);
        if (room < 0) {
            return sent > 0 ? sent : room;
        }
        sent += room;
        *offset += room;
    }
    return sent;
}

ssize_t sys_sendfile(int fd, int file_fd, off_t *offset, size_t len)
{
    int error = enter(FAKE_SENDFILE);
    struct fake_peer *peer = error != 0 ? NULL : find_peer(fd, &error);
    return leave(FAKE_SENDFILE, fd, (int64_t)len, peer == NULL ? error : send_file(peer, file_fd, offset, len));
}

/* Files: the real kernel's, but counted and entered in the table of fds. */

/* Enter an fd that the real kernel opened, or pass its -errno on. */
static int adopt(int fd)
{
    return fd < 0 ? fd : name_file(new_file(REAL_FILE), fd);
}

int sys_base(int base_fd)
{
    return base_fd > 0 ? base_fd : AT_FDCWD;
}

int sys_open(int dir_fd, const char *path, int flags)
{
    int rv = enter(FAKE_OPEN);
    if (rv == 0) {
        rv = is_fd_table_full() ? -EMFILE : adopt(system_verdict(openat(dir_fd, path, flags | O_CLOEXEC)));
    }
    return leave_int(FAKE_OPEN, rv < 0 ? -1 : rv, flags, rv);
}

static int open_beneath_for_real(int dir_fd, const char *path, int flags)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    return system_verdict((int)syscall(SYS_openat2, dir_fd, path, &how, sizeof how));
}

int sys_open_beneath(int dir_fd, const char *path, int flags)
{
    int rv = enter(FAKE_OPEN_BENEATH);
    if (rv == 0) {
        rv = is_fd_table_full() ? -EMFILE : adopt(open_beneath_for_real(dir_fd, path, flags));
    }
    return leave_int(FAKE_OPEN_BENEATH, rv < 0 ? -1 : rv, flags, rv);
}

ssize_t sys_read_link(int dir_fd, const char *path, char *buf, size_t len)
{
    ssize_t rv = enter(FAKE_READ_LINK);
    if (rv == 0) {
        rv = readlinkat(dir_fd, path, buf, len);
        rv = rv < 0 ? -errno : rv;
    }
    return leave(FAKE_READ_LINK, dir_fd, (int64_t)len, rv);
}

int sys_stat(int fd, struct stat *st)
{
    int error = enter(FAKE_STAT);
    return leave_int(FAKE_STAT, fd, 0, error != 0 ? error : system_verdict(fstat(fd, st)));
}

int sys_stat_at(int dir_fd, const char *name, struct stat *st)
{
    int error = enter(FAKE_STAT_AT);
    return leave_int(FAKE_STAT_AT, dir_fd, 0,
                     error != 0 ? error : system_verdict(fstatat(dir_fd, name, st, AT_SYMLINK_NOFOLLOW)));
}

ssize_t sys_read_dir(int fd, void *buf, size_t len)
{
    ssize_t rv = enter(FAKE_READ_DIR);
    if (rv == 0) {
        rv = getdents64(fd, buf, len);
        rv = rv < 0 ? -errno : rv;
    }
    return leave(FAKE_READ_DIR, fd, (int64_t)len, rv);
}

int sys_try_code(void)
{
    int error = enter(FAKE_TRY_CODE);
    return leave_int(FAKE_TRY_CODE, -1, 0, error);
}

int sys_may_read(int dir_fd, const char *path)
{
    int error = enter(FAKE_MAY_READ);
    return leave_int(FAKE_MAY_READ, -1, 0,
                     error != 0 ? error : system_verdict(faccessat(dir_fd, path, R_OK, AT_EACCESS)));
}

int sys_unlink(int dir_fd, const char *path)
{
    int error = enter(FAKE_UNLINK);
    return leave_int(FAKE_UNLINK, -1, 0, error != 0 ? error : system_verdict(unlinkat(dir_fd, path, 0)));
}

int sys_set_mode(int fd, mode_t mode)
{
    int error = enter(FAKE_SET_MODE);
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return leave_int(FAKE_SET_MODE, fd, (int64_t)mode, error != 0 ? error : system_verdict(chmod(path, mode)));
}

/* Nobody else has a lock here, unless the test wishes so. */
int sys_lock(int fd)
{
    return leave_int(FAKE_LOCK, fd, 0, enter(FAKE_LOCK));
}

ssize_t sys_read(int fd, void *buf, size_t len)
{
    ssize_t rv = enter(FAKE_READ);
    if (rv == 0) {
        rv = read(fd, buf, len);
        rv = rv < 0 ? -errno : rv;
    }
    return leave(FAKE_READ, fd, (int64_t)len, rv);
}

ssize_t sys_pread(int fd, void *buf, size_t len, off_t offset)
{
    ssize_t rv = enter(FAKE_PREAD);
    if (rv == 0) {
        rv = pread(fd, buf, len, offset);
        rv = rv < 0 ? -errno : rv;
    }
    return leave(FAKE_PREAD, fd, (int64_t)len, rv);
}

static int duplicate(int fd)
{
    if (is_fd_table_full()) {
        return -EMFILE;
    }
    int copy = system_verdict(fcntl(fd, F_DUPFD_CLOEXEC, 3));
    if (copy < 0) {
        return copy;
    }
    struct file *file = find_file(fd);
    return name_file(file == NULL ? new_file(REAL_FILE) : file, copy);
}

int sys_duplicate(int fd)
{
    int error = enter(FAKE_DUPLICATE);
    return leave_int(FAKE_DUPLICATE, fd, 0, error != 0 ? error : duplicate(fd));
}

/* The last fd of a file was closed. */
static void free_file(struct file *file)
{
    while (file->watchers != NULL) {
        free_watcher(&file->watchers);
    }
    for (struct file *other = fake.files; other != NULL && file->kind == EPOLL; other = other->next) {
        for (struct watcher **link = &other->watchers; *link != NULL;) {
            if ((*link)->epoll == file) {
                free_watcher(link);
            } else {
                link = &(*link)->next;
            }
        }
    }
    if (file->peer != NULL) {
        close_peer(file->peer);
    }
    for (struct fake_peer *peer = file->queue_first; peer != NULL; peer = peer->next_queued) {
        close_peer(peer);
        peer->saw_reset = true;
    }
    *(file->prev == NULL ? &fake.files : &file->prev->next) = file->next;
    if (file->next != NULL) {
        file->next->prev = file->prev;
    }
    free(file);
}

static void close_fd(int fd)
{
    struct file *file = fake.fds[fd];
    fake.fds[fd] = NULL;
    fake.open_count--;
    if (fake.held[fd]) {
        close(fd);
    }
    if (--file->refs == 0) {
        free_file(file);
    }
}

int sys_close(int fd)
{
    int error = enter(FAKE_CLOSE);
    if (find_file(fd) != NULL) {
        close_fd(fd);
    } else if (close(fd) < 0) {
        fprintf(stderr, "fake_sys: fd %d is closed, but it is not open\n", fd);
        abort(); /* with threads or fd reuse this closes somebody else's fd */
    }
    return leave_int(FAKE_CLOSE, fd, 0, error);
}

void fake_sys_reset(void)
{
    for (int fd = 0; fd < fake.fd_count; fd++) {
        if (fake.fds[fd] != NULL) {
            close_fd(fd);
        }
    }
    while (fake.servers != NULL) {
        struct fake_server *next = fake.servers->next;
        free(fake.servers);
        fake.servers = next;
    }
    while (fake.peers != NULL) {
        struct fake_peer *next = fake.peers->next;
        free_peer(fake.peers);
        fake.peers = next;
    }
    while (fake.wishes != NULL) {
        struct wish *next = fake.wishes->next;
        free(fake.wishes);
        fake.wishes = next;
    }
    free(fake.fds);
    free(fake.held);
    free(fake.trace);
    memset(&fake, 0, sizeof fake);
}

/* Giving up rights is recorded, and changes nothing. */

pid_t sys_process_id(void)
{
    enter(FAKE_PROCESS_ID);
    return (pid_t)leave(FAKE_PROCESS_ID, -1, 0, getpid());
}

int sys_no_new_privs(void)
{
    int error = enter(FAKE_NO_NEW_PRIVS);
    return leave_int(FAKE_NO_NEW_PRIVS, -1, 0, error);
}

int sys_landlock_version(void)
{
    int error = enter(FAKE_LANDLOCK_VERSION);
    return leave_int(FAKE_LANDLOCK_VERSION, -1, 0, error != 0 ? error : FAKE_LANDLOCK);
}

int sys_landlock_create(uint64_t file_rights, uint64_t net_rights, uint64_t scopes)
{
    int error = enter(FAKE_LANDLOCK_CREATE);
    int rv = error != 0 ? error : new_fd(EVENTFD); /* of any kind: nobody reads it */
    return leave_int(FAKE_LANDLOCK_CREATE, -1, (int64_t)(file_rights | net_rights << 32 | scopes << 40), rv);
}

int sys_landlock_allow(int rules_fd, int fd, uint64_t file_rights)
{
    (void)rules_fd;
    int error = enter(FAKE_LANDLOCK_ALLOW);
    return leave_int(FAKE_LANDLOCK_ALLOW, fd, (int64_t)file_rights, error);
}

int sys_landlock_allow_port(int rules_fd, uint16_t port)
{
    int error = enter(FAKE_LANDLOCK_PORT);
    return leave_int(FAKE_LANDLOCK_PORT, rules_fd, port, error);
}

int sys_landlock_enter(int rules_fd)
{
    int error = enter(FAKE_LANDLOCK_ENTER);
    return leave_int(FAKE_LANDLOCK_ENTER, rules_fd, 0, error);
}

int sys_restrict_calls(const struct sys_call_rule *rules, size_t count)
{
    int error = enter(FAKE_RESTRICT_CALLS);
    (void)rules;
    return leave_int(FAKE_RESTRICT_CALLS, -1, (int64_t)count, error);
}

int sys_find_user(const char *name, uid_t *uid, gid_t *gid)
{
    int error = enter(FAKE_FIND_USER);
    *uid = strcmp(name, "root") == 0 ? 0 : FAKE_USER;
    *gid = FAKE_GROUP;
    return leave_int(FAKE_FIND_USER, -1, 0, error);
}

int sys_set_user(const char *name, uid_t uid, gid_t gid)
{
    int error = enter(FAKE_SET_USER);
    (void)name;
    return leave_int(FAKE_SET_USER, -1, (int64_t)uid | (int64_t)gid << 32, error);
}

bool sys_is_user_for_good(uid_t uid, gid_t gid)
{
    int error = enter(FAKE_IS_USER_FOR_GOOD);
    return leave_int(FAKE_IS_USER_FOR_GOOD, -1, (int64_t)uid | (int64_t)gid << 32, error) == 0;
}
