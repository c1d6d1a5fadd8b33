/* Rules of a host: struct evs_rule of evserve.h, copied when the server starts, then made rules of each site.
 *
 * Failure modes: an invalid rule is refused with a text that names its member:
 *
 *     evserve_config.rules[1].allow: "10.0.0.0/33" is no address or network */

#include "http/host/evs_rules.h"

#include "core/log.h"
#include "core/mem.h"
#include "evserve.h"
#include "http/host/evs_auth.h"
#include "http/host/evs_block.h"
#include "http/rules/rule_access.h"
#include "http/rules/rule_cache.h"
#include "http/rules/rule_cors.h"
#include "http/rules/rule_fields.h"
#include "http/rules/rule_limit.h"
#include "http/rules/rule_redirect.h"
#include "http/rules/rules.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

enum { RULE_WHY_MAX = 512, REDIRECT_STATUS = 301 };

/* Copying. */

struct evs_rule *evs_rules_put(struct evs_block *block, const struct evs_rule *rules)
{
    size_t count = 0;
    while (rules[count].prefix != NULL) {
        count++;
    }
    struct evs_rule *copy = evs_block_put(block, rules, (count + 1) * sizeof rules[0]);
    for (size_t i = 0; i < count; i++) {
        struct evs_rule rule = rules[i];
        rule.prefix = evs_block_text(block, rule.prefix);
        rule.redirect_to = evs_block_text(block, rule.redirect_to);
        rule.headers = evs_block_fields(block, rule.headers);
        rule.cache = evs_block_fields(block, rule.cache);
        rule.allow = evs_block_text(block, rule.allow);
        rule.deny = evs_block_text(block, rule.deny);
        rule.basic_auth = evs_block_text(block, rule.basic_auth);
        rule.realm = evs_block_text(block, rule.realm);
        rule.limit_rate = evs_block_text(block, rule.limit_rate);
        rule.limit_by = evs_block_text(block, rule.limit_by);
        rule.cors = evs_block_text(block, rule.cors);
        rule.cors_methods = evs_block_text(block, rule.cors_methods);
        rule.cors_headers = evs_block_text(block, rule.cors_headers);
        rule.cors_expose = evs_block_text(block, rule.cors_expose);
        if (copy != NULL) {
            copy[i] = rule;
        }
    }
    return copy;
}

struct evs_rule *evs_rules_copy(const struct evs_rule *rules)
{
    struct evs_block block = {0};
    evs_rules_put(&block, rules);
    block = (struct evs_block){.data = mem_alloc(block.used)};
    return block.data == NULL ? NULL : evs_rules_put(&block, rules);
}

/* Adding. */

/* The rule that is being added. */
struct rule_reading {
    struct rules **added;
    const struct evs_rule *rule;
    int base_fd;      /* where relative files start */
    const char *name; /* where the rules come from */
    size_t index;
    char *err;
    size_t errlen;
};

/* The text of a member that is wrong. Returns rv. */
static int blame_member(const struct rule_reading *reading, const char *member, int rv, const char *why)
{
    return error_text(reading->err, reading->errlen, rv, "%s[%zu].%s: %s", reading->name, reading->index, member, why);
}

static int add_redirect(const struct rule_reading *reading)
{
    char why[RULE_WHY_MAX];
    const struct evs_rule *rule = reading->rule;
    int status = rule->redirect_status == 0 ? REDIRECT_STATUS : rule->redirect_status;
    int rv = rule_redirect_add(reading->added, rule->prefix, rule->redirect_to, status, "", why, sizeof why);
    return rv < 0 ? blame_member(reading, "redirect_to", rv, why) : 0;
}

static int add_headers(const struct rule_reading *reading)
{
    char why[RULE_WHY_MAX];
    const struct evs_field *headers = reading->rule->headers;
    struct rule_field fields[RULE_FIELDS_MAX + 1]; /* one more than allowed, so that too many are noticed */
    size_t count = 0;
    for (; headers[count].name != NULL && count <= RULE_FIELDS_MAX; count++) {
        fields[count] = (struct rule_field){headers[count].name, headers[count].value};
    }
    int rv = rule_fields_add(reading->added, reading->rule->prefix, fields, count, reading->rule->replace_headers != 0,
                             why, sizeof why);
    return rv < 0 ? blame_member(reading, "headers", rv, why) : 0;
}

static int add_caching(const struct rule_reading *reading)
{
    char why[RULE_WHY_MAX];
    const struct evs_field *cache = reading->rule->cache;
    struct rule_cache_entry entries[CACHE_ENTRIES_MAX + 1]; /* as above */
    size_t count = 0;
    for (; cache[count].name != NULL && count <= CACHE_ENTRIES_MAX; count++) {
        if (cache[count].value == NULL) {
            return blame_member(reading, "cache", -EINVAL, "an entry has no value");
        }
        entries[count] = (struct rule_cache_entry){cache[count].name, cache[count].value};
    }
    int rv = rule_cache_add(reading->added, reading->rule->prefix, entries, count, why, sizeof why);
    return rv < 0 ? blame_member(reading, "cache", rv, why) : 0;
}

static int add_access(const struct rule_reading *reading, bool allows)
{
    char why[RULE_WHY_MAX];
    const char *list = allows ? reading->rule->allow : reading->rule->deny;
    int rv = rule_access_add(reading->added, reading->rule->prefix, allows, list, why, sizeof why);
    return rv < 0 ? blame_member(reading, allows ? "allow" : "deny", rv, why) : 0;
}

static int add_auth(const struct rule_reading *reading)
{
    char why[RULE_WHY_MAX];
    const struct evs_rule *rule = reading->rule;
    const char *member = rule->authenticate != NULL ? "authenticate" : "basic_auth";
    if (rule->basic_auth != NULL && rule->authenticate != NULL) {
        return blame_member(reading, member, -EINVAL, "it cannot be combined with basic_auth");
    }
    int rv = evs_auth_add(reading->added, rule, reading->base_fd, why, sizeof why);
    return rv < 0 ? blame_member(reading, member, rv, why) : 0;
}

static bool has_limit(const struct evs_rule *rule)
{
    return rule->limit_rate != NULL || rule->limit_concurrency != 0 || rule->limit_burst != 0 ||
           rule->limit_by != NULL || rule->limit_status != 0 || rule->rate_limit != 0;
}

static int add_limit(const struct rule_reading *reading)
{
    char why[RULE_WHY_MAX];
    const struct evs_rule *rule = reading->rule;
    const struct rule_limit limit = {
        .rate = rule->limit_rate,
        .burst = rule->limit_burst,
        .concurrency = rule->limit_concurrency,
        .by = rule->limit_by,
        .rate_limit = rule->rate_limit,
        .status = rule->limit_status,
    };
    int rv = rule_limit_add(reading->added, rule->prefix, &limit, why, sizeof why);
    const char *first = strncmp(why, "rate_limit", 10) == 0 ? "" : "limit_";
    return rv < 0 ? error_text(reading->err, reading->errlen, rv, "%s[%zu].%s%s", reading->name, reading->index, first,
                               why)
                  : 0;
}

static int add_cors(const struct rule_reading *reading)
{
    static const char origins[] = "origins: ";
    char why[RULE_WHY_MAX];
    const struct evs_rule *rule = reading->rule;
    const struct rule_cors cors = {
        .origins = rule->cors == NULL ? "" : rule->cors,
        .methods = rule->cors_methods,
        .headers = rule->cors_headers,
        .expose = rule->cors_expose,
        .credentials = rule->cors_credentials != 0,
        .max_age = rule->cors_max_age == 0 ? CORS_AGE_NONE : rule->cors_max_age,
    };
    if (rule->cors == NULL) {
        return blame_member(reading, "cors", -EINVAL, "cors_methods and others need the origins that they are for");
    }
    if (rule->cors_max_age < 0) {
        return blame_member(reading, "cors_max_age", -EINVAL, "seconds expected");
    }
    int rv = rule_cors_add(reading->added, rule->prefix, &cors, why, sizeof why);
    if (rv == 0) {
        return 0;
    }
    if (strncmp(why, origins, sizeof origins - 1) == 0) {
        return blame_member(reading, "cors", rv, why + sizeof origins - 1);
    }
    return error_text(reading->err, reading->errlen, rv, "%s[%zu].cors_%s", reading->name, reading->index, why);
}

static bool has_cors(const struct evs_rule *rule)
{
    return rule->cors != NULL || rule->cors_methods != NULL || rule->cors_headers != NULL ||
           rule->cors_expose != NULL || rule->cors_credentials != 0 || rule->cors_max_age != 0;
}

static int add_host_rule(const struct rule_reading *reading)
{
    const struct evs_rule *rule = reading->rule;
    bool redirects = rule->redirect_to != NULL || rule->redirect_status != 0;
    bool has_prefix = rule->headers != NULL || rule->cache != NULL || rule->allow != NULL || rule->deny != NULL ||
                      rule->basic_auth != NULL || rule->authenticate != NULL || has_limit(rule) || has_cors(rule);
    if (redirects == has_prefix) {
        return blame_member(reading, "prefix", -EINVAL,
                            redirects
                                ? "a redirect needs an entry of its own, since its prefix is a pattern"
                                : "the entry says nothing: set redirect_to, headers, cache, allow, deny, basic_auth, "
                                  "authenticate, limit_rate, limit_concurrency, rate_limit or cors");
    }
    int rv = redirects ? add_redirect(reading) : 0;
    rv = rv < 0 || rule->headers == NULL ? rv : add_headers(reading);
    rv = rv < 0 || rule->cache == NULL ? rv : add_caching(reading);
    rv = rv < 0 || rule->allow == NULL ? rv : add_access(reading, true);
    rv = rv < 0 || rule->deny == NULL ? rv : add_access(reading, false);
    rv = rv < 0 || !has_limit(rule) ? rv : add_limit(reading);
    rv = rv < 0 || !has_cors(rule) ? rv : add_cors(reading);
    return rv < 0 || (rule->basic_auth == NULL && rule->authenticate == NULL) ? rv : add_auth(reading);
}

int evs_rules_add(struct rules **added, const struct evs_rule *rules, int base_fd, const char *name, char *err,
                  size_t errlen)
{
    int rv = rules[0].prefix == NULL ? 0 : rules_set_source(added, true);
    if (rv < 0) {
        return error_text(err, errlen, rv, "%s", errno_text(-rv));
    }
    for (size_t i = 0; rv == 0 && rules[i].prefix != NULL; i++) {
        const struct rule_reading reading = {added, &rules[i], base_fd, name, i, err, errlen};
        rv = add_host_rule(&reading);
    }
    if (*added != NULL) {
        (*added)->is_of_host = false; /* a script's may follow */
    }
    return rv;
}
