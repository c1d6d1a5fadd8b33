#ifndef EVSERVE_HTTP_BODY_FILTER_H
#define EVSERVE_HTTP_BODY_FILTER_H

/* What stands between the framing of a request and whoever takes its body: http/decoded_body.c for bodies with a
 * content coding. An exchange without one pays nothing. While an exchange has one, its body_block has memory. */

#include <stdbool.h>
#include <stddef.h>

struct exchange;

struct body_filter {
    /* exchange_read_body(), exchange_unread_body() and exchange_collect_body(). */
    int (*read)(struct exchange *exchange, const char **data, size_t *len);
    void (*unread)(struct exchange *exchange, size_t len);
    int (*collect)(struct exchange *exchange);

    /* The exchange is over, or nobody needs more of the body: give up everything, exchange->body_filter too. */
    void (*drop)(struct exchange *exchange);

    /* read() has said BODY_WAIT only to let others have their turn: the handler is called again in the next one, and
     * nothing is read from the client before that. */
    bool has_more;
};

#endif
