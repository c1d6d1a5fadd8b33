#ifndef EVSERVE_HTTP_HOST_OFFER_DESCRIBE_H
#define EVSERVE_HTTP_HOST_OFFER_DESCRIBE_H

/* What an offer says for people: evserve_check(). */

#include <stddef.h>

struct offer;

/* Describe an offer for people, one line of text per call of line: limits and settings that differ from the defaults,
 * and the addresses that offer_listen() would listen on. Returns 0 or more, or -EINVAL with a text in err about an
 * invalid address. */
int offer_describe(const struct offer *offer, const char *listen, void (*line)(void *arg, const char *text), void *arg,
                   char *err, size_t errlen);

#endif
