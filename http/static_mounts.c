/* The mounts, in the order in which they were added. To find one takes a look at all of them, of which there are few.
 *
 * Failure modes: a mount that makes no sense, or whose directory cannot be opened, is rejected with a text that names
 * it, and nothing has changed. */

#include "http/static_mounts.h"

#include "core/beneath.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/sys.h"
#include "http/assets.h"
#include "http/cached_file.h"
#include "http/exchange.h"
#include "http/file_cache.h"
#include "http/response.h"
#include "http/words.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum { ERROR_MAX = 512 }; /* bytes of a text about options */

int static_mounts_create(struct static_mounts **mounts, struct file_cache *cache)
{
    struct static_mounts *made = mem_zalloc(sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    made->cache = cache;
    made->listings.cache = cache;
    *mounts = made;
    return 0;
}

static void mount_free(struct mount *mount)
{
    assets_destroy(mount->root.assets);
    assets_destroy(mount->fallback.assets);
    file_root_close(&mount->root);
    file_root_close(&mount->fallback);
    mem_free(mount->settings);
    mem_free(mount);
}

void static_mounts_set_base(struct static_mounts *mounts, int base_fd)
{
    mounts->base_fd = base_fd;
}

void static_mounts_abandon(struct static_mounts *mounts)
{
    for (size_t i = 0; i < mounts->count; i++) {
        file_root_abandon(&mounts->mounts[i]->root);
        file_root_abandon(&mounts->mounts[i]->fallback);
    }
}

void static_mounts_destroy(struct static_mounts *mounts)
{
    if (mounts == NULL) {
        return;
    }
    for (size_t i = 0; i < mounts->count; i++) {
        mount_free(mounts->mounts[i]);
    }
    mem_free(mounts);
}

/* The length of a prefix without the slash at its end, or -EINVAL. Paths are normalised before they are compared with
 * prefixes, so a prefix with which no such path begins is a mistake. */
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

/* What a mount serves: a directory, or asset_count files in memory. */
struct mount_source {
    const char *directory; /* NULL: assets */
    const struct asset *assets;
    size_t asset_count;
    bool copies; /* the assets */
    int base_fd; /* where a relative directory starts */
};

static const char *name_source(const char *directory)
{
    return directory == NULL ? "files in memory" : directory;
}

static int open_root(struct file_root *root, const struct mount_source *source, const struct static_settings *settings,
                     const char *fields, const char *only, char *err, size_t errlen)
{
    int rv = 0;
    if (source->directory != NULL) {
        rv = file_root_open_at(root, source->base_fd, source->directory, fields, err, errlen);
    } else {
        *root = (struct file_root){.fields = fields, .dir_fd = -1, .base_fd = -1};
    }
    root->types = settings->types;
    root->type_count = settings->type_count;
    root->has_siblings = settings->precompressed;
    if (source->directory == NULL) {
        rv = assets_create(&root->assets, source->assets, source->asset_count, root, only, source->copies, err, errlen);
    }
    return rv;
}

/* Check that an option names one of the files in memory, which, unlike those of a directory, do not come and go. */
static int check_named(const struct mount *mount, const char *option, const char *path, char *err, size_t errlen)
{
    struct cached_file *file = NULL;
    if (path == NULL || assets_get(mount->root.assets, path, strlen(path), &file) == 0) {
        cached_file_put(file);
        return 0;
    }
    return error_text(err, errlen, -EBADMSG, "%s: \"%s\" is not among the files in memory", option, path);
}

static int check_asset_options(const struct mount *mount, char *err, size_t errlen)
{
    if (mount->settings->list) {
        return error_text(err, errlen, -EBADMSG, "list: files in memory are not listed");
    }
    int rv = check_named(mount, "fallback", mount->settings->fallback, err, errlen);
    return rv < 0 ? rv : check_named(mount, "not_found", mount->settings->not_found, err, errlen);
}

/* Make a mount, without a prefix yet. */
static int mount_create(struct mount **mount, const struct mount_source *source, const struct static_options *options,
                        char *err, size_t errlen)
{
    const char *directory = name_source(source->directory);
    char reason[ERROR_MAX];
    struct mount *made = mem_zalloc(sizeof *made);
    if (made == NULL) {
        error_text(err, errlen, 0, "cannot serve \"%s\": %s", directory, errno_text(ENOMEM));
        return -ENOMEM;
    }
    int rv = static_settings_create(&made->settings, options, reason, sizeof reason);
    if (rv < 0) {
        error_text(err, errlen, 0, "cannot serve \"%s\": %s", directory, reason);
        mem_free(made);
        return rv;
    }
    const struct static_settings *settings = made->settings;
    made->fallback = (struct file_root){.dir_fd = -1, .base_fd = -1};
    rv = open_root(&made->root, source, settings, settings->fields, NULL, err, errlen);
    rv = rv < 0 || source->directory != NULL ? rv : check_asset_options(made, err, errlen);
    if (rv == 0 && settings->fallback != NULL) {
        rv = open_root(&made->fallback, source, settings, settings->fallback_fields, settings->fallback, err, errlen);
    }
    if (rv < 0) {
        mount_free(made);
        return rv;
    }
    *mount = made;
    return 0;
}

static int add(struct static_mounts *mounts, const char *prefix, const struct mount_source *source,
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
        return error_text(err, errlen, -EEXIST, "static prefix \"%s\" already serves \"%s\"", prefix,
                          name_source(same->root.directory));
    }
    if (mounts->count == STATIC_MOUNTS_MAX) {
        return error_text(err, errlen, -ENOSPC, "cannot serve \"%s\": more than %d static directories",
                          name_source(source->directory), STATIC_MOUNTS_MAX);
    }
    struct mount *mount = NULL;
    int rv = mount_create(&mount, source, options, err, errlen);
    if (rv < 0) {
        return rv;
    }
    memcpy(mount->prefix, prefix, (size_t)prefix_len);
    mount->prefix_len = (size_t)prefix_len;
    mount->is_pinned = is_pinned;
    snprintf(mount->where, sizeof mount->where, "%s", options == NULL || options->where == NULL ? "" : options->where);
    mounts->mounts[mounts->count++] = mount;
    mounts->top = prefix_len == 0 ? mount : mounts->top;
    return 0;
}

int static_mounts_add(struct static_mounts *mounts, const char *prefix, const char *directory,
                      const struct static_options *options, char *err, size_t errlen)
{
    return add(mounts, prefix, &(struct mount_source){.directory = directory, .base_fd = mounts->base_fd}, options,
               false, err, errlen);
}

int static_mounts_pin(struct static_mounts *mounts, const char *prefix, const char *directory,
                      const struct static_options *options, char *err, size_t errlen)
{
    return add(mounts, prefix, &(struct mount_source){.directory = directory, .base_fd = mounts->base_fd}, options,
               true, err, errlen);
}

int static_mounts_pin_assets(struct static_mounts *mounts, const char *prefix, const struct asset *assets, size_t count,
                             const struct static_options *options, char *err, size_t errlen)
{
    const struct mount_source source = {.assets = assets, .asset_count = count};
    return add(mounts, prefix, &source, options, true, err, errlen);
}

int static_mounts_add_assets(struct static_mounts *mounts, const char *prefix, const struct asset *assets, size_t count,
                             bool copies, const struct static_options *options, char *err, size_t errlen)
{
    const struct mount_source source = {.assets = assets, .asset_count = count, .copies = copies};
    return add(mounts, prefix, &source, options, false, err, errlen);
}

static void log_if_missing(const struct mount *mount, const char *option, const char *path, const struct log *log)
{
    int fd = path == NULL ? -EINVAL
                          : open_beneath(mount->root.dir_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0) {
        sys_close(fd);
    } else if (fd == -ENOENT || fd == -ENOTDIR) {
        log_write(log, LOG_WARN, "%s%s: \"%s\" is not in \"%s\" now: until it is, a plain 404 is sent instead",
                  mount->where, option, path, mount->root.directory);
    }
}

void static_mounts_log_missing(const struct static_mounts *mounts, const struct log *log)
{
    for (size_t i = 0; i < mounts->count; i++) {
        const struct mount *mount = mounts->mounts[i];
        if (mount->root.directory != NULL) {
            log_if_missing(mount, "fallback", mount->settings->fallback, log);
            log_if_missing(mount, "not_found", mount->settings->not_found, log);
        }
    }
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

/* A prefix covers itself, and every path in which a slash follows it. */
static bool covers(const struct mount *mount, const char *path, size_t len)
{
    size_t prefix_len = mount->prefix_len;
    return prefix_len <= len && (prefix_len == len || path[prefix_len] == '/') &&
           words_equal(path, mount->prefix, prefix_len);
}

struct mount *static_mounts_search(const struct static_mounts *mounts, const char *path, size_t len)
{
    struct mount *best = NULL;
    for (size_t i = 0; i < mounts->count; i++) {
        struct mount *mount = mounts->mounts[i];
        if (covers(mount, path, len) && (best == NULL || mount->prefix_len > best->prefix_len)) {
            best = mount;
        }
    }
    return best;
}

bool static_mounts_cover_from(const struct static_mounts *mounts, const char *path, size_t len, size_t min_len)
{
    const struct mount *mount = static_mounts_find(mounts, path, len);
    return mount != NULL && mount->prefix_len >= min_len;
}

void static_mounts_add_fields_of_path(const struct static_mounts *mounts, struct exchange *exchange)
{
    mount_add_fields(exchange, static_mounts_find(mounts, exchange->path, exchange->path_len));
    response_drop_content_fields(exchange);
}
