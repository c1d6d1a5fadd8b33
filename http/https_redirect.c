/* Happy path: the Host of the request, without its port, is a name of a certificate; Location is "https://", that name,
 * the port of the TLS listener unless it is 443, and the target as the client sent it.
 *
 * Failure modes: a host that is none, or is not ours; a Location that is longer than fields may be; no memory. The
 * pages are the server's own, without the host's hooks: nothing of the site is served here. */

#include "http/https_redirect.h"

#include "core/mem.h"
#include "core/tls_context.h"
#include "http/authority.h"
#include "http/exchange.h"
#include "http/response.h"
#include "http/service.h"

#include <stdio.h>
#include <string.h>

enum {
    REDIRECT_HOST_MAX = 255, /* bytes of a DNS name */
    PORT_HTTPS = 443,        /* which https:// means (RFC 9110 section 4.2.2) */
};

bool https_redirect_has(const struct exchange *exchange)
{
    return exchange->listener >= 0 && (exchange->service->redirect.listeners >> exchange->listener & 1) != 0 &&
           !exchange_is_secure(exchange);
}

/* Take the port away, and the dot of a name that ends in one, which no certificate has. */
static const char *host_of(const struct exchange *exchange, size_t *len)
{
    const char *text = exchange_host(exchange, len);
    *len = authority_host_len(text, *len);
    if (*len > 1 && text[*len - 1] == '.') {
        --*len;
    }
    return text;
}

/* Whether it is made of labels with a dot between two, and of what names of hosts consist of. RFC 3986 allows more; a
 * wildcard certificate would match it, and not all clients read it alike. */
static bool is_host_name(const char *text, size_t len)
{
    char before = '.';
    for (size_t i = 0; i < len; before = text[i++]) {
        bool is_letter = (text[i] >= 'a' && text[i] <= 'z') || (text[i] >= 'A' && text[i] <= 'Z');
        bool is_digit = text[i] >= '0' && text[i] <= '9';
        bool is_end = text[i] == '.' && before != '.';
        if (!is_letter && !is_digit && !is_end && text[i] != '-' && text[i] != '_') {
            return false;
        }
    }
    return before != '.' && len <= REDIRECT_HOST_MAX;
}

/* Whether a certificate is for this host: a name, an IPv4 address, or an IPv6 address in brackets. */
static bool is_our_host(const struct exchange *exchange, const char *host, size_t len)
{
    const struct tls_context *context = exchange->service->redirect.context;
    if (context == NULL) {
        return false;
    }
    if (len > 2 && host[0] == '[') {
        return tls_context_has_name(context, host + 1, len - 2);
    }
    return is_host_name(host, len) && tls_context_has_name(context, host, len);
}

/* The port for Location, ":8443", or "". */
static void format_port(const struct exchange *exchange, char text[8])
{
    const struct https_redirect *redirect = &exchange->service->redirect;
    unsigned asked = redirect->ports[exchange->listener];
    unsigned port = asked != 0 ? asked : redirect->port;
    text[0] = '\0';
    if (port != 0 && port != PORT_HTTPS) {
        snprintf(text, 8, ":%u", port & 0xffff);
    }
}

/* Write the target in origin-form, byte for byte as the client sent it; "OPTIONS *" is about the server, and means an
 * URL without a path (RFC 9112 section 3.2.4). Returns the length; to may be NULL. */
static size_t write_target(const struct exchange *exchange, char *to)
{
    const struct head *head = &exchange->head;
    if (head->is_asterisk) {
        return 0;
    }
    char *scrap = to;
    size_t len = 0;
    const struct {
        const char *text;
        size_t len;
    } parts[] = {
        {"/", head->path.len == 0 ? 1 : 0},
        {exchange_text(exchange, head->path), head->path.len},
        {"?", head->has_query ? 1 : 0},
        {exchange_text(exchange, head->query), head->has_query ? head->query.len : 0},
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (scrap != NULL) {
            memcpy(scrap + len, parts[i].text, parts[i].len);
        }
        len += parts[i].len;
    }
    return len;
}

static void redirect_to(struct exchange *exchange, const char *host, size_t host_len)
{
    static const char scheme[] = "https://", name[] = "Location";
    char port[8];
    format_port(exchange, port);
    size_t before = sizeof scheme - 1 + host_len + strlen(port);
    size_t len = before + write_target(exchange, NULL);
    if (sizeof name - 1 + len + 4 > RESPONSE_FIELDS_MAX) { /* with ": " and CRLF */
        response_error_plain(exchange, 414, NULL);
        return;
    }
    char *text = mem_alloc(len);
    if (text == NULL) {
        response_error_plain(exchange, 503, NULL);
        return;
    }
    char *at = mempcpy(text, scheme, sizeof scheme - 1);
    at = mempcpy(at, host, host_len);
    at = mempcpy(at, port, strlen(port));
    write_target(exchange, at);
    response_redirect(exchange, 308, text, len);
    mem_free(text);
}

void https_redirect_answer(struct exchange *exchange)
{
    size_t len;
    const char *host = host_of(exchange, &len);
    if (len == 0) {
        response_error_plain(exchange, 400, "This port only redirects to HTTPS, and the request names no host.");
    } else if (!is_our_host(exchange, host, len)) {
        response_error_plain(exchange, 421,
                             "This port only redirects to HTTPS, and no certificate is for the host of the request.");
    } else {
        redirect_to(exchange, host, len);
    }
}
