#ifndef EVSERVE_CORE_PROGRAM_TEST_REPORT_H
#define EVSERVE_CORE_PROGRAM_TEST_REPORT_H

/* `evserve --test`: the report on standard output. The log of the site is held back: it shows below a case that has
 * failed, and is dropped with one that has passed. */

#include "evserve.h"

#include <pthread.h>
#include <stddef.h>

enum { TEST_REPORT_LOG_MAX = 65536 }; /* bytes of the log that are held for a case; further lines are counted */

struct test_report {
    pthread_mutex_t lock;           /* any thread may log */
    char held[TEST_REPORT_LOG_MAX]; /* lines, each with its newline */
    size_t held_len;                /* of held */
    unsigned lost;                  /* lines that had no room */
};

/* Hold a line of the log. Any thread. */
void test_report_log(struct test_report *report, const char *line);

/* Run the tests at path with a config whose log goes to test_report_log(). Returns the exit status, with a text in err
 * if they could not be run. */
int test_report_run(struct test_report *report, const struct evserve_config *config, const char *path, const char *only,
                    char *err, size_t errlen);

#endif
