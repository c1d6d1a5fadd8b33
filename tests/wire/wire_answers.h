#ifndef EVSERVE_TESTS_WIRE_ANSWERS_H
#define EVSERVE_TESTS_WIRE_ANSWERS_H

/* A strict reader of what a server sent: the oracle for framing. */

#include <stdbool.h>
#include <stddef.h>

enum { ANSWERS_MAX = 160, ANSWER_BODY_MAX = 1 << 20 };

struct answer {
    int status;
    const char *head; /* status line and field lines, within the output */
    size_t head_len;
    char *body; /* content without chunk framing; owned */
    size_t body_len;
};

struct answers {
    struct answer list[ANSWERS_MAX]; /* final answers */
    size_t count;
    int interim;     /* 1xx answers that came before them */
    bool is_cut;     /* the output ends within the content of the last one */
    char error[256]; /* what is malformed, or empty */
};

/* Read all answers of output. is_head[n] says that the n-th request was HEAD (n below ANSWERS_MAX), is_closed that the
 * connection ended after output. The heads point into output. */
void answers_read(struct answers *answers, const char *output, size_t len, const bool *is_head, bool is_closed);
void answers_done(struct answers *answers);

/* Whether an error says no more than that the output ends too early, which it may where the connection does. */
bool answers_lack_their_end(const char *error);

/* Whether line, without CRLF, stands in the head. */
bool answer_has(const struct answer *answer, const char *line, size_t len);

#endif
