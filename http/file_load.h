#ifndef EVSERVE_HTTP_FILE_LOAD_H
#define EVSERVE_HTTP_FILE_LOAD_H

/* The file cache's look at the disk, which makes an open file ready to be served. For file_cache.c, and for assets.c,
 * which makes files of contents in memory. */

#include "http/file_key.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cached_file;
struct stat;

enum { FILE_GENERATED_MAX = 1 << 20 }; /* bytes of a file whose size says nothing; a longer one is -EFBIG */

/* Open the file that key names, without waiting for the other end of a fifo. Returns the fd or -errno, -EINTR among
 * them. */
int file_open(const struct file_key *key, int64_t now_ms);

/* Look at an open file and at its siblings, and load it unless held, which may be NULL, is this version. Contents of up
 * to contents_max bytes are read into memory. Returns 0 with one reference in *file, or with NULL in *file if held is
 * this version; or -errno. Takes over fd in every case. */
int file_load(const struct file_key *key, int fd, const struct cached_file *held, uint64_t contents_max, int64_t now_ms,
              struct cached_file **file);

/* Whether a file or directory changed so shortly before now_s that it may change again without its times showing it. */
bool file_is_unsettled(const struct stat *st, int64_t now_s);

/* Give a file the entity tag of its contents, which are file->size bytes. */
void file_make_content_etag(struct cached_file *file, const char *contents);

/* Make the heads of a file, the last step of making it, with these field lines, and room for content_room bytes of its
 * contents. Returns 0 or -ENOMEM. */
int file_make_heads(struct cached_file *file, const char *fields, uint32_t content_room);

#endif
