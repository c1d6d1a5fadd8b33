#ifndef EVSERVE_CORE_GUNZIP_H
#define EVSERVE_CORE_GUNZIP_H

/* Content in the gzip format (RFC 1952), decoded as it comes, by zlib, which is loaded at first use. Where it is not
 * installed, or in a build without EVSERVE_HAS_ZLIB, it is not there. A decoder belongs to one thread. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct gunzip;

/* Whether gzip can be decoded. The first call loads zlib: it has to come before the sandbox, where nothing is loaded
 * any more. Any thread. */
bool gunzip_is_there(void);

/* Make a decoder. Returns 0, -ENOMEM, or -ENOSYS if zlib is not there. gunzip_destroy() takes NULL. */
int gunzip_create(struct gunzip **gunzip);
void gunzip_destroy(struct gunzip *gunzip);

/* Decode: *in moves on, *in_len goes down by what was read. Returns how many bytes were written to out, at most room;
 * less than that means that all of the input was read. -EPROTO if it is not gzip, -ENOMEM. */
ssize_t gunzip_run(struct gunzip *gunzip, const char **in, size_t *in_len, char *out, size_t room);

/* Whether what was read so far is whole: nothing, or all of one or several members. */
bool gunzip_is_whole(const struct gunzip *gunzip);

#endif
