/* Directories of a host: struct evs_mount of evserve.h, copied when the server starts, then made a static mount of each
 * site.
 *
 * Failure modes: an invalid mount is refused with a text that names its member:
 *
 *     evserve_config.mounts[1].headers: "a b" is not a field name */

#include "http/host/evs_mounts.h"

#include "core/log.h"
#include "core/mem.h"
#include "evserve.h"
#include "http/assets.h"
#include "http/host/evs_block.h"
#include "http/mime.h"
#include "http/static_mounts.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Copying. */

static const char *const *put_texts(struct evs_block *block, const char *const *texts)
{
    size_t count = 0;
    while (texts != NULL && texts[count] != NULL) {
        count++;
    }
    const char **copy = texts == NULL ? NULL : evs_block_put(block, texts, (count + 1) * sizeof texts[0]);
    for (size_t i = 0; i < count; i++) {
        const char *text = evs_block_text(block, texts[i]);
        if (copy != NULL) {
            copy[i] = text;
        }
    }
    return copy;
}

static const struct evs_type *put_types(struct evs_block *block, const struct evs_type *types)
{
    size_t count = 0;
    while (types != NULL && types[count].extension != NULL) {
        count++;
    }
    struct evs_type *copy = types == NULL ? NULL : evs_block_put(block, types, (count + 1) * sizeof types[0]);
    for (size_t i = 0; i < count; i++) {
        struct evs_type type = {.extension = evs_block_text(block, types[i].extension)};
        type.type = evs_block_text(block, types[i].type);
        if (copy != NULL) {
            copy[i] = type;
        }
    }
    return copy;
}

struct evs_mount *evs_mounts_put(struct evs_block *block, const struct evs_mount *mounts)
{
    size_t count = 0;
    while (mounts[count].prefix != NULL) {
        count++;
    }
    struct evs_mount *copy = evs_block_put(block, mounts, (count + 1) * sizeof mounts[0]);
    for (size_t i = 0; i < count; i++) {
        struct evs_mount mount = mounts[i];
        mount.prefix = evs_block_text(block, mount.prefix);
        mount.dir = evs_block_text(block, mount.dir);
        mount.index = put_texts(block, mount.index);
        mount.fallback = evs_block_text(block, mount.fallback);
        mount.not_found = evs_block_text(block, mount.not_found);
        mount.headers = evs_block_fields(block, mount.headers);
        mount.types = put_types(block, mount.types);
        if (copy != NULL) {
            copy[i] = mount;
        }
    }
    return copy;
}

struct evs_mount *evs_mounts_copy(const struct evs_mount *mounts)
{
    struct evs_block block = {0};
    evs_mounts_put(&block, mounts);
    block = (struct evs_block){.data = mem_alloc(block.used)};
    return block.data == NULL ? NULL : evs_mounts_put(&block, mounts);
}

/* Mounting. */

/* The options of a mount, with room for what they point to: for one more than is allowed, so that too many are
 * noticed. */
struct mount_reading {
    struct static_options options;
    struct static_field headers[STATIC_HEADERS_MAX + 1];
    struct mime_override types[STATIC_TYPES_MAX + 1];
};

static int read_headers(struct mount_reading *reading, const struct evs_field *headers, char *err, size_t errlen)
{
    size_t *count = &reading->options.header_count;
    while (headers != NULL && headers[*count].name != NULL && *count <= STATIC_HEADERS_MAX) {
        if (headers[*count].value == NULL) {
            return error_text(err, errlen, -EINVAL, "headers: %.64s has no value", headers[*count].name);
        }
        reading->headers[*count] = (struct static_field){headers[*count].name, headers[*count].value};
        ++*count;
    }
    return 0;
}

static int read_types(struct mount_reading *reading, const struct evs_type *types, char *err, size_t errlen)
{
    size_t *count = &reading->options.type_count;
    while (types != NULL && types[*count].extension != NULL && *count <= STATIC_TYPES_MAX) {
        if (types[*count].type == NULL) {
            return error_text(err, errlen, -EINVAL, "types: %.64s has no type", types[*count].extension);
        }
        reading->types[*count] = (struct mime_override){types[*count].extension, types[*count].type};
        ++*count;
    }
    return 0;
}

/* Fill in options. Returns 0, or -EINVAL with a text that begins with the name of the member. */
static int read_options(struct mount_reading *reading, const struct evs_mount *mount, char *err, size_t errlen)
{
    struct static_options *options = &reading->options;
    *options = (struct static_options){
        .cache_s = mount->cache_s,
        .headers = reading->headers,
        .index = mount->index,
        .no_index = mount->index != NULL && mount->index[0] == NULL,
        .fallback = mount->fallback,
        .not_found = mount->not_found,
        .types = reading->types,
        .dotfiles = mount->dotfiles != 0,
        .list = mount->list != 0,
        .no_precompressed = mount->no_precompressed != 0,
    };
    if (mount->dir == NULL && mount->assets == NULL) {
        return error_text(err, errlen, -EINVAL, "dir: \"%s\" has neither a directory nor assets", mount->prefix);
    }
    if (mount->dir != NULL && mount->assets != NULL) {
        return error_text(err, errlen, -EINVAL, "assets: \"%s\" has a directory as well", mount->prefix);
    }
    if (mount->cache_s > INT32_MAX) { /* RFC 9111 section 1.2.2: the most that recipients can hold */
        return error_text(err, errlen, -EINVAL, "cache_s: %lu is more than 68 years", (unsigned long)mount->cache_s);
    }
    while (mount->index != NULL && mount->index[options->index_count] != NULL) {
        options->index_count++;
    }
    int rv = read_headers(reading, mount->headers, err, errlen);
    rv = rv < 0 ? rv : read_types(reading, mount->types, err, errlen);
    return rv < 0 ? rv : static_options_check(options, err, errlen);
}

/* Mount assets. Returns as static_mounts_pin_assets(). */
static int pin_assets(struct static_mounts *added, const struct evs_mount *mount, const struct static_options *options,
                      char *err, size_t errlen)
{
    size_t count = 0;
    while (mount->assets[count].path != NULL) {
        count++;
    }
    struct asset *list = mem_alloc((count + 1) * sizeof *list);
    if (list == NULL) {
        return error_text(err, errlen, -ENOMEM, "%s", errno_text(ENOMEM));
    }
    for (size_t i = 0; i < count; i++) {
        const struct evs_asset *asset = &mount->assets[i];
        list[i] = (struct asset){asset->path, asset->content, asset->len, asset->type, asset->etag, asset->modified};
    }
    int rv = static_mounts_pin_assets(added, mount->prefix, list, count, options, err, errlen);
    mem_free(list);
    return rv;
}

/* What comes before the text if a mount with valid options is refused: the member to blame. */
static const char *member_of_error(const struct evs_mount *mount, int error)
{
    if (error == -EINVAL || error == -EEXIST) {
        return ".prefix: ";
    }
    return error == -EBADMSG ? "." : error == -ENOSPC || mount->dir == NULL ? ": " : ".dir: ";
}

int evs_mounts_add(struct static_mounts *added, const struct evs_mount *mounts, const char *name, char *err,
                   size_t errlen)
{
    for (size_t i = 0; mounts[i].prefix != NULL; i++) {
        char why[512];
        char where[128];
        struct mount_reading reading;
        int rv = read_options(&reading, &mounts[i], why, sizeof why);
        snprintf(where, sizeof where, "%s[%zu].", name, i);
        reading.options.where = where;
        if (rv < 0) {
            return error_text(err, errlen, rv, "%s[%zu].%s", name, i, why);
        }
        rv = mounts[i].dir == NULL
                 ? pin_assets(added, &mounts[i], &reading.options, why, sizeof why)
                 : static_mounts_pin(added, mounts[i].prefix, mounts[i].dir, &reading.options, why, sizeof why);
        if (rv < 0) {
            return error_text(err, errlen, rv, "%s[%zu]%s%s", name, i, member_of_error(&mounts[i], rv), why);
        }
    }
    return 0;
}
