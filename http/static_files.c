/* From a path to an answer made of a file.
 *
 * Happy path: static_mounts_serve() finds the mount, resolve() turns the path below it into a file's name, the cache has
 * the file, static_file_answer() sends the head and the contents that were made beforehand.
 *
 * Failure modes: everything that can be wrong with a path is an -errno of the cache, which status_of() turns into a
 * status. Containment is the kernel's work (core/beneath.h); that a path shows no dot file is checked here, in the text. */

#include "http/static_files.h"

#include "core/beneath.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/reactor.h"
#include "http/conditional.h"
#include "http/exchange.h"
#include "http/file_cache.h"
#include "http/file_root.h"
#include "http/response.h"
#include "http/server.h"
#include "http/url.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char index_name[] = "index.html";

enum {
    FIELDS_MAX = 64,                                          /* bytes of a mount's field lines */
    FILES_METHODS = 1U << METHOD_GET | 1U << METHOD_HEAD,     /* what a file allows by itself */
};

struct mount {
    struct file_root root;                 /* the directory; fields points to fields below */
    char prefix[STATIC_PREFIX_MAX + 1];    /* without a slash at its end: "" or "/assets" */
    size_t prefix_len;                     /* bytes of prefix */
    bool is_pinned;                        /* later mounts of the prefix are ignored */
    char fields[FIELDS_MAX];               /* field lines for each answer */
};

struct static_mounts {
    struct file_cache *cache;
    size_t count;
    struct mount *mounts[STATIC_MOUNTS_MAX]; /* in the order of adding; the cache knows their roots by address */
};

/* What a path asks for. */
struct target {
    char path[BENEATH_PATH_MAX]; /* below the mount, without empty segments and slashes at its ends */
    size_t len;                  /* bytes of path */
    bool is_directory;           /* the path ended in a slash */
    bool is_canonical;           /* it had no empty segments */
};

/* Mounts. */

int static_mounts_create(struct static_mounts **mounts, struct file_cache *cache)
{
    struct static_mounts *made = mem_zalloc(sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    made->cache = cache;
    *mounts = made;
    return 0;
}

void static_mounts_destroy(struct static_mounts *mounts)
{
    if (mounts == NULL) {
        return;
    }
    for (size_t i = 0; i < mounts->count; i++) {
        file_root_close(&mounts->mounts[i]->root);
        mem_free(mounts->mounts[i]);
    }
    mem_free(mounts);
}

/* The length of a prefix without the slash at its end, or -EINVAL. Paths are normalised before they are compared with
 * it, so a prefix that no such path begins with is a mistake. */
static int check_prefix(const char *prefix, char *err, size_t errlen)
{
    size_t len = strlen(prefix);
    if (prefix[0] != '/') {
        return error_text(err, errlen, -EINVAL, "static prefix \"%s\" does not begin with \"/\"", prefix);
    }
    len -= prefix[len - 1] == '/' ? 1 : 0;
    if (len > STATIC_PREFIX_MAX) {
        return error_text(err, errlen, -EINVAL, "static prefix \"%.32s...\" is longer than %d bytes", prefix,
                          STATIC_PREFIX_MAX);
    }
    for (size_t i = 0; i < len;) {
        size_t segment_len = strcspn(prefix + i + 1, "/");
        const char *segment = prefix + i + 1;
        bool is_dots = (segment_len == 1 && segment[0] == '.') || (segment_len == 2 && memcmp(segment, "..", 2) == 0);
        if (segment_len == 0 || is_dots) {
            return error_text(err, errlen, -EINVAL, "static prefix \"%s\" has an empty or a dot segment", prefix);
        }
        i += 1 + segment_len;
    }
    return (int)len;
}

static const struct mount *find_prefix(const struct static_mounts *mounts, const char *prefix, size_t len)
{
    for (size_t i = 0; i < mounts->count; i++) {
        const struct mount *mount = mounts->mounts[i];
        if (mount->prefix_len == len && memcmp(mount->prefix, prefix, len) == 0) {
            return mount;
        }
    }
    return NULL;
}

static int add(struct static_mounts *mounts, const char *prefix, const char *directory,
               const struct static_options *options, bool is_pinned, char *err, size_t errlen)
{
    int prefix_len = check_prefix(prefix, err, errlen);
    if (prefix_len < 0) {
        return prefix_len;
    }
    const struct mount *same = find_prefix(mounts, prefix, (size_t)prefix_len);
    if (same != NULL && same->is_pinned && !is_pinned) {
        return 0;
    }
    if (same != NULL) {
        return error_text(err, errlen, -EEXIST, "static prefix \"%s\" serves \"%s\" already", prefix,
                          same->root.directory);
    }
    if (mounts->count == STATIC_MOUNTS_MAX) {
        return error_text(err, errlen, -ENOSPC, "cannot serve \"%s\": more than %d static directories", directory,
                          STATIC_MOUNTS_MAX);
    }
    struct mount *mount = mem_zalloc(sizeof *mount);
    if (mount == NULL) {
        return error_text(err, errlen, -ENOMEM, "cannot serve \"%s\": %s", directory, strerror(ENOMEM));
    }
    memcpy(mount->prefix, prefix, (size_t)prefix_len);
    mount->prefix_len = (size_t)prefix_len;
    mount->is_pinned = is_pinned;
    if (options != NULL && options->cache_s > 0) {
        snprintf(mount->fields, sizeof mount->fields, "Cache-Control: max-age=%" PRIu32 "\r\n", options->cache_s);
    }
    int rv = file_root_open(&mount->root, directory, mount->fields, err, errlen);
    if (rv < 0) {
        mem_free(mount);
        return rv;
    }
    mounts->mounts[mounts->count++] = mount;
    return 0;
}

int static_mounts_add(struct static_mounts *mounts, const char *prefix, const char *directory,
                      const struct static_options *options, char *err, size_t errlen)
{
    return add(mounts, prefix, directory, options, false, err, errlen);
}

int static_mounts_pin(struct static_mounts *mounts, const char *prefix, const char *directory, char *err,
                      size_t errlen)
{
    return add(mounts, prefix, directory, NULL, true, err, errlen);
}

bool static_mounts_get(const struct static_mounts *mounts, size_t n, const char **prefix, const char **directory)
{
    if (n >= mounts->count) {
        return false;
    }
    *prefix = mounts->mounts[n]->prefix_len == 0 ? "/" : mounts->mounts[n]->prefix;
    *directory = mounts->mounts[n]->root.directory;
    return true;
}

/* A prefix covers itself and what follows a slash behind it. */
static struct mount *find_mount(const struct static_mounts *mounts, const char *path, size_t len)
{
    struct mount *best = NULL;
    for (size_t i = 0; i < mounts->count; i++) {
        struct mount *mount = mounts->mounts[i];
        size_t prefix_len = mount->prefix_len;
        if (prefix_len <= len && memcmp(path, mount->prefix, prefix_len) == 0 &&
            (prefix_len == len || path[prefix_len] == '/') && (best == NULL || prefix_len > best->prefix_len)) {
            best = mount;
        }
    }
    return best;
}

bool static_mounts_cover(const struct static_mounts *mounts, const char *path, size_t len)
{
    return find_mount(mounts, path, len) != NULL;
}

/* Paths. */

/* Dot files are hidden. Well-known resources are the site's, not a directory's (RFC 8615 section 3): they begin at the
 * top. */
static bool is_hidden(const struct mount *mount, const struct target *target, const char *segment, size_t len)
{
    static const char well_known[] = ".well-known";
    bool is_top = mount->prefix_len == 0 && target->len == 0;
    return segment[0] == '.' &&
           !(is_top && len == sizeof well_known - 1 && memcmp(segment, well_known, sizeof well_known - 1) == 0);
}

/* Split a normalised path that the mount covers into target. Returns 0, -ENOENT for a hidden one, or -ENAMETOOLONG. */
static int resolve(const struct mount *mount, const char *path, size_t path_len, struct target *target)
{
    const char *rest = path + mount->prefix_len;
    const char *end = path + path_len;
    target->len = 0;
    target->is_directory = false;
    target->is_canonical = true;
    while (rest < end) {
        const char *segment = rest + 1; /* rest is at a slash */
        const char *next = memchr(segment, '/', (size_t)(end - segment));
        size_t len = (size_t)((next == NULL ? end : next) - segment);
        rest = segment + len;
        if (len == 0 && rest == end) {
            target->is_directory = true;
        } else if (len == 0) {
            target->is_canonical = false;
        } else if (is_hidden(mount, target, segment, len)) {
            return -ENOENT;
        } else if (target->len + 1 + len + 1 + sizeof index_name > sizeof target->path) {
            return -ENAMETOOLONG;
        } else {
            if (target->len > 0) {
                target->path[target->len++] = '/';
            }
            memcpy(target->path + target->len, segment, len);
            target->len += len;
        }
    }
    target->path[target->len] = '\0';
    return 0;
}

/* Get the file that target asks for. Returns 0 with a reference, or -errno; -EISDIR when a slash is missing. */
static int get_file(struct static_mounts *mounts, struct mount *mount, const struct exchange *exchange,
                    struct target *target, struct cached_file **file)
{
    int64_t now_ms = reactor_now_ms(server_reactor(exchange->server));
    if (!target->is_directory) {
        return target->len == 0 ? -EISDIR /* the mount's own name */
                                : file_cache_get(mounts->cache, &mount->root, target->path, target->len, now_ms, file);
    }
    /* resolve() left room for it. */
    size_t len = target->len;
    if (len > 0) {
        target->path[len++] = '/';
    }
    memcpy(target->path + len, index_name, sizeof index_name);
    len += sizeof index_name - 1;
    int rv = file_cache_get(mounts->cache, &mount->root, target->path, len, now_ms, file);
    target->path[target->len] = '\0';
    return rv == -EISDIR ? -ENOENT : rv;
}

/* Redirects. */

/* Encode a path segment by segment. */
static size_t encode_path(const char *path, size_t len, char *out)
{
    size_t used = 0;
    for (size_t i = 0; i < len;) {
        const char *slash = memchr(path + i, '/', len - i);
        size_t segment_len = slash == NULL ? len - i : (size_t)(slash - path) - i;
        used += url_encode_segment(path + i, segment_len, out + used);
        i += segment_len;
        if (slash != NULL) {
            out[used++] = '/';
            i++;
        }
    }
    return used;
}

/* The query goes on as it came, but for bytes that have no place in a field value. */
static size_t encode_query(const char *query, size_t len, char *out)
{
    size_t used = 0;
    for (size_t i = 0; i < len; i++) {
        if (query[i] > ' ' && query[i] < 0x7f) {
            out[used++] = query[i];
        } else {
            used += url_encode_segment(query + i, 1, out + used);
        }
    }
    return used;
}

/* Redirect to the path that target stands for, with its slash if it is a directory. Location is a path that begins with
 * exactly one slash, so that it cannot be read as another host ("//evil"), and it does not depend on Host. */
static void redirect(struct exchange *exchange, const struct mount *mount, const struct target *target)
{
    struct slice query = exchange->head.has_query ? exchange->head.query : (struct slice){0};
    size_t room = 3 * (mount->prefix_len + target->len + (size_t)query.len) + sizeof "//?";
    char *location = mem_alloc(room);
    if (location == NULL) {
        response_error(exchange, 503, NULL);
        return;
    }
    size_t len = encode_path(mount->prefix, mount->prefix_len, location);
    location[len++] = '/';
    len += encode_path(target->path, target->len, location + len);
    if (target->is_directory && target->len > 0) {
        location[len++] = '/';
    }
    if (exchange->head.has_query) {
        location[len++] = '?';
        len += encode_query(exchange_text(exchange, query), query.len, location + len);
    }
    response_redirect(exchange, 301, location, len);
    mem_free(location);
}

/* Answers. */

static int status_of(int error)
{
    switch (error) {
    case -ENOENT:
    case -ENOTDIR:
    case -EISDIR:
    case -ENAMETOOLONG:
    case -ELOOP:
        return 404;
    case -EACCES:
    case -EPERM:
    case -EXDEV:
        return 403;
    case -EMFILE:
    case -ENFILE:
    case -ENOMEM:
        return 503;
    default:
        return 500;
    }
}

static void answer_error(struct exchange *exchange, int error)
{
    int status = status_of(error);
    if (status == 404 && exchange->match.allowed != 0) {
        exchange->match.allowed |= 1U << METHOD_OPTIONS;
        status = 405; /* no file, but a route with other methods */
    }
    response_error(exchange, status, NULL);
}

void static_file_answer(struct exchange *exchange, struct cached_file *file)
{
    struct validators validators = {
        .etag = file->etag,
        .etag_len = file->etag_len,
        .has_last_modified = file->last_modified_s >= 0,
        .last_modified_s = file->last_modified_s,
    };
    switch (conditional_evaluate(&exchange->head, exchange->head_data, &validators)) {
    case PRECONDITION_HOLDS:
        if (file->fd >= 0) {
            response_send_prebuilt(exchange, &file->full, file, file->size); /* our reference goes with it */
            return;
        }
        response_send_prebuilt(exchange, &file->full, NULL, 0);
        break;
    case PRECONDITION_NOT_MODIFIED:
        response_send_prebuilt(exchange, &file->not_modified, NULL, 0);
        break;
    case PRECONDITION_FAILED:
        response_error(exchange, 412, NULL);
        break;
    }
    file_cache_put(file);
}

/* A method that files do not have. Allow lists theirs beside the route's, if there is a file. */
static void refuse_method(struct exchange *exchange, bool has_file)
{
    exchange->match.allowed |= 1U << METHOD_OPTIONS | (has_file ? FILES_METHODS : 0);
    response_error(exchange, 405, NULL);
}

void static_mounts_serve(struct static_mounts *mounts, struct exchange *exchange)
{
    enum method method = exchange->head.method;
    bool is_read = method == METHOD_GET || method == METHOD_HEAD;
    if (!is_read && exchange->match.allowed == 0) {
        refuse_method(exchange, true); /* whatever there is or is not: no need to look */
        return;
    }
    struct mount *mount = find_mount(mounts, exchange->path, exchange->path_len);
    struct target target;
    struct cached_file *file = NULL;
    int rv = mount == NULL ? -ENOENT : resolve(mount, exchange->path, exchange->path_len, &target);
    if (rv == 0 && is_read && !target.is_canonical) {
        redirect(exchange, mount, &target);
        return;
    }
    rv = rv < 0 ? rv : get_file(mounts, mount, exchange, &target, &file);
    if (!is_read) {
        file_cache_put(file);
        refuse_method(exchange, rv == 0);
    } else if (rv == -EISDIR) {
        target.is_directory = true;
        redirect(exchange, mount, &target);
    } else if (rv < 0) {
        answer_error(exchange, rv);
    } else {
        static_file_answer(exchange, file);
    }
}
