/* Happy path: lines of the log are held until the verdict on their case comes: "ok" drops them, and behind "not ok" and
 * what follows it they are shown.
 *
 * Failure modes: a standard output that cannot be written is exit status 1. */

#include "core/program/test_report.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void test_report_log(struct test_report *report, const char *line)
{
    size_t len = strlen(line);
    pthread_mutex_lock(&report->lock);
    if (len < sizeof report->held - report->held_len) {
        memcpy(report->held + report->held_len, line, len);
        report->held_len += len;
        report->held[report->held_len++] = '\n';
    } else {
        report->lost++;
    }
    pthread_mutex_unlock(&report->lock);
}

/* Show what is held, as comments, and forget it. */
static void flush_log(struct test_report *report, bool is_shown)
{
    pthread_mutex_lock(&report->lock);
    const char *at = report->held, *end = report->held + report->held_len;
    while (is_shown && at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        printf("#   log: %.*s\n", (int)(newline - at), at);
        at = newline + 1;
    }
    if (is_shown && report->lost > 0) {
        printf("#   log: %u lines more\n", report->lost);
    }
    report->held_len = 0;
    report->lost = 0;
    pthread_mutex_unlock(&report->lock);
}

static void print_report_line(void *arg, const char *text)
{
    bool is_bad = strncmp(text, "not ok ", 7) == 0;
    puts(text);
    if (is_bad || strncmp(text, "ok ", 3) == 0) {
        flush_log(arg, is_bad);
    }
    fflush(stdout);
}

int test_report_run(struct test_report *report, const struct evserve_config *config, const char *path, const char *only,
                    char *err, size_t errlen)
{
    pthread_mutex_init(&report->lock, NULL);
    int failed = evserve_test(config, path, only, print_report_line, report, err, errlen);
    flush_log(report, failed < 0);
    pthread_mutex_destroy(&report->lock);
    return failed == 0 && fflush(stdout) == 0 && !ferror(stdout) ? EXIT_SUCCESS : EXIT_FAILURE;
}
