#ifndef EVSERVE_CORE_UNZSTD_H
#define EVSERVE_CORE_UNZSTD_H

/* Content in Zstandard (RFC 8878), decoded as it comes, by libzstd, which is loaded at first use. Where it is not
 * installed, or in a build without EVSERVE_HAS_ZSTD, it is not there. A decoder belongs to one thread. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct unzstd;

enum { UNZSTD_WINDOW_BITS = 23 }; /* a content coding may ask for a window of 8 MiB (RFC 9659) */

/* Whether Zstandard can be decoded. The first call loads the library: it has to come before the sandbox, where nothing
 * is loaded any more. Any thread. */
bool unzstd_is_there(void);

/* Make a decoder. Returns 0, -ENOMEM, or -ENOSYS if the library is not there. unzstd_destroy() takes NULL. */
int unzstd_create(struct unzstd **unzstd);
void unzstd_destroy(struct unzstd *unzstd);

/* Decode: *in moves on, *in_len goes down by what was read. Returns how many bytes were written to out, at most room;
 * less than that means that all of the input was read and nothing of its content is left. -EPROTO if it is not
 * Zstandard, is damaged, as far as its checksum shows, or asks for a larger window; -ENOMEM. */
ssize_t unzstd_run(struct unzstd *unzstd, const char **in, size_t *in_len, char *out, size_t room);

/* Whether what was read so far is whole: nothing, or all of one or several frames. */
bool unzstd_is_whole(const struct unzstd *unzstd);

#endif
