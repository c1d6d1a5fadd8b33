#ifndef EVSERVE_TESTS_REACTOR_SCENE_H
#define EVSERVE_TESTS_REACTOR_SCENE_H

/* What the tests of the reactor on the fake kernel share: a reactor, and a book in which callbacks write what happened,
 * so that a test states the order of events as one line of text. tests/CMakeLists.txt links the scene to every program
 * whose source includes this header. */

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

/* An fd, a timer or a task, with what happens when the reactor calls it. */
struct actor {
    struct scene *scene;              /* where it acts */
    const char *name;                 /* how it signs in the book */
    struct fake_peer *peer;           /* the other end of its connection, if it has one */
    int fd;                           /* its connection */
    uint64_t timer;                   /* its timer */
    struct reactor_task task;         /* its task, of actor_schedule() */
    struct actor *other;              /* the one that it acts upon */
    void (*act)(struct actor *actor); /* what it does when called, NULL for nothing */
    unsigned events;                  /* with which it was called last */
    int error;                        /* of reactor_error() then */
    int calls;                        /* how often it was called */
    int64_t when_ms;                  /* reactor_now_ms() at the last call */
};

/* Write in the book. */
void note(struct scene *scene, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The book must contain text; then it is emptied. */
#define assert_book(scene, text)                                                                                       \
    do {                                                                                                               \
        assert_string_equal((scene)->book, text);                                                                      \
        (scene)->book[(scene)->book_len = 0] = '\0';                                                                   \
    } while (0)

int scene_set_up(void **state);

/* Destroys the reactor, then the fds that the test opened. No memory may be left. */
int scene_tear_down(void **state);

/* Callbacks whose arg is the actor. Each notes the actor's name, then runs act. An event adds R, W, E, H, M and F for
 * the events: "name:RW ". */
void on_event(struct reactor *reactor, int fd, unsigned events, void *arg);
void on_timer(struct reactor *reactor, uint64_t timer, void *arg);
void on_task(struct reactor *reactor, void *arg);

/* An actor with a connection, watched for flags. */
struct actor actor_connect(struct scene *scene, const char *name);
void actor_watch(struct actor *actor, unsigned flags);

/* Watch for reading, and send something. The kernel reports several actors in the order of these calls. */
void actor_give_input(struct actor *actor);
void actor_set_timeout(struct actor *actor, uint32_t delay_ms);
void actor_set_interval(struct actor *actor, uint32_t interval_ms);
void actor_defer(struct actor *actor);
void actor_schedule(struct actor *actor);

/* Read all there is. */
void drain(struct actor *actor);

/* Read once, up to 64 bytes. */
void read_once(struct actor *actor);

#define SCENE_TEST(fn) cmocka_unit_test_setup_teardown(fn, scene_set_up, scene_tear_down)

/* For act. */

void ignore_other(struct actor *actor);
void toggle_writable(struct actor *actor);
void defer_other(struct actor *actor);

/* A listening socket. */
int open_listener(void);

#endif
