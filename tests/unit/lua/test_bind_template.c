/* Templates while memory fails: at any step of a request, and at many steps of the start. */

#include "lua/state.h"
#include "tests/lib/lua_scene.h"

#include <fcntl.h>

static char page_path[] = "/tmp/evpageXXXXXX";

/* A site with a page that escapes into the scratch buffer, and one that is streamed. */
static const char *site_text(void)
{
    static char text[1024];
    snprintf(text, sizeof text,
             APP "local page = app.template('%s')\n"
                 "local values = { name = ('<'):rep(3000), link = '/a b' }\n"
                 "app.get('/page', function() return page(values) end)\n"
                 "app.get('/stream', function() return page:stream(values) end)\n"
                 "app.get('/plain', function() return 'plain' end)\n",
             page_path);
    return text;
}

static int write_page(void **state)
{
    (void)state;
    static const char page[] =
        "{% for i = 1, 3 do %}<a href=\"{{ link }}\" title=\"{{ name }}\">{{ name }}</a>{% end %}"
        "<script>f({{ name }}, '{{ name }}')</script>the end";
    int fd = mkstemp(page_path);
    return fd < 0 || write(fd, page, sizeof page - 1) != sizeof page - 1 ? -1 : close(fd);
}

static int remove_page(void **state)
{
    (void)state;
    return unlink(page_path);
}

static void memory_that_fails_in_a_request_harms_nobody_else(void **state)
{
    (void)state;
    static const char *const targets[] = {"/page", "/stream"};
    for (size_t i = 0; i < 2; i++) {
        bool has_failed = true;
        struct scene *scene = scene_open(site_text());
        for (uint64_t n = 1; has_failed; n++) {
            assert_answer(scene, "/plain", "plain");
            fake_mem_fail_after(n, false);
            struct fake_peer *peer = ask(scene, targets[i]);
            pass_ms(scene, 1);
            has_failed = fake_mem_failed();
            fake_mem_fail_after(0, false);
            assert_true(has_failed || got(peer, "the end"));
        }
        assert_answer(scene, "/plain", "plain");
        scene_close(scene);
    }
}

static void memory_that_fails_at_the_start_leaks_nothing(void **state)
{
    (void)state;
    struct scene scene = {.path = ""};
    bool has_failed = true;
    write_script(&scene, site_text());
    for (uint64_t n = 1; has_failed; n += 401) {
        fake_mem_fail_after(n, false);
        (void)start(&scene, NULL, NULL);
        has_failed = fake_mem_failed();
        stop(&scene);
        assert_int_equal(fake_mem_live(), 0);
        assert_int_equal(fake_sys_open_fds(), 0);
    }
    fake_mem_fail_after(0, false);
    unlink(scene.path);
    fake_sys_reset();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_that_fails_in_a_request_harms_nobody_else),
        cmocka_unit_test(memory_that_fails_at_the_start_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, write_page, remove_page);
}
