/* Happy path: a router of its own finds the redirect; its target is put together from texts and parameters.
 * Failure modes: a target that is none, or that names a parameter which the pattern does not have, is an error text;
 * without memory for Location the response is 503. */

#include "http/rules/rule_redirect.h"

#include "core/log.h"
#include "core/mem.h"
#include "http/char_class.h"
#include "http/exchange.h"
#include "http/response.h"
#include "http/route_pattern.h"
#include "http/router.h"
#include "http/rules/rules.h"
#include "http/url.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* A part of a target: text, or a parameter. */
struct target_piece {
    uint32_t offset, len; /* of the text, in the target */
    int16_t param;        /* its number in the pattern, or NO_PARAM */
    bool keeps_slashes;   /* it is the rest, in the path: its segments are encoded one by one */
};

enum { NO_PARAM = -1, TARGET_PIECES_MAX = 2 * ROUTE_PARAMS_MAX + 1 };

struct redirect {
    struct handler handler; /* for the router; never called */
    struct redirect *next;  /* of all of them */
    int status;
    char status_text[4]; /* the same */
    bool has_query;      /* the target has one */
    size_t path_end;     /* where its fragment begins, or its end */
    size_t piece_count;  /* of pieces */
    struct target_piece pieces[TARGET_PIECES_MAX];
    char target[]; /* with a NUL */
};

/* All redirects of a site: the data of one rule. */
struct redirects {
    struct router *router;
    struct redirect *all;
    unsigned count;
};

static const struct redirect *redirect_of(const struct route *route)
{
    const char *handler = (const char *)route->handler;
    return (const struct redirect *)(const void *)(handler - offsetof(struct redirect, handler));
}

/* Responding. */

static size_t max_location(const struct exchange *exchange, const struct redirect *redirect)
{
    size_t query_len = exchange->head.has_query ? exchange->head.query.len : 0;
    return strlen(redirect->target) + 3 * (redirect->piece_count * (size_t)exchange->path_len + query_len) +
           sizeof "/.?";
}

static size_t put_target_piece(const struct exchange *exchange, const struct redirect *redirect,
                               const struct target_piece *piece, const struct route_match *match, char *text)
{
    if (piece->param == NO_PARAM) {
        memcpy(text, redirect->target + piece->offset, piece->len);
        return piece->len;
    }
    struct slice value = match->params[piece->param];
    return piece->keeps_slashes ? url_encode_path(exchange->path + value.offset, value.len, text)
                                : url_encode_segment(exchange->path + value.offset, value.len, text);
}

/* Write the value of Location behind two bytes that are left free; text has room for it. Returns its end. */
static size_t put_location(const struct exchange *exchange, const struct redirect *redirect,
                           const struct route_match *match, char *text)
{
    size_t len = 2;
    for (size_t i = 0; i < redirect->piece_count; i++) {
        len += put_target_piece(exchange, redirect, &redirect->pieces[i], match, text + len);
    }
    if (exchange->head.has_query && exchange->head.query.len > 0) {
        struct slice query = exchange->head.query;
        text[len++] = redirect->has_query ? '&' : '?';
        len += url_encode_query(exchange_text(exchange, query), query.len, text + len);
    }
    const char *fragment = redirect->target + redirect->path_end;
    memcpy(text + len, fragment, strlen(fragment));
    return len + strlen(fragment);
}

/* A path that begins with "//" because of what a parameter has matched would be read as the name of a host. */
static bool became_host(const struct redirect *redirect, const char *location, size_t len)
{
    return len > 1 && location[0] == '/' && location[1] == '/' && redirect->target[1] != '/';
}

static void send_redirect(struct exchange *exchange, const struct redirect *redirect, const struct route_match *match)
{
    if (redirect->status == 410) {
        response_error(exchange, 410, NULL);
        return;
    }
    char *text = mem_alloc(max_location(exchange, redirect));
    if (text == NULL) {
        response_error(exchange, 503, NULL);
        return;
    }
    size_t len = put_location(exchange, redirect, match, text), unused = 2;
    if (became_host(redirect, text + 2, len - 2)) {
        memcpy(text, "/.", 2);
        unused = 0;
    }
    response_redirect(exchange, redirect->status, text + unused, len - unused);
    mem_free(text);
}

static enum rules_verdict decide_redirect(struct exchange *exchange, const struct rule *first)
{
    const struct redirects *redirects = first->data;
    struct route_match match;
    if (exchange->head.is_asterisk ||
        router_match(redirects->router, METHOD_GET, exchange->path, exchange->path_len, &match) != ROUTE_FOUND) {
        return RULES_PASS;
    }
    send_redirect(exchange, redirect_of(match.route), &match);
    return RULES_ANSWERED;
}

/* The n-th redirect, in the order in which they were added. */
static bool tell_redirect(const struct rule *rule, size_t n, struct rule_row *row)
{
    const struct redirects *redirects = rule->data;
    const struct route *route = router_route(redirects->router, n);
    if (route == NULL) {
        return false;
    }
    const struct redirect *redirect = redirect_of(route);
    *row = (struct rule_row){redirect->status_text, route->pattern, redirect->target};
    return true;
}

static void destroy_redirects(void *data)
{
    struct redirects *redirects = data;
    router_destroy(redirects->router);
    for (struct redirect *redirect = redirects->all, *next; redirect != NULL; redirect = next) {
        next = redirect->next;
        mem_free(redirect);
    }
    mem_free(redirects);
}

static const struct rules_kind redirect_kind = {
    .order = RULE_REDIRECT,
    .decide = decide_redirect,
    .tell = tell_redirect,
    .destroy = destroy_redirects,
    .name = "app.redirect_from",
    .host_name = "evs_rule.redirect_to",
};

/* Reading a target. */

struct target_reading {
    const struct route_pattern *pattern; /* its names are slices of pattern_text */
    const char *pattern_text, *target;
    struct redirect *redirect;
    char *err;
    size_t errlen;
};

/* Where the path of a target begins: behind a scheme and a host. NULL for what is no target. */
static const char *find_path(const char *target)
{
    const char *host = strncmp(target, "https://", 8) == 0  ? target + 8
                       : strncmp(target, "http://", 7) == 0 ? target + 7
                       : strncmp(target, "//", 2) == 0      ? target + 2
                                                            : NULL;
    if (host == NULL) {
        return target[0] == '/' ? target : NULL;
    }
    size_t len = strcspn(host, "/?#");
    bool is_host = len > 0 && host[0] != ':';
    for (size_t i = 0; i < len; i++) {
        is_host = is_host && (char_is(host[i], CLASS_HOST) || strchr(":[]", host[i]) != NULL);
    }
    return is_host ? host + len : NULL;
}

/* Whether a percent sign always begins an escape, and all else may stand in a URL. */
static bool has_url_bytes(const char *text)
{
    static const char hex[] = "0123456789abcdefABCDEF";
    for (const char *at = text; *at != '\0'; at++) {
        if (*at <= ' ' || *at > '~' || strchr("\"<>\\^`{|}", *at) != NULL || (*at == '%' && strspn(at + 1, hex) < 2)) {
            return false;
        }
    }
    return true;
}

static int find_param(const struct target_reading *reading, const char *name, size_t len)
{
    for (unsigned i = 0; i < reading->pattern->name_count; i++) {
        const struct route_name *known = &reading->pattern->names[i];
        if (known->len == len && memcmp(reading->pattern_text + known->offset, name, len) == 0) {
            return (int)i;
        }
    }
    return NO_PARAM;
}

/* Bytes of the parameter that begins at at, with its sign, or 0. */
static size_t param_len(const char *at)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";
    size_t len = *at == ':' || *at == '*' ? strspn(at + 1, letters) : 0;
    bool is_name = len > 0 && (at[1] < '0' || at[1] > '9');
    return is_name ? len + 1 : *at == '*' ? 1 : 0;
}

static int add_target_piece(struct target_reading *reading, struct target_piece piece)
{
    struct redirect *redirect = reading->redirect;
    if (piece.param == NO_PARAM && piece.len == 0) {
        return 0;
    }
    if (redirect->piece_count == TARGET_PIECES_MAX) {
        return error_text(reading->err, reading->errlen, -EINVAL, "the target \"%.200s\" has more than %d parameters",
                          reading->target, ROUTE_PARAMS_MAX);
    }
    redirect->pieces[redirect->piece_count++] = piece;
    return 0;
}

/* Part the target, from its path on, into texts and parameters. */
static int read_pieces(struct target_reading *reading, const char *at)
{
    const char *target = reading->target, *begin = target;
    struct redirect *redirect = reading->redirect;
    int rv = 0;
    for (; rv == 0 && *at != '\0' && *at != '#'; at++) {
        redirect->has_query = redirect->has_query || *at == '?';
        if (at[0] == '$' && at[1] >= '0' && at[1] <= '9') {
            return error_text(
                reading->err, reading->errlen, -EINVAL,
                "the target \"%.200s\" has \"$%c\": parameters are written as in the pattern, \":name\" or "
                "\"*rest\"; a plain \"$\" is written %%24",
                target, at[1]);
        }
        size_t len = param_len(at);
        if (len == 0) {
            continue;
        }
        const char *name = len == 1 ? at : at + 1;
        int param = find_param(reading, name, len == 1 ? 1 : len - 1);
        if (param == NO_PARAM) {
            return error_text(reading->err, reading->errlen, -EINVAL,
                              "the target \"%.200s\" has \"%.*s\", which is no parameter of \"%.200s\"; a plain \"%c\" "
                              "is written %%%s",
                              target, (int)(len < 64 ? len : 64), at, reading->pattern_text, *at,
                              *at == ':' ? "3A" : "2A");
        }
        rv = add_target_piece(reading, (struct target_piece){
                                           .offset = (uint32_t)(begin - target),
                                           .len = (uint32_t)(at - begin),
                                           .param = NO_PARAM,
                                       });
        rv = rv < 0 ? rv
                    : add_target_piece(reading, (struct target_piece){
                                                    .param = (int16_t)param,
                                                    .keeps_slashes = *at == '*' && !redirect->has_query,
                                                });
        begin = at + len;
        at = begin - 1;
    }
    redirect->path_end = (size_t)(at - target);
    return rv < 0 ? rv
                  : add_target_piece(reading, (struct target_piece){.offset = (uint32_t)(begin - target),
                                                                    .len = (uint32_t)(at - begin),
                                                                    .param = NO_PARAM});
}

static int read_redirect_target(struct target_reading *reading)
{
    const char *target = reading->target;
    const char *path = strlen(target) > REDIRECT_TARGET_MAX ? NULL : find_path(target);
    if (path == NULL || !has_url_bytes(target)) {
        return error_text(reading->err, reading->errlen, -EINVAL,
                          "a target such as \"/new\" or \"https://example.org/new\", percent-encoded, expected, got "
                          "\"%.200s\"",
                          target);
    }
    if (strcmp(target, reading->pattern_text) == 0) {
        return error_text(reading->err, reading->errlen, -EINVAL, "\"%.200s\" would be redirected to itself", target);
    }
    return read_pieces(reading, path);
}

static int check_redirect_status(int status, const char *target, char *err, size_t errlen)
{
    bool is_known = status == 301 || status == 302 || status == 303 || status == 307 || status == 308 || status == 410;
    if (!is_known) {
        return error_text(err, errlen, -EINVAL, "status 301, 302, 303, 307, 308 or 410 expected, got %d", status);
    }
    if ((status == 410) != (target == NULL)) {
        return error_text(err, errlen, -EINVAL,
                          status == 410 ? "status 410 says that the path is gone, so it has no target"
                                        : "status %d needs a target",
                          status);
    }
    return 0;
}

/* Make a redirect of what was given. Returns 0, or -errno with a text. */
static int make_redirect(struct redirect **made, const char *pattern, const char *target, int status, char *err,
                         size_t errlen)
{
    struct route_pattern parsed;
    int rv = check_redirect_status(status, target, err, errlen);
    rv = rv < 0 ? rv : route_pattern_parse(&parsed, pattern, "", err, errlen);
    if (rv < 0) {
        return rv;
    }
    const char *text = target == NULL ? "" : target;
    struct redirect *redirect = mem_zalloc(sizeof *redirect + strlen(text) + 1);
    if (redirect == NULL) {
        return error_text(err, errlen, -ENOMEM, "%s", errno_text(ENOMEM));
    }
    redirect->status = status;
    snprintf(redirect->status_text, sizeof redirect->status_text, "%u", (unsigned)status % 1000);
    strcpy(redirect->target, text);
    struct target_reading reading = {&parsed, pattern, text, redirect, err, errlen};
    rv = target == NULL ? 0 : read_redirect_target(&reading);
    if (rv < 0) {
        mem_free(redirect);
        return rv;
    }
    *made = redirect;
    return 0;
}

/* The redirects of a site, made by the first of them. Returns NULL with a text. */
static struct redirects *find_redirects(struct rules **rules, int *error, char *err, size_t errlen)
{
    if (*rules != NULL && (*rules)->first[RULE_REDIRECT] != NULL) {
        return (*rules)->first[RULE_REDIRECT]->data;
    }
    struct redirects *redirects = mem_zalloc(sizeof *redirects);
    if (redirects == NULL || router_create(&redirects->router) < 0) {
        mem_free(redirects);
        *error = error_text(err, errlen, -ENOMEM, "%s", errno_text(ENOMEM));
        return NULL;
    }
    if (rules_add(rules, &redirect_kind, "/", redirects, error, err, errlen) == NULL) {
        destroy_redirects(redirects);
        return NULL;
    }
    return redirects;
}

int rule_redirect_add(struct rules **rules, const char *pattern, const char *target, int status, const char *where,
                      char *err, size_t errlen)
{
    struct redirect *redirect = NULL;
    int rv = make_redirect(&redirect, pattern, target, status, err, errlen);
    if (rv < 0) {
        return rv;
    }
    struct redirects *redirects = find_redirects(rules, &rv, err, errlen);
    if (redirects != NULL && redirects->count == REDIRECTS_MAX) {
        rv = error_text(err, errlen, -ENOSPC, "\"%.200s\" is one too many: at most %d redirects", pattern,
                        REDIRECTS_MAX);
    } else if (redirects != NULL) {
        rv = router_add(redirects->router, METHOD_BIT(METHOD_GET), pattern, &redirect->handler, where, err, errlen);
        rv = rv == -EEXIST ? error_text(err, errlen, rv, "\"%.200s\" is redirected already", pattern) : rv;
    }
    if (rv < 0) {
        mem_free(redirect);
        return rv;
    }
    redirect->next = redirects->all;
    redirects->all = redirect;
    redirects->count++;
    return 0;
}
