/* core/program/log_stream.c on real pipes, sockets and files: when lines are written, and what happens when nobody
 * reads them. */

#include "core/log.h"
#include "core/program/log_stream.h"
#include "tests/lib/fake_mem.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum {
    HEAD_LEN = sizeof "1994-11-06T08:49:37.000Z info " - 1,
    LINE_LEN = 1024, /* of put_numbered(), its newline included */
    FULL = LOG_STREAM_QUEUE_MAX / LINE_LEN,
    THREADS = 4,
    LINES_EACH = 2000,
    TEXT_LEN = 16 << 20,
};

static struct log_stream stream;
static int reader, writer;
static char *text; /* what was read so far */
static size_t text_len;

static void begin(int fds[2])
{
    reader = fds[0];
    writer = fds[1];
    text_len = 0;
    log_stream_init(&stream, writer);
}

static int set_up(void **state)
{
    (void)state;
    int fds[2];
    text = test_malloc(TEXT_LEN);
    if (pipe2(fds, O_CLOEXEC) < 0) {
        return -1;
    }
    begin(fds);
    return 0;
}

static int set_up_sockets(void **state)
{
    (void)state;
    int fds[2];
    text = test_malloc(TEXT_LEN);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
        return -1;
    }
    begin(fds);
    return 0;
}

/* A pipe that cannot be opened again, as that of another user. */
static int set_up_asked(void **state)
{
    int rv = set_up(state);
    close(stream.fd);
    stream.fd = writer;
    stream.is_own = false;
    stream.kind = LOG_STREAM_ASKED;
    return rv;
}

static int tear_down(void **state)
{
    (void)state;
    close(reader);
    close(writer);
    test_free(text);
    return fake_mem_live() == 0 ? 0 : -1;
}

/* Read once. Returns whether something came within the time. */
static bool read_some(int ms)
{
    struct pollfd wanted = {.fd = reader, .events = POLLIN};
    ssize_t got = poll(&wanted, 1, ms) > 0 ? read(reader, text + text_len, TEXT_LEN - 1 - text_len) : 0;
    text_len += got > 0 ? (size_t)got : 0;
    text[text_len] = '\0';
    return got > 0;
}

/* Read what there is. Returns all that was read. */
static const char *read_all(void)
{
    while (read_some(0)) {
    }
    return text;
}

/* Read until the text ends with tail. */
static void read_until(const char *tail)
{
    size_t len = strlen(tail);
    while (text_len < len || memcmp(text + text_len - len, tail, len) != 0) {
        if (!read_some(30000)) {
            fail_msg("nothing more comes, and no \"%s\"", tail);
        }
    }
}

/* The texts of the lines that were read, without their times. */
static void assert_lines(const char *expected)
{
    char seen[4096] = "";
    size_t len = 0;
    for (const char *at = text; *at != '\0';) {
        const char *end = strchr(at, '\n');
        assert_non_null(end);
        assert_in_range(end - at, 25, 200);
        assert_int_equal(at[23], 'Z');
        len += (size_t)snprintf(seen + len, sizeof seen - len, "%.*s|", (int)(end - at) - 25, at + 25);
        at = end + 1;
    }
    assert_string_equal(seen, expected);
}

/* Write line number n, of LINE_LEN bytes. */
static void put_numbered(unsigned n)
{
    char line[LINE_LEN];
    memset(line, '.', sizeof line);
    size_t digits = (size_t)snprintf(line, sizeof line, "%u", n);
    line[digits] = ' ';
    line[LINE_LEN - 1 - HEAD_LEN] = '\0';
    log_stream_write(&stream, LOG_INFO, line);
}

/* Look through the numbered lines that were read, which must be in order. Returns how many there are. */
static unsigned count_numbered(unsigned *last)
{
    unsigned count = 0;
    char *at = text;
    long before = -1;
    for (char *end; (end = strchr(at, '\n')) != NULL; at = end + 1) {
        if (memcmp(at + 25, "info ", 5) == 0) {
            long n = strtol(at + HEAD_LEN, NULL, 10);
            assert_int_equal(end - at, LINE_LEN - 1);
            assert_true(n > before);
            before = n;
            count++;
        }
    }
    assert_int_equal(*at, '\0');
    *last = (unsigned)before;
    return count;
}

/* Leave no room in the pipe. */
static void fill_pipe(void)
{
    int again;
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", writer);
    again = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(again >= 0);
    while (write(again, "\n", 1) == 1) {
    }
    close(again);
}

/* The thread that writes the queue may be at work. */
static unsigned lost_lines(void)
{
    pthread_mutex_lock(&stream.lock);
    unsigned lines = stream.lost_lines;
    pthread_mutex_unlock(&stream.lock);
    return lines;
}

static void lines_are_held_back_until_the_release(void **state)
{
    (void)state;
    log_stream_write(&stream, LOG_INFO, "one");
    log_stream_write(&stream, LOG_ERROR, "");
    assert_string_equal(read_all(), "");
    log_stream_release(&stream);
    read_all();
    assert_lines("info one|error |");
    log_stream_write(&stream, LOG_WARN, "two");
    log_stream_release(&stream);
    read_all();
    assert_lines("info one|error |warn two|");
    log_stream_done(&stream);
}

static void a_printed_line_comes_before_those_held_back(void **state)
{
    (void)state;
    log_stream_write(&stream, LOG_INFO, "one");
    log_stream_print(&stream, LOG_INFO, "listening on this or that");
    assert_string_equal(read_all(), "listening on this or that\n");
    log_stream_release(&stream);
    assert_string_not_equal(read_all(), "listening on this or that\n");
    log_stream_done(&stream);
}

static void a_line_that_cannot_be_held_ends_the_holding(void **state)
{
    (void)state;
    unsigned last;
    put_numbered(0);
    fake_mem_fail_after(1, true);
    for (unsigned i = 1; i < 5; i++) { /* the block that the first one made has room for three more */
        put_numbered(i);
    }
    fake_mem_fail_after(0, false);
    read_all();
    assert_int_equal(count_numbered(&last), 5);
    assert_int_equal(lost_lines(), 0);
    assert_false(stream.is_holding);
    log_stream_done(&stream);
}

static void nothing_held_is_nothing_written(void **state)
{
    (void)state;
    log_stream_release(&stream);
    log_stream_done(&stream);
    assert_string_equal(read_all(), "");
}

static void what_is_never_released_is_dropped(void **state)
{
    (void)state;
    log_stream_write(&stream, LOG_INFO, "one");
    log_stream_done(&stream);
    assert_string_equal(read_all(), "");
}

static void a_line_that_the_stream_takes_needs_no_memory(void **state)
{
    (void)state;
    log_stream_release(&stream);
    fake_mem_fail_after(1, true);
    log_stream_write(&stream, LOG_INFO, "one");
    fake_mem_fail_after(0, false);
    read_all();
    assert_lines("info one|");
    assert_false(stream.has_thread);
    log_stream_done(&stream);
}

static void flags_of_the_inherited_stream_stay_as_they_were(void **state)
{
    (void)state;
    assert_int_equal(fcntl(writer, F_GETFL) & O_NONBLOCK, 0);
    log_stream_done(&stream);
    assert_int_equal(fcntl(writer, F_GETFL) & O_NONBLOCK, 0);
}

static void lines_that_nobody_reads_are_queued_and_come_whole_and_in_order(void **state)
{
    (void)state;
    unsigned last;
    log_stream_release(&stream);
    for (unsigned i = 0; i < FULL; i++) {
        put_numbered(i);
    }
    log_stream_write(&stream, LOG_WARN, "last");
    read_until("last\n");
    assert_int_equal(count_numbered(&last), FULL);
    assert_int_equal(last, FULL - 1);
    assert_null(strstr(text, "dropped"));
    log_stream_done(&stream);
}

static void a_full_queue_drops_lines_and_says_how_many(void **state)
{
    (void)state;
    unsigned last;
    fill_pipe();
    log_stream_release(&stream);
    for (unsigned i = 0; i < FULL; i++) {
        put_numbered(i);
    }
    assert_int_equal(lost_lines(), 0); /* the queue is full to the byte */
    for (unsigned i = 0; i < 7; i++) {
        put_numbered(FULL + i);
        assert_int_equal(lost_lines(), i + 1);
    }
    read_until("warn 7 lines of the log were dropped because standard error was not read\n");
    log_stream_write(&stream, LOG_WARN, "after");
    read_until("after\n");
    memmove(text, text + strspn(text, "\n"), text_len + 1 - strspn(text, "\n")); /* those of fill_pipe() */
    assert_int_equal(count_numbered(&last), FULL);
    assert_int_equal(last, FULL - 1);
    log_stream_done(&stream);
}

static void dropping_lasts_until_half_of_the_queue_is_free(void **state)
{
    (void)state;
    fill_pipe();
    log_stream_release(&stream);
    for (unsigned i = 0; i < FULL + 1; i++) {
        put_numbered(i);
    }
    for (size_t left = LOG_STREAM_QUEUE_MAX / 4; left > 0;) { /* the pipe takes what is read from it */
        ssize_t got = read(reader, text, left < LINE_LEN ? left : LINE_LEN);
        assert_true(got > 0);
        left -= (size_t)got;
    }
    put_numbered(FULL + 1);
    assert_int_equal(lost_lines(), 2);
    read_until("warn 2 lines of the log were dropped because standard error was not read\n");
    log_stream_done(&stream);
}

static void a_reader_that_has_gone_costs_its_lines_only(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    log_stream_release(&stream);
    close(reader);
    for (unsigned i = 0; i < 3; i++) {
        put_numbered(i);
    }
    assert_int_equal(lost_lines(), 3);
    log_stream_done(&stream);
    reader = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* The stream is a file instead. */
static void begin_file(void)
{
    log_stream_done(&stream);
    close(writer);
    char path[] = "/tmp/log_stream_XXXXXX";
    writer = mkstemp(path);
    assert_true(writer >= 0);
    close(reader);
    reader = open(path, O_RDONLY | O_CLOEXEC);
    unlink(path);
    log_stream_init(&stream, writer);
    log_stream_release(&stream);
}

/* Let the file have so many bytes at most. Returns the limit before. */
static struct rlimit limit_file(rlim_t most)
{
    struct rlimit before, limit = {.rlim_cur = most};
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    limit.rlim_max = before.rlim_max;
    setrlimit(RLIMIT_FSIZE, &limit);
    return before;
}

static void a_line_that_a_full_disk_tears_is_continued_by_no_other(void **state)
{
    (void)state;
    begin_file();
    const struct rlimit before = limit_file(20);
    put_numbered(0);
    put_numbered(1);
    setrlimit(RLIMIT_FSIZE, &before);
    log_stream_write(&stream, LOG_WARN, "after");
    read_all();
    const char *second = strchr(text, '\n');
    assert_ptr_equal(second, text + 20);
    assert_non_null(strstr(second, " warn after\n"));
    assert_int_equal(strcspn(second + 1, "\n"), strlen("2000-01-01T00:00:00.000Z warn after"));
    log_stream_done(&stream);
}

static void a_disk_that_was_full_is_reported(void **state)
{
    (void)state;
    begin_file();
    const struct rlimit before = limit_file(0);
    put_numbered(0);
    put_numbered(1);
    setrlimit(RLIMIT_FSIZE, &before);
    log_stream_write(&stream, LOG_WARN, "after");
    read_all();
    assert_lines("warn after|warn 2 lines of the log were dropped because standard error could not be written: "
                 "File too large|");
    log_stream_done(&stream);
}

static void done_writes_what_a_late_reader_takes(void **state)
{
    (void)state;
    unsigned last;
    log_stream_release(&stream);
    for (unsigned i = 0; i < 32; i++) { /* a pipe holds them */
        put_numbered(i);
    }
    log_stream_done(&stream);
    read_all();
    assert_int_equal(count_numbered(&last), 32);
}

static void done_does_not_wait_for_ever(void **state)
{
    (void)state;
    log_stream_release(&stream);
    for (unsigned i = 0; i < 200; i++) {
        put_numbered(i);
    }
    log_stream_done(&stream);
}

static void *log_lines(void *arg)
{
    for (unsigned i = 0; i < LINES_EACH; i++) {
        char line[64];
        snprintf(line, sizeof line, "thread %c line %u", *(const char *)arg, i);
        log_stream_write(&stream, LOG_INFO, line);
    }
    return NULL;
}

static void lines_of_several_threads_come_whole_and_in_order(void **state)
{
    (void)state;
    static const char names[THREADS] = {'a', 'b', 'c', 'd'};
    pthread_t threads[THREADS];
    unsigned next[THREADS] = {0};
    log_stream_release(&stream);
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, log_lines, (void *)(uintptr_t)&names[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    log_stream_write(&stream, LOG_WARN, "last");
    read_until("last\n");
    for (const char *at = text; strstr(at, "last\n") != at + HEAD_LEN; at = strchr(at, '\n') + 1) {
        char expected[64];
        unsigned thread = (unsigned)(at[HEAD_LEN + 7] - 'a');
        assert_in_range(thread, 0, THREADS - 1);
        int len = snprintf(expected, sizeof expected, "thread %c line %u\n", names[thread], next[thread]++);
        assert_memory_equal(at + HEAD_LEN, expected, (size_t)len);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(next[i], LINES_EACH);
    }
    log_stream_done(&stream);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_EACH(name)                                                                                                \
    cmocka_unit_test_setup_teardown(name, set_up, tear_down),                                                          \
        {#name " (sockets)", name, set_up_sockets, tear_down, NULL},                                                   \
    {                                                                                                                  \
#name " (a pipe of another user)", name, set_up_asked, tear_down, NULL                                         \
    }
    const struct CMUnitTest tests[] = {
        TEST_EACH(lines_are_held_back_until_the_release),
        TEST(a_printed_line_comes_before_those_held_back),
        TEST(a_line_that_cannot_be_held_ends_the_holding),
        TEST(nothing_held_is_nothing_written),
        TEST(what_is_never_released_is_dropped),
        TEST_EACH(a_line_that_the_stream_takes_needs_no_memory),
        TEST_EACH(flags_of_the_inherited_stream_stay_as_they_were),
        TEST_EACH(lines_that_nobody_reads_are_queued_and_come_whole_and_in_order),
        TEST(a_full_queue_drops_lines_and_says_how_many),
        TEST(dropping_lasts_until_half_of_the_queue_is_free),
        TEST_EACH(a_reader_that_has_gone_costs_its_lines_only),
        TEST(a_line_that_a_full_disk_tears_is_continued_by_no_other),
        TEST(a_disk_that_was_full_is_reported),
        TEST_EACH(done_writes_what_a_late_reader_takes),
        TEST_EACH(done_does_not_wait_for_ever),
        TEST_EACH(lines_of_several_threads_come_whole_and_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
