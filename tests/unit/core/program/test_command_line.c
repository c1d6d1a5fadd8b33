/* core/program/command_line.c: what the options of evserve become, and which of them exclude each other. */

#include "core/program/command_line.h"

#include "evserve.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { ARGUMENTS_MAX = 16 };

static char complaint[512]; /* what the last read() wrote to standard error */

/* Read a command line whose arguments are separated by blanks. */
static int read_line(const char *text, struct command_line *options)
{
    static char line[8192];
    static char *argv[ARGUMENTS_MAX + 1]; /* pack_paths leads into it */
    int argc = 1;
    int pipe_fds[2];
    memset(argv, 0, sizeof argv);
    argv[0] = "evserve";
    snprintf(line, sizeof line, "%s", text);
    for (char *at = strtok(line, " "); at != NULL && argc < ARGUMENTS_MAX; at = strtok(NULL, " ")) {
        argv[argc++] = at;
    }
    *options = (struct command_line){0};
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK), 0);
    fflush(stderr);
    int kept = dup(STDERR_FILENO);
    dup2(pipe_fds[1], STDERR_FILENO);
    int rv = command_line_read(argc, argv, options);
    fflush(stderr);
    dup2(kept, STDERR_FILENO);
    ssize_t len = read(pipe_fds[0], complaint, sizeof complaint - 1);
    complaint[len < 0 ? 0 : len] = '\0';
    close(kept);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    return rv;
}

static void without_options_it_is_the_folder_public(void **state)
{
    (void)state;
    struct command_line options;
    assert_int_equal(read_line("", &options), -1);
    assert_string_equal(options.root, "public");
    assert_null(options.script);
    assert_int_equal(read_line("site.lua", &options), -1);
    assert_null(options.root);
    assert_string_equal(options.script, "site.lua");
    assert_int_equal(read_line("-", &options), -1);
    assert_string_equal(options.script, "/dev/stdin");
}

static void packing_takes_a_script_paths_and_an_output(void **state)
{
    (void)state;
    struct command_line options;
    assert_int_equal(read_line("--pack site.lua -o board public lib", &options), -1);
    assert_true(options.pack);
    assert_string_equal(options.script, "site.lua");
    assert_string_equal(options.output, "board");
    assert_int_equal(options.pack_count, 2);
    assert_string_equal(options.pack_paths[0], "public");
    assert_string_equal(options.pack_paths[1], "lib");
    assert_int_equal(read_line("--pack site.lua", &options), EXIT_USAGE);
    assert_non_null(strstr(complaint, "--pack needs a script and the file to write"));
    assert_int_equal(read_line("--pack -o x", &options), EXIT_USAGE);
    assert_int_equal(read_line("--pack - -o x", &options), EXIT_USAGE);
    assert_int_equal(read_line("-o x site.lua", &options), EXIT_USAGE);
    assert_non_null(strstr(complaint, "-o requires --pack"));
    assert_int_equal(read_line("--pack site.lua -o", &options), EXIT_USAGE);
    assert_non_null(strstr(complaint, "-o needs a value"));
    assert_int_equal(read_line("--pack --check site.lua -o x", &options), EXIT_USAGE);
    assert_non_null(strstr(complaint, "exclude each other"));
}

static void slow_is_a_time(void **state)
{
    (void)state;
    static const char *const refused[] = {"1", "1x", "25h", "-1s"};
    struct command_line options;
    char line[64], text[128];
    assert_int_equal(read_line("--log-slow 24h", &options), -1);
    assert_int_equal(options.log_slow_ms, 86400000);
    assert_int_equal(read_line("--log-slow 0", &options), -1);
    assert_true(options.log_slow_ms == EVSERVE_ZERO);
    assert_int_equal(read_line("", &options), -1);
    assert_int_equal(options.log_slow_ms, 0);
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        snprintf(line, sizeof line, "--log-slow %s", refused[i]);
        snprintf(text, sizeof text, "--log-slow expects a time from 1ms to 24h, such as 1s, or 0 for none, not \"%s\"",
                 refused[i]);
        assert_int_equal(read_line(line, &options), EXIT_USAGE);
        assert_non_null(strstr(complaint, text));
    }
}

static void options_that_are_repeated_become_lists(void **state)
{
    (void)state;
    struct command_line options;
    assert_int_equal(read_line("--listen :80 --listen unix:/x --sandbox=require --allow-read /a --allow-read /b "
                               "--allow-write /c --allow-connect example.org:443 --allow-connect unix:/x",
                               &options),
                     -1);
    assert_string_equal(options.listen, ":80,unix:/x");
    assert_true(options.has_listen);
    assert_string_equal(options.allow_read, "/a:/b");
    assert_string_equal(options.allow_write, "/c");
    assert_string_equal(options.allow_connect, "example.org:443,unix:/x");
    assert_true(command_line_add_listen(&options, "fd:3"));
    assert_string_equal(options.listen, ":80,unix:/x,fd:3");
    static char address[LISTEN_TEXT_MAX];
    memset(address, 'a', sizeof address - 1);
    assert_false(command_line_add_listen(&options, address));
    assert_string_equal(options.listen, ":80,unix:/x,fd:3");
}

static void access_log_is_checked_as_far_as_it_can_be_without_opening_it(void **state)
{
    (void)state;
    struct command_line options;
    assert_int_equal(read_line("--access-log /var/log/a.log --access-log-format $status", &options), -1);
    assert_string_equal(options.access_log, "/var/log/a.log");
    assert_string_equal(options.access_log_format, "$status");
    assert_int_equal(read_line("--access-log ./stderr --access-log-format json", &options), -1);
    assert_int_equal(read_line("--access-log=", &options), 2);
    assert_non_null(strstr(complaint, "--access-log expects a file, stdout, syslog: or off, not \"\";"));
    assert_int_equal(read_line("--access-log stderr", &options), 2);
    assert_non_null(strstr(complaint, "not \"stderr\"; a file of that name is written with ./ before it"));
    assert_int_equal(read_line("--access-log syslog", &options), 2);
    assert_int_equal(read_line("--access-log off --access-log-format=", &options), 2);
    assert_non_null(strstr(complaint, "--access-log-format: a format of 1 to 1024 bytes expected, got 0"));
    assert_int_equal(read_line("--access-log off --access-log-format $statu", &options), 2);
    assert_non_null(strstr(complaint, "--access-log-format: unknown variable $statu at character 1 (did you mean "
                                      "$status?)"));
}

static void certificate_for_development_takes_names_behind_an_equals_sign(void **state)
{
    (void)state;
    struct command_line options;
    assert_int_equal(read_line("--tls-dev a.lua", &options), -1);
    assert_true(options.has_tls_dev);
    assert_string_equal(options.tls_dev, "");
    assert_string_equal(options.script, "a.lua");
    assert_int_equal(read_line("--tls-dev=a.test,b.test --tls-dev --tls-dev=10.0.0.1 --tls-dev-anywhere", &options),
                     -1);
    assert_string_equal(options.tls_dev, "a.test,b.test,10.0.0.1");
    assert_true(options.tls_dev_anywhere);
    assert_int_equal(read_line("", &options), -1);
    assert_false(options.has_tls_dev || options.tls_dev_anywhere);
}

static void names_for_development_have_a_limit(void **state)
{
    (void)state;
    struct command_line options;
    char line[2 * TLS_DEV_TEXT_MAX] = "--tls-dev=";
    size_t at = strlen(line);
    for (size_t len = 0; len < TLS_DEV_TEXT_MAX - 1; len++) {
        line[at + len] = len % 200 == 199 ? ',' : 'a';
    }
    assert_int_equal(read_line(line, &options), -1);
    strcat(line, "a");
    assert_int_equal(read_line(line, &options), EXIT_USAGE);
    assert_non_null(strstr(complaint, "4095 bytes"));
}

static void request_takes_its_details(void **state)
{
    (void)state;
    struct command_line options;
    assert_int_equal(read_line("--request /users --header A:1 --header B:2 --body @f --timeout 7 site.lua", &options),
                     -1);
    assert_string_equal(options.request, "/users");
    assert_int_equal(options.header_count, 2);
    assert_string_equal(options.headers[1], "B:2");
    assert_string_equal(options.body, "@f");
    assert_int_equal(options.timeout_s, 7);
}

static void what_makes_no_sense_is_a_usage_error_that_names_it(void **state)
{
    (void)state;
    static const struct {
        const char *line, *part;
    } rows[] = {
        {"--unknown", "--unknown"},
        {"--listen", "--listen"},
        {"--reactors 0", "--reactors"},
        {"--reactors many", "\"many\""},
        {"--sandbox=maybe", "\"maybe\""},
        {"--allow-read /a", "--sandbox"},
        {"--sandbox --allow-read a:b", "\"a:b\""},
        {"--check --routes", "--check"},
        {"--check --request /", "--request"},
        {"--check --test t.lua site.lua", "--test"},
        {"--request / --test t.lua site.lua", "--test"},
        {"--test t.lua", "needs the script"},
        {"--test t.lua --listen :80 site.lua", "--listen"},
        {"--test t.lua --reactors 2 site.lua", "--reactors"},
        {"--supervise --test t.lua site.lua", "--supervise"},
        {"--only x site.lua", "--test"},
        {"--header A:1", "--request"},
        {"--body x", "--request"},
        {"--timeout 1", "--request"},
        {"--request / --listen :80", "--listen"},
        {"--request / --reactors 2", "--reactors"},
        {"--request / --header A", "--header"},
        {"--request / --timeout 0", "--timeout"},
        {"--request / --timeout 86401", "86400"},
        {"--tls-dev --tls-cert a.pem", "--tls-cert"},
        {"--tls-dev=a.test,b;c", "\"b;c\""},
        {"--tls-dev-anywhere", "requires --tls-dev"},
        {"a.lua b.lua", "\"b.lua\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct command_line options;
        assert_int_equal(read_line(rows[i].line, &options), EXIT_USAGE);
        if (strstr(complaint, rows[i].part) == NULL) {
            fail_msg("%s: %s", rows[i].line, complaint);
        }
        assert_non_null(strstr(complaint, "; try 'evserve --help'\n"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_options_it_is_the_folder_public),
        cmocka_unit_test(packing_takes_a_script_paths_and_an_output),
        cmocka_unit_test(slow_is_a_time),
        cmocka_unit_test(options_that_are_repeated_become_lists),
        cmocka_unit_test(access_log_is_checked_as_far_as_it_can_be_without_opening_it),
        cmocka_unit_test(certificate_for_development_takes_names_behind_an_equals_sign),
        cmocka_unit_test(names_for_development_have_a_limit),
        cmocka_unit_test(request_takes_its_details),
        cmocka_unit_test(what_makes_no_sense_is_a_usage_error_that_names_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
