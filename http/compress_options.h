#ifndef EVSERVE_HTTP_COMPRESS_OPTIONS_H
#define EVSERVE_HTTP_COMPRESS_OPTIONS_H

/* What a host wants to have compressed on the fly (http/compress.h), and how. Made before a server serves it; from then
 * on it is only read. */

#include "http/encoding.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    COMPRESS_TYPES_MAX = 64,       /* patterns of media types */
    COMPRESS_LEVEL_DEFAULT = 4,    /* of 1 to 9 */
    COMPRESS_MIN_DEFAULT = 1024,   /* bytes: shorter content fits a packet as it is */
    COMPRESS_MIN_MOST = 1073741824 /* bytes that compress_min may be at most */
};

struct compress_options {
    bool is_off;                           /* nothing is: the host says so, though the default host may not */
    uint8_t count;                         /* of order */
    enum encoding order[ENCODING_COUNT];   /* what is offered, the one that we like best first */
    unsigned level;                        /* 1 to 9 */
    uint64_t min_bytes;                    /* content of a known length below this stays as it is */
    unsigned type_count;                   /* of types */
    const char *types[COMPRESS_TYPES_MAX]; /* "text/ *" (without the blank), "application/json", in lower case */
    char *text;                            /* owned: where they are */
};

/* What a host or a script says. Zeros: the defaults. */
struct compress_order {
    const char *codings; /* "br, zstd, gzip", "off"; NULL or "": "on", which is all that are there */
    const char *types;   /* media types, with commas between them */
    unsigned level;
    uint64_t min_bytes;
    bool has_min; /* min_bytes counts even if it is 0 */
};

/* Make options, and load the libraries that they need, which has to happen before the sandbox. Returns 0, or -EINVAL,
 * -ELIBACC (a library is missing: the text names its package) or -ENOMEM, with a text in err that begins with the name
 * of the setting. compress_options_destroy() takes NULL. */
int compress_options_create(struct compress_options **options, const struct compress_order *order, char *err,
                            size_t errlen);
void compress_options_destroy(struct compress_options *options);

/* Whether content of that Content-Type, with or without parameters, is to be compressed. */
bool compress_options_have(const struct compress_options *options, const char *type, size_t len);

#endif
