/* From a path to a file.
 *
 * Happy path: static_files_serve() finds the mount, and the cache has a file by the name that follows the mount's
 * prefix. Whatever is not that simple goes through resolve(), which splits the path into a name without empty segments.
 *
 * Failure modes: everything that can be wrong with a path is an -errno of the cache, which representation_status()
 * turns into a status. Containment is the kernel's work (core/beneath.h); dot files are hidden here, by the text of the
 * path. */

#include "http/static_files.h"

#include "core/ascii.h"
#include "core/beneath.h"
#include "core/reactor.h"
#include "http/assets.h"
#include "http/cached_file.h"
#include "http/encoding.h"
#include "http/exchange.h"
#include "http/file_cache.h"
#include "http/listing_reply.h"
#include "http/location.h"
#include "http/mount.h"
#include "http/no_route.h"
#include "http/representation.h"
#include "http/response.h"
#include "http/response_file.h"
#include "http/service.h"
#include "http/static_mounts.h"
#include "http/url.h"

#include <errno.h>
#include <string.h>

enum {
    FILES_METHODS = 1U << METHOD_GET | 1U << METHOD_HEAD, /* that a file allows */
};

/* What a path names below its mount. */
struct target {
    char path[BENEATH_PATH_MAX]; /* below the mount, without empty segments and slashes at its ends */
    size_t len;                  /* bytes of path */
    bool is_directory;           /* the path ended in a slash, and nothing in it is hidden */
    bool is_canonical;           /* it had no empty segments */
    bool is_hidden;              /* it names a dot file that is not served */
};

/* A request for a file. */
struct visit {
    struct static_mounts *mounts;
    struct mount *mount; /* that covers the path, or NULL */
    struct exchange *exchange;
    int64_t now_ms;
};

/* Paths. */

/* Dot files are hidden, except /.well-known/ at the top of the site (RFC 8615 section 3). */
static bool is_hidden(const struct mount *mount, const struct target *target, const char *segment, size_t len)
{
    static const char well_known[] = ".well-known";
    bool is_top = mount->prefix_len == 0 && target->len == 0;
    return segment[0] == '.' && !mount->settings->dotfiles &&
           !(is_top && len == sizeof well_known - 1 && memcmp(segment, well_known, sizeof well_known - 1) == 0);
}

/* Split a normalised path that the mount covers into target. Returns 0, -ENOENT if it is hidden, or -ENAMETOOLONG. */
static int resolve(const struct mount *mount, const char *path, size_t path_len, struct target *target)
{
    const char *rest = path + mount->prefix_len;
    const char *end = path + path_len;
    target->len = 0;
    target->is_directory = false;
    target->is_canonical = true;
    target->is_hidden = false;
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
            target->is_hidden = true;
            return -ENOENT;
        } else if (target->len + 1 + len + 1 > sizeof target->path) {
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

/* Files. */

static int get_from(const struct visit *visit, struct file_root *root, const char *path, size_t len,
                    struct cached_file **file)
{
    if (root->assets != NULL) {
        return assets_get(root->assets, path, len, file);
    }
    return file_cache_get(visit->mounts->cache, root, path, len, visit->now_ms, file);
}

static int get_path(const struct visit *visit, const char *path, size_t len, struct cached_file **file)
{
    return get_from(visit, &visit->mount->root, path, len, file);
}

/* Get the first index file that the directory has. Returns -ENOENT if it has none. */
static int get_index(const struct visit *visit, struct target *target, struct cached_file **file)
{
    const struct static_settings *settings = visit->mount->settings;
    size_t len = target->len;
    int rv = -ENOENT;
    if (len > 0) {
        target->path[len++] = '/';
    }
    for (size_t i = 0; i < settings->index_count && (rv == -ENOENT || rv == -EISDIR); i++) {
        size_t name_len = strlen(settings->index[i]);
        if (len + name_len < sizeof target->path) {
            memcpy(target->path + len, settings->index[i], name_len + 1);
            rv = get_path(visit, target->path, len + name_len, file);
        }
    }
    target->path[target->len] = '\0'; /* without the name again */
    return rv == -EISDIR ? -ENOENT : rv;
}

/* Get the file that the target names. Returns 0 with a reference, or -errno; -EISDIR if a slash is missing. */
static int get_file(const struct visit *visit, struct target *target, struct cached_file **file)
{
    if (target->is_directory) {
        return get_index(visit, target, file);
    }
    return target->len == 0 ? -EISDIR /* the mount's own name */ : get_path(visit, target->path, target->len, file);
}

static void read_wishes(const struct exchange *exchange, struct encoding_wishes *wishes)
{
    static const char name[] = "Accept-Encoding";
    const struct head *head = &exchange->head;
    encoding_wishes_init(wishes);
    for (unsigned i = head->first[FIELD_ACCEPT_ENCODING]; i > 0 && i <= head->field_count; i++) {
        const struct field *field = &head->fields[i - 1];
        if (field->name.len == sizeof name - 1 &&
            ascii_equals(exchange_text(exchange, field->name), name, sizeof name - 1)) {
            encoding_wishes_add(wishes, exchange_text(exchange, field->value), field->value.len);
        }
    }
}

/* Choose among a file and its siblings. A sibling that has vanished since it was found does not count. */
static struct cached_file *choose_sibling(const struct visit *visit, struct file_root *root, struct cached_file *file)
{
    struct encoding_wishes wishes;
    read_wishes(visit->exchange, &wishes);
    enum encoding encoding = encoding_choose(&wishes, file->siblings);
    struct cached_file *sibling = NULL;
    if (encoding != ENCODING_IDENTITY && root->assets != NULL) {
        sibling = assets_get_sibling(root->assets, file, encoding);
    } else if (encoding == ENCODING_IDENTITY ||
               file_cache_get_sibling(visit->mounts->cache, root, file, encoding, visit->now_ms, &sibling) < 0) {
        return file;
    }
    cached_file_put(file);
    return sibling;
}

/* The representation of a file that the client prefers (RFC 9110 section 12.1). Takes over one reference and returns
 * one. */
static struct cached_file *choose_representation(const struct visit *visit, struct file_root *root,
                                                 struct cached_file *file)
{
    return file->siblings == 0 ? file : choose_sibling(visit, root, file);
}

/* Redirects. */

/* Redirect to the path that target stands for, with a slash at its end if it is a directory. */
static void redirect(struct exchange *exchange, const struct mount *mount, const struct target *target)
{
    char path[1 + BENEATH_PATH_MAX];
    path[0] = '/';
    memcpy(path + 1, target->path, target->len);
    const struct location location = {
        .base = mount->prefix,
        .base_len = mount->prefix_len,
        .rest = path,
        .rest_len = 1 + target->len,
        .has_slash = target->is_directory && target->len > 0,
    };
    mount_add_fields(exchange, mount);
    location_redirect(exchange, 301, &location);
}

/* Responses without a file. */

static void answer_error(struct exchange *exchange, const struct mount *mount, int error)
{
    int status = representation_status(error);
    if (status == 404 && exchange->match.allowed != 0) {
        exchange->match.allowed |= 1U << METHOD_OPTIONS;
        status = 405; /* no file, but a route with other methods */
    }
    response_drop_content_fields(exchange); /* so that a max-age for the file does not keep the mount's no-store out */
    mount_add_fields(exchange, mount);
    response_drop_content_fields(exchange);
    if (status == 404 && no_route_ask_host(exchange)) {
        return;
    }
    if ((status != 404 && status != 405) || !no_route_serve(exchange, status)) {
        response_refuse(exchange, status, NULL);
    }
}

/* Reject a method that files do not have. If there is a file, Allow lists its methods beside those of the route. */
static void refuse_method(struct exchange *exchange, const struct mount *mount, bool has_file)
{
    exchange->match.allowed |= 1U << METHOD_OPTIONS | (has_file ? FILES_METHODS : 0);
    mount_add_fields(exchange, mount);
    if (!no_route_serve(exchange, 405)) {
        response_refuse(exchange, 405, NULL);
    }
}

/* Respond to a method that files do not have, or to OPTIONS, which a route may have passed on. No route has the path
 * with other methods, so there is no need to look for the file. */
static void answer_method(struct exchange *exchange, const struct mount *mount)
{
    if (exchange->head.method != METHOD_OPTIONS) {
        refuse_method(exchange, mount, true);
        return;
    }
    response_drop_content_fields(exchange);
    mount_add_fields(exchange, mount);
    response_drop_content_fields(exchange);
    no_route_answer_options(exchange, FILES_METHODS);
}

static void answer_not_found(struct exchange *exchange, const struct mount *mount, struct cached_file *file)
{
    response_drop_content_fields(exchange);
    mount_add_fields(exchange, mount);
    response_file(exchange, 404, file->type, file, 0, file->size);
}

static int get_named(const struct visit *visit, struct file_root *root, const char *path, struct cached_file **file)
{
    return path == NULL ? -ENOENT : get_from(visit, root, path, strlen(path), file);
}

static void answer_without_file(const struct visit *visit, const struct target *target, int error)
{
    struct exchange *exchange = visit->exchange;
    const struct static_settings *settings = visit->mount == NULL ? NULL : visit->mount->settings;
    bool is_listable = settings != NULL && settings->list && target->is_directory;
    struct cached_file *file = NULL;
    if (error == -ENOENT && is_listable) {
        error = listing_reply(&visit->mounts->listings, visit->mount, exchange, target->path, target->len,
                              visit->now_ms);
        if (error == 0) {
            return;
        }
    }
    if (settings == NULL || representation_status(error) != 404 || exchange->match.allowed != 0) {
        answer_error(exchange, visit->mount, error);
        return;
    }
    struct file_root *fallback = &visit->mount->fallback;
    error = get_named(visit, fallback, target->is_hidden ? NULL : settings->fallback, &file);
    if (error == 0) {
        representation_answer(exchange, visit->mount, choose_representation(visit, fallback, file), NULL);
        return;
    }
    if (representation_status(error) == 404 && no_route_go_on(exchange)) {
        return;
    }
    if (representation_status(error) == 404 && get_named(visit, &visit->mount->root, settings->not_found, &file) == 0) {
        answer_not_found(exchange, visit->mount, file);
        return;
    }
    answer_error(exchange, visit->mount, error);
}

/* Respond to GET or HEAD with the file that was found. Takes over the reference. */
static void answer_found(const struct visit *visit, struct cached_file *file)
{
    if (file->checked_ms == visit->now_ms) {
        exchange_time_turn(visit->exchange); /* it was not ready: the cache looked at the disk */
    }
    representation_answer(visit->exchange, visit->mount, choose_representation(visit, &visit->mount->root, file), NULL);
}

enum { NOT_ASKED = 1 }; /* the cache was not asked yet */

/* Get the file of the usual request, whose name follows the prefix of the mount as it is. Returns 0 with a reference,
 * -errno, or NOT_ASKED if the path needs a closer look. */
static int get_plain(const struct visit *visit, struct cached_file **file)
{
    size_t prefix_len = visit->mount->prefix_len;
    const char *path = visit->exchange->path + prefix_len;
    size_t len = visit->exchange->path_len - prefix_len;
    if (len < 2 || path[len - 1] == '/' || url_has_odd_segment(path, len)) {
        return NOT_ASKED;
    }
    return get_path(visit, path + 1, len - 1, file);
}

/* Serve all other requests. asked is what get_plain() returned. Not inlined: the usual request would pay for the stack
 * of the target. */
__attribute__((noinline)) static void serve_other(const struct visit *visit, bool is_read, int asked)
{
    struct exchange *exchange = visit->exchange;
    struct target target; /* not cleared: a path is long */
    struct cached_file *file = NULL;
    int rv = -ENOENT;
    target.is_directory = false;
    target.is_hidden = false;
    if (visit->mount != NULL) {
        rv = resolve(visit->mount, exchange->path, exchange->path_len, &target);
    }
    if (rv == 0 && is_read && !target.is_canonical) {
        redirect(exchange, visit->mount, &target);
        return;
    }
    if (rv == 0) {
        rv = asked == NOT_ASKED ? get_file(visit, &target, &file) : asked;
    }
    if (!is_read) {
        cached_file_put(file);
        refuse_method(exchange, visit->mount, rv == 0);
    } else if (rv == -EISDIR) {
        target.is_directory = true;
        redirect(exchange, visit->mount, &target);
    } else if (rv < 0) {
        exchange_time_turn(exchange); /* a listing takes long, and missing files are looked for each time */
        answer_without_file(visit, &target, rv);
    } else {
        answer_found(visit, file);
    }
}

void static_files_serve(struct static_mounts *mounts, struct exchange *exchange)
{
    enum method method = exchange->head.method;
    bool is_read = method == METHOD_GET || method == METHOD_HEAD;
    struct visit visit = {
        .mounts = mounts,
        .mount = static_mounts_find(mounts, exchange->path, exchange->path_len),
        .exchange = exchange,
    };
    if (!is_read && exchange->match.allowed == 0) {
        answer_method(exchange, visit.mount);
        return;
    }
    visit.now_ms = reactor_now_ms(exchange->service->reactor);
    struct cached_file *file = NULL;
    int rv = is_read && visit.mount != NULL ? get_plain(&visit, &file) : NOT_ASKED;
    if (rv == 0) {
        answer_found(&visit, file);
    } else {
        serve_other(&visit, is_read, rv);
    }
}
