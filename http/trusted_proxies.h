#ifndef EVSERVE_HTTP_TRUSTED_PROXIES_H
#define EVSERVE_HTTP_TRUSTED_PROXIES_H

/* The proxies in front whose word counts: the setting trusted_proxies. */

#include <stdbool.h>
#include <stddef.h>

struct peer;
struct trusted_proxies;

enum { TRUSTED_PROXIES_MAX = 64 }; /* addresses and networks in one setting */

/* Read a list such as "127.0.0.1, 10.0.0.0/8, fd00::/8, unix:"; "unix:" means every client of a unix socket, and "none"
 * alone means nobody, which makes *made NULL. Returns 0 with what trusted_proxies_destroy() frees, -ENOMEM, or -EINVAL
 * with a text in err that quotes what is wrong. */
int trusted_proxies_parse(struct trusted_proxies **made, const char *text, char *err, size_t errlen);
void trusted_proxies_destroy(struct trusted_proxies *proxies); /* NULL is allowed */

/* Whether a client is one of them. NULL trusts nobody. */
bool trusted_proxies_have(const struct trusted_proxies *proxies, const struct peer *peer);

/* The list as it was written. */
const char *trusted_proxies_text(const struct trusted_proxies *proxies);

#endif
