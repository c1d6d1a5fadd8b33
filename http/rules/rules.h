#ifndef EVSERVE_HTTP_RULES_RULES_H
#define EVSERVE_HTTP_RULES_RULES_H

/* The rules of a site: what holds for all requests below a prefix, whichever handler responds. A kind of rule is a file
 * of its own (rule_access.h, for example) that defines a struct rules_kind and calls rules_add(); http/rules/decide.h
 * asks the kinds, and knows none of them.
 *
 * A prefix is compared with the normalised path, case-sensitive and by whole segments: "/a" holds for "/a" and "/a/b",
 * not for "/ab". Repeated slashes count as one, since servers that a request is passed on to may take them so. "/"
 * holds everywhere, for "OPTIONS *" too. All rules whose prefix fits apply; what becomes of two that contradict each
 * other is up to their kind, and usually the longer prefix wins. */

#include "http/framing.h"
#include "http/handler.h"

#include <stdbool.h>
#include <stddef.h>

struct exchange;
struct rule;
struct rule_head;

enum {
    RULES_MAX = 1000,       /* rules of one site, those of a list in one call counted once */
    RULE_PREFIX_MAX = 1024, /* bytes of a prefix */
};

/* What a kind says about a request. */
enum rules_verdict {
    RULES_PASS,     /* on with the next kind, and then to the routes */
    RULES_ANSWERED, /* it has responded, with a function of http/response.h */
    RULES_HELD,     /* it needs time: it responds later, or calls dispatch_go_on() */
};

/* The kinds that decide, in the order in which they are asked; then those that only change heads of responses. */
enum rule_order {
    RULE_CORS, /* first: a browser shows no other response to a preflight to its page. It changes heads, too */
    RULE_REDIRECT,
    RULE_ACCESS,
    RULE_LIMIT,
    RULE_AUTH,
    RULE_USER_LIMIT, /* by the user that RULE_AUTH has found */
    RULE_FIELDS,
    RULE_CACHE,
    RULE_ORDERS,
};

enum { RULE_DECIDERS = RULE_FIELDS }; /* how many of them decide */

/* A line about a rule, for tables of routes. Texts live as long as the rule. */
struct rule_row {
    const char *what; /* one word: "rule", or the status of a redirect */
    const char *path; /* prefix or pattern */
    const char *says; /* what the rule is, or does */
};

struct rules_kind {
    enum rule_order order;

    /* What decides: first is the rule of this kind with the longest prefix that fits, rule_next() gives the others.
     * NULL for kinds that only change heads.
     *
     * With RULES_HELD the body stays unread, handler_timeout runs as for a handler, and the rule may use
     * exchange->user and exchange->on_gone, through which it learns that the client has left, or that time is up. It
     * ends with a response, or with dispatch_go_on(), but neither before this function has returned. A client that
     * shuts its side has left, even if the route that it asks for has half_close. */
    enum rules_verdict (*decide)(struct exchange *exchange, const struct rule *first);

    /* What changes the head of a response, of whoever responds: http/rules/rule_head.h. Returns 0 or -ENOMEM. NULL for
     * kinds that only decide. */
    int (*on_head)(struct exchange *exchange, const struct rule *first, struct rule_head *head);

    /* For a rule that has several lines: give the n-th, or return false past the last. NULL: one line with its prefix
     * and the name of the kind. */
    bool (*tell)(const struct rule *rule, size_t n, struct rule_row *row);

    void (*destroy)(void *data); /* frees a rule's data */

    /* As logs call it: what a script has called, "app.basic_auth", or what a host has set, "evs_rule.basic_auth". */
    const char *name, *host_name;
};

struct rule {
    const struct rules_kind *kind;
    struct rule *next;   /* of this kind: longer prefixes come first, among equal ones those that were added earlier */
    void *data;          /* the kind's own, freed with the rule */
    struct handler held; /* stands for the rule while it holds a request, and has its name; never called */
    size_t prefix_len;   /* bytes */
    bool is_of_host;     /* a host in C has it, not a script */
    char prefix[];       /* without the slash at its end: "" holds everywhere */
};

struct rules {
    struct rule *first[RULE_ORDERS]; /* of each kind */
    unsigned count;                  /* of all of them */
    bool has_head;                   /* one of them changes heads */
    bool is_of_host;                 /* those that are added from now on come from a host in C */
    struct framing filter;           /* for http/rules/rule_head.c: in front of carrier */
    const struct framing *carrier;   /* NULL before the first request */
};

/* Add a rule. *rules is made when it is NULL. The prefix is copied: "/", or "/a/b" with or without a slash at its end,
 * decoded. Returns the rule, which owns data from then on; or NULL with *error -ENOMEM, -EINVAL (no prefix) or -ENOSPC
 * (RULES_MAX), and a text in err that quotes the prefix: then nothing has changed. */
struct rule *rules_add(struct rules **rules, const struct rules_kind *kind, const char *prefix, void *data, int *error,
                       char *err, size_t errlen);

/* Say who configures the rules that are added from now on: a host in C, or a script, as at first. Makes *rules when it is
 * NULL. Returns 0 or -ENOMEM. */
int rules_set_source(struct rules **rules, bool is_host);

/* Free the rules and their data. NULL is allowed. */
void rules_destroy(struct rules *rules);

/* The rule of a kind with the longest prefix that fits path, or NULL; then the next longest, or NULL. */
const struct rule *rules_first(const struct rules *rules, enum rule_order order, const char *path, size_t len);
const struct rule *rule_next(const struct rule *rule, const char *path, size_t len);

/* The n-th rule, by kinds, in the order in which they are looked at; NULL past the last. */
const struct rule *rules_get(const struct rules *rules, size_t n);

/* What logs call a rule: "app.limit". Lives as long as the rule. */
const char *rule_name(const struct rule *rule);

/* The n-th line about a rule; false past the last. */
bool rule_tell(const struct rule *rule, size_t n, struct rule_row *row);

#endif
