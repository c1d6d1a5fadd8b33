/* http/conn_phase.c: what connections are doing, as their metrics say. */

#include "http/conn_phase.h"

#include "http/conn_pool.h"
#include "tests/lib/server_scene.h"

enum { LARGE = 100000 };

/* Check how many connections are doing what. */
static void expect_phases(uint64_t idle, uint64_t reading, uint64_t handling, uint64_t sending, uint64_t lingering)
{
    uint64_t counts[CONN_PHASES];
    memset(counts, 0xff, sizeof counts);
    server_count_phases(scene.server, counts);
    assert_int_equal(counts[PHASE_IDLE], idle);
    assert_int_equal(counts[PHASE_HANDSHAKE], 0);
    assert_int_equal(counts[PHASE_READING], reading);
    assert_int_equal(counts[PHASE_HANDLING], handling);
    assert_int_equal(counts[PHASE_SENDING], sending);
    assert_int_equal(counts[PHASE_LINGERING], lingering);
}

static void each_connection_has_one_phase(void **state)
{
    (void)state;
    tree_add_filled(&scene.tree, "large", 'l', LARGE);
    scene_begin();
    expect_phases(0, 0, 0, 0, 0);
    struct fake_peer *fresh = client(), *peer = client();
    settle();
    expect_phases(2, 0, 0, 0, 0);
    say(peer, "GET /hold HT");
    expect_phases(1, 1, 0, 0, 0);
    say(peer, "TP/1.1\r\nHost: a\r\n\r\n");
    expect_phases(1, 0, 1, 0, 0);
    reply_held(0, "now");
    expect_phases(2, 0, 0, 0, 0); /* it is kept alive */
    say(peer, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab");
    expect_phases(1, 1, 0, 0, 0);
    say(peer, "cd");
    expect_phases(2, 0, 0, 0, 0);
    fake_peer_set_room(peer, 0);
    say(peer, GET("/large"));
    expect_phases(1, 0, 0, 1, 0);
    fake_peer_add_room(peer, 2 * LARGE);
    settle();
    say(peer, "BAD\r\n\r\n");
    expect_phases(1, 0, 0, 0, 1);
    fake_peer_close(peer);
    fake_peer_close(fresh);
    settle();
    expect_phases(0, 0, 0, 0, 0);
}

static void connections_of_all_slabs_are_counted(void **state)
{
    (void)state;
    enum { COUNT = 2 * CONN_SLAB_LEN + 1 };
    static struct fake_peer *peers[COUNT];
    scene_begin();
    for (size_t i = 0; i < COUNT; i++) {
        peers[i] = client();
    }
    settle();
    expect_phases(COUNT, 0, 0, 0, 0);
    for (size_t i = 0; i < COUNT; i += 2) {
        fake_peer_close(peers[i]);
    }
    settle();
    expect_phases(COUNT / 2, 0, 0, 0, 0);
    say(peers[1], "G");
    expect_phases(COUNT / 2 - 1, 1, 0, 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(each_connection_has_one_phase),
        SCENE_TEST(connections_of_all_slabs_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
