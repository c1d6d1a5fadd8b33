/* Directories that a mount answers with, on the fake kernel: when a page is made and when it is sent again, that others
 * are served while a large one is made, and that nothing is left behind whoever leaves and whatever fails. */

#include "core/sys.h"

#include <stdint.h>

/* Compiled here with a clock of our own, so that a step can take long. */
static int64_t watched_now_ns(void);
#define sys_now_ns watched_now_ns
#include "http/listing_reply.c" /* NOLINT(bugprone-suspicious-include) */
#undef sys_now_ns

#include "tests/lib/server_scene.h"

#include <time.h>

static int64_t step_ms; /* what each step of a job takes */

static int64_t watched_now_ns(void)
{
    static int64_t now_ns;
    now_ns += step_ms * NS_PER_MS;
    return now_ns;
}

enum { LARGE = 1200 }; /* entries of large/ */

static void mount(const char *prefix, const char *directory)
{
    char path[128];
    char err[256];
    snprintf(path, sizeof path, "%s/%s", scene.tree.path, directory);
    static const struct static_options options = {.list = true};
    assert_int_equal(static_mounts_add(scene.site->default_host.mounts, prefix, path, &options, err, sizeof err), 0);
}

static void fill(const char *directory, int count)
{
    tree_add_dir(&scene.tree, directory);
    for (int i = 0; i < count; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s/f%05d", directory, i);
        tree_add_file(&scene.tree, name, "text");
    }
}

static int set_up(void **state)
{
    int rv = scene_set_up(state);
    step_ms = 0;
    fake_sys_set_wall_time_s(time(NULL) + 3600); /* every directory here has settled */
    fill("small", 3);
    mount("/small", "small");
    return rv;
}

static void add_large(void)
{
    fill("large", LARGE);
    mount("/large", "large");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, scene_tear_down)

static uint64_t directory_reads(void)
{
    return fake_sys_count(FAKE_READ_DIR);
}

static void assert_rows(struct fake_peer *peer, int rows)
{
    assert_string_equal(statuses(peer), "200");
    assert_int_equal(count_in_output(peer, "<td><a href=\"./f"), rows);
    assert_true(output_has(peer, "</html>\n"));
}

static void get_small(int rows)
{
    struct fake_peer *peer = client();
    say(peer, GET("/small/"));
    assert_rows(peer, rows);
    fake_peer_close(peer);
    settle();
}

/* What is sent again. */

static void page_is_made_once_while_the_directory_stands(void **state)
{
    (void)state;
    scene_begin();
    get_small(3);
    uint64_t reads = directory_reads();
    uint64_t looks = fake_sys_count(FAKE_STAT_AT);
    for (int i = 0; i < 10; i++) {
        get_small(3);
    }
    struct fake_peer *peer = client();
    say(peer, HEAD("/small/"));
    assert_true(output_has(peer, "HTTP/1.1 200 OK\r\n") && output_has(peer, "Content-Length: "));
    assert_int_equal(directory_reads(), reads);
    assert_int_equal(fake_sys_count(FAKE_STAT_AT), looks);
    assert_int_equal(file_cache_count(scene.site->cache), 1);
}

static void change_of_the_directory_is_seen_at_once(void **state)
{
    (void)state;
    scene_begin();
    get_small(3);
    tree_add_file(&scene.tree, "small/f4", "");
    get_small(4);
    tree_unlink(&scene.tree, "small/f00001");
    get_small(3);
    tree_unlink(&scene.tree, "small/f00000");
    tree_add_link(&scene.tree, "small/f00000", "../../.."); /* leads out: it is no entry any more */
    get_small(2);
    assert_int_equal(file_cache_count(scene.site->cache), 1);
    tree_must(fchmodat(scene.tree.fd, "small", 0000, 0), "small");
    struct fake_peer *peer = client();
    say(peer, GET("/small/"));
    if (geteuid() != 0) {
        assert_string_equal(statuses(peer), "403");
    }
    tree_must(fchmodat(scene.tree.fd, "small", 0755, 0), "small");
}

static void change_of_a_file_is_seen_within_a_second(void **state)
{
    (void)state;
    scene_begin();
    get_small(3);
    tree_add_file(&scene.tree, "small/f00000", "a longer text");
    pass_ms(FILE_FRESH_MS);
    struct fake_peer *peer = client();
    say(peer, GET("/small/"));
    assert_true(output_has(peer, "<td>13 B</td>"));
}

static void write_and_expect(const char *text, const char *cell)
{
    tree_add_file(&scene.tree, "small/f00000", text);
    struct fake_peer *peer = client();
    say(peer, GET("/small/"));
    assert_true(output_has(peer, cell));
    fake_peer_close(peer);
    settle();
}

static void page_that_took_long_is_kept_the_longer(void **state)
{
    (void)state;
    scene_begin();
    step_ms = 50; /* so it costs a hundredth of a core at most */
    write_and_expect("1", "<td>1 B</td>");
    pass_ms(50 * KEPT_TIMES - 1);
    write_and_expect("22", "<td>1 B</td>");
    pass_ms(1);
    write_and_expect("22", "<td>2 B</td>");
}

static void directory_that_may_change_unseen_is_read_again_after_a_second(void **state)
{
    (void)state;
    struct stat st;
    tree_must(fstatat(scene.tree.fd, "small", &st, 0), "small");
    fake_sys_set_wall_time_s(st.st_ctim.tv_sec);
    scene_begin();
    step_ms = 50;
    write_and_expect("1", "<td>1 B</td>");
    pass_ms(FILE_FRESH_MS - 1);
    write_and_expect("22", "<td>1 B</td>");
    pass_ms(1);
    write_and_expect("22", "<td>2 B</td>");
}

/* The cache's own rules, without a server. */
static void page_stands_with_its_directory_and_for_its_time(void **state)
{
    (void)state;
    scene_begin();
    struct file_cache *cache = scene.site->cache;
    struct file_root *root = &scene.site->default_host.mounts->mounts[0]->root;
    struct stat st = {.st_dev = 1, .st_ino = 2, .st_mtim = {3, 4}, .st_ctim = {5, 6}};
    for (int part = 0; part < 8; part++) {
        struct cached_file *page = NULL;
        struct file_page made = {
            .bytes = mem_copy_text("page"), .len = 4, .cut_rows = 7, .made_ms = 1000, .until_ms = 5000};
        assert_int_equal(file_cache_add_page(cache, root, "dir", 3, &st, &made, &page), 0);
        cached_file_put(page);
        struct stat other = st;
        other.st_dev += part == 1;
        other.st_ino += part == 2;
        other.st_mtim.tv_sec += part == 3;
        other.st_mtim.tv_nsec += part == 4;
        other.st_ctim.tv_sec += part == 5;
        other.st_ctim.tv_nsec += part == 6;
        page = file_cache_get_page(cache, root, "dir", 3, &other, part == 7 ? 5000 : 4999);
        assert_int_equal(page != NULL, part == 0);
        if (page != NULL) {
            assert_int_equal(page->cut_rows, 7);
            assert_memory_equal(page->full.bytes, "page", 4);
        }
        cached_file_put(page);
        assert_null(file_cache_get_page(cache, root, "dip", 3, &st, 1000));
    }
}

static void page_is_kept_if_the_memory_of_the_cache_has_room_for_it(void **state)
{
    (void)state;
    set_limit("max_cached_memory", 1000);
    scene_begin();
    struct file_root *root = &scene.site->default_host.mounts->mounts[0]->root;
    struct stat st = {.st_dev = 1};
    for (size_t len = 1000; len <= 1001; len++) {
        struct cached_file *page = NULL;
        struct file_page made = {.bytes = mem_zalloc(len), .len = len, .until_ms = 5000};
        assert_int_equal(file_cache_add_page(scene.site->cache, root, "dir", 3, &st, &made, &page), 0);
        assert_int_equal(page->size, len); /* it can be sent all the same */
        cached_file_put(page);
        assert_int_equal(file_cache_memory(scene.site->cache), len == 1000 ? 1000 : 0);
    }
}

static void no_page_is_made_while_those_that_nobody_reads_take_too_much(void **state)
{
    (void)state;
    add_large();
    scene_begin();
    struct file_root *root = &scene.site->default_host.mounts->mounts[0]->root;
    struct stat st = {.st_dev = 1};
    struct fake_peer *peer = client();
    for (size_t len = FILE_PAGES_MAX; len >= FILE_PAGES_MAX - 1; len--) {
        struct cached_file *page = NULL;
        struct file_page made = {.bytes = mem_alloc(len), .len = len, .until_ms = 5000};
        assert_int_equal(file_cache_add_page(scene.site->cache, root, "other", 5, &st, &made, &page), 0);
        say(peer, GET("/large/"));
        settle();
        assert_string_equal(statuses(peer), len == FILE_PAGES_MAX ? "503" : "503 200");
        cached_file_put(page);
    }
}

/* Pages in the making. */

static void others_are_served_while_a_large_page_is_made(void **state)
{
    (void)state;
    add_large();
    scene_begin();
    struct fake_peer *slow = client();
    struct fake_peer *quick = client();
    fake_peer_send_text(slow, GET("/large/"));
    run_once();
    run_once();
    fake_peer_send_text(quick, GET("/hello"));
    for (int turn = 0; turn < 3; turn++) {
        run_once();
    }
    assert_string_equal(statuses(quick), "200");
    assert_int_equal(output_len(slow), 0);
    settle();
    assert_rows(slow, LARGE);
    assert_false(output_has(slow, "Listing-Cut"));
}

static void crowd_asks_for_one_page(void **state)
{
    (void)state;
    add_large();
    scene_begin();
    struct fake_peer *crowd[8];
    for (int i = 0; i < 8; i++) {
        crowd[i] = client();
        fake_peer_send_text(crowd[i], i == 5 ? GET("/small/") : GET("/large/"));
    }
    settle();
    for (int i = 0; i < 8; i++) {
        assert_rows(crowd[i], i == 5 ? 3 : LARGE);
    }
    assert_in_range(fake_sys_count(FAKE_STAT_AT), LARGE + 3, LARGE + 3); /* each row was looked at once */
}

static void clients_that_leave_take_their_work_along(void **state)
{
    (void)state;
    add_large();
    scene_begin();
    for (int leaver = 0; leaver < 4; leaver++) { /* the one whose page is made, and each of those who wait */
        struct fake_peer *peers[4];
        for (int i = 0; i < 4; i++) {
            peers[i] = client();
            fake_peer_send_text(peers[i], GET("/large/"));
        }
        for (int turn = 0; turn < 4; turn++) {
            run_once();
        }
        fake_peer_reset(peers[leaver], 0);
        settle();
        for (int i = 0; i < 4; i++) {
            if (i != leaver) {
                assert_rows(peers[i], LARGE);
            }
            fake_peer_close(peers[i]);
        }
        tree_add_file(&scene.tree, "large/other", ""); /* the page that was made is void */
        tree_unlink(&scene.tree, "large/other");
        settle();
    }
    assert_int_equal(stats().connections, 0);
}

static void server_that_ends_in_the_midst_leaves_nothing_behind(void **state)
{
    (void)state;
    add_large();
    scene_begin();
    for (int i = 0; i < 3; i++) {
        fake_peer_send_text(client(), GET("/large/"));
    }
    for (int turn = 0; turn < 4; turn++) {
        run_once();
    }
    /* the tear-down looks for memory and fds */
}

static void page_that_is_cut_says_so_in_a_field(void **state)
{
    (void)state;
    set_limit("list_max", 2);
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET("/small/") GET("/small/"));
    assert_string_equal(statuses(peer), "200 200");
    say(peer, HEAD("/small/"));
    assert_int_equal(count_in_output(peer, "\r\nListing-Cut: 2\r\n"), 3);
    assert_int_equal(count_in_output(peer, "<td><a href=\"./f"), 4);
}

/* Two clients ask for a large page, while something fails. Returns whether an allocation did. */
static bool ask_twice_during_failures(void)
{
    struct fake_peer *peers[2] = {client(), client()};
    fake_peer_send_text(peers[0], GET("/large/"));
    fake_peer_send_text(peers[1], GET("/large/"));
    settle();
    bool failed = fake_mem_failed();
    fake_mem_fail_after(0, false);
    settle();
    for (int i = 0; i < 2; i++) {
        assert_true(is_closed(peers[i]) || output_len(peers[i]) > 0);
        fake_peer_close(peers[i]);
    }
    tree_add_file(&scene.tree, "large/other", ""); /* the page that was made is void */
    tree_unlink(&scene.tree, "large/other");
    settle();
    assert_int_equal(stats().connections, 0);
    return failed;
}

static void add_some_steps(void)
{
    fill("large", 400);
    mount("/large", "large");
}

static void every_failing_allocation_is_an_answer_or_a_cut(void **state)
{
    (void)state;
    add_some_steps();
    scene_begin();
    bool failed = true;
    for (uint64_t n = 1; failed; n += n < 40 ? 1 : 37) {
        fake_mem_fail_after(n, false);
        failed = ask_twice_during_failures();
    }
}

static void every_failing_look_is_an_answer(void **state)
{
    (void)state;
    static const enum fake_op ops[] = {FAKE_OPEN_BENEATH, FAKE_STAT, FAKE_READ_DIR, FAKE_STAT_AT};
    add_some_steps();
    scene_begin();
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        for (int skip = 0; skip < 8; skip++) {
            fake_sys_fail_op(ops[i], skip, 1, -EIO);
            ask_twice_during_failures();
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(page_is_made_once_while_the_directory_stands),
        TEST(change_of_the_directory_is_seen_at_once),
        TEST(change_of_a_file_is_seen_within_a_second),
        TEST(page_that_took_long_is_kept_the_longer),
        TEST(directory_that_may_change_unseen_is_read_again_after_a_second),
        TEST(page_stands_with_its_directory_and_for_its_time),
        TEST(page_is_kept_if_the_memory_of_the_cache_has_room_for_it),
        TEST(no_page_is_made_while_those_that_nobody_reads_take_too_much),
        TEST(others_are_served_while_a_large_page_is_made),
        TEST(crowd_asks_for_one_page),
        TEST(clients_that_leave_take_their_work_along),
        TEST(server_that_ends_in_the_midst_leaves_nothing_behind),
        TEST(page_that_is_cut_says_so_in_a_field),
        TEST(every_failing_allocation_is_an_answer_or_a_cut),
        TEST(every_failing_look_is_an_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
