#include "tests/lib/lua_scene.h"

#include "http/service.h"

enum { TICKS_MAX = 20000 };

void on_line(void *arg, int level, const char *line)
{
    (void)level;
    struct scene *scene = arg;
    size_t used = strlen(scene->logged);
    snprintf(scene->logged + used, sizeof scene->logged - used, "%s\n", line);
}

void write_script(struct scene *scene, const char *text)
{
    snprintf(scene->path, sizeof scene->path, "/tmp/evserve-test-XXXXXX");
    int fd = mkstemp(scene->path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

int start(struct scene *scene, int (*init)(lua_State *L, void *arg), void *arg)
{
    struct script_host host = {.init = init, .arg = arg, .outbound = &scene->outbound, .topics = &scene->topics};
    int rv = reactor_create(&scene->reactor, &scene->log);
    outbound_init(&scene->outbound, scene->reactor, NULL, &scene->log);
    rv = rv < 0 ? rv : hub_create(&scene->hub, 1);
    if (rv == 0) {
        topics_init(&scene->topics, scene->hub, 0, scene->reactor);
    }
    rv = rv < 0 ? rv : site_create(&scene->site, &scene->log);
    rv = rv < 0 ? rv
                : script_open(&scene->script, scene->path, scene->site, scene->reactor, &scene->log, &host, scene->err,
                              sizeof scene->err);
    rv = rv < 0 ? rv : server_create(&scene->server, scene->reactor, scene->site, &scene->log);
    rv = rv < 0 ? rv : server_listen(scene->server, "127.0.0.1:0", scene->err, sizeof scene->err);
    if (rv < 0) {
        return rv;
    }
    server_service(scene->server)->topics = &scene->topics;
    scene->listener_fd = fake_sys_listener_fd();
    return script_start(scene->script, scene->server, scene->err, sizeof scene->err);
}

void stop(struct scene *scene)
{
    if (scene->script != NULL) {
        script_stop(scene->script);
    }
    server_destroy(scene->server);
    script_close(scene->script);
    topics_done(&scene->topics);
    outbound_done(&scene->outbound);
    site_destroy(scene->site);
    reactor_destroy(scene->reactor);
    hub_destroy(scene->hub); /* calls that it has posted are its own */
    scene->server = NULL;
    scene->script = NULL;
    scene->site = NULL;
    scene->reactor = NULL;
    scene->hub = NULL;
}

struct scene *scene_open_with(const char *text, int (*init)(lua_State *L, void *arg))
{
    struct scene *scene = calloc(1, sizeof *scene);
    assert_non_null(scene);
    scene->log = (struct log){.sink = on_line, .arg = scene, .level = LOG_INFO};
    write_script(scene, text);
    if (start(scene, init, NULL) < 0) {
        fail_msg("%s", scene->err);
    }
    return scene;
}

struct scene *scene_open(const char *text)
{
    return scene_open_with(text, NULL);
}

void scene_close(struct scene *scene)
{
    stop(scene);
    unlink(scene->path);
    free(scene);
    assert_int_equal(fake_mem_live(), 0);
    assert_int_equal(fake_sys_open_fds(), 0);
    fake_sys_reset();
}

void settle(struct scene *scene)
{
    for (int quiet = 0, ticks = 0; quiet < 3; ticks++) {
        int rv = reactor_run_once(scene->reactor, 0);
        assert_true(rv >= 0);
        assert_true(ticks < TICKS_MAX);
        quiet = rv == 0 ? quiet + 1 : 0;
    }
}

void pass_ms(struct scene *scene, int64_t ms)
{
    fake_sys_advance_ms(ms);
    settle(scene);
}

struct fake_peer *ask(struct scene *scene, const char *target)
{
    char text[256];
    struct fake_peer *peer = fake_peer_connect(scene->listener_fd);
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: test\r\n\r\n", target);
    fake_peer_send_text(peer, text);
    settle(scene);
    return peer;
}

bool got(const struct fake_peer *peer, const char *text)
{
    return strstr(fake_peer_output(peer, NULL), text) != NULL;
}

void assert_answer(struct scene *scene, const char *target, const char *body)
{
    struct fake_peer *peer = ask(scene, target);
    const char *end = strstr(fake_peer_output(peer, NULL), "\r\n\r\n");
    assert_non_null(end);
    assert_string_equal(end + 4, body);
    fake_peer_close(peer);
    settle(scene);
}

void assert_status(struct scene *scene, const char *target, const char *status)
{
    char line[64];
    struct fake_peer *peer = ask(scene, target);
    snprintf(line, sizeof line, "HTTP/1.1 %s ", status);
    if (strncmp(fake_peer_output(peer, NULL), line, strlen(line)) != 0) {
        fail_msg("%s: not %s but %s", target, status, fake_peer_output(peer, NULL));
    }
    fake_peer_close(peer);
    settle(scene);
}
