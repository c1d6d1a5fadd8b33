/* core/redis_reader.c: replies of Redis in pieces of every size, and what is none. Skipped without hiredis. */

#include "core/redis_reader.h"
#include "tests/lib/fake_mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char replies[] =
    "+OK\r\n-ERR no\r\n:-12\r\n$-1\r\n$5\r\na\0b\r\n\r\n*3\r\n$7\r\nmessage\r\n:1\r\n*0\r\n*-1\r\n";

static struct redis_reader *open_reader(void)
{
    struct redis_reader *reader;
    if (!redis_reader_is_there()) {
        skip();
    }
    assert_int_equal(redis_reader_create(&reader), 0);
    return reader;
}

static void check_reply(const struct redis_reply *reply, unsigned n)
{
    static const enum redis_kind kinds[] = {REDIS_STATUS, REDIS_ERROR, REDIS_NUMBER, REDIS_NOTHING,
                                            REDIS_TEXT,   REDIS_LIST,  REDIS_NOTHING};
    assert_int_equal(reply->kind, kinds[n]);
    if (n == 0) {
        assert_true(redis_reply_is(reply, "OK"));
    } else if (n == 1) {
        assert_true(redis_reply_is(reply, "ERR no") && !redis_reply_is(reply, "ERR"));
    } else if (n == 2) {
        assert_int_equal(reply->number, -12);
    } else if (n == 4) {
        assert_int_equal(reply->len, 5);
        assert_memory_equal(reply->text, "a\0b\r\n", 5);
    } else if (n == 5) {
        assert_int_equal(reply->count, 3);
        struct redis_reply item = redis_reply_item(reply, 0);
        assert_true(redis_reply_is(&item, "message"));
        item = redis_reply_item(reply, 1);
        assert_true(item.kind == REDIS_NUMBER && item.number == 1 && !redis_reply_is(&item, ""));
        item = redis_reply_item(reply, 2);
        assert_true(item.kind == REDIS_LIST && item.count == 0);
    }
}

static void replies_are_read_however_they_come(void **state)
{
    (void)state;
    for (size_t step = 1; step <= sizeof replies; step++) {
        struct redis_reader *reader = open_reader();
        struct redis_reply reply;
        unsigned n = 0;
        for (size_t at = 0; at < sizeof replies - 1; at += step) {
            size_t len = sizeof replies - 1 - at < step ? sizeof replies - 1 - at : step;
            assert_int_equal(redis_reader_feed(reader, replies + at, len), 0);
            int rv;
            while ((rv = redis_reader_next(reader, &reply)) == 1) {
                check_reply(&reply, n++);
            }
            assert_int_equal(rv, 0);
        }
        assert_int_equal(n, 7);
        redis_reader_destroy(reader);
    }
}

static void what_is_no_reply_is_an_error(void **state)
{
    struct redis_reader *reader = open_reader();
    struct redis_reply reply;
    (void)state;
    assert_int_equal(redis_reader_feed(reader, "HTTP/1.1 400\r\n", 14), 0);
    assert_int_equal(redis_reader_next(reader, &reply), -EPROTO);
    redis_reader_destroy(reader);
    redis_reader_destroy(NULL);
}

static void reply_has_a_limit(void **state)
{
    static char block[1 << 16];
    struct redis_reader *reader = open_reader();
    struct redis_reply reply;
    size_t fed;
    (void)state;
    assert_int_equal(redis_reader_feed(reader, "$33554433\r\n", 11), 0);
    for (fed = 11; fed + sizeof block <= REDIS_REPLY_BYTES_MAX; fed += sizeof block) {
        assert_int_equal(redis_reader_feed(reader, block, sizeof block), 0);
        assert_int_equal(redis_reader_next(reader, &reply), 0);
    }
    assert_int_equal(redis_reader_feed(reader, block, REDIS_REPLY_BYTES_MAX - fed), 0);
    assert_int_equal(redis_reader_feed(reader, block, 1), -EMSGSIZE);
    redis_reader_destroy(reader);
}

static void memory_may_be_short(void **state)
{
    struct redis_reader *reader;
    (void)state;
    redis_reader_destroy(open_reader());
    fake_mem_fail_after(1, false);
    assert_int_equal(redis_reader_create(&reader), -ENOMEM);
    fake_mem_fail_after(0, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_are_read_however_they_come),
        cmocka_unit_test(what_is_no_reply_is_an_error),
        cmocka_unit_test(reply_has_a_limit),
        cmocka_unit_test(memory_may_be_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
