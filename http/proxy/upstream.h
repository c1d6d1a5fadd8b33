#ifndef EVSERVE_HTTP_UPSTREAM_H
#define EVSERVE_HTTP_UPSTREAM_H

/* The upstreams of a proxy: where they are, and which of them has failed. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct proxy;
struct proxy_options;
struct upstream;

/* Read a URL into an upstream of zeros, whose proxy has its texts already. Returns 0, -ENOMEM, or with a text
 * in err -EINVAL, or -errno if a file of TLS cannot be opened. upstream_done() is due in any case. */
int upstream_init(struct upstream *upstream, const char *text, const struct proxy_options *options, char *err,
                  size_t errlen);
void upstream_done(struct upstream *upstream);

/* The upstream for a request: they take turns, but those that are down are passed over; if all are, the one that is the
 * next to be up again. tried is a set of those that have had the request, bit n for upstream n. NULL: all of them. */
struct upstream *upstream_choose(struct proxy *proxy, uint32_t tried, int64_t now_ms);

/* It has failed; it has responded. Returns whether it is down from now on, and was not before. */
bool upstream_note_failure(struct proxy *proxy, struct upstream *upstream, int64_t now_ms);
void upstream_note_success(struct upstream *upstream);

/* What names it in the log: its URL. */
const char *upstream_name(const struct upstream *upstream);

#endif
