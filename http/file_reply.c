/* From a directory and a path to a response made of a file.
 *
 * Happy path: check_path() finds nothing wrong with the text, the cache has the file, representation_answer() sends it.
 *
 * Failure modes: whatever is wrong with a path is an -errno, from which representation_refuse() makes a status. The
 * kernel sees to it that no link leads out (core/beneath.h). */

#include "http/file_reply.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/reactor.h"
#include "http/exchange.h"
#include "http/file_cache.h"
#include "http/file_room.h"
#include "http/file_root.h"
#include "http/representation.h"
#include "http/service.h"

#include <errno.h>
#include <string.h>

struct file_replies {
    struct file_cache *cache;
    int base_fd;                                   /* where relative directories start: see sys_base() */
    struct file_root *roots[FILE_REPLY_ROOTS_MAX]; /* in the order of their first use; each stays where it is */
    size_t root_count;
};

int file_replies_create(struct file_replies **replies, struct file_cache *cache)
{
    struct file_replies *made = mem_zalloc(sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    made->cache = cache;
    *replies = made;
    return 0;
}

void file_replies_set_base(struct file_replies *replies, int base_fd)
{
    replies->base_fd = base_fd;
}

void file_replies_abandon(struct file_replies *replies)
{
    for (size_t i = 0; i < replies->root_count; i++) {
        file_root_abandon(replies->roots[i]);
    }
}

void file_replies_destroy(struct file_replies *replies)
{
    if (replies == NULL) {
        return;
    }
    for (size_t i = 0; i < replies->root_count; i++) {
        file_root_close(replies->roots[i]);
        mem_free(replies->roots[i]);
    }
    mem_free(replies);
}

static struct file_root *find_root(const struct file_replies *replies, const char *directory)
{
    for (size_t i = 0; i < replies->root_count; i++) {
        if (strcmp(replies->roots[i]->directory, directory) == 0) {
            return replies->roots[i];
        }
    }
    return NULL;
}

int file_reply_check(struct file_replies *replies, const struct file_reply *reply, char *err, size_t errlen)
{
    if (find_root(replies, reply->root) != NULL) {
        return 0;
    }
    if (replies->root_count == FILE_REPLY_ROOTS_MAX) {
        return error_text(err, errlen, -ENOSPC,
                          "cannot serve \"%.100s\": %d other directories are in use already: use few roots, and "
                          "put what varies into the path",
                          reply->root, FILE_REPLY_ROOTS_MAX);
    }
    struct file_root *root = mem_zalloc(sizeof *root);
    if (root == NULL) {
        return error_text(err, errlen, -ENOMEM, "cannot serve \"%.100s\": %s", reply->root, errno_text(ENOMEM));
    }
    int tries = FILE_ROOM_TRIES;
    int rv;
    do {
        rv = file_root_open_at(root, replies->base_fd, reply->root, "", err, errlen);
    } while (rv < 0 && --tries > 0 && file_room_make(file_cache_room(replies->cache), rv));
    if (rv < 0) {
        mem_free(root);
        return rv;
    }
    replies->roots[replies->root_count++] = root;
    return 0;
}

/* Whether the text of a path may name a file. Returns 0 or -errno. */
static int check_path(const struct file_reply *reply)
{
    const char *end = reply->path + reply->path_len;
    if (reply->path_len == 0 || end[-1] == '/' || memchr(reply->path, '\0', reply->path_len) != NULL) {
        return -ENOENT; /* a directory at best */
    }
    for (const char *segment = reply->path; segment < end;) {
        const char *slash = memchr(segment, '/', (size_t)(end - segment));
        size_t len = (size_t)((slash == NULL ? end : slash) - segment);
        if ((len == 0 && segment == reply->path) || (len == 2 && memcmp(segment, "..", 2) == 0)) {
            return -EXDEV;
        }
        bool is_here = len == 1 && segment[0] == '.';
        if (len > 0 && segment[0] == '.' && !is_here && !reply->dotfiles) {
            return -ENOENT;
        }
        segment += len + 1;
    }
    return 0;
}

void file_reply_send(struct file_replies *replies, struct exchange *exchange, const struct file_reply *reply)
{
    int64_t now_ms = reactor_now_ms(exchange->service->reactor);
    struct cached_file *file = NULL;
    int rv = check_path(reply);
    if (rv == 0) {
        rv = file_cache_get(replies->cache, find_root(replies, reply->root), reply->path, reply->path_len, now_ms,
                            &file);
    }
    if (rv < 0) {
        representation_refuse(exchange, rv);
        return;
    }
    enum method method = exchange->head.method;
    if (reply->status == 200 && (method == METHOD_GET || method == METHOD_HEAD)) {
        representation_answer(exchange, NULL, file, reply->type);
    } else {
        representation_send(exchange, reply->status, file, reply->type);
    }
}
