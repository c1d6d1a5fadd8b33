#ifndef EVSERVE_HTTP_HOST_NEW_ADDRESSES_H
#define EVSERVE_HTTP_HOST_NEW_ADDRESSES_H

/* What a reload changes of the addresses that the script listens on. */

#include <stddef.h>
#include <stdint.h>

struct offer;
struct worker;

/* On the first worker's thread: open the addresses of next that are not open, held, and put those that next no longer
 * names into the set gone. Addresses are the same if their texts are. Returns 0, or -errno with a text in err: then
 * server_drop_listeners() must follow. */
int new_addresses_open(struct worker *first, const struct offer *next, uint32_t *gone, char *err, size_t errlen);

/* Say in the log what has changed, once it has: the listeners from number on are new. */
void new_addresses_log(const struct worker *first, unsigned number, uint32_t gone);

#endif
