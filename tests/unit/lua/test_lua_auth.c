/* Functions of app.basic_auth: what they decide, at once and later, who leaves meanwhile, and what happens without
 * memory. */

#include "tests/lib/lua_scene.h"

#define ADAM "Authorization: Basic YWRhbTpzZWNyZXQ=\r\n" /* adam:secret */
#define EVE  "Authorization: Basic ZXZlOng=\r\n"         /* eve:x */

#define SITE                                                                                                           \
    APP "app.basic_auth('/now', function(user, password) return user == 'adam' and password == 'secret' end)\n"        \
        "app.basic_auth('/late', function(user, password)\n"                                                           \
        "    app.sleep(50)\n"                                                                                          \
        "    return user == 'adam' and password == 'secret'\n"                                                         \
        "end)\n"                                                                                                       \
        "app.basic_auth('/never', function() app.sleep('1h') return true end)\n"                                       \
        "app.basic_auth('/oops', function() app.sleep(1) error 'oops' end)\n"                                          \
        "app.get('/*rest', function(req) return req.user or 'nobody' end)\n"                                           \
        "app.post('/*rest', function(req) return req.user .. ' ' .. req.body end)\n"

static struct fake_peer *say(struct scene *scene, const char *method, const char *target, const char *lines)
{
    char request[512];
    snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: a\r\n%s", method, target, lines);
    struct fake_peer *peer = fake_peer_connect(scene->listener_fd);
    fake_peer_send_text(peer, request);
    settle(scene);
    return peer;
}

static void functions_decide_at_once_or_later(void **state)
{
    (void)state;
    struct scene *scene = scene_open(SITE);
    assert_true(got(say(scene, "GET", "/now", ADAM "\r\n"), "\r\n\r\nadam"));
    assert_true(got(say(scene, "GET", "/now", EVE "\r\n"), "HTTP/1.1 401 "));
    assert_true(got(say(scene, "GET", "/now", "\r\n"), "HTTP/1.1 401 "));
    assert_true(got(say(scene, "GET", "/", ADAM "\r\n"), "\r\n\r\nnobody"));
    struct fake_peer *right = say(scene, "GET", "/late", ADAM "\r\n");
    struct fake_peer *wrong = say(scene, "GET", "/late", EVE "\r\n");
    struct fake_peer *body = say(scene, "POST", "/late", ADAM "Content-Length: 4\r\n\r\nbo");
    struct fake_peer *fails = say(scene, "GET", "/oops", ADAM "\r\n");
    assert_false(got(right, "HTTP") || got(wrong, "HTTP") || got(body, "HTTP") || got(fails, "HTTP"));
    pass_ms(scene, 60);
    assert_true(got(right, "\r\n\r\nadam"));
    assert_true(got(wrong, "HTTP/1.1 401 "));
    assert_true(got(fails, "HTTP/1.1 500 "));
    assert_false(got(body, "HTTP"));
    fake_peer_send_text(body, "dy");
    settle(scene);
    assert_true(got(body, "\r\n\r\nadam body"));
    assert_non_null(strstr(scene->logged, "oops"));
    scene_close(scene);
}

static void clients_that_leave_are_forgotten(void **state)
{
    (void)state;
    struct scene *scene = scene_open(SITE);
    struct fake_peer *peers[3];
    for (int i = 0; i < 3; i++) {
        peers[i] = say(scene, "GET", i == 2 ? "/never" : "/late", ADAM "\r\n");
    }
    fake_peer_reset(peers[0], ECONNRESET);
    fake_peer_close(peers[2]);
    settle(scene);
    pass_ms(scene, 60);
    assert_true(got(peers[1], "\r\n\r\nadam"));
    assert_false(got(peers[2], "HTTP"));
    scene_close(scene);
}

static void a_stop_ends_what_waits(void **state)
{
    (void)state;
    struct scene *scene = scene_open(SITE);
    (void)say(scene, "GET", "/never", ADAM "\r\n");
    (void)say(scene, "POST", "/never", ADAM "Content-Length: 4\r\n\r\nbo");
    scene_close(scene);
}

/* Whichever allocation fails: one response, or the connection ends; and nobody comes in who may not. */
static void without_memory_nobody_comes_in_who_may_not(void **state)
{
    (void)state;
    for (uint64_t n = 1; n < 60; n++) {
        struct scene *scene = scene_open(SITE);
        fake_mem_fail_after(n, false);
        struct fake_peer *wrong = say(scene, "GET", n % 2 == 0 ? "/now" : "/late", EVE "\r\n");
        pass_ms(scene, 60);
        bool has_failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        assert_false(got(wrong, "HTTP/1.1 200 "));
        assert_true(got(say(scene, "GET", "/now", ADAM "\r\n"), "\r\n\r\nadam"));
        scene_close(scene);
        if (!has_failed) {
            break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_decide_at_once_or_later),
        cmocka_unit_test(clients_that_leave_are_forgotten),
        cmocka_unit_test(a_stop_ends_what_waits),
        cmocka_unit_test(without_memory_nobody_comes_in_who_may_not),
    };
    return cmocka_run_group_tests_name("lua_auth", tests, NULL, NULL);
}
