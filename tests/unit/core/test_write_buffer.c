/* core/write_buffer.c: the queue by itself, and sending on the fake kernel. */

#include "core/mem.h"
#include "core/write_buffer.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define FIRST ((size_t)512)   /* bytes of the first block */
#define CAP   ((size_t)65536) /* of most tests */

static size_t blocks_before;

static int set_up(void **state)
{
    (void)state;
    blocks_before = fake_mem_live();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_mem_fail_after(0, false);
    fake_sys_reset();
    if (fake_mem_live() != blocks_before) {
        print_error("%zu blocks left\n", fake_mem_live() - blocks_before);
        return -1;
    }
    return 0;
}

/* What must always hold. */
static void check(const struct write_buffer *buffer)
{
    assert_true(buffer->start <= buffer->end);
    assert_true(buffer->end <= buffer->capacity);
    assert_true((buffer->block == NULL) == (buffer->capacity == 0));
    assert_true(write_buffer_len(buffer) > 0 || buffer->start == 0);
}

/* Byte number offset of an endless text in which every gap, repetition and swap shows. */
static char byte_at(size_t offset)
{
    size_t word = offset / 4;
    return (char)(word >> (8 * (offset % 4)) ^ word * 31);
}

static void fill(char *data, size_t offset, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        data[i] = byte_at(offset + i);
    }
}

/* The buffer holds bytes [from, to) of the text. */
static void assert_holds(const struct write_buffer *buffer, size_t from, size_t to)
{
    check(buffer);
    assert_int_equal(write_buffer_len(buffer), to - from);
    for (size_t i = from; i < to; i++) {
        if (write_buffer_data(buffer)[i - from] != byte_at(i)) {
            fail_msg("byte %zu of the text is wrong", i);
        }
    }
}

static int append(struct write_buffer *buffer, size_t offset, size_t len, size_t cap)
{
    char *data = malloc(len + 1);
    assert_non_null(data);
    fill(data, offset, len);
    int rv = write_buffer_append(buffer, data, len, cap);
    free(data);
    return rv;
}

static void an_empty_buffer_holds_no_memory(void **state)
{
    (void)state;
    struct write_buffer buffer;
    uint64_t calls = fake_mem_calls();
    write_buffer_init(&buffer);
    check(&buffer);
    assert_int_equal(write_buffer_len(&buffer), 0);
    assert_int_equal(write_buffer_append(&buffer, "", 0, CAP), 0);
    assert_int_equal(write_buffer_append(&buffer, NULL, 0, 0), 0);
    write_buffer_consume(&buffer, 0);
    write_buffer_consume(&buffer, 100);
    assert_int_equal(write_buffer_flush(&buffer, -1, 100, false), WRITE_DRAINED);
    size_t capacity = 1;
    assert_null(write_buffer_detach(&buffer, &capacity));
    assert_int_equal(capacity, 0);
    write_buffer_done(&buffer);
    write_buffer_done(&buffer);
    assert_int_equal(fake_mem_calls(), calls);
}

static void bytes_come_out_in_the_order_they_went_in(void **state)
{
    (void)state;
    struct write_buffer buffer;
    write_buffer_init(&buffer);
    assert_int_equal(append(&buffer, 0, 10, CAP), 0);
    assert_int_equal(append(&buffer, 10, 5, CAP), 0);
    assert_holds(&buffer, 0, 15);
    write_buffer_consume(&buffer, 4);
    assert_holds(&buffer, 4, 15);
    assert_int_equal(append(&buffer, 15, 1, CAP), 0);
    assert_holds(&buffer, 4, 16);
    write_buffer_consume(&buffer, 11);
    assert_holds(&buffer, 15, 16);
    write_buffer_consume(&buffer, 1);
    assert_holds(&buffer, 16, 16);
    assert_int_equal(append(&buffer, 16, 3, CAP), 0);
    write_buffer_consume(&buffer, 1000); /* more than there is */
    assert_holds(&buffer, 19, 19);
    write_buffer_done(&buffer);
}

static void the_block_doubles_as_it_fills(void **state)
{
    (void)state;
    struct write_buffer buffer;
    write_buffer_init(&buffer);
    uint64_t calls = fake_mem_calls();
    for (size_t len = 0; len < CAP; len += 64) {
        assert_int_equal(append(&buffer, len, 64, CAP), 0);
        size_t expected = FIRST;
        while (expected < len + 64) {
            expected *= 2;
        }
        assert_int_equal(buffer.capacity, expected);
    }
    assert_holds(&buffer, 0, CAP);
    assert_int_equal(fake_mem_calls() - calls, 8); /* 512 bytes, 1, 2, 4, 8, 16, 32, 64 KiB */
    write_buffer_done(&buffer);
}

static void a_large_append_doubles_as_often_as_needed(void **state)
{
    (void)state;
    static const struct {
        size_t len, capacity;
    } rows[] = {{1, FIRST}, {FIRST, FIRST}, {FIRST + 1, 2 * FIRST}, {5 * FIRST, 8 * FIRST}, {CAP, CAP}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct write_buffer buffer;
        write_buffer_init(&buffer);
        assert_int_equal(append(&buffer, 0, rows[i].len, CAP), 0);
        assert_int_equal(buffer.capacity, rows[i].capacity);
        assert_holds(&buffer, 0, rows[i].len);
        write_buffer_done(&buffer);
    }
}

static void the_cap_is_reached_and_not_passed(void **state)
{
    (void)state;
    static const size_t caps[] = {1, 10, FIRST - 1, FIRST, FIRST + 1, 10000, 3 * FIRST, CAP};
    for (size_t i = 0; i < sizeof caps / sizeof caps[0]; i++) {
        struct write_buffer buffer;
        size_t cap = caps[i];
        write_buffer_init(&buffer);
        assert_int_equal(append(&buffer, 0, cap + 1, cap), -ENOBUFS);
        assert_holds(&buffer, 0, 0);
        for (size_t at = 0; at < cap; at++) {
            assert_int_equal(append(&buffer, at, 1, cap), 0);
            assert_true(buffer.capacity <= cap);
        }
        assert_holds(&buffer, 0, cap); /* at the cap */
        assert_int_equal(append(&buffer, cap, 1, cap), -ENOBUFS);
        assert_holds(&buffer, 0, cap);
        write_buffer_consume(&buffer, 1);
        assert_int_equal(append(&buffer, cap, 2, cap), -ENOBUFS);
        assert_int_equal(append(&buffer, cap, 1, cap), 0); /* as much as was consumed */
        assert_holds(&buffer, 1, cap + 1);
        assert_true(buffer.capacity <= cap);
        write_buffer_done(&buffer);
    }
}

static void lengths_that_overflow_are_refused(void **state)
{
    (void)state;
    struct write_buffer buffer;
    write_buffer_init(&buffer);
    assert_int_equal(append(&buffer, 0, 10, CAP), 0);
    int error = 0;
    assert_int_equal(write_buffer_append(&buffer, "x", SIZE_MAX, CAP), -ENOBUFS);
    assert_int_equal(write_buffer_append(&buffer, "x", SIZE_MAX - 5, SIZE_MAX), -ENOBUFS);
    assert_int_equal(write_buffer_append(&buffer, "x", (size_t)UINT32_MAX - 9, SIZE_MAX), -ENOBUFS);
    assert_null(write_buffer_reserve(&buffer, SIZE_MAX, SIZE_MAX, &error));
    assert_int_equal(error, -ENOBUFS);
    assert_null(write_buffer_reserve(&buffer, CAP, CAP, NULL));
    assert_holds(&buffer, 0, 10);
    write_buffer_done(&buffer);
}

static void a_cap_below_what_is_queued_refuses_more_and_keeps_what_is_there(void **state)
{
    (void)state;
    struct write_buffer buffer;
    write_buffer_init(&buffer);
    assert_int_equal(append(&buffer, 0, 1000, CAP), 0);
    assert_int_equal(append(&buffer, 1000, 1, 500), -ENOBUFS);
    assert_int_equal(append(&buffer, 1000, 0, 500), 0);
    assert_holds(&buffer, 0, 1000);
    write_buffer_done(&buffer);
}

/* The gap in front is closed instead of growing, once it is half of the block. */
static void a_half_empty_block_is_compacted_and_does_not_grow(void **state)
{
    (void)state;
    struct write_buffer buffer;
    write_buffer_init(&buffer);
    assert_int_equal(append(&buffer, 0, FIRST, CAP), 0);
    uint64_t calls = fake_mem_calls();
    write_buffer_consume(&buffer, FIRST / 2);
    assert_int_equal(append(&buffer, FIRST, 100, CAP), 0);
    assert_int_equal(fake_mem_calls(), calls);
    assert_int_equal(buffer.start, 0);
    assert_holds(&buffer, FIRST / 2, FIRST + 100);
    write_buffer_done(&buffer);
}

static void a_block_with_a_small_gap_grows(void **state)
{
    (void)state;
    struct write_buffer buffer;
    write_buffer_init(&buffer);
    assert_int_equal(append(&buffer, 0, FIRST, CAP), 0);
    write_buffer_consume(&buffer, FIRST / 2 - 1);
    assert_int_equal(append(&buffer, FIRST, 100, CAP), 0);
    assert_int_equal(buffer.capacity, 2 * FIRST);
    assert_holds(&buffer, FIRST / 2 - 1, FIRST + 100);
    write_buffer_done(&buffer);
}

static void at_the_cap_every_gap_is_closed(void **state)
{
    (void)state;
    struct write_buffer buffer;
    write_buffer_init(&buffer);
    assert_int_equal(append(&buffer, 0, FIRST, FIRST), 0);
    uint64_t calls = fake_mem_calls();
    for (size_t sent = 0; sent < 3 * FIRST; sent += 3) {
        write_buffer_consume(&buffer, 3);
        assert_int_equal(append(&buffer, FIRST + sent, 3, FIRST), 0);
        check(&buffer);
    }
    assert_holds(&buffer, 3 * FIRST, 4 * FIRST);
    assert_int_equal(fake_mem_calls(), calls);
    write_buffer_done(&buffer);
}

/* A stream that is consumed as fast as it comes stays in its block: no allocation in steady state (R7). */
static void a_steady_stream_does_not_allocate(void **state)
{
    (void)state;
    struct write_buffer buffer;
    write_buffer_init(&buffer);
    assert_int_equal(append(&buffer, 0, 1000, CAP), 0);
    uint64_t calls = 0;
    for (size_t at = 0; at < 1000000; at += 700) {
        assert_int_equal(append(&buffer, 1000 + at, 700, CAP), 0);
        write_buffer_consume(&buffer, 700);
        calls = at == 7000 ? fake_mem_calls() : calls; /* by then the block is as large as it has to be */
    }
    check(&buffer);
    assert_int_equal(fake_mem_calls(), calls);
    assert_true(buffer.capacity <= 4096);
    assert_int_equal(write_buffer_len(&buffer), 1000);
    write_buffer_done(&buffer);
}

/* Appends and consumes of any size against a plain model. */
static void random_traffic_keeps_every_byte(void **state)
{
    (void)state;
    static const size_t caps[] = {100, FIRST, 3 * FIRST + 7, CAP};
    uint64_t seed = 88172645463325252;
    for (size_t c = 0; c < sizeof caps / sizeof caps[0]; c++) {
        struct write_buffer buffer;
        write_buffer_init(&buffer);
        size_t from = 0;
        size_t to = 0;
        for (int i = 0; i < 3000; i++) {
            seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
            size_t len = (size_t)(seed >> 8) % (caps[c] / 3 + 2);
            if (seed & 1) {
                int rv = append(&buffer, to, len, caps[c]);
                assert_int_equal(rv, to - from + len <= caps[c] ? 0 : -ENOBUFS);
                to += rv == 0 ? len : 0;
            } else {
                write_buffer_consume(&buffer, len);
                from += len < to - from ? len : to - from;
            }
            assert_int_equal(write_buffer_len(&buffer), to - from);
            assert_true(buffer.capacity <= caps[c]);
            if (i % 16 == 0) {
                assert_holds(&buffer, from, to);
            }
        }
        write_buffer_done(&buffer);
    }
}

static void what_is_written_into_reserved_room_counts_when_committed(void **state)
{
    (void)state;
    struct write_buffer buffer;
    write_buffer_init(&buffer);
    int error = 1;
    char *room = write_buffer_reserve(&buffer, 100, CAP, &error);
    assert_non_null(room);
    assert_int_equal(error, 1);
    assert_int_equal(write_buffer_len(&buffer), 0);
    fill(room, 0, 100);
    write_buffer_commit(&buffer, 60);
    assert_holds(&buffer, 0, 60);
    room = write_buffer_reserve(&buffer, 2 * FIRST, CAP, &error);
    fill(room, 60, 2 * FIRST);
    assert_holds(&buffer, 0, 60); /* moved along */
    write_buffer_commit(&buffer, 2 * FIRST);
    assert_holds(&buffer, 0, 60 + 2 * FIRST);
    write_buffer_commit(&buffer, 0);
    assert_holds(&buffer, 0, 60 + 2 * FIRST);
    write_buffer_done(&buffer);
    assert_non_null(write_buffer_reserve(&buffer, 0, 0, &error)); /* no room is some room, too */
    assert_non_null(write_buffer_reserve(&buffer, 0, 0, &error));
    assert_int_equal(error, 1);
    write_buffer_done(&buffer);
}

static void without_memory_nothing_changes(void **state)
{
    (void)state;
    struct write_buffer buffer;
    int error = 0;
    write_buffer_init(&buffer);
    fake_mem_fail_after(1, false);
    assert_int_equal(append(&buffer, 0, 10, CAP), -ENOMEM);
    assert_holds(&buffer, 0, 0);
    assert_int_equal(append(&buffer, 0, FIRST, CAP), 0);
    write_buffer_consume(&buffer, 5);
    fake_mem_fail_after(1, true);
    assert_int_equal(append(&buffer, FIRST, 10, CAP), -ENOMEM);
    assert_null(write_buffer_reserve(&buffer, 10, CAP, &error));
    assert_int_equal(error, -ENOMEM);
    assert_holds(&buffer, 5, FIRST);
    fake_mem_fail_after(0, false);
    assert_int_equal(append(&buffer, FIRST, 10, CAP), 0);
    assert_holds(&buffer, 5, FIRST + 10);
    write_buffer_done(&buffer);
}

static void a_block_is_attached_used_and_detached(void **state)
{
    (void)state;
    struct write_buffer buffer;
    write_buffer_init(&buffer);
    char *block = mem_alloc(1000);
    write_buffer_attach(&buffer, block, 1000);
    check(&buffer);
    uint64_t calls = fake_mem_calls();
    assert_int_equal(append(&buffer, 0, 1000, CAP), 0);
    assert_int_equal(fake_mem_calls(), calls);
    assert_ptr_equal(write_buffer_data(&buffer), block);
    size_t capacity = 7;
    assert_null(write_buffer_detach(&buffer, &capacity)); /* not while bytes are queued */
    assert_holds(&buffer, 0, 1000);
    write_buffer_consume(&buffer, 999);
    assert_null(write_buffer_detach(&buffer, &capacity));
    write_buffer_consume(&buffer, 1);
    assert_ptr_equal(write_buffer_detach(&buffer, &capacity), block);
    assert_int_equal(capacity, 1000);
    check(&buffer);
    assert_null(write_buffer_detach(&buffer, &capacity));
    assert_int_equal(capacity, 0);
    mem_free(block);
}

static void an_attached_block_that_grew_comes_back_larger(void **state)
{
    (void)state;
    struct write_buffer buffer;
    write_buffer_attach(&buffer, mem_alloc(1000), 1000);
    assert_int_equal(append(&buffer, 0, 1001, CAP), 0);
    assert_holds(&buffer, 0, 1001);
    assert_int_equal(buffer.capacity, 2000);
    write_buffer_consume(&buffer, 1001);
    size_t capacity = 0;
    char *block = write_buffer_detach(&buffer, &capacity);
    assert_non_null(block);
    assert_int_equal(capacity, 2000);
    memset(block, 0, capacity);
    mem_free(block);
}

static void an_attached_block_larger_than_the_cap_still_keeps_the_cap(void **state)
{
    (void)state;
    struct write_buffer buffer;
    write_buffer_attach(&buffer, mem_alloc(1000), 1000);
    assert_int_equal(append(&buffer, 0, 101, 100), -ENOBUFS);
    assert_int_equal(append(&buffer, 0, 100, 100), 0);
    for (size_t at = 0; at < 2000; at += 10) {
        write_buffer_consume(&buffer, 10);
        assert_int_equal(append(&buffer, 100 + at, 10, 100), 0);
    }
    assert_holds(&buffer, 2000, 2100);
    assert_int_equal(buffer.capacity, 1000);
    write_buffer_done(&buffer);
}

/* Sending. */

/* A connected peer with room for so many bytes, and a buffer with len bytes of the text. */
static struct fake_peer *begin(struct write_buffer *buffer, size_t len, int64_t room)
{
    struct fake_peer *peer = fake_peer_create(-1);
    fake_peer_set_room(peer, room);
    write_buffer_init(buffer);
    assert_int_equal(append(buffer, 0, len, CAP), 0);
    return peer;
}

/* The peer has got bytes [0, len) of the text. */
static void assert_received(const struct fake_peer *peer, size_t expected)
{
    size_t len;
    const char *output = fake_peer_output(peer, &len);
    assert_int_equal(len, expected);
    for (size_t i = 0; i < len; i++) {
        if (output[i] != byte_at(i)) {
            fail_msg("byte %zu arrived wrong", i);
        }
    }
}

static void flush_sends_everything_in_one_call_when_there_is_room(void **state)
{
    (void)state;
    struct write_buffer buffer;
    struct fake_peer *peer = begin(&buffer, 10000, FAKE_NO_LIMIT);
    assert_int_equal(write_buffer_flush(&buffer, fake_peer_fd(peer), SIZE_MAX, false), WRITE_DRAINED);
    assert_received(peer, 10000);
    assert_int_equal(fake_sys_count(FAKE_SEND), 1);
    assert_holds(&buffer, 0, 0);
    assert_int_equal(write_buffer_flush(&buffer, fake_peer_fd(peer), SIZE_MAX, false), WRITE_DRAINED);
    assert_int_equal(fake_sys_count(FAKE_SEND), 1); /* nothing to send, nothing called */
    write_buffer_done(&buffer);
}

static void a_short_write_leaves_the_rest_queued_without_asking_again(void **state)
{
    (void)state;
    struct write_buffer buffer;
    struct fake_peer *peer = begin(&buffer, 1000, 300);
    assert_int_equal(write_buffer_flush(&buffer, fake_peer_fd(peer), SIZE_MAX, false), WRITE_PENDING);
    assert_int_equal(fake_sys_count(FAKE_SEND), 1);
    assert_holds(&buffer, 300, 1000);
    assert_int_equal(write_buffer_flush(&buffer, fake_peer_fd(peer), SIZE_MAX, false), WRITE_PENDING); /* EAGAIN */
    assert_int_equal(fake_sys_count(FAKE_SEND), 2);
    assert_holds(&buffer, 300, 1000);
    fake_peer_set_room(peer, 700);
    assert_int_equal(write_buffer_flush(&buffer, fake_peer_fd(peer), SIZE_MAX, false), WRITE_DRAINED);
    assert_received(peer, 1000);
    write_buffer_done(&buffer);
}

static void every_way_of_splitting_a_message_arrives_intact(void **state)
{
    (void)state;
    enum { LEN = 40 };
    for (int64_t room = 1; room <= LEN + 1; room++) {
        struct write_buffer buffer;
        struct fake_peer *peer = begin(&buffer, LEN, 0);
        int flushes = 0;
        int rv;
        do {
            fake_peer_set_room(peer, room);
            rv = write_buffer_flush(&buffer, fake_peer_fd(peer), SIZE_MAX, false);
            assert_true(++flushes <= LEN);
        } while (rv == WRITE_PENDING);
        assert_int_equal(rv, WRITE_DRAINED);
        assert_int_equal(flushes, (LEN + room - 1) / room);
        assert_received(peer, LEN);
        write_buffer_done(&buffer);
        fake_sys_reset();
    }
}

static void an_interrupted_send_is_repeated(void **state)
{
    (void)state;
    struct write_buffer buffer;
    struct fake_peer *peer = begin(&buffer, 100, FAKE_NO_LIMIT);
    fake_sys_fail_op(FAKE_SEND, 0, 3, -EINTR);
    assert_int_equal(write_buffer_flush(&buffer, fake_peer_fd(peer), SIZE_MAX, false), WRITE_DRAINED);
    assert_int_equal(fake_sys_count(FAKE_SEND), 4);
    assert_received(peer, 100);
    write_buffer_done(&buffer);
}

static void a_lost_peer_is_the_error_and_the_bytes_stay(void **state)
{
    (void)state;
    static const int errors[] = {-EPIPE, -ECONNRESET, -ETIMEDOUT, -EHOSTUNREACH, -ENOBUFS, -ENOMEM};
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        struct write_buffer buffer;
        struct fake_peer *peer = begin(&buffer, 100, FAKE_NO_LIMIT);
        fake_sys_fail_op(FAKE_SEND, 0, 1, errors[i]);
        assert_int_equal(write_buffer_flush(&buffer, fake_peer_fd(peer), SIZE_MAX, false), errors[i]);
        assert_holds(&buffer, 0, 100);
        write_buffer_done(&buffer);
        fake_sys_reset();
    }
}

static void a_peer_that_resets_between_two_sends_is_noticed(void **state)
{
    (void)state;
    struct write_buffer buffer;
    struct fake_peer *peer = begin(&buffer, 100, 40);
    assert_int_equal(write_buffer_flush(&buffer, fake_peer_fd(peer), SIZE_MAX, false), WRITE_PENDING);
    fake_peer_reset(peer, 0);
    assert_int_equal(write_buffer_flush(&buffer, fake_peer_fd(peer), SIZE_MAX, false), -ECONNRESET);
    assert_int_equal(write_buffer_flush(&buffer, fake_peer_fd(peer), SIZE_MAX, false), -EPIPE);
    assert_holds(&buffer, 40, 100);
    write_buffer_done(&buffer);
}

static void a_budget_is_sent_and_not_a_byte_more(void **state)
{
    (void)state;
    struct write_buffer buffer;
    struct fake_peer *peer = begin(&buffer, 1000, FAKE_NO_LIMIT);
    int fd = fake_peer_fd(peer);
    assert_int_equal(write_buffer_flush(&buffer, fd, 0, false), WRITE_PENDING);
    assert_int_equal(fake_sys_count(FAKE_SEND), 0);
    assert_int_equal(write_buffer_flush(&buffer, fd, 1, false), WRITE_PENDING);
    assert_received(peer, 1);
    assert_int_equal(write_buffer_flush(&buffer, fd, 998, false), WRITE_PENDING);
    assert_received(peer, 999);
    assert_int_equal(write_buffer_flush(&buffer, fd, 1, false), WRITE_DRAINED); /* as much as is left */
    assert_received(peer, 1000);
    assert_int_equal(fake_sys_count(FAKE_SEND), 3);
    write_buffer_done(&buffer);
}

static bool last_send_had_more(void)
{
    size_t count;
    const struct fake_call *trace = fake_sys_trace(&count);
    assert_true(count > 0 && trace[count - 1].op == FAKE_SEND);
    return trace[count - 1].more;
}

/* The kernel holds a short segment back only when the caller, or the rest of the queue, follows at once. */
static void more_is_said_when_more_follows(void **state)
{
    (void)state;
    struct write_buffer buffer;
    struct fake_peer *peer = begin(&buffer, 100, FAKE_NO_LIMIT);
    int fd = fake_peer_fd(peer);
    write_buffer_flush(&buffer, fd, 50, false);
    assert_true(last_send_had_more()); /* 50 bytes are still queued */
    write_buffer_flush(&buffer, fd, 50, false);
    assert_false(last_send_had_more());
    assert_int_equal(append(&buffer, 100, 10, CAP), 0);
    write_buffer_flush(&buffer, fd, 50, true);
    assert_true(last_send_had_more());
    assert_received(peer, 110);
    write_buffer_done(&buffer);
}

static void bytes_appended_between_flushes_follow_in_order(void **state)
{
    (void)state;
    struct write_buffer buffer;
    struct fake_peer *peer = begin(&buffer, 0, 0);
    int fd = fake_peer_fd(peer);
    size_t appended = 0;
    size_t sent = 0;
    for (size_t i = 1; i < 200; i++) {
        size_t len = i * 37 % 501;
        assert_int_equal(append(&buffer, appended, len, CAP), 0);
        appended += len;
        fake_peer_set_room(peer, (int64_t)(i * 53 % 499));
        int rv = write_buffer_flush(&buffer, fd, 300, false);
        assert_true(rv == WRITE_DRAINED || rv == WRITE_PENDING);
        assert_int_equal(rv == WRITE_DRAINED, write_buffer_len(&buffer) == 0);
        sent = appended - write_buffer_len(&buffer);
        assert_received(peer, sent);
    }
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    assert_int_equal(write_buffer_flush(&buffer, fd, SIZE_MAX, false), WRITE_DRAINED);
    assert_received(peer, appended);
    write_buffer_done(&buffer);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(an_empty_buffer_holds_no_memory),
        TEST(bytes_come_out_in_the_order_they_went_in),
        TEST(the_block_doubles_as_it_fills),
        TEST(a_large_append_doubles_as_often_as_needed),
        TEST(the_cap_is_reached_and_not_passed),
        TEST(lengths_that_overflow_are_refused),
        TEST(a_cap_below_what_is_queued_refuses_more_and_keeps_what_is_there),
        TEST(a_half_empty_block_is_compacted_and_does_not_grow),
        TEST(a_block_with_a_small_gap_grows),
        TEST(at_the_cap_every_gap_is_closed),
        TEST(a_steady_stream_does_not_allocate),
        TEST(random_traffic_keeps_every_byte),
        TEST(what_is_written_into_reserved_room_counts_when_committed),
        TEST(without_memory_nothing_changes),
        TEST(a_block_is_attached_used_and_detached),
        TEST(an_attached_block_that_grew_comes_back_larger),
        TEST(an_attached_block_larger_than_the_cap_still_keeps_the_cap),
        TEST(flush_sends_everything_in_one_call_when_there_is_room),
        TEST(a_short_write_leaves_the_rest_queued_without_asking_again),
        TEST(every_way_of_splitting_a_message_arrives_intact),
        TEST(an_interrupted_send_is_repeated),
        TEST(a_lost_peer_is_the_error_and_the_bytes_stay),
        TEST(a_peer_that_resets_between_two_sends_is_noticed),
        TEST(a_budget_is_sent_and_not_a_byte_more),
        TEST(more_is_said_when_more_follows),
        TEST(bytes_appended_between_flushes_follow_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
