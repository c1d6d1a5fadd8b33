#ifndef EVSERVE_CORE_DECODER_H
#define EVSERVE_CORE_DECODER_H

/* Content in one of the codings of HTTP (RFC 9110 section 8.4.1), decoded as it comes: one interface for all of them.
 * Each library is loaded at first use; where one is not installed, or not built in, its coding is not there. A decoder
 * belongs to one thread. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct content_decoder;

enum decoder_kind { DECODER_GZIP, DECODER_BR, DECODER_ZSTD, DECODER_KINDS };

/* Whether content of that kind can be decoded. The first call loads the library: it has to come before the sandbox,
 * where nothing is loaded any more. Any thread. */
bool decoder_is_there(enum decoder_kind kind);

/* Make a decoder. Returns 0, -ENOMEM, or -ENOSYS if the kind is not there. decoder_destroy() takes NULL. */
int decoder_create(struct content_decoder **decoder, enum decoder_kind kind);
void decoder_destroy(struct content_decoder *decoder);

/* Decode: *in moves on, *in_len goes down by what was read. Returns how many bytes were written to out, at most room;
 * less than that means that all of the input was read and nothing of its content is left. -EPROTO if the input is not
 * of the kind, is damaged, or asks for more memory than the coding's standard for HTTP allows; -ENOMEM. */
ssize_t decoder_run(struct content_decoder *decoder, const char **in, size_t *in_len, char *out, size_t room);

/* Whether what was read so far is whole: nothing at all, or everything up to an end. */
bool decoder_is_whole(const struct content_decoder *decoder);

#endif
