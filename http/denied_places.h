#ifndef EVSERVE_HTTP_DENIED_PLACES_H
#define EVSERVE_HTTP_DENIED_PLACES_H

/* Files and directories that may not be read. Their clients get 403, as often as they ask; the log gets one line for
 * each place, since it is the site that is to be mended. For the file cache, which has one of these. One thread. */

#include <stddef.h>
#include <stdint.h>

struct file_root;
struct log;

enum {
    DENIED_PLACES_MAX = 32,      /* that are told; the last line says that it is the last */
    DENIED_LOOK_PAUSE_MS = 1000, /* between two looks for a place: clients may ask for any number of paths below one */
};

struct denied_places {
    uint64_t known[DENIED_PLACES_MAX]; /* hashes of those that were told */
    unsigned count;                    /* of known */
    int64_t look_ms;                   /* no look at the disk before that */
};

/* Opening path below root, len bytes and a NUL, failed with error. If it is one that a site's permissions cause, find
 * the place that denies it: a directory that cannot be passed through, the path itself, or, if owner and mode allow it
 * and thus the sandbox or another security module does not, the whole root. A place that was not told yet is a
 * warning. */
void denied_places_note(struct denied_places *places, const struct log *log, struct file_root *root, const char *path,
                        size_t len, int error, int64_t now_ms);

#endif
