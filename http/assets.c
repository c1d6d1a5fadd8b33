/* Files in memory by path.
 *
 * Happy path: assets_create() makes a file of each asset, and another one of each that may be sent in place of its
 * original, and sorts all by path and coding. assets_get() finds one by bisection and returns a reference.
 *
 * Failure modes: an asset that makes no sense is rejected when the server starts, with a text that names it. */

#include "http/assets.h"

#include "core/beneath.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/sys.h"
#include "http/cached_file.h"
#include "http/file_load.h"
#include "http/file_root.h"
#include "http/mime.h"
#include "http/response.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NEVER_MS = -1 }; /* no look at a disk */

static const int64_t LATEST_S = 253402300799; /* 9999-12-31 23:59:59: years in dates have four digits */

struct assets {
    size_t count;                /* of files */
    struct cached_file *files[]; /* in order of path, then of encoding; a reference to each is ours */
};

/* Order. */

static int compare_paths(const char *path, size_t len, const char *other, size_t other_len)
{
    int order = memcmp(path, other, len < other_len ? len : other_len);
    return order != 0 ? order : (len > other_len) - (len < other_len);
}

static int compare_files(const void *a, const void *b)
{
    const struct cached_file *file = *(struct cached_file *const *)a;
    const struct cached_file *other = *(struct cached_file *const *)b;
    int order = compare_paths(file->path, file->path_len, other->path, other->path_len);
    return order != 0 ? order : (int)file->encoding - (int)other->encoding;
}

/* How many of count files, which are in order, come before path in whatever encoding. */
static size_t count_before(struct cached_file *const *files, size_t count, const char *path, size_t len)
{
    size_t first = 0, behind = count;
    while (first < behind) {
        size_t middle = first + (behind - first) / 2;
        if (compare_paths(files[middle]->path, files[middle]->path_len, path, len) < 0) {
            first = middle + 1;
        } else {
            behind = middle;
        }
    }
    return first;
}

/* The file called path itself, which comes before its siblings, or NULL. */
static struct cached_file *find_original(struct cached_file *const *files, size_t count, const char *path, size_t len)
{
    size_t at = count_before(files, count, path, len);
    struct cached_file *file = at < count ? files[at] : NULL;
    return file != NULL && file->path_len == len && memcmp(file->path, path, len) == 0 ? file : NULL;
}

/* Whether a file lies below path. The first of them need not follow path itself ("a", "a-b", "a/b"). */
static bool is_directory(const struct assets *assets, const char *path, size_t len)
{
    char below[BENEATH_PATH_MAX + 1];
    if (len + 1 > sizeof below) {
        return false;
    }
    memcpy(below, path, len);
    below[len] = '/';
    size_t at = count_before(assets->files, assets->count, below, len + 1);
    const struct cached_file *file = at < assets->count ? assets->files[at] : NULL;
    return file != NULL && file->path_len > len && memcmp(file->path, below, len + 1) == 0;
}

/* Not inlined: files on disk, which go through the same functions, would pay for it with 40 instructions a request. */
__attribute__((noinline)) int assets_get(const struct assets *assets, const char *path, size_t len,
                                         struct cached_file **file)
{
    struct cached_file *found = find_original(assets->files, assets->count, path, len);
    if (found == NULL) {
        return is_directory(assets, path, len) ? -EISDIR : -ENOENT;
    }
    cached_file_ref(found);
    *file = found;
    return 0;
}

__attribute__((noinline)) struct cached_file *assets_get_sibling(const struct assets *assets,
                                                                 const struct cached_file *original,
                                                                 enum encoding encoding)
{
    size_t at = count_before(assets->files, assets->count, original->path, original->path_len);
    while (assets->files[at]->encoding != encoding) {
        at++; /* original->siblings says that it comes */
    }
    cached_file_ref(assets->files[at]);
    return assets->files[at];
}

/* Making. */

/* What is wrong with a path, or NULL. */
static const char *find_path_fault(const char *path)
{
    size_t len = strlen(path);
    if (len >= BENEATH_PATH_MAX) {
        return "is too long";
    }
    if (path[0] == '/') {
        return "must not begin with \"/\"";
    }
    for (const char *segment = path; segment <= path + len; segment += strcspn(segment, "/") + 1) {
        size_t segment_len = strcspn(segment, "/");
        bool is_dots = (segment_len == 1 || segment_len == 2) && strspn(segment, ".") == segment_len;
        if (segment_len == 0 || is_dots) {
            return "has an empty or a dot segment";
        }
    }
    return NULL;
}

/* Whether a tag is visible ASCII without quotes, a part of what RFC 9110 section 8.8.3 allows. */
static bool is_tag(const char *tag)
{
    size_t len = 0;
    while (tag[len] > ' ' && tag[len] < 0x7f && tag[len] != '"') {
        len++;
    }
    return tag[len] == '\0' && len > 0 && len <= ASSET_ETAG_MAX;
}

static bool is_type(const char *type)
{
    return type[0] != '\0' && response_check_field("Content-Type", 12, type, strlen(type)) == 0;
}

/* What is wrong with an asset, or NULL. */
static const char *find_fault(const struct asset *asset)
{
    if (asset->content == NULL && asset->len > 0) {
        return "has no content";
    }
    if (asset->type != NULL && !is_type(asset->type)) {
        return "has a type that is no field value";
    }
    if (asset->etag != NULL && !is_tag(asset->etag)) {
        return "has a tag that is not 1 to 36 visible ASCII characters without quotes";
    }
    if (asset->modified_s < 0 || asset->modified_s > LATEST_S) {
        return "was modified at a time that is no date";
    }
    return find_path_fault(asset->path);
}

/* Make the file of an asset, under its own path, or as the sibling of another path in an encoding. */
static int make_asset(const struct asset *asset, const char *path, size_t len, enum encoding encoding, const char *type,
                      const struct file_root *root, bool copies, struct cached_file **file)
{
    size_t type_room = copies && type != NULL ? strlen(type) + 1 : 0;
    struct cached_file *made = mem_alloc(sizeof *made + len + 1 + type_room);
    if (made == NULL) {
        return -ENOMEM;
    }
    int64_t now_s = sys_wall_time_s(); /* Last-Modified is not later than Date (RFC 9110 section 8.8.2.1) */
    *made = (struct cached_file){
        .fd = -1,
        .size = asset->len,
        .lent = asset->content == NULL ? "" : asset->content,
        .last_modified_s = asset->modified_s == 0      ? -1
                           : asset->modified_s < now_s ? asset->modified_s
                                                       : now_s,
        .type = type != NULL ? type : mime_type_of(path, len, root->types, root->type_count),
        .encoding = encoding,
        .refs = 1,
        .checked_ms = NEVER_MS,
        .path_len = (uint32_t)len,
    };
    memcpy(made->path, path, len);
    made->path[len] = '\0';
    if (type_room > 0) {
        made->type = memcpy(made->path + len + 1, type, type_room);
    }
    if (asset->etag != NULL) {
        made->etag_len = (uint32_t)snprintf(made->etag, sizeof made->etag, "\"%s\"", asset->etag);
    } else {
        file_make_content_etag(made, made->lent);
    }
    *file = made;
    return 0;
}

/* The length of the path of an asset's original: that of "a.css" for "a.css.gz". */
static size_t original_len(const char *path, enum encoding encoding)
{
    return strlen(path) - strlen(encoding_suffix(encoding));
}

struct making {
    struct assets *assets; /* in order so far */
    const struct asset *list;
    size_t count; /* of list */
    const struct file_root *root;
    const char *only; /* path, or NULL */
    bool copies;
    char *err;
    size_t errlen;
};

static bool is_wanted(const struct making *making, const char *path, size_t len)
{
    return making->only == NULL || (strlen(making->only) == len && memcmp(making->only, path, len) == 0);
}

static int refuse_asset(const struct making *making, size_t n, int error, const char *fault)
{
    return error_text(making->err, making->errlen, error, "assets[%zu]: \"%.128s\" %s", n, making->list[n].path, fault);
}

/* The files under their own names. */
static int make_originals(const struct making *making)
{
    struct assets *assets = making->assets;
    for (size_t n = 0; n < making->count; n++) {
        const struct asset *asset = &making->list[n];
        const char *fault = find_fault(asset);
        if (fault != NULL) {
            return refuse_asset(making, n, -EBADMSG, fault);
        }
        size_t len = strlen(asset->path);
        if (!is_wanted(making, asset->path, len)) {
            continue;
        }
        int rv = make_asset(asset, asset->path, len, ENCODING_IDENTITY, asset->type, making->root, making->copies,
                            &assets->files[assets->count]);
        if (rv < 0) {
            return refuse_asset(making, n, rv, errno_text(-rv));
        }
        assets->count++;
    }
    qsort(assets->files, assets->count, sizeof assets->files[0], compare_files);
    return 0;
}

/* Name the second of two assets with one path. */
static int check_twins(const struct making *making)
{
    const struct assets *assets = making->assets;
    for (size_t i = 1; i < assets->count; i++) {
        if (compare_files(&assets->files[i - 1], &assets->files[i]) != 0) {
            continue;
        }
        size_t n = making->count - 1;
        while (strcmp(making->list[n].path, assets->files[i]->path) != 0) {
            n--;
        }
        return refuse_asset(making, n, -EBADMSG, "occurs twice");
    }
    return 0;
}

/* Add the siblings. A file that is compressed, by its name, has none itself. */
static int make_siblings(const struct making *making)
{
    struct assets *assets = making->assets;
    size_t originals = assets->count; /* stay in order while siblings come behind them */
    for (size_t n = 0; n < making->count && making->root->has_siblings; n++) {
        const struct asset *asset = &making->list[n];
        enum encoding encoding = encoding_of_name(asset->path, strlen(asset->path));
        size_t len = original_len(asset->path, encoding);
        if (encoding == ENCODING_IDENTITY || encoding_of_name(asset->path, len) != ENCODING_IDENTITY) {
            continue;
        }
        struct cached_file *original = find_original(assets->files, originals, asset->path, len);
        if (original == NULL) {
            continue;
        }
        int rv = make_asset(asset, asset->path, len, encoding, original->type, making->root, making->copies,
                            &assets->files[assets->count]);
        if (rv < 0) {
            return refuse_asset(making, n, rv, errno_text(-rv));
        }
        original->siblings |= 1U << encoding;
        assets->count++;
    }
    qsort(assets->files, assets->count, sizeof assets->files[0], compare_files);
    return 0;
}

static int make_heads_of_all(const struct making *making)
{
    for (size_t i = 0; i < making->assets->count; i++) {
        struct cached_file *file = making->assets->files[i];
        int rv = file_make_heads(file, making->root->fields, making->copies ? (uint32_t)file->size : 0);
        if (rv < 0) {
            return error_text(making->err, making->errlen, rv, "assets: %s", errno_text(-rv));
        }
        if (making->copies) {
            memcpy(file->full.bytes + file->full.head_len, file->lent, (size_t)file->size);
            file->full.content_len = (uint32_t)file->size;
            file->lent = NULL;
        }
    }
    return 0;
}

/* Check that the contents to be copied are not too many. */
static int check_sizes(const struct making *making)
{
    uint64_t total = 0;
    for (size_t n = 0; n < making->count; n++) {
        total += making->list[n].len;
        if (total > ASSETS_COPIED_MAX) {
            return error_text(making->err, making->errlen, -EFBIG, "files in memory: more than %d MiB in total",
                              ASSETS_COPIED_MAX >> 20);
        }
    }
    return 0;
}

int assets_create(struct assets **made, const struct asset *list, size_t count, const struct file_root *root,
                  const char *only, bool copies, char *err, size_t errlen)
{
    struct assets *assets = mem_zalloc(sizeof *assets + 2 * count * sizeof assets->files[0]);
    if (assets == NULL) {
        return error_text(err, errlen, -ENOMEM, "assets: %s", errno_text(ENOMEM));
    }
    const struct making making = {assets, list, count, root, only, copies, err, errlen};
    int rv = copies ? check_sizes(&making) : 0;
    rv = rv < 0 ? rv : make_originals(&making);
    rv = rv < 0 ? rv : check_twins(&making);
    rv = rv < 0 ? rv : make_siblings(&making);
    rv = rv < 0 ? rv : make_heads_of_all(&making);
    if (rv < 0) {
        assets_destroy(assets);
        return rv;
    }
    *made = assets;
    return 0;
}

void assets_destroy(struct assets *assets)
{
    if (assets == NULL) {
        return;
    }
    for (size_t i = 0; i < assets->count; i++) {
        cached_file_put(assets->files[i]);
    }
    mem_free(assets);
}
