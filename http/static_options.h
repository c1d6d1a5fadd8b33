#ifndef EVSERVE_HTTP_STATIC_OPTIONS_H
#define EVSERVE_HTTP_STATIC_OPTIONS_H

/* How a mounted directory is served: the options that its owner sets, and the checked copy that the mount keeps. */

#include "http/mime.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    STATIC_INDEX_MAX = 8,      /* index names */
    STATIC_NAME_MAX = 255,     /* bytes of one */
    STATIC_HEADERS_MAX = 32,   /* extra fields */
    STATIC_FIELDS_MAX = 8192,  /* bytes of all their lines */
    STATIC_TYPES_MAX = 256,    /* types that the user adds */
    STATIC_EXTENSION_MAX = 31, /* bytes of an extension */
    STATIC_FILE_MAX = 1024,    /* bytes of the path of fallback and of not_found */
};

struct static_field {
    const char *name, *value; /* texts that a field line may have */
};

/* All zero is the default. Pointers need to be valid only during the call that takes the options. */
struct static_options {
    /* Send "Cache-Control: max-age" of so many seconds with every file; 0 sends none. It is in 200, 206 and 304, but
     * not in listings, redirects, not_found and the fallback, which may change at any time. */
    uint32_t cache_s;

    /* Fields that are added to every response of the mount: files, listings, redirects, not_found, OPTIONS, and the
     * short error texts (403, 404, 405, 412, 416, 500, 503), which have none of those that describe a file
     * (response_drop_content_fields()). Not allowed: fields that the server sends itself (Content-Length, Content-Type,
     * ETag, ...), and Cache-Control together with cache_s. */
    const struct static_field *headers;
    size_t header_count; /* of headers */

    /* Names of files that are served for their directory, tried in this order; index_count 0 is "index.html". */
    const char *const *index;
    size_t index_count; /* of index */
    bool no_index;      /* no file is served for its directory */

    /* A file below the directory that is served with 200 for GET and HEAD of every path that is not found: for
     * single-page apps, whose paths exist only in the browser. As with nginx's "try_files $uri $uri/ /index.html", this
     * includes paths with an extension: "/users/john.doe" belongs to the app just as "/users/1" does. It is not served
     * for hidden dot files, for files that may not be read (403), and for paths that a route has with other methods
     * (405). A directory without an index file counts as not found, unless it is listed. The fallback has
     * "Cache-Control: no-cache" in place of the max-age, unless headers say otherwise: a script that is deployed a
     * minute later must not be hidden by a page that caches keep under its name. */
    const char *fallback;

    /* A file below the directory that is the content of every 404. Conditions and ranges do not apply to it. */
    const char *not_found;

    /* Media types by extension ("wasm" or ".wasm", in any case), before the built-in ones. */
    const struct mime_override *types;
    size_t type_count; /* of types */

    bool dotfiles;         /* serve files and directories whose name begins with a dot */
    bool list;             /* list directories that have no index file */
    bool no_precompressed; /* do not look for file.br, file.zst and file.gz beside file */

    /* Text for the log in front of the name of an option: "site.lua:12: app.static: "; NULL for none. */
    const char *where;
};

/* A checked copy of options, in one block of memory. */
struct static_settings {
    const char *fields;           /* field lines of every file: Cache-Control, then the headers */
    const char *fallback_fields;  /* the same for the fallback */
    struct static_field *headers; /* header_count of them */
    size_t header_count;
    const char *index[STATIC_INDEX_MAX]; /* index_count names */
    size_t index_count;
    const char *fallback;        /* path without a leading slash, or NULL */
    const char *not_found;       /* the same */
    struct mime_override *types; /* type_count of them; extensions in lower case, without the dot */
    size_t type_count;
    bool dotfiles, list, precompressed; /* as in the options; precompressed is the opposite of no_precompressed */
};

/* Check options. Returns 0, or -EINVAL with a text that begins with the name of the option that is wrong:
 * "headers: \"a b\" is not a field name". */
int static_options_check(const struct static_options *options, char *err, size_t errlen);

/* Check options (NULL: the defaults) and make a copy, to be freed with mem_free(). Returns 0, -ENOMEM, or -EINVAL with
 * the text of static_options_check(). */
int static_settings_create(struct static_settings **settings, const struct static_options *options, char *err,
                           size_t errlen);

#endif
