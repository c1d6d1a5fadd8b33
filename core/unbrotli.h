#ifndef EVSERVE_CORE_UNBROTLI_H
#define EVSERVE_CORE_UNBROTLI_H

/* Content in Brotli (RFC 7932), decoded as it comes, by libbrotlidec, which is loaded at first use. Where it is not
 * installed, or in a build without EVSERVE_HAS_BROTLI, it is not there. A decoder belongs to one thread. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct unbrotli;

/* Whether Brotli can be decoded. The first call loads the library: it has to come before the sandbox, where nothing is
 * loaded any more. Any thread. */
bool unbrotli_is_there(void);

/* Make a decoder. Returns 0, -ENOMEM, or -ENOSYS if the library is not there. unbrotli_destroy() takes NULL. */
int unbrotli_create(struct unbrotli **unbrotli);
void unbrotli_destroy(struct unbrotli *unbrotli);

/* Decode: *in moves past what was read, and *in_len shrinks by as much. Returns how many bytes were written to out, at
 * most room; less than that means that all of the input was read and nothing of its content is left. -EPROTO if it is
 * not Brotli, or bytes follow its end; -ENOMEM. The window, at most 16 MiB, is as large as the content that has come. */
ssize_t unbrotli_run(struct unbrotli *unbrotli, const char **in, size_t *in_len, char *out, size_t room);

/* Whether what was read so far is whole: nothing, or all of a stream. */
bool unbrotli_is_whole(const struct unbrotli *unbrotli);

#endif
