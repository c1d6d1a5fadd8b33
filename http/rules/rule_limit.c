/* Happy path: each rule that fits takes one from its rate, and enters its number; the number is left when the exchange
 * is over (exchange->on_end), whatever ends it.
 *
 * Failure modes: a rule refuses, so that what the rules before it have taken is given back; without memory for what is
 * to be left later, the response is 503. A table that is full forgets, see core/limiter.h: that is a line of the
 * log. */

#include "http/rules/rule_limit.h"

#include "core/ascii.h"
#include "core/limiter.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/reactor.h"
#include "http/address_table.h"
#include "http/char_class.h"
#include "http/exchange.h"
#include "http/exchange_log.h"
#include "http/host_name.h"
#include "http/limits.h"
#include "http/peer.h"
#include "http/response.h"
#include "http/rules/basic_auth.h"
#include "http/rules/rules.h"
#include "http/service.h"
#include "http/site.h"
#include "http/vhost.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LIMIT_SECOND_NS INT64_C(1000000000)

enum { RETRY_TEXT_MAX = 24, STATUS_LEAST = 400, STATUS_MOST = 599 };

/* What requests are counted by. */
enum limit_by { LIMIT_BY_CLIENT, LIMIT_BY_FIELD, LIMIT_BY_USER, LIMIT_BY_HOST, LIMIT_BY_ALL };

struct limit_rule {
    struct limiter_rate rate; /* its burst is 0: any */
    uint64_t concurrency;     /* 0: any number */
    uint64_t rate_limit;      /* 0: the rule does not say */
    uint64_t id;              /* of prefix and limits: the same after a reload, and on all threads */
    enum limit_by by;
    int status;                      /* of refusals */
    int64_t may_say_ms;              /* reactor time from which the log may have the next line */
    uint64_t unsaid;                 /* refusals since the last one */
    char field[LIMIT_FIELD_MAX + 1]; /* with LIMIT_BY_FIELD: its name */
};

/* Setting up. */

/* FNV-1a: the same on all threads, and after a reload. */
static uint64_t mix_text(uint64_t id, const void *text, size_t len)
{
    const unsigned char *bytes = text;
    for (size_t i = 0; i < len; i++) {
        id = (id ^ bytes[i]) * UINT64_C(0x100000001b3);
    }
    return id;
}

static int64_t period_of(const char *unit)
{
    static const struct {
        const char *unit;
        int64_t seconds;
    } units[] = {{"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(unit, units[i].unit) == 0) {
            return units[i].seconds * LIMIT_SECOND_NS;
        }
    }
    return 0;
}

static int read_rate(struct limit_rule *made, const struct rule_limit *limit, char *err, size_t errlen)
{
    uint64_t number = 0;
    const char *at = limit->rate;
    while (*at >= '0' && *at <= '9' && number <= UINT32_MAX) {
        number = number * 10 + (uint64_t)(*at++ - '0');
    }
    int64_t period_ns = at > limit->rate && *at == '/' ? period_of(at + 1) : 0;
    if (period_ns == 0 || number == 0 || number > (uint64_t)period_ns) {
        return error_text(
            err, errlen, -EINVAL,
            "rate: requests in a second, minute, hour or day expected, such as \"10/s\", \"600/m\", \"5/h\" "
            "or \"100/d\", got \"%.60s\"",
            limit->rate);
    }
    uint64_t burst = limit->burst != 0 ? limit->burst : number < LIMITER_BURST_MAX ? number : LIMITER_BURST_MAX;
    if (burst > LIMITER_BURST_MAX) {
        return error_text(err, errlen, -EINVAL, "burst: %" PRIu64 " is too large: at most %d", burst,
                          LIMITER_BURST_MAX);
    }
    made->rate.interval_ns = (period_ns + (int64_t)number - 1) / (int64_t)number;
    made->rate.burst = (uint32_t)burst;
    if (made->rate.interval_ns > LIMITER_SPAN_MAX_S * LIMIT_SECOND_NS / (int64_t)burst) {
        return error_text(err, errlen, -EINVAL,
                          "burst: at \"%.60s\", %" PRIu64 " requests take longer than %d days to be free again",
                          limit->rate, burst, LIMITER_SPAN_MAX_S / 86400);
    }
    return 0;
}

static bool is_field_name(const char *name, size_t len)
{
    size_t i = 0;
    while (i < len && char_is(name[i], CLASS_TOKEN)) {
        i++;
    }
    return i == len;
}

static int read_by(struct limit_rule *made, const char *by, char *err, size_t errlen)
{
    static const char field[] = "header:";
    static const char *const names[] = {
        [LIMIT_BY_CLIENT] = "client",
        [LIMIT_BY_USER] = "user",
        [LIMIT_BY_HOST] = "host",
        [LIMIT_BY_ALL] = "all",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i] != NULL && strcmp(by, names[i]) == 0) {
            made->by = (enum limit_by)i;
            return 0;
        }
    }
    const char *name = by + sizeof field - 1;
    size_t len = strncmp(by, field, sizeof field - 1) == 0 ? strlen(name) : 0;
    if (len == 0 || len > LIMIT_FIELD_MAX || !is_field_name(name, len)) {
        return error_text(err, errlen, -EINVAL,
                          "by: \"client\", \"user\", \"host\", \"all\" or the name of a field such as "
                          "\"header:X-Api-Key\" expected, got \"%.80s\"",
                          by);
    }
    made->by = LIMIT_BY_FIELD;
    ascii_copy_lower(made->field, name, len);
    return 0;
}

static int read_rule_limit(struct limit_rule *made, const struct rule_limit *limit, char *err, size_t errlen)
{
    if (limit->rate == NULL && limit->concurrency == 0 && limit->rate_limit == 0) {
        return error_text(err, errlen, -EINVAL,
                          "rate: one such as \"10/s\", or a concurrency, or a rate_limit, is missing");
    }
    int rv = limit->rate_limit == 0 ? 0 : limit_check_value(limits_find("rate_limit"), limit->rate_limit, err, errlen);
    if (rv < 0) {
        return -EINVAL;
    }
    if (limit->rate == NULL && limit->burst != 0) {
        return error_text(err, errlen, -EINVAL, "burst: needs a rate");
    }
    if (limit->concurrency > LIMIT_CONCURRENCY_MAX) {
        return error_text(err, errlen, -EINVAL, "concurrency: %" PRIu64 " is too large: at most %d", limit->concurrency,
                          LIMIT_CONCURRENCY_MAX);
    }
    if (limit->status != 0 && (limit->status < STATUS_LEAST || limit->status > STATUS_MOST)) {
        return error_text(err, errlen, -EINVAL, "status: %d is none of a refusal: %d to %d", limit->status,
                          STATUS_LEAST, STATUS_MOST);
    }
    made->concurrency = limit->concurrency;
    made->rate_limit = limit->rate_limit;
    made->status = limit->status == 0 ? LIMIT_STATUS : limit->status;
    rv = limit->rate == NULL ? 0 : read_rate(made, limit, err, errlen);
    return rv < 0 || limit->by == NULL ? rv : read_by(made, limit->by, err, errlen);
}

static enum rules_verdict decide_limit(struct exchange *exchange, const struct rule *first);

static const struct rules_kind limit_kind = {
    .order = RULE_LIMIT,
    .decide = decide_limit,
    .destroy = mem_free,
    .name = "app.limit",
    .host_name = "evs_rule.limit_rate",
};

static const struct rules_kind user_limit_kind = {
    .order = RULE_USER_LIMIT,
    .decide = decide_limit,
    .destroy = mem_free,
    .name = "app.limit",
    .host_name = "evs_rule.limit_rate",
};

/* A number for what the rule says; equal rules of one site have different ones. */
static uint64_t number_rule(const struct rules *rules, const struct limit_rule *made, const struct rule *rule)
{
    uint64_t id = mix_text(UINT64_C(0xcbf29ce484222325), rule->prefix, rule->prefix_len + 1);
    id = mix_text(id, made->field, strlen(made->field) + 1);
    id = mix_text(id, &made->rate.interval_ns, sizeof made->rate.interval_ns);
    id = mix_text(id, &made->rate.burst, sizeof made->rate.burst);
    id = mix_text(id, &made->concurrency, sizeof made->concurrency);
    id = mix_text(id, &made->by, sizeof made->by);
    for (const struct rule *other = rules->first[rule->kind->order]; other != NULL;) {
        const struct limit_rule *of_other = other->data;
        bool is_equal = other != rule && of_other->id == id;
        id += is_equal;
        other = is_equal ? rules->first[rule->kind->order] : other->next;
    }
    return id;
}

int rule_limit_add(struct rules **rules, const char *prefix, const struct rule_limit *limit, char *err, size_t errlen)
{
    struct limit_rule *made = mem_zalloc(sizeof *made);
    if (made == NULL) {
        return error_text(err, errlen, -ENOMEM, "%s", errno_text(ENOMEM));
    }
    int rv = read_rule_limit(made, limit, err, errlen);
    const struct rules_kind *kind = made->by == LIMIT_BY_USER ? &user_limit_kind : &limit_kind;
    struct rule *rule = rv < 0 ? NULL : rules_add(rules, kind, prefix, made, &rv, err, errlen);
    if (rule == NULL) {
        mem_free(made);
        return rv;
    }
    if (rule->is_of_host && made->rate.burst == 0) {
        rule->held.name = made->concurrency != 0 ? "evs_rule.limit_concurrency" : "evs_rule.rate_limit";
    }
    made->id = number_rule(*rules, made, rule);
    return 0;
}

static bool counts_requests(const struct limit_rule *limit)
{
    return limit->rate.burst != 0 || limit->concurrency != 0;
}

bool rule_limit_has(const struct rules *rules)
{
    static const enum rule_order orders[] = {RULE_LIMIT, RULE_USER_LIMIT};
    for (size_t i = 0; rules != NULL && i < sizeof orders / sizeof orders[0]; i++) {
        for (const struct rule *rule = rules->first[orders[i]]; rule != NULL; rule = rule->next) {
            if (counts_requests(rule->data)) {
                return true;
            }
        }
    }
    return false;
}

/* Keys. */

/* What the requests of one client have in common. */
static uint64_t key_of_client(const struct exchange *exchange, const struct limiter *limiter, uint64_t id)
{
    const struct peer *client = exchange_client(exchange);
    uint64_t address = address_key(client->family, client->address);
    return limiter_key(limiter, id, (const char *)&address, sizeof address);
}

/* A text that a request brings. One that is empty is as good as none: then it is counted by its client, with a number
 * that no text has. */
static uint64_t key_of_text(const struct exchange *exchange, const struct limiter *limiter, uint64_t id,
                            const char *text, size_t len)
{
    return text == NULL || len == 0 ? key_of_client(exchange, limiter, ~id) : limiter_key(limiter, id, text, len);
}

/* What a request is counted by. */
static uint64_t key_of_request(const struct exchange *exchange, const struct limiter *limiter,
                               const struct limit_rule *rule)
{
    const char *site_host = exchange->vhost->name;
    uint64_t id = site_host == NULL ? rule->id : mix_text(rule->id, site_host, strlen(site_host));
    char user[CREDENTIALS_MAX];
    struct host_name host;
    size_t len = 0;
    const char *text = NULL;
    switch (rule->by) {
    case LIMIT_BY_CLIENT:
        break;
    case LIMIT_BY_FIELD:
        text = exchange_field(exchange, rule->field, &len);
        return key_of_text(exchange, limiter, id, text, len);
    case LIMIT_BY_USER:
        len = basic_auth_user(exchange, user);
        return key_of_text(exchange, limiter, id, user, len);
    case LIMIT_BY_HOST:
        text = exchange_host(exchange, &len);
        host_name_of_authority(&host, text, len);
        return limiter_key(limiter, id, host.text, host.len);
    case LIMIT_BY_ALL:
        return limiter_key(limiter, id, "", 0);
    }
    return key_of_client(exchange, limiter, id);
}

/* What is left when the exchange is over. */

struct limit_holds {
    struct limiter *limiter; /* borrowed: it outlives all exchanges */
    void (*then)(void *arg); /* what on_end was before; NULL: nothing */
    void *then_arg;
    unsigned count;  /* of keys */
    uint64_t keys[]; /* that were entered */
};

static void leave_holds(void *arg)
{
    struct limit_holds *holds = arg;
    for (unsigned i = 0; i < holds->count; i++) {
        limiter_leave(holds->limiter, holds->keys[i]);
    }
    if (holds->then != NULL) {
        holds->then(holds->then_arg);
    }
    mem_free(holds);
}

/* Have them left when the exchange is over. */
static void keep_holds(struct exchange *exchange, struct limit_holds *holds)
{
    holds->then = exchange->on_end;
    holds->then_arg = exchange->end_arg;
    exchange->on_end = leave_holds;
    exchange->end_arg = holds;
}

/* How many numbers the rules have that a request is to enter. */
static size_t count_concurrencies(const struct exchange *exchange, const struct rule *first)
{
    size_t count = 0;
    for (const struct rule *rule = first; rule != NULL; rule = rule_next(rule, exchange->path, exchange->path_len)) {
        const struct limit_rule *limit = rule->data;
        count += limit->concurrency > 0;
    }
    return count;
}

/* Room for the keys of count numbers; NULL without memory. */
static struct limit_holds *make_holds(const struct exchange *exchange, size_t count)
{
    struct limit_holds *holds = mem_alloc(sizeof *holds + count * sizeof holds->keys[0]);
    if (holds != NULL) {
        *holds = (struct limit_holds){.limiter = exchange->site->limiter};
    }
    return holds;
}

/* Requests. */

static int64_t now_ns_of(const struct exchange *exchange)
{
    return reactor_now_ms(exchange->service->reactor) * 1000000;
}

/* The table has no room: one line of the log for all threads. */
static void say_table_full(const struct exchange *exchange, const struct rule *rule, struct limiter *limiter,
                           int64_t now_ns)
{
    uint64_t lost = limiter_tell_lost(limiter, now_ns);
    struct limiter_counts counts;
    if (lost > 0) {
        limiter_get_counts(limiter, &counts);
        log_write(exchange->service->log, LOG_WARN,
                  "%s: there is room for %zu clients at a time, so %" PRIu64 " counts were lost: raise limit_entries",
                  rule_name(rule), counts.entries, lost);
    }
}

/* A line of the log, unless one was written a moment ago. */
static void say_refused(struct exchange *exchange, const struct rule *rule, struct limit_rule *limit)
{
    int64_t now_ms = reactor_now_ms(exchange->service->reactor);
    if (now_ms < limit->may_say_ms) {
        limit->unsaid++;
        return;
    }
    char others[64] = "";
    if (limit->unsaid > 0) {
        snprintf(others, sizeof others, ", and %" PRIu64 " more since the last such line", limit->unsaid);
    }
    limit->unsaid = 0;
    limit->may_say_ms = now_ms + LIMIT_QUIET_MS;
    exchange_log(exchange, LOG_INFO, rule, "%d by %s \"%s\"%s", limit->status, rule_name(rule),
                 rule->prefix_len == 0 ? "/" : rule->prefix, others);
}

static enum rules_verdict refuse_limited(struct exchange *exchange, const struct rule *rule, int64_t wait_ns)
{
    struct limit_rule *limit = rule->data;
    char text[RETRY_TEXT_MAX];
    int64_t seconds = wait_ns <= LIMIT_SECOND_NS ? 1 : (wait_ns + LIMIT_SECOND_NS - 1) / LIMIT_SECOND_NS;
    int len = snprintf(text, sizeof text, "%" PRId64, seconds);
    stat_add(&exchange->service->stats.limited, 1);
    say_refused(exchange, rule, limit);
    response_clear_fields(exchange);
    (void)response_add_field(exchange, "Retry-After", 11, text, (size_t)len); /* without memory it goes without */
    response_refuse(exchange, limit->status, NULL);
    return RULES_ANSWERED;
}

/* Ask one rule. Returns 0; or the nanoseconds after which it may be asked again, with nothing taken. */
static int64_t take_one(const struct exchange *exchange, const struct limit_rule *limit, struct limit_holds *holds)
{
    if (!counts_requests(limit)) {
        return 0;
    }
    struct limiter *limiter = holds->limiter;
    assert(limiter != NULL); /* whoever serves a site with limits gives it one */
    uint64_t key = key_of_request(exchange, limiter, limit);
    int64_t now_ns = now_ns_of(exchange);
    int64_t wait_ns = limit->rate.burst == 0 ? 0 : limiter_take(limiter, key, &limit->rate, now_ns);
    if (wait_ns > 0 || limit->concurrency == 0) {
        return wait_ns;
    }
    enum limiter_entry entry = limiter_enter(limiter, key, limit->concurrency, now_ns);
    if (entry == LIMITER_COUNTED) {
        holds->keys[holds->count++] = key;
    }
    if (entry == LIMITER_REFUSED && limit->rate.burst != 0) {
        limiter_give_back(limiter, key, &limit->rate);
    }
    return entry == LIMITER_REFUSED ? 1 : 0;
}

/* A later rule refuses: what the rates from first on have given, up to that rule, is theirs again. */
static void give_rates_back(const struct exchange *exchange, const struct rule *first, const struct rule *end)
{
    struct limiter *limiter = exchange->site->limiter;
    for (const struct rule *rule = first; rule != end; rule = rule_next(rule, exchange->path, exchange->path_len)) {
        const struct limit_rule *limit = rule->data;
        if (limit->rate.burst != 0) {
            limiter_give_back(limiter, key_of_request(exchange, limiter, limit), &limit->rate);
        }
    }
}

/* Of all rules that say how fast a response is sent, whatever they count by, the one with the longest prefix. Returns
 * its bytes a second, or 0. */
static uint64_t find_rate_limit(const struct exchange *exchange)
{
    static const enum rule_order orders[] = {RULE_LIMIT, RULE_USER_LIMIT};
    const struct rule *found = NULL;
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
        const struct rule *rule = rules_first(exchange->vhost->rules, orders[i], exchange->path, exchange->path_len);
        while (rule != NULL && ((const struct limit_rule *)rule->data)->rate_limit == 0) {
            rule = rule_next(rule, exchange->path, exchange->path_len);
        }
        found = rule != NULL && (found == NULL || rule->prefix_len > found->prefix_len) ? rule : found;
    }
    return found == NULL ? 0 : ((const struct limit_rule *)found->data)->rate_limit;
}

static enum rules_verdict decide_limit(struct exchange *exchange, const struct rule *first)
{
    struct limit_holds none = {.limiter = exchange->site->limiter}; /* rates need no memory */
    size_t count = count_concurrencies(exchange, first);
    struct limit_holds *holds = count == 0 ? &none : make_holds(exchange, count);
    if (holds == NULL) {
        response_error(exchange, 503, NULL);
        return RULES_ANSWERED;
    }
    const struct rule *rule = first;
    int64_t wait_ns = 0;
    while (rule != NULL && (wait_ns = take_one(exchange, rule->data, holds)) == 0) {
        rule = rule_next(rule, exchange->path, exchange->path_len);
    }
    if (holds->limiter != NULL) {
        say_table_full(exchange, first, holds->limiter, now_ns_of(exchange));
    }
    if (rule != NULL) {
        give_rates_back(exchange, first, rule);
        if (holds != &none) {
            leave_holds(holds);
        }
        return refuse_limited(exchange, rule, wait_ns);
    }
    if (holds->count > 0) {
        keep_holds(exchange, holds);
    } else if (holds != &none) {
        mem_free(holds);
    }
    uint64_t rate_limit = find_rate_limit(exchange);
    if (rate_limit != 0) {
        response_set_rate(exchange, rate_limit);
    }
    return RULES_PASS;
}
