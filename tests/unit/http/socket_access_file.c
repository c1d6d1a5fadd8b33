/* http/access_file.c on real files, pipes and sockets: whole lines whatever the kernel takes, reopening, and what is
 * said of lines that are lost. */

#include "http/access_file.h"

#include "core/log.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/evserve-access-XXXXXX";
static char said[4096];

static void keep_line(void *arg, int level, const char *line)
{
    (void)arg;
    (void)level;
    size_t used = strlen(said);
    snprintf(said + used, sizeof said - used, "%s\n", line);
}

static const struct log access_log = {.sink = keep_line, .level = LOG_INFO};

static const char *name(const char *file)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    return path;
}

static struct access_file *open_file(const char *target)
{
    struct access_file *file = NULL;
    char err[512] = "";
    said[0] = '\0';
    if (access_file_open(&file, target, 0, &access_log, err, sizeof err) < 0) {
        fail_msg("%s", err);
    }
    return file;
}

static const char *content(const char *path)
{
    static char text[1 << 17];
    int fd = open(path, O_RDONLY);
    ssize_t len = read(fd, text, sizeof text - 1);
    close(fd);
    text[len < 0 ? 0 : len] = '\0';
    return text;
}

static size_t put(struct access_file *file, const char *text, int64_t now_ms)
{
    return access_file_write(file, text, strlen(text), now_ms);
}

static void lines_are_appended_with_the_rights_of_a_log(void **state)
{
    (void)state;
    struct stat st;
    char path[256];
    strcpy(path, name("a.log"));
    struct access_file *file = open_file(path);
    assert_int_equal(put(file, "one\ntwo\n", 0), 8);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777 & ~0640U, 0);
    assert_int_equal(truncate(path, 0), 0); /* copytruncate */
    assert_int_equal(put(file, "three\n", 0), 6);
    assert_string_equal(content(path), "three\n");
    access_file_put(file);
    file = open_file(path);
    put(file, "four\n", 0);
    assert_string_equal(content(path), "three\nfour\n");
    access_file_put(file);
}

static void renamed_file_is_left_when_it_is_reopened(void **state)
{
    (void)state;
    char path[256], old[256], err[512];
    strcpy(path, name("b.log"));
    strcpy(old, name("b.log.1"));
    struct access_file *file = open_file(path);
    put(file, "one\n", 0);
    assert_int_equal(rename(path, old), 0);
    put(file, "two\n", 0);
    assert_int_equal(access_file_reopen(file, err, sizeof err), 0);
    put(file, "three\n", 0);
    assert_string_equal(content(old), "one\ntwo\n");
    assert_string_equal(content(path), "three\n");
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0); /* what cannot be opened leaves the old one in use */
    assert_int_equal(access_file_reopen(file, err, sizeof err), -EISDIR);
    assert_non_null(strstr(err, "b.log: it is a directory"));
    assert_int_equal(put(file, "four\n", 0), 5);
    rmdir(path);
    access_file_put(file);
}

static void mistakes_name_the_log(void **state)
{
    (void)state;
    static const struct {
        const char *target, *why;
    } cases[] = {
        {"/nowhere/at/all/a.log", "cannot open the access log /nowhere/at/all/a.log: its directory does not exist"},
        {"/tmp", "cannot open the access log /tmp: it is a directory"},
        {"syslog",
         "cannot open the access log syslog: \"stdout\" or \"syslog:\" expected; a file of that name is written "
         "./syslog"},
        {"stderr",
         "cannot open the access log stderr: \"stdout\" or \"syslog:\" expected; a file of that name is written "
         "./stderr"},
        {"syslog:server=unix:/nowhere/log",
         "cannot open the access log syslog:server=unix:/nowhere/log: no syslog daemon at /nowhere/log: No such file or "
         "directory"},
        {"syslog:facility=local9",
         "access log syslog:facility=local9: \"facility=local9\" is none of server=unix:PATH, facility=NAME (such as local7 or "
         "daemon), severity=NAME (such as info) and tag=NAME (letters, digits, _ . -, at most 32)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct access_file *file = NULL;
        char err[512] = "";
        assert_true(access_file_open(&file, cases[i].target, 0, NULL, err, sizeof err) < 0);
        assert_string_equal(err, cases[i].why);
        err[0] = '\0';
        assert_true(access_file_check(cases[i].target, 0, err, sizeof err) < 0);
        assert_string_equal(err, cases[i].why);
    }
    char err[512];
    struct access_file *file = NULL;
    assert_int_equal(symlink("/nowhere/file", name("link")), 0);
    assert_int_equal(access_file_open(&file, name("link"), 0, NULL, err, sizeof err), -EEXIST);
    assert_int_equal(mkfifo(name("fifo"), 0600), 0);
    assert_int_equal(access_file_open(&file, name("fifo"), 0, NULL, err, sizeof err), -ENXIO);
}

static void full_pipe_takes_whole_lines_and_the_log_says_it_once(void **state)
{
    (void)state;
    char path[256], block[8192], err[64];
    strcpy(path, name("pipe"));
    assert_int_equal(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    struct access_file *file = open_file(path);
    assert_int_equal(access_file_line_max(file), ACCESS_PIPE_LINE_MAX);
    for (size_t i = 0; i < sizeof block; i++) {
        block[i] = i % 100 == 99 ? '\n' : (char)('a' + i % 26);
    }
    size_t len = sizeof block / 100 * 100, total = 0, done;
    do {
        done = access_file_write(file, block, len, 0);
        assert_int_equal(done % 100, 0);
        total += done;
    } while (done == len);
    assert_true(total > 30000);
    assert_string_equal(said, "");
    access_file_lose(file, 5, 0);
    access_file_lose(file, 6, 1000);
    snprintf(err, sizeof err, "lines of the access log %.20s", path);
    assert_non_null(strstr(said, "are lost: its reader does not keep up\n"));
    said[0] = '\0';
    size_t taken = 0;
    ssize_t got;
    while ((got = read(reader, block, 100)) > 0) {
        assert_int_equal(got, 100);
        assert_int_equal(block[99], '\n');
        taken += (size_t)got;
    }
    assert_int_equal(taken, total);
    put(file, "x\n", ACCESS_SAY_MS - 1);
    assert_string_equal(said, "");
    put(file, "x\n", ACCESS_SAY_MS);
    assert_non_null(strstr(said, "is written again: 11 lines were lost\n"));
    close(reader);
    assert_int_equal(put(file, "x\n", 0), 0); /* and no SIGPIPE */
    access_file_put(file);
}

/* A file that may not grow is a disk that is full, but for the error. */
static void full_disk_leaves_a_torn_line_that_no_line_continues(void **state)
{
    (void)state;
    char path[256];
    strcpy(path, name("full.log"));
    struct rlimit before, limit = {.rlim_cur = 10};
    getrlimit(RLIMIT_FSIZE, &before);
    limit.rlim_max = before.rlim_max;
    setrlimit(RLIMIT_FSIZE, &limit);
    struct access_file *file = open_file(path); /* no SIGXFSZ either */
    assert_int_equal(put(file, "first\nsecond\nthird\n", 0), 13);
    assert_string_equal(content(path), "first\nseco");
    assert_non_null(strstr(said, "are lost: No space left on device\n"));
    assert_int_equal(put(file, "third\n", 0), 0);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(put(file, "third\n", ACCESS_SAY_MS), 6);
    assert_string_equal(content(path), "first\nseco\nthird\n");
    assert_non_null(strstr(said, "is written again: 1 line was lost\n"));
    access_file_put(file);
}

static void syslog_gets_a_datagram_for_each_line(void **state)
{
    (void)state;
    char target[256], datagram[256];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%.100s", name("log"));
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    snprintf(target, sizeof target, "syslog:server=unix:%s,facility=local0,severity=notice,tag=web", address.sun_path);
    struct access_file *file = open_file(target);
    assert_int_equal(put(file, "one\ntwo\n", 0), 8);
    ssize_t len = recv(fd, datagram, sizeof datagram - 1, 0);
    assert_true(len > 0);
    datagram[len] = '\0';
    assert_memory_equal(datagram, "<133>", 5);
    assert_string_equal(datagram + 20, " web: one");
    assert_true(recv(fd, datagram, sizeof datagram - 1, 0) == len);
    close(fd);
    assert_int_equal(put(file, "three\n", 0), 0);
    access_file_put(file);
}

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_appended_with_the_rights_of_a_log),
        cmocka_unit_test(renamed_file_is_left_when_it_is_reopened),
        cmocka_unit_test(mistakes_name_the_log),
        cmocka_unit_test(full_pipe_takes_whole_lines_and_the_log_says_it_once),
        cmocka_unit_test(full_disk_leaves_a_torn_line_that_no_line_continues),
        cmocka_unit_test(syslog_gets_a_datagram_for_each_line),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
