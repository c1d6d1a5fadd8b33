/* Happy path: the first attempt begins; a timer or its failure begins the next one; one connects, and all is over.
 *
 * Failure modes: an address that cannot be reached at once, as those of IPv6 on a machine without it, makes room for
 * the next one at once. When the last one has failed, the error is that of the first attempt, unless that says no more
 * than that there is no way to such addresses, and another one says more. */

#include "core/dial.h"

#include "core/mem.h"
#include "core/reactor.h"
#include "core/sys.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

struct dial_attempt {
    struct dial *dial;
    struct name_address address;
    int fd; /* -1: not begun, or over */
};

struct dial {
    struct reactor *reactor;
    void (*on_done)(void *arg, int fd, const struct name_address *address);
    void *arg;
    bool (*free_fd)(void *arg); /* of the plan */
    void *free_fd_arg;
    uint64_t timer;           /* that begins the next attempt; 0: none is set */
    struct reactor_task task; /* reports what dial_begin() has found out */
    int error;                /* what is reported when all have failed */
    unsigned next;            /* attempt that has not begun */
    unsigned live;            /* attempts under way */
    unsigned winner;          /* of has_won */
    bool has_won;
    uint16_t port;
    unsigned count;
    struct dial_attempt attempts[]; /* count of them, in their order */
};

socklen_t dial_fill_address(struct sockaddr_storage *filled, const struct name_address *address, uint16_t port)
{
    memset(filled, 0, sizeof *filled);
    if (address->family == AF_INET6) {
        struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
        ipv6.sin6_scope_id = address->scope;
        memcpy(&ipv6.sin6_addr, address->bytes, sizeof ipv6.sin6_addr);
        memcpy(filled, &ipv6, sizeof ipv6);
        return sizeof ipv6;
    }
    struct sockaddr_in ipv4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    memcpy(&ipv4.sin_addr, address->bytes, sizeof ipv4.sin_addr);
    memcpy(filled, &ipv4, sizeof ipv4);
    return sizeof ipv4;
}

/* Whether an error says only that this machine has no way to addresses of this kind. */
static bool has_no_way(int error)
{
    return error == -ENETUNREACH || error == -EADDRNOTAVAIL || error == -EAFNOSUPPORT || error == -EHOSTUNREACH;
}

static void note_dial_failure(struct dial *dial, int error)
{
    if (dial->error == 0 || (has_no_way(dial->error) && !has_no_way(error))) {
        dial->error = error;
    }
}

static void close_attempt(struct dial_attempt *attempt)
{
    reactor_close(attempt->dial->reactor, attempt->fd);
    attempt->fd = -1;
    attempt->dial->live--;
}

static void stop_dial_timer(struct dial *dial)
{
    if (dial->timer != 0) {
        (void)reactor_cancel_timer(dial->reactor, dial->timer);
        dial->timer = 0;
    }
}

/* One has connected: the others are over. */
static void win(struct dial_attempt *attempt)
{
    struct dial *dial = attempt->dial;
    stop_dial_timer(dial);
    for (unsigned i = 0; i < dial->next; i++) {
        if (dial->attempts[i].fd >= 0 && &dial->attempts[i] != attempt) {
            close_attempt(&dial->attempts[i]);
        }
    }
    dial->has_won = true;
    dial->winner = (unsigned)(attempt - dial->attempts);
}

/* Report how it ended. dial may be gone when this returns. */
static void report_dial(struct dial *dial)
{
    if (!dial->has_won) {
        dial->on_done(dial->arg, dial->error, NULL);
        return;
    }
    struct dial_attempt *attempt = &dial->attempts[dial->winner];
    const struct name_address address = attempt->address;
    int fd = attempt->fd;
    attempt->fd = -1;
    dial->on_done(dial->arg, fd, &address);
}

static void on_dial_task(struct reactor *reactor, void *arg)
{
    (void)reactor;
    report_dial(REACTOR_OWNER(arg, struct dial, task));
}

static void on_attempt(struct reactor *reactor, int fd, unsigned events, void *arg);

/* A socket, for which something else is closed if fds are short. Returns its fd or -errno. */
static int open_dial_socket(const struct dial *dial, int family)
{
    int fd = sys_socket(family);
    bool is_short = fd == -EMFILE || fd == -ENFILE;
    return is_short && dial->free_fd != NULL && dial->free_fd(dial->free_fd_arg) ? sys_socket(family) : fd;
}

/* Begin one. Returns 0, 1 if it has connected already, or -errno. */
static int begin_attempt(struct dial_attempt *attempt)
{
    struct dial *dial = attempt->dial;
    struct sockaddr_storage address;
    socklen_t len = dial_fill_address(&address, &attempt->address, dial->port);
    int fd = open_dial_socket(dial, attempt->address.family);
    if (fd < 0) {
        return fd;
    }
    int connected = sys_connect(fd, (const struct sockaddr *)&address, len);
    int rv = connected < 0 && connected != -EINPROGRESS ? connected : 0;
    rv = rv < 0 ? rv : reactor_register(dial->reactor, fd, REACTOR_WRITABLE, on_attempt, attempt);
    if (rv < 0) {
        sys_close(fd);
        return rv;
    }
    attempt->fd = fd;
    dial->live++;
    return connected == 0;
}

static void on_dial_timer(struct reactor *reactor, uint64_t timer, void *arg);

/* Begin the next attempt that does not fail at once. Returns whether all is over. */
static bool dial_next(struct dial *dial)
{
    stop_dial_timer(dial);
    while (dial->next < dial->count) {
        struct dial_attempt *attempt = &dial->attempts[dial->next++];
        int rv = begin_attempt(attempt);
        if (rv > 0) {
            win(attempt);
            return true;
        }
        if (rv == 0) {
            if (dial->next < dial->count) { /* without memory for it, the next one waits until this one has failed */
                dial->timer = reactor_set_timeout(dial->reactor, DIAL_DELAY_MS, on_dial_timer, dial);
            }
            return false;
        }
        note_dial_failure(dial, rv);
    }
    return dial->live == 0;
}

static void on_dial_timer(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)reactor, (void)timer;
    struct dial *dial = arg;
    dial->timer = 0;
    if (dial_next(dial)) {
        report_dial(dial);
    }
}

static void on_attempt(struct reactor *reactor, int fd, unsigned events, void *arg)
{
    struct dial_attempt *attempt = arg;
    struct dial *dial = attempt->dial;
    int error = (events & (unsigned)REACTOR_ERROR) != 0 ? reactor_error(reactor) : 0;
    if (error == 0) {
        int pending = sys_get_option(fd, SOL_SOCKET, SO_ERROR);
        error = pending > 0 ? -pending : pending;
    }
    if (error == 0 && (events & (unsigned)(REACTOR_ERROR | REACTOR_HANGUP)) != 0) {
        error = -ECONNRESET;
    }
    if (error < 0) {
        note_dial_failure(dial, error);
        close_attempt(attempt);
        if (dial_next(dial)) {
            report_dial(dial);
        }
        return;
    }
    win(attempt);
    report_dial(dial);
}

/* Put addresses in the order in which they are tried: families take turns, beginning with that of the first one (RFC
 * 8305, section 4). */
static void order_attempts(struct dial *dial, const struct name_address *addresses, unsigned count)
{
    unsigned at[2] = {0, 0};
    uint16_t first = addresses[0].family;
    for (unsigned n = 0, turn = 0; n < count; turn ^= 1) {
        unsigned i = at[turn];
        while (i < count && (addresses[i].family == first) != (turn == 0)) {
            i++;
        }
        at[turn] = i + 1;
        if (i < count) {
            dial->attempts[n++] = (struct dial_attempt){.dial = dial, .address = addresses[i], .fd = -1};
        }
    }
}

int dial_begin(struct dial **dial, struct reactor *reactor, const struct dial_plan *plan)
{
    assert(plan->count >= 1 && plan->count <= NAME_ADDRESSES_MAX);
    struct dial *made = mem_zalloc(sizeof *made + plan->count * sizeof made->attempts[0]);
    if (made == NULL) {
        return -ENOMEM;
    }
    made->reactor = reactor;
    made->on_done = plan->on_done;
    made->arg = plan->arg;
    made->free_fd = plan->free_fd;
    made->free_fd_arg = plan->free_fd_arg;
    made->port = plan->port;
    made->count = plan->count;
    made->task.fn = on_dial_task;
    order_attempts(made, plan->addresses, plan->count);
    if (dial_next(made)) {
        reactor_schedule(reactor, &made->task);
    }
    *dial = made;
    return 0;
}

void dial_abandon(struct dial *dial)
{
    for (unsigned i = 0; i < dial->next; i++) {
        if (dial->attempts[i].fd >= 0) {
            sys_close(dial->attempts[i].fd);
            dial->attempts[i].fd = -1;
        }
    }
}

void dial_end(struct dial *dial)
{
    if (dial == NULL) {
        return;
    }
    stop_dial_timer(dial);
    reactor_unschedule(dial->reactor, &dial->task);
    for (unsigned i = 0; i < dial->next; i++) {
        if (dial->attempts[i].fd >= 0) {
            close_attempt(&dial->attempts[i]);
        }
    }
    mem_free(dial);
}
