/* http/access_hosts.c: which hosts share a log, how many there may be, and where lines go. The files are real ones. */

#include "tests/lib/server_scene.h"

#include "http/access_file.h"
#include "http/access_format.h"
#include "http/access_hosts.h"
#include "http/access_log.h"

#include "tests/lib/fake_mem.h"

#include <fcntl.h>
#include <unistd.h>

static struct vhost *add_named(const char *name, const char *target, const char *format)
{
    static const struct handler handler = {.serve = serve_text, .ctx = hello_text};
    struct vhost *vhost = NULL;
    char err[512] = "";
    assert_int_equal(site_add_host(scene.site, "site.lua:7", &vhost), 0);
    assert_int_equal(vhosts_add_name(scene.site->hosts, vhost, name, err, sizeof err), 0);
    assert_int_equal(router_add(vhost->router, METHOD_BIT(METHOD_GET), "/", &handler, "", err, sizeof err), 0);
    assert_int_equal(vhost_set_access_log(vhost, target), 0);
    assert_int_equal(format == NULL ? 0 : vhost_set_access_format(vhost, format, err, sizeof err), 0);
    return vhost;
}

static void set_site(const char *target, const char *format)
{
    char err[512] = "";
    assert_int_equal(site_set_access_log(scene.site, target), 0);
    assert_int_equal(format == NULL ? 0 : site_set_access_format(scene.site, format, err, sizeof err), 0);
}

static void settle_logs(int wanted, const char *text)
{
    char err[512] = "";
    assert_int_equal(access_hosts_settle(&scene.site->access_hosts, scene.site, err, sizeof err), wanted);
    assert_string_equal(err, text);
}

static void hosts_share_logs_of_one_file_and_format(void **state)
{
    (void)state;
    set_site("/all", "json");
    add_named("none", NULL, NULL);
    add_named("same", "/all", NULL);
    add_named("same2", "/all", "json");
    add_named("off", "off", "combined");
    settle_logs(0, "");
    assert_null(scene.site->access_hosts);
    add_named("a", "/a", NULL);
    add_named("b", "/a", "json");
    add_named("c", "/a", "combined");
    add_named("d", NULL, "combined");
    settle_logs(0, "");
    const struct access_hosts *hosts = scene.site->access_hosts;
    assert_int_equal(hosts->count, 3);
    assert_string_equal(hosts->list[0].target, "/a");
    assert_string_equal(hosts->list[0].text, "json");
    assert_string_equal(hosts->list[1].text, "combined");
    assert_string_equal(hosts->list[2].target, "/all");
    assert_true(access_hosts_are_timed(hosts)); /* json is */
    assert_false(access_hosts_are_timed(NULL));
}

static void site_without_a_log_leaves_formats_alone(void **state)
{
    (void)state;
    add_named("a", NULL, "json");
    settle_logs(0, "");
    assert_null(scene.site->access_hosts);
    set_site("off", NULL);
    settle_logs(0, "");
    assert_null(scene.site->access_hosts);
    add_named("b", "/b", NULL);
    settle_logs(0, "");
    assert_int_equal(scene.site->access_hosts->count, 1);
    assert_int_equal(site_silence(scene.site), 0);
    access_hosts_destroy(scene.site->access_hosts);
    settle_logs(0, "");
    assert_null(scene.site->access_hosts);
}

static void full_list_refuses_one_more_by_name(void **state)
{
    (void)state;
    char name[16], target[16];
    for (int i = 0; i < ACCESS_HOSTS_MAX; i++) {
        snprintf(name, sizeof name, "h%d", i);
        snprintf(target, sizeof target, "/%d", i);
        add_named(name, target, NULL);
    }
    add_named("again", "/7", NULL);
    settle_logs(0, "");
    assert_int_equal(scene.site->access_hosts->count, ACCESS_HOSTS_MAX);
    access_hosts_destroy(scene.site->access_hosts);
    scene.site->access_hosts = NULL;
    add_named("last", "/last", NULL);
    settle_logs(-ENOSPC, "site.lua:7: the host last: its access log /last is one too many: hosts have at most 64 "
                         "different ones; let several write to one file, with $host in its format");
    assert_null(scene.site->access_hosts);
}

static void settling_without_memory_leaves_nothing(void **state)
{
    (void)state;
    char err[512];
    add_named("a", "/a", NULL);
    add_named("b", "/b", NULL);
    uint64_t n = 1;
    for (int rv = -ENOMEM; rv < 0; n++) {
        fake_mem_fail_after(n, false);
        rv = access_hosts_settle(&scene.site->access_hosts, scene.site, err, sizeof err);
        fake_mem_fail_after(0, false);
        assert_true(rv == 0 || (rv == -ENOMEM && scene.site->access_hosts == NULL));
    }
    assert_true(n > 3);
}

static const char *read_file(const char *path)
{
    static char lines[4096];
    int fd = open(path, O_RDONLY);
    ssize_t len = read(fd, lines, sizeof lines - 1);
    close(fd);
    unlink(path);
    assert_true(len >= 0);
    lines[len] = '\0';
    return lines;
}

static struct access_file *open_file(char path[64], int number)
{
    char err[512] = "";
    struct access_file *file = NULL;
    snprintf(path, 64, "/tmp/evserve-hosts-%d-%d.log", (int)getpid(), number);
    unlink(path);
    if (access_file_open(&file, path, 0, &scene.log, err, sizeof err) < 0) {
        fail_msg("%s", err);
    }
    return file;
}

static void lines_go_to_the_log_of_the_host(void **state)
{
    (void)state;
    char all[64], own[64], err[512] = "";
    struct access_log *log;
    struct access_format *format;
    struct access_file *all_file = open_file(all, 0), *own_file = open_file(own, 1);
    set_site(all, "all $host");
    struct vhost *one = add_named("one.example", own, "own $host $status");
    add_named("two.example", own, "own $host $status");
    add_named("three.example", NULL, NULL);
    settle_logs(0, "");
    struct access_host *host = &scene.site->access_hosts->list[0];
    fake_mem_fail_after(2, false);
    assert_int_equal(access_hosts_open(scene.site, host, own_file, scene.reactor), -ENOMEM);
    fake_mem_fail_after(0, false);
    assert_null(one->access);
    assert_int_equal(access_hosts_open(scene.site, host, own_file, scene.reactor), 0);
    scene_begin();
    assert_int_equal(access_format_parse(&format, "all $host", err, sizeof err), 0);
    assert_int_equal(access_log_create(&log, scene.reactor), 0);
    assert_int_equal(access_log_change(log, all_file, format), 0);
    access_format_put(format);
    service_set_access(server_service(scene.server), log, false);
    struct fake_peer *peer = client();
    say(peer,
        "GET / HTTP/1.1\r\nHost: one.example\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"
        "GET / HTTP/1.1\r\nHost: two.example\r\n\r\nGET / HTTP/1.1\r\nHost: three.example\r\n\r\nno head\r\n\r\n");
    access_hosts_flush(scene.site->access_hosts);
    access_log_flush(log);
    server_destroy(scene.server);
    scene.server = NULL;
    access_log_destroy(log);
    access_file_put(all_file);
    access_file_put(own_file);
    assert_string_equal(read_file(own), "own one.example 200\nown two.example 200\n");
    assert_string_equal(read_file(all), "all x\nall three.example\nall -\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(hosts_share_logs_of_one_file_and_format), SCENE_TEST(site_without_a_log_leaves_formats_alone),
        SCENE_TEST(full_list_refuses_one_more_by_name),      SCENE_TEST(settling_without_memory_leaves_nothing),
        SCENE_TEST(lines_go_to_the_log_of_the_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
