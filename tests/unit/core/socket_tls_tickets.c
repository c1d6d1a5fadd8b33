/* Ticket keys that go from one program to the next, through a real pipe. */

#include "core/tls_tickets.h"

#include "core/sys_pipe.h"
#include "core/tls_context.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include <openssl/evp.h> /* which a build without TLS does not have */

#include <cmocka.h>

enum { KEYS_MAX = 1024, FORMAT_BYTES = 8 };

/* What is in the pipe, which is closed. */
static size_t read_keys(int fd, char *keys)
{
    assert_in_range(fd, 3, INT32_MAX);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    ssize_t len = read(fd, keys, KEYS_MAX);
    assert_in_range(len, 1, KEYS_MAX - 1);
    char more;
    assert_int_equal(read(fd, &more, 1), 0); /* its end, and gone is what was read */
    close(fd);
    return (size_t)len;
}

static struct tls_tickets *make_keys(void)
{
    char err[256];
    struct tls_context *context; /* which loads OpenSSL */
    const struct tls_settings settings = {0};
    assert_int_equal(tls_context_create(&context, &settings, NULL, -1, NULL, err, sizeof err), 0);
    tls_context_put(context);
    struct tls_tickets *tickets = tls_tickets_create();
    assert_non_null(tickets);
    return tickets;
}

static void keys_go_on_in_the_next_program(void **state)
{
    (void)state;
    char given[KEYS_MAX], taken[KEYS_MAX], own[KEYS_MAX];
    struct tls_tickets *before = make_keys(), *after = make_keys();
    size_t len = read_keys(tls_tickets_pass(before), given);
    assert_int_equal(read_keys(tls_tickets_pass(after), own), len);
    assert_memory_not_equal(given, own, len);
    int fd = tls_tickets_pass(before);
    assert_int_equal(tls_tickets_take(after, fd), 0);
    assert_int_equal(tls_tickets_take(after, fd), -EINVAL); /* nobody finds them there a second time */
    close(fd);
    assert_int_equal(read_keys(tls_tickets_pass(after), taken), len);
    assert_memory_equal(given, taken, len);
    tls_tickets_put(before);
    tls_tickets_put(after);
}

/* What is not whole, of another format, or from the future changes nothing. */
static void other_things_are_not_taken(void **state)
{
    (void)state;
    char keys[KEYS_MAX], now[KEYS_MAX];
    struct tls_tickets *tickets = make_keys();
    size_t len = read_keys(tls_tickets_pass(tickets), keys);
    static const int64_t times[] = {0, -1, INT64_MAX};
    for (int i = 0; i < 6; i++) {
        char other[KEYS_MAX];
        memcpy(other, keys, len);
        size_t other_len = i == 0 ? 0 : i == 1 ? len - 1 : len;
        if (i == 2) {
            other[FORMAT_BYTES - 2]++;
        } else if (i > 2) {
            memcpy(other + FORMAT_BYTES, &times[i - 3], sizeof times[0]);
        }
        int fd = sys_pipe_with(other, other_len);
        assert_int_equal(tls_tickets_take(tickets, fd), -EINVAL);
        close(fd);
    }
    assert_int_equal(tls_tickets_take(tickets, 9999), -EINVAL);
    assert_int_equal(read_keys(tls_tickets_pass(tickets), now), len);
    assert_memory_equal(keys, now, len);
    tls_tickets_put(tickets);
}

static void a_pipe_holds_as_much_as_it_takes_at_once(void **state)
{
    (void)state;
    static char data[SYS_PIPE_BYTES_MAX + 1], got[SYS_PIPE_BYTES_MAX + 1];
    memset(data, 'x', sizeof data);
    int fd = sys_pipe_with(data, SYS_PIPE_BYTES_MAX);
    assert_int_equal(read(fd, got, sizeof got), SYS_PIPE_BYTES_MAX);
    assert_memory_equal(data, got, SYS_PIPE_BYTES_MAX);
    close(fd);
    assert_int_equal(sys_pipe_with(data, SYS_PIPE_BYTES_MAX + 1), -EMSGSIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_go_on_in_the_next_program),
        cmocka_unit_test(other_things_are_not_taken),
        cmocka_unit_test(a_pipe_holds_as_much_as_it_takes_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
