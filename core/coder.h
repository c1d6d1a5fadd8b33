#ifndef EVSERVE_CORE_CODER_H
#define EVSERVE_CORE_CODER_H

/* Content compressed as it comes, in gzip (RFC 1952), brotli (RFC 7932) or zstd (RFC 8878), whose libraries are loaded
 * at first use. A coder belongs to one thread. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct coder;

enum coder_kind { CODER_GZIP, CODER_BROTLI, CODER_ZSTD, CODER_KINDS };

enum { CODER_LEVEL_LEAST = 1, CODER_LEVEL_MOST = 9 };

/* What is to happen with the input of a call. */
enum coder_step {
    CODER_GO_ON, /* the coder may keep it back */
    CODER_FLUSH, /* whoever reads the output so far gets all of the input so far */
    CODER_END,   /* it was the last: the output is complete */
};

/* Whether there is a coder of that kind. The first call loads its library: it has to come before the sandbox, where
 * nothing is loaded any more. Any thread. */
bool coder_is_there(enum coder_kind kind);

/* The Debian package that coder_is_there() needs, static text. */
const char *coder_package(enum coder_kind kind);

/* Make a coder, ready for a first content. Returns 0, -ENOMEM, or -ENOSYS if the kind is not there. coder_destroy()
 * takes NULL. */
int coder_create(struct coder **coder, enum coder_kind kind, unsigned level);
void coder_destroy(struct coder *coder);

/* Begin another content, wherever the one before has stopped. Returns 0 or -ENOMEM; then only coder_destroy() may
 * follow. */
int coder_reset(struct coder *coder);

/* Compress: *in moves past what was taken, and *in_len shrinks by as much. Returns how many bytes were written to out,
 * at most room. Less than room: all of the input was taken, and the step is done. As much as room: call it again with
 * the same step. -ENOMEM: the content cannot be completed. */
ssize_t coder_run(struct coder *coder, enum coder_step step, const char **in, size_t *in_len, char *out, size_t room);

#endif
