/* http/ws/ws_reader.c: what the cases of tests/ws do not show: where a message lies, what memory is held meanwhile, failing
 * allocations, and the hook that inflates. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http/ws/ws_reader.h"
#include "tests/lib/fake_mem.h"

#define HELLO "\x81\x85\x01\x02\x03\x04Igohn" /* "Hello", masked */

static const struct ws_rules rules = {.max_message = 1024};

static int tear_down(void **state)
{
    (void)state;
    return fake_mem_live() == 0 ? 0 : -1;
}

/* The bytes of one read, and the reader that they come to. */
struct scene {
    struct ws_reader reader;
    struct ws_rules rules;
    char block[4096];
    char *at;
    size_t len;
    struct ws_happening what;
};

static void open_scene(struct scene *scene)
{
    memset(scene, 0xa5, sizeof *scene);
    scene->rules = rules;
    scene->at = scene->block;
    scene->len = 0;
    ws_reader_init(&scene->reader);
}

static enum ws_event arrive(struct scene *scene, const char *bytes, size_t len)
{
    assert_int_equal(scene->len, 0);
    memcpy(scene->block, bytes, len);
    scene->at = scene->block;
    scene->len = len;
    return ws_reader_next(&scene->reader, &scene->rules, &scene->at, &scene->len, &scene->what);
}

static enum ws_event next(struct scene *scene)
{
    return ws_reader_next(&scene->reader, &scene->rules, &scene->at, &scene->len, &scene->what);
}

static void assert_message(const struct scene *scene, enum ws_kind kind, const char *text)
{
    assert_int_equal(scene->what.kind, kind);
    assert_int_equal(scene->what.len, strlen(text));
    assert_memory_equal(scene->what.data, text, strlen(text));
}

static void message_in_one_read_lies_where_it_was_read(void **state)
{
    struct scene scene;
    (void)state;

    uint64_t calls = fake_mem_calls();
    open_scene(&scene);
    assert_int_equal(arrive(&scene, HELLO HELLO, 22), WS_MESSAGE);
    assert_message(&scene, WS_TEXT, "Hello");
    assert_ptr_equal(scene.what.data, scene.block + 6);
    assert_int_equal(next(&scene), WS_MESSAGE);
    assert_ptr_equal(scene.what.data, scene.block + 17);
    assert_int_equal(next(&scene), WS_NONE);
    assert_int_equal(fake_mem_calls(), calls);
}

static void idle_reader_is_small_and_holds_nothing(void **state)
{
    struct scene scene;
    (void)state;

    assert_true(sizeof scene.reader <= 32);
    open_scene(&scene);
    assert_true(ws_reader_is_between(&scene.reader));
    for (size_t cut = 1; cut < 11; cut++) {
        assert_int_equal(arrive(&scene, HELLO, cut), WS_NONE);
        assert_false(ws_reader_is_between(&scene.reader));
        assert_int_equal(arrive(&scene, HELLO + cut, 11 - cut), WS_MESSAGE);
        assert_message(&scene, WS_TEXT, "Hello");
        assert_int_equal(next(&scene), WS_NONE);
        assert_true(ws_reader_is_between(&scene.reader));
        assert_int_equal(fake_mem_live(), 0);
    }
}

static void ping_in_pieces_between_fragments_in_pieces(void **state)
{
    static const char bytes[] = "\x01\x82\0\0\0\0He\x89\x83\0\0\0\0abc\x80\x83\0\0\0\0llo";
    struct scene scene;
    int pings = 0;
    (void)state;

    open_scene(&scene);
    for (size_t i = 0; i < sizeof bytes - 2; i++) {
        enum ws_event event = arrive(&scene, bytes + i, 1);
        if (event == WS_PING) {
            pings++;
            assert_int_equal(scene.what.len, 3);
            assert_memory_equal(scene.what.data, "abc", 3);
            event = next(&scene);
        }
        assert_int_equal(event, WS_NONE);
    }
    assert_int_equal(pings, 1);
    assert_int_equal(arrive(&scene, bytes + sizeof bytes - 2, 1), WS_MESSAGE);
    assert_message(&scene, WS_TEXT, "Hello");
    assert_int_equal(next(&scene), WS_NONE);
    assert_int_equal(fake_mem_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(message_in_one_read_lies_where_it_was_read, NULL, tear_down),
        cmocka_unit_test_setup_teardown(idle_reader_is_small_and_holds_nothing, NULL, tear_down),
        cmocka_unit_test_setup_teardown(ping_in_pieces_between_fragments_in_pieces, NULL, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
