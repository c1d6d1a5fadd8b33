/* Containment, from the request line to the disk: every trick with encodings, dots and links, for every way in which a
 * mounted directory is served (plain, listed, with stand-ins, dot files, siblings), on kernels with openat2(2) and
 * without, and while directories and files are swapped for links that lead out, between requests and during them.
 *
 * Files are the real kernel's. What must not come out has a text of its own, MARK, in name and content, and no answer
 * may have it, whatever its status. socket_beneath.c has the table of core/beneath.c itself. */

#include "tests/lib/server_scene.h"

#include "http/file_cache.h"

#include <linux/fs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#define ARRAY_LEN(array) (sizeof(array) / sizeof(array)[0])
#define MARK             "sEcReT"

enum {
    REQUEST_MAX = 1024,
    SWAPS = 3000,       /* of a link and a directory, by another thread */
    REQUESTS_MIN = 500, /* meanwhile */
    DEPTH = 12,         /* of "../", which is deeper than any tree here */
};

static char answer[65536]; /* what came out for the last request */
static int status;

static void mount(const char *prefix, const char *name, const struct static_options *options)
{
    char directory[128];
    char err[512];
    snprintf(directory, sizeof directory, name[0] == '/' ? "%.0s%s" : "%s/%s", scene.tree.path, name);
    if (static_mounts_add(scene.site->default_host.mounts, prefix, directory, options, err, sizeof err) < 0) {
        fail_msg("%s", err);
    }
}

/*     outside.txt, outside/, top-secret/   what must not come out
 *     top/                                 mounted at all prefixes below */
static void make_tree(void)
{
    const struct file_tree *tree = &scene.tree;
    char path[160];
    tree_add_file(tree, "outside.txt", MARK);
    tree_add_file(tree, "outside.txt.gz", MARK);
    tree_add_dir(tree, "outside");
    tree_add_file(tree, "outside/file", MARK);
    tree_add_file(tree, "outside/index.html", MARK);
    tree_add_file(tree, "outside/name-" MARK, MARK);
    tree_add_dir(tree, "top-secret");
    tree_add_file(tree, "top-secret/file", MARK);
    tree_add_dir(tree, "top");
    tree_add_file(tree, "top/file", "file");
    tree_add_file(tree, "top/index.html", "index");
    tree_add_file(tree, "top/app.html", "app");
    tree_add_file(tree, "top/.hidden", "hidden");
    tree_add_file(tree, "top/a\\b", "backslash");
    tree_add_file(tree, "top/%2e%2e", "percent");
    tree_add_file(tree, "top/...", "dots");
    tree_add_file(tree, "top/trailing.", "trailing");
    tree_add_dir(tree, "top/dir");
    tree_add_file(tree, "top/dir/inner", "inner");
    tree_add_dir(tree, "top/dir/deep");
    tree_add_file(tree, "top/dir/deep/bottom", "bottom");
    tree_add_dir(tree, "top/.git");
    tree_add_file(tree, "top/.git/config", "config");

    tree_add_link(tree, "top/to_file", "file");
    tree_add_link(tree, "top/to_dir", "dir");
    tree_add_link(tree, "top/dir/deep/up", "../../file");
    tree_add_link(tree, "top/to_hidden", ".hidden");
    tree_add_link(tree, "top/to_git", ".git");
    tree_add_link(tree, "top/dangling", "nothing");
    tree_add_link(tree, "top/self", "self");
    tree_add_link(tree, "top/loop_a", "loop_b");
    tree_add_link(tree, "top/loop_b", "loop_a");

    tree_add_link(tree, "top/out", "../outside.txt");
    tree_add_link(tree, "top/out_dir", "../outside");
    tree_add_link(tree, "top/parent", "..");
    tree_add_link(tree, "top/neighbour", "../top-secret/file");
    tree_add_link(tree, "top/out_and_in", "../top/file");
    tree_add_link(tree, "top/dir/out", "../../outside.txt");
    tree_add_link(tree, "top/dir/deep/out", "../../../outside");
    tree_add_link(tree, "top/through", "dir/deep/out/file");
    snprintf(path, sizeof path, "%s/outside.txt", tree->path);
    tree_add_link(tree, "top/absolute_out", path);
    snprintf(path, sizeof path, "%s/top/file", tree->path);
    tree_add_link(tree, "top/absolute_in", path);
    tree_add_link(tree, "top/root", "/");
    tree_add_link(tree, "top/proc_root", "/proc/self/root");
    tree_add_link(tree, "top/proc_cwd", "/proc/self/cwd");
    tree_add_link(tree, "top/proc_fd", "/proc/self/fd/0");

    /* An index file, and siblings, that are links. */
    tree_add_dir(tree, "top/index_out");
    tree_add_link(tree, "top/index_out/index.html", "../../outside.txt");
    tree_add_dir(tree, "top/index_in");
    tree_add_link(tree, "top/index_in/index.html", "../file");
    tree_add_dir(tree, "top/index_loop");
    tree_add_link(tree, "top/index_loop/index.html", "index.html");
    tree_add_file(tree, "top/packed_out", "original");
    tree_add_link(tree, "top/packed_out.gz", "../outside.txt.gz");
    tree_add_file(tree, "top/packed_in", "original");
    tree_add_file(tree, "top/stored", "gzip");
    tree_add_link(tree, "top/packed_in.gz", "stored");

    /* A hard link is the file itself: nobody can tell that it has another name outside. */
    tree_add_file(tree, "elsewhere.txt", "hard");
    tree_must(linkat(tree->fd, "elsewhere.txt", tree->fd, "top/hard", 0), "hard");
}

static int set_up(void **state)
{
    int rv = scene_set_up(state);
    fake_sys_set_wall_time_s(time(NULL) + 3600); /* every file here has settled */
    make_tree();
    /* The one at "/" that scene_set_up() made would show everything: a server of its own. */
    site_destroy(scene.site);
    scene.site = NULL;
    rv = rv < 0 ? rv : site_create(&scene.site, &scene.log);
    static const char *const indexes[] = {"out", "../outside.txt", "file"};
    mount("/", "top", NULL);
    mount("/list", "top", &(struct static_options){.list = true, .no_index = true});
    mount("/all", "top", &(struct static_options){.list = true, .dotfiles = true, .fallback = "app.html"});
    mount("/out404", "top", &(struct static_options){.not_found = "out"});
    mount("/outapp", "top", &(struct static_options){.fallback = "out_dir/file"});
    mount("/proc", "/proc/self", NULL);
    mount("/linked", "top/to_dir", NULL); /* who mounts a link means what it leads to */
    char err[512];
    char directory[128];
    snprintf(directory, sizeof directory, "%s/top", scene.tree.path);
    if (static_mounts_add(scene.site->default_host.mounts, "/indexes", directory,
                          &(struct static_options){.index = indexes, .index_count = ARRAY_LEN(indexes)}, err,
                          sizeof err) == 0) {
        fail_msg("an index file outside of its directory was accepted");
    }
    scene_start();
    return rv;
}

/* The same on a kernel before 5.6. */
static int set_up_without_openat2(void **state)
{
    int rv = set_up(state);
    fake_sys_fail_op(FAKE_OPEN_BENEATH, 0, FAKE_FOREVER, -ENOSYS);
    return rv;
}

#define TEST(name)                                                                                                     \
    cmocka_unit_test_setup_teardown(name, set_up, scene_tear_down),                                                    \
    {                                                                                                                  \
#name "_without_openat2", name, set_up_without_openat2, scene_tear_down, NULL                                  \
    }

/* Ask on a connection of its own: the content, NULL when there is none. Nothing of what is outside may be in it. */
static const char *ask(const char *target, const char *lines)
{
    char request[REQUEST_MAX];
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n%s\r\n", target, lines);
    struct fake_peer *peer = client();
    say(peer, request);
    size_t len;
    const char *output = fake_peer_output(peer, &len);
    assert_true(len > 12 && len < sizeof answer);
    memcpy(answer, output, len + 1);
    fake_peer_forget_output(peer);
    status = atoi(answer + 9);
    if (memmem(answer, len, MARK, strlen(MARK)) != NULL) {
        fail_msg("%s: what is outside came out: %s", target, answer);
    }
    const char *content = strstr(answer, "\r\n\r\n");
    return content == NULL ? NULL : content + 4;
}

static void assert_row(const char *target, const char *lines, int wanted, const char *content)
{
    const char *got = ask(target, lines);
    if (status != wanted || (content != NULL && strcmp(got, content) != 0)) {
        fail_msg("%s: %d %s", target, status, got);
    }
}

struct row {
    const char *target;
    int status;
    const char *content; /* NULL for any, which has no MARK */
};

static void assert_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert_row(rows[i].target, "", rows[i].status, rows[i].content);
    }
}

static void encodings_of_dots_and_slashes_never_climb(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"/file", 200, "file"},
        /* dot segments, plain and encoded: they stop at the root of the URL */
        {"/../outside.txt", 400, NULL},
        {"/dir/../../outside.txt", 400, NULL},
        {"/dir/../../../../../../../../etc/passwd", 400, NULL},
        {"/%2e%2e/outside.txt", 400, NULL},
        {"/%2E%2E/outside.txt", 400, NULL},
        {"/.%2e/outside.txt", 400, NULL},
        {"/%2e./outside.txt", 400, NULL},
        {"/dir/%2e%2e/%2e%2e/outside.txt", 400, NULL},
        {"/dir/..", 200, "index"},
        {"/dir/../file", 200, "file"},
        {"/dir/%2e%2e/file", 200, "file"},
        {"/./dir/././inner", 200, "inner"},
        {"http://a/../outside.txt", 400, NULL},
        {"http://a/%2e%2e/outside.txt", 400, NULL},
        {"/?/../outside.txt", 200, "index"}, /* of the query */
        /* a mount is no way to its neighbours: the path is normal before the mount is chosen */
        {"/list/../file", 200, "file"},
        {"/list/%2e%2e/%2e%2e/outside.txt", 400, NULL},
        {"/linked/../file", 200, "file"},
        {"/linked/inner", 200, "inner"},
        {"/linked/%2e%2e%2ffile", 400, NULL},
        /* encoded slashes, and what others take for one */
        {"/..%2foutside.txt", 400, NULL},
        {"/..%2Foutside.txt", 400, NULL},
        {"/%2e%2e%2foutside.txt", 400, NULL},
        {"/dir%2f..%2f..%2foutside.txt", 400, NULL},
        {"/%2foutside.txt", 400, NULL},
        {"/%2fetc%2fpasswd", 400, NULL},
        {"/..\\outside.txt", 400, NULL},
        {"/dir\\..\\..\\outside.txt", 400, NULL},
        {"/..%5coutside.txt", 404, NULL},
        {"/..%5Coutside.txt", 404, NULL},
        {"/dir%5c..%5c..%5coutside.txt", 404, NULL},
        {"/a%5cb", 200, "backslash"}, /* a letter of a name */
        /* encoded twice: decoded once, what is left is a name */
        {"/%252e%252e/outside.txt", 404, NULL},
        {"/%252e%252e%252foutside.txt", 404, NULL},
        {"/..%252foutside.txt", 404, NULL},
        {"/%252e%252e", 200, "percent"},
        {"/%25252e%25252e/outside.txt", 404, NULL},
        /* overlong and full-width forms: bytes like any others */
        {"/%c0%ae%c0%ae/outside.txt", 404, NULL},
        {"/%c0%ae%c0%ae%c0%afoutside.txt", 404, NULL},
        {"/..%c0%afoutside.txt", 404, NULL},
        {"/..%c1%9coutside.txt", 404, NULL},
        {"/%e0%80%ae%e0%80%ae/outside.txt", 404, NULL},
        {"/%f0%80%80%ae%f0%80%80%ae/outside.txt", 404, NULL},
        {"/%ef%bc%8e%ef%bc%8e/outside.txt", 404, NULL},
        {"/..%ef%bc%8foutside.txt", 404, NULL},
        {"/%uff0e%uff0e/outside.txt", 400, NULL},
        {"/%u002e%u002e/outside.txt", 400, NULL},
        /* NUL and other control characters */
        {"/file%00", 400, NULL},
        {"/file%00.html", 400, NULL},
        {"/..%00/outside.txt", 400, NULL},
        {"/%00/../outside.txt", 400, NULL},
        {"/..%0d/outside.txt", 404, NULL},
        {"/..%09/outside.txt", 404, NULL},
        {"/..%20/outside.txt", 404, NULL},
        {"/%20../outside.txt", 404, NULL},
        {"/file%0a", 404, NULL},
        /* cut escapes */
        {"/%2", 400, NULL},
        {"/%2e%2", 400, NULL},
        {"/%", 400, NULL},
        {"/%%32%65%%32%65/outside.txt", 400, NULL},
        /* dots that are names */
        {"/...", 404, NULL}, /* it begins with one, so it is hidden */
        {"/all/...", 200, "dots"},
        {"/.../outside.txt", 404, NULL},
        {"/..../outside.txt", 404, NULL},
        {"/..;/outside.txt", 404, NULL},
        {"/..;a=b/outside.txt", 404, NULL},
        {"/dir;/../../outside.txt", 400, NULL},
        {"/file.", 404, NULL}, /* as the file system has it, and not as Windows */
        {"/trailing.", 200, "trailing"},
        {"/trailing", 404, NULL},
        {"/file%20", 404, NULL},
        {"/file::$DATA", 404, NULL},
        {"/FILE", 404, NULL},
        {"/~root/", 404, NULL},
        {"/file/", 404, NULL},
        {"/file/..", 200, "index"}, /* in the URL, which knows no files */
        {"/file/../../outside.txt", 400, NULL},
    };
    assert_rows(rows, ARRAY_LEN(rows));
    char deep[3 * DEPTH + 32] = "/dir";
    for (int i = 0; i < DEPTH; i++) {
        strcat(deep, "/..");
    }
    strcat(deep, "/etc/passwd");
    assert_row(deep, "", 400, NULL);
}

/* They are one slash, and are sent on to it: within this host, which "Location: //name" would not be. */
static void slashes_in_a_row_lead_nowhere_else(void **state)
{
    (void)state;
    static const char *const targets[] = {"//outside.txt",    "//etc/passwd",       "///etc/passwd",
                                          "//../outside.txt", "/.//../outside.txt", "//a//%2e%2e/etc/passwd"};
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        ask(targets[i], "");
        assert_true(status == 301 || status == 404);
        assert_null(strstr(answer, "Location: //"));
    }
}

static void links_are_followed_inside_and_nowhere_else(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"/to_file", 200, "file"},
        {"/to_dir/inner", 200, "inner"},
        {"/to_dir/deep/up", 200, "file"},
        {"/to_dir", 301, NULL},
        {"/dangling", 404, NULL},
        {"/dangling/x", 404, NULL},
        {"/out", 403, NULL},
        {"/out/", 403, NULL},
        {"/out_dir", 403, NULL},
        {"/out_dir/", 403, NULL},
        {"/out_dir/file", 403, NULL},
        {"/out_dir/missing", 403, NULL}, /* nobody learns what is there */
        {"/parent/outside.txt", 403, NULL},
        {"/parent/top/file", 403, NULL}, /* out and in again */
        {"/parent/missing", 403, NULL},
        {"/neighbour", 403, NULL},
        {"/out_and_in", 403, NULL},
        {"/dir/out", 403, NULL},
        {"/to_dir/out", 403, NULL}, /* a link in the middle */
        {"/dir/deep/out/file", 403, NULL},
        {"/to_dir/deep/out/file", 403, NULL},
        {"/through", 403, NULL},
        {"/absolute_out", 403, NULL},
        {"/absolute_in", 403, NULL}, /* absolute links are never followed */
        {"/root", 403, NULL},
        {"/root/etc/passwd", 403, NULL},
        {"/proc_root/etc/passwd", 403, NULL},
        {"/proc_cwd/SECURITY.md", 403, NULL},
        {"/proc_fd", 403, NULL},
        {"/hard", 200, "hard"},
    };
    assert_rows(rows, ARRAY_LEN(rows));
    static const char *const loops[] = {"/self", "/self/x", "/loop_a", "/loop_b/x"};
    for (size_t i = 0; i < ARRAY_LEN(loops); i++) {
        ask(loops[i], "");
        assert_true(status == 403 || status == 404);
    }
}

/* Links of /proc lead anywhere though their text is harmless. */
static void magic_links_lead_nowhere(void **state)
{
    (void)state;
    static const char *const targets[] = {"/proc/root/etc/passwd",
                                          "/proc/root/",
                                          "/proc/root",
                                          "/proc/cwd/SECURITY.md",
                                          "/proc/cwd/",
                                          "/proc/exe",
                                          "/proc/fd/0",
                                          "/proc/fd/1",
                                          "/proc/ns/mnt",
                                          "/proc/task/../root/etc/passwd"};
    ask("/proc/status", "");
    assert_int_equal(status, 200); /* the mount works */
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        ask(targets[i], "");
        if (status != 403 && status != 404) {
            fail_msg("%s: %d", targets[i], status);
        }
    }
    char target[64]; /* one that is open for sure, on a file outside */
    int fd = openat(scene.tree.fd, "outside.txt", O_RDONLY | O_CLOEXEC);
    snprintf(target, sizeof target, "/proc/fd/%d", fd);
    ask(target, "");
    close(fd);
    assert_true(status == 403 || status == 404);
}

static void names_with_a_dot_are_hidden_however_they_are_spelt(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"/.hidden", 404, NULL},
        {"/%2ehidden", 404, NULL},
        {"/dir/../.hidden", 404, NULL},
        {"/.git/config", 404, NULL},
        {"/%2Egit/config", 404, NULL},
        {"/.git/../.hidden", 404, NULL},
        {"/dir/%2e%2e/.git/config", 404, NULL},
        {"/list/.hidden", 404, NULL},
        {"/all/.hidden", 200, "hidden"}, /* asked for */
        {"/all/.git/config", 200, "config"},
        {"/all/../.hidden", 404, NULL},
        {"/to_hidden", 200, "hidden"}, /* a link with another name is its owner's wish */
        {"/to_git/config", 200, "config"},
    };
    assert_rows(rows, ARRAY_LEN(rows));
}

static void every_option_of_a_mount_stays_inside(void **state)
{
    (void)state;
    static const struct row rows[] = {
        /* index files that are links */
        {"/index_in/", 200, "file"},
        {"/index_out/", 403, NULL},
        {"/all/index_out/", 403, NULL},
        {"/index_out/index.html", 403, NULL},
        /* stand-ins that are links out stand in for nothing, and cost no more than the answer */
        {"/out404/file", 200, "file"},
        {"/out404/missing", 404, "404 Not Found\n"},
        {"/outapp/file", 200, "file"},
        {"/all/missing", 200, "app"},
        {"/all/out", 403, NULL}, /* forbidden is not missing */
        {"/all/out_dir/", 403, NULL},
        {"/all/parent/outside.txt", 403, NULL},
        {"/list/out_dir/", 403, NULL},
        {"/list/parent/", 403, NULL},
        {"/list/root/", 403, NULL},
        {"/list/proc_root/", 403, NULL},
    };
    assert_rows(rows, ARRAY_LEN(rows));
    ask("/index_loop/", "");
    assert_true(status == 403 || status == 404);
    ask("/outapp/missing", "");
    assert_true(status == 403 || status == 404);
    /* siblings that are links */
    assert_row("/packed_in", "Accept-Encoding: gzip\r\n", 200, "gzip");
    assert_row("/packed_out", "Accept-Encoding: gzip\r\n", 200, "original");
    assert_row("/packed_out", "Range: bytes=0-3\r\nAccept-Encoding: gzip\r\n", 206, "orig");
    assert_row("/packed_out.gz", "", 403, NULL);
}

/* What leads out, in each way, is refused or not there, whatever the options; a stand-in may take the place of what is
 * not there. */
static void every_combination_of_options_stays_inside(void **state)
{
    (void)state;
    static const char *const targets[] = {
        "out",          "out/",          "out_dir/",       "out_dir/file",  "parent/",   "parent/outside.txt",
        "through",      "root/",         "proc_root/etc/", "index_out/",    "neighbour", "out_and_in",
        "absolute_out", "packed_out.gz", "dir/out",        "dir/deep/out/", "loop_a",    "to_dir/out",
        "..%5cfile",    "dangling",      "%252e%252e/",    "missing",       "missing/",  ".hidden/../out"};
    enum { COMBINATIONS = 1 << 5 };
    for (unsigned bits = 0; bits < COMBINATIONS; bits++) {
        char prefix[32];
        snprintf(prefix, sizeof prefix, "/with/%u", bits);
        mount(prefix, "top",
              &(struct static_options){.dotfiles = bits & 1,
                                       .list = bits & 2,
                                       .no_index = bits & 4,
                                       .no_precompressed = !(bits & 1),
                                       .fallback = bits & 16 ? "app.html" : NULL,
                                       .not_found = bits & 8 ? "out" : NULL});
        for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
            char target[128];
            snprintf(target, sizeof target, "%s/%s", prefix, targets[i]);
            const char *content = ask(target, i % 2 == 0 ? "Accept-Encoding: gzip\r\n" : "");
            bool is_stand_in = (bits & 16) && status == 200 && strcmp(content, "app") == 0;
            bool is_listed = (bits & 2) && (bits & 4) && status == 200 && strcmp(targets[i], "index_out/") == 0;
            if (status != 403 && status != 404 && !is_stand_in && !is_listed) {
                fail_msg("%s: %d %s", target, status, content);
            }
        }
    }
}

static void listing_shows_nothing_that_leads_out(void **state)
{
    (void)state;
    static const char *const hidden[] = {"out",        "out_dir",      "parent",      "neighbour",
                                         "out_and_in", "absolute_out", "absolute_in", "root",
                                         "proc_root",  "proc_cwd",     "proc_fd",     "self",
                                         "loop_a",     "dangling",     "through",     "packed_out.gz"};
    static const char *const mounts[] = {"/list/", "/all/dir/", "/list/dir/"};
    static const char *const shown[] = {"file", "to_file", "to_dir/", "dir/", "packed_in.gz", "hard"};
    for (size_t i = 0; i < ARRAY_LEN(mounts); i++) {
        const char *page = ask(mounts[i], "");
        assert_int_equal(status, 200);
        for (size_t n = 0; n < ARRAY_LEN(hidden); n++) {
            char link[64];
            snprintf(link, sizeof link, "href=\"./%s\"", hidden[n]);
            assert_null(strstr(page, link));
            snprintf(link, sizeof link, "href=\"./%s/\"", hidden[n]);
            assert_null(strstr(page, link));
        }
    }
    const char *page = ask("/list/", "");
    for (size_t n = 0; n < ARRAY_LEN(shown); n++) {
        char link[64];
        snprintf(link, sizeof link, "href=\"./%s\"", shown[n]);
        if (strstr(page, link) == NULL) {
            fail_msg("%s is not listed: %s", shown[n], page);
        }
    }
    assert_null(strstr(page, ".hidden"));
}

/* Swaps. */

static void rename_below(const char *from, const char *to)
{
    tree_must(renameat(scene.tree.fd, from, scene.tree.fd, to), from);
}

/* What was read, and is in the cache, is served until it is looked at again, and no longer. */
static void directory_swapped_for_a_link_between_requests_is_seen(void **state)
{
    (void)state;
    assert_row("/dir/inner", "", 200, "inner");
    assert_row("/list/dir/", "", 200, NULL);
    tree_add_file(&scene.tree, "outside/inner", MARK);
    rename_below("top/dir", "top/moved");
    tree_add_link(&scene.tree, "top/dir", "../outside");
    pass_ms(FILE_FRESH_MS);
    for (int i = 0; i < 3; i++) {
        assert_row("/dir/inner", "", 403, NULL);
        assert_row("/dir/", "", 403, NULL);
        assert_row("/list/dir/", "", 403, NULL);
        assert_row("/to_dir/inner", "", 403, NULL);
    }
    tree_unlink(&scene.tree, "top/dir");
    rename_below("top/moved", "top/dir");
    assert_row("/dir/inner", "", 200, "inner"); /* what failed is not remembered */
}

static void file_swapped_for_a_link_between_requests_is_seen(void **state)
{
    (void)state;
    assert_row("/file", "", 200, "file");
    assert_row("/packed_in", "Accept-Encoding: gzip\r\n", 200, "gzip");
    rename_below("top/file", "top/moved");
    tree_add_link(&scene.tree, "top/file", "../outside.txt");
    tree_unlink(&scene.tree, "top/packed_in.gz");
    tree_add_link(&scene.tree, "top/packed_in.gz", "../outside.txt.gz");
    pass_ms(FILE_FRESH_MS);
    assert_row("/file", "", 403, NULL);
    assert_row("/to_file", "", 403, NULL);
    assert_row("/index_in/", "", 403, NULL);
    assert_row("/packed_in", "Accept-Encoding: gzip\r\n", 200, "original");
}

/* A directory moved out from under the root, while the path leads through it. */
static void directory_moved_out_of_the_root_is_gone(void **state)
{
    (void)state;
    assert_row("/dir/deep/bottom", "", 200, "bottom");
    rename_below("top/dir", "outside/dir");
    pass_ms(FILE_FRESH_MS);
    assert_row("/dir/deep/bottom", "", 404, NULL);
    assert_row("/to_dir/deep/bottom", "", 404, NULL);
    rename_below("outside/dir", "top/dir");
}

static atomic_bool is_over;    /* the swapper is done */
static atomic_uint swaps_done; /* by it */

/* Exchange top/NAME and top/other, a link that leads out, again and again, and move dir/deep in and out of the root. */
static void *swap_on(void *arg)
{
    const char *const *names = arg;
    for (int i = 0; i < SWAPS; i++) {
        if (syscall(SYS_renameat2, scene.tree.fd, names[0], scene.tree.fd, names[1], RENAME_EXCHANGE) < 0) {
            break;
        }
        swaps_done++;
    }
    is_over = true;
    return NULL;
}

/* Ask for targets while the swapper is at work, and a few times more. The cache looks at the disk each time. */
static void ask_during_swaps(const char *const names[2], const char *const *targets, size_t count)
{
    pthread_t swapper;
    is_over = false;
    swaps_done = 0;
    assert_int_equal(pthread_create(&swapper, NULL, swap_on, (void *)(uintptr_t)names), 0);
    unsigned by_status[6] = {0};
    for (int i = 0; i < REQUESTS_MIN || !is_over; i++) {
        ask(targets[(size_t)i % count], i % 3 == 0 ? "Accept-Encoding: gzip\r\n" : ""); /* looks for MARK */
        assert_true(status == 200 || status == 206 || status == 301 || status == 403 || status == 404);
        by_status[status / 100]++;
        if (i % 4 == 0) {
            fake_sys_advance_ms(FILE_FRESH_MS);
        }
        if (i % 64 == 0) {
            fake_sys_clear_trace();
        }
    }
    pthread_join(swapper, NULL);
    assert_int_equal(swaps_done, SWAPS); /* where the file system can exchange names */
    assert_true(by_status[2] > 0);
}

static void directory_swapped_for_a_link_during_requests_gives_nothing_away(void **state)
{
    (void)state;
    static const char *const names[] = {"top/dir", "top/swap"};
    static const char *const targets[] = {"/dir/inner",   "/dir/file",        "/list/dir/",
                                          "/to_dir/file", "/dir/deep/bottom", "/file"};
    tree_add_link(&scene.tree, "top/swap", "../outside");
    ask_during_swaps(names, targets, ARRAY_LEN(targets));
}

static void file_swapped_for_a_link_during_requests_gives_nothing_away(void **state)
{
    (void)state;
    static const char *const names[] = {"top/file", "top/swap"};
    static const char *const targets[] = {"/file", "/to_file", "/index_in/", "/dir/deep/up", "/list/", "/all/file"};
    tree_add_link(&scene.tree, "top/swap", "../outside.txt");
    ask_during_swaps(names, targets, ARRAY_LEN(targets));
}

static void sibling_swapped_for_a_link_during_requests_gives_nothing_away(void **state)
{
    (void)state;
    static const char *const names[] = {"top/stored", "top/swap"};
    static const char *const targets[] = {"/packed_in", "/packed_in.gz", "/list/"};
    tree_add_link(&scene.tree, "top/swap", "../outside.txt.gz");
    ask_during_swaps(names, targets, ARRAY_LEN(targets));
}

/* A directory on the path is moved out of the root and back: ".." behind it must not lead to its new neighbours. */
static void directory_moved_out_during_requests_gives_nothing_away(void **state)
{
    (void)state;
    static const char *const names[] = {"top/dir/deep", "outside/deep"};
    static const char *const targets[] = {"/climb", "/climb_far", "/dir/deep/bottom", "/file"};
    tree_add_dir(&scene.tree, "outside/deep");
    tree_add_file(&scene.tree, "outside/deep/bottom", "bottom");
    tree_add_link(&scene.tree, "top/climb", "dir/deep/../file");
    tree_add_link(&scene.tree, "top/climb_far", "dir/deep/../../outside.txt");
    ask_during_swaps(names, targets, ARRAY_LEN(targets));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(encodings_of_dots_and_slashes_never_climb),
        TEST(slashes_in_a_row_lead_nowhere_else),
        TEST(links_are_followed_inside_and_nowhere_else),
        TEST(magic_links_lead_nowhere),
        TEST(names_with_a_dot_are_hidden_however_they_are_spelt),
        TEST(every_option_of_a_mount_stays_inside),
        TEST(every_combination_of_options_stays_inside),
        TEST(listing_shows_nothing_that_leads_out),
        TEST(directory_swapped_for_a_link_between_requests_is_seen),
        TEST(file_swapped_for_a_link_between_requests_is_seen),
        TEST(directory_moved_out_of_the_root_is_gone),
        TEST(directory_swapped_for_a_link_during_requests_gives_nothing_away),
        TEST(file_swapped_for_a_link_during_requests_gives_nothing_away),
        TEST(sibling_swapped_for_a_link_during_requests_gives_nothing_away),
        TEST(directory_moved_out_during_requests_gives_nothing_away),
    };
    return cmocka_run_group_tests_name("containment", tests, NULL, NULL);
}
