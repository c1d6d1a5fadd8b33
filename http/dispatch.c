/* Routes come before static files, except those that end in a rest (struct route.after_files): files that exist come
 * before them. A path as it was sent comes before the same path with or without a slash at its end.
 *
 * Happy path: one router_match(). A request that nothing matches gets its response here; that is not a failure.
 * Failure mode: without memory for a redirect, the response is 503. */

#include "http/dispatch.h"

#include "http/acme.h"
#include "http/compress.h"
#include "http/exchange.h"
#include "http/forwarded.h"
#include "http/https_redirect.h"
#include "http/location.h"
#include "http/metrics_counts.h"
#include "http/no_route.h"
#include "http/request_id.h"
#include "http/response.h"
#include "http/rules/decide.h"
#include "http/service.h"
#include "http/site.h"
#include "http/static_mounts.h"
#include "http/trusted_proxies.h"
#include "http/vhosts.h"

#include <assert.h>
#include <string.h>

/* Whether the host answers the request itself. */
static bool ask_before(struct exchange *exchange)
{
    const struct server_hooks *hooks = &exchange->service->hooks;
    if (hooks->before == NULL) {
        return false;
    }
    exchange->handler = &exchange->service->before_handler;
    exchange->is_served = true;
    exchange_time_turn(exchange);
    if (hooks->before(exchange, hooks->arg) || exchange->response_state != RESPONSE_NONE) {
        return true;
    }
    exchange->handler = NULL;
    exchange->is_served = false;
    response_keep_fields(exchange);
    return false;
}

void dispatch_hear_proxy(struct exchange *exchange)
{
    const struct site *site = exchange->site;
    bool is_trusted = trusted_proxies_have(site->trusted, exchange->peer);
    unsigned sources = is_trusted ? site->forwarded : 0;
    if (is_trusted) {
        request_id_take(exchange);
    }
    if (sources != 0) {
        exchange->told = forwarded_read(&exchange->forwarded, &exchange->head, exchange->head_data, sources,
                                        site->trusted);
    }
    if (site->strips_forwarded) {
        forwarded_strip(&exchange->head, exchange->head_data, sources);
    }
}

/* Whether the request came over a handshake for a host that asks for other client certificates. A wildcard of ours
 * takes any number of labels, one of a certificate takes one: neither the name nor this form of it may get around
 * them. */
static bool is_misdirected_to(const struct exchange *exchange, const struct vhost_look *look)
{
    const struct framing *framing = exchange->framing;
    return framing->is_misdirected(exchange, look->name, look->len) ||
           (look->from > 0 && framing->is_misdirected(exchange, look->name + look->from, look->len - look->from));
}

/* Which host of the site the request is for. Returns whether it was refused. */
static bool choose_host(struct exchange *exchange)
{
    struct vhost_look look;
    size_t len;
    const char *authority = exchange_host(exchange, &len);
    const struct vhost *vhost = vhosts_find(exchange->site->hosts, authority, len, &look);
    if (vhost == NULL) {
        return false;
    }
    exchange->vhost = vhost;
    exchange->is_unlogged = vhost->is_unlogged;
    if (vhost->access != NULL && exchange->dues.is_logged != LOGGED_NOT) {
        exchange->dues.is_logged = LOGGED_LATE; /* only access_log_exchange() knows the logs of hosts */
    }
    exchange_set_limits(exchange, vhost_limits(vhost, exchange->limits));
    if (!is_misdirected_to(exchange, &look)) {
        return false;
    }
    response_error(exchange, 421,
                   "this host asks for other client certificates than the connection: connect with its server name");
    return true;
}

/* Whether it is for none of them, and the site has no default host. */
static bool is_for_no_host(const struct exchange *exchange)
{
    const struct site *site = exchange->site;
    return site->hosts != NULL && site->unknown_host != 0 && exchange->vhost == &site->default_host;
}

/* What comes before routes: what a trusted proxy says of the request; the challenges of a certificate authority, and
 * redirects to HTTPS, which are public and plain HTTP by design; the site's rules; then the host's before(). Returns
 * whether one of them responds, or holds the exchange. */
static bool answer_first(struct exchange *exchange)
{
    if (exchange->site->trusted != NULL || exchange->site->strips_forwarded) {
        dispatch_hear_proxy(exchange);
    }
    if (exchange->site->hosts != NULL && choose_host(exchange)) {
        return true;
    }
    if (exchange->vhost->compress != NULL) {
        compress_install(exchange);
    }
    if (exchange->site->acme != NULL && acme_serve(exchange)) {
        return true;
    }
    if (https_redirect_has(exchange)) {
        https_redirect_answer(exchange);
        return true;
    }
    if (is_for_no_host(exchange)) {
        response_error(exchange, exchange->site->unknown_host, "no host of this name is served here");
        return true;
    }
    struct rules *rules = exchange->vhost->rules;
    return (rules != NULL && rules_decide(exchange, rules)) || ask_before(exchange);
}

static void answer_server_options(struct exchange *exchange)
{
    uint64_t methods = METHODS_KNOWN | router_methods(exchange->vhost->router);
    no_route_answer_options(exchange, methods & ~METHOD_BIT(METHOD_OTHER));
}

void dispatch_server_options(struct exchange *exchange)
{
    strcpy(exchange->path, "*");
    exchange->path_len = 1;
    if (!exchange->service->has_first || !answer_first(exchange)) {
        answer_server_options(exchange);
    }
}

static void set_handler(struct exchange *exchange, const struct handler *handler, uint16_t series)
{
    exchange->handler = handler;
    exchange->series = series;
    exchange->outlives_end = handler->half_close;
    exchange->is_unlogged = exchange->is_unlogged || handler->is_unlogged; /* its host may have said so, too */
    if (handler->limits != NULL) {
        exchange_set_limits(exchange, handler->limits);
    }
}

/* The number of the request's method (http/route_methods.h). */
static unsigned number_of_method(const struct exchange *exchange)
{
    const struct head *head = &exchange->head;
    return head->method != METHOD_OTHER
               ? (unsigned)head->method
               : router_find_method(exchange->vhost->router, exchange_text(exchange, head->method_text),
                                    head->method_text.len);
}

/* Match the path with the slash at its end taken away, or with one more. The path stays as it is; values of parameters
 * are slices of it, an empty one perhaps just behind it. */
static enum route_verdict match_other_slash(struct exchange *exchange, unsigned method, struct route_match *match)
{
    const struct router *router = exchange->vhost->router;
    char *path = exchange->path;
    size_t len = exchange->path_len;
    if (len <= 1) {
        return ROUTE_NOT_FOUND;
    }
    if (path[len - 1] == '/') {
        return router_match(router, method, path, len - 1, match);
    }
    path[len] = '/'; /* there is room: a request line is longer than its path */
    enum route_verdict verdict = router_match(router, method, path, len + 1, match);
    path[len] = '\0';
    return verdict;
}

/* To the path with the slash at its end taken away, or with one more. GET and HEAD are redirected with 301, which
 * caches keep; for other methods 308 says to send the same method and body. */
static void redirect_slash(struct exchange *exchange)
{
    bool has_slash = exchange->path[exchange->path_len - 1] == '/';
    bool is_read = exchange->head.method == METHOD_GET || exchange->head.method == METHOD_HEAD;
    const struct location location = {
        .base = exchange->path,
        .base_len = exchange->path_len - (has_slash ? 1 : 0),
        .has_slash = !has_slash,
    };
    location_redirect(exchange, is_read ? 301 : 308, &location);
}

/* What the host's policy, which is not SLASH_STRICT, makes of a path that no route fits. Returns the verdict that
 * stands; when the exchange was answered that is ROUTE_FOUND without a handler. */
static enum route_verdict try_other_slash(struct exchange *exchange, unsigned method)
{
    enum slash_policy policy = exchange->vhost->trailing_slash;
    struct route_match other;
    enum route_verdict verdict = match_other_slash(exchange, method, &other);
    if (policy == SLASH_IGNORE && verdict != ROUTE_NOT_FOUND) {
        exchange->match = other;
        return verdict;
    }
    if (policy == SLASH_REDIRECT && verdict == ROUTE_FOUND) {
        redirect_slash(exchange);
        return verdict;
    }
    return ROUTE_NOT_FOUND;
}

/* The route ends in a rest, so files may come before it: those that exist. */
__attribute__((noinline)) static void set_files_or_route(struct exchange *exchange)
{
    const struct route *route = exchange->match.route;
    const struct static_mounts *mounts = exchange->vhost->mounts;
    bool is_read = exchange->head.method == METHOD_GET || exchange->head.method == METHOD_HEAD;
    if (is_read && static_mounts_cover_from(mounts, exchange->path, exchange->path_len, route->after_files - 1U)) {
        exchange->match.allowed = 0;
        set_handler(exchange, &exchange->service->files_first, SERIES_FILES);
    } else {
        set_handler(exchange, route->handler, route->series);
    }
}

/* Inlined, since each request comes here. */
__attribute__((always_inline)) static inline void route_request(struct exchange *exchange)
{
    const struct vhost *vhost = exchange->vhost;
    unsigned method = number_of_method(exchange);
    enum route_verdict verdict = router_match(vhost->router, method, exchange->path, exchange->path_len,
                                              &exchange->match);
    if (verdict == ROUTE_NOT_FOUND && vhost->trailing_slash != SLASH_STRICT) {
        verdict = try_other_slash(exchange, method);
    }
    if (verdict == ROUTE_FOUND) {
        const struct route *route = exchange->match.route;
        if (route != NULL && route->after_files != 0) {
            set_files_or_route(exchange);
        } else if (route != NULL) {
            set_handler(exchange, route->handler, route->series);
        }
        return;
    }
    if (method == METHOD_OTHER && (router_methods(vhost->router) & METHOD_BIT(METHOD_OTHER)) == 0) {
        response_error(exchange, 501, "unknown method"); /* whatever the path (RFC 9110 section 15.6.2) */
        return;
    }
    if (verdict == ROUTE_NOT_FOUND) {
        exchange->match.allowed = 0;
    }
    bool is_covered = static_mounts_cover(vhost->mounts, exchange->path, exchange->path_len);
    if (method == METHOD_OPTIONS && (is_covered || exchange->match.allowed != 0)) {
        uint64_t files = is_covered ? METHOD_BIT(METHOD_GET) | METHOD_BIT(METHOD_HEAD) : 0;
        static_mounts_add_fields_of_path(vhost->mounts, exchange);
        no_route_answer_options(exchange, exchange->match.allowed | files);
    } else if (is_covered) {
        set_handler(exchange, &exchange->service->static_handler, SERIES_FILES);
    } else if (exchange->match.allowed != 0) {
        no_route_refuse(exchange, 405);
    } else if (exchange->service->not_found_handler.serve != NULL) {
        set_handler(exchange, &exchange->service->not_found_handler, SERIES_NONE);
    } else {
        no_route_refuse(exchange, 404);
    }
}

void dispatch_request(struct exchange *exchange)
{
    if (!exchange->service->has_first || !answer_first(exchange)) {
        route_request(exchange);
    }
}

void dispatch_go_on(struct exchange *exchange)
{
    assert(exchange->hold == HOLD_WAITS && exchange->response_state == RESPONSE_NONE);
    exchange->hold = HOLD_OVER;
    exchange->on_gone = NULL;
    exchange->on_stopping = NULL;
    exchange->user = NULL;
    exchange_resume(exchange);
}

void dispatch_resume(struct exchange *exchange)
{
    bool is_routed = exchange->handler == &exchange->service->files_first; /* and there was no such file */
    exchange->hold = HOLD_NONE;
    exchange->handler = NULL;
    exchange->is_served = false;
    if (is_routed) {
        set_handler(exchange, exchange->match.route->handler, exchange->match.route->series);
        return;
    }
    if (rules_decide_on(exchange, exchange->vhost->rules) || ask_before(exchange)) {
        return;
    }
    if (exchange->head.is_asterisk) {
        answer_server_options(exchange);
    } else {
        route_request(exchange);
    }
}
