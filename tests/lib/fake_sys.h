#ifndef EVSERVE_TESTS_FAKE_SYS_H
#define EVSERVE_TESTS_FAKE_SYS_H

/* All of core/sys.h over a small simulated kernel, for tests: clock, epoll, eventfd, timerfd and stream sockets are
 * simulated, so that time, the moment of arrival, short reads and writes and failures are the test's to choose; files
 * are the real kernel's. One thread only. Every test ends with fake_sys_reset().
 *
 * Fds. The number of a simulated fd is held by a real one, so it differs from every other fd of the process, is the
 * lowest that is free, and is used again after sys_close(). Duplicates share one description, and epoll forgets a
 * description when its last fd is closed, as epoll(7) says.
 *
 * Time. It stands still, but for fake_sys_advance_ns() and for sys_epoll_wait() with nothing ready, which moves it to
 * the end of the wait or to the first timerfd that expires within. A wait that would last for ever fails with -EDEADLK.
 *
 * Sockets behave like TCP, as tcp(7) and epoll(7) have it. The test holds the other end, a struct fake_peer. What a
 * peer sends arrives in the segments in which it was sent: one sys_recv() returns bytes of one segment, and the next
 * segment arrives in the next sys_epoll_wait() after the one before was read to its end (until then recv says -EAGAIN).
 * The first one arrives at once, and the end of the stream together with the last.
 *
 * Random bytes are 0, 1, 2 and so on, each time from the start.
 *
 * Files (sys_open() and so on) are the real kernel's. sys_bind() of a unix path makes a socket file to which no
 * socket belongs. Closing an fd that is not open aborts the test: in a server it would close somebody else's. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* Every function of core/sys.h. */
/* clang-format off */
#define FAKE_OPS(X)                                                                                                    \
    X(NOW_NS) X(COARSE_NS) X(WALL_TIME_S) X(THREAD_CPU_NS) X(RANDOM) X(SLEEP_MS) X(USER_ID) X(TRY_CODE)                \
    X(EPOLL_CREATE) X(EPOLL_ADD) X(EPOLL_MODIFY) X(EPOLL_DELETE) X(EPOLL_WAIT) X(EPOLL_WAIT_MS) X(EVENTFD_CREATE)      \
    X(EVENTFD_WAKE) X(TIMERFD_CREATE) X(TIMERFD_SET) X(SOCKET) X(BIND) X(CONNECT) X(LISTEN) X(ACCEPT) X(SOCKET_NAME)   \
    X(SOCKET_FILE) X(SET_OPTION) X(GET_OPTION) X(UNSENT_BYTES) X(SET_NONBLOCKING) X(UNREAD_BYTES) X(FD_LIMIT)          \
    X(SHUTDOWN_WRITE) X(SHUTDOWN) X(RECV) X(SEND) X(SENDV) X(DATAGRAM_SOCKET) X(CONNECT_DATAGRAM) X(SENDFILE) X(OPEN) X(OPEN_BENEATH)     \
    X(READ_LINK) X(STAT) X(STAT_AT) X(READ_DIR) X(MAY_READ) X(UNLINK) X(SET_MODE) X(LOCK) X(READ) X(PREAD)             \
    X(DUPLICATE) X(CLOSE) X(PROCESS_ID) X(NO_NEW_PRIVS) X(LANDLOCK_VERSION) X(LANDLOCK_CREATE) X(LANDLOCK_ALLOW) X(LANDLOCK_PORT)       \
    X(LANDLOCK_ENTER) X(RESTRICT_CALLS) X(FIND_USER) X(SET_USER) X(IS_USER_FOR_GOOD)
/* clang-format on */

#define FAKE_OP_NAME(name) FAKE_##name,
enum fake_op { FAKE_OPS(FAKE_OP_NAME) FAKE_OP_COUNT };
#undef FAKE_OP_NAME

/* Close and free everything, take back all wishes, and set the clocks to their start: monotonic 1,000 s, wall time
 * Sun, 06 Nov 1994 08:49:37 GMT. Peers are gone after it. */
void fake_sys_reset(void);

/* Fds opened through the door and not closed. print_open_fds lists them on standard error. */
int fake_sys_open_fds(void);
void fake_sys_print_open_fds(void);

/* Limit the fds open at once, as RLIMIT_NOFILE does: one more is -EMFILE (accept leaves the connection queued). -1: no
 * limit. */
void fake_sys_set_fd_limit(int limit);

/* The version of landlock(7) that the kernel is said to have; a wish for FAKE_LANDLOCK_VERSION gives another one, since
 * what a failed call returns may be positive, too. */
enum { FAKE_LANDLOCK = 7 };

/* Who every user is, but root. */
enum { FAKE_USER = 33, FAKE_GROUP = 34 };

/* Clocks. */
void fake_sys_set_now_ns(int64_t now_ns); /* only forward */
void fake_sys_advance_ns(int64_t ns);
void fake_sys_advance_ms(int64_t ms);
void fake_sys_set_wall_time_s(int64_t now_s); /* from here on it moves with the other clock */
void fake_sys_spend_ns(int64_t ns); /* the thread works for so long: its processor time moves with the clocks */

/* Each call of op takes so long, until the reset. */
void fake_sys_set_cost_ns(enum fake_op op, int64_t ns);

/* A wait that lasts until its timeout ends so much later. */
void fake_sys_set_wait_overshoot_ns(int64_t ns);

/* Called when sys_epoll_wait() finds nothing ready and may wait. Returns whether something was changed: then the wait
 * looks again, otherwise time passes. NULL takes it back. */
typedef bool (*fake_idle_fn)(void *arg);
void fake_sys_on_idle(fake_idle_fn fn, void *arg);

/* Whether poll(2) would find fd readable: also for an epoll fd. */
bool fake_sys_is_readable(int fd);

/* What a timerfd is set to, 0 when it is disarmed or has expired. */
int64_t fake_sys_timerfd_deadline_ns(int fd);

/* Failures. error is an -errno. */

/* Make the n-th system call from now (1 is the next one) fail. All calls count but sys_close(), sys_process_id() and
 * the clocks, which cannot fail. 0 takes the wish back. */
void fake_sys_fail(uint64_t n, int error);

/* Whether the last fake_sys_fail() has made a call fail. Ends the loop over "the n-th system call". */
bool fake_sys_failed(void);

/* Let skip calls of op pass, then make the next times calls fail; FAKE_FOREVER for all. Several wishes for one op are
 * served one after the other. A failed call has no effect, but that sys_close() closes whatever it says.
 * fake_sys_fail_op(FAKE_OPEN_BENEATH, 0, FAKE_FOREVER, -ENOSYS) is a kernel without openat2(2). */
enum { FAKE_FOREVER = -1 };
void fake_sys_fail_op(enum fake_op op, int skip, int times, int error);

/* Bytes arrive in portions: no sys_recv() gives more than so many, the rest comes right after it. 0: no limit. */
void fake_sys_set_recv_max(size_t max);

/* The record. */
struct fake_call {
    enum fake_op op;
    int fd;      /* the fd it was about (not the epoll fd), -1 where there is none */
    int64_t arg; /* events of epoll_add and _modify, max of epoll_wait, deadline, option, length; for send, len */
    bool more;   /* of send */
    int64_t result;
};
uint64_t fake_sys_count(enum fake_op op);              /* calls of op since reset or clear */
uint64_t fake_sys_total(void);                         /* calls that fake_sys_fail() counts */
const struct fake_call *fake_sys_trace(size_t *count); /* valid until the next system call */
void fake_sys_clear_trace(void);                       /* forget calls and counts */
int fake_sys_listener_fd(void);                        /* of the last sys_listen() in the trace, or -1 */
const char *fake_op_name(enum fake_op op);

/* epoll_ctl(2) calls since reset or clear. */
static inline uint64_t count_epoll_changes(void)
{
    return fake_sys_count(FAKE_EPOLL_ADD) + fake_sys_count(FAKE_EPOLL_MODIFY) + fake_sys_count(FAKE_EPOLL_DELETE);
}

/* The other end of a connection; lives until fake_sys_reset(). */
struct fake_peer;

/* Connect to a listening fd: the connection waits for sys_accept(). From 127.0.0.1 and a port of its own. */
struct fake_peer *fake_peer_connect(int listener_fd);
/* The peer's address as accept will tell it, when not yet accepted. */
void fake_peer_set_address(struct fake_peer *peer, const struct sockaddr *address, socklen_t len);

/* A connected socket that nobody accepted, like one half of a socketpair. Its fd is the lowest that is free, or
 * exactly fd when that is >= 0: a number so high that no real fd has it. */
struct fake_peer *fake_peer_create(int fd);

/* A server elsewhere, to which sys_connect() connects; lives until fake_sys_reset(). The address has a port, or is that
 * of a unix socket. */
struct fake_server;
struct fake_server *fake_server_create(const struct sockaddr *address, socklen_t len);

/* How it treats connections that begin from now on, and those that still wait for it. */
enum fake_server_way {
    FAKE_SERVER_ACCEPTS, /* in the next sys_epoll_wait(); on a unix socket at once */
    FAKE_SERVER_HANGS,   /* not now */
    FAKE_SERVER_FAILS,   /* with error, in the next sys_epoll_wait(); on a unix socket, sys_connect() fails */
};
void fake_server_set(struct fake_server *server, enum fake_server_way way, int error);

/* The far end of the oldest connection that it has accepted and that was not asked for yet, or NULL. */
struct fake_peer *fake_server_next(struct fake_server *server);

/* The other end of a datagram socket, which any address of sys_connect() gives it; NULL before that. Each of its
 * segments is a datagram. */
struct fake_peer *fake_peer_of(int fd);

/* The fd of the near end, -1 when not accepted yet, or closed. */
int fake_peer_fd(const struct fake_peer *peer);

/* Send: the whole as one segment; in segments of size bytes (1: byte by byte); in two, the first of position bytes. */
void fake_peer_send(struct fake_peer *peer, const void *data, size_t len);
void fake_peer_send_text(struct fake_peer *peer, const char *text);
void fake_peer_send_in_pieces(struct fake_peer *peer, const void *data, size_t len, size_t size);
void fake_peer_send_split(struct fake_peer *peer, const void *data, size_t len, size_t position);

/* Bytes sent that the near end has not read. */
size_t fake_peer_unread(const struct fake_peer *peer);

/* End the stream after what was sent (FIN): the peer still reads. */
void fake_peer_shutdown(struct fake_peer *peer);
/* Close after what was sent: like shutdown, and bytes that come later are answered by a reset. */
void fake_peer_close(struct fake_peer *peer);
/* Close like the other end of a socketpair: after what was sent both directions are shut, and sending is -EPIPE. */
void fake_peer_hang_up(struct fake_peer *peer);
/* Reset (RST) at once: SO_ERROR is error (0 means -ECONNRESET), segments that have not arrived are lost, the one that
 * has is still read. */
void fake_peer_reset(struct fake_peer *peer, int error);

/* The near end can send so many bytes more before -EAGAIN; add_room: more on top. No limit at the start. */
enum { FAKE_NO_LIMIT = -1 };
void fake_peer_set_room(struct fake_peer *peer, int64_t bytes);
void fake_peer_add_room(struct fake_peer *peer, int64_t bytes);
/* A slow reader: room for so many bytes, made anew in each sys_epoll_wait(). */
void fake_peer_set_window(struct fake_peer *peer, int64_t bytes);

/* What sys_unsent_bytes() says: bytes that the near end has sent, and that this end has not taken. 0 at the start. */
void fake_peer_set_unsent(struct fake_peer *peer, int bytes);

/* All bytes received, NUL-terminated; valid until more come. forget_output drops them. */
const char *fake_peer_output(const struct fake_peer *peer, size_t *len);
void fake_peer_forget_output(struct fake_peer *peer);

bool fake_peer_saw_end(const struct fake_peer *peer);   /* the near end was shut down for writing, or closed */
bool fake_peer_saw_close(const struct fake_peer *peer); /* its last fd was closed */
bool fake_peer_saw_reset(const struct fake_peer *peer); /* it was closed with bytes unread, which resets */

/* The bytes of the last datagram, NUL-terminated, and where the socket for it was connected to; NULL before the
 * first. */
const char *fake_sys_datagram(struct sockaddr_storage *address, socklen_t *address_len);

/* The value that sys_set_option() gave an option of a simulated socket, or of the listener that accepted it; -1 when it
 * was never set. */
int fake_sys_option(int fd, int level, int option);

#endif
