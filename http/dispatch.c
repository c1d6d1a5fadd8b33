/* Routes come before static files, and a path as it was sent before the same path with or without a slash at its end.
 *
 * Happy path: one router_match(). What nobody answers is answered here; that is no failure.
 * Failure mode: without memory for a redirect the answer is a 503. */

#include "http/dispatch.h"

#include "core/mem.h"
#include "http/response.h"
#include "http/service.h"
#include "http/site.h"
#include "http/static_files.h"
#include "http/url.h"

#include <string.h>

void dispatch_answer_options(struct exchange *exchange, uint64_t methods)
{
    char allow[ROUTE_METHODS_TEXT_MAX];
    router_format_methods(exchange->site->router, methods | METHOD_BIT(METHOD_OPTIONS), allow);
    response_add_field(exchange, "Allow", 5, allow, strlen(allow));
    response_send(exchange, 204, NULL, NULL, 0);
}

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

void dispatch_server_options(struct exchange *exchange)
{
    strcpy(exchange->path, "*");
    exchange->path_len = 1;
    if (ask_before(exchange)) {
        return;
    }
    uint64_t methods = METHODS_KNOWN | router_methods(exchange->site->router);
    dispatch_answer_options(exchange, methods & ~METHOD_BIT(METHOD_OTHER));
}

static void set_handler(struct exchange *exchange, const struct handler *handler)
{
    exchange->handler = handler;
    exchange->outlives_end = handler->half_close;
    if (handler->limits != NULL) {
        exchange->limits = handler->limits;
    }
}

/* The number of the request's method (http/route_methods.h). */
static unsigned number_of_method(const struct exchange *exchange)
{
    const struct head *head = &exchange->head;
    return head->method != METHOD_OTHER
               ? (unsigned)head->method
               : router_find_method(exchange->site->router, exchange_text(exchange, head->method_text),
                                    head->method_text.len);
}

/* Match the path with the slash at its end taken away, or with one more. The path stays as it is; values of parameters
 * are slices of it, an empty one perhaps just behind it. */
static enum route_verdict match_other_slash(struct exchange *exchange, unsigned method, struct route_match *match)
{
    const struct router *router = exchange->site->router;
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

/* To the path with the slash at its end taken away, or with one more, and the query as it came. Location is a path and
 * does not depend on Host; "/." goes before a path that begins with "//", which would be read as a host's name. GET
 * and HEAD are sent on with 301, which caches keep; for other methods 308 says to send the same method and body. */
static void redirect_slash(struct exchange *exchange)
{
    const struct slice *query = &exchange->head.query;
    size_t query_len = exchange->head.has_query ? query->len : 0;
    size_t path_len = exchange->path_len;
    bool has_slash = exchange->path[path_len - 1] == '/';
    char *location = mem_alloc(3 * (path_len + query_len) + sizeof "/./?");
    if (location == NULL) {
        response_error(exchange, 503, NULL);
        return;
    }
    size_t len = 0;
    if (exchange->path[1] == '/') {
        location[len++] = '/';
        location[len++] = '.';
    }
    len += url_encode_path(exchange->path, path_len - (has_slash ? 1 : 0), location + len);
    if (!has_slash) {
        location[len++] = '/';
    }
    if (exchange->head.has_query) {
        location[len++] = '?';
        len += url_encode_query(exchange_text(exchange, *query), query_len, location + len);
    }
    bool is_read = exchange->head.method == METHOD_GET || exchange->head.method == METHOD_HEAD;
    response_redirect(exchange, is_read ? 301 : 308, location, len);
    mem_free(location);
}

/* What the site's policy makes of a path that no route fits. Returns the verdict that stands; when the exchange was
 * answered that is ROUTE_FOUND without a handler. */
static enum route_verdict try_other_slash(struct exchange *exchange, unsigned method)
{
    enum site_slash policy = exchange->site->trailing_slash;
    struct route_match other;
    if (policy == SLASH_STRICT) {
        return ROUTE_NOT_FOUND;
    }
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

bool dispatch_not_found(struct exchange *exchange)
{
    const struct handler *handler = &exchange->service->not_found_handler;
    if (handler->serve == NULL || exchange->match.allowed != 0) {
        return false;
    }
    exchange->handler = handler;
    exchange->outlives_end = handler->half_close;
    handler->serve(exchange, handler->ctx);
    return true;
}

static void route_request(struct exchange *exchange)
{
    const struct site *site = exchange->site;
    unsigned method = number_of_method(exchange);
    enum route_verdict verdict = router_match(site->router, method, exchange->path, exchange->path_len,
                                              &exchange->match);
    if (verdict == ROUTE_NOT_FOUND) {
        verdict = try_other_slash(exchange, method);
    }
    if (verdict == ROUTE_FOUND) {
        if (exchange->match.route != NULL) {
            set_handler(exchange, exchange->match.route->handler);
        }
        return;
    }
    if (method == METHOD_OTHER && (router_methods(site->router) & METHOD_BIT(METHOD_OTHER)) == 0) {
        response_error(exchange, 501, "unknown method"); /* whatever the path (RFC 9110 section 15.6.2) */
        return;
    }
    if (verdict == ROUTE_NOT_FOUND) {
        exchange->match.allowed = 0;
    }
    bool is_covered = static_mounts_cover(site->mounts, exchange->path, exchange->path_len);
    if (method == METHOD_OPTIONS && (is_covered || exchange->match.allowed != 0)) {
        uint64_t files = is_covered ? METHOD_BIT(METHOD_GET) | METHOD_BIT(METHOD_HEAD) : 0;
        static_mounts_add_fields_of_path(site->mounts, exchange);
        dispatch_answer_options(exchange, exchange->match.allowed | files);
    } else if (is_covered) {
        set_handler(exchange, &exchange->service->static_handler);
    } else if (exchange->match.allowed != 0) {
        response_error(exchange, 405, NULL);
    } else if (exchange->service->not_found_handler.serve != NULL) {
        set_handler(exchange, &exchange->service->not_found_handler);
    } else {
        response_error(exchange, 404, NULL);
    }
}

void dispatch_request(struct exchange *exchange)
{
    if (!ask_before(exchange)) {
        route_request(exchange);
    }
}
