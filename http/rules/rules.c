/* Happy path: rules_add() sorts each rule into the list of its kind; a request walks along it.
 * Failure modes: a prefix that is none, one rule too many, or no memory: nothing has changed. */

#include "http/rules/rules.h"

#include "core/log.h"
#include "core/mem.h"
#include "http/char_class.h"

#include <errno.h>
#include <string.h>
#include <sys/types.h>

/* Copy a prefix without repeated slashes and without that at its end. Returns its length, or -1 for what is no
 * prefix. */
static ssize_t copy_prefix(char *copy, const char *prefix)
{
    size_t len = 0;
    if (prefix[0] != '/' || strlen(prefix) > RULE_PREFIX_MAX) {
        return -1;
    }
    for (; *prefix != '\0'; prefix++) {
        if (*prefix != '/' || len == 0 || copy[len - 1] != '/') {
            copy[len++] = *prefix;
        }
    }
    len -= copy[len - 1] == '/' ? 1 : 0;
    copy[len] = '\0';
    return (ssize_t)len;
}

/* Where a rule goes among those of its kind. */
static struct rule **find_link(struct rules *rules, enum rule_order order, size_t prefix_len)
{
    struct rule **link = &rules->first[order];
    while (*link != NULL && (*link)->prefix_len >= prefix_len) {
        link = &(*link)->next;
    }
    return link;
}

/* Whether a prefix has what other servers or routes write for a pattern. Compared as plain text, it would hold nowhere, and
 * a rule that is to guard something would guard nothing. */
static bool looks_like_pattern(const char *prefix)
{
    if (strpbrk(prefix, "*{}?#") != NULL || strstr(prefix, "/:") != NULL) {
        return true;
    }
    for (const char *at = strchr(prefix, '%'); at != NULL; at = strchr(at + 1, '%')) {
        if (char_hex_value(at[1]) >= 0 && char_hex_value(at[2]) >= 0) {
            return true;
        }
    }
    for (const char *at = strstr(prefix, "/."); at != NULL; at = strstr(at + 1, "/.")) {
        size_t len = strcspn(at + 1, "/");
        if (len == 1 || (len == 2 && at[2] == '.')) {
            return true;
        }
    }
    return false;
}

static int make_rules(struct rules **rules)
{
    if (*rules == NULL) {
        *rules = mem_zalloc(sizeof **rules);
    }
    return *rules == NULL ? -ENOMEM : 0;
}

int rules_set_source(struct rules **rules, bool is_host)
{
    int rv = make_rules(rules);
    if (rv == 0) {
        (*rules)->is_of_host = is_host;
    }
    return rv;
}

struct rule *rules_add(struct rules **rules, const struct rules_kind *kind, const char *prefix, void *data, int *error,
                       char *err, size_t errlen)
{
    char copy[RULE_PREFIX_MAX + 1];
    ssize_t len = copy_prefix(copy, prefix);
    if (len < 0) {
        *error = error_text(err, errlen, -EINVAL, "a prefix such as \"/\" or \"/api\" expected, got \"%.200s\"",
                            prefix);
        return NULL;
    }
    if (looks_like_pattern(prefix)) {
        *error =
            error_text(err, errlen, -EINVAL,
                       "\"%.200s\" is no prefix: plain text is expected, without patterns, escapes and dot segments; "
                       "\"/api\" holds for all that is below it, too",
                       prefix);
        return NULL;
    }
    if (*rules != NULL && (*rules)->count == RULES_MAX) {
        *error = error_text(err, errlen, -ENOSPC, "\"%.200s\" is one too many: at most %d rules", prefix, RULES_MAX);
        return NULL;
    }
    struct rule *rule = make_rules(rules) < 0 ? NULL : mem_alloc(sizeof *rule + (size_t)len + 1);
    if (rule == NULL) {
        *error = error_text(err, errlen, -ENOMEM, "%s", errno_text(ENOMEM));
        return NULL;
    }
    struct rule **link = find_link(*rules, kind->order, (size_t)len);
    *rule = (struct rule){
        .kind = kind,
        .next = *link,
        .data = data,
        .held = {.body_mode = BODY_UNDECIDED, .name = (*rules)->is_of_host ? kind->host_name : kind->name},
        .prefix_len = (size_t)len,
        .is_of_host = (*rules)->is_of_host,
    };
    memcpy(rule->prefix, copy, (size_t)len + 1);
    *link = rule;
    (*rules)->count++;
    (*rules)->has_head = (*rules)->has_head || kind->on_head != NULL;
    return rule;
}

void rules_destroy(struct rules *rules)
{
    if (rules == NULL) {
        return;
    }
    for (unsigned order = 0; order < RULE_ORDERS; order++) {
        for (struct rule *rule = rules->first[order], *next; rule != NULL; rule = next) {
            next = rule->next;
            rule->kind->destroy(rule->data);
            mem_free(rule);
        }
    }
    mem_free(rules);
}

static bool is_below_prefix(const struct rule *rule, const char *path, size_t len)
{
    const char *end = path + len;
    for (const char *prefix = rule->prefix; *prefix != '\0'; prefix++) {
        if (path == end || *path != *prefix) {
            return false;
        }
        while (++path < end && *path == '/' && *prefix == '/') {
        }
    }
    return path == end || *path == '/' || rule->prefix_len == 0;
}

static const struct rule *find_fitting(const struct rule *rule, const char *path, size_t len)
{
    while (rule != NULL && !is_below_prefix(rule, path, len)) {
        rule = rule->next;
    }
    return rule;
}

const struct rule *rules_first(const struct rules *rules, enum rule_order order, const char *path, size_t len)
{
    return find_fitting(rules->first[order], path, len);
}

const struct rule *rule_next(const struct rule *rule, const char *path, size_t len)
{
    return find_fitting(rule->next, path, len);
}

const struct rule *rules_get(const struct rules *rules, size_t n)
{
    for (unsigned order = 0; order < RULE_ORDERS; order++) {
        for (const struct rule *rule = rules->first[order]; rule != NULL; rule = rule->next) {
            if (n-- == 0) {
                return rule;
            }
        }
    }
    return NULL;
}

const char *rule_name(const struct rule *rule)
{
    return rule->held.name;
}

bool rule_tell(const struct rule *rule, size_t n, struct rule_row *row)
{
    if (rule->kind->tell != NULL) {
        return rule->kind->tell(rule, n, row);
    }
    *row = (struct rule_row){"rule", rule->prefix_len == 0 ? "/" : rule->prefix, rule_name(rule)};
    return n == 0;
}
