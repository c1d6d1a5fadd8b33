/* Queries and cookies, as names and values. They are parsed when the host asks for the first one, so asking again gives
 * the same pointer and costs no more memory.
 *
 * Failure mode: without memory they seem to be absent. */

#include "http/host/evs_parsed.h"

#include "core/ascii.h"
#include "core/mem.h"
#include "http/cookie.h"
#include "http/host/evs_internal.h"

/* Queries. */

static const struct pairs *query_of(struct exchange *exchange)
{
    struct slice query = exchange->head.query;
    struct evs_parsed *parsed = query.len == 0 ? NULL : evs_parsed_of(exchange);
    if (parsed == NULL) {
        return NULL;
    }
    if (parsed->query == NULL) {
        (void)pairs_of_query(&parsed->query, exchange_text(exchange, query), query.len, SIZE_MAX);
    }
    return parsed->query;
}

const char *evs_query(evs_request *request, const char *name)
{
    return name == NULL ? NULL : pairs_find(query_of(exchange_of(request)), name);
}

int evs_query_at(evs_request *request, unsigned index, const char **name, const char **value)
{
    return pairs_at(query_of(exchange_of(request)), index, name, value) ? 1 : 0;
}

/* Cookies. */

/* Whether field is a Cookie field. There may be several: RFC 6265 section 5.4 allows clients only one, but HTTP/2
 * splits it. */
static bool is_cookie(const struct exchange *exchange, const struct field *field)
{
    return ascii_is(exchange_text(exchange, field->name), field->name.len, "cookie");
}

/* Add the cookies of one field; if pairs is NULL, only count them and their bytes. */
static void take_cookies(struct pairs *pairs, const char *text, size_t left, size_t *count, size_t *text_len)
{
    struct cookie cookie;
    while (cookie_next(&text, &left, &cookie)) {
        if (pairs != NULL) {
            pairs_add(pairs, cookie.name, cookie.name_len, cookie.value, cookie.value_len);
        }
        *count += 1;
        *text_len += cookie.name_len + cookie.value_len;
    }
}

static void take_all_cookies(const struct exchange *exchange, struct pairs *pairs, size_t *count, size_t *text_len)
{
    for (unsigned i = 0; i < exchange->head.field_count; i++) {
        const struct field *field = &exchange->head.fields[i];
        if (is_cookie(exchange, field)) {
            take_cookies(pairs, exchange_text(exchange, field->value), field->value.len, count, text_len);
        }
    }
}

static const struct pairs *cookies_of(struct exchange *exchange)
{
    struct evs_parsed *parsed = evs_parsed_of(exchange);
    if (parsed == NULL) {
        return NULL;
    }
    if (parsed->cookies == NULL) {
        size_t count = 0, text_len = 0;
        take_all_cookies(exchange, NULL, &count, &text_len);
        parsed->cookies = pairs_create(count, text_len);
        if (parsed->cookies != NULL) {
            take_all_cookies(exchange, parsed->cookies, &count, &text_len);
        }
    }
    return parsed->cookies;
}

const char *evs_cookie(evs_request *request, const char *name)
{
    return name == NULL ? NULL : pairs_find(cookies_of(exchange_of(request)), name);
}

int evs_cookie_at(evs_request *request, unsigned index, const char **name, const char **value)
{
    return pairs_at(cookies_of(exchange_of(request)), index, name, value) ? 1 : 0;
}
