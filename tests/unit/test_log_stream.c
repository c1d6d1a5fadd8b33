/* core/log_stream.c: when lines are written, and how. */

#include "core/log.h"
#include "core/log_stream.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static char *written;
static size_t written_len;
static struct log_stream stream;

static int set_up(void **state)
{
    (void)state;
    fake_sys_set_wall_time_s(784111777); /* the example of RFC 9110 */
    log_stream_init(&stream, open_memstream(&written, &written_len));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    log_stream_done(&stream);
    fclose(stream.to);
    free(written);
    fake_sys_reset();
    return fake_mem_live() == 0 ? 0 : -1;
}

static const char *text(void)
{
    fflush(stream.to);
    return written;
}

static void lines_are_held_back_until_the_release(void **state)
{
    (void)state;
    log_stream_write(&stream, LOG_INFO, "one");
    log_stream_write(&stream, LOG_ERROR, "");
    assert_string_equal(text(), "");
    log_stream_release(&stream);
    assert_string_equal(text(), "1994-11-06T08:49:37Z info one\n1994-11-06T08:49:37Z error \n");
    log_stream_write(&stream, LOG_WARN, "two");
    log_stream_release(&stream);
    assert_string_equal(text(), "1994-11-06T08:49:37Z info one\n1994-11-06T08:49:37Z error \n"
                                "1994-11-06T08:49:37Z warn two\n");
}

static void a_line_without_memory_is_written_at_once(void **state)
{
    (void)state;
    log_stream_write(&stream, LOG_INFO, "one");
    fake_mem_fail_after(1, false);
    log_stream_write(&stream, LOG_INFO, "two");
    assert_string_equal(text(), "1994-11-06T08:49:37Z info two\n");
    log_stream_release(&stream);
    assert_string_equal(text(), "1994-11-06T08:49:37Z info two\n1994-11-06T08:49:37Z info one\n");
}

static void nothing_held_is_nothing_written(void **state)
{
    (void)state;
    log_stream_release(&stream);
    assert_string_equal(text(), "");
}

static void what_is_never_released_is_dropped(void **state)
{
    (void)state;
    log_stream_write(&stream, LOG_INFO, "one");
    assert_string_equal(text(), "");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(lines_are_held_back_until_the_release),
        TEST(a_line_without_memory_is_written_at_once),
        TEST(nothing_held_is_nothing_written),
        TEST(what_is_never_released_is_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
