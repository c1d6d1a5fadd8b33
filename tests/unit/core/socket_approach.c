/* core/approach.c, through core/link.c, over real sockets and with names that the test makes up. */

#include "core/job_pools.h"
#include "core/link.h"
#include "core/reactor.h"
#include "core/resolver.h"
#include "core/sys.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/open_fds.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct approach_scene {
    struct reactor *reactor;
    struct job_pools *pools;
    struct resolver resolver;
    struct links links;
    struct link *link;
    struct destinations *denied, *allowed;
    sem_t go, has_begun; /* of names that begin with "slow" */
    atomic_int lasts;
    int listener;
    uint16_t port;
    int opened, error; /* calls of on_open, and its last error */
    bool closes;       /* on_open closes the link */
    char err[256], failure[256];
    enum link_stage stage; /* when on_open was called */
};

static struct approach_scene approach_scene; /* there is one test at a time */

/* "a12": 127.0.0.1 and 127.0.0.2; "none": no address. */
int sys_find_addresses(const char *name, struct name_address addresses[NAME_ADDRESSES_MAX])
{
    int count = 0;
    if (strncmp(name, "slow", 4) == 0) {
        sem_post(&approach_scene.has_begun);
        while (sem_wait(&approach_scene.go) != 0) {
        }
    }
    for (const char *digit = strpbrk(name, "123456789"); digit != NULL && *digit != '\0'; digit++) {
        addresses[count++] = (struct name_address){.family = AF_INET, .bytes = {127, 0, 0, (uint8_t)(*digit - '0')}};
    }
    return count > 0 ? count : -ENOENT;
}

static void on_scene_open(void *arg, int error)
{
    assert_ptr_equal(arg, &approach_scene);
    approach_scene.opened++;
    approach_scene.error = error;
    approach_scene.stage = link_stage(approach_scene.link);
    snprintf(approach_scene.failure, sizeof approach_scene.failure, "%s",
             error < 0 ? link_failure(approach_scene.link) : "");
    if (approach_scene.closes) {
        link_close(approach_scene.link);
        approach_scene.link = NULL;
    }
}

static void on_scene_ready(void *arg, unsigned events)
{
    (void)arg, (void)events;
}

static const struct link_user scene_user = {.on_open = on_scene_open, .on_ready = on_scene_ready};

static int set_up_approach(void **state)
{
    (void)state;
    memset(&approach_scene, 0, sizeof approach_scene);
    sem_init(&approach_scene.go, 0, 0);
    sem_init(&approach_scene.has_begun, 0, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    approach_scene.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(approach_scene.listener, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(approach_scene.listener, 8) < 0 ||
        getsockname(approach_scene.listener, (struct sockaddr *)&address, &len) < 0 ||
        reactor_create(&approach_scene.reactor, NULL) < 0 || job_pools_create(&approach_scene.pools) < 0) {
        return -1;
    }
    approach_scene.port = ntohs(address.sin_port);
    resolver_init(&approach_scene.resolver, approach_scene.reactor, approach_scene.pools);
    approach_scene.links = (struct links){.reactor = approach_scene.reactor, .resolver = &approach_scene.resolver};
    return 0;
}

static void note_last(void *owner)
{
    (void)owner;
    approach_scene.lasts++;
}

static int tear_down_approach(void **state)
{
    (void)state;
    fake_mem_fail_after(0, false);
    link_close(approach_scene.link);
    resolver_done(&approach_scene.resolver);
    job_pools_release(approach_scene.pools, note_last, NULL);
    for (int i = 0; i < 10000 && approach_scene.lasts == 0; i++) {
        sys_sleep_ms(1);
    }
    destinations_destroy(approach_scene.denied);
    destinations_destroy(approach_scene.allowed);
    reactor_destroy(approach_scene.reactor);
    close(approach_scene.listener);
    sem_destroy(&approach_scene.go);
    sem_destroy(&approach_scene.has_begun);
    return approach_scene.links.count == 0 && fake_mem_live() == 0 ? 0 : -1;
}

static int open_by_name(const char *name)
{
    const struct link_target target = {.host = name, .port = approach_scene.port};
    return link_open(&approach_scene.link, &approach_scene.links, &target, &scene_user, &approach_scene,
                     approach_scene.err, sizeof approach_scene.err);
}

static void open_and_wait(const char *name)
{
    int opened = approach_scene.opened;
    assert_int_equal(open_by_name(name), 0);
    assert_int_equal(approach_scene.opened, opened);
    for (int i = 0; i < 100 && approach_scene.opened == opened; i++) {
        assert_true(reactor_run_once(approach_scene.reactor, 100) >= 0);
    }
    assert_int_equal(approach_scene.opened, opened + 1);
}

static void close_link(void)
{
    link_close(approach_scene.link);
    approach_scene.link = NULL;
}

static void deny(const char *text)
{
    assert_int_equal(destinations_parse_denied(&approach_scene.denied, text, approach_scene.err,
                                               sizeof approach_scene.err),
                     0);
    approach_scene.links.policy.denied = approach_scene.denied;
}

static void allow_alone(const char *text)
{
    assert_int_equal(destinations_parse_allowed(&approach_scene.allowed, text, approach_scene.err,
                                                sizeof approach_scene.err),
                     0);
    approach_scene.links.policy.allowed = approach_scene.allowed;
}

static void a_name_is_connected_with(void **state)
{
    (void)state;
    char buf[8];
    socklen_t len;
    for (int i = 0; i < 2; i++) { /* the second time its address is known */
        open_and_wait("a1");
        assert_int_equal(approach_scene.error, 0);
        assert_int_equal(link_stage(approach_scene.link), LINK_OPEN);
        const struct sockaddr_in *peer = (const void *)link_peer(approach_scene.link, &len);
        assert_int_equal(len, sizeof *peer);
        assert_int_equal(ntohl(peer->sin_addr.s_addr), INADDR_LOOPBACK);
        int fd = accept(approach_scene.listener, NULL, NULL);
        assert_int_equal(link_send(approach_scene.link, "hello", 5), 5);
        assert_int_equal(recv(fd, buf, sizeof buf, 0), 5);
        close(fd);
        close_link();
    }
    open_and_wait("a32"); /* refused, both */
    assert_int_equal(approach_scene.error, -ECONNREFUSED);
    assert_int_equal(approach_scene.stage, LINK_CONNECTING);
    assert_string_equal(approach_scene.failure, "Connection refused");
    close_link();
    open_and_wait("a231");
    assert_int_equal(approach_scene.error, 0);
    close_link();
    open_and_wait("localhost");
    assert_int_equal(approach_scene.error, 0);
}

static void a_name_without_addresses_says_so(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        open_and_wait("none");
        assert_int_equal(approach_scene.error, -ENOENT);
        assert_int_equal(approach_scene.stage, LINK_RESOLVING);
        assert_string_equal(approach_scene.failure, "none could not be resolved (3: Host not found)");
        close_link();
    }
    assert_int_equal(open_by_name("no name"), -EINVAL);
    assert_string_equal(approach_scene.err, "\"no name\" is no name of a host");
}

static void a_link_may_be_closed_at_any_time(void **state)
{
    (void)state;
    int fds = open_fds();
    assert_int_equal(open_by_name("slow1"), 0);
    assert_int_equal(link_stage(approach_scene.link), LINK_RESOLVING);
    while (sem_wait(&approach_scene.has_begun) != 0) {
    }
    close_link();
    sem_post(&approach_scene.go);
    for (int i = 0; i < 5; i++) {
        assert_true(reactor_run_once(approach_scene.reactor, 2) >= 0);
    }
    assert_int_equal(approach_scene.opened, 0);
    open_and_wait("a1"); /* the desk of the pool is there by now */
    close_link();
    fds = open_fds();
    approach_scene.closes = true;
    open_and_wait("a1");
    assert_int_equal(approach_scene.error, 0);
    open_and_wait("none");
    open_and_wait("a3");
    assert_int_equal(open_by_name("a1"), 0); /* known: it connects already */
    assert_int_equal(link_stage(approach_scene.link), LINK_CONNECTING);
    close_link();
    assert_int_equal(open_fds(), fds);
}

static void a_child_process_closes_its_fds(void **state)
{
    (void)state;
    assert_int_equal(open_by_name("localhost"), 0); /* known: it connects already */
    int fds = open_fds();
    links_abandon(&approach_scene.links);
    assert_int_equal(open_fds(), fds - 1);
    links_abandon(&approach_scene.links);
    assert_int_equal(open_fds(), fds - 1);
}

static void denied_addresses_are_left_out(void **state)
{
    (void)state;
    char text[256];
    deny("127.0.0.3, 127.0.0.4");
    open_and_wait("a31");
    assert_int_equal(approach_scene.error, 0);
    close_link();
    for (int i = 0; i < 2; i++) {
        open_and_wait("a43");
        assert_int_equal(approach_scene.error, -EPERM);
        assert_int_equal(approach_scene.stage, LINK_RESOLVING);
        snprintf(text, sizeof text, "a43:%u leads to 127.0.0.4:%u, which is in 127.0.0.4: deny_connect denies it",
                 approach_scene.port, approach_scene.port);
        assert_string_equal(approach_scene.failure, text);
        close_link();
    }
    assert_int_equal(open_by_name("127.0.0.3"), -EPERM);
    snprintf(text, sizeof text, "127.0.0.3:%u is in 127.0.0.3: deny_connect denies it", approach_scene.port);
    assert_string_equal(approach_scene.err, text);
    destinations_destroy(approach_scene.denied);
    deny("private");
    assert_int_equal(open_by_name("127.0.0.1"), -EPERM);
    snprintf(text, sizeof text, "127.0.0.1:%u is a loopback address: deny_connect denies it", approach_scene.port);
    assert_string_equal(approach_scene.err, text);
    open_and_wait("localhost");
    assert_int_equal(approach_scene.error, -EPERM);
    close_link();
    const struct link_target target = {.path = "/run/x.sock"};
    assert_int_equal(link_open(&approach_scene.link, &approach_scene.links, &target, &scene_user, &approach_scene,
                               approach_scene.err, sizeof approach_scene.err),
                     -EPERM);
    assert_string_equal(approach_scene.err, "unix:/run/x.sock is a unix socket: deny_connect denies it");
    approach_scene.link = NULL;
}

static void what_is_not_allowed_is_not_resolved(void **state)
{
    (void)state;
    char text[256];
    snprintf(text, sizeof text, "a1:%u, 127.0.0.3:*", approach_scene.port);
    allow_alone(text);
    open_and_wait("a1");
    assert_int_equal(approach_scene.error, 0);
    close_link();
    assert_int_equal(open_by_name("a3"), -EPERM);
    snprintf(text, sizeof text, "the sandbox allows no connection to a3:%u: --allow-connect a3:%u", approach_scene.port,
             approach_scene.port);
    assert_string_equal(approach_scene.err, text);
    assert_int_equal(open_by_name("127.0.0.1"), -EPERM);
    assert_int_equal(approach_scene.resolver.count, 1); /* names that are known */
    open_and_wait("127.0.0.3");
    assert_int_equal(approach_scene.error, -ECONNREFUSED);
}

static void memory_that_is_short_is_told(void **state)
{
    (void)state;
    open_and_wait("a1");
    close_link();
    for (uint64_t n = 1;; n++) {
        fake_mem_fail_after(n, false);
        int rv = open_by_name("a1");
        for (int i = 0; i < 100 && rv == 0 && approach_scene.opened < (int)n + 1; i++) {
            assert_true(reactor_run_once(approach_scene.reactor, 100) >= 0);
        }
        bool failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        approach_scene.opened = (int)n + 1;
        assert_true(rv == 0 || rv == -ENOMEM);
        if (rv == 0) {
            assert_true(approach_scene.error == (failed ? -ENOMEM : 0) || approach_scene.error == 0);
            close_link();
        }
        approach_scene.link = NULL;
        if (!failed) {
            break;
        }
    }
    assert_int_equal(approach_scene.error, 0);
}

int main(void)
{
#define APPROACH_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up_approach, tear_down_approach)
    const struct CMUnitTest tests[] = {
        APPROACH_TEST(a_name_is_connected_with),
        APPROACH_TEST(a_name_without_addresses_says_so),
        APPROACH_TEST(a_link_may_be_closed_at_any_time),
        APPROACH_TEST(a_child_process_closes_its_fds),
        APPROACH_TEST(denied_addresses_are_left_out),
        APPROACH_TEST(what_is_not_allowed_is_not_resolved),
        APPROACH_TEST(memory_that_is_short_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
