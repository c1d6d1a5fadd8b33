#ifndef EVSERVE_TESTS_REACTOR_SCENE_H
#define EVSERVE_TESTS_REACTOR_SCENE_H

/* What the tests of the reactor on the fake kernel share: a reactor, and a book in which callbacks write what happened,
 * so that a test states the order of events as one line of text. */

#include "core/log.h"
#include "core/reactor.h"
#include "core/sys.h"

#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct scene {
    struct reactor *reactor; /* on the fake kernel */
    char book[4096];         /* words, each followed by a space */
    size_t book_len;         /* of them */
    int log_lines;           /* lines that the reactor logged */
    struct log log;          /* counts them */
};

/* Somebody with an fd, a timer or a task. */
struct actor {
    struct scene *scene;              /* where it acts */
    const char *name;                 /* how it signs in the book */
    struct fake_peer *peer;           /* the other end of its connection, if it has one */
    int fd;                           /* its connection */
    uint64_t timer;                   /* its timer */
    struct reactor_task task;         /* its task, of actor_schedule() */
    struct actor *other;              /* whom it acts upon */
    void (*act)(struct actor *actor); /* what it does when called, NULL for nothing */
    unsigned events;                  /* with which it was called last */
    int error;                        /* of reactor_error() then */
    int calls;                        /* how often it was called */
    int64_t when_ms;                  /* reactor_now_ms() at the last call */
};

__attribute__((format(printf, 2, 3))) static inline void note(struct scene *scene, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(scene->book + scene->book_len, sizeof scene->book - scene->book_len, format, args);
    va_end(args);
    scene->book_len += (size_t)len;
    assert_true(scene->book_len < sizeof scene->book);
}

/* What is in the book must be text; then it is wiped. */
#define assert_book(scene, text)                                                                                       \
    do {                                                                                                               \
        assert_string_equal((scene)->book, text);                                                                      \
        (scene)->book[(scene)->book_len = 0] = '\0';                                                                   \
    } while (0)

static inline void count_log_line(void *arg, int level, const char *line)
{
    (void)level;
    assert_true(strlen(line) > 0);
    ((struct scene *)arg)->log_lines++;
}

static inline int scene_set_up(void **state)
{
    static struct scene scene;
    scene = (struct scene){.log = {.sink = count_log_line, .arg = &scene, .level = LOG_DEBUG}};
    *state = &scene;
    return reactor_create(&scene.reactor, &scene.log);
}

/* Destroys the reactor, then whatever fds the test opened; memory must all be back. */
static inline int scene_tear_down(void **state)
{
    struct scene *scene = *state;
    fake_mem_fail_after(0, false);
    reactor_destroy(scene->reactor);
    fake_sys_reset();
    return fake_mem_live() == 0 ? 0 : -1;
}

static inline void actor_called(struct actor *actor)
{
    actor->calls++;
    actor->when_ms = reactor_now_ms(actor->scene->reactor);
    if (actor->act != NULL) {
        actor->act(actor);
    }
}

/* In the book: "name:RW " with R, W, E, H for the events. */
static inline void on_event(struct reactor *reactor, int fd, unsigned events, void *arg)
{
    struct actor *actor = arg;
    assert_ptr_equal(reactor, actor->scene->reactor);
    assert_int_equal(fd, actor->fd);
    actor->events = events;
    actor->error = reactor_error(reactor);
    note(actor->scene, "%s:%s%s%s%s%s%s ", actor->name, events & REACTOR_READABLE ? "R" : "",
         events & REACTOR_WRITABLE ? "W" : "", events & REACTOR_ERROR ? "E" : "", events & REACTOR_HANGUP ? "H" : "",
         events & REACTOR_MORE ? "M" : "", events & REACTOR_END ? "F" : "");
    actor_called(actor);
}

static inline void on_timer(struct reactor *reactor, uint64_t timer, void *arg)
{
    struct actor *actor = arg;
    assert_ptr_equal(reactor, actor->scene->reactor);
    assert_int_equal(timer, actor->timer);
    note(actor->scene, "%s ", actor->name);
    actor_called(actor);
}

static inline void on_task(struct reactor *reactor, void *arg)
{
    struct actor *actor = arg;
    assert_ptr_equal(reactor, actor->scene->reactor);
    note(actor->scene, "%s ", actor->name);
    actor_called(actor);
}

/* An actor with a connection, watched for flags. */
static inline struct actor actor_connect(struct scene *scene, const char *name)
{
    struct actor actor = {.scene = scene, .name = name, .peer = fake_peer_create(-1)};
    actor.fd = fake_peer_fd(actor.peer);
    return actor;
}

static inline void actor_watch(struct actor *actor, unsigned flags)
{
    assert_int_equal(reactor_register(actor->scene->reactor, actor->fd, flags, on_event, actor), 0);
}

/* Watched for reading, and there is something to read. The kernel tells of several in the order of these calls. */
static inline void actor_give_input(struct actor *actor)
{
    actor_watch(actor, REACTOR_READABLE);
    fake_peer_send_text(actor->peer, "x");
}

static inline void actor_set_timeout(struct actor *actor, uint32_t delay_ms)
{
    actor->timer = reactor_set_timeout(actor->scene->reactor, delay_ms, on_timer, actor);
    assert_int_not_equal(actor->timer, 0);
}

static inline void actor_set_interval(struct actor *actor, uint32_t interval_ms)
{
    actor->timer = reactor_set_interval(actor->scene->reactor, interval_ms, on_timer, actor);
    assert_int_not_equal(actor->timer, 0);
}

static inline void actor_defer(struct actor *actor)
{
    assert_int_equal(reactor_defer(actor->scene->reactor, on_task, actor), 0);
}

static inline void on_own_task(struct reactor *reactor, void *arg)
{
    on_task(reactor, REACTOR_OWNER(arg, struct actor, task));
}

static inline void actor_schedule(struct actor *actor)
{
    actor->task.fn = on_own_task;
    reactor_schedule(actor->scene->reactor, &actor->task);
    assert_true(reactor_is_scheduled(&actor->task));
}

/* Read all there is. */
static inline void drain(struct actor *actor)
{
    char bytes[64];
    while (sys_recv(actor->fd, bytes, sizeof bytes) > 0) {
    }
}

/* Read once, up to 64 bytes. */
static inline void read_once(struct actor *actor)
{
    char bytes[64];
    sys_recv(actor->fd, bytes, sizeof bytes);
}

#define SCENE_TEST(fn) cmocka_unit_test_setup_teardown(fn, scene_set_up, scene_tear_down)

/* Acts of more than one file. */

static inline void ignore_other(struct actor *actor)
{
    actor_watch(actor->other, 0);
}

static inline void toggle_writable(struct actor *actor)
{
    actor_watch(actor, REACTOR_READABLE | REACTOR_WRITABLE);
    actor_watch(actor, REACTOR_READABLE);
}

static inline void defer_other(struct actor *actor)
{
    actor_defer(actor->other);
}

/* A listening socket. */
static inline int open_listener(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    int fd = sys_socket(AF_INET);
    assert_int_equal(sys_bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(sys_listen(fd, 16), 0);
    return fd;
}

#endif
