#ifndef EVSERVE_HTTP_MULTIPART_H
#define EVSERVE_HTTP_MULTIPART_H

/* Incremental parser of multipart/form-data (RFC 7578; RFC 2046 section 5.1): bytes in, slices out; no I/O, no
 * allocation. Content passes through as it lies; what is kept is one part's header fields, in the struct. */

#include "http/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MULTIPART_BOUNDARY_MAX = 70, /* bytes of a boundary (RFC 2046 section 5.1.1) */
    MULTIPART_HEAD_MAX = 4096,   /* bytes of the header fields of one part */
    MULTIPART_FIELDS_MAX = 16,   /* header fields of one part */
    MULTIPART_PARTS_MAX = 1000,  /* parts of one body */
};

enum multipart_event {
    MULTIPART_MORE,     /* all bytes are taken: go on with what follows */
    MULTIPART_PART,     /* a part begins: its header fields are known */
    MULTIPART_CONTENT,  /* some of its content */
    MULTIPART_PART_END, /* its content is complete */
    MULTIPART_ERROR,    /* status and reason say why */
};

struct multipart {
    uint8_t state;                              /* where to resume */
    uint8_t delimiter_len;                      /* bytes of delimiter */
    uint8_t matched;                            /* bytes of delimiter that the bytes before ended with */
    bool is_last;                               /* the delimiter is followed by "--" */
    uint16_t parts;                             /* begun so far */
    uint16_t head_len;                          /* bytes of head */
    uint8_t field_count;                        /* of fields */
    int status;                                 /* of MULTIPART_ERROR: 400; 413 for more than one of the limits above */
    const char *reason;                         /* of MULTIPART_ERROR: static text */
    char delimiter[MULTIPART_BOUNDARY_MAX + 4]; /* CR LF "--" boundary */
    char head[MULTIPART_HEAD_MAX];              /* header fields of the part */
    struct field fields[MULTIPART_FIELDS_MAX];  /* slices of head */
};

/* Start, with the value of Content-Type. Returns 0, 415 when it is not multipart/form-data, or 400 when its boundary is
 * missing or malformed. */
int multipart_begin(struct multipart *multipart, const char *content_type, size_t len);

/* Take bytes until something is to be told. *used says how many of len were taken. With MULTIPART_CONTENT *content has
 * *content_len bytes, at least one; they lie in data, or in the struct when they looked like the beginning of a
 * delimiter at the end of the bytes before. Call again at once while *used < len or the event is not MULTIPART_MORE.
 * What follows the last delimiter is taken and ignored. */
enum multipart_event multipart_parse(struct multipart *multipart, const char *data, size_t len, size_t *used,
                                     const char **content, size_t *content_len);

/* The body has ended. Returns whether that was behind its last delimiter; else status and reason are set. */
bool multipart_finish(struct multipart *multipart);

/* A header field of the part (name in any case), or NULL; *len gets the length of its value. */
const char *multipart_field(const struct multipart *multipart, const char *name, size_t *len);

/* A parameter of the part's Content-Disposition, such as "name". Returns its length, written to out (which has room for
 * MULTIPART_HEAD_MAX bytes), or -1 when there is none; see parameter_find(). Escapes like %22, which browsers send for
 * a quote, stay as they are. */
int multipart_parameter(const struct multipart *multipart, const char *name, char *out);

/* The name of the part's file, likewise; -1 for what is no file. filename* (RFC 8187), which RFC 7578 section 4.2
 * forbids and some clients send all the same, goes before filename, as in RFC 6266 section 4.3, and is decoded. */
int multipart_filename(const struct multipart *multipart, char *out);

/* Whether a Content-Type (of len bytes) is type, such as "application/json", in any case and with any parameters. */
bool media_type_is(const char *content_type, size_t len, const char *type);

#endif
