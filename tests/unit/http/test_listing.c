/* Directories as pages: what is listed and in which order, that no name can be more than text and a link, the bounds,
 * and each failure. Files are real, behind the fake door. */

#include "http/listing.h"

#include "core/mem.h"
#include "core/sys.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"
#include "tests/lib/file_tree.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define ARRAY_LEN(array) (sizeof(array) / sizeof(array)[0])

static struct {
    struct file_tree tree;
    char *page;
    size_t len;
    uint64_t rows;  /* of page */
    bool is_cut;    /* page is */
    unsigned steps; /* that it took */
} scene;

static int set_up(void **state)
{
    (void)state;
    memset(&scene, 0, sizeof scene);
    fake_sys_reset();
    tree_make(&scene.tree);
    tree_add_dir(&scene.tree, "d");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    mem_free(scene.page);
    tree_remove(&scene.tree);
    assert_int_equal(fake_sys_open_fds(), 0);
    assert_int_equal(fake_mem_live(), 0);
    fake_sys_reset();
    return 0;
}

/* Take all steps of a job. */
static int run(const struct listing *listing)
{
    struct listing_job *job = NULL;
    int dir_fd = listing_open(listing);
    if (dir_fd < 0) {
        return dir_fd;
    }
    int rv = listing_begin(&job, listing, dir_fd);
    if (rv < 0) {
        sys_close(dir_fd);
        return rv;
    }
    scene.steps = 0;
    do {
        rv = listing_step(job, listing->root_fd);
        scene.steps++;
    } while (rv == LISTING_MORE);
    if (rv == LISTING_DONE) {
        struct listing_page made = listing_take(job);
        scene.page = made.bytes;
        scene.len = made.len;
        scene.rows = made.rows;
        scene.is_cut = made.is_cut;
    }
    listing_end(job);
    return rv;
}

static int make(struct listing listing)
{
    mem_free(scene.page);
    scene.page = NULL;
    listing.root_fd = scene.tree.fd;
    listing.path = listing.path == NULL ? "d" : listing.path;
    listing.title = listing.title == NULL ? "/d/" : listing.title;
    listing.title_len = strlen(listing.title);
    listing.rows_max = listing.rows_max == 0 ? 10000 : listing.rows_max;
    int rv = run(&listing);
    if (rv == 0) {
        char *text = mem_resize(scene.page, scene.len + 1); /* to be searched */
        text[scene.len] = '\0';
        scene.page = text;
        assert_int_equal(strlen(text), scene.len);
        assert_non_null(strstr(text, "</html>\n"));
        assert_null(strstr(text, "<script"));
    }
    return rv;
}

static const char *page(void)
{
    assert_int_equal(make((struct listing){0}), 0);
    return scene.page;
}

static void assert_page_has(const char *text)
{
    if (strstr(scene.page, text) == NULL) {
        fail_msg("\"%s\" is not in:\n%s", text, scene.page);
    }
}

static void assert_page_lacks(const char *text)
{
    if (strstr(scene.page, text) != NULL) {
        fail_msg("\"%s\" is in:\n%s", text, scene.page);
    }
}

/* The names on the page, in its order, each with a space behind. */
static const char *names(void)
{
    static char list[8192];
    size_t used = 0;
    list[0] = '\0';
    for (const char *at = strstr(scene.page, "<tbody>"); (at = strstr(at, "\"><bdi>")) != NULL;) {
        at += strlen("\"><bdi>");
        size_t len = (size_t)(strstr(at, "</bdi>") - at);
        assert_true(used + len + 2 < sizeof list);
        used += (size_t)snprintf(list + used, sizeof list - used, "%.*s ", (int)len, at);
    }
    return list;
}

static void directories_come_first_then_names_without_regard_to_case(void **state)
{
    (void)state;
    static const char *const files[] = {"d/b", "d/a", "d/C", "d/c", "d/10", "d/9", "d/\xc3\xa9"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        tree_add_file(&scene.tree, files[i], "x");
    }
    tree_add_dir(&scene.tree, "d/z");
    tree_add_dir(&scene.tree, "d/Y");
    page();
    assert_string_equal(names(), "Y/ z/ 10 9 a b C c \xc3\xa9 ");
    assert_page_has("<p>9 entries</p>");
}

static void many_entries_are_in_order(void **state)
{
    (void)state;
    static char wanted[8192];
    size_t used = 0;
    for (int i = 0; i < 300; i++) {
        char name[16];
        snprintf(name, sizeof name, "d/n%03d", (i * 7) % 300);
        tree_add_file(&scene.tree, name, "");
        used += (size_t)snprintf(wanted + used, sizeof wanted - used, "n%03d ", i);
    }
    page();
    assert_string_equal(names(), wanted);
}

static void rows_have_link_size_and_date(void **state)
{
    (void)state;
    tree_add_file(&scene.tree, "d/a.txt", "12345");
    tree_set_mtime(&scene.tree, "d/a.txt", 784111777, 0);
    tree_add_dir(&scene.tree, "d/sub");
    tree_set_mtime(&scene.tree, "d/sub", 0, 0);
    page();
    assert_page_has("<tr><td><a href=\"./a.txt\"><bdi>a.txt</bdi></a></td><td>5 B</td><td>"
                    "<time datetime=\"1994-11-06T08:49:37Z\">1994-11-06 08:49</time></td></tr>\n");
    assert_page_has("<tr><td><a href=\"./sub/\"><bdi>sub/</bdi></a></td><td></td><td>"
                    "<time datetime=\"1970-01-01T00:00:00Z\">1970-01-01 00:00</time></td></tr>\n");
}

static void sizes_are_short(void **state)
{
    (void)state;
    static const struct {
        off_t size;
        const char *text;
    } rows[] = {
        {0, ">0 B<"},
        {1023, ">1023 B<"},
        {1024, ">1.0 KiB<"},
        {1536, ">1.5 KiB<"},
        {2047, ">1.9 KiB<"},
        {1048575, ">1023.9 KiB<"},
        {1048576, ">1.0 MiB<"},
        {(off_t)5 << 30, ">5.0 GiB<"},
        {(off_t)3 << 40, ">3.0 TiB<"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        tree_add_file(&scene.tree, "d/file", "");
        char path[128];
        snprintf(path, sizeof path, "%s/d/file", scene.tree.path);
        tree_must(truncate(path, rows[i].size), path); /* a hole */
        page();
        assert_page_has(rows[i].text);
    }
}

static void names_are_text_and_links_and_nothing_else(void **state)
{
    (void)state;
    static const struct {
        const char *name, *link, *text;
    } rows[] = {
        {"<script>alert(1)<\\script>", "%3Cscript%3Ealert%281%29%3C%5Cscript%3E",
         "&lt;script&gt;alert(1)&lt;\\script&gt;"},
        {"\"><img src=x onerror=alert(1)>", "%22%3E%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E",
         "&quot;&gt;&lt;img src=x onerror=alert(1)&gt;"},
        {"' onmouseover='x", "%27%20onmouseover%3D%27x", "&#39; onmouseover=&#39;x"},
        {"a&amp;b", "a%26amp%3Bb", "a&amp;amp;b"},
        {"javascript:alert(1)", "javascript%3Aalert%281%29", "javascript:alert(1)"},
        {"a?b#c%2fd", "a%3Fb%23c%252fd", "a?b#c%2fd"},
        {"line\r\nfeed\t", "line%0D%0Afeed%09",
         "line\xef\xbf\xbd\xef\xbf\xbd"
         "feed\xef\xbf\xbd"},
        {"\xe2\x98\x83", "%E2%98%83", "\xe2\x98\x83"},
        {"\xf0\x9f\x98\x80", "%F0%9F%98%80", "\xf0\x9f\x98\x80"},
        /* what is not UTF-8 must not swallow what follows it */
        {"\xe2\x98", "%E2%98", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xff<b>", "%FF%3Cb%3E", "\xef\xbf\xbd&lt;b&gt;"},
        {"\xc0\xbc", "%C0%BC", "\xef\xbf\xbd\xef\xbf\xbd"}, /* overlong '<' */
        {"\xe0\x80\xbc", "%E0%80%BC", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf0\x80\x80\xbc", "%F0%80%80%BC", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xed\xa0\x80", "%ED%A0%80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* a surrogate */
        {"\xf4\x90\x80\x80", "%F4%90%80%80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xc2\x9b", "%C2%9B", "\xef\xbf\xbd\xef\xbf\xbd"}, /* a C1 control */
        {"\xc2<i>", "%C2%3Ci%3E", "\xef\xbf\xbd&lt;i&gt;"},
        {"\xf0\x9f<i>", "%F0%9F%3Ci%3E", "\xef\xbf\xbd\xef\xbf\xbd&lt;i&gt;"},
        {"\x7f", "%7F", "\xef\xbf\xbd"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char name[128], row[512];
        snprintf(name, sizeof name, "d/%s", rows[i].name);
        snprintf(row, sizeof row, "<td><a href=\"./%s\"><bdi>%s</bdi></a></td>", rows[i].link, rows[i].text);
        tree_add_file(&scene.tree, name, "");
        page();
        assert_page_has(row);
        tree_unlink(&scene.tree, name);
    }
}

static void title_is_escaped(void **state)
{
    (void)state;
    static const char title[] = "/<b>&\"\xff'/";
    static const char escaped[] = "Index of /&lt;b&gt;&amp;&quot;\xef\xbf\xbd&#39;/</title>";
    assert_int_equal(make((struct listing){.title = title}), 0);
    assert_page_has(escaped);
    assert_page_has("<h1>Index of <bdi>/&lt;b&gt;&amp;&quot;\xef\xbf\xbd&#39;/</bdi></h1>");
    assert_page_lacks("<b>");
}

static void parent_is_linked_on_demand(void **state)
{
    (void)state;
    page();
    assert_page_lacks("../");
    assert_int_equal(make((struct listing){.has_parent = true}), 0);
    assert_page_has("<td><a href=\"../\">Parent directory</a></td>");
    assert_string_equal(names(), "");
    assert_page_has("<p>0 entries</p>");
}

static void dot_files_are_listed_on_demand(void **state)
{
    (void)state;
    tree_add_file(&scene.tree, "d/.secret", "");
    tree_add_dir(&scene.tree, "d/.git");
    tree_add_file(&scene.tree, "d/a", "");
    page();
    assert_string_equal(names(), "a ");
    assert_page_has("<p>1 entry</p>");
    assert_int_equal(make((struct listing){.shows_dotfiles = true}), 0);
    assert_string_equal(names(), ".git/ .secret a "); /* "." and ".." never */
}

static void only_what_can_be_asked_for_is_listed(void **state)
{
    (void)state;
    tree_add_file(&scene.tree, "d/file", "12");
    tree_add_file(&scene.tree, "d/.hidden", "123");
    tree_add_dir(&scene.tree, "d/sub");
    tree_add_link(&scene.tree, "d/to-file", "file");
    tree_add_link(&scene.tree, "d/to-dir", "sub");
    tree_add_link(&scene.tree, "d/to-hidden", ".hidden");
    tree_add_link(&scene.tree, "d/to-top", "../d/file");
    tree_add_link(&scene.tree, "d/outside", "../../..");
    tree_add_link(&scene.tree, "d/absolute", "/etc/passwd");
    tree_add_link(&scene.tree, "d/dangling", "none");
    tree_add_link(&scene.tree, "d/loop", "loop");
    tree_must(mkfifoat(scene.tree.fd, "d/fifo", 0666), "fifo");
    tree_add_link(&scene.tree, "d/to-fifo", "fifo");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/d/socket", scene.tree.path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    tree_must(bind(fd, (struct sockaddr *)&address, sizeof address), "bind");
    close(fd);
    page();
    assert_string_equal(names(), "sub/ to-dir/ file to-file to-hidden to-top ");
    assert_page_has("<bdi>to-hidden</bdi></a></td><td>3 B</td>"); /* of what it leads to */
}

static void top_directory_can_be_listed(void **state)
{
    (void)state;
    tree_add_link(&scene.tree, "link", "d");
    assert_int_equal(make((struct listing){.path = "", .title = "/"}), 0);
    assert_string_equal(names(), "d/ link/ ");
}

static void add_files(int count)
{
    for (int i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof name, "d/f%05d", i * 7919 % count); /* in no order */
        tree_add_file(&scene.tree, name, "");
    }
}

static void directory_is_shown_up_to_the_bound_and_one_past_it_is_cut(void **state)
{
    (void)state;
    add_files(100);
    tree_add_dir(&scene.tree, "d/sub");
    assert_int_equal(make((struct listing){.rows_max = 101}), 0);
    assert_false(scene.is_cut);
    assert_int_equal(scene.rows, 101);
    assert_page_has("<p>101 entries</p>");
    assert_page_lacks("listing-cut");
    assert_int_equal(make((struct listing){.rows_max = 100}), 0);
    assert_true(scene.is_cut);
    assert_int_equal(scene.rows, 100);
    assert_page_has("<p>100 entries shown; there are more in this directory</p>");
    assert_page_has("<meta name=\"listing-cut\" content=\"100\">\n");
    assert_page_lacks("f00099"); /* the last in order */
    assert_int_equal(make((struct listing){.rows_max = 3}), 0);
    assert_string_equal(names(), "sub/ f00000 f00001 ");
    assert_int_equal(make((struct listing){.rows_max = 1}), 0);
    assert_string_equal(names(), "sub/ ");
}

static void large_directory_is_complete_in_order_and_made_in_steps(void **state)
{
    (void)state;
    add_files(2500);
    fake_sys_clear_trace();
    page();
    assert_int_equal(scene.rows, 2500);
    const char *at = scene.page;
    for (int i = 0; i < 2500; i++) {
        char row[32];
        snprintf(row, sizeof row, "<bdi>f%05d<", i);
        at = strstr(at, row);
        assert_non_null(at);
    }
    assert_in_range(scene.steps, 10, 30);
    assert_in_range(fake_sys_count(FAKE_STAT_AT), 2500, 2500); /* one look for each row */
    assert_int_equal(make((struct listing){.rows_max = 10}), 0);
    assert_in_range(fake_sys_count(FAKE_STAT_AT), 2510, 2510); /* and none for those that are left out */
}

/* The longest name, each byte as long as it can become in text and in a link. */
static void row_has_a_bound(void **state)
{
    (void)state;
    page();
    size_t empty = scene.len;
    char name[258] = "d/";
    memset(name + 2, '"', 255);
    tree_add_file(&scene.tree, name, "");
    page();
    assert_in_range(scene.len - empty, 2000, 2600);
}

static void directory_without_kinds_is_looked_at(void **state)
{
    (void)state;
    /* A link is resolved when it is read; what it leads to may be anything by then. */
    tree_add_dir(&scene.tree, "d/sub");
    tree_add_file(&scene.tree, "d/file", "12345");
    tree_add_link(&scene.tree, "d/to_dir", "sub");
    tree_add_link(&scene.tree, "d/to_file", "file");
    tree_add_link(&scene.tree, "d/to_nothing", "none");
    page();
    assert_string_equal(names(), "sub/ to_dir/ file to_file ");
    assert_page_has("<bdi>to_file</bdi></a></td><td>5 B</td>");
}

static void directories_that_cannot_be_listed_are_errors(void **state)
{
    (void)state;
    tree_add_file(&scene.tree, "d/file", "");
    tree_add_link(&scene.tree, "d/out", "../..");
    assert_int_equal(make((struct listing){.path = "none"}), -ENOENT);
    assert_int_equal(make((struct listing){.path = "d/file"}), -ENOTDIR);
    assert_int_equal(make((struct listing){.path = "d/out"}), -EXDEV);
    assert_int_equal(make((struct listing){.path = "d/.."}), 0); /* as the kernel reads it; it stays beneath the root */
    fake_sys_fail_op(FAKE_READ_DIR, 0, 1, -EIO);
    assert_int_equal(make((struct listing){0}), -EIO);
    fake_sys_fail_op(FAKE_READ_DIR, 0, 2, -EINTR);
    fake_sys_fail_op(FAKE_OPEN_BENEATH, 0, 2, -EINTR);
    assert_int_equal(make((struct listing){0}), 0);
    assert_string_equal(names(), "file ");
}

static void entry_that_disappears_is_left_out(void **state)
{
    (void)state;
    tree_add_file(&scene.tree, "d/a", "");
    tree_add_file(&scene.tree, "d/b", "");
    fake_sys_fail_op(FAKE_STAT_AT, 0, 1, -ENOENT);
    page();
    assert_page_has("<p>1 entry</p>");
}

static void every_failing_allocation_leaves_nothing_behind(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++) {
        char name[32];
        snprintf(name, sizeof name, "d/f%d", i);
        tree_add_file(&scene.tree, name, "");
    }
    tree_add_link(&scene.tree, "d/link", "f1");
    struct listing listing = {.root_fd = scene.tree.fd, .path = "d", .title = "/", .title_len = 1, .rows_max = 100};
    bool failed = true;
    int forgiven = 0;
    uint64_t n = 1;
    for (; failed; n++) {
        fake_mem_fail_after(n, false);
        int rv = run(&listing);
        failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        forgiven += failed && rv == 0; /* the page keeps more room than it needs */
        assert_true(rv == (failed ? -ENOMEM : 0) || forgiven == 1);
        mem_free(scene.page);
        scene.page = NULL;
        assert_int_equal(fake_mem_live(), 0);
        assert_int_equal(fake_sys_open_fds(), 0);
    }
    assert_true(n > 43);
}

static void every_failing_system_call_leaves_nothing_behind(void **state)
{
    (void)state;
    tree_add_file(&scene.tree, "d/f", "");
    tree_add_link(&scene.tree, "d/link", "f");
    struct listing listing = {.root_fd = scene.tree.fd, .path = "d", .title = "/", .title_len = 1, .rows_max = 100};
    bool failed = true;
    int errors = 0;
    for (uint64_t n = 1; failed; n++) {
        fake_sys_fail(n, -EIO);
        errors += run(&listing) < 0 ? 1 : 0;
        failed = fake_sys_failed();
        fake_sys_fail(0, 0);
        mem_free(scene.page);
        scene.page = NULL;
        assert_int_equal(fake_mem_live(), 0);
        assert_int_equal(fake_sys_open_fds(), 0);
    }
    assert_true(errors >= 3); /* open, and two reads */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(directories_come_first_then_names_without_regard_to_case),
        TEST(many_entries_are_in_order),
        TEST(rows_have_link_size_and_date),
        TEST(sizes_are_short),
        TEST(names_are_text_and_links_and_nothing_else),
        TEST(title_is_escaped),
        TEST(parent_is_linked_on_demand),
        TEST(dot_files_are_listed_on_demand),
        TEST(only_what_can_be_asked_for_is_listed),
        TEST(top_directory_can_be_listed),
        TEST(directory_is_shown_up_to_the_bound_and_one_past_it_is_cut),
        TEST(large_directory_is_complete_in_order_and_made_in_steps),
        TEST(row_has_a_bound),
        TEST(directory_without_kinds_is_looked_at),
        TEST(directories_that_cannot_be_listed_are_errors),
        TEST(entry_that_disappears_is_left_out),
        TEST(every_failing_allocation_leaves_nothing_behind),
        TEST(every_failing_system_call_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
