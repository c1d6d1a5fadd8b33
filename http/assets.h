#ifndef EVSERVE_HTTP_ASSETS_H
#define EVSERVE_HTTP_ASSETS_H

/* Files in memory, which a mount may serve in place of a directory. They are found by their path and represented by
 * struct cached_file with heads written beforehand, so whatever serves files serves them. Their contents are copied
 * only if that is asked for. */

#include "http/encoding.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct assets;
struct cached_file;
struct file_root;

/* One file. Unless the assets are copies, whatever it points to must stay unchanged until they are destroyed and the
 * last file is given back. */
struct asset {
    const char *path;    /* as below a directory: "css/app.css" */
    const char *content; /* len bytes; may be NULL if len is 0 */
    size_t len;
    const char *type;   /* a valid field value; NULL: by the extension of path */
    const char *etag;   /* ASSET_ETAG_MAX bytes at most, without quotes; NULL: made from the content */
    int64_t modified_s; /* what Last-Modified says, seconds since the epoch; 0: there is none */
};

enum {
    ASSET_ETAG_MAX = 36,
    ASSETS_COPIED_MAX = 16 * 1024 * 1024, /* bytes of all contents that are copied for one mount */
};

/* Make count files, with the fields and types of root. If root->has_siblings, a.css.gz among them also stands for
 * a.css, as in a directory. only: the path of the one file to make, with its siblings; NULL for all. copies: contents
 * and types are copied, so list may go afterwards; contents of more than ASSETS_COPIED_MAX are -EFBIG. Returns 0 with
 * files in *made, or -errno with a text in err: -ENOMEM; -EBADMSG for an asset that makes no sense or is there twice
 * ("assets[2]: \"a.css\" occurs twice"). */
int assets_create(struct assets **made, const struct asset *list, size_t count, const struct file_root *root,
                  const char *only, bool copies, char *err, size_t errlen);
void assets_destroy(struct assets *assets); /* NULL is allowed; files being sent stay valid */

/* Get the file path (normalised, without a leading slash). Returns 0 with a reference in *file, to be given back with
 * cached_file_put(); -EISDIR if files are below path; or -ENOENT. No allocation. */
int assets_get(const struct assets *assets, const char *path, size_t len, struct cached_file **file);

/* Get a compressed sibling of a file that assets_get() gave. encoding is one of original->siblings. Returns it with a
 * reference. */
struct cached_file *assets_get_sibling(const struct assets *assets, const struct cached_file *original,
                                       enum encoding encoding);

#endif
