/* Paths to answers: mounts, dot files, directories, redirects, conditions, and the status of each failure. The exchange
 * is real, what it belongs to is the least that its answer needs; files are real, behind the fake door. */

#include "core/log.h"
#include "core/mem.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "http/cached_file.h"
#include "http/exchange.h"
#include "http/file_cache.h"
#include "http/h1/h1.h"
#include "http/h1/h1_protocol.h"
#include "http/h1/parser_scalar.h"
#include "http/response.h"
#include "http/router.h"
#include "http/service.h"
#include "http/site.h"
#include "http/site_parts.h"
#include "http/static_files.h"
#include "http/static_mounts.h"
#include "http/url.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"
#include "tests/lib/file_tree.h"

#include <errno.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define ARRAY_LEN(array) (sizeof(array) / sizeof(array)[0])

enum { LARGE = 100000, FIELDS = 100, PATH_ROOM = 65536, MTIME_S = 784111777 };

#define MTIME_TEXT "Sun, 06 Nov 1994 08:49:37 GMT"

/* What came out for a request. */
struct answer {
    int status;
    char head[16384]; /* without the empty line, each line with its CRLF */
    char content[LARGE + 1];
    size_t content_len;
    enum response_state state;
};

static struct {
    struct file_tree tree;
    struct site *site;
    struct service service;
    struct conn conn;
    struct h1_server *h1_server;
    struct h1 *h1;
    struct exchange *exchange; /* that of h1 */
    char path[PATH_ROOM];
    char err[256];
    struct answer answer;
} scene;

static void mount(const char *prefix, const char *name, const struct static_options *options)
{
    char directory[128];
    snprintf(directory, sizeof directory, "%s/%s", scene.tree.path, name);
    int rv = static_mounts_add(scene.site->default_host.mounts, prefix, directory, options, scene.err,
                               sizeof scene.err);
    if (rv < 0) {
        fail_msg("%s", scene.err);
    }
}

static void make_site(void)
{
    assert_int_equal(site_create(&scene.site, NULL), 0);
    scene.service.site = scene.site;
}

/*     site/          mounted on "/"
 *     assets/        mounted on "/assets", kept by caches for an hour
 *     assets/deep/   mounted on "/assets/deeper" */
static int set_up(void **state)
{
    (void)state;
    memset(&scene, 0, sizeof scene);
    fake_sys_reset();
    fake_sys_set_wall_time_s(time(NULL) + 3600);
    tree_make(&scene.tree);
    static const char *const directories[] = {"site",
                                              "site/.git",
                                              "site/.well-known",
                                              "site/.well-known/.git",
                                              "site/dir",
                                              "site/bare",
                                              "site/odd name",
                                              "site/evil",
                                              "site/index",
                                              "site/index/index.html",
                                              "site/dir/.well-known",
                                              "assets",
                                              "assets/.well-known",
                                              "assets/deep"};
    for (size_t i = 0; i < ARRAY_LEN(directories); i++) {
        tree_add_dir(&scene.tree, directories[i]);
    }
    static const char *const files[] = {"site/index.html",
                                        "site/a.txt",
                                        "site/dir/index.html",
                                        "site/dir/b",
                                        "site/.secret",
                                        "site/.git/c",
                                        "site/.well-known/d",
                                        "site/.well-known/.e",
                                        "site/.well-known/.git/f",
                                        "site/dir/.g",
                                        "site/odd name/h i",
                                        "site/..h",
                                        "site/assets.txt",
                                        "assets/a.css",
                                        "assets/.well-known/x",
                                        "assets/deep/y",
                                        "site/index.html~",
                                        "site/.well-knownx",
                                        "site/dir/.well-known/x"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        tree_add_file(&scene.tree, files[i], files[i]); /* a file says its name */
        tree_set_mtime(&scene.tree, files[i], MTIME_S, 0);
    }
    tree_add_filled(&scene.tree, "site/large", 'l', LARGE);
    tree_add_link(&scene.tree, "site/out", "../assets/a.css");
    tree_add_link(&scene.tree, "site/loop", "loop");
    make_site();
    mount("/", "site", NULL);
    mount("/assets", "assets", &(struct static_options){.cache_s = 3600});
    mount("/assets/deeper/", "assets/deep", NULL);
    assert_int_equal(reactor_create(&scene.service.reactor, NULL), 0);
    scene.conn = (struct conn){.is_advancing = true};
    assert_int_equal(h1_server_create(&scene.h1_server, &scene.service), 0);
    scene.h1 = calloc(1, sizeof *scene.h1 + exchange_room(&scene.site->limits));
    assert_non_null(scene.h1);
    scene.h1->conn = &scene.conn;
    scene.exchange = &scene.h1->exchange;
    exchange_init(scene.exchange, scene.h1_server->framing, &scene.service, (char *)(scene.h1 + 1));
    scene.exchange->path = scene.path;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    write_buffer_done(&scene.h1->out);
    exchange_done(scene.exchange);
    free(scene.h1);
    h1_server_destroy(scene.h1_server);
    site_destroy(scene.site);
    reactor_destroy(scene.service.reactor);
    tree_remove(&scene.tree);
    if (fake_sys_open_fds() != 0) {
        fake_sys_print_open_fds();
    }
    assert_int_equal(fake_sys_open_fds(), 0);
    assert_int_equal(fake_mem_live(), 0);
    fake_sys_reset();
    return 0;
}

/* Take what the exchange would send, and get it ready for the next request. */
static const struct answer *take_answer(void)
{
    struct exchange *exchange = scene.exchange;
    struct answer *answer = &scene.answer;
    memset(answer, 0, sizeof *answer);
    answer->status = exchange->status;
    answer->state = exchange->response_state;
    size_t len = write_buffer_len(&scene.h1->out);
    const char *out = len == 0 ? "" : write_buffer_data(&scene.h1->out);
    const char *end = len == 0 ? NULL : memmem(out, len, "\r\n\r\n", 4);
    if (end != NULL) {
        size_t head_len = (size_t)(end - out) + 2;
        assert_true(head_len < sizeof answer->head);
        memcpy(answer->head, out, head_len);
        answer->content_len = len - head_len - 2;
        memcpy(answer->content, out + head_len + 2, answer->content_len);
    }
    struct source *body = &exchange->source;
    if (body->kind == SOURCE_FILE) {
        assert_int_equal(answer->content_len, 0);
        answer->content_len = body->file.len;
        assert_int_equal(pread(body->file.fd, answer->content, body->file.len, body->file.offset), body->file.len);
    }
    write_buffer_consume(&scene.h1->out, SIZE_MAX);
    exchange_clear(exchange);
    exchange_start(exchange);
    exchange->path = scene.path;
    return answer;
}

/* Serve a request as it stands on the wire. allowed is what a router said that routes have for the path. */
static const struct answer *serve_text(const char *request, unsigned allowed)
{
    static char text[PATH_ROOM];
    snprintf(text, sizeof text, "%s", request);
    struct exchange *exchange = scene.exchange;
    struct parser parser;
    exchange->site = scene.site;
    exchange->vhost = &scene.site->default_host;
    exchange->head = (struct head){.fields = exchange->head.fields, .field_capacity = FIELDS};
    exchange->head_data = text;
    parser_reset(&parser);
    struct limits limits;
    limits_init(&limits);
    limits.max_request_line_bytes = PATH_ROOM;
    assert_int_equal(parse_head_scalar(&parser, &exchange->head, &limits, text, strlen(text)), PARSE_COMPLETE);
    const char *reason = NULL;
    ssize_t len = url_normalise_path(exchange_text(exchange, exchange->head.path), exchange->head.path.len, scene.path,
                                     sizeof scene.path, &reason);
    assert_true(len > 0);
    scene.path[len] = '\0';
    exchange->path_len = (uint32_t)len;
    exchange->match.allowed = allowed;
    exchange->head_only = exchange->head.method == METHOD_HEAD;
    static_files_serve(scene.site->default_host.mounts, exchange);
    return take_answer();
}

static const struct answer *serve(const char *method, const char *target, const char *lines)
{
    static char text[PATH_ROOM];
    snprintf(text, sizeof text, "%s %s HTTP/1.1\r\nHost: a\r\n%s\r\n", method, target, lines);
    return serve_text(text, 0);
}

static const struct answer *serve_get(const char *target)
{
    return serve("GET", target, "");
}

/* The value of a field in an answer's head, or NULL. Valid until the next call. */
static const char *field_of(const struct answer *answer, const char *name)
{
    static char value[8192];
    char start[64];
    snprintf(start, sizeof start, "\r\n%s: ", name);
    const char *found = strstr(answer->head, start);
    if (found == NULL) {
        return NULL;
    }
    found += strlen(start);
    snprintf(value, sizeof value, "%.*s", (int)strcspn(found, "\r"), found);
    return value;
}

static void let_files_age(void)
{
    fake_sys_advance_ms(FILE_FRESH_MS);
}

/* Paths. */

static void paths_lead_to_files(void **state)
{
    (void)state;
    static const struct {
        const char *target;
        const char *file; /* what the content says, or NULL */
        int status;
    } rows[] = {
        {"/a.txt", "site/a.txt", 200},
        {"/a.txt?query", "site/a.txt", 200},
        {"http://other/a.txt", "site/a.txt", 200},
        {"/%61%2Etxt", "site/a.txt", 200},
        {"/dir/../a.txt", "site/a.txt", 200},
        {"/", "site/index.html", 200},
        {"/dir/", "site/dir/index.html", 200},
        {"/dir/b", "site/dir/b", 200},
        {"/dir/index.html", "site/dir/index.html", 200},
        {"/odd%20name/h%20i", "site/odd name/h i", 200},
        {"/index.html~", "site/index.html~", 200},
        {"/none", NULL, 404},
        {"/none/", NULL, 404},
        {"/none/x", NULL, 404},
        {"/bare/", NULL, 404},  /* no index */
        {"/a.txt/", NULL, 404}, /* a file is no directory */
        {"/a.txt/b", NULL, 404},
        {"/index/", NULL, 404}, /* its index.html is a directory */
        {"/loop", NULL, 404},
        {"/out", NULL, 403},
        {"/out/", NULL, 403},
        {"/A.TXT", NULL, 404},
        {"/%e2%98%83", NULL, 404},
        {"/%0d%0aX:y", NULL, 404},
        /* mounts: the longest prefix wins, and ends at a segment's end */
        {"/assets/a.css", "assets/a.css", 200},
        {"/assets/a.txt", NULL, 404}, /* no second choice */
        {"/assets.txt", "site/assets.txt", 200},
        {"/assets/deep/y", "assets/deep/y", 200},
        {"/assets/deeper/y", "assets/deep/y", 200},
        {"/assets/deeper/", NULL, 404},
        {"/assets/deepery", NULL, 404},
        {"/Assets/a.css", NULL, 404},
        /* dot files */
        {"/.secret", NULL, 404},
        {"/%2Esecret", NULL, 404},
        {"/.git/c", NULL, 404},
        {"/.git/", NULL, 404},
        {"/.git", NULL, 404},
        {"/dir/.g", NULL, 404},
        {"/..h", NULL, 404},
        {"/.well-known/d", "site/.well-known/d", 200}, /* RFC 8615 section 3 */
        {"/.well-known/.e", NULL, 404},
        {"/.well-known/.git/f", NULL, 404},
        {"/.well-knownx", NULL, 404},
        {"/.Well-Known/d", NULL, 404},
        {"/dir/.well-known/x", NULL, 404},
        {"/assets/.well-known/x", NULL, 404}, /* well-known is at the top of the site alone */
        {"/..", NULL, 0},
    };
    for (size_t i = 0; rows[i].status != 0; i++) {
        const struct answer *answer = serve_get(rows[i].target);
        if (answer->status != rows[i].status || answer->state != RESPONSE_COMPLETE ||
            (rows[i].file != NULL && strcmp(answer->content, rows[i].file) != 0)) {
            fail_msg("%s: %d %s", rows[i].target, answer->status, answer->content);
        }
    }
}

static void well_known_directory_can_be_a_mount_of_its_own(void **state)
{
    (void)state;
    mount("/.well-known", "assets", NULL);
    assert_string_equal(serve_get("/.well-known/a.css")->content, "assets/a.css");
    assert_int_equal(serve_get("/.well-known/.well-known/x")->status, 404);
    mount("/.hidden", "assets", NULL); /* whoever mounts it wants it seen */
    assert_string_equal(serve_get("/.hidden/a.css")->content, "assets/a.css");
}

static void path_that_no_mount_covers_is_404(void **state)
{
    (void)state;
    site_destroy(scene.site);
    make_site();
    assert_int_equal(serve_get("/a.txt")->status, 404);
    assert_false(static_mounts_cover(scene.site->default_host.mounts, "/a.txt", 6));
    mount("/assets", "assets", NULL);
    assert_int_equal(serve_get("/a.txt")->status, 404);
    assert_int_equal(serve_get("/asset")->status, 404);
    assert_int_equal(serve_get("/assetsx")->status, 404);
    assert_string_equal(serve_get("/assets/a.css")->content, "assets/a.css");
    assert_false(static_mounts_cover(scene.site->default_host.mounts, "/", 1));
    assert_false(static_mounts_cover(scene.site->default_host.mounts, "/assetsx", 8));
    assert_true(static_mounts_cover(scene.site->default_host.mounts, "/assets", 7));
    assert_true(static_mounts_cover(scene.site->default_host.mounts, "/assets/x", 9));
}

static void path_at_the_kernels_limit_is_404_and_not_more(void **state)
{
    (void)state;
    static char target[PATH_ROOM - 100];
    static const size_t lens[] = {255, 256, 4000, 4080, 4084, 4085, 4094, 4095, 4096, 4097, 20000};
    for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
        for (int is_directory = 0; is_directory < 2; is_directory++) {
            for (size_t at = 0; at < lens[i]; at++) {
                target[at] = at % 200 == 0 ? '/' : 'a';
            }
            target[lens[i] - 1] = is_directory ? '/' : 'a';
            target[lens[i]] = '\0';
            assert_int_equal(serve_get(target)->status, 404);
        }
    }
}

/* Redirects. */

static void directories_are_redirected_to_their_slash_form(void **state)
{
    (void)state;
    static const struct {
        const char *target, *location;
    } rows[] = {
        {"/dir", "/dir/"},
        {"/dir?", "/dir/?"},
        {"/dir?a=b&c=%20d", "/dir/?a=b&c=%20d"},
        {"/dir?//evil", "/dir/?//evil"},
        {"/odd%20name", "/odd%20name/"},
        {"/bare/../dir", "/dir/"},
        {"/index/index.html", "/index/index.html/"},
        {"/.well-known", "/.well-known/"},
        {"/assets", "/assets/"}, /* a mount's own name */
        {"/assets?x", "/assets/?x"},
        {"/assets/deep", "/assets/deep/"},
        {"/assets/deeper", "/assets/deeper/"},
        {"http://evil/dir", "/dir/"}, /* neither the target's host nor Host is trusted */
        /* paths with empty segments: to the one without, and never to what reads as another host */
        {"//evil", "/evil"},
        {"//evil/", "/evil/"},
        {"///evil//", "/evil/"},
        {"//", "/"},
        {"//a.txt?x", "/a.txt?x"},
        {"/dir//b", "/dir/b"},
        {"/dir//", "/dir/"},
        {"/assets//a.css", "/assets/a.css"},
        {"/assets//", "/assets/"},
        {"//assets/a.css", "/assets/a.css"},
        {"//evil.example/%2e%2e/dir", "/dir"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct answer *answer = serve_get(rows[i].target);
        const char *location = field_of(answer, "Location");
        if (answer->status != 301 || location == NULL || strcmp(location, rows[i].location) != 0) {
            fail_msg("%s: %d %s", rows[i].target, answer->status, location);
        }
        assert_int_equal(serve("HEAD", rows[i].target, "")->status, 301);
    }
    assert_int_equal(serve_get("/dir")->content_len, strlen("301 Moved Permanently\n"));
    assert_int_equal(serve("HEAD", "/dir", "")->content_len, 0);
}

static void location_is_encoded_again(void **state)
{
    (void)state;
    static const struct {
        const char *name, *target, *location;
    } rows[] = {
        {"site/\\evil", "/%5Cevil", "/%5Cevil/"},
        {"site/a\r\nX: y", "/a%0D%0AX:%20y", "/a%0D%0AX%3A%20y/"},
        {"site/caf\xc3\xa9", "/caf%C3%A9", "/caf%C3%A9/"},
        {"site/a?b#c%d", "/a%3Fb%23c%25d", "/a%3Fb%23c%25d/"},
        {"site/\x7f", "/%7f", "/%7F/"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        tree_add_dir(&scene.tree, rows[i].name);
        const struct answer *answer = serve_get(rows[i].target);
        assert_int_equal(answer->status, 301);
        assert_string_equal(field_of(answer, "Location"), rows[i].location);
    }
    assert_int_equal(serve_get("/./%2e/%5Cevil/")->status, 404);
}

static void hidden_directories_are_not_even_redirected(void **state)
{
    (void)state;
    assert_int_equal(serve_get("/.git")->status, 404);
    assert_int_equal(serve_get("//.git")->status, 404);
    assert_int_equal(serve_get("/.git//c")->status, 404);
}

static void longest_query_is_kept(void **state)
{
    (void)state;
    static char target[RESPONSE_FIELDS_MAX / 2];
    memset(target, 'q', sizeof target - 1);
    memcpy(target, "/dir?", 5);
    const struct answer *answer = serve_get(target);
    assert_int_equal(answer->status, 301);
    assert_non_null(strstr(answer->head, "\r\nLocation: /dir/?qqq"));
}

/* Answers. */

static void file_comes_with_its_metadata(void **state)
{
    (void)state;
    const struct answer *answer = serve_get("/a.txt");
    assert_int_equal(answer->status, 200);
    assert_string_equal(field_of(answer, "Content-Type"), "text/plain; charset=utf-8");
    assert_string_equal(field_of(answer, "Content-Length"), "10");
    assert_string_equal(field_of(answer, "Last-Modified"), MTIME_TEXT);
    assert_null(field_of(answer, "Cache-Control"));
    assert_non_null(field_of(answer, "ETag"));
    assert_non_null(field_of(answer, "Date"));
    answer = serve_get("/assets/a.css");
    assert_string_equal(field_of(answer, "Cache-Control"), "max-age=3600");
    assert_string_equal(field_of(answer, "Content-Type"), "text/css; charset=utf-8");
}

static void large_file_is_sent_from_its_fd(void **state)
{
    (void)state;
    const struct answer *answer = serve_get("/large");
    assert_int_equal(answer->status, 200);
    assert_int_equal(answer->content_len, LARGE);
    assert_int_equal(answer->content[LARGE - 1], 'l');
    assert_string_equal(field_of(answer, "Content-Length"), "100000");
}

static void head_is_get_without_content(void **state)
{
    (void)state;
    static const char *const targets[] = {"/a.txt", "/large", "/dir/", "/none", "/dir", "/out", "/assets/a.css"};
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        char head[16384];
        snprintf(head, sizeof head, "%s", serve_get(targets[i])->head);
        const struct answer *answer = serve("HEAD", targets[i], "");
        assert_string_equal(answer->head, head); /* the clock stands still: Date too */
        assert_int_equal(answer->content_len, 0);
    }
}

static void conditions_are_heard(void **state)
{
    (void)state;
    char etag[128];
    char lines[256];
    static const char *const targets[] = {"/a.txt", "/large", "/dir/", "/assets/a.css"};
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        const char *target = targets[i];
        snprintf(etag, sizeof etag, "%.127s", field_of(serve_get(target), "ETag"));
        snprintf(lines, sizeof lines, "If-None-Match: \"other\", W/%s\r\n", etag);
        const struct answer *answer = serve("GET", target, lines);
        assert_int_equal(answer->status, 304);
        assert_int_equal(answer->content_len, 0);
        assert_string_equal(field_of(answer, "ETag"), etag);
        assert_non_null(field_of(answer, "Date"));
        assert_int_equal(field_of(answer, "Cache-Control") != NULL, target[1] == 'a' && target[2] == 's');
        assert_null(field_of(answer, "Content-Length"));
        assert_int_equal(serve("HEAD", target, lines)->status, 304);
        assert_int_equal(serve("GET", target, "If-None-Match: \"other\"\r\n")->status, 200);
        snprintf(lines, sizeof lines, "If-Match: %s\r\n", etag);
        assert_int_equal(serve("GET", target, lines)->status, 200);
        assert_int_equal(serve("GET", target, "If-Match: \"other\"\r\n")->status, 412);
        assert_int_equal(serve("HEAD", target, "If-Match: \"other\"\r\n")->status, 412);
    }
    assert_int_equal(serve("GET", "/a.txt", "If-Modified-Since: " MTIME_TEXT "\r\n")->status, 304);
    assert_int_equal(serve("GET", "/a.txt", "If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n")->status, 200);
    assert_int_equal(serve("GET", "/a.txt", "If-Unmodified-Since: " MTIME_TEXT "\r\n")->status, 200);
    assert_int_equal(serve("GET", "/a.txt", "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n")->status, 412);
}

/* RFC 9110 section 13.2.1: conditions come after everything that would not be 2xx. */
static void conditions_do_not_change_other_answers(void **state)
{
    (void)state;
    static const char lines[] = "If-None-Match: *\r\nIf-Match: \"other\"\r\n";
    assert_int_equal(serve("GET", "/none", lines)->status, 404);
    assert_int_equal(serve("GET", "/dir", lines)->status, 301);
    assert_int_equal(serve("GET", "/out", lines)->status, 403);
    assert_int_equal(serve("POST", "/a.txt", lines)->status, 405);
}

static void file_without_a_date_is_compared_by_its_tag_alone(void **state)
{
    (void)state;
    tree_set_mtime(&scene.tree, "site/a.txt", 0, 0);
    const struct answer *answer = serve_get("/a.txt");
    assert_null(field_of(answer, "Last-Modified"));
    assert_int_equal(serve("GET", "/a.txt", "If-Modified-Since: " MTIME_TEXT "\r\n")->status, 200);
    assert_int_equal(serve("GET", "/a.txt", "If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n")->status, 200);
    assert_int_equal(serve("GET", "/a.txt", "If-None-Match: *\r\n")->status, 304);
}

static void fields_of_a_handler_stay(void **state)
{
    (void)state;
    response_add_field(scene.exchange, "X-App", 5, "demo", 4);
    assert_string_equal(field_of(serve_get("/a.txt"), "X-App"), "demo");
    response_add_field(scene.exchange, "X-App", 5, "demo", 4);
    assert_string_equal(field_of(serve_get("/large"), "X-App"), "demo");
    response_add_field(scene.exchange, "X-App", 5, "demo", 4);
    assert_string_equal(field_of(serve("GET", "/a.txt", "If-None-Match: *\r\n"), "X-App"), "demo");
}

/* One line, the handler's, whatever the response is made of. Of an age for a file, the mount's own takes the place
 * where there is no file. */
static void caching_of_a_handler_takes_the_place_of_the_mounts(void **state)
{
    (void)state;
    static const struct static_field fields[] = {{"cache-control", "private"},
                                                 {"X-A", "a"},
                                                 {"Cache-Control", "max-age=5"}};
    static const struct {
        const char *target, *lines, *caching;
        const char *expected; /* of all values */
    } rows[] = {
        {"/assets/a.css", "", "no-store", "no-store;"},
        {"/assets/a.css", "If-None-Match: *\r\n", "no-store", "no-store;"},
        {"/assets/a.css", "Range: bytes=1-2\r\n", "no-store", "no-store;"},
        {"/assets/a.css", "Range: bytes=1-1,3-4\r\n", "no-store", "no-store;"},
        {"/two/a.css", "", "no-store", "no-store;"},
        {"/two/a.css", "", NULL, "private;max-age=5;"},
        {"/two/none", "", "no-store", "no-store;"},
        {"/two/none", "", "max-age=9", ""},
        {"/one/none", "", "max-age=9", "private;"},
        {"/two/a.css", "If-Match: \"x\"\r\n", "no-store", "no-store;"},
        {"/two/a.css", "Range: bytes=99-\r\n", "no-store", "no-store;"},
        {"/two", "", "no-store", "no-store;"},
    };
    mount("/two", "assets", &(struct static_options){.headers = fields, .header_count = ARRAY_LEN(fields)});
    mount("/one", "assets", &(struct static_options){.headers = fields, .header_count = 2});
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].caching != NULL) {
            response_add_field(scene.exchange, "cache-control", 13, rows[i].caching, strlen(rows[i].caching));
        }
        const struct answer *answer = serve("GET", rows[i].target, rows[i].lines);
        char found[64] = "";
        for (const char *line = answer->head; (line = strchr(line, '\n')) != NULL && *++line != '\0';) {
            if (strncasecmp(line, "cache-control: ", 15) == 0) {
                size_t used = strlen(found);
                snprintf(found + used, sizeof found - used, "%.*s;", (int)strcspn(line + 15, "\r"), line + 15);
            }
        }
        assert_string_equal(found, rows[i].expected);
        assert_int_equal(field_of(answer, "X-A") != NULL, rows[i].target[1] != 'a');
    }
}

static void second_request_looks_again_at_a_file_with_an_fd_and_at_no_other(void **state)
{
    (void)state;
    assert_int_equal(serve_get("/")->status, 200);
    assert_int_equal(serve_get("/large")->status, 200);
    fake_sys_clear_trace();
    assert_int_equal(serve_get("/")->status, 200);
    assert_int_equal(serve_get("/large")->status, 200);
    assert_int_equal(serve("GET", "/", "If-None-Match: *\r\n")->status, 304);
    size_t traced = 0;
    fake_sys_trace(&traced);
    assert_int_equal(fake_sys_count(FAKE_STAT), 1);
    assert_int_equal(traced, 1); /* clocks are read, and are not in the trace */
}

static void replaced_file_and_replaced_directory_are_seen_in_time(void **state)
{
    (void)state;
    assert_string_equal(serve_get("/a.txt")->content, "site/a.txt");
    tree_replace_file(&scene.tree, "site/a.txt", "second");
    assert_string_equal(serve_get("/a.txt")->content, "site/a.txt");
    let_files_age();
    assert_string_equal(serve_get("/a.txt")->content, "second");
    tree_must(renameat(scene.tree.fd, "site", scene.tree.fd, "old"), "site");
    tree_add_dir(&scene.tree, "site");
    tree_add_file(&scene.tree, "site/a.txt", "third");
    let_files_age();
    assert_string_equal(serve_get("/a.txt")->content, "third");
    assert_int_equal(serve_get("/")->status, 404);
}

/* Methods. */

static void other_methods_are_refused(void **state)
{
    (void)state;
    static const char *const methods[] = {"POST", "PUT", "PATCH", "DELETE"};
    static const char *const targets[] = {"/a.txt", "/dir", "/dir/", "//a.txt", "/.secret"};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        for (size_t j = 0; j < ARRAY_LEN(targets); j++) {
            const struct answer *answer = serve(methods[i], targets[j], "");
            assert_int_equal(answer->status, 405);
            assert_string_equal(field_of(answer, "Allow"), "GET, HEAD, OPTIONS");
        }
    }
}

static void methods_of_routes_are_allowed_beside_those_of_files(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        int status;
        const char *allow;
    } rows[] = {
        /* a route has POST for the path */
        {"GET /none HTTP/1.1\r\nHost: a\r\n\r\n", 405, "POST, OPTIONS"},
        {"HEAD /none HTTP/1.1\r\nHost: a\r\n\r\n", 405, "POST, OPTIONS"},
        {"PUT /none HTTP/1.1\r\nHost: a\r\n\r\n", 405, "POST, OPTIONS"},
        {"PUT /a.txt HTTP/1.1\r\nHost: a\r\n\r\n", 405, "GET, HEAD, POST, OPTIONS"},
        {"PUT //a.txt HTTP/1.1\r\nHost: a\r\n\r\n", 405, "GET, HEAD, POST, OPTIONS"},
        {"PUT /large HTTP/1.1\r\nHost: a\r\n\r\n", 405, "GET, HEAD, POST, OPTIONS"},
        {"PUT /out HTTP/1.1\r\nHost: a\r\n\r\n", 405, "POST, OPTIONS"},
        {"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n", 200, NULL},
        {"GET /out HTTP/1.1\r\nHost: a\r\n\r\n", 403, NULL},
        {"GET /.secret HTTP/1.1\r\nHost: a\r\n\r\n", 405, "POST, OPTIONS"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct answer *answer = serve_text(rows[i].request, 1U << METHOD_POST);
        const char *allow = field_of(answer, "Allow");
        if (answer->status != rows[i].status || (allow == NULL) != (rows[i].allow == NULL) ||
            (allow != NULL && strcmp(allow, rows[i].allow) != 0)) {
            fail_msg("%s: %d %s", rows[i].request, answer->status, allow);
        }
    }
}

/* Failures. */

static void every_failure_has_its_status(void **state)
{
    (void)state;
    static const struct {
        int error, status;
    } rows[] = {
        {-ENOENT, 404}, {-ENOTDIR, 404}, {-ENAMETOOLONG, 404}, {-ELOOP, 404},  {-ENXIO, 404},  {-ENODEV, 404},
        {-EACCES, 403}, {-EPERM, 403},   {-EXDEV, 403},        {-EMFILE, 503}, {-ENFILE, 503}, {-ENOMEM, 503},
        {-EIO, 500},    {-EAGAIN, 503},  {-EOVERFLOW, 500},    {-ESTALE, 500},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        fake_sys_fail_op(FAKE_OPEN_BENEATH, 0, FAKE_FOREVER, rows[i].error);
        fake_sys_fail_op(FAKE_OPEN, 0, FAKE_FOREVER, rows[i].error); /* EPERM makes open_beneath() walk */
        static const char *const targets[] = {"/a.txt", "/dir/"};
        for (size_t j = 0; j < ARRAY_LEN(targets); j++) {
            const struct answer *answer = serve_get(targets[j]);
            if (answer->status != rows[i].status) {
                fail_msg("%s: %d", strerror(-rows[i].error), answer->status);
            }
        }
        tear_down(NULL); /* takes the wish back */
        set_up(NULL);
    }
}

static int serve_a_bit_of_everything(void)
{
    static const char *const targets[] = {"/a.txt", "/large", "/dir", "//dir//b?c=d", "/dir/", "/none"};
    static const int statuses[] = {200, 200, 301, 301, 200, 404};
    int unusual = 0;
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        const struct answer *answer = serve_get(targets[i]);
        bool is_failure = answer->status == 503 || answer->status == 500 || answer->state == RESPONSE_ABORTED;
        if (answer->status != statuses[i] && !is_failure) {
            fail_msg("%s: %d", targets[i], answer->status);
        }
        unusual += is_failure ? 1 : 0;
    }
    return unusual;
}

static void every_failing_allocation_is_an_answer_or_a_cut(void **state)
{
    (void)state;
    bool failed = true;
    uint64_t n = 1;
    for (; failed; n++) {
        write_buffer_done(&scene.h1->out);
        write_buffer_done(&scene.exchange->fields);
        fake_mem_fail_after(n, false);
        int unusual = serve_a_bit_of_everything();
        failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        assert_true(unusual <= 1);
        assert_int_equal(serve_a_bit_of_everything(), 0);
        let_files_age();
        tree_replace_file(&scene.tree, "site/a.txt", "other"); /* to be loaded again */
        tree_replace_file(&scene.tree, "site/dir/index.html", "other");
    }
    assert_true(n > 12);
}

static void every_failing_system_call_is_an_answer(void **state)
{
    (void)state;
    bool failed = true;
    uint64_t n = 1;
    for (; failed; n++) {
        fake_sys_fail(n, -EIO);
        int unusual = serve_a_bit_of_everything();
        failed = fake_sys_failed();
        fake_sys_fail(0, 0);
        assert_true(unusual <= 1);
        assert_int_equal(serve_a_bit_of_everything(), 0);
        let_files_age();
    }
    assert_true(n > 10);
}

/* Mounting. */

static int try_mount(const char *prefix, const char *directory)
{
    return static_mounts_add(scene.site->default_host.mounts, prefix, directory, NULL, scene.err, sizeof scene.err);
}

static void mounts_that_make_no_sense_are_refused_by_name(void **state)
{
    (void)state;
    char long_prefix[STATIC_PREFIX_MAX + 3];
    memset(long_prefix, 'a', sizeof long_prefix);
    long_prefix[0] = '/';
    long_prefix[STATIC_PREFIX_MAX + 1] = '\0';
    char none[128];
    char file[128];
    snprintf(none, sizeof none, "%s/none", scene.tree.path);
    snprintf(file, sizeof file, "%s/site/a.txt", scene.tree.path);
    const struct {
        const char *prefix, *directory;
        int error;
        const char *culprit;
    } rows[] = {
        {"", "/", -EINVAL, "static prefix \"\" does not begin"},
        {"assets", "/", -EINVAL, "static prefix \"assets\" does not begin"},
        {"//", "/", -EINVAL, "static prefix \"//\" has an empty"},
        {"//x", "/", -EINVAL, "static prefix \"//x\" has an empty"},
        {"/x//", "/", -EINVAL, "has an empty"},
        {"/x//y", "/", -EINVAL, "has an empty"},
        {"/.", "/", -EINVAL, "a dot segment"},
        {"/x/..", "/", -EINVAL, "a dot segment"},
        {"/../x/", "/", -EINVAL, "a dot segment"},
        {long_prefix, "/", -EINVAL, "is longer than 255 bytes"},
        {"/", "/", -EEXIST, "static prefix \"/\" already serves \"/tmp/"},
        {"/assets", "/", -EEXIST, "static prefix \"/assets\" already serves"},
        {"/assets/", "/", -EEXIST, "static prefix \"/assets/\" already serves"},
        {"/new", none, -ENOENT, "/none\": no such directory"},
        {"/new", file, -ENOTDIR, "/site/a.txt\": not a directory"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int rv = try_mount(rows[i].prefix, rows[i].directory);
        if (rv != rows[i].error || strstr(scene.err, rows[i].culprit) == NULL) {
            fail_msg("%s: %d %s", rows[i].prefix, rv, scene.err);
        }
    }
    long_prefix[STATIC_PREFIX_MAX] = '\0';
    assert_int_equal(try_mount(long_prefix, "/"), 0);
    assert_int_equal(try_mount("/...", "/"), 0); /* three dots are a name */
    const char *prefix = NULL;
    const char *directory = NULL;
    assert_true(static_mounts_get(scene.site->default_host.mounts, 4, &prefix, &directory));
    assert_false(static_mounts_get(scene.site->default_host.mounts, 5, &prefix, &directory));
}

static void mounts_are_listed_in_the_order_of_adding(void **state)
{
    (void)state;
    static const char *const wanted[][2] = {{"/", "/site"}, {"/assets", "/assets"}, {"/assets/deeper", "/assets/deep"}};
    const char *prefix = NULL;
    const char *directory = NULL;
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        assert_true(static_mounts_get(scene.site->default_host.mounts, i, &prefix, &directory));
        assert_string_equal(prefix, wanted[i][0]);
        assert_string_equal(directory + strlen(scene.tree.path), wanted[i][1]);
    }
    assert_false(static_mounts_get(scene.site->default_host.mounts, ARRAY_LEN(wanted), &prefix, &directory));
}

static void number_of_mounts_is_bounded(void **state)
{
    (void)state;
    for (int i = 3; i < STATIC_MOUNTS_MAX; i++) {
        char prefix[16];
        snprintf(prefix, sizeof prefix, "/m%d", i);
        assert_int_equal(try_mount(prefix, "/"), 0);
    }
    assert_int_equal(try_mount("/one-more", "/"), -ENOSPC);
    assert_non_null(strstr(scene.err, "more than 64"));
}

static void pinned_mount_wins_over_later_ones(void **state)
{
    (void)state;
    char site[128];
    snprintf(site, sizeof site, "%s/site", scene.tree.path);
    struct static_mounts *mounts = scene.site->default_host.mounts;
    assert_int_equal(static_mounts_pin(mounts, "/pinned", site, NULL, scene.err, sizeof scene.err), 0);
    assert_int_equal(try_mount("/pinned/", "/does/not/exist"), 0); /* ignored */
    assert_string_equal(serve_get("/pinned/a.txt")->content, "site/a.txt");
    assert_int_equal(static_mounts_pin(mounts, "/pinned", site, NULL, scene.err, sizeof scene.err), -EEXIST);
    assert_int_equal(static_mounts_pin(mounts, "/assets", site, NULL, scene.err, sizeof scene.err), -EEXIST);
    assert_int_equal(try_mount("/pinned/below", site), 0);
    const char *prefix = NULL;
    const char *directory = NULL;
    assert_true(static_mounts_get(mounts, 4, &prefix, &directory));
    assert_string_equal(prefix, "/pinned/below");
    assert_false(static_mounts_get(mounts, 5, &prefix, &directory));
}

static void failed_mount_leaves_nothing_behind(void **state)
{
    (void)state;
    size_t blocks = fake_mem_live();
    int fds = fake_sys_open_fds();
    for (uint64_t n = 1; n <= 2; n++) {
        fake_mem_fail_after(n, false);
        assert_int_equal(try_mount("/new", "/"), -ENOMEM);
        fake_mem_fail_after(0, false);
        assert_non_null(strstr(scene.err, "cannot serve \"/\""));
        assert_int_equal(fake_mem_live(), blocks);
    }
    for (uint64_t n = 1; n <= 2; n++) {
        fake_sys_fail(n, -EMFILE);
        assert_int_equal(try_mount("/new", "/"), -EMFILE);
        assert_int_equal(fake_mem_live(), blocks);
        assert_int_equal(fake_sys_open_fds(), fds);
    }
    assert_int_equal(try_mount("/new", "/"), 0);
    struct static_mounts *mounts = NULL;
    fake_mem_fail_after(1, false);
    assert_int_equal(static_mounts_create(&mounts, NULL), -ENOMEM);
    fake_mem_fail_after(0, false);
    static_mounts_destroy(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(paths_lead_to_files),
        TEST(well_known_directory_can_be_a_mount_of_its_own),
        TEST(path_that_no_mount_covers_is_404),
        TEST(path_at_the_kernels_limit_is_404_and_not_more),
        TEST(directories_are_redirected_to_their_slash_form),
        TEST(location_is_encoded_again),
        TEST(hidden_directories_are_not_even_redirected),
        TEST(longest_query_is_kept),
        TEST(file_comes_with_its_metadata),
        TEST(large_file_is_sent_from_its_fd),
        TEST(head_is_get_without_content),
        TEST(conditions_are_heard),
        TEST(conditions_do_not_change_other_answers),
        TEST(file_without_a_date_is_compared_by_its_tag_alone),
        TEST(fields_of_a_handler_stay),
        TEST(caching_of_a_handler_takes_the_place_of_the_mounts),
        TEST(second_request_looks_again_at_a_file_with_an_fd_and_at_no_other),
        TEST(replaced_file_and_replaced_directory_are_seen_in_time),
        TEST(other_methods_are_refused),
        TEST(methods_of_routes_are_allowed_beside_those_of_files),
        TEST(every_failure_has_its_status),
        TEST(every_failing_allocation_is_an_answer_or_a_cut),
        TEST(every_failing_system_call_is_an_answer),
        TEST(mounts_that_make_no_sense_are_refused_by_name),
        TEST(mounts_are_listed_in_the_order_of_adding),
        TEST(number_of_mounts_is_bounded),
        TEST(pinned_mount_wins_over_later_ones),
        TEST(failed_mount_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
