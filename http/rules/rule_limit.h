#ifndef EVSERVE_HTTP_RULES_RULE_LIMIT_H
#define EVSERVE_HTTP_RULES_RULE_LIMIT_H

/* How often, and how many at a time, requests may come: app.limit. Requests beyond that get 429 with Retry-After.
 *
 *   app.limit("/api", { rate = "10/s", burst = 20 })    20 at a time, then 10 a second, from each address
 *   app.limit("/", { concurrency = 10 })                10 that are not over yet
 *   app.limit("/files", { rate_limit = "1M" })          1 MiB a second of each response
 *
 * All rules that fit must agree; of those with a rate_limit the one with the longest prefix counts. A request that one
 * of them refuses costs nothing of the others. Rules that count by user come after basic_auth; what the other ones have
 * counted before is not given back when such a rule refuses.
 *
 * What is counted is in one table for all threads (core/limiter.h, site->limiter), and outlives reloads: a rule with
 * the same host, prefix and limits goes on where it was. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct exchange;
struct rules;

enum {
    LIMIT_CONCURRENCY_MAX = 1000000, /* requests at a time */
    LIMIT_STATUS = 429,              /* unless another one is set */
    LIMIT_FIELD_MAX = 64,            /* bytes of the name of a field that requests are counted by */
    LIMIT_QUIET_MS = 10000,          /* between two lines of the log about the same rule */
};

/* What a rule says: a rate, a concurrency, a rate_limit, or several of these. */
struct rule_limit {
    const char *rate;     /* "10/s", "600/m", "5/h", "100/d"; NULL: any */
    uint64_t burst;       /* so many at a time, at most LIMITER_BURST_MAX; 0: as many as the number of rate */
    uint64_t concurrency; /* so many that are not over yet; 0: any number */
    const char *by;       /* NULL or "client": an address, or the /64 of IPv6; "header:NAME"; "user"; "host"; "all" */
    uint64_t rate_limit;  /* bytes of a response a second, instead of the limit of that name; 0: the rule says none */
    int status;           /* of refusals, 400 to 599; 0: LIMIT_STATUS */
};

/* Add a rule. Returns 0; or with nothing changed -EINVAL, -ENOSPC or -ENOMEM, and a text in err that names the member
 * and quotes what is wrong. */
int rule_limit_add(struct rules **rules, const char *prefix, const struct rule_limit *limit, char *err, size_t errlen);

/* Whether one of the rules counts requests, so that site->limiter is needed. NULL is allowed. */
bool rule_limit_has(const struct rules *rules);

#endif
