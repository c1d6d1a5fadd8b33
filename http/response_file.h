#ifndef EVSERVE_HTTP_RESPONSE_FILE_H
#define EVSERVE_HTTP_RESPONSE_FILE_H

/* Responses whose content is a file of the cache. */

#include <stddef.h>
#include <stdint.h>

struct cached_file;
struct exchange;
struct prebuilt;

/* Respond with len bytes of a file from offset; takes over one reference to file, whose contents are sent from where
 * they are: from its fd or from the cache's memory. type is the Content-Type. */
void response_file(struct exchange *exchange, int status, const char *type, struct cached_file *file, uint64_t offset,
                   uint64_t len);

/* Respond with a prebuilt head. file (takes over one reference; NULL when there is none) has the content that is not in
 * prebuilt->bytes, and keeps in place what is too long to be copied; file_len is the length of its content. */
void response_send_prebuilt(struct exchange *exchange, const struct prebuilt *prebuilt, struct cached_file *file,
                            uint64_t file_len);

/* For struct continuation's next() alone. Set the range behind what was queued: len bytes, at least one, of a file from
 * offset; takes over one reference. */
void response_set_file(struct exchange *exchange, struct cached_file *file, uint64_t offset, uint64_t len);

/* The same: queue len bytes of a file from offset, copied. Returns 0, -ENOMEM, -ENODATA when the file ends before, or
 * -errno; less than len bytes may then be queued. */
int response_queue_file(struct exchange *exchange, const struct cached_file *file, uint64_t offset, size_t len);

#endif
