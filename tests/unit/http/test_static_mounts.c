/* Options of mounted directories at the level of requests: what is found and what stands in for what is not, what it
 * costs, files that change under way, and that nothing is left behind whatever fails. */

#include "tests/lib/server_scene.h"

#include "http/encoding.h"
#include "http/file_cache.h"

#define ARRAY_LEN(array) (sizeof(array) / sizeof(array)[0])

enum { LARGE = 100000, MISSING = 10000, REQUEST_MAX = 256 };

static void mount(const char *prefix, const char *name, const struct static_options *options)
{
    char directory[128];
    char err[512];
    snprintf(directory, sizeof directory, "%s/%s", scene.tree.path, name);
    if (static_mounts_add(scene.site->default_host.mounts, prefix, directory, options, err, sizeof err) < 0) {
        fail_msg("%s", err);
    }
}

/*     app/    index.html "app", 404.html "lost", a.css with .gz and .br, big with big.gz, .dot, fifo, bare/
 *     "/app"  with fallback and not_found, "/list" lists, "/lost" with not_found alone */
static int set_up(void **state)
{
    int rv = scene_set_up(state);
    fake_sys_set_wall_time_s(time(NULL) + 3600); /* every file here has settled */
    tree_add_dir(&scene.tree, "app");
    tree_add_dir(&scene.tree, "app/bare");
    tree_add_file(&scene.tree, "app/index.html", "app");
    tree_add_file(&scene.tree, "app/404.html", "lost");
    tree_add_file(&scene.tree, "app/a.css", "original");
    tree_add_file(&scene.tree, "app/a.css.gz", "gzip");
    tree_add_file(&scene.tree, "app/a.css.br", "br");
    tree_add_file(&scene.tree, "app/.dot", "dot");
    tree_add_filled(&scene.tree, "app/big", 'b', LARGE);
    tree_add_filled(&scene.tree, "app/big.gz", 'z', LARGE / 2);
    tree_must(mkfifoat(scene.tree.fd, "app/fifo", 0666), "fifo");
    mount("/app", "app", &(struct static_options){.fallback = "index.html", .not_found = "404.html"});
    mount("/lost", "app", &(struct static_options){.not_found = "404.html"});
    mount("/list", "app", &(struct static_options){.list = true, .no_index = true});
    return rv;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, scene_tear_down)

/* What came out for the last request. */
static char answer[4 * LARGE];
static int status;

/* Send a request on a connection of its own and take the answer: its content, or NULL when it is cut. */
static const char *ask(const char *method, const char *target, const char *lines)
{
    char request[REQUEST_MAX];
    snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n%s\r\n", method, target,
             lines);
    struct fake_peer *peer = client();
    say(peer, request);
    size_t len;
    const char *output = fake_peer_output(peer, &len);
    assert_true(len < sizeof answer);
    memcpy(answer, output, len + 1);
    fake_peer_close(peer);
    settle();
    const char *content = strstr(answer, "\r\n\r\n");
    status = len > 12 ? atoi(answer + 9) : 0;
    return content == NULL ? NULL : content + 4;
}

static const char *get(const char *target)
{
    return ask("GET", target, "");
}

static void assert_get(const char *target, int wanted, const char *content)
{
    const char *got = get(target);
    if (status != wanted || got == NULL || (content != NULL && strcmp(got, content) != 0)) {
        fail_msg("%s: %d %s", target, status, got);
    }
}

static void let_files_age(void)
{
    pass_ms(FILE_FRESH_MS);
}

static void what_stands_in_for_what(void **state)
{
    (void)state;
    scene_start();
    static const struct {
        const char *target;
        int status;
        const char *content;
    } rows[] = {
        {"/app/", 200, "app"},
        {"/app/missing", 200, "app"},
        {"/app/missing.js", 200, "app"}, /* as with nginx's try_files */
        {"/app/missing/", 200, "app"},
        {"/app/missing/deep/er", 200, "app"},
        {"/app/a.css/x", 200, "app"},
        {"/app/bare/", 200, "app"},
        {"/app/bare", 301, NULL},
        {"/app/fifo", 200, "app"},
        {"/app/.dot", 404, "lost"}, /* hidden is not missing */
        {"/app/.missing/x", 404, "lost"},
        {"/lost/missing", 404, "lost"},
        {"/lost/.dot", 404, "lost"},
        {"/lost/fifo", 404, "lost"},
        {"/lost/bare/", 404, "lost"},
        {"/lost/a.css", 200, "original"},
        {"/list/missing/", 404, "404 Not Found\n"},
        {"/list/.dot/", 404, "404 Not Found\n"},
        {"/list/missing", 404, "404 Not Found\n"},
        {"/list/bare/", 200, NULL},
        {"/list/fifo", 404, NULL},
        {"/missing", 404, "404 Not Found\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_get(rows[i].target, rows[i].status, rows[i].content);
    }
    tree_add_link(&scene.tree, "app/out", "../../..");
    assert_get("/app/out/x", 403, "403 Forbidden\n"); /* forbidden is not missing either */
}

static void stand_ins_that_are_missing_are_missed_quietly(void **state)
{
    (void)state;
    mount("/none", "app", &(struct static_options){.fallback = "none.html", .not_found = "none/either.html"});
    mount("/dir", "app", &(struct static_options){.fallback = "bare", .not_found = "bare"});
    mount("/odd", "app", &(struct static_options){.fallback = "fifo", .not_found = "404.html"});
    scene_start();
    assert_get("/none/missing", 404, "404 Not Found\n");
    assert_get("/dir/missing", 404, "404 Not Found\n");
    assert_get("/odd/missing", 404, "lost");
    tree_add_file(&scene.tree, "app/none.html", "there by now");
    assert_get("/none/missing", 200, "there by now");
    fake_sys_fail_op(FAKE_OPEN_BENEATH, 1, 1, -EMFILE); /* the fallback is what cannot be opened */
    assert_get("/app/missing", 503, NULL);
    fake_sys_fail_op(FAKE_OPEN_BENEATH, 0, 1, -EMFILE); /* not missing: nobody can tell */
    assert_get("/app/missing", 503, NULL);
}

static void route_with_other_methods_comes_before_stand_ins(void **state)
{
    (void)state;
    add_route(METHOD_POST, "/app/submit", &hello);
    scene_start();
    get("/app/submit");
    assert_int_equal(status, 405);
    assert_non_null(strstr(answer, "\r\nAllow: POST, OPTIONS\r\n"));
}

static void index_names_are_tried_in_their_order(void **state)
{
    (void)state;
    static const char *const names[] = {"one", "bare", "two", "three"};
    mount("/i", "app", &(struct static_options){.index = names, .index_count = ARRAY_LEN(names)});
    mount("/off", "app", &(struct static_options){.no_index = true});
    scene_start();
    assert_get("/i/", 404, NULL);
    tree_add_file(&scene.tree, "app/three", "3");
    assert_get("/i/", 200, "3");
    tree_add_file(&scene.tree, "app/two", "2"); /* behind a directory, which is no file */
    assert_get("/i/", 200, "2");
    tree_add_file(&scene.tree, "app/one", "1");
    assert_get("/i/", 200, "1");
    assert_get("/off/", 404, NULL);
    assert_get("/off/index.html", 200, "app");
    tree_must(fchmodat(scene.tree.fd, "app/one", 0, 0), "one");
    let_files_age();
    if (geteuid() != 0) { /* nobody forbids root to read */
        assert_get("/i/", 403, NULL);
    }
}

static void listing_keeps_to_its_mount(void **state)
{
    (void)state;
    mount("/dots", "app", &(struct static_options){.list = true, .no_index = true, .dotfiles = true});
    scene_start();
    assert_null(strstr(get("/list/"), "../"));
    assert_null(strstr(get("/list/"), ".dot"));
    assert_non_null(strstr(get("/list/"), "<title>Index of /list/</title>"));
    assert_non_null(strstr(get("/list/bare/"), "<a href=\"../\">Parent directory</a>"));
    assert_non_null(strstr(get("/dots/"), "<a href=\"./.dot\">"));
}

static void client_gets_the_coding_it_likes(void **state)
{
    (void)state;
    scene_start();
    assert_string_equal(ask("GET", "/app/a.css", "Accept-Encoding: gzip, br\r\n"), "br");
    assert_string_equal(ask("GET", "/app/a.css", "Accept-Encoding: gzip;q=1\r\nAccept-Encoding: br;q=0\r\n"), "gzip");
    assert_string_equal(ask("GET", "/app/a.css", "Accept-Encoding: gzip\r\nX-Accept-Encoding: br\r\n"), "gzip");
    char etag[64];
    snprintf(etag, sizeof etag, "%.60s", strstr(answer, "\r\nETag: ") + 8);
    *strchr(etag, '\r') = '\0';
    char lines[128];
    snprintf(lines, sizeof lines, "Accept-Encoding: gzip\r\nIf-None-Match: %s\r\n", etag);
    ask("GET", "/app/a.css", lines);
    assert_int_equal(status, 304);
    snprintf(lines, sizeof lines, "If-None-Match: %s\r\n", etag); /* the original is another representation */
    assert_string_equal(ask("GET", "/app/a.css", lines), "original");
    assert_string_equal(ask("GET", "/app/a.css", "Accept-Encoding: zstd\r\n"), "original");
    tree_unlink(&scene.tree, "app/a.css.br"); /* gone since it was found: the original does */
    let_files_age();
    assert_string_equal(ask("GET", "/app/a.css", ""), "original");
    tree_unlink(&scene.tree, "app/a.css.gz");
    assert_string_equal(ask("GET", "/app/a.css", "Accept-Encoding: br\r\n"), "original");
}

/* What it costs. */

static void fresh_representations_cost_a_look_at_those_with_an_fd_and_no_memory(void **state)
{
    (void)state;
    static const char request[] =
        "GET /app/a.css HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\r\n"
        "GET /app/big HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n"
        "GET /app/ HTTP/1.1\r\nHost: a\r\n\r\n";
    scene_start();
    struct fake_peer *peer = client();
    say(peer, request);
    say(peer, request);
    fake_sys_clear_trace();
    uint64_t allocations = fake_mem_calls();
    for (int i = 0; i < 10; i++) {
        say(peer, request);
    }
    assert_int_equal(fake_sys_count(FAKE_OPEN_BENEATH) + fake_sys_count(FAKE_OPEN), 0);
    assert_int_equal(fake_sys_count(FAKE_STAT), 10 * 2); /* big and its sibling */
    assert_int_equal(fake_sys_count(FAKE_PREAD) + fake_sys_count(FAKE_STAT_AT), 0);
    assert_int_equal(fake_mem_calls(), allocations);
    assert_int_equal(count_in_output(peer, "\r\nContent-Encoding: br\r\n"), 12);
    fake_peer_close(peer);
    settle();
}

static void missing_paths_do_not_add_up(void **state)
{
    (void)state;
    static const char *const mounts[] = {"/app", "/lost", "/list", ""};
    scene_start();
    for (size_t i = 0; i < ARRAY_LEN(mounts); i++) {
        struct fake_peer *peer = client();
        size_t bytes = 0;
        for (int n = 0; n < MISSING; n++) {
            char request[REQUEST_MAX];
            snprintf(request, sizeof request, "GET %s/missing-%d%s HTTP/1.1\r\nHost: a\r\nAccept-Encoding: br\r\n\r\n",
                     mounts[i], n, n % 2 == 0 ? ".css" : "/");
            say(peer, request);
            fake_peer_forget_output(peer);
            if (n == 100) {
                bytes = fake_mem_live_bytes();
            }
        }
        assert_int_equal(fake_mem_live_bytes(), bytes);
        assert_true(file_cache_count(scene.site->cache) <= 2);
        fake_peer_close(peer);
        settle();
    }
}

/* What changes. */

static void file_that_is_cut_short_under_way_cuts_the_answer(void **state)
{
    (void)state;
    static const char *const names[] = {"app/big.gz", "app/big"};
    scene_start();
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct fake_peer *peer = client();
        fake_peer_set_room(peer, 10000);
        say(peer, "GET /app/big HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n" GET("/app/"));
        char path[128];
        snprintf(path, sizeof path, "%s/%s", scene.tree.path, names[i]);
        tree_must(truncate(path, 20000), path);
        fake_peer_set_room(peer, FAKE_NO_LIMIT);
        settle();
        if (i == 1) { /* what was chosen is the sibling: nothing has happened to it */
            assert_string_equal(statuses(peer), "200 200");
        } else {
            assert_true(is_closed(peer)); /* the client can tell: fewer bytes came than were announced */
            assert_int_equal(count_in_output(peer, "HTTP/1.1"), 1);
            assert_true(output_len(peer) < LARGE / 2);
        }
        fake_peer_close(peer);
        settle();
    }
}

static void file_that_grows_under_way_is_sent_as_announced(void **state)
{
    (void)state;
    scene_start();
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 10000);
    say(peer, GET("/app/big") GET("/app/"));
    tree_add_filled(&scene.tree, "app/big", 'b', 2 * LARGE);
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    assert_string_equal(statuses(peer), "200 200");
    assert_int_equal(content_len(peer), LARGE + 3);
    fake_peer_close(peer);
    settle();
}

static void replaced_and_removed_files_are_seen_within_a_second(void **state)
{
    (void)state;
    scene_start();
    assert_get("/app/missing", 200, "app");
    assert_get("/lost/missing", 404, "lost");
    tree_replace_file(&scene.tree, "app/index.html", "new app");
    tree_unlink(&scene.tree, "app/404.html");
    let_files_age();
    assert_get("/app/missing", 200, "new app");
    assert_get("/lost/missing", 404, "404 Not Found\n");
    tree_unlink(&scene.tree, "app/index.html");
    let_files_age();
    assert_get("/app/", 404, "404 Not Found\n");
}

/* What fails. */

/* Returns how many answers are not the usual ones. */
static int ask_for_a_bit_of_everything(void)
{
    static const struct {
        const char *target;
        int status;
    } rows[] = {{"/app/a.css", 200}, {"/app/big", 200},  {"/app/missing", 200}, {"/lost/missing", 404},
                {"/list/", 200},     {"/app/bare", 301}, {"/app/.dot", 404}};
    int unusual = 0;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        ask("GET", rows[i].target, "Accept-Encoding: gzip\r\n");
        bool is_failure = status == 0 || status == 500 || status == 503;
        if (status != rows[i].status && !is_failure) {
            fail_msg("%s: %d", rows[i].target, status);
        }
        unusual += status == rows[i].status ? 0 : 1;
    }
    return unusual;
}

/* Every file is looked at again, and some must be loaded again. */
static void make_all_stale(void)
{
    let_files_age();
    tree_replace_file(&scene.tree, "app/a.css", "new");
    tree_replace_file(&scene.tree, "app/a.css.gz", "new");
    tree_replace_file(&scene.tree, "app/404.html", "new");
}

static void every_failing_allocation_is_an_answer_or_a_cut(void **state)
{
    (void)state;
    scene_start();
    bool failed = true;
    uint64_t n = 1;
    for (; failed; n++) {
        make_all_stale();
        fake_mem_fail_after(n, false);
        int unusual = ask_for_a_bit_of_everything();
        failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        assert_true(unusual <= 1);
        assert_int_equal(ask_for_a_bit_of_everything(), 0);
    }
    assert_true(n > 15);
}

static void every_failing_file_call_is_an_answer(void **state)
{
    (void)state;
    static const enum fake_op ops[] = {FAKE_OPEN_BENEATH, FAKE_STAT, FAKE_PREAD, FAKE_STAT_AT, FAKE_READ_DIR};
    scene_start();
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        fake_sys_clear_trace();
        make_all_stale();
        assert_int_equal(ask_for_a_bit_of_everything(), 0);
        uint64_t calls = fake_sys_count(ops[i]);
        assert_true(calls > 1);
        for (uint64_t n = 0; n < calls; n++) {
            make_all_stale();
            fake_sys_fail_op(ops[i], (int)n, 1, -EIO);
            assert_true(ask_for_a_bit_of_everything() <= 1);
        }
    }
}

static void wrong_options_are_refused_by_name(void **state)
{
    (void)state;
    char err[512];
    static const struct static_field bad = {"Content-Type", "x"};
    static const char *const names[] = {"a/b"};
    static const struct {
        struct static_options options;
        const char *text;
    } rows[] = {
        {{.headers = &bad, .header_count = 1},
         "cannot serve \"/\": headers: \"Content-Type\" is the server's own field; types changes it"},
        {{.index = names, .index_count = 1}, "cannot serve \"/\": index: \"a/b\" is not a file name"},
        {{.fallback = "../x"}, "cannot serve \"/\": fallback: \"../x\" is not the path of a file below the directory"},
    };
    struct static_mounts *mounts = scene.site->default_host.mounts;
    size_t live = fake_mem_live();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(static_mounts_add(mounts, "/new", "/", &rows[i].options, err, sizeof err), -EINVAL);
        assert_string_equal(err, rows[i].text);
    }
    for (uint64_t n = 1; n <= 3; n++) {
        fake_mem_fail_after(n, false);
        assert_int_equal(static_mounts_add(mounts, "/new", "/", NULL, err, sizeof err), -ENOMEM);
        fake_mem_fail_after(0, false);
        assert_non_null(strstr(err, "cannot serve \"/\": "));
        assert_non_null(strstr(err, errno_text(ENOMEM)));
    }
    assert_int_equal(fake_mem_live(), live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_stands_in_for_what),
        TEST(stand_ins_that_are_missing_are_missed_quietly),
        TEST(route_with_other_methods_comes_before_stand_ins),
        TEST(index_names_are_tried_in_their_order),
        TEST(listing_keeps_to_its_mount),
        TEST(client_gets_the_coding_it_likes),
        TEST(fresh_representations_cost_a_look_at_those_with_an_fd_and_no_memory),
        TEST(missing_paths_do_not_add_up),
        TEST(file_that_is_cut_short_under_way_cuts_the_answer),
        TEST(file_that_grows_under_way_is_sent_as_announced),
        TEST(replaced_and_removed_files_are_seen_within_a_second),
        TEST(every_failing_allocation_is_an_answer_or_a_cut),
        TEST(every_failing_file_call_is_an_answer),
        TEST(wrong_options_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
