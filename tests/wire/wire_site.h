#ifndef EVSERVE_TESTS_WIRE_SITE_H
#define EVSERVE_TESTS_WIRE_SITE_H

/* The site that wire cases are run against: C routes, and a directory of files made for the run. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reactor;
struct site;

enum { WIRE_LATE_MS = 10 }; /* what /late waits before it answers */

/* Make the files below a new temporary directory and return its path, which lives until wire_files_remove(). Ends the
 * program when it cannot. */
const char *wire_files_make(void);
void wire_files_remove(void);

/* Change a file of the directory changing/ (wire_site.c lists them): write (in place), append, truncate (to size),
 * replace (by renaming), remove, link (data is the target), mkdir. A file that was changed was so a second after the
 * others. Returns whether there is such a change, and room to remember it; ends the program when it cannot be made. */
bool wire_files_change(const char *change, const char *path, const char *data, size_t len, uint64_t size);

/* Take back all changes. */
void wire_files_restore(void);

/* Add the routes (wire_site.c lists them) and mount the files at "/". Returns 0 or -errno. */
int wire_site_fill(struct site *site, struct reactor *reactor);

#endif
