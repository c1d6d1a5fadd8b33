/* Failure mode: without memory there is no work, and the connection is closed. */

#include "http/h1/h1_pool.h"

#include "core/mem.h"
#include "core/tls.h"
#include "http/h1/h1.h"
#include "http/h1/h1_io.h"
#include "http/service.h"
#include "http/site.h"

#include <errno.h>

void h1_start(struct h1 *h1)
{
    parser_reset(&h1->parser);
    h1->parser.is_secured = h1->is_secured;
    h1->body_left = 0;
    h1->body_taken = 0;
    h1->body_since_ms = 0;
    h1->body_waited_ms = 0;
    h1->piece_len = 0;
    h1->awaits_continue = false;
    h1->closes = false;
    h1->end = END_BY_LENGTH;
    h1->pace = 0;
    exchange_start(&h1->exchange);
}

static struct h1 *make_h1(const struct h1_server *server)
{
    struct h1 *h1 = mem_zalloc(sizeof *h1 + exchange_room(&server->service->site->limits));
    if (h1 != NULL) {
        exchange_init(&h1->exchange, server->framing, server->service, (char *)(h1 + 1));
        h1_start(h1);
    }
    return h1;
}

static void free_h1(struct h1 *h1)
{
    exchange_done(&h1->exchange);
    mem_free(h1->head_copy);
    mem_free(h1);
}

struct h1 *h1_take(struct conn *conn)
{
    struct h1_server *server = h1_server_of(conn);
    struct h1 *h1 = server->free;
    if (h1 != NULL) {
        server->free = h1->next_free;
    } else {
        h1 = make_h1(server);
    }
    if (h1 != NULL) {
        h1->conn = conn;
        h1->state = H1_READING_HEADERS; /* where a request begins */
        h1->ends_with_close = false;
        h1->is_secured = h1->parser.is_secured = conn->transport.ops == &tls_transport_ops;
        h1->exchange.peer = &conn->peer;
        h1->exchange.listener = conn->listener;
        h1->exchange.site->pins++;
        conn->work = h1;
    }
    return h1;
}

/* The last request of a site that its server has left may be over. */
static void unpin(struct site *site, bool is_left)
{
    site->pins--;
    if (is_left && site->pins == 0 && site->on_unpinned != NULL) {
        site->on_unpinned(site->on_unpinned_arg);
    }
}

void h1_put(struct h1 *h1)
{
    struct h1_server *server = h1_server_of(h1->conn);
    struct exchange *exchange = &h1->exchange;
    struct site *site = exchange->site;
    h1->conn->work = h1->conn->work == h1 ? NULL : h1->conn->work;
    conn_pool_put_out(h1->conn->pool, &h1->out);
    h1_drop_input(h1);
    h1->conn = NULL;
    bool is_left = site != server->service->site;
    if (is_left) {
        free_h1(h1); /* its size was for the limits of that site */
    } else {
        h1->next_free = server->free;
        server->free = h1;
    }
    unpin(site, is_left);
}

void h1_drop(struct h1 *h1)
{
    h1->exchange.framing = h1_server_of(h1->conn)->framing; /* without what was to see a head that never came */
    exchange_clear(&h1->exchange);
    h1_start(h1);
    h1_put(h1);
}

int h1_renew(struct h1 *h1)
{
    struct conn *conn = h1->conn;
    struct h1 *fresh = h1_take(conn);
    if (fresh == NULL) {
        return -ENOMEM;
    }
    fresh->input = h1->input;
    fresh->out = h1->out;
    fresh->exchange.queued_before = (uint32_t)write_buffer_len(&fresh->out);
    fresh->exchange.turn_end_ns = h1->exchange.turn_end_ns;
    fresh->turn_requests = h1->turn_requests;
    fresh->wants_write = h1->wants_write;
    h1->input = (struct input){0};
    write_buffer_init(&h1->out);
    h1_drop(h1);
    return 0;
}

void h1_empty_pool(struct h1_server *server)
{
    while (server->free != NULL) {
        struct h1 *next = server->free->next_free;
        free_h1(server->free);
        server->free = next;
    }
}
