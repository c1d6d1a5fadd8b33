/* http/rules/rule_cache.c: how long responses may be kept. */

#include "http/rules/rule_cache.h"
#include "tests/lib/server_scene.h"

#define COUNT(list) (sizeof(list) / sizeof(list)[0])

static struct rules **rules(void)
{
    return &scene.site->default_host.rules;
}

static void add(const char *prefix, const struct rule_cache_entry *entries, size_t count)
{
    char err[256] = "";
    if (rule_cache_add(rules(), prefix, entries, count, err, sizeof err) < 0) {
        fail_msg("%s", err);
    }
}

static void serve_html(struct exchange *exchange, void *ctx)
{
    const char *own = ctx;
    if (own != NULL) {
        response_add_field(exchange, "cache-control", 13, own, strlen(own));
    }
    response_send(exchange, 200, "Text/HTML; charset=utf-8", "<p>\n", 4);
}

static void serve_304(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    response_send(exchange, 304, NULL, NULL, 0);
}

static char own_text[] = "private";
static const struct handler html = {.serve = serve_html, .body_mode = BODY_UNWANTED};
static const struct handler own = {.serve = serve_html, .ctx = own_text};
static const struct handler not_modified = {.serve = serve_304};

/* What a request gets as Cache-Control, "" for none. */
static const char *caching_of(const char *request)
{
    static char value[256];
    struct fake_peer *peer = client();
    say(peer, request);
    size_t len;
    const char *output = fake_peer_output(peer, &len);
    assert_true(len > 0);
    char copy[4096];
    snprintf(copy, sizeof copy, "%.*s", (int)(len < sizeof copy - 1 ? len : sizeof copy - 1), output);
    char *at = strcasestr(copy, "\r\ncache-control: ");
    value[0] = '\0';
    if (at != NULL) {
        at += strlen("\r\ncache-control: ");
        snprintf(value, sizeof value, "%.*s", (int)strcspn(at, "\r"), at);
        assert_null(strcasestr(at, "\r\ncache-control: "));
    }
    return value;
}

/* Enough for two ranges that are worth it. */
static const char *long_text(void)
{
    static char text[401];
    memset(text, 'a', sizeof text - 1);
    return text;
}

static void the_most_exact_entry_decides(void **state)
{
    (void)state;
    static const struct rule_cache_entry everywhere[] = {
        {"*/*", "1m"},       {"text/*", "1h"},         {"text/html", "no-cache"},    {"*.css", "1d"},
        {"*.min.css", "1w"}, {"main.css", "no-store"}, {"image/*", "1y, immutable"},
    };
    static const struct rule_cache_entry deeper[] = {{"*.css", "public, max-age=7"}};
    add("/", everywhere, COUNT(everywhere));
    add("/deep", deeper, COUNT(deeper));
    tree_add_file(&scene.tree, "index.html", "<p>");
    tree_add_file(&scene.tree, "a.css", "a");
    tree_add_file(&scene.tree, "a.min.css", "a");
    tree_add_file(&scene.tree, "main.css", "a");
    tree_add_file(&scene.tree, "a.png", "a");
    tree_add_file(&scene.tree, "b.txt", "a");
    tree_add_file(&scene.tree, "long.txt", long_text());
    tree_add_file(&scene.tree, "long", long_text());
    tree_add_file(&scene.tree, "b.bin", "a");
    tree_add_dir(&scene.tree, "deep");
    tree_add_file(&scene.tree, "deep/a.css", "a");
    tree_add_file(&scene.tree, "deep/a.png", "a");
    add_route(METHOD_GET, "/html", &html);
    add_route(METHOD_GET, "/own", &own);
    add_route(METHOD_POST, "/html", &html);
    add_route(METHOD_GET, "/304.png", &not_modified);
    add_route(METHOD_GET, "/304", &not_modified);
    scene_begin();
    static const struct {
        const char *request, *caching;
    } cases[] = {
        {GET("/a.css"), "max-age=86400"},
        {GET("/a.min.css"), "max-age=604800"},
        {GET("/main.css"), "no-store"},
        {GET("/a.png"), "max-age=31536000, immutable"},
        {HEAD("/a.png"), "max-age=31536000, immutable"},
        {GET("/b.txt"), "max-age=3600"},
        {GET("/b.bin"), "max-age=60"},
        {GET("/"), "no-cache"},
        {GET("/html"), "no-cache"},
        {GET("/own"), "private"},
        {GET("/none"), ""},
        {GET("/deep/a.css"), "public, max-age=7"},
        {GET("/deep/a.png"), "max-age=31536000, immutable"},
        {GET("/304.png"), "max-age=31536000, immutable"},
        {GET("/304"), ""},
        {"POST /html HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", ""},
        {"GET / HTTP/1.1\r\nHost: a\r\nIf-None-Match: *\r\n\r\n", "no-cache"},
        {"GET /a.css HTTP/1.1\r\nHost: a\r\nRange: bytes=0-0\r\n\r\n", "max-age=86400"},
        {"GET /a.css HTTP/1.1\r\nHost: a\r\nRange: bytes=9-\r\n\r\n", ""},
        {"GET /long.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=0-0,300-300\r\n\r\n", "max-age=3600"},
        {"GET /long HTTP/1.1\r\nHost: a\r\nRange: bytes=0-0,300-300\r\n\r\n", "max-age=60"},
        {"DELETE /a.css HTTP/1.1\r\nHost: a\r\n\r\n", ""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *caching = caching_of(cases[i].request);
        if (strcmp(caching, cases[i].caching) != 0) {
            fail_msg("%.40s: \"%s\" instead of \"%s\"", cases[i].request, caching, cases[i].caching);
        }
    }
}

static void a_mount_with_an_age_of_its_own_keeps_it(void **state)
{
    (void)state;
    char err[256];
    static const struct rule_cache_entry all[] = {{"*", "1y"}};
    const struct static_options options = {.cache_s = 5};
    add("/", all, 1);
    assert_int_equal(static_mounts_add(scene.site->default_host.mounts, "/mount", scene.tree.path, &options, err,
                                       sizeof err),
                     0);
    tree_add_file(&scene.tree, "a.css", "a");
    scene_begin();
    assert_string_equal(caching_of(GET("/a.css")), "max-age=31536000");
    assert_string_equal(caching_of(GET("/mount/a.css")), "max-age=5");
}

static void values_become_directives(void **state)
{
    (void)state;
    static const struct {
        const char *value, *caching;
    } cases[] = {
        {"0", "max-age=0"},
        {"30s", "max-age=30"},
        {"2w", "max-age=1209600"},
        {"68y", "max-age=2144448000"},
        {"1d,immutable", "max-age=86400, immutable"},
        {"no-cache, private", "no-cache, private"},
        {"private=\"x\", S-MaxAge=5", "private=\"x\", S-MaxAge=5"},
        {"max-age=60, stale-while-revalidate=30", "max-age=60, stale-while-revalidate=30"},
        {"69y", NULL},
        {"30", NULL},
        {"1.5h", NULL},
        {"h", NULL},
        {"", NULL},
        {"1d,", NULL},
        {"immutable, 1d", NULL},
        {"imutable", NULL},
        {"no-cache\r\nX: y", NULL},
        {"1d immutable", NULL},
        {"99999999999999999999999s", NULL},
    };
    static const struct handler any = {.serve = serve_text, .ctx = hello_text};
    add_route(METHOD_GET, "/*rest", &any);
    for (size_t i = 0; i < COUNT(cases); i++) {
        char err[512] = "", prefix[32];
        const struct rule_cache_entry entry = {"*", cases[i].value};
        snprintf(prefix, sizeof prefix, "/%zu", i);
        int rv = rule_cache_add(rules(), prefix, &entry, 1, err, sizeof err);
        if ((rv == 0) != (cases[i].caching != NULL)) {
            fail_msg("\"%s\": %d %s", cases[i].value, rv, err);
        }
        assert_true(rv == 0 || strstr(err, "\"*\": a time with a unit, directives") != NULL);
    }
    scene_start();
    for (size_t i = 0; i < COUNT(cases); i++) {
        char request[128];
        snprintf(request, sizeof request, "GET /%zu/x HTTP/1.1\r\nHost: a\r\n\r\n", i);
        assert_string_equal(caching_of(request), cases[i].caching == NULL ? "" : cases[i].caching);
    }
}

static void patterns_are_checked(void **state)
{
    (void)state;
    static const char *const wrong[] = {"", "/", "/css", "text/", "a/b/c", "text/html; charset=utf-8"};
    char err[512] = "";
    for (size_t i = 0; i < COUNT(wrong); i++) {
        const struct rule_cache_entry entry = {wrong[i], "1d"};
        assert_int_equal(rule_cache_add(rules(), "/", &entry, 1, err, sizeof err), -EINVAL);
        assert_non_null(strstr(err, ": a name such as \"*.css\" or a media type such as \"image/*\" expected"));
    }
    static const char *const never_fit[][2] = {
        {".css", ": write \"*.css\""},
        {"*.{css,js}", "\"{\" would stand for itself: write an entry for each"},
        {"*.css, *.js", "\",\" would stand for itself: write an entry for each"},
        {"photo?.jpg", "\"?\" would stand for itself"},
        {"image/{png,gif}", "\"{\" would stand for itself"},
        {"assets/*.css", ": write \"*.css\" in a rule for the prefix, such as \"/assets\""},
    };
    for (size_t i = 0; i < COUNT(never_fit); i++) {
        const struct rule_cache_entry entry = {never_fit[i][0], "1d"};
        assert_int_equal(rule_cache_add(rules(), "/", &entry, 1, err, sizeof err), -EINVAL);
        if (strstr(err, never_fit[i][0]) == NULL || strstr(err, never_fit[i][1]) == NULL) {
            fail_msg("%s", err);
        }
    }
    static const char *const unusual[] = {".*", "[id].js", "a,b.css", "chemical/x-pdb", "X-World/x", "*/xml", "Text/*"};
    for (size_t i = 0; i < COUNT(unusual); i++) {
        const struct rule_cache_entry entry = {unusual[i], "1d"};
        assert_int_equal(rule_cache_add(rules(), "/", &entry, 1, err, sizeof err), 0);
    }
    struct rule_cache_entry many[CACHE_ENTRIES_MAX + 1];
    for (size_t i = 0; i < COUNT(many); i++) {
        many[i] = (struct rule_cache_entry){"*", "1d"};
    }
    assert_int_equal(rule_cache_add(rules(), "/", many, CACHE_ENTRIES_MAX, err, sizeof err), 0);
    assert_int_equal(rule_cache_add(rules(), "/", many, CACHE_ENTRIES_MAX + 1, err, sizeof err), -ENOSPC);
    assert_int_equal(rule_cache_add(rules(), "/", many, 0, err, sizeof err), -EINVAL);
}

/* Names with many stars cost no more than the product of the lengths. */
static void stars_stand_for_any_text(void **state)
{
    (void)state;
    static const struct rule_cache_entry entries[] = {{"a*b*c", "1s"}, {"**x**", "2s"}, {"*a*a*a*a*a*a*b", "3s"}};
    add("/", entries, COUNT(entries));
    static const struct handler any = {.serve = serve_text, .ctx = hello_text};
    add_route(METHOD_GET, "/*rest", &any);
    scene_begin();
    assert_string_equal(caching_of(GET("/abc")), "max-age=1");
    assert_string_equal(caching_of(GET("/abbcbc")), "max-age=1");
    assert_string_equal(caching_of(GET("/abcd")), "");
    assert_string_equal(caching_of(GET("/x")), "max-age=2");
    assert_string_equal(caching_of(GET("/abc/d")), "");
    assert_string_equal(caching_of(GET("/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac")), "");
}

static void without_memory_nothing_is_added(void **state)
{
    (void)state;
    char err[256];
    const struct rule_cache_entry entry = {"*", "1d"};
    int rv = -ENOMEM;
    for (uint64_t n = 1; rv == -ENOMEM; n++) {
        fake_mem_fail_after(n, false);
        rv = rule_cache_add(rules(), "/", &entry, 1, err, sizeof err);
        fake_mem_fail_after(0, false);
    }
    assert_int_equal(rv, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(the_most_exact_entry_decides), SCENE_TEST(a_mount_with_an_age_of_its_own_keeps_it),
        SCENE_TEST(values_become_directives),     SCENE_TEST(patterns_are_checked),
        SCENE_TEST(stars_stand_for_any_text),     SCENE_TEST(without_memory_nothing_is_added),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
