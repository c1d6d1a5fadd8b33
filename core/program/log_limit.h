#ifndef EVSERVE_CORE_PROGRAM_LOG_LIMIT_H
#define EVSERVE_CORE_PROGRAM_LOG_LIMIT_H

/* Lines that come too often: of those from one place (struct log_subject) at most LOG_LIMIT_LINES are written in a
 * second, and one more says how many were not. Lines without a place, and debug lines, are always written. No locks:
 * the caller has one. */

#include "core/log.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    LOG_LIMIT_LINES = 10, /* of one place that are written in one span */
    LOG_LIMIT_SPAN_MS = 1000,
    LOG_LIMIT_PLACES = 64,    /* that are watched at the same time; with more, the one that is over first gives way */
    LOG_LIMIT_TEXT_MAX = 160, /* bytes of the line that stands for those that were not written, with its NUL */
};

struct log_limit_place {
    const void *place;
    int64_t until_ms;              /* when its span is over */
    unsigned count;                /* lines in it */
    int level;                     /* of the line below */
    char text[LOG_LIMIT_TEXT_MAX]; /* begin of the first line that was not written */
};

/* Zeros at first. */
struct log_limit {
    struct log_limit_place places[LOG_LIMIT_PLACES];
    unsigned used;   /* places that are not free */
    unsigned hiding; /* places that have lines to be counted */
};

/* What writes the line that counts the others: "312 more lines like this within a second: ...". */
typedef void (*log_limit_report_fn)(void *arg, const struct log_entry *entry);

/* Whether a line may be written now. May report on others first. */
bool log_limit_take(struct log_limit *limit, const struct log_entry *entry, int64_t now_ms, log_limit_report_fn report,
                    void *arg);

/* Report on the places whose span is over; with INT64_MAX on all of them. Due while limit->hiding is not 0. */
void log_limit_expire(struct log_limit *limit, int64_t now_ms, log_limit_report_fn report, void *arg);

#endif
