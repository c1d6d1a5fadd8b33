/* http/ws/ws_reader.c: what the cases of tests/ws do not show: where a message lies, what memory is held meanwhile,
 * failing allocations, and the hook that inflates. */

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
        assert_int_equal(arrive(&scene, &HELLO[cut], 11 - cut), WS_MESSAGE);
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

static void memory_follows_what_has_arrived_not_what_a_head_announces(void **state)
{
    static char bytes[1000];
    struct scene scene;
    (void)state;

    open_scene(&scene);
    scene.rules.max_message = 1 << 20;
    assert_int_equal(arrive(&scene, "\x82\xff\0\0\0\0\0\x10\0\0\0\0\0\0", 14), WS_NONE);
    assert_int_equal(fake_mem_live(), 0);
    for (size_t sum = 0; sum < 1 << 20; sum += sizeof bytes) {
        size_t len = (1 << 20) - sum < sizeof bytes ? (1 << 20) - sum : sizeof bytes;
        enum ws_event event = arrive(&scene, bytes, len);
        assert_int_equal(event, sum + len == 1 << 20 ? WS_MESSAGE : WS_NONE);
        assert_true(fake_mem_live_bytes() <= 2 * (sum + len) + 512);
        assert_true(fake_mem_live_bytes() <= (1 << 20) + 512);
    }
    assert_int_equal(scene.what.len, 1 << 20);
    assert_int_equal(next(&scene), WS_NONE);
    assert_int_equal(fake_mem_live(), 0);
}

static void last_fragment_takes_no_more_memory_than_its_message(void **state)
{
    static char bytes[2000];
    struct scene scene;
    (void)state;

    open_scene(&scene);
    scene.rules.max_message = 1000;
    assert_int_equal(arrive(&scene, "\x02\xfe\x03\x20\0\0\0\0", 8), WS_NONE); /* 800 bytes */
    assert_int_equal(arrive(&scene, bytes, 800), WS_NONE);
    assert_true(fake_mem_live_bytes() <= 1000 + 512);
    assert_int_equal(arrive(&scene, "\x80\xfe\x00\xc8\0\0\0\0", 8), WS_NONE); /* 200 bytes */
    assert_int_equal(arrive(&scene, bytes, 200), WS_MESSAGE);
    assert_int_equal(scene.what.len, 1000);
    ws_reader_done(&scene.reader);
}

static void reader_gives_up_what_it_holds(void **state)
{
    struct scene scene;
    (void)state;

    open_scene(&scene);
    assert_int_equal(arrive(&scene, "\x01\x82\0\0\0\0He\x89\x85\0\0\0\0ab", 16), WS_NONE);
    assert_int_equal(fake_mem_live(), 1);
    ws_reader_done(&scene.reader);
    assert_int_equal(fake_mem_live(), 0);
}

/* An inflater that makes 1,000 bytes of each one. */
struct bellows {
    size_t pending;
    size_t most_room;
    int rv; /* returned instead, if it is not 0 */
    bool is_stuck;
};

static ssize_t blow_up(void *arg, const char **in, size_t *in_len, bool ends, char *out, size_t room)
{
    struct bellows *bellows = arg;
    size_t got = 0;

    assert_true(room > 0);
    bellows->most_room = room > bellows->most_room ? room : bellows->most_room;
    if (bellows->rv != 0 || bellows->is_stuck) {
        return bellows->rv;
    }
    for (;;) {
        size_t piece = bellows->pending < room - got ? bellows->pending : room - got;
        memset(out + got, 'x', piece);
        got += piece;
        bellows->pending -= piece;
        if (got == room || *in_len == 0) {
            return (ssize_t)got;
        }
        bellows->pending = ends ? 0 : 1000;
        ++*in;
        --*in_len;
    }
}

static void open_deflated(struct scene *scene, struct bellows *bellows)
{
    *bellows = (struct bellows){0};
    open_scene(scene);
    scene->rules.max_message = 8 << 20;
    scene->rules.inflate = blow_up;
    scene->rules.inflate_arg = bellows;
}

static void much_that_is_inflated_is_inflated_in_steps(void **state)
{
    char bytes[8 + 3000] = "\xc2\xfe\x0b\xb8";
    struct scene scene;
    struct bellows bellows;
    size_t had = 0;
    int steps = 0;
    (void)state;

    open_deflated(&scene, &bellows);
    enum ws_event event = arrive(&scene, bytes, sizeof bytes);
    for (; event == WS_GOES_ON; event = next(&scene)) {
        size_t used = (size_t)(scene.at - scene.block);
        assert_true((used - had) * 1000 <= WS_INFLATE_STEP_BYTES + 520 * 1000);
        had = used;
        steps++;
    }
    assert_int_equal(event, WS_MESSAGE);
    assert_int_equal(scene.what.len, 3000 * 1000);
    assert_true(steps >= 5);
    assert_int_equal(next(&scene), WS_NONE);
    assert_int_equal(fake_mem_live(), 0);
}

static void bomb_takes_no_more_room_than_max_message(void **state)
{
    struct scene scene;
    struct bellows bellows;
    (void)state;

    open_deflated(&scene, &bellows);
    scene.rules.max_message = 5000;
    assert_int_equal(arrive(&scene, "\xc2\x85\0\0\0\0abcde", 11), WS_MESSAGE);
    assert_int_equal(scene.what.len, 5000);
    assert_int_equal(next(&scene), WS_NONE);
    assert_int_equal(arrive(&scene, "\xc2\x86\0\0\0\0abcdef", 12), WS_FAIL);
    assert_int_equal(scene.what.code, WS_CODE_TOO_BIG);
    assert_true(bellows.most_room <= 5001);
    assert_int_equal(fake_mem_live(), 0);
}

static void inflater_that_fails_or_stands_still_ends_the_connection(void **state)
{
    static const struct {
        struct bellows bellows;
        unsigned code;
    } rows[] = {
        {{.rv = -EPROTO}, WS_CODE_INVALID},
        {{.rv = -ENOMEM}, WS_CODE_INTERNAL},
        {{.is_stuck = true}, WS_CODE_INVALID},
    };
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct scene scene;
        struct bellows bellows;
        open_deflated(&scene, &bellows);
        bellows = rows[i].bellows;
        assert_int_equal(arrive(&scene, "\xc2\x85\0\0\0\0abcde", 11), WS_FAIL);
        assert_int_equal(scene.what.code, rows[i].code);
        assert_int_equal(next(&scene), WS_NONE);
        assert_int_equal(scene.len, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(message_in_one_read_lies_where_it_was_read, NULL, tear_down),
        cmocka_unit_test_setup_teardown(idle_reader_is_small_and_holds_nothing, NULL, tear_down),
        cmocka_unit_test_setup_teardown(ping_in_pieces_between_fragments_in_pieces, NULL, tear_down),
        cmocka_unit_test_setup_teardown(memory_follows_what_has_arrived_not_what_a_head_announces, NULL, tear_down),
        cmocka_unit_test_setup_teardown(last_fragment_takes_no_more_memory_than_its_message, NULL, tear_down),
        cmocka_unit_test_setup_teardown(reader_gives_up_what_it_holds, NULL, tear_down),
        cmocka_unit_test_setup_teardown(much_that_is_inflated_is_inflated_in_steps, NULL, tear_down),
        cmocka_unit_test_setup_teardown(bomb_takes_no_more_room_than_max_message, NULL, tear_down),
        cmocka_unit_test_setup_teardown(inflater_that_fails_or_stands_still_ends_the_connection, NULL, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
