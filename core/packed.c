/* A sorted array, searched by bisection. Files below a folder follow one another, as their paths begin alike. */

#include "core/packed.h"

#include "core/log.h"
#include "core/mem.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct packed {
    size_t count;
    struct packed_file files[];
};

static int compare_packed(const void *a, const void *b)
{
    return strcmp(((const struct packed_file *)a)->path, ((const struct packed_file *)b)->path);
}

/* Write path without empty and dot segments, which may be "". Returns its length, or -1 for an absolute path, one that
 * leads out of its directory, or one that is too long. */
static int simplify(const char *path, char simple[PACKED_PATH_MAX + 1])
{
    size_t len = 0;
    if (path[0] == '/') {
        return -1;
    }
    while (*path != '\0') {
        size_t segment = strcspn(path, "/");
        if (segment == 2 && memcmp(path, "..", 2) == 0) {
            if (len == 0) {
                return -1;
            }
            simple[len] = '\0';
            const char *slash = strrchr(simple, '/');
            len = slash == NULL ? 0 : (size_t)(slash - simple);
        } else if (segment > 0 && !(segment == 1 && path[0] == '.')) {
            if (len + (len > 0 ? 1 : 0) + segment > PACKED_PATH_MAX) {
                return -1;
            }
            if (len > 0) {
                simple[len++] = '/';
            }
            memcpy(simple + len, path, segment);
            len += segment;
        }
        path += segment + (path[segment] == '/' ? 1 : 0);
    }
    simple[len] = '\0';
    return (int)len;
}

static bool is_simple(const char *path)
{
    char simple[PACKED_PATH_MAX + 1];
    return path[0] != '\0' && simplify(path, simple) > 0 && strcmp(path, simple) == 0;
}

int packed_create(struct packed **packed, const struct packed_file *files, size_t count, char *err, size_t errlen)
{
    if (count > PACKED_FILES_MAX) {
        return error_text(err, errlen, -EFBIG, "more than %d files", PACKED_FILES_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        if (!is_simple(files[i].path)) {
            return error_text(err, errlen, -EBADMSG,
                              "\"%.256s\" is not a relative path of at most %d bytes without empty and dot segments",
                              files[i].path, PACKED_PATH_MAX);
        }
        if (files[i].content == NULL && files[i].len > 0) {
            return error_text(err, errlen, -EBADMSG, "\"%.256s\" has no content", files[i].path);
        }
    }
    struct packed *made = mem_alloc(sizeof *made + count * sizeof *files);
    if (made == NULL) {
        return error_text(err, errlen, -ENOMEM, "%s", errno_text(ENOMEM));
    }
    made->count = count;
    for (size_t i = 0; i < count; i++) {
        made->files[i] = files[i];
    }
    qsort(made->files, count, sizeof *files, compare_packed);
    for (size_t i = 1; i < count; i++) {
        if (compare_packed(&made->files[i - 1], &made->files[i]) == 0) {
            error_text(err, errlen, -EBADMSG, "\"%.256s\" occurs twice", made->files[i].path);
            mem_free(made);
            return -EBADMSG;
        }
    }
    *packed = made;
    return 0;
}

void packed_destroy(struct packed *packed)
{
    mem_free(packed);
}

/* How many files come before path. */
static size_t count_packed_before(const struct packed *packed, const char *path)
{
    size_t first = 0, behind = packed->count;
    while (first < behind) {
        size_t middle = first + (behind - first) / 2;
        if (strcmp(packed->files[middle].path, path) < 0) {
            first = middle + 1;
        } else {
            behind = middle;
        }
    }
    return first;
}

const struct packed_file *packed_find(const struct packed *packed, const char *path)
{
    char simple[PACKED_PATH_MAX + 1];
    if (packed == NULL || simplify(path, simple) <= 0) {
        return NULL;
    }
    size_t at = count_packed_before(packed, simple);
    return at < packed->count && strcmp(packed->files[at].path, simple) == 0 ? &packed->files[at] : NULL;
}

const struct packed_file *packed_below(const struct packed *packed, const char *folder, size_t *count, size_t *skip)
{
    char below[PACKED_PATH_MAX + 2];
    int len = packed == NULL ? -1 : simplify(folder, below);
    if (len < 0) {
        return NULL;
    }
    if (len > 0) {
        below[len++] = '/';
        below[len] = '\0';
    }
    size_t first = count_packed_before(packed, below), behind = first;
    while (behind < packed->count && strncmp(packed->files[behind].path, below, (size_t)len) == 0) {
        behind++;
    }
    *count = behind - first;
    *skip = (size_t)len;
    return behind > first ? &packed->files[first] : NULL;
}
