/* Parts of files as a client gets them, with the whole server around, on the fake kernel: 206 with one part and with
 * several, 416, If-Range, and what becomes of an answer whose client is slow or lost, whose file changes, or for which
 * memory is short. The syntax of Range is in test_range.c. */

#include "tests/lib/server_scene.h"

#include "http/cached_file.h"
#include "http/file_cache.h"
#include "http/file_root.h"
#include "http/range.h"
#include "http/response_file.h"

#include <time.h>

enum { SMALL = 1000, LARGE = 300000, MTIME_S = 784080000 }; /* 8 hours and 50 minutes before the fake clock's start */

#define MTIME_TEXT "Sun, 06 Nov 1994 00:00:00 GMT"

/* No two places of a file look alike. */
static char content[LARGE];

static void add_files(void)
{
    for (size_t i = 0; i < sizeof content; i++) {
        content[i] = (char)(i * 7 + i / 256 * 13 + i / 65536 * 29);
    }
    tree_write(&scene.tree, "small.txt", content, SMALL);
    tree_write(&scene.tree, "large.wav", content, LARGE);
    tree_write(&scene.tree, "empty", "", 0);
    tree_set_mtime(&scene.tree, "small.txt", MTIME_S, 0);
    tree_set_mtime(&scene.tree, "large.wav", MTIME_S, 0);
    tree_set_mtime(&scene.tree, "empty", MTIME_S, 0);
}

static void begin(void)
{
    add_files();
    scene_begin();
}

/* Answers. */

static struct answers got; /* of the last read_answers() */

/* Read all that came to a peer; no request was HEAD. */
static const struct answer *read_answers(const struct fake_peer *peer)
{
    static bool is_head[ANSWERS_MAX];
    size_t len;
    answers_done(&got);
    const char *output = fake_peer_output(peer, &len);
    answers_read(&got, output, len, is_head, fake_peer_saw_end(peer));
    assert_string_equal(got.error, "");
    assert_true(got.count > 0);
    return &got.list[got.count - 1];
}

static int forget_answers(void **state)
{
    answers_done(&got);
    got = (struct answers){0};
    return scene_tear_down(state);
}

static const char *request_text(const char *method, const char *path, const char *lines)
{
    static char text[16384];
    snprintf(text, sizeof text, "%s %s HTTP/1.1\r\nHost: a\r\n%s\r\n", method, path, lines);
    return text;
}

/* Ask on a connection of its own. */
static const struct answer *get(const char *path, const char *lines)
{
    struct fake_peer *peer = client();
    say(peer, request_text("GET", path, lines));
    const struct answer *answer = read_answers(peer);
    fake_peer_close(peer);
    settle();
    return answer;
}

static const struct answer *get_range(const char *path, const char *value)
{
    static char line[8192];
    snprintf(line, sizeof line, "Range: %s\r\n", value);
    return get(path, line);
}

/* The value of a field, or NULL. Valid until the next call. */
static const char *value_of(const struct answer *answer, const char *name)
{
    static char value[1024];
    char start[64];
    snprintf(start, sizeof start, "\r\n%s: ", name);
    const char *found = memmem(answer->head, answer->head_len, start, strlen(start));
    if (found == NULL) {
        return NULL;
    }
    found += strlen(start);
    snprintf(value, sizeof value, "%.*s", (int)strcspn(found, "\r"), found);
    return value;
}

static void assert_value(const struct answer *answer, const char *name, const char *wanted)
{
    const char *value = value_of(answer, name);
    value = value == NULL ? "(none)" : value;
    wanted = wanted == NULL ? "(none)" : wanted;
    if (strcmp(value, wanted) != 0) {
        fail_msg("%s: %s, not %s", name, value, wanted);
    }
}

static void assert_whole(const struct answer *answer, size_t size)
{
    assert_int_equal(answer->status, 200);
    assert_int_equal(answer->body_len, size);
    assert_memory_equal(answer->body == NULL ? "" : answer->body, content, size);
    assert_null(value_of(answer, "Content-Range"));
    assert_value(answer, "Accept-Ranges", "bytes");
}

/* 206 with one range of a file of size bytes. */
static void assert_part(const struct answer *answer, size_t first, size_t last, size_t size)
{
    char range[128];
    snprintf(range, sizeof range, "bytes %zu-%zu/%zu", first, last, size);
    assert_int_equal(answer->status, 206);
    assert_value(answer, "Content-Range", range);
    assert_int_equal(answer->body_len, last - first + 1);
    assert_memory_equal(answer->body, content + first, answer->body_len);
}

/* A strict reader of multipart/byteranges (RFC 9110 section 14.6): text says which ranges came, as in "0-1 4-5". It
 * holds the bytes of each against the content. */
static const char *read_parts(const struct answer *answer, const char *wanted_type, size_t wanted_size)
{
    static char text[RANGES_MAX * 42 + 1];
    static const char type_start[] = "multipart/byteranges; boundary=";
    char type[1024];
    char delimiter[sizeof type + 8];
    char head[256];
    assert_int_equal(answer->status, 206);
    assert_null(value_of(answer, "Content-Range")); /* section 15.3.7.2 */
    snprintf(type, sizeof type, "%s", value_of(answer, "Content-Type"));
    assert_memory_equal(type, type_start, sizeof type_start - 1);
    const char *boundary = type + sizeof type_start - 1;
    assert_in_range(strlen(boundary), 16, 70); /* RFC 2046 section 5.1.1 */
    assert_int_equal(strspn(boundary, "0123456789abcdef"), strlen(boundary));
    snprintf(delimiter, sizeof delimiter, "--%s\r\n", boundary);
    const char *at = answer->body;
    const char *end = answer->body + answer->body_len;
    size_t used = 0;
    text[0] = '\0';
    for (;;) {
        assert_true(end - at > 2 && memcmp(at, "\r\n", 2) == 0); /* before the first delimiter, too */
        at += 2;
        assert_true((size_t)(end - at) > strlen(delimiter));
        if (memcmp(at, delimiter, strlen(delimiter)) != 0) {
            break;
        }
        at += strlen(delimiter);
        unsigned long long first = 0, last = 0;
        int range_len = -1;
        int head_len = snprintf(head, sizeof head, "Content-Type: %s\r\nContent-Range: bytes ", wanted_type);
        assert_true(end - at > head_len && memcmp(at, head, (size_t)head_len) == 0);
        at += head_len;
        assert_int_equal(sscanf(at, "%llu-%llu%n", &first, &last, &range_len), 2);
        at += range_len;
        head_len = snprintf(head, sizeof head, "/%zu\r\n\r\n", wanted_size);
        assert_true(end - at > head_len && memcmp(at, head, (size_t)head_len) == 0);
        at += head_len;
        assert_true(first <= last && last < wanted_size && (size_t)(end - at) > last - first);
        assert_memory_equal(at, content + first, last - first + 1);
        at += last - first + 1;
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%llu-%llu", used == 0 ? "" : " ", first, last);
    }
    snprintf(delimiter, sizeof delimiter, "--%s--\r\n", boundary);
    assert_int_equal(end - at, strlen(delimiter));
    assert_memory_equal(at, delimiter, strlen(delimiter));
    return text;
}

/* One range. */

static void one_range_is_a_206_with_its_place(void **state)
{
    (void)state;
    begin();
    static const struct {
        const char *value;
        size_t first, last;
    } rows[] = {
        {"bytes=0-0", 0, 0},
        {"bytes=0-499", 0, 499},
        {"bytes=999-", 999, 0},
        {"bytes=500-99999999", 500, 0},
        {"bytes=-1", 1, 0},
        {"bytes=-300", 300, 0},
        {"bytes=0-", 0, 0},
        {"bytes=-99999999", 0, 0},
        {"BYTES=7-8", 7, 8},
        {"bytes=5-8,7-11", 5, 11},
        {"bytes=9-9,99999999-", 9, 9},
    };
    static const struct {
        const char *path;
        size_t size;
    } files[] = {{"/small.txt", SMALL}, {"/large.wav", LARGE}};
    for (size_t f = 0; f < 2; f++) {
        size_t size = files[f].size;
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            bool is_short_suffix = rows[i].value[6] == '-' && rows[i].first > 0;
            size_t first = is_short_suffix ? size - rows[i].first : rows[i].first;
            size_t last = rows[i].last > 0 || strcmp(rows[i].value, "bytes=0-0") == 0 ? rows[i].last : size - 1;
            assert_part(get_range(files[f].path, rows[i].value), first, last, size);
        }
    }
}

/* RFC 9110 section 15.3.7: what the 200 would carry. */
static void answer_carries_the_fields_of_the_whole(void **state)
{
    (void)state;
    add_files();
    char err[256];
    char directory[128];
    snprintf(directory, sizeof directory, "%s", scene.tree.path);
    struct static_options options = {.cache_s = 60};
    assert_int_equal(static_mounts_add(scene.site->default_host.mounts, "/kept", directory, &options, err, sizeof err),
                     0);
    scene_begin();
    static const char *const paths[] = {"/small.txt", "/large.wav", "/kept/small.txt", "/kept/large.wav"};
    static const char *const ranges[] = {"bytes=1-2", "bytes=1-2,5-6"};
    for (size_t i = 0; i < 8; i++) {
        char head[2048];
        const struct answer *whole = get(paths[i / 2], "");
        snprintf(head, sizeof head, "%.*s", (int)whole->head_len, whole->head);
        const struct answer *part = get_range(paths[i / 2], ranges[i % 2]);
        assert_int_equal(part->status, 206);
        int lines = 0;
        for (char *rest = head, *line; (line = strsep(&rest, "\r")) != NULL && line[0] != '\0';) {
            line += line[0] == '\n' ? 1 : 0;
            bool differs = strncmp(line, "HTTP/", 5) == 0 || strncmp(line, "Content-Length", 14) == 0 ||
                           (strncmp(line, "Content-Type", 12) == 0 && i % 2 == 1) || line[0] == '\0';
            if (!differs && !answer_has(part, line, strlen(line))) {
                fail_msg("%s has no %s", paths[i / 2], line);
            }
            lines += differs ? 0 : 1;
        }
        /* Date, Last-Modified, ETag, Accept-Ranges, Content-Type of one part, Cache-Control of the mount */
        assert_int_equal(lines, (i % 2 == 0 ? 5 : 4) + (i >= 4 ? 1 : 0));
    }
}

static void serve_with_a_field(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    assert_int_equal(response_add_field(exchange, "X-App", 5, "demo", 4), 0);
    static_files_serve(scene.site->default_host.mounts, exchange);
}

static const struct handler adding = {.serve = serve_with_a_field};

static void fields_of_a_handler_stay(void **state)
{
    (void)state;
    add_route(METHOD_GET, "/small.txt", &adding);
    begin();
    assert_value(get_range("/small.txt", "bytes=1-2"), "X-App", "demo");
    assert_value(get_range("/small.txt", "bytes=1-2,5-6"), "X-App", "demo");
    assert_value(get_range("/small.txt", "bytes=5000-"), "X-App", "demo");
}

/* Each of them is what the server says of the file itself. */
static const char *const own_fields[] = {"Accept-Ranges", "Content-Range", "Content-Type", "ETag", "Last-Modified"};

static void serve_with_the_fields_of_the_file(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    for (size_t i = 0; i < sizeof own_fields / sizeof own_fields[0]; i++) {
        assert_int_equal(response_add_field(exchange, own_fields[i], strlen(own_fields[i]), "HANDLER", 7), 0);
    }
    static_files_serve(scene.site->default_host.mounts, exchange);
}

static const struct handler claiming = {.serve = serve_with_the_fields_of_the_file};

/* Whole, one range, several, none that fits, not modified, and a precondition that fails; from memory and from an
 * fd. */
static void what_the_server_says_of_a_file_is_said_once(void **state)
{
    (void)state;
    add_route(METHOD_GET, "/small.txt", &claiming);
    add_route(METHOD_GET, "/large.wav", &claiming);
    begin();
    static const char *const paths[] = {"/small.txt", "/large.wav"};
    static const struct {
        const char *lines;
        int status;
    } cases[] = {
        {"", 200},
        {"Range: bytes=1-2\r\n", 206},
        {"Range: bytes=1-2,5-6\r\n", 206},
        {"Range: bytes=9999999-\r\n", 416},
        {"If-None-Match: *\r\n", 304},
        {"If-Match: \"none\"\r\n", 412},
    };
    for (size_t i = 0; i < 2 * sizeof cases / sizeof cases[0]; i++) {
        const struct answer *answer = get(paths[i % 2], cases[i / 2].lines);
        assert_int_equal(answer->status, cases[i / 2].status);
        for (size_t n = 0; n < sizeof own_fields / sizeof own_fields[0]; n++) {
            char name[32];
            size_t name_len = (size_t)snprintf(name, sizeof name, "\r\n%s: ", own_fields[n]);
            const char *first = memmem(answer->head, answer->head_len, name, name_len);
            size_t left = first == NULL ? 0 : answer->head_len - (size_t)(first + 1 - answer->head);
            if (first != NULL && memmem(first + 1, left, name, name_len) != NULL) {
                fail_msg("case %zu: %s twice", i, own_fields[n]);
            }
        }
        assert_null(memmem(answer->head, answer->head_len, "HANDLER", 7));
    }
}

static void whole_answer_says_that_ranges_may_be_asked_for(void **state) /* RFC 9110 section 14.3 */
{
    (void)state;
    begin();
    assert_whole(get("/small.txt", ""), SMALL);
    assert_whole(get("/large.wav", ""), LARGE);
    assert_whole(get("/empty", ""), 0);
}

static void range_that_is_ignored_gets_the_whole(void **state) /* RFC 9110 section 14.2 */
{
    (void)state;
    begin();
    static const char *const values[] = {"items=0-1", "bytes=2-1", "bytes=0-1,x", "bytes=", "bytes"};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        assert_whole(get_range("/small.txt", values[i]), SMALL);
        assert_whole(get_range("/large.wav", values[i]), LARGE);
    }
    assert_whole(get("/small.txt", "Range: bytes=0-1\r\nRange: bytes=3-4\r\n"), SMALL); /* not a list: section 5.3 */
    assert_whole(get("/small.txt", "Range: bytes=0-1\r\nX: y\r\nrange: bytes=0-1\r\n"), SMALL);
    assert_whole(get_range("/empty", "bytes=-1"), 0);
}

/* RFC 9110 section 15.5.17. */
static void what_nothing_satisfies_is_a_416_with_the_length(void **state)
{
    (void)state;
    begin();
    static const struct {
        const char *path, *value, *range;
    } rows[] = {
        {"/small.txt", "bytes=1000-", "bytes */1000"},
        {"/small.txt", "bytes=-0", "bytes */1000"},
        {"/small.txt", "bytes=1000-1001,2000-", "bytes */1000"},
        {"/large.wav", "bytes=300000-", "bytes */300000"},
        {"/empty", "bytes=0-", "bytes */0"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct answer *answer = get_range(rows[i].path, rows[i].value);
        assert_int_equal(answer->status, 416);
        assert_value(answer, "Content-Range", rows[i].range);
        assert_value(answer, "Accept-Ranges", "bytes");
        assert_value(answer, "ETag", NULL); /* of the text that says so there is no version */
        assert_string_equal(answer->body, "416 Range Not Satisfiable\n");
    }
    struct fake_peer *peer = client();
    say(peer, request_text("GET", "/small.txt", "Range: bytes=5000-\r\n"));
    say(peer, GET("/hello"));
    assert_string_equal(statuses(peer), "416 200"); /* the connection goes on */
}

static void range_is_for_get_alone(void **state) /* RFC 9110 section 14.2 */
{
    (void)state;
    begin();
    static const char *const values[] = {"bytes=0-1", "bytes=0-1,4-5", "bytes=5000-"};
    for (size_t i = 0; i < 3; i++) {
        char line[64];
        snprintf(line, sizeof line, "Range: %s\r\n", values[i]);
        struct fake_peer *peer = client();
        say(peer, request_text("HEAD", "/small.txt", line));
        assert_true(output_has(peer, "HTTP/1.1 200 OK\r\n"));
        assert_true(output_has(peer, "\r\nContent-Length: 1000\r\n"));
        assert_true(output_has(peer, "\r\nAccept-Ranges: bytes\r\n"));
        assert_false(output_has(peer, "Content-Range"));
        const char *output = fake_peer_output(peer, NULL);
        assert_string_equal(strstr(output, "\r\n\r\n"), "\r\n\r\n");
        say(peer, request_text("DELETE", "/small.txt", line));
        assert_true(output_has(peer, "HTTP/1.1 405 "));
    }
}

static void range_of_what_is_no_file_is_nobodys_business(void **state)
{
    (void)state;
    tree_add_dir(&scene.tree, "dir");
    begin();
    assert_int_equal(get_range("/none", "bytes=0-1")->status, 404);
    assert_int_equal(get_range("/dir", "bytes=0-1")->status, 301);
    const struct answer *answer = get_range("/hello", "bytes=0-1");
    assert_int_equal(answer->status, 200);
    assert_value(answer, "Accept-Ranges", NULL);
}

/* Several ranges. */

static void several_ranges_are_parts_in_the_order_asked_for(void **state)
{
    (void)state;
    begin();
    static const struct {
        const char *value, *wanted;
    } rows[] = {
        {"bytes=0-0,2-2", "0-0 2-2"},
        {"bytes=0-99,100-199", "0-99 100-199"},
        {"bytes=500-600,0-9,700-701", "500-600 0-9 700-701"},
        {"bytes=5-9,5000000-,1-2", "5-9 1-2"},
        {"bytes=0-5,20-30,3-8", "0-8 20-30"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct answer *answer = get_range("/small.txt", rows[i].value);
        assert_string_equal(read_parts(answer, "text/plain; charset=utf-8", SMALL), rows[i].wanted);
        answer = get_range("/large.wav", rows[i].value);
        assert_string_equal(read_parts(answer, "audio/wav", LARGE), rows[i].wanted);
    }
    assert_string_equal(read_parts(get_range("/large.wav", "bytes=0-99999,199999-"), "audio/wav", LARGE),
                        "0-99999 199999-299999");
}

/* RFC 9110 section 17.15: RANGES_MAX ranges, each as large as it may be. */
static void answer_is_never_longer_than_the_file_and_the_heads_of_its_parts(void **state)
{
    (void)state;
    begin();
    static char value[RANGES_MAX * 16];
    static char wanted[RANGES_MAX * 16];
    size_t used = (size_t)snprintf(value, sizeof value, "bytes=");
    size_t wanted_used = 0;
    for (int i = 0; i < RANGES_MAX; i++) {
        int first = i * (LARGE / RANGES_MAX);
        used += (size_t)snprintf(value + used, sizeof value - used, "%s%d-%d", i == 0 ? "" : ",", first,
                                 first + LARGE / RANGES_MAX - 1);
        wanted_used += (size_t)snprintf(wanted + wanted_used, sizeof wanted - wanted_used, "%s%d-%d", i == 0 ? "" : " ",
                                        first, first + LARGE / RANGES_MAX - 1);
    }
    const struct answer *answer = get_range("/large.wav", value);
    assert_string_equal(read_parts(answer, "audio/wav", LARGE), wanted);
    assert_in_range(answer->body_len, LARGE, LARGE + RANGES_MAX * 128);
    snprintf(value + used, sizeof value - used, ",1-1");
    assert_whole(get_range("/large.wav", value), LARGE);
    assert_part(get_range("/large.wav", "bytes=0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-"), 0, LARGE - 1, LARGE);
}

static void boundary_is_made_of_random_bytes_for_each_answer(void **state)
{
    (void)state;
    begin();
    fake_sys_clear_trace();
    assert_value(get_range("/small.txt", "bytes=0-0,2-2"), "Content-Type",
                 "multipart/byteranges; boundary=000102030405060708090a0b");
    assert_int_equal(fake_sys_count(FAKE_RANDOM), 1);
    get_range("/small.txt", "bytes=0-0,2-2");
    assert_int_equal(fake_sys_count(FAKE_RANDOM), 2);
    get_range("/small.txt", "bytes=0-1");
    get("/small.txt", "");
    assert_int_equal(fake_sys_count(FAKE_RANDOM), 2);
    fake_sys_fail_op(FAKE_RANDOM, 0, 1, -ENOSYS);
    const struct answer *answer = get_range("/small.txt", "bytes=0-0,2-2");
    assert_int_equal(answer->status, 503);
    assert_value(answer, "ETag", NULL);
    assert_string_equal(answer->body, "503 Service Unavailable\n");
}

/* Conditions. */

static void ranges_come_after_the_other_conditions(void **state) /* RFC 9110 section 13.2.2 */
{
    (void)state;
    begin();
    char etag[128], lines[512];
    snprintf(etag, sizeof etag, "%.127s", value_of(get("/small.txt", ""), "ETag"));
    static const char *const ranges[] = {"bytes=0-1", "bytes=0-1,4-5", "bytes=5000-"};
    static const int statuses_of[] = {206, 206, 416};
    for (size_t i = 0; i < 3; i++) {
        snprintf(lines, sizeof lines, "Range: %s\r\nIf-None-Match: %s\r\n", ranges[i], etag);
        assert_int_equal(get("/small.txt", lines)->status, 304);
        snprintf(lines, sizeof lines, "Range: %s\r\nIf-None-Match: %s\r\nIf-Range: \"other\"\r\n", ranges[i], etag);
        assert_int_equal(get("/small.txt", lines)->status, 304);
        snprintf(lines, sizeof lines, "Range: %s\r\nIf-Modified-Since: " MTIME_TEXT "\r\n", ranges[i]);
        assert_int_equal(get("/small.txt", lines)->status, 304);
        snprintf(lines, sizeof lines, "Range: %s\r\nIf-Match: \"other\"\r\nIf-Range: %s\r\n", ranges[i], etag);
        assert_int_equal(get("/small.txt", lines)->status, 412);
        snprintf(lines, sizeof lines, "Range: %s\r\nIf-Match: %s\r\n", ranges[i], etag);
        assert_int_equal(get("/small.txt", lines)->status, statuses_of[i]);
        snprintf(lines, sizeof lines, "Range: %s\r\nIf-None-Match: \"other\"\r\nIf-Range: %s\r\n", ranges[i], etag);
        assert_int_equal(get("/small.txt", lines)->status, statuses_of[i]);
        snprintf(lines, sizeof lines, "Range: %s\r\nIf-Match: %s\r\nIf-Range: \"other\"\r\n", ranges[i], etag);
        assert_whole(get("/small.txt", lines), SMALL);
    }
}

/* RFC 9110 section 13.1.5: the validator must be strong, and exactly the one that the file has. */
static void if_range_wants_the_very_version(void **state)
{
    (void)state;
    begin();
    static const char *const paths[] = {"/small.txt", "/large.wav"};
    static const size_t sizes[] = {SMALL, LARGE};
    static const struct {
        const char *value; /* %s is the entity tag */
        bool holds;
    } rows[] = {
        {"%s", true},
        {"W/%s", false}, /* weak tags never match */
        {"\"other\"", false},
        {"%s, \"other\"", false}, /* no list */
        {"\"other\", %s", false},
        {"%sx", false},
        {"*", false},
        {"\"", false},
        {"", false},
        {MTIME_TEXT, true},
        {"Sunday, 06-Nov-94 00:00:00 GMT", true},
        {"Sun Nov  6 00:00:00 1994", true},
        {"Sat, 05 Nov 1994 23:59:59 GMT", false},
        {"Sun, 06 Nov 1994 00:00:01 GMT", false}, /* later is not the same */
        {"Sun, 06 Nov 1994", false},
        {"yesterday", false},
    };
    for (size_t f = 0; f < 2; f++) {
        char etag[128], value[512], lines[1024];
        snprintf(etag, sizeof etag, "%.127s", value_of(get(paths[f], ""), "ETag"));
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            const char *mark = strstr(rows[i].value, "%s");
            size_t before = mark == NULL ? strlen(rows[i].value) : (size_t)(mark - rows[i].value);
            snprintf(value, sizeof value, "%.*s%s%s", (int)before, rows[i].value, mark == NULL ? "" : etag,
                     mark == NULL ? "" : mark + 2);
            snprintf(lines, sizeof lines, "Range: bytes=3-8\r\nIf-Range: %s\r\n", value);
            const struct answer *answer = get(paths[f], lines);
            if (answer->status != (rows[i].holds ? 206 : 200)) {
                fail_msg("%s: %d", value, answer->status);
            }
            snprintf(lines, sizeof lines, "Range: bytes=9000000-\r\nIf-Range: %s\r\n", value);
            assert_int_equal(get(paths[f], lines)->status, rows[i].holds ? 416 : 200);
            snprintf(lines, sizeof lines, "If-Range: %s\r\n", value); /* without Range it means nothing */
            assert_whole(get(paths[f], lines), sizes[f]);
        }
        snprintf(lines, sizeof lines, "Range: bytes=3-8\r\nIf-Range: %s\r\nIf-Range: %s\r\n", etag, etag);
        assert_whole(get(paths[f], lines), sizes[f]); /* one is meant, and nobody knows which */
    }
}

/* RFC 9110 section 8.8.2.2: within the second that it names a date does not tell versions apart. */
static void date_is_strong_once_its_second_is_over(void **state)
{
    (void)state;
    static const char lines[] = "Range: bytes=3-8\r\nIf-Range: " MTIME_TEXT "\r\n";
    begin();
    fake_sys_set_wall_time_s(MTIME_S);
    assert_whole(get("/small.txt", lines), SMALL);
    fake_sys_set_wall_time_s(MTIME_S + 1);
    assert_part(get("/small.txt", lines), 3, 8, SMALL);
}

static void file_without_a_date_matches_none(void **state)
{
    (void)state;
    add_files();
    tree_set_mtime(&scene.tree, "small.txt", 0, 0);
    scene_begin();
    assert_whole(get("/small.txt", "Range: bytes=3-8\r\nIf-Range: Thu, 01 Jan 1970 00:00:00 GMT\r\n"), SMALL);
    assert_part(get_range("/small.txt", "bytes=3-8"), 3, 8, SMALL);
}

/* On the way out. */

/* Of a file in the cache's memory, and of one that has an fd. */
static void use_memory(void)
{
    set_limit("max_cached_file", 1048576);
}

static const char range_lines[] = "Range: bytes=0-99999,150000-150000,200000-299999\r\n";

static void slow_client_gets_every_byte_of_every_part(void **state)
{
    (void)state;
    static const int64_t windows[] = {1, 2, 3, 7, 31, 100, 1000};
    begin();
    for (int is_small = 0; is_small < 2; is_small++) {
        for (size_t i = 0; i < sizeof windows / sizeof windows[0]; i++) {
            struct fake_peer *peer = client();
            fake_peer_set_window(peer, windows[i]);
            const char *path = is_small ? "/small.txt" : "/large.wav";
            say(peer, request_text("GET", path, "Range: bytes=5-14,100-149,-20\r\n"));
            say(peer, request_text("GET", path, "Range: bytes=7-70\r\n"));
            say(peer, GET("/hello"));
            read_answers(peer);
            assert_int_equal(got.count, 3);
            assert_string_equal(read_parts(&got.list[0], is_small ? "text/plain; charset=utf-8" : "audio/wav",
                                           is_small ? SMALL : LARGE),
                                is_small ? "5-14 100-149 980-999" : "5-14 100-149 299980-299999");
            assert_part(&got.list[1], 7, 70, is_small ? SMALL : LARGE);
            assert_string_equal(got.list[2].body, "hello\n");
            fake_peer_close(peer);
            settle();
        }
    }
}

static void pipelined_ranges_are_answered_in_order(void **state)
{
    (void)state;
    begin();
    char text[2048] = "";
    strcat(text, request_text("GET", "/large.wav", range_lines));
    strcat(text, request_text("GET", "/small.txt", "Range: bytes=0-9,20-29\r\n"));
    strcat(text, request_text("GET", "/small.txt", "Range: bytes=0-9\r\n"));
    strcat(text, request_text("GET", "/small.txt", "Range: bytes=9999-\r\n"));
    strcat(text, GET("/small.txt"));
    strcat(text, request_text("GET", "/large.wav", "Range: bytes=1-200000\r\nConnection: close\r\n"));
    struct fake_peer *peer = client();
    say(peer, text);
    read_answers(peer);
    assert_int_equal(got.count, 6);
    assert_string_equal(read_parts(&got.list[0], "audio/wav", LARGE), "0-99999 150000-150000 200000-299999");
    assert_string_equal(read_parts(&got.list[1], "text/plain; charset=utf-8", SMALL), "0-9 20-29");
    assert_part(&got.list[2], 0, 9, SMALL);
    assert_int_equal(got.list[3].status, 416);
    assert_whole(&got.list[4], SMALL);
    assert_part(&got.list[5], 1, 200000, LARGE);
    assert_true(is_closed(peer));
}

static void parts_are_sent_from_where_they_are(void **state)
{
    (void)state;
    use_memory();
    begin();
    get("/large.wav", ""); /* now it is in memory */
    size_t live = fake_mem_live_bytes();
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 1000);
    say(peer, request_text("GET", "/large.wav", range_lines));
    assert_in_range(fake_mem_live_bytes() - live, 1, 90000); /* an exchange and its output block, but no content */
    assert_int_equal(fake_sys_count(FAKE_SENDFILE), 0);
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    assert_string_equal(read_parts(read_answers(peer), "audio/wav", LARGE), "0-99999 150000-150000 200000-299999");
}

static void thousand_ranges_do_not_allocate(void **state) /* R7 */
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    for (int is_small = 0; is_small < 2; is_small++) {
        const char *path = is_small ? "/small.txt" : "/large.wav";
        say(peer, request_text("GET", path, "Range: bytes=100-199\r\n"));
        uint64_t before = fake_mem_calls();
        for (int i = 0; i < 1000; i++) {
            say(peer, request_text("GET", path, "Range: bytes=100-199\r\n"));
            fake_peer_forget_output(peer);
        }
        assert_int_equal(fake_mem_calls(), before);
    }
}

/* A byte from each of RANGES_MAX places. */
static const char *write_scattered(void)
{
    static char value[RANGES_MAX * 16];
    size_t used = (size_t)snprintf(value, sizeof value, "bytes=");
    for (int i = 0; i < RANGES_MAX; i++) {
        used += (size_t)snprintf(value + used, sizeof value - used, "%s%d-%d", i == 0 ? "" : ",", i * 1000, i * 1000);
    }
    return value;
}

static void assert_short_parts_leave_together(void)
{
    get("/large.wav", "");
    fake_sys_clear_trace();
    const struct answer *answer = get_range("/large.wav", write_scattered());
    assert_memory_equal(read_parts(answer, "audio/wav", LARGE), "0-0 1000-1000 2000-2000 ", 24);
    uint64_t sent = fake_sys_count(FAKE_SEND) + fake_sys_count(FAKE_SENDV) + fake_sys_count(FAKE_SENDFILE);
    assert_in_range(sent, 1, 3);
}

static void many_short_parts_of_a_file_leave_together(void **state)
{
    (void)state;
    begin();
    assert_short_parts_leave_together();
}

static void many_short_parts_of_memory_leave_together(void **state)
{
    (void)state;
    use_memory();
    begin();
    assert_short_parts_leave_together();
}

/* Stop an answer in its midst: after room bytes of it. */
static struct fake_peer *begin_slowly(const char *lines, int64_t room)
{
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, room);
    say(peer, request_text("GET", "/large.wav", lines));
    assert_int_equal(output_len(peer), room);
    return peer;
}

static void file_truncated_while_a_range_is_sent_cuts_the_connection(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "Range: bytes=0-\r\n",                    /* in the midst of the range */
        "Range: bytes=0-99999,120000-299999\r\n", /* in the midst of the last part */
        "Range: bytes=0-99999,200000-299999\r\n", /* before its first byte */
        "Range: bytes=0-99999,200000-299999,1-1\r\n",
    };
    begin();
    for (unsigned i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        tree_write(&scene.tree, "large.wav", content, LARGE);
        pass_ms(FILE_FRESH_MS);
        struct fake_peer *peer = begin_slowly(lines[i], 50000);
        tree_write(&scene.tree, "large.wav", content, 150000);
        fake_peer_set_room(peer, FAKE_NO_LIMIT);
        settle();
        assert_true(is_closed(peer));
        assert_in_range(output_len(peer), 50000, 151000);
        assert_int_equal(stats().lost, i + 1);
        pass_ms(FILE_FRESH_MS);
        assert_part(get_range("/large.wav", "bytes=149999-"), 149999, 149999, 150000);
    }
}

static void file_that_grows_while_a_range_is_sent_is_sent_as_announced(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = begin_slowly("Range: bytes=100000-\r\n", 1000);
    static char more[2 * LARGE];
    memcpy(more, content, LARGE);
    tree_write(&scene.tree, "large.wav", more, sizeof more);
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    say(peer, GET("/hello"));
    read_answers(peer);
    assert_part(&got.list[0], 100000, LARGE - 1, LARGE);
    assert_string_equal(got.list[1].body, "hello\n");
}

static void file_replaced_between_two_parts_is_sent_in_the_version_announced(void **state)
{
    (void)state;
    for (int is_in_memory = 0; is_in_memory < 2; is_in_memory++) {
        if (is_in_memory) {
            forget_answers(state);
            scene_set_up(state);
            use_memory();
        }
        begin();
        struct fake_peer *peer = begin_slowly(range_lines, 60000);
        tree_replace_file(&scene.tree, "large.wav", "other");
        fake_sys_advance_ms(FILE_FRESH_MS);
        assert_string_equal(get("/large.wav", "")->body, "other");
        set_limit("max_cached_files", 1);
        get("/small.txt", ""); /* and from now on the cache knows neither */
        fake_peer_set_room(peer, FAKE_NO_LIMIT);
        settle();
        assert_string_equal(read_parts(read_answers(peer), "audio/wav", LARGE), "0-99999 150000-150000 200000-299999");
    }
}

/* What is held is given back: scene_tear_down() counts blocks and fds. */
static void client_lost_in_the_midst_leaves_nothing_behind(void **state)
{
    (void)state;
    static const int64_t rooms[] = {1, 300, 600, 50000, 100700, 101000, 150000};
    begin();
    for (size_t i = 0; i < sizeof rooms / sizeof rooms[0]; i++) {
        struct fake_peer *peer = begin_slowly(i % 2 == 0 ? range_lines : "Range: bytes=20000-\r\n", rooms[i]);
        fake_peer_reset(peer, 0);
        settle();
        assert_true(is_closed(peer));
    }
    begin_slowly(range_lines, 60000); /* and one that the server's end finds */
    server_destroy(scene.server);
    scene.server = NULL;
}

static void client_that_reads_nothing_is_cut_in_time(void **state)
{
    (void)state;
    set_limit("write_timeout", 1000);
    begin();
    struct fake_peer *peer = begin_slowly(range_lines, 60000);
    pass_ms(500);
    fake_peer_add_room(peer, 10);
    settle();
    pass_ms(900);
    assert_false(is_closed(peer));
    pass_ms(1200);
    assert_true(is_closed(peer));
}

/* Failures. */

/* An answer of two pieces and an end, and which call of its continuation fails. */
static struct {
    struct file_root root;
    const char *path; /* of the file that both pieces are from */
    int calls, fails_at, releases;
} pieces;

static int next_piece(struct exchange *exchange, void *arg)
{
    assert_ptr_equal(arg, &pieces);
    if (++pieces.calls == pieces.fails_at) {
        return -ENOMEM;
    }
    if (pieces.calls == 3) {
        return response_queue(exchange, "end", 3);
    }
    struct cached_file *file = NULL;
    int64_t now_ms = reactor_now_ms(scene.reactor);
    assert_int_equal(file_cache_get(scene.site->cache, &pieces.root, pieces.path, strlen(pieces.path), now_ms, &file),
                     0);
    response_set_file(exchange, file, 100, 200);
    return response_queue(exchange, "piece", 5);
}

static void release_pieces(void *arg)
{
    assert_ptr_equal(arg, &pieces);
    pieces.releases++;
}

static void serve_pieces(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    struct continuation then = {.next = next_piece, .release = release_pieces, .arg = &pieces};
    response_send_ranges(exchange, 200, "text/plain", 2 * (5 + 200) + 3, &then);
}

static const struct handler piecing = {.serve = serve_pieces};

static void continuation_that_fails_cuts_the_connection_and_is_released(void **state)
{
    (void)state;
    static const char *const paths[] = {"small.txt", "large.wav"};
    char err[256];
    add_route(METHOD_GET, "/pieces", &piecing);
    begin();
    assert_int_equal(file_root_open(&pieces.root, scene.tree.path, "", err, sizeof err), 0);
    for (int i = 0; i < 8; i++) {
        pieces.path = paths[i / 4];
        pieces.fails_at = i % 4; /* 0: none does */
        pieces.calls = pieces.releases = 0;
        uint64_t lost = stats().lost;
        struct fake_peer *peer = client();
        say(peer, GET("/pieces"));
        assert_int_equal(pieces.releases, 1);
        assert_int_equal(pieces.calls, pieces.fails_at == 0 ? 3 : pieces.fails_at);
        assert_int_equal(stats().lost - lost, pieces.fails_at == 0 ? 0 : 1);
        assert_int_equal(is_closed(peer), pieces.fails_at != 0);
        if (pieces.fails_at == 0) {
            const struct answer *answer = read_answers(peer);
            assert_int_equal(answer->body_len, 2 * (5 + 200) + 3);
            assert_memory_equal(answer->body, "piece", 5);
            assert_memory_equal(answer->body + 5, content + 100, 200);
            assert_memory_equal(answer->body + 205, "piece", 5);
            assert_memory_equal(answer->body + 410, "end", 3);
        }
    }
    struct fake_peer *peer = client();
    pieces.calls = pieces.releases = 0;
    say(peer, HEAD("/pieces"));
    assert_int_equal(pieces.calls, 0); /* nothing to send */
    assert_int_equal(pieces.releases, 1);
    assert_true(output_has(peer, "\r\nContent-Length: 413\r\n\r\n"));
    file_root_close(&pieces.root);
}

/* Like settle(), but the reactor may fail too. */
static void run_a_while(void)
{
    for (int quiet = 0; quiet < 3;) {
        quiet = reactor_run_once(scene.reactor, 0) == 0 ? quiet + 1 : 0;
    }
}

/* Ask for ranges in all ways. Returns how many requests were not answered as usual. */
static int ask_for_everything(void)
{
    static const char *const paths[] = {"/small.txt", "/large.wav"};
    static const char *const lines[] = {"Range: bytes=0-9\r\n", "Range: bytes=0-9,20-29,40000-50000,-100\r\n",
                                        "Range: bytes=9999999-\r\n"};
    static const int usual[] = {206, 206, 416};
    int unusual = 0;
    for (size_t i = 0; i < 6; i++) {
        struct fake_peer *peer = fake_peer_connect(scene.listener_fd);
        fake_peer_send_text(peer, request_text("GET", paths[i / 3], lines[i % 3]));
        fake_peer_set_window(peer, 20000); /* some wait in the midst */
        run_a_while();
        static bool is_head[ANSWERS_MAX];
        static struct answers answers;
        size_t len;
        const char *output = fake_peer_output(peer, &len);
        answers_read(&answers, output, len, is_head, fake_peer_saw_end(peer));
        int status = answers.count > 0 ? answers.list[0].status : 0;
        bool is_whole = answers.count == 1 && answers.error[0] == '\0';
        answers_done(&answers);
        if (!is_whole) { /* cut, and so that the client can tell; or never accepted */
            assert_true(is_closed(peer) || len == 0);
        } else if (status != usual[i % 3]) {
            assert_true(status == 503 || status == 500);
        }
        unusual += is_whole && status == usual[i % 3] ? 0 : 1;
        fake_peer_close(peer);
        run_a_while();
    }
    return unusual;
}

static void every_failing_allocation_is_an_answer_or_a_cut(void **state)
{
    (void)state;
    bool failed = true;
    uint64_t n = 1;
    int unusual = 0;
    for (; failed; n++) {
        forget_answers(state);
        assert_int_equal(scene_set_up(state), 0);
        begin();
        fake_mem_fail_after(n, false);
        int now = ask_for_everything();
        failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        assert_in_range(now, 0, 1);
        unusual += now;
        assert_int_equal(ask_for_everything(), 0);
    }
    assert_true(n > 10 && unusual > 5);
}

static void every_failing_system_call_is_an_answer_or_a_cut(void **state)
{
    (void)state;
    bool failed = true;
    uint64_t n = 1;
    begin();
    for (; failed; n++) {
        fake_sys_fail(n, -EIO);
        ask_for_everything();
        failed = fake_sys_failed();
        fake_sys_fail(0, 0);
        pass_ms(FILE_FRESH_MS);
        assert_int_equal(ask_for_everything(), 0);
        pass_ms(FILE_FRESH_MS);
    }
    assert_true(n > 60);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, scene_set_up, forget_answers)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_range_is_a_206_with_its_place),
        TEST(answer_carries_the_fields_of_the_whole),
        TEST(fields_of_a_handler_stay),
        TEST(what_the_server_says_of_a_file_is_said_once),
        TEST(whole_answer_says_that_ranges_may_be_asked_for),
        TEST(range_that_is_ignored_gets_the_whole),
        TEST(what_nothing_satisfies_is_a_416_with_the_length),
        TEST(range_is_for_get_alone),
        TEST(range_of_what_is_no_file_is_nobodys_business),
        TEST(several_ranges_are_parts_in_the_order_asked_for),
        TEST(answer_is_never_longer_than_the_file_and_the_heads_of_its_parts),
        TEST(boundary_is_made_of_random_bytes_for_each_answer),
        TEST(ranges_come_after_the_other_conditions),
        TEST(if_range_wants_the_very_version),
        TEST(date_is_strong_once_its_second_is_over),
        TEST(file_without_a_date_matches_none),
        TEST(slow_client_gets_every_byte_of_every_part),
        TEST(pipelined_ranges_are_answered_in_order),
        TEST(parts_are_sent_from_where_they_are),
        TEST(many_short_parts_of_a_file_leave_together),
        TEST(many_short_parts_of_memory_leave_together),
        TEST(thousand_ranges_do_not_allocate),
        TEST(file_truncated_while_a_range_is_sent_cuts_the_connection),
        TEST(file_that_grows_while_a_range_is_sent_is_sent_as_announced),
        TEST(file_replaced_between_two_parts_is_sent_in_the_version_announced),
        TEST(client_lost_in_the_midst_leaves_nothing_behind),
        TEST(client_that_reads_nothing_is_cut_in_time),
        TEST(continuation_that_fails_cuts_the_connection_and_is_released),
        TEST(every_failing_allocation_is_an_answer_or_a_cut),
        TEST(every_failing_system_call_is_an_answer_or_a_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
