#ifndef EVSERVE_TESTS_WIRE_CASE_H
#define EVSERVE_TESTS_WIRE_CASE_H

/* Wire cases as read from a file (README.md has the format), and what a run of one must show. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CASE_STEPS_MAX = 24,
    CASE_STATUSES_MAX = 128,
    CASE_LINES_MAX = 16,
    CASE_LIMITS_MAX = 8,
    CASE_NAME_MAX = 128,
    CASE_PATH_MAX = 64,
};

enum step_kind { STEP_SEND, STEP_WAIT, STEP_END, STEP_TAKE, STEP_FILE };
enum { TAKE_ALL = -1 };

struct wire_step {
    enum step_kind kind;
    char *data; /* of STEP_SEND; of STEP_FILE the new contents or what is added */
    size_t len;
    bool is_fin_alone;        /* of STEP_END: over TLS, without close_notify */
    int64_t wait_ms;          /* of STEP_WAIT */
    int64_t take_bytes;       /* of STEP_TAKE: what the client takes from here on, or TAKE_ALL */
    char change[16];          /* of STEP_FILE: what is done */
    char path[CASE_PATH_MAX]; /* of STEP_FILE: below the changing directory */
    uint64_t size;            /* of STEP_FILE: truncate */
};

struct wire_line {
    char *text;
    size_t len;
    int answer;     /* of body and part: which one, from 1 */
    bool is_part;   /* the content has it somewhere */
    bool is_absent; /* lacks */
};

struct wire_limit {
    char name[32];
    uint64_t value;
};

struct wire_case {
    char name[CASE_NAME_MAX];
    const char *file;
    int line;
    struct wire_step steps[CASE_STEPS_MAX];
    size_t step_count;
    int statuses[CASE_STATUSES_MAX];
    size_t status_count;
    struct wire_line lines[CASE_LINES_MAX]; /* has and lacks */
    size_t line_count;
    struct wire_line bodies[CASE_LINES_MAX];
    size_t body_count;
    struct wire_limit limits[CASE_LIMITS_MAX];
    size_t limit_count;
    int interim;                 /* 100, or 0 for none */
    char etag_of[CASE_PATH_MAX]; /* what {etag} is the tag of */
    bool closes;
    bool is_cut;    /* the last answer ends before its end, with the connection */
    bool may_reset; /* the client sends what it must not: it may lose what it has not read */
    bool whole_only;
    bool has_no_record; /* over TLS no response comes, and the connection is cut */
    bool is_disorderly; /* over TLS it ends without close_notify, though no response is cut */
};

/* Read all cases of a file. Returns how many, with *cases to be freed by wire_cases_free(). A mistake in the file
 * ends the program with file:line and what is wrong. */
size_t wire_cases_read(const char *path, struct wire_case **cases);
void wire_cases_free(struct wire_case *cases, size_t count);

/* The bytes that the client of a case sends, {etag} and the like as they stand. */
struct wire_bytes {
    size_t len;
    size_t line_ends; /* of them */
};
struct wire_bytes wire_case_bytes(const struct wire_case *wire_case);

/* Whether a case has {etag} somewhere; whether it changes files. */
bool wire_case_uses_tag(const struct wire_case *wire_case);
bool wire_case_changes_files(const struct wire_case *wire_case);

/* Whether a case is cut at a position between two of these bytes. A short one is cut everywhere, a long one around line
 * ends, as far as they are few, and otherwise in samples: long cases repeat themselves. */
bool wire_case_is_cut_at(const struct wire_case *wire_case, const struct wire_bytes *bytes, size_t position);

#endif
