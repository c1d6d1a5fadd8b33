#ifndef EVSERVE_HTTP_FILE_TABLE_H
#define EVSERVE_HTTP_FILE_TABLE_H

/* The files that a cache holds, each with one reference: a hash table that grows, and two lists in the order of use.
 * For http/file_cache.c, which decides which files are held. One thread only. */

#include "http/file_key.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cached_file;

enum {
    TABLE_FIRST_BUCKETS = 64, /* a power of two */
    TABLE_FD_RELIEF = 8,      /* fds given up at once when there are none left */
};

/* Files in the order of their use. */
struct file_list {
    struct cached_file *newest, *oldest;
    size_t count;
};

struct file_table {
    struct cached_file **buckets; /* bucket_count of them */
    size_t bucket_count;          /* a power of two */
    struct file_list files;       /* all, linked by by_use */
    struct file_list with_fd;     /* those that hold an fd, linked by by_fd_use */
    uint64_t memory_bytes;        /* of contents that they hold in memory */
};

/* Returns 0 or -ENOMEM. */
int file_table_init(struct file_table *table);

/* Drop all files. */
void file_table_done(struct file_table *table);

/* Find the file with that key. Returns it without a reference, or NULL. */
struct cached_file *file_table_find(const struct file_table *table, const struct file_key *key);

/* Make a file that is held the one used last. */
void file_table_touch(struct file_table *table, struct cached_file *file);

/* Hold a file, as the one used last, with a reference of the table's own. No other file with its key may be held. */
void file_table_add(struct file_table *table, struct cached_file *file);

/* Stop holding a file, and give back the table's reference. */
void file_table_drop(struct file_table *table, struct cached_file *file);

/* Drop some files that have an fd and no other user, the least recently used first. Returns whether there were any. */
bool file_table_relieve_fds(struct file_table *table);

#endif
