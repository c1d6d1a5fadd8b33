/* The caps on connections, on the fake kernel: who makes room, and who is turned away. And the table of addresses. */

#include "tests/lib/server_scene.h"

#include "http/address_table.h"
#include "http/fd_check.h"
#include "http/server_internal.h"

#include <arpa/inet.h>

/* max_connections. */

static void at_the_cap_nobody_goes_and_one_past_it_the_longest_idle(void **state)
{
    (void)state;
    struct fake_peer *peers[3];
    set_limit("max_connections", 3);
    scene_begin();
    for (int i = 0; i < 3; i++) {
        peers[i] = client();
        pass_ms(10);
    }
    say(peers[0], GET("/hello")); /* so the second is the longest idle */
    assert_int_equal(stats().connections, 3);
    assert_string_equal(scene.log_text, "");
    struct fake_peer *newcomer = fake_peer_connect(scene.listener_fd);
    say(newcomer, GET("/hello"));
    assert_string_equal(statuses(newcomer), "200");
    assert_true(is_closed(peers[1]));
    assert_false(fake_peer_saw_reset(peers[1]));
    assert_false(is_closed(peers[0]) || is_closed(peers[2]));
    assert_int_equal(stats().connections, 3);
    assert_non_null(strstr(scene.log_text, "max_connections (3) reached"));
}

static void when_all_are_at_work_the_newcomer_reads_503(void **state)
{
    (void)state;
    set_limit("max_connections", 3);
    scene_begin();
    struct fake_peer *half = client(), *waiting = client(), *body = client();
    say(half, "GET /hello HT");
    say(waiting, GET("/hold"));
    say(body, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n12");
    struct fake_peer *newcomer = fake_peer_connect(scene.listener_fd);
    say(newcomer, GET("/hello"));
    assert_string_equal(statuses(newcomer), "503");
    assert_true(output_has(newcomer, "Connection: close\r\n"));
    assert_true(is_closed(newcomer));
    assert_false(fake_peer_saw_reset(newcomer)); /* its request was read */
    assert_int_equal(stats().connections, 3);
    assert_int_equal(stats().by_class[5], 1);
    assert_int_equal(settle(), 0);
    newcomer = fake_peer_connect(scene.listener_fd);
    say(newcomer, HEAD("/hello"));
    assert_true(output_has(newcomer, "HTTP/1.1 503") && output_has(newcomer, "Content-Length: 17\r\n"));
    assert_false(output_has(newcomer, "503 Too many now\n")); /* RFC 9110 section 9.3.2 */

    say(half, "TP/1.1\r\nHost: a\r\n\r\n");
    say(body, "34");
    reply_held(0, "late\n");
    assert_string_equal(statuses(half), "200");
    assert_string_equal(statuses(waiting), "200");
    assert_string_equal(statuses(body), "200");
}

static void request_that_has_just_arrived_is_answered_and_the_next_one_goes(void **state)
{
    (void)state;
    set_limit("max_connections", 2);
    scene_begin();
    struct fake_peer *first = client();
    pass_ms(10);
    struct fake_peer *second = client();
    struct fake_peer *newcomer = fake_peer_connect(scene.listener_fd); /* told of before the request of the first */
    fake_peer_send_text(first, GET("/hold"));
    settle();
    assert_false(is_closed(first));
    assert_true(is_closed(second));
    assert_false(is_closed(newcomer));
    reply_held(0, "here\n");
    assert_string_equal(statuses(first), "200");
}

/* Each connection that is looked at has just got a request: the search for one to close ends. */
static void play_idle_ones_at_work(const char *cap)
{
    enum { COUNT = 8 };
    struct fake_peer *peers[COUNT];
    set_limit(cap, COUNT);
    scene_begin();
    for (int i = 0; i < COUNT; i++) {
        peers[i] = client();
    }
    struct fake_peer *newcomer = fake_peer_connect(scene.listener_fd);
    for (int i = 0; i < COUNT; i++) {
        fake_peer_send_text(peers[i], GET("/hold"));
    }
    settle();
    assert_string_equal(statuses(newcomer), "503");
    assert_int_equal(held_count, COUNT);
    for (int i = 0; i < COUNT; i++) {
        assert_false(is_closed(peers[i]));
    }
}

static void newcomer_is_turned_away_when_every_idle_one_turns_out_to_be_at_work(void **state)
{
    (void)state;
    play_idle_ones_at_work("max_connections");
}

static void and_so_is_one_of_an_address(void **state)
{
    (void)state;
    play_idle_ones_at_work("max_connections_per_address");
}

static void flood_of_newcomers_is_one_line_a_minute(void **state)
{
    (void)state;
    set_limit("max_connections", 1);
    scene_begin();
    say(client(), GET("/hold"));
    for (int i = 0; i < 100; i++) {
        assert_string_equal(statuses(client()), "503");
    }
    char *line = strstr(scene.log_text, "reached");
    assert_non_null(line);
    assert_null(strstr(line + 1, "reached"));
    pass_ms(60000);
    client();
    assert_non_null(strstr(line + 1, "reached"));
}

/* The busy ones are looked at first, and no more than a bounded number of them for one newcomer. */
static void idle_connection_behind_many_busy_ones_is_found_by_and_by(void **state)
{
    (void)state;
    enum { BUSY = 130 };
    set_limit("max_connections", BUSY + 1);
    scene_begin();
    for (int i = 0; i < BUSY; i++) {
        say(client(), "GET /half HT");
    }
    struct fake_peer *idle = client();
    int refused = 0;
    while (strcmp(statuses(client()), "503") == 0) {
        refused++;
        assert_in_range(refused, 1, 3);
    }
    assert_int_equal(refused, 2);
    assert_true(is_closed(idle));
}

static void listeners_of_a_full_server_are_one(void **state)
{
    (void)state;
    char err[256] = "";
    set_limit("max_connections", 1);
    scene_begin();
    server_listen(scene.server, "[::1]:0", err, sizeof err);
    int other_fd = fake_sys_listener_fd();
    struct fake_peer *peer = client();
    struct fake_peer *other = fake_peer_connect(other_fd);
    say(other, GET("/hello"));
    assert_true(is_closed(peer));
    assert_string_equal(statuses(other), "200");
}

static void connection_that_ends_at_once_does_not_fill_the_server(void **state)
{
    (void)state;
    set_limit("max_connections", 1);
    scene_begin();
    for (int i = 0; i < 5; i++) {
        struct fake_peer *peer = fake_peer_connect(scene.listener_fd);
        say(peer, GET_CLOSE("/hello"));
        assert_string_equal(statuses(peer), "200");
    }
    assert_string_equal(scene.log_text, "");
}

/* max_connections_per_address. */

static struct fake_peer *client_from(const char *address)
{
    struct fake_peer *peer = fake_peer_connect(scene.listener_fd);
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(5000)};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(5000)};
    if (inet_pton(AF_INET, address, &in.sin_addr) == 1) {
        fake_peer_set_address(peer, (const struct sockaddr *)&in, sizeof in);
    } else {
        assert_int_equal(inet_pton(AF_INET6, address, &in6.sin6_addr), 1);
        fake_peer_set_address(peer, (const struct sockaddr *)&in6, sizeof in6);
    }
    settle();
    return peer;
}

static void one_address_at_its_cap_keeps_no_other_out(void **state)
{
    (void)state;
    set_limit("max_connections_per_address", 2);
    scene_begin();
    for (int i = 0; i < 2; i++) {
        say(client_from("192.0.2.1"), GET("/hold"));
    }
    struct fake_peer *third = client_from("192.0.2.1");
    assert_string_equal(statuses(third), "503");
    assert_true(is_closed(third));
    assert_non_null(strstr(scene.log_text, "max_connections_per_address (2) reached"));
    struct fake_peer *other = client_from("192.0.2.2");
    say(other, GET("/hello"));
    assert_string_equal(statuses(other), "200");
    reply_held(0, "done\n");
    struct fake_peer *again = client_from("192.0.2.1"); /* the first is idle now */
    say(again, GET("/hello"));
    assert_string_equal(statuses(again), "200");
}

static void of_one_address_its_own_longest_idle_makes_room(void **state)
{
    (void)state;
    set_limit("max_connections_per_address", 3);
    scene_begin();
    struct fake_peer *other = client_from("192.0.2.9"); /* idle longer than all */
    pass_ms(10);
    struct fake_peer *peers[3];
    for (int i = 0; i < 3; i++) {
        peers[i] = client_from("192.0.2.1");
        pass_ms(10);
    }
    say(peers[0], GET("/hello"));
    struct fake_peer *newcomer = client_from("192.0.2.1");
    assert_true(is_closed(peers[1]));
    assert_false(is_closed(peers[0]) || is_closed(peers[2]) || is_closed(other) || is_closed(newcomer));
    assert_int_equal(stats().connections, 4);
}

/* A bounded number is looked at, each time others. */
static void idle_one_of_an_address_is_found_by_and_by(void **state)
{
    (void)state;
    enum { BUSY = 130 };
    set_limit("max_connections_per_address", BUSY + 1);
    scene_begin();
    for (int i = 0; i < BUSY; i++) {
        say(client_from("192.0.2.1"), "GET /half HT");
    }
    struct fake_peer *idle = client_from("192.0.2.1");
    for (int i = 0; i < 2; i++) {
        assert_string_equal(statuses(client_from("192.0.2.1")), "503");
    }
    assert_string_equal(statuses(client_from("192.0.2.1")), "");
    assert_true(is_closed(idle));
}

static void what_counts_as_one_address(void **state)
{
    (void)state;
    static const struct {
        const char *first, *second;
        bool is_same;
    } rows[] = {
        {"192.0.2.1", "::ffff:192.0.2.1", true},           {"192.0.2.1", "192.0.2.2", false},
        {"2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true}, /* one /64 */
        {"2001:db8:1:2::1", "2001:db8:1:3::1", false},     {"::1", "192.0.2.1", false},
    };
    set_limit("max_connections_per_address", 1);
    scene_begin();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fake_peer *first = client_from(rows[i].first);
        say(first, GET("/hold"));
        struct fake_peer *second = client_from(rows[i].second);
        assert_string_equal(statuses(second), rows[i].is_same ? "503" : "");
        fake_peer_reset(first, -ECONNRESET);
        fake_peer_close(second);
        settle();
        assert_int_equal(stats().connections, 0);
    }
}

static void clients_of_a_unix_socket_are_not_counted(void **state)
{
    (void)state;
    static const struct sockaddr nameless = {.sa_family = AF_UNIX};
    set_limit("max_connections_per_address", 1);
    scene_begin();
    for (int i = 0; i < 3; i++) {
        struct fake_peer *peer = fake_peer_connect(scene.listener_fd);
        fake_peer_set_address(peer, &nameless, sizeof nameless.sa_family);
        settle();
    }
    assert_int_equal(stats().connections, 3);
}

/* Memory and fds. */

static void without_memory_for_an_address_the_newcomer_reads_503(void **state)
{
    (void)state;
    set_limit("max_connections_per_address", 1);
    scene_begin();
    fake_peer_close(client_from("192.0.2.1")); /* the connections' memory is there, and the table's first */
    settle();
    struct fake_peer *peer = NULL;
    char text[32];
    for (int i = 1; peer == NULL || strcmp(statuses(peer), "503") != 0; i++) {
        assert_in_range(i, 1, ADDRESS_TABLE_FIRST);
        fake_mem_fail_after(i == ADDRESS_TABLE_FIRST * 3 / 4 + 1 ? 1 : 0, true);
        snprintf(text, sizeof text, "192.0.2.%d", i);
        peer = client_from(text);
    }
    fake_mem_fail_after(0, false);
    assert_true(is_closed(peer));
    assert_int_equal(stats().connections, ADDRESS_TABLE_FIRST * 3 / 4);
    assert_string_equal(statuses(client_from("192.0.2.250")), "");
}

static void without_memory_for_a_connection_an_idle_one_makes_room(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *first = client();
    for (int i = 1; i < CONN_SLAB_LEN; i++) {
        pass_ms(1);
        client();
    }
    struct fake_peer *newcomer = fake_peer_connect(scene.listener_fd);
    fake_peer_send_text(newcomer, GET("/hello"));
    fake_mem_fail_after(1, false);
    settle();
    fake_mem_fail_after(0, false);
    assert_true(is_closed(first));
    assert_string_equal(statuses(newcomer), "200");
}

static void without_memory_and_with_all_at_work_the_newcomer_reads_503(void **state)
{
    (void)state;
    scene_begin();
    for (int i = 0; i < CONN_SLAB_LEN; i++) {
        say(client(), "GET /half HT");
    }
    fake_mem_fail_after(1, true);
    struct fake_peer *newcomer = client();
    fake_mem_fail_after(0, false);
    assert_string_equal(statuses(newcomer), "503");
    assert_true(is_closed(newcomer));
    assert_int_equal(stats().connections, CONN_SLAB_LEN);
}

static void without_fds_an_idle_one_makes_room(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *idle = client();
    fake_sys_fail_op(FAKE_ACCEPT, 0, 1, -EMFILE);
    struct fake_peer *newcomer = client();
    say(newcomer, GET("/hello"));
    assert_true(is_closed(idle));
    assert_string_equal(statuses(newcomer), "200");
    assert_null(strstr(scene.log_text, "turning connections away"));
}

static void without_fds_and_with_all_at_work_the_newcomer_reads_503(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *busy = client();
    say(busy, GET("/hold"));
    fake_sys_fail_op(FAKE_ACCEPT, 0, 1, -EMFILE);
    struct fake_peer *newcomer = client();
    assert_string_equal(statuses(newcomer), "503");
    assert_true(is_closed(newcomer));
    assert_false(is_closed(busy));
    assert_non_null(strstr(scene.log_text, "turning connections away"));
}

/* A file that is not in the cache, and no fd for it. */
static void give_no_fds_for_files(int times)
{
    fake_sys_fail_op(FAKE_OPEN_BENEATH, 0, times, -EMFILE);
}

static void without_fds_a_file_has_that_of_an_idle_connection(void **state)
{
    (void)state;
    tree_add_filled(&scene.tree, "small", 's', 1000);
    scene_begin();
    struct fake_peer *idle = client();
    pass_ms(10);
    struct fake_peer *younger = client();
    struct fake_peer *asking = client();
    give_no_fds_for_files(1);
    say(asking, GET("/small"));
    assert_string_equal(statuses(asking), "200");
    assert_true(is_closed(idle));
    assert_false(is_closed(younger));
    assert_non_null(strstr(scene.log_text, "out of file descriptors (RLIMIT_NOFILE is "));
}

static void everybody_gets_a_file_while_connections_take_all_fds(void **state)
{
    (void)state;
    enum { LIMIT = 24, VISITORS = 100 };
    tree_add_filled(&scene.tree, "large", 'l', 100000);
    scene_begin();
    fake_sys_set_fd_limit(LIMIT);
    for (int i = 0; i < VISITORS; i++) {
        char name[16], request[64];
        snprintf(name, sizeof name, "f%d", i);
        snprintf(request, sizeof request, GET("/f%d"), i);
        tree_add_filled(&scene.tree, name, 'f', 1000);
        struct fake_peer *visitor = client();
        say(visitor, request);
        assert_string_equal(statuses(visitor), "200");
        say(visitor, GET("/large"));
        assert_string_equal(statuses(visitor), "200 200");
    }
    assert_int_equal(stats().by_class[5], 0);
}

static void without_fds_a_connection_with_a_request_is_not_given_up(void **state)
{
    (void)state;
    tree_add_filled(&scene.tree, "small", 's', 1000);
    scene_begin();
    struct fake_peer *first = client(), *second = client(), *third = client();
    fake_peer_send_text(third, GET("/small")); /* told of before the request of the first */
    fake_peer_send_text(first, GET("/hello"));
    give_no_fds_for_files(1);
    settle();
    assert_string_equal(statuses(third), "200");
    assert_string_equal(statuses(first), "200");
    assert_true(is_closed(second));
}

static void without_fds_and_idle_connections_a_file_is_503(void **state)
{
    (void)state;
    tree_add_filled(&scene.tree, "small", 's', 1000);
    scene_begin();
    struct fake_peer *busy = client(), *asking = client();
    say(busy, GET("/hold"));
    give_no_fds_for_files(FAKE_FOREVER);
    say(asking, GET("/small"));
    assert_string_equal(statuses(asking), "503");
    assert_false(is_closed(busy));
}

static void without_fds_a_file_costs_a_bounded_number_of_connections(void **state)
{
    (void)state;
    tree_add_filled(&scene.tree, "small", 's', 1000);
    scene_begin();
    struct fake_peer *peers[20];
    for (int i = 0; i < 20; i++) {
        peers[i] = client();
    }
    give_no_fds_for_files(FAKE_FOREVER);
    say(peers[19], GET("/small"));
    assert_string_equal(statuses(peers[19]), "503");
    assert_in_range(stats().connections, 15, 18);
}

static void without_fds_a_listing_has_that_of_an_idle_connection(void **state)
{
    (void)state;
    struct static_options options = {.list = true, .no_index = true};
    char err[256];
    assert_int_equal(static_mounts_add(scene.site->default_host.mounts, "/list", scene.tree.path, &options, err,
                                       sizeof err),
                     0);
    scene_begin();
    struct fake_peer *idle = client(), *asking = client();
    give_no_fds_for_files(1);
    say(asking, GET("/list/"));
    assert_string_equal(statuses(asking), "200");
    assert_true(is_closed(idle));
}

static void while_stopping_no_connection_is_given_up_for_a_file(void **state)
{
    (void)state;
    tree_add_filled(&scene.tree, "small", 's', 1000);
    scene_begin();
    struct fake_peer *peers[4];
    for (int i = 0; i < 4; i++) {
        peers[i] = client();
    }
    for (int i = 0; i < 4; i++) {
        fake_peer_send_text(peers[i], GET("/small"));
    }
    give_no_fds_for_files(FAKE_FOREVER);
    server_drain(scene.server, 1000, NULL, NULL);
    settle();
    for (int i = 0; i < 4; i++) {
        assert_string_equal(statuses(peers[i]), "503");
    }
}

/* What the start says. */

static void start_says_when_max_connections_cannot_be_reached(void **state)
{
    (void)state;
    struct limits limits;
    limits_init(&limits);
    fake_sys_set_fd_limit(1016);
    limits.max_connections = 1000;
    fd_check(&limits, &scene.log);
    assert_string_equal(scene.log_text, ""); /* enough */
    limits.max_connections = 1001;
    fd_check(&limits, &scene.log);
    assert_string_equal(
        scene.log_text,
        "max_connections is 1001, but this process may have 1016 file descriptors (RLIMIT_NOFILE): raise "
        "that with LimitNOFILE= in a systemd unit, or ulimit -n, or lower max_connections\n");
    scene.log_text[0] = '\0';
    scene.log.level = LOG_INFO;
    limits_init(&limits); /* nobody has asked for so many */
    fake_sys_set_fd_limit(10000);
    fd_check(&limits, &scene.log);
    assert_string_equal(scene.log_text, "");
    fake_sys_set_fd_limit(9999); /* but a tenth of it is far too few */
    fd_check(&limits, &scene.log);
    assert_non_null(strstr(scene.log_text, "this process may have 9999 file descriptors"));
    fd_check(&limits, NULL);
}

/* The table by itself. */

static void table_holds_what_a_plain_list_holds(void **state)
{
    (void)state;
    enum { KEYS = 300, STEPS = 20000 };
    static uint32_t counts[KEYS];
    struct address_table table = {0};
    uint32_t random = 12345;
    memset(counts, 0, sizeof counts);
    for (int step = 0; step < STEPS; step++) {
        random = random * 1664525 + 1013904223;
        unsigned n = (random >> 8) % KEYS;
        uint64_t key = n % 2 == 0 ? (uint64_t)(n + 1) << 48 : n + 1; /* neighbours, and /64s with zeros below */
        struct address_entry *entry = address_table_find(&table, key);
        assert_int_equal(entry == NULL ? 0 : entry->count, counts[n]);
        if (random >> 31 != 0) {
            entry = address_table_add(&table, key);
            assert_non_null(entry);
            assert_int_equal(entry->count, counts[n]++);
            entry->count++;
        } else if (entry != NULL && --counts[n] == 0) {
            address_table_remove(&table, entry);
        } else if (entry != NULL) {
            entry->count--;
        }
    }
    assert_in_range(table.capacity, KEYS, 4 * KEYS);
    address_table_done(&table);
    assert_null(address_table_find(&table, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(at_the_cap_nobody_goes_and_one_past_it_the_longest_idle),
        SCENE_TEST(when_all_are_at_work_the_newcomer_reads_503),
        SCENE_TEST(request_that_has_just_arrived_is_answered_and_the_next_one_goes),
        SCENE_TEST(newcomer_is_turned_away_when_every_idle_one_turns_out_to_be_at_work),
        SCENE_TEST(and_so_is_one_of_an_address),
        SCENE_TEST(flood_of_newcomers_is_one_line_a_minute),
        SCENE_TEST(idle_connection_behind_many_busy_ones_is_found_by_and_by),
        SCENE_TEST(listeners_of_a_full_server_are_one),
        SCENE_TEST(connection_that_ends_at_once_does_not_fill_the_server),
        SCENE_TEST(one_address_at_its_cap_keeps_no_other_out),
        SCENE_TEST(of_one_address_its_own_longest_idle_makes_room),
        SCENE_TEST(idle_one_of_an_address_is_found_by_and_by),
        SCENE_TEST(what_counts_as_one_address),
        SCENE_TEST(clients_of_a_unix_socket_are_not_counted),
        SCENE_TEST(without_memory_for_an_address_the_newcomer_reads_503),
        SCENE_TEST(without_memory_for_a_connection_an_idle_one_makes_room),
        SCENE_TEST(without_memory_and_with_all_at_work_the_newcomer_reads_503),
        SCENE_TEST(without_fds_an_idle_one_makes_room),
        SCENE_TEST(without_fds_and_with_all_at_work_the_newcomer_reads_503),
        SCENE_TEST(without_fds_a_file_has_that_of_an_idle_connection),
        SCENE_TEST(everybody_gets_a_file_while_connections_take_all_fds),
        SCENE_TEST(without_fds_a_connection_with_a_request_is_not_given_up),
        SCENE_TEST(without_fds_and_idle_connections_a_file_is_503),
        SCENE_TEST(without_fds_a_file_costs_a_bounded_number_of_connections),
        SCENE_TEST(without_fds_a_listing_has_that_of_an_idle_connection),
        SCENE_TEST(while_stopping_no_connection_is_given_up_for_a_file),
        SCENE_TEST(start_says_when_max_connections_cannot_be_reached),
        SCENE_TEST(table_holds_what_a_plain_list_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
