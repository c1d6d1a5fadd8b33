#ifndef EVSERVE_CORE_INFLATER_H
#define EVSERVE_CORE_INFLATER_H

/* Messages in raw DEFLATE (RFC 1951), decoded as they come, by zlib: what a deflater compresses. An inflater belongs to
 * one thread. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct inflater;

enum { INFLATE_BITS_LEAST = 8, INFLATE_BITS_MOST = 15 }; /* the window is 1 << bits bytes */

/* Make an inflater. Returns 0, -ENOMEM, or -ENOSYS if zlib is not there. inflater_destroy() takes NULL. */
int inflater_create(struct inflater **inflater, unsigned window_bits);
void inflater_destroy(struct inflater *inflater);

/* Bytes of memory that one takes, at most. */
size_t inflater_memory(unsigned window_bits);

/* Begin a new stream: one that refers to nothing before it. */
void inflater_reset(struct inflater *inflater);

/* Decode: *in moves on, *in_len goes down by what was read. Returns how many bytes were written to out, at most room;
 * less than that means that all of the input was read and nothing of its content is left. A final block (BFINAL) may be
 * followed by others. -EPROTO if it is not DEFLATE, or refers to more than the window; -ENOMEM. */
ssize_t inflater_run(struct inflater *inflater, const char **in, size_t *in_len, char *out, size_t room);

/* Whether what was read so far ends with a block, on a byte. */
bool inflater_is_whole(const struct inflater *inflater);

#endif
