/* Error pages: a status and a short text, or what the host says in its place.
 *
 * Failure modes: those of response_send(). An error while the host is asked for a page is answered without asking. */

#include "http/response.h"

#include "http/exchange.h"
#include "http/router.h"
#include "http/service.h"
#include "http/site.h"
#include "http/status.h"

#include <stdio.h>
#include <string.h>

enum { ERROR_PAGE_MAX = 512 };

/* Allow is a must of 405 (RFC 9110 section 15.5.6): where there is no room for it, it goes before all others. */
static void add_allow(struct exchange *exchange)
{
    char allow[ROUTE_METHODS_TEXT_MAX];
    router_format_methods(exchange->site->router, exchange->match.allowed, allow);
    if (response_add_field(exchange, "Allow", 5, allow, strlen(allow)) < 0) {
        response_clear_fields(exchange);
        response_add_field(exchange, "Allow", 5, allow, strlen(allow));
    }
}

void response_error(struct exchange *exchange, int status, const char *detail)
{
    response_clear_fields(exchange);
    response_refuse(exchange, status, detail);
}

/* Whether the host has sent a page of its own for an error. */
static bool ask_host(struct exchange *exchange, int status)
{
    struct service *service = exchange->service;
    if (service->hooks.on_error == NULL || service->is_asking) {
        return false;
    }
    service->is_asking = true;
    service->hooks.on_error(exchange, status, service->hooks.arg);
    service->is_asking = false;
    return exchange->response_state != RESPONSE_NONE;
}

static void send_error_page(struct exchange *exchange, int status, const char *detail)
{
    char page[ERROR_PAGE_MAX];
    int len = snprintf(page, sizeof page, "%d %s\n%s%s", status, status_reason(status), detail == NULL ? "" : detail,
                       detail == NULL ? "" : "\n");
    if (len < 0 || (size_t)len >= sizeof page) {
        len = sizeof page - 1;
    }
    response_send(exchange, status, RESPONSE_TEXT_PLAIN, page, (size_t)len);
}

void response_error_page(struct exchange *exchange, int status, const char *detail)
{
    if (!ask_host(exchange, status)) {
        send_error_page(exchange, status, detail);
    }
}

void response_refuse(struct exchange *exchange, int status, const char *detail)
{
    response_drop_content_fields(exchange);
    if (status == 405) {
        add_allow(exchange);
    }
    response_error_page(exchange, status, detail);
}

void response_error_plain(struct exchange *exchange, int status, const char *detail)
{
    response_clear_fields(exchange);
    response_drop_content_fields(exchange);
    send_error_page(exchange, status, detail);
}
