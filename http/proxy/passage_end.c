/* Nothing here fails. What a passage needs again is kept: its memory, and the timer of its deadline. */

#include "http/proxy/passage_end.h"

#include "core/link.h"
#include "core/mem.h"
#include "core/reactor.h"
#include "http/exchange.h"
#include "http/proxy/passage_state.h"
#include "http/proxy/upstream.h"
#include "http/response.h"

#include <string.h>

/* Memory. */

struct passage *passage_take(struct proxy *proxy)
{
    struct passage *passage = proxy->spare;
    if (passage == NULL) {
        passage = mem_zalloc(sizeof *passage);
        if (passage == NULL) {
            return NULL;
        }
        passage->proxy = proxy;
        passage->deadline.at_ms = DEADLINE_NEVER;
    } else {
        proxy->spare = passage->next;
        proxy->spare_count--;
        struct deadline deadline = passage->deadline;
        memset(passage, 0, offsetof(struct passage, head));
        passage->proxy = proxy;
        passage->deadline = deadline;
    }
    proxy->busy_count++;
    return passage;
}

static void free_passage(struct passage *passage)
{
    deadline_cancel(&passage->deadline, passage_reactor(passage));
    mem_free(passage);
}

/* Nobody needs it any more: its link has gone elsewhere. */
void passage_put(struct passage *passage)
{
    struct proxy *proxy = passage->proxy;
    if (passage->came.block != NULL || passage->out.block != NULL) { /* seldom */
        write_buffer_done(&passage->came);
        write_buffer_done(&passage->out);
    }
    passage->deadline.at_ms = DEADLINE_NEVER; /* its timer finds that out */
    passage->exchange = NULL;
    proxy->busy_count--;
    if (proxy->spare_count >= PROXY_SPARE_MAX) {
        free_passage(passage);
        return;
    }
    passage->next = proxy->spare;
    proxy->spare = passage;
    proxy->spare_count++;
}

void passages_done(struct proxy *proxy)
{
    while (proxy->spare != NULL) {
        struct passage *passage = proxy->spare;
        proxy->spare = passage->next;
        free_passage(passage);
    }
    proxy->spare_count = 0;
}

/* The end. */

void passage_close_link(struct passage *passage)
{
    link_close(passage->link);
    passage->link = NULL;
}

/* For the access log: the upstream that was asked last. */
static void note_upstream(const struct passage *passage)
{
    struct exchange *exchange = passage->exchange;
    if (passage->upstream == NULL) {
        return;
    }
    exchange->is_proxied = true;
    exchange->upstream.address = passage->upstream->address;
    exchange->upstream.ms = (uint32_t)(reactor_now_ms(passage_reactor(passage)) - passage->began_ms);
    exchange->upstream.status = passage->status;
}

/* The exchange goes its own way: no callback of it leads here any more. */
static void leave_exchange(struct passage *passage)
{
    struct exchange *exchange = passage->exchange;
    exchange->on_data = exchange->on_drain = exchange->on_gone = NULL;
    exchange->wants_body = false;
    exchange->user = NULL;
}

/* Part with exchange and upstream. Returns the exchange, for the last word. */
struct exchange *passage_end(struct passage *passage)
{
    struct exchange *exchange = passage->exchange;
    note_upstream(passage);
    leave_exchange(passage);
    passage_close_link(passage);
    passage_put(passage);
    return exchange;
}

/* There will be no response of an upstream, or no more of it. */
void passage_fail(struct passage *passage, int status, const char *detail)
{
    bool has_begun = passage->has_begun;
    struct exchange *exchange = passage_end(passage);
    if (has_begun) {
        response_abort(exchange);
    } else {
        response_error(exchange, status, detail);
    }
}

void passage_lack_memory(struct passage *passage)
{
    passage_fail(passage, 503, NULL);
}
