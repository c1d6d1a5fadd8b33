/* Files in memory: found as files of a directory are, served with the same fields, sent without being copied, and
 * refused at the start when they make no sense. */

#include "tests/lib/server_scene.h"

#include "http/assets.h"
#include "http/cached_file.h"
#include "http/file_cache.h"
#include "http/file_root.h"

#define ARRAY_LEN(array) (sizeof(array) / sizeof(array)[0])

enum { LARGE = 300000, REQUEST_MAX = 256 };

static char large[LARGE];

/* In no order, as somebody may write them. */
static const struct asset list[] = {
    {.path = "index.html", .content = "start", .len = 5},
    {.path = "sub/index.html", .content = "sub", .len = 3},
    {.path = "a.css", .content = "original", .len = 8, .etag = "tag-1"},
    {.path = "a.css.gz", .content = "gzip", .len = 4},
    {.path = "a.css.br", .content = "br", .len = 2},
    {.path = "404.html", .content = "lost", .len = 4},
    {.path = "large", .content = large, .len = LARGE, .type = "text/x-large", .modified_s = 784111777},
    {.path = "empty.txt", .content = NULL, .len = 0},
    {.path = "sub-a", .content = "before sub/", .len = 11},
    {.path = ".dot", .content = "dot", .len = 3},
    {.path = ".well-known/x.txt", .content = "known", .len = 5},
    {.path = "lone.css.gz", .content = "lone", .len = 4},
};

static void pin(const char *prefix, const struct static_options *options)
{
    char err[512];
    if (static_mounts_pin_assets(scene.site->default_host.mounts, prefix, list, ARRAY_LEN(list), options, err,
                                 sizeof err) < 0) {
        fail_msg("%s", err);
    }
}

/*     "/m" with the defaults, "/app" with fallback, "/lost" with not_found, a max-age and a field */
static int set_up(void **state)
{
    static const struct static_field field = {"X-One", "1"};
    int rv = scene_set_up(state);
    for (size_t i = 0; i < LARGE; i++) {
        large[i] = (char)('a' + i % 26);
    }
    pin("/m", NULL);
    pin("/app", &(struct static_options){.fallback = "a.css", .cache_s = 60});
    pin("/lost",
        &(struct static_options){.not_found = "404.html", .cache_s = 60, .headers = &field, .header_count = 1});
    pin("/plain", &(struct static_options){.no_precompressed = true, .dotfiles = true});
    return rv;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, scene_tear_down)

/* What came out for the last request. */
static char answer[2 * LARGE];
static int status;

/* Send a request on a connection of its own. Returns the content of the answer. */
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
    return content == NULL ? "" : content + 4;
}

static bool has(const char *line)
{
    const char *head_end = strstr(answer, "\r\n\r\n");
    const char *found = strstr(answer, line);
    return found != NULL && found < head_end;
}

/* The value of the answer's ETag. */
static void copy_etag(char (*etag)[64])
{
    const char *value = strstr(answer, "\r\nETag: ");
    assert_non_null(value);
    snprintf(*etag, sizeof *etag, "%.*s", (int)strcspn(value + 8, "\r"), value + 8);
}

static void paths_lead_to_assets_as_they_do_to_files(void **state)
{
    (void)state;
    scene_start();
    static const struct {
        const char *target;
        int status;
        const char *content;
    } rows[] = {
        {"/m/index.html", 200, "start"},
        {"/m/", 200, "start"},
        {"/m", 301, NULL},
        {"/m/sub/", 200, "sub"},
        {"/m/sub", 301, NULL},
        {"/m//sub/", 301, NULL},
        {"/m/sub-a", 200, "before sub/"},
        {"/m/su", 404, NULL},
        {"/m/sub/x", 404, NULL},
        {"/m/index.html/", 404, NULL},
        {"/m/index.html/x", 404, NULL},
        {"/m/empty.txt", 200, ""},
        {"/m/.dot", 404, NULL},
        {"/m/.well-known/x.txt", 404, NULL}, /* of the site's top alone */
        {"/plain/.dot", 200, "dot"},
        {"/app/x/y", 200, "original"},
        {"/app/sub/", 200, "sub"},
        {"/lost/x", 404, "lost"},
        {"/m/a.css.gz", 200, "gzip"},
        {"/m/lone.css", 404, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *content = ask("GET", rows[i].target, "");
        if (status != rows[i].status || (rows[i].content != NULL && strcmp(content, rows[i].content) != 0)) {
            fail_msg("%s: %d %s", rows[i].target, status, content);
        }
    }
    assert_string_equal(ask("HEAD", "/m/a.css", ""), "");
    assert_true(has("\r\nContent-Length: 8\r\n"));
    ask("PUT", "/m/a.css", "Content-Length: 0\r\n");
    assert_int_equal(status, 405);
}

static void head_says_what_the_asset_says(void **state)
{
    (void)state;
    scene_start();
    ask("GET", "/m/a.css", "");
    assert_true(has("\r\nETag: \"tag-1\"\r\n"));
    assert_true(has("\r\nContent-Type: text/css; charset=utf-8\r\n"));
    assert_true(has("\r\nVary: Accept-Encoding\r\n"));
    assert_false(has("\r\nLast-Modified:"));
    assert_false(has("\r\nCache-Control:"));
    ask("GET", "/m/large", "");
    assert_true(has("\r\nContent-Type: text/x-large\r\n"));
    assert_true(has("\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n"));
    assert_false(has("\r\nVary:"));
    ask("GET", "/lost/index.html", "");
    assert_true(has("\r\nCache-Control: max-age=60\r\n"));
    assert_true(has("\r\nX-One: 1\r\n"));
    ask("GET", "/app/missing", "");
    assert_true(has("\r\nCache-Control: no-cache\r\n"));
    ask("GET", "/lost/missing", "");
    assert_true(has("\r\nX-One: 1\r\n"));
    assert_false(has("\r\nETag:"));
}

static void client_gets_the_coding_it_likes(void **state)
{
    (void)state;
    char etag[64], line[128];
    scene_start();
    assert_string_equal(ask("GET", "/m/a.css", "Accept-Encoding: gzip, br\r\n"), "br");
    assert_true(has("\r\nContent-Encoding: br\r\n"));
    assert_string_equal(ask("GET", "/m/a.css", "Accept-Encoding: gzip\r\n"), "gzip");
    assert_true(has("\r\nContent-Encoding: gzip\r\n"));
    assert_true(has("\r\nContent-Type: text/css; charset=utf-8\r\n"));
    assert_true(has("\r\nVary: Accept-Encoding\r\n"));
    assert_false(has("\r\nETag: \"tag-1\"\r\n"));
    copy_etag(&etag);
    snprintf(line, sizeof line, "Accept-Encoding: gzip\r\nIf-None-Match: %s\r\n", etag);
    ask("GET", "/m/a.css", line);
    assert_int_equal(status, 304);
    assert_string_equal(ask("GET", "/app/missing", "Accept-Encoding: gzip\r\n"), "gzip");
    assert_string_equal(ask("GET", "/plain/a.css", "Accept-Encoding: gzip\r\n"), "original");
    assert_false(has("\r\nVary:"));
    ask("GET", "/m/a.css.gz", "");
    assert_false(has("\r\nContent-Encoding:"));
    assert_true(has("\r\nContent-Type: application/gzip\r\n"));
    assert_false(has(etag)); /* the same bytes mean something else there */
}

static void conditions_and_ranges_hold(void **state)
{
    (void)state;
    scene_start();
    ask("GET", "/m/a.css", "If-None-Match: \"tag-1\"\r\n");
    assert_int_equal(status, 304);
    ask("GET", "/m/a.css", "If-Match: \"other\"\r\n");
    assert_int_equal(status, 412);
    ask("GET", "/m/large", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
    assert_int_equal(status, 304);
    assert_string_equal(ask("GET", "/m/a.css", "Range: bytes=2-4\r\n"), "igi");
    assert_int_equal(status, 206);
    assert_true(has("\r\nContent-Range: bytes 2-4/8\r\n"));
    const char *content = ask("GET", "/m/large", "Range: bytes=1-3,26-27,100000-200000\r\n");
    assert_int_equal(status, 206);
    assert_non_null(strstr(content, "\r\n\r\nbcd\r\n--"));
    assert_non_null(strstr(content, "bytes 100000-200000/300000"));
    assert_non_null(memmem(content, strlen(content), large + 100000, 100001));
    ask("GET", "/m/large", "Range: bytes=300000-\r\n");
    assert_int_equal(status, 416);
}

static void content_is_sent_from_where_it_is(void **state)
{
    (void)state;
    scene_start();
    struct fake_peer *peer = client();
    say(peer, GET("/m/large"));
    fake_peer_forget_output(peer);
    uint64_t allocations = fake_mem_calls();
    size_t bytes = fake_mem_live_bytes();
    fake_peer_set_room(peer, 1000);
    say(peer, GET("/m/large") GET("/m/a.css"));
    assert_true(fake_mem_live_bytes() < bytes + LARGE / 2); /* while most of it is still to be sent */
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    assert_string_equal(statuses(peer), "200 200");
    assert_int_equal(content_len(peer), LARGE + 8);
    assert_true(fake_mem_calls() <= allocations + 2); /* of what waited to be read and sent */
    fake_peer_close(peer);
    settle();
}

static void request_allocates_nothing_and_asks_no_disk(void **state)
{
    (void)state;
    scene_start();
    struct fake_peer *peer = client();
    say(peer, GET("/m/index.html") GET("/m/a.css"));
    fake_sys_clear_trace();
    uint64_t allocations = fake_mem_calls();
    for (int i = 0; i < 10; i++) {
        say(peer, GET("/m/index.html"));
        say(peer, "GET /m/a.css HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
        say(peer, GET("/m/missing"));
    }
    assert_int_equal(fake_mem_calls(), allocations);
    assert_int_equal(fake_sys_count(FAKE_OPEN_BENEATH) + fake_sys_count(FAKE_OPEN) + fake_sys_count(FAKE_STAT), 0);
    assert_int_equal(file_cache_count(scene.site->cache), 0);
    fake_peer_close(peer);
    settle();
}

/* What makes no sense. */

static void assert_refused(const struct asset *assets, size_t count, const struct static_options *options,
                           const char *text)
{
    char err[512];
    size_t live = fake_mem_live();
    int rv = static_mounts_pin_assets(scene.site->default_host.mounts, "/new", assets, count, options, err, sizeof err);
    assert_int_equal(rv, -EBADMSG);
    assert_string_equal(err, text);
    assert_int_equal(fake_mem_live(), live);
}

static void assets_that_make_no_sense_are_refused_by_name(void **state)
{
    (void)state;
    static char long_path[5000];
    memset(long_path, 'x', sizeof long_path - 1);
    static const struct {
        struct asset asset;
        const char *text;
    } rows[] = {
        {{.path = ""}, "assets[1]: \"\" has an empty or a dot segment"},
        {{.path = "/x"}, "assets[1]: \"/x\" must not begin with \"/\""},
        {{.path = "x/"}, "assets[1]: \"x/\" has an empty or a dot segment"},
        {{.path = "x//y"}, "assets[1]: \"x//y\" has an empty or a dot segment"},
        {{.path = "x/../y"}, "assets[1]: \"x/../y\" has an empty or a dot segment"},
        {{.path = "."}, "assets[1]: \".\" has an empty or a dot segment"},
        {{.path = "x", .len = 1}, "assets[1]: \"x\" has no content"},
        {{.path = "x", .type = "a\nb"}, "assets[1]: \"x\" has a type that is no field value"},
        {{.path = "x", .type = ""}, "assets[1]: \"x\" has a type that is no field value"},
        {{.path = "x", .etag = ""},
         "assets[1]: \"x\" has a tag that is not 1 to 36 visible ASCII characters without quotes"},
        {{.path = "x", .etag = "\"y\""},
         "assets[1]: \"x\" has a tag that is not 1 to 36 visible ASCII characters without quotes"},
        {{.path = "x", .etag = "1234567890123456789012345678901234567"},
         "assets[1]: \"x\" has a tag that is not 1 to 36 visible ASCII characters without quotes"},
        {{.path = "x", .modified_s = -1}, "assets[1]: \"x\" was modified at a time that is no date"},
        {{.path = "x", .modified_s = INT64_MAX}, "assets[1]: \"x\" was modified at a time that is no date"},
        {{.path = "one"}, "assets[1]: \"one\" occurs twice"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct asset assets[] = {{.path = "one"}, rows[i].asset};
        assert_refused(assets, 2, NULL, rows[i].text);
    }
    char err[512];
    const struct asset too_long = {.path = long_path};
    assert_int_equal(static_mounts_pin_assets(scene.site->default_host.mounts, "/new", &too_long, 1, NULL, err,
                                              sizeof err),
                     -EBADMSG);
    assert_non_null(strstr(err, "xxx\" is too long"));
    const struct asset longest = {.path = long_path + sizeof long_path - 4096,
                                  .etag = "123456789012345678901234567890123456"};
    assert_int_equal(static_mounts_pin_assets(scene.site->default_host.mounts, "/new", &longest, 1, NULL, err,
                                              sizeof err),
                     0);
}

static void options_that_name_no_asset_are_refused(void **state)
{
    (void)state;
    assert_refused(list, ARRAY_LEN(list), &(struct static_options){.fallback = "x.html"},
                   "fallback: \"x.html\" is not among the files in memory");
    assert_refused(list, ARRAY_LEN(list), &(struct static_options){.not_found = "sub"},
                   "not_found: \"sub\" is not among the files in memory");
    assert_refused(list, ARRAY_LEN(list), &(struct static_options){.list = true},
                   "list: files in memory are not listed");
}

static void no_assets_at_all_are_404(void **state)
{
    (void)state;
    char err[512];
    assert_int_equal(static_mounts_pin_assets(scene.site->default_host.mounts, "/none", list, 0, NULL, err, sizeof err),
                     0);
    scene_start();
    ask("GET", "/none/x", "");
    assert_int_equal(status, 404);
    ask("GET", "/none/", "");
    assert_int_equal(status, 404);
}

static void every_failing_allocation_leaves_nothing(void **state)
{
    (void)state;
    char err[512];
    size_t live = fake_mem_live();
    int rv = -ENOMEM;
    uint64_t n = 1;
    for (; rv < 0; n++) {
        fake_mem_fail_after(n, false);
        const struct static_options options = {.fallback = "a.css"};
        rv = static_mounts_pin_assets(scene.site->default_host.mounts, "/new", list, ARRAY_LEN(list), &options, err,
                                      sizeof err);
        fake_mem_fail_after(0, false);
        if (rv < 0) {
            assert_int_equal(rv, -ENOMEM);
            assert_non_null(strstr(err, errno_text(ENOMEM)));
            assert_int_equal(fake_mem_live(), live);
        }
    }
    assert_true(n > 3 * ARRAY_LEN(list));
}

/* An asset that is being sent outlives its mount: a reload takes the mounts away. */
static void asset_outlives_its_mount_while_it_is_sent(void **state)
{
    (void)state;
    scene_start();
    struct cached_file *file = NULL;
    struct assets *assets = NULL;
    char err[512];
    const struct file_root root = {.fields = ""};
    assert_int_equal(assets_create(&assets, list, ARRAY_LEN(list), &root, NULL, false, err, sizeof err), 0);
    assert_int_equal(assets_get(assets, "a.css", 5, &file), 0);
    assets_destroy(assets);
    assert_memory_equal(cached_file_contents(file), "original", 8);
    cached_file_put(file);
}

/* What a script gives: its texts may be collected at once. */
static void copies_stay_when_their_source_is_gone(void **state)
{
    (void)state;
    struct cached_file *file = NULL, *sibling;
    struct assets *assets = NULL;
    char err[512], path[] = "a.css", path_gz[] = "a.css.gz", content[] = "original", type[] = "text/x";
    const struct asset gone[] = {{.path = path, .content = content, .len = 8, .type = type},
                                 {.path = path_gz, .content = content, .len = 4},
                                 {.path = "empty"}};
    const struct file_root root = {.fields = "", .has_siblings = true};
    size_t live = fake_mem_live();
    int rv = -ENOMEM;
    for (uint64_t n = 1; rv < 0; n++) {
        assert_int_equal(fake_mem_live(), live);
        fake_mem_fail_after(n, false);
        rv = assets_create(&assets, gone, ARRAY_LEN(gone), &root, NULL, true, err, sizeof err);
        fake_mem_fail_after(0, false);
        assert_true(rv == 0 || rv == -ENOMEM);
    }
    memset(path, 'x', sizeof path - 1);
    memset(path_gz, 'x', sizeof path_gz - 1);
    memset(content, 'x', sizeof content - 1);
    memset(type, 'x', sizeof type - 1);
    assert_int_equal(assets_get(assets, "a.css", 5, &file), 0);
    sibling = assets_get_sibling(assets, file, ENCODING_GZIP);
    assert_int_equal(assets_get(assets, "x", 1, &file), -ENOENT);
    assets_destroy(assets);
    assert_memory_equal(cached_file_contents(file), "original", 8);
    assert_memory_equal(cached_file_contents(sibling), "orig", 4);
    assert_string_equal(file->type, "text/x");
    assert_string_equal(sibling->type, "text/x");
    cached_file_put(file);
    cached_file_put(sibling);
    assert_int_equal(fake_mem_live(), live);
}

static void copies_have_a_limit(void **state)
{
    (void)state;
    char err[512];
    struct assets *assets = NULL;
    char *most = calloc(1, ASSETS_COPIED_MAX);
    struct asset two[] = {{.path = "a", .content = most, .len = ASSETS_COPIED_MAX - 1},
                          {.path = "b", .content = most, .len = 1}};
    const struct file_root root = {.fields = ""};
    assert_int_equal(assets_create(&assets, two, 2, &root, NULL, true, err, sizeof err), 0);
    assets_destroy(assets);
    two[1].len = 2;
    assert_int_equal(assets_create(&assets, two, 2, &root, NULL, true, err, sizeof err), -EFBIG);
    assert_string_equal(err, "files in memory: more than 16 MiB in total");
    assert_int_equal(assets_create(&assets, two, 2, &root, NULL, false, err, sizeof err), 0);
    assets_destroy(assets);
    free(most);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(paths_lead_to_assets_as_they_do_to_files),
        TEST(head_says_what_the_asset_says),
        TEST(client_gets_the_coding_it_likes),
        TEST(conditions_and_ranges_hold),
        TEST(content_is_sent_from_where_it_is),
        TEST(request_allocates_nothing_and_asks_no_disk),
        TEST(assets_that_make_no_sense_are_refused_by_name),
        TEST(options_that_name_no_asset_are_refused),
        TEST(no_assets_at_all_are_404),
        TEST(every_failing_allocation_leaves_nothing),
        TEST(asset_outlives_its_mount_while_it_is_sent),
        TEST(copies_stay_when_their_source_is_gone),
        TEST(copies_have_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
