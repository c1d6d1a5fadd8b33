/* From a decoded path to the value of Location. Failure mode: no memory for it. */

#include "http/location.h"

#include "core/mem.h"
#include "http/exchange.h"
#include "http/response.h"
#include "http/url.h"

/* Write the value; text has room for it. Returns its length. */
static size_t write_location(const struct exchange *exchange, const struct location *location, char *text)
{
    size_t len = 0;
    text[len++] = '/';
    text[len++] = '.';
    len += url_encode_path(location->base, location->base_len, text + len);
    len += url_encode_path(location->rest, location->rest_len, text + len);
    if (location->has_slash) {
        text[len++] = '/';
    }
    if (exchange->head.has_query) {
        struct slice query = exchange->head.query;
        text[len++] = '?';
        len += url_encode_query(exchange_text(exchange, query), query.len, text + len);
    }
    return len;
}

void location_redirect(struct exchange *exchange, int status, const struct location *location)
{
    size_t query_len = exchange->head.has_query ? exchange->head.query.len : 0;
    char *text = mem_alloc(3 * (location->base_len + location->rest_len + query_len) + sizeof "/./?");
    if (text == NULL) {
        response_error(exchange, 503, NULL);
        return;
    }
    size_t len = write_location(exchange, location, text);
    size_t unused = len > 3 && text[2] == '/' && text[3] == '/' ? 0 : 2;
    response_redirect(exchange, status, text + unused, len - unused);
    mem_free(text);
}
