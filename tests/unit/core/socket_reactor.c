/* The reactor on the real kernel: the promises whose truth depends on what epoll, sockets, signals and threads really
 * do. Nothing here depends on how fast the machine is: only orders and lower bounds of time are checked. */

#include "core/reactor.h"

#include "tests/lib/fake_mem.h"
#include "tests/lib/open_fds.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { LONG_MS = 60000 }; /* a wait that is expected to be ended by something else */

struct scene {
    struct reactor *reactor;
    int fds_before; /* open before the test */
    char book[256]; /* what happened: words, each followed by a space */
};

/* Somebody who watches near_fd; the test speaks through far_fd. */
struct actor {
    struct scene *scene;
    const char *name;
    int near_fd, far_fd;
    struct actor *other;
    void (*act)(struct actor *actor);
    unsigned events; /* of the last call */
    int error;       /* reactor_error() then */
    int calls;
};

static int set_up(void **state)
{
    static struct scene scene;
    scene = (struct scene){.fds_before = open_fds()};
    *state = &scene;
    return reactor_create(&scene.reactor, NULL);
}

static int tear_down(void **state)
{
    struct scene *scene = *state;
    reactor_destroy(scene->reactor);
    if (open_fds() != scene->fds_before) {
        print_error("%d fds are open, %d were\n", open_fds(), scene->fds_before);
        return -1;
    }
    return fake_mem_live() == 0 ? 0 : -1;
}

static void note(struct scene *scene, const char *word)
{
    size_t len = strlen(scene->book);
    assert_true(len + strlen(word) + 2 < sizeof scene->book);
    snprintf(scene->book + len, sizeof scene->book - len, "%s ", word);
}

#define assert_book(scene, text)                                                                                       \
    do {                                                                                                               \
        assert_string_equal((scene)->book, text);                                                                      \
        (scene)->book[0] = '\0';                                                                                       \
    } while (0)

static void on_event(struct reactor *reactor, int fd, unsigned events, void *arg)
{
    struct actor *actor = arg;
    char word[32];
    assert_int_equal(fd, actor->near_fd);
    snprintf(word, sizeof word, "%s:%s%s%s%s%s%s", actor->name, events & REACTOR_READABLE ? "R" : "",
             events & REACTOR_WRITABLE ? "W" : "", events & REACTOR_ERROR ? "E" : "",
             events & REACTOR_HANGUP ? "H" : "", events & REACTOR_MORE ? "M" : "", events & REACTOR_END ? "F" : "");
    note(actor->scene, word);
    actor->events = events;
    actor->error = reactor_error(reactor);
    actor->calls++;
    if (actor->act != NULL) {
        actor->act(actor);
    }
}

static void on_task(struct reactor *reactor, void *arg)
{
    (void)reactor;
    struct actor *actor = arg;
    note(actor->scene, actor->name);
    actor->calls++;
    if (actor->act != NULL) {
        actor->act(actor);
    }
}

static void on_timer(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)timer;
    on_task(reactor, arg);
}

static void watch(struct actor *actor, unsigned flags)
{
    assert_int_equal(reactor_register(actor->scene->reactor, actor->near_fd, flags, on_event, actor), 0);
}

static struct actor join_pair(struct scene *scene, const char *name)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    return (struct actor){.scene = scene, .name = name, .near_fd = fds[0], .far_fd = fds[1]};
}

static int open_listener(struct sockaddr_in *address)
{
    socklen_t len = sizeof *address;
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)address, len), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)address, &len), 0);
    return fd;
}

static int connect_to(const struct sockaddr_in *address)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)address, sizeof *address), 0);
    return fd;
}

static struct actor join_tcp(struct scene *scene, const char *name)
{
    struct sockaddr_in address;
    int listener_fd = open_listener(&address);
    struct actor actor = {.scene = scene, .name = name, .far_fd = connect_to(&address)};
    actor.near_fd = accept4(listener_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(actor.near_fd >= 0);
    close(listener_fd);
    return actor;
}

static void part(struct actor *actor)
{
    reactor_deregister(actor->scene->reactor, actor->near_fd);
    close(actor->near_fd);
    if (actor->far_fd >= 0) {
        close(actor->far_fd);
    }
}

static void speak(const struct actor *actor, const char *text)
{
    assert_int_equal(send(actor->far_fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Wait until the kernel has brought what the far end did: readiness for events. */
static void await(int fd, short events)
{
    struct pollfd pollfd = {.fd = fd, .events = events};
    assert_int_equal(poll(&pollfd, 1, LONG_MS), 1);
}

static bool is_readable(int fd)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};
    return poll(&pollfd, 1, 0) == 1;
}

static void drain(struct actor *actor)
{
    char bytes[64];
    while (read(actor->near_fd, bytes, sizeof bytes) > 0) {
    }
}

static int64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Stale events. */

static void deregister_other(struct actor *actor)
{
    assert_int_equal(reactor_deregister(actor->scene->reactor, actor->other->near_fd), 0);
    actor->act = NULL;
    actor->other->act = NULL;
}

static void callback_deregisters_the_other_of_two_ready_fds_which_is_never_called(void **state)
{
    struct scene *scene = *state;
    struct actor a = join_pair(scene, "a");
    struct actor b = join_pair(scene, "b");
    a.act = b.act = deregister_other;
    a.other = &b;
    b.other = &a;
    watch(&a, REACTOR_READABLE);
    watch(&b, REACTOR_READABLE);
    speak(&a, "x");
    speak(&b, "x");
    assert_int_equal(reactor_run_once(scene->reactor, LONG_MS), 1);
    assert_int_equal(a.calls + b.calls, 1);
    assert_int_equal(reactor_counts(scene->reactor).stale_events, 1);
    assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
    assert_true(a.calls + b.calls == 2 && (a.calls == 2 || b.calls == 2));
    part(&a);
    part(&b);
}

static int exchange_listener_fd;
static struct actor *exchange_heir;

/* Close the other's fd, accept a connection, which gets its number, and watch that. */
static void exchange_other(struct actor *actor)
{
    struct actor *other = actor->other;
    int old_fd = other->near_fd;
    assert_int_equal(reactor_deregister(actor->scene->reactor, old_fd), 0);
    close(old_fd);
    exchange_heir->near_fd = accept4(exchange_listener_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_int_equal(exchange_heir->near_fd, old_fd);
    watch(exchange_heir, REACTOR_READABLE);
    actor->act = drain;
    other->act = drain;
}

static void fd_number_that_is_reused_within_a_batch_gets_no_stale_event(void **state)
{
    struct scene *scene = *state;
    struct sockaddr_in address;
    struct actor a = join_tcp(scene, "a");
    struct actor b = join_tcp(scene, "b");
    exchange_listener_fd = open_listener(&address);
    struct actor heir = {.scene = scene, .name = "heir", .far_fd = connect_to(&address), .act = drain};
    exchange_heir = &heir;
    a.act = b.act = exchange_other;
    a.other = &b;
    b.other = &a;
    watch(&a, REACTOR_READABLE);
    watch(&b, REACTOR_READABLE);
    speak(&a, "x");
    speak(&b, "x");
    await(a.near_fd, POLLIN);
    await(b.near_fd, POLLIN);
    await(exchange_listener_fd, POLLIN);
    assert_int_equal(reactor_run_once(scene->reactor, 0), 1); /* one of them, and no heir */
    assert_int_equal(heir.calls, 0);
    assert_int_equal(reactor_run_once(scene->reactor, 0), 1); /* the same one again, which now reads */
    assert_int_equal(heir.calls, 0);
    assert_int_equal(reactor_run_once(scene->reactor, 0), 0);
    assert_true((a.calls == 2 && b.calls == 0) || (a.calls == 0 && b.calls == 2));
    speak(&heir, "x");
    assert_int_equal(reactor_run_once(scene->reactor, LONG_MS), 1);
    assert_int_equal(heir.calls, 1);
    struct actor *lost = a.calls == 0 ? &a : &b;
    struct actor *kept = a.calls == 0 ? &b : &a;
    close(lost->far_fd);
    part(kept);
    part(&heir);
    close(exchange_listener_fd);
}

static void deregister_and_close(struct actor *actor)
{
    assert_int_equal(reactor_deregister(actor->scene->reactor, actor->near_fd), 0);
    close(actor->near_fd);
}

static void closed_fd_whose_duplicate_lives_on_does_not_wake_the_loop(void **state)
{
    struct scene *scene = *state;
    struct actor a = join_pair(scene, "a");
    int duplicate_fd = dup(a.near_fd);
    a.act = deregister_and_close;
    watch(&a, REACTOR_READABLE);
    speak(&a, "x");
    assert_int_equal(reactor_run_once(scene->reactor, LONG_MS), 1);
    assert_false(is_readable(reactor_fd(scene->reactor)));
    assert_int_equal(reactor_run_once(scene->reactor, 20), 0);
    assert_int_equal(reactor_counts(scene->reactor).stale_events, 0);
    close(duplicate_fd);
    close(a.far_fd);
}

static void what_cannot_be_watched_is_refused(void **state)
{
    struct scene *scene = *state;
    struct actor a = {.scene = scene, .name = "a"};
    int file_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_equal(reactor_register(scene->reactor, file_fd, REACTOR_READABLE, on_event, &a), -EPERM);
    close(file_fd);
    assert_int_equal(reactor_register(scene->reactor, file_fd, REACTOR_READABLE, on_event, &a), -EBADF);
    assert_int_equal(reactor_deregister(scene->reactor, file_fd), -ENOENT);
}

/* Ends and errors. */

static void read_three(struct actor *actor)
{
    char bytes[3];
    ssize_t got = read(actor->near_fd, bytes, sizeof bytes);
    char word[16];
    snprintf(word, sizeof word, "%.*s(%d)", got < 0 ? 0 : (int)got, bytes, (int)got);
    note(actor->scene, word);
}

/* Run until the actor has read the end of the stream, or was told of a hang-up. */
static void run_to_the_end(struct actor *actor)
{
    for (int i = 0; strstr(actor->scene->book, "(0)") == NULL && !(actor->events & REACTOR_HANGUP); i++) {
        assert_true(i < 10);
        assert_true(reactor_run_once(actor->scene->reactor, LONG_MS) >= 0);
    }
}

static void hang_up_of_a_socketpair_delivers_the_data_first(void **state)
{
    struct scene *scene = *state;
    struct actor a = join_pair(scene, "a");
    a.act = read_three;
    speak(&a, "abcde");
    close(a.far_fd); /* EPOLLHUP is there from the start */
    watch(&a, REACTOR_READABLE);
    run_to_the_end(&a);
    assert_book(scene, "a:R abc(3) a:R de(2) a:R (0) ");
    a.far_fd = -1;
    part(&a);
}

static void hang_up_of_tcp_delivers_the_data_first(void **state)
{
    struct scene *scene = *state;
    struct actor a = join_tcp(scene, "a");
    a.act = read_three;
    speak(&a, "abcde");
    assert_int_equal(shutdown(a.far_fd, SHUT_WR), 0);
    assert_int_equal(shutdown(a.near_fd, SHUT_WR), 0);
    await(a.near_fd, POLLHUP); /* both directions are shut */
    watch(&a, REACTOR_READABLE);
    run_to_the_end(&a);
    assert_book(scene, "a:R abc(3) a:R de(2) a:R (0) ");
    part(&a);
}

static void hang_up_of_a_pipe_is_told_when_it_is_empty(void **state)
{
    struct scene *scene = *state;
    int fds[2];
    assert_int_equal(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
    struct actor a = {.scene = scene, .name = "a", .near_fd = fds[0], .far_fd = -1, .act = read_three};
    assert_int_equal(write(fds[1], "abcde", 5), 5);
    close(fds[1]);
    watch(&a, REACTOR_READABLE);
    run_to_the_end(&a);
    assert_book(scene, "a:R abc(3) a:R de(2) a:H (0) ");
    part(&a);
}

static void write_end_of_a_pipe_without_a_reader_is_an_error(void **state)
{
    struct scene *scene = *state;
    int fds[2];
    assert_int_equal(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
    struct actor a = {.scene = scene, .name = "a", .near_fd = fds[1], .far_fd = -1};
    close(fds[0]);
    watch(&a, 0);
    assert_int_equal(reactor_run_once(scene->reactor, LONG_MS), 1);
    assert_book(scene, "a:E ");
    assert_int_equal(a.error, 0); /* it is no socket: the kernel names no error */
    part(&a);
}

static void reset_is_an_error_with_its_so_error(void **state)
{
    struct scene *scene = *state;
    struct actor a = join_tcp(scene, "a");
    struct linger linger = {.l_onoff = 1};
    watch(&a, REACTOR_READABLE);
    assert_int_equal(setsockopt(a.far_fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), 0);
    close(a.far_fd);
    assert_int_equal(reactor_run_once(scene->reactor, LONG_MS), 1);
    assert_book(scene, "a:RE ");
    assert_int_equal(a.error, -ECONNRESET);
    assert_int_equal(reactor_error(scene->reactor), 0);
    a.far_fd = -1;
    part(&a);
}

static void refused_connection_is_an_error_with_its_so_error(void **state)
{
    struct scene *scene = *state;
    struct sockaddr_in address;
    close(open_listener(&address)); /* nobody listens at this port now */
    struct actor a = {.scene = scene, .name = "a", .far_fd = -1};
    a.near_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int rv = connect(a.near_fd, (struct sockaddr *)&address, sizeof address);
    assert_true(rv < 0 && (errno == EINPROGRESS || errno == ECONNREFUSED));
    if (errno == EINPROGRESS) {
        watch(&a, REACTOR_WRITABLE);
        assert_int_equal(reactor_run_once(scene->reactor, LONG_MS), 1);
        assert_int_equal(a.error, -ECONNREFUSED);
    }
    part(&a);
}

/* Triggering. */

static void level_and_edge_differ_until_the_data_is_read(void **state)
{
    struct scene *scene = *state;
    struct actor level = join_tcp(scene, "level");
    struct actor edge = join_tcp(scene, "edge");
    watch(&level, REACTOR_READABLE);
    watch(&edge, REACTOR_READABLE | REACTOR_EDGE);
    speak(&level, "x");
    speak(&edge, "x");
    await(level.near_fd, POLLIN);
    await(edge.near_fd, POLLIN);
    for (int i = 0; i < 3; i++) {
        reactor_run_once(scene->reactor, 0);
    }
    assert_int_equal(level.calls, 3);
    assert_int_equal(edge.calls, 1);
    drain(&level);
    speak(&edge, "more"); /* an arrival is told though the bytes before it were not read */
    assert_int_equal(reactor_run_once(scene->reactor, LONG_MS), 1);
    assert_int_equal(edge.calls, 2);
    assert_int_equal(level.calls, 3);
    part(&level);
    part(&edge);
}

static void end_of_a_peer_is_told_with_unread_bytes_before_it(void **state)
{
    struct scene *scene = *state;
    struct actor over_tcp = join_tcp(scene, "tcp");
    struct actor local = join_pair(scene, "local");
    watch(&over_tcp, REACTOR_END);
    speak(&over_tcp, "unread");
    speak(&local, "unread");
    watch(&local, REACTOR_END);
    assert_int_equal(reactor_run_once(scene->reactor, 0), 0);
    shutdown(over_tcp.far_fd, SHUT_WR);
    await(over_tcp.near_fd, POLLRDHUP);
    assert_int_equal(reactor_run_once(scene->reactor, LONG_MS), 1);
    assert_book(scene, "tcp:F ");
    watch(&over_tcp, 0);
    shutdown(local.far_fd, SHUT_WR);
    assert_int_equal(reactor_run_once(scene->reactor, LONG_MS), 1);
    assert_book(scene, "local:F ");
    part(&over_tcp);
    part(&local);
}

static void edge_tells_more_for_what_a_short_read_leaves_behind(void **state)
{
    struct scene *scene = *state;
    struct actor end = join_tcp(scene, "end");
    struct actor urgent = join_tcp(scene, "urgent");
    watch(&end, REACTOR_READABLE | REACTOR_EDGE);
    watch(&urgent, REACTOR_READABLE | REACTOR_EDGE);
    speak(&end, "some");
    assert_int_equal(reactor_run_once(scene->reactor, LONG_MS), 1);
    assert_book(scene, "end:R ");
    speak(&end, "last");
    shutdown(end.far_fd, SHUT_WR);
    await(end.near_fd, POLLRDHUP);
    assert_int_equal(reactor_run_once(scene->reactor, LONG_MS), 1);
    assert_book(scene, "end:RM ");

    speak(&urgent, "before");
    assert_int_equal(send(urgent.far_fd, "!", 1, MSG_OOB), 1);
    speak(&urgent, "after");
    await(urgent.near_fd, POLLPRI);
    assert_int_equal(reactor_run_once(scene->reactor, LONG_MS), 1);
    assert_book(scene, "urgent:RM ");
    char bytes[32];
    assert_int_equal(recv(urgent.near_fd, bytes, sizeof bytes, 0), strlen("before")); /* it stops there */
    part(&end);
    part(&urgent);
}

static void writable_is_told_when_there_is_room_again(void **state)
{
    struct scene *scene = *state;
    struct actor a = join_pair(scene, "a");
    char bytes[4096] = {0};
    while (write(a.near_fd, bytes, sizeof bytes) > 0) {
    }
    watch(&a, REACTOR_WRITABLE);
    assert_int_equal(reactor_run_once(scene->reactor, 0), 0);
    while (read(a.far_fd, bytes, sizeof bytes) > 0) {
    }
    assert_int_equal(reactor_run_once(scene->reactor, LONG_MS), 1);
    assert_book(scene, "a:W ");
    part(&a);
}

/* Time. */

static void timers_fire_in_order_and_not_early(void **state)
{
    struct scene *scene = *state;
    struct actor a = {.scene = scene, .name = "a"};
    struct actor b = {.scene = scene, .name = "b"};
    struct actor c = {.scene = scene, .name = "c"};
    int64_t start_ms = now_ms();
    reactor_set_timeout(scene->reactor, 30, on_timer, &c);
    reactor_set_timeout(scene->reactor, 10, on_timer, &a);
    reactor_set_timeout(scene->reactor, 20, on_timer, &b);
    while (c.calls == 0) {
        assert_true(reactor_run_once(scene->reactor, -1) >= 0);
    }
    assert_book(scene, "a b c ");
    assert_true(now_ms() - start_ms >= 29); /* start_ms was cut to a whole millisecond */
}

static void interval_fires_again_and_again(void **state)
{
    struct scene *scene = *state;
    struct actor a = {.scene = scene, .name = "a"};
    int64_t start_ms = now_ms();
    uint64_t timer = reactor_set_interval(scene->reactor, 5, on_timer, &a);
    while (a.calls < 5) {
        assert_true(reactor_run_once(scene->reactor, -1) >= 0);
    }
    assert_true(now_ms() - start_ms >= 24);
    assert_int_equal(reactor_cancel_timer(scene->reactor, timer), 0);
    assert_book(scene, "a a a a a ");
}

static void idle_reactor_makes_no_wake_up(void **state)
{
    struct scene *scene = *state;
    struct actor a = join_tcp(scene, "a");
    struct actor b = join_pair(scene, "b");
    watch(&a, REACTOR_READABLE);
    watch(&b, REACTOR_READABLE);
    int64_t start_ms = now_ms();
    assert_int_equal(reactor_run_once(scene->reactor, 1000), 0);
    assert_true(now_ms() - start_ms >= 999); /* it slept through: one tick, at the end of the second */
    assert_int_equal(reactor_counts(scene->reactor).ticks, 1);
    part(&a);
    part(&b);
}

/* The pollable fd. */

static void defer_again(struct actor *actor)
{
    if (actor->calls < 4) {
        assert_int_equal(reactor_defer(actor->scene->reactor, on_task, actor), 0);
    }
}

static void reactor_fd_can_be_polled_by_a_host(void **state)
{
    struct scene *scene = *state;
    struct actor timer = {.scene = scene, .name = "timer"};
    struct actor task = {.scene = scene, .name = "task", .act = defer_again};
    struct actor post = {.scene = scene, .name = "post"};
    struct actor io = join_pair(scene, "io");
    io.act = drain;
    int fd = reactor_fd(scene->reactor);
    assert_true(fd >= 0);
    assert_false(is_readable(fd));

    reactor_set_timeout(scene->reactor, 10, on_timer, &timer);
    await(fd, POLLIN);
    assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
    assert_false(is_readable(fd));

    assert_int_equal(reactor_defer(scene->reactor, on_task, &task), 0);
    for (int i = 0; i < 4; i++) { /* each defers the next one */
        await(fd, POLLIN);
        assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
    }
    assert_false(is_readable(fd));

    assert_int_equal(reactor_post(scene->reactor, on_task, &post), 0);
    await(fd, POLLIN);
    assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
    assert_false(is_readable(fd));

    watch(&io, REACTOR_READABLE);
    assert_false(is_readable(fd));
    speak(&io, "x");
    await(fd, POLLIN);
    assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
    assert_false(is_readable(fd));
    assert_book(scene, "timer task task task task post io:R ");
    part(&io);
}

/* Threads and signals. */

enum { POSTERS = 4, POSTS = 5000 };

struct letter {
    struct poster *poster; /* who sends it */
    int number;            /* 0 for its first one */
};

struct poster {
    struct reactor *reactor;
    pthread_t thread;
    int next;                     /* number of the letter that must come next */
    int *left;                    /* letters of all posters that have not come */
    struct letter letters[POSTS]; /* its own */
};

static void on_letter(struct reactor *reactor, void *arg)
{
    struct letter *letter = arg;
    struct poster *poster = letter->poster;
    assert_int_equal(letter->number, poster->next); /* the order of one thread is kept */
    poster->next++;
    if (--*poster->left == 0) {
        reactor_stop(reactor);
    }
}

static void *post_letters(void *arg)
{
    struct poster *poster = arg;
    for (int i = 0; i < POSTS; i++) {
        poster->letters[i] = (struct letter){.poster = poster, .number = i};
        while (reactor_post(poster->reactor, on_letter, &poster->letters[i]) < 0) {
        }
    }
    return NULL;
}

static void posts_of_other_threads_all_arrive_in_order(void **state)
{
    struct scene *scene = *state;
    static struct poster posters[POSTERS];
    int left = POSTERS * POSTS;
    for (int i = 0; i < POSTERS; i++) {
        posters[i].reactor = scene->reactor;
        posters[i].left = &left;
        assert_int_equal(pthread_create(&posters[i].thread, NULL, post_letters, &posters[i]), 0);
    }
    assert_int_equal(reactor_run(scene->reactor), 0);
    for (int i = 0; i < POSTERS; i++) {
        pthread_join(posters[i].thread, NULL);
        assert_int_equal(posters[i].next, POSTS);
    }
    assert_int_equal(reactor_counts(scene->reactor).tasks, POSTERS * POSTS);
}

static void *stop_reactor(void *arg)
{
    reactor_stop(arg);
    return NULL;
}

static void another_thread_stops_the_loop(void **state)
{
    struct scene *scene = *state;
    for (int i = 0; i < 100; i++) { /* before the run, while it begins, or while it sleeps: as it happens */
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, stop_reactor, scene->reactor), 0);
        assert_int_equal(reactor_run(scene->reactor), 0);
        pthread_join(thread, NULL);
    }
}

static struct reactor *signalled; /* a handler has no argument of its own */

static void on_signal_stop(int number)
{
    (void)number;
    reactor_stop(signalled);
}

static atomic_int signals;

static void on_signal_count(int number)
{
    (void)number;
    signals++;
}

static void handle(void (*fn)(int))
{
    struct sigaction action = {.sa_handler = fn};
    assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
}

static void *signal_thread(void *arg)
{
    pthread_kill(*(pthread_t *)arg, SIGUSR1);
    return NULL;
}

static void signal_handler_stops_the_loop(void **state)
{
    struct scene *scene = *state;
    signalled = scene->reactor;
    handle(on_signal_stop);
    errno = 4711;
    raise(SIGUSR1);
    assert_int_equal(errno, 4711);
    assert_int_equal(reactor_run(scene->reactor), 0);
    for (int i = 0; i < 100; i++) {
        pthread_t thread, self = pthread_self();
        assert_int_equal(pthread_create(&thread, NULL, signal_thread, &self), 0);
        assert_int_equal(reactor_run(scene->reactor), 0);
        pthread_join(thread, NULL);
    }
    handle(SIG_IGN);
}

static void *pester_thread(void *arg)
{
    while (signals < 20) {
        pthread_kill(*(pthread_t *)arg, SIGUSR1);
        sched_yield();
    }
    return NULL;
}

static void signals_do_not_end_the_loop(void **state)
{
    struct scene *scene = *state;
    struct actor a = {.scene = scene, .name = "a"};
    pthread_t thread, self = pthread_self();
    signals = 0;
    handle(on_signal_count);
    assert_int_equal(pthread_create(&thread, NULL, pester_thread, &self), 0);
    reactor_set_timeout(scene->reactor, 50, on_timer, &a);
    while (signals < 20 || a.calls == 0) {
        assert_true(reactor_run_once(scene->reactor, 5) >= 0); /* an interrupted wait is no failure */
    }
    pthread_join(thread, NULL);
    assert_book(scene, "a ");
    handle(SIG_IGN);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(callback_deregisters_the_other_of_two_ready_fds_which_is_never_called),
        TEST(fd_number_that_is_reused_within_a_batch_gets_no_stale_event),
        TEST(closed_fd_whose_duplicate_lives_on_does_not_wake_the_loop),
        TEST(what_cannot_be_watched_is_refused),
        TEST(hang_up_of_a_socketpair_delivers_the_data_first),
        TEST(hang_up_of_tcp_delivers_the_data_first),
        TEST(hang_up_of_a_pipe_is_told_when_it_is_empty),
        TEST(write_end_of_a_pipe_without_a_reader_is_an_error),
        TEST(reset_is_an_error_with_its_so_error),
        TEST(refused_connection_is_an_error_with_its_so_error),
        TEST(level_and_edge_differ_until_the_data_is_read),
        TEST(end_of_a_peer_is_told_with_unread_bytes_before_it),
        TEST(edge_tells_more_for_what_a_short_read_leaves_behind),
        TEST(writable_is_told_when_there_is_room_again),
        TEST(timers_fire_in_order_and_not_early),
        TEST(interval_fires_again_and_again),
        TEST(idle_reactor_makes_no_wake_up),
        TEST(reactor_fd_can_be_polled_by_a_host),
        TEST(posts_of_other_threads_all_arrive_in_order),
        TEST(another_thread_stops_the_loop),
        TEST(signal_handler_stops_the_loop),
        TEST(signals_do_not_end_the_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
