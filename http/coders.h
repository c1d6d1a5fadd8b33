#ifndef EVSERVE_HTTP_CODERS_H
#define EVSERVE_HTTP_CODERS_H

/* The coders (core/coder.h) of one thread, which responses borrow while they are compressed. */

#include "core/coder.h"
#include "http/encoding.h"

enum {
    CODERS_MAX = 64,     /* in use at a time: further responses stay as they are */
    CODERS_IDLE_MAX = 4, /* kept for later responses */
};

struct coders {
    unsigned in_use;
    unsigned idle_count;
    struct lent_coder {
        struct coder *coder;
        enum encoding encoding;
        unsigned level;
    } idle[CODERS_IDLE_MAX];
};

/* The coder for an encoding other than identity. */
enum coder_kind coders_kind(enum encoding encoding);

/* Borrow a coder, ready for a content. Returns false if too many are in use, or there is no memory. coders_put() takes
 * it back, wherever its content has stopped; or destroys it if it is_broken. */
bool coders_take(struct coders *coders, enum encoding encoding, unsigned level, struct lent_coder *lent);
void coders_put(struct coders *coders, const struct lent_coder *lent, bool is_broken);

/* Free those that are kept. None is in use. */
void coders_done(struct coders *coders);

#endif
