#include "tests/lib/reactor_scene.h"

void note(struct scene *scene, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(scene->book + scene->book_len, sizeof scene->book - scene->book_len, format, args);
    va_end(args);
    scene->book_len += (size_t)len;
    assert_true(scene->book_len < sizeof scene->book);
}

static void count_log_line(void *arg, int level, const char *line)
{
    (void)level;
    assert_true(strlen(line) > 0);
    ((struct scene *)arg)->log_lines++;
}

int scene_set_up(void **state)
{
    static struct scene scene;
    scene = (struct scene){.log = {.sink = count_log_line, .arg = &scene, .level = LOG_DEBUG}};
    *state = &scene;
    return reactor_create(&scene.reactor, &scene.log);
}

int scene_tear_down(void **state)
{
    struct scene *scene = *state;
    fake_mem_fail_after(0, false);
    reactor_destroy(scene->reactor);
    fake_sys_reset();
    return fake_mem_live() == 0 ? 0 : -1;
}

static void actor_called(struct actor *actor)
{
    actor->calls++;
    actor->when_ms = reactor_now_ms(actor->scene->reactor);
    if (actor->act != NULL) {
        actor->act(actor);
    }
}

void on_event(struct reactor *reactor, int fd, unsigned events, void *arg)
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

void on_timer(struct reactor *reactor, uint64_t timer, void *arg)
{
    struct actor *actor = arg;
    assert_ptr_equal(reactor, actor->scene->reactor);
    assert_int_equal(timer, actor->timer);
    note(actor->scene, "%s ", actor->name);
    actor_called(actor);
}

void on_task(struct reactor *reactor, void *arg)
{
    struct actor *actor = arg;
    assert_ptr_equal(reactor, actor->scene->reactor);
    note(actor->scene, "%s ", actor->name);
    actor_called(actor);
}

struct actor actor_connect(struct scene *scene, const char *name)
{
    struct actor actor = {.scene = scene, .name = name, .peer = fake_peer_create(-1)};
    actor.fd = fake_peer_fd(actor.peer);
    return actor;
}

void actor_watch(struct actor *actor, unsigned flags)
{
    assert_int_equal(reactor_register(actor->scene->reactor, actor->fd, flags, on_event, actor), 0);
}

void actor_give_input(struct actor *actor)
{
    actor_watch(actor, REACTOR_READABLE);
    fake_peer_send_text(actor->peer, "x");
}

void actor_set_timeout(struct actor *actor, uint32_t delay_ms)
{
    actor->timer = reactor_set_timeout(actor->scene->reactor, delay_ms, on_timer, actor);
    assert_int_not_equal(actor->timer, 0);
}

void actor_set_interval(struct actor *actor, uint32_t interval_ms)
{
    actor->timer = reactor_set_interval(actor->scene->reactor, interval_ms, on_timer, actor);
    assert_int_not_equal(actor->timer, 0);
}

void actor_defer(struct actor *actor)
{
    assert_int_equal(reactor_defer(actor->scene->reactor, on_task, actor), 0);
}

static void on_own_task(struct reactor *reactor, void *arg)
{
    on_task(reactor, REACTOR_OWNER(arg, struct actor, task));
}

void actor_schedule(struct actor *actor)
{
    actor->task.fn = on_own_task;
    reactor_schedule(actor->scene->reactor, &actor->task);
    assert_true(reactor_is_scheduled(&actor->task));
}

void drain(struct actor *actor)
{
    char bytes[64];
    while (sys_recv(actor->fd, bytes, sizeof bytes) > 0) {
    }
}

void read_once(struct actor *actor)
{
    char bytes[64];
    sys_recv(actor->fd, bytes, sizeof bytes);
}

void ignore_other(struct actor *actor)
{
    actor_watch(actor->other, 0);
}

void toggle_writable(struct actor *actor)
{
    actor_watch(actor, REACTOR_READABLE | REACTOR_WRITABLE);
    actor_watch(actor, REACTOR_READABLE);
}

void defer_other(struct actor *actor)
{
    actor_defer(actor->other);
}

int open_listener(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    int fd = sys_socket(AF_INET);
    assert_int_equal(sys_bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(sys_listen(fd, 16), 0);
    return fd;
}
