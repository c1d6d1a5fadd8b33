#ifndef EVSERVE_HTTP_HOST_RELOAD_H
#define EVSERVE_HTTP_HOST_RELOAD_H

/* Reloading a running server: evserve_reload(). */

#include <stddef.h>

struct worker;

/* Make a new offer for each of the workers, and when all of them have one, go on to it. Any thread, one at a time.
 * Returns 0, or -errno with a text in err, and every worker serves what it served before. */
int reload_workers(struct worker *workers, unsigned count, char *err, size_t errlen);

#endif
