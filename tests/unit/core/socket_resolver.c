/* core/resolver.c on real threads, with names that the test makes up: what is kept and for how long, who is answered,
 * what is refused at the limits, and what is freed. */

#include "core/resolver.h"

#include "core/job_pools.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "tests/lib/fake_mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { ASKERS = 4 };

struct asker {
    struct resolver_query query; /* first */
    int answers;
    struct resolver_answer answer;
    struct asker *cancels; /* when it is answered */
};

struct names_scene {
    struct reactor *reactor;
    struct job_pools *pools;
    struct resolver resolver;
    struct asker askers[ASKERS];
    sem_t go;          /* what names that begin with "slow" wait for */
    sem_t has_begun;   /* one of them is looked for */
    atomic_int calls;  /* of sys_find_addresses() */
    atomic_int result; /* of it, if it is negative */
    atomic_int lasts;  /* the pools have gone */
    pthread_t thread;  /* of the test */
    char err[256];
};

static struct names_scene names; /* there is one test at a time */

int sys_find_addresses(const char *name, struct name_address addresses[NAME_ADDRESSES_MAX])
{
    assert_false(pthread_equal(pthread_self(), names.thread));
    names.calls++;
    if (strncmp(name, "slow", 4) == 0) {
        sem_post(&names.has_begun);
        while (sem_wait(&names.go) != 0) {
        }
    }
    addresses[0] = (struct name_address){.family = AF_INET, .bytes = {192, 0, 2, (uint8_t)names.calls}};
    return names.result < 0 ? names.result : 1;
}

static void on_answer(struct resolver_query *query, const struct resolver_answer *answer)
{
    struct asker *asker = (struct asker *)query;
    assert_true(pthread_equal(pthread_self(), names.thread));
    asker->answers++;
    asker->answer = *answer;
    if (asker->cancels != NULL) {
        resolver_cancel(&asker->cancels->query);
    }
}

static int set_up_names(void **state)
{
    (void)state;
    memset(&names, 0, sizeof names);
    names.thread = pthread_self();
    for (int i = 0; i < ASKERS; i++) {
        names.askers[i].query.on_answer = on_answer;
    }
    sem_init(&names.go, 0, 0);
    sem_init(&names.has_begun, 0, 0);
    int rv = reactor_create(&names.reactor, NULL);
    rv = rv < 0 ? rv : job_pools_create(&names.pools);
    resolver_init(&names.resolver, names.reactor, names.pools);
    return rv;
}

static void count_last_pool(void *owner)
{
    (void)owner;
    names.lasts++;
}

static int tear_down_names(void **state)
{
    (void)state;
    fake_mem_fail_after(0, false);
    resolver_done(&names.resolver);
    job_pools_release(names.pools, count_last_pool, NULL);
    for (int i = 0; i < 10000 && names.lasts == 0; i++) { /* a thread that was busy is left behind */
        sys_sleep_ms(1);
    }
    reactor_destroy(names.reactor);
    sem_destroy(&names.go);
    sem_destroy(&names.has_begun);
    return names.lasts == 1 && fake_mem_live() == 0 ? 0 : -1;
}

static int ask(int n, const char *name)
{
    return resolver_ask(&names.resolver, &names.askers[n].query, name, &names.askers[n].answer, names.err,
                        sizeof names.err);
}

static void run_until_answered(int n, int answers)
{
    for (int i = 0; i < 1000 && names.askers[n].answers < answers; i++) {
        assert_true(reactor_run_once(names.reactor, 10) >= 0);
    }
    assert_int_equal(names.askers[n].answers, answers);
}

static void wait_for_begin(void)
{
    while (sem_wait(&names.has_begun) != 0) {
    }
}

/* The last byte of the one address. */
static int address_of(int n)
{
    const struct resolver_answer *answer = &names.askers[n].answer;
    assert_int_equal(answer->error, 0);
    assert_int_equal(answer->count, 1);
    return answer->addresses[0].bytes[3];
}

static void an_answer_is_kept(void **state)
{
    (void)state;
    assert_int_equal(ask(0, "Example.ORG."), 0);
    assert_int_equal(names.askers[0].answers, 0);
    run_until_answered(0, 1);
    assert_int_equal(address_of(0), 1);
    assert_int_equal(ask(1, "example.org"), 1);
    assert_int_equal(address_of(1), 1);
    assert_int_equal(ask(2, "www.example.org"), 0);
    run_until_answered(2, 1);
    assert_int_equal(address_of(2), 2);
    assert_int_equal(names.calls, 2);
}

static void an_old_answer_is_asked_for_again(void **state)
{
    (void)state;
    names.resolver.kept_ms = 0;
    assert_int_equal(ask(0, "example.org"), 0);
    run_until_answered(0, 1);
    assert_int_equal(ask(0, "example.org"), 0);
    run_until_answered(0, 2);
    assert_int_equal(address_of(0), 2);
    assert_int_equal(names.resolver.count, 1);
}

static void addresses_and_localhost_take_no_thread(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        unsigned count;
        uint16_t family;
        uint8_t last;
    } rows[] = {{"127.0.0.9", 1, AF_INET, 9},
                {"::9", 1, AF_INET6, 9},
                {"localhost", 2, AF_INET6, 1},
                {"LocalHost.", 2, AF_INET6, 1},
                {"x.localhost", 2, AF_INET6, 1}};
    names.resolver.jobs = NULL;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(ask(0, rows[i].name), 1);
        const struct name_address *first = &names.askers[0].answer.addresses[0];
        assert_int_equal(names.askers[0].answer.error, 0);
        assert_int_equal(names.askers[0].answer.count, rows[i].count);
        assert_int_equal(first->family, rows[i].family);
        assert_int_equal(first->bytes[rows[i].family == AF_INET ? 3 : 15], rows[i].last);
    }
    assert_int_equal(ask(0, "example.org"), -ENOSYS);
    assert_string_equal(names.err, "names cannot be resolved here: there are no threads for that");
    assert_int_equal(names.calls, 0);
}

static void what_is_no_name_is_refused(void **state)
{
    (void)state;
    char label[65], name[NAME_LEN_MAX + 3] = "";
    static const char *const rows[] = {"", ".", "a..b", ".a", "a b", "a:b", "\xc3\xa4.org", "a/b", "[::1]"};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(ask(0, rows[i]), -EINVAL);
    }
    assert_string_equal(names.err, "\"[::1]\" is no name of a host");
    memset(label, 'a', 64);
    label[64] = '\0';
    assert_int_equal(ask(0, label), -EINVAL);
    assert_int_equal(ask(0, label + 1), 0);
    run_until_answered(0, 1);
    while (strlen(name) < NAME_LEN_MAX) {
        strcat(name, strlen(name) % 2 == 0 ? "a" : ".");
    }
    assert_int_equal(ask(1, strcat(name, ".")), 0); /* the dot at the end does not count */
    run_until_answered(1, 1);
    name[NAME_LEN_MAX] = 'a';
    assert_int_equal(ask(1, name), -EINVAL);
}

static void a_failure_is_kept_for_a_moment(void **state)
{
    (void)state;
    char text[RESOLVER_TEXT_MAX];
    names.result = -ENOENT;
    assert_int_equal(ask(0, "none.example.org"), 0);
    run_until_answered(0, 1);
    assert_int_equal(names.askers[0].answer.error, -ENOENT);
    assert_int_equal(names.askers[0].answer.count, 0);
    names.result = 0;
    assert_int_equal(ask(0, "none.example.org"), 1);
    assert_int_equal(names.askers[0].answer.error, -ENOENT);
    assert_int_equal(names.calls, 1);
    resolver_explain(text, "none.example.org", -ENOENT);
    assert_string_equal(text, "none.example.org could not be resolved (3: Host not found)");
    resolver_explain(text, "x", -EAGAIN);
    assert_string_equal(text, "x could not be resolved (2: Server failure)");
    resolver_explain(text, "x", -ENOMEM);
    assert_string_equal(text, "x could not be resolved (Cannot allocate memory)");
}

static void a_name_is_looked_for_once_at_a_time(void **state)
{
    (void)state;
    assert_int_equal(ask(0, "slow"), 0);
    wait_for_begin();
    assert_int_equal(ask(1, "slow"), 0);
    assert_int_equal(ask(2, "slow"), 0);
    assert_int_equal(ask(3, "slow"), 0);
    resolver_cancel(&names.askers[1].query);
    resolver_cancel(&names.askers[1].query);
    names.askers[3].cancels = &names.askers[2]; /* the last who asked is answered first */
    sem_post(&names.go);
    run_until_answered(0, 1);
    assert_int_equal(names.askers[1].answers, 0);
    assert_int_equal(names.askers[2].answers, 0);
    assert_int_equal(names.askers[3].answers, 1);
    assert_int_equal(names.calls, 1);
}

static void a_name_that_nobody_waits_for_is_not_looked_for(void **state)
{
    (void)state;
    static const char *const slow[] = {"slow1", "slow2", "slow3", "slow4"};
    struct asker busy[RESOLVER_THREADS] = {0};
    struct resolver_answer answer;
    for (int i = 0; i < RESOLVER_THREADS; i++) {
        busy[i].query.on_answer = on_answer;
        assert_int_equal(resolver_ask(&names.resolver, &busy[i].query, slow[i], &answer, names.err, sizeof names.err),
                         0);
        wait_for_begin();
    }
    assert_int_equal(ask(0, "left.example.org"), 0);
    assert_int_equal(ask(1, "left.example.org"), 0);
    assert_int_equal(ask(2, "again.example.org"), 0);
    resolver_cancel(&names.askers[0].query);
    resolver_cancel(&names.askers[1].query);
    resolver_cancel(&names.askers[2].query);
    assert_int_equal(ask(2, "again.example.org"), 0);
    for (int i = 0; i < RESOLVER_THREADS; i++) {
        sem_post(&names.go);
    }
    run_until_answered(2, 1);
    while (names.resolver.count > RESOLVER_THREADS + 1) { /* left.example.org is still there */
        assert_true(reactor_run_once(names.reactor, 10) >= 0);
    }
    assert_int_equal(names.askers[0].answers, 0);
    assert_int_equal(names.calls, RESOLVER_THREADS + 1);
}

static void at_most_so_many_names_are_kept(void **state)
{
    (void)state;
    char name[32];
    names.resolver.max = 3;
    for (int i = 1; i <= 4; i++) {
        snprintf(name, sizeof name, "n%d", i);
        assert_int_equal(ask(0, name), 0);
        run_until_answered(0, i);
        assert_int_equal(ask(0, "n1"), 1); /* used again, so it stays */
    }
    assert_int_equal(names.resolver.count, 3);
    assert_int_equal(ask(0, "n2"), 0); /* it had to go */
    run_until_answered(0, 5);
    assert_int_equal(ask(0, "n1"), 1);
}

static void names_that_are_looked_for_keep_their_places(void **state)
{
    (void)state;
    names.resolver.max = 2;
    assert_int_equal(ask(0, "slow1"), 0);
    assert_int_equal(ask(1, "slow2"), 0);
    wait_for_begin();
    wait_for_begin();
    assert_int_equal(ask(2, "n3"), -EBUSY);
    assert_string_equal(names.err, "too many names are being resolved: 2 already");
    assert_int_equal(ask(2, "slow1"), 0);
    sem_post(&names.go);
    sem_post(&names.go);
    run_until_answered(0, 1);
    run_until_answered(1, 1);
    assert_int_equal(ask(3, "n3"), 0);
    run_until_answered(3, 1);
}

static void as_many_wait_for_threads_as_may(void **state)
{
    (void)state;
    static struct asker waiting[RESOLVER_THREADS + RESOLVER_WAITING_MAX];
    struct resolver_answer answer;
    char name[32];
    memset(waiting, 0, sizeof waiting);
    names.resolver.max = RESOLVER_THREADS + RESOLVER_WAITING_MAX + 1;
    for (int i = 0; i < RESOLVER_THREADS + RESOLVER_WAITING_MAX; i++) {
        waiting[i].query.on_answer = on_answer;
        snprintf(name, sizeof name, "slow%d", i);
        assert_int_equal(resolver_ask(&names.resolver, &waiting[i].query, name, &answer, names.err, sizeof names.err),
                         0);
    }
    assert_int_equal(ask(0, "n"), -EBUSY);
    assert_string_equal(names.err, "too many names are being resolved: 1000 wait already");
    assert_int_equal(names.resolver.count, RESOLVER_THREADS + RESOLVER_WAITING_MAX);
    resolver_done(&names.resolver);
    for (int i = 0; i < RESOLVER_THREADS; i++) {
        sem_post(&names.go);
    }
}

static void memory_that_is_short_is_an_error(void **state)
{
    (void)state;
    int failures = 0;
    for (uint64_t n = 1;; n++) {
        fake_mem_fail_after(n, false);
        int rv = ask(0, "example.org");
        bool failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        if (rv == 0) {
            assert_false(failed && n < 3);
            break;
        }
        assert_int_equal(rv, -ENOMEM);
        assert_int_equal(names.resolver.count, 0);
        failures++;
    }
    assert_true(failures >= 4);
    run_until_answered(0, 1);
}

int main(void)
{
#define NAMES_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up_names, tear_down_names)
    const struct CMUnitTest tests[] = {
        NAMES_TEST(an_answer_is_kept),
        NAMES_TEST(an_old_answer_is_asked_for_again),
        NAMES_TEST(addresses_and_localhost_take_no_thread),
        NAMES_TEST(what_is_no_name_is_refused),
        NAMES_TEST(a_failure_is_kept_for_a_moment),
        NAMES_TEST(a_name_is_looked_for_once_at_a_time),
        NAMES_TEST(a_name_that_nobody_waits_for_is_not_looked_for),
        NAMES_TEST(at_most_so_many_names_are_kept),
        NAMES_TEST(names_that_are_looked_for_keep_their_places),
        NAMES_TEST(as_many_wait_for_threads_as_may),
        NAMES_TEST(memory_that_is_short_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
