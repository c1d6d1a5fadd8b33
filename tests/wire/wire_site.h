#ifndef EVSERVE_TESTS_WIRE_SITE_H
#define EVSERVE_TESTS_WIRE_SITE_H

/* The site that wire cases are run against: C routes, and a directory of files made for the run. */

struct reactor;
struct site;

/* Make the files below a new temporary directory and return its path, which lives until wire_files_remove(). Ends the
 * program when it cannot. */
const char *wire_files_make(void);
void wire_files_remove(void);

/* Add the routes (wire_site.c lists them) and mount the files at "/". Returns 0 or -errno. */
int wire_site_fill(struct site *site, struct reactor *reactor);

#endif
