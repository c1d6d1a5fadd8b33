#include "tests/lib/handlers.h"

void serve_text(struct exchange *exchange, void *ctx)
{
    const char *text = ctx;
    response_send(exchange, 200, "text/plain", text, strlen(text));
}

static void send_body_back(struct exchange *exchange)
{
    int verdict = exchange_collect_body(exchange);
    if (verdict == BODY_END) {
        response_send(exchange, 200, "text/plain", exchange->body, exchange->body_len);
    } else if (verdict != BODY_WAIT) {
        response_error(exchange, -verdict, exchange->body_reason);
    }
}

void serve_body_back(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    exchange->on_data = send_body_back;
    send_body_back(exchange);
}
