/* A hash table with chains, whose files are also linked in the order of their use.
 *
 * Failure mode: a table that cannot grow stays as it is and gets longer chains. */

#include "http/file_table.h"

#include "core/mem.h"
#include "http/cached_file.h"
#include "http/words.h"

#include <errno.h>

/* The two orders of use. */

static struct file_links *links_of(struct cached_file *file, const struct file_table *table,
                                   const struct file_list *list)
{
    return list == &table->files ? &file->by_use : &file->by_fd_use;
}

static void list_add(struct file_table *table, struct file_list *list, struct cached_file *file)
{
    *links_of(file, table, list) = (struct file_links){.older = list->newest};
    if (list->newest != NULL) {
        links_of(list->newest, table, list)->newer = file;
    } else {
        list->oldest = file;
    }
    list->newest = file;
    list->count++;
}

static void list_remove(struct file_table *table, struct file_list *list, struct cached_file *file)
{
    struct file_links links = *links_of(file, table, list);
    if (links.newer != NULL) {
        links_of(links.newer, table, list)->older = links.older;
    } else {
        list->newest = links.older;
    }
    if (links.older != NULL) {
        links_of(links.older, table, list)->newer = links.newer;
    } else {
        list->oldest = links.newer;
    }
    list->count--;
}

static void move_to_front(struct file_table *table, struct file_list *list, struct cached_file *file)
{
    list_remove(table, list, file);
    list_add(table, list, file);
}

void file_table_touch(struct file_table *table, struct cached_file *file)
{
    if (table->files.newest != file) {
        move_to_front(table, &table->files, file);
    }
    if (file->fd >= 0 && table->with_fd.newest != file) {
        move_to_front(table, &table->with_fd, file);
    }
}

/* The table. */

static struct cached_file **bucket_of(const struct file_table *table, uint64_t hash)
{
    return &table->buckets[hash & (table->bucket_count - 1)];
}

static bool has_key(const struct cached_file *file, const struct file_key *key)
{
    return file->hash == key->hash && file->root == key->root && file->encoding == key->encoding &&
           file->path_len == key->len && words_equal(file->path, key->path, key->len);
}

struct cached_file *file_table_find(const struct file_table *table, const struct file_key *key)
{
    struct cached_file *file = *bucket_of(table, key->hash);
    while (file != NULL && !has_key(file, key)) {
        file = file->next;
    }
    return file;
}

static void put_into_bucket(struct file_table *table, struct cached_file *file)
{
    struct cached_file **bucket = bucket_of(table, file->hash);
    file->next = *bucket;
    *bucket = file;
}

/* Double the number of buckets, if there is memory for them. */
static void grow_table(struct file_table *table)
{
    size_t count = table->bucket_count * 2;
    struct cached_file **buckets = mem_zalloc(count * sizeof(struct cached_file *));
    if (buckets == NULL) {
        return;
    }
    mem_free(table->buckets);
    table->buckets = buckets;
    table->bucket_count = count;
    for (struct cached_file *file = table->files.oldest; file != NULL; file = file->by_use.newer) {
        put_into_bucket(table, file);
    }
}

void file_table_add(struct file_table *table, struct cached_file *file)
{
    if (table->files.count >= table->bucket_count) {
        grow_table(table);
    }
    put_into_bucket(table, file);
    list_add(table, &table->files, file);
    if (file->fd >= 0) {
        list_add(table, &table->with_fd, file);
    }
    table->memory_bytes += file->full.content_len;
    cached_file_ref(file);
}

void file_table_drop(struct file_table *table, struct cached_file *file)
{
    struct cached_file **at = bucket_of(table, file->hash);
    while (*at != file) {
        at = &(*at)->next;
    }
    *at = file->next;
    list_remove(table, &table->files, file);
    if (file->fd >= 0) {
        list_remove(table, &table->with_fd, file);
    }
    table->memory_bytes -= file->full.content_len;
    cached_file_put(file);
}

bool file_table_relieve_fds(struct file_table *table)
{
    int closed = 0;
    struct cached_file *newer;
    for (struct cached_file *file = table->with_fd.oldest; file != NULL && closed < TABLE_FD_RELIEF; file = newer) {
        newer = file->by_fd_use.newer;
        if (file->refs == 1) {
            file_table_drop(table, file);
            closed++;
        }
    }
    return closed > 0;
}

int file_table_init(struct file_table *table)
{
    *table = (struct file_table){.bucket_count = TABLE_FIRST_BUCKETS};
    table->buckets = mem_zalloc(table->bucket_count * sizeof(struct cached_file *));
    return table->buckets == NULL ? -ENOMEM : 0;
}

void file_table_done(struct file_table *table)
{
    while (table->files.oldest != NULL) {
        file_table_drop(table, table->files.oldest);
    }
    mem_free(table->buckets);
}
