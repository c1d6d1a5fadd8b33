/* Happy path: each line is written. In a flood, the line after the last one that is written sets a timer, which says
 * how many there were. */

#include "http/conn_lines.h"

#include "core/log.h"
#include "core/reactor.h"
#include "http/service.h"

static void count_others(struct conn_lines *lines)
{
    if (lines->count > CONN_LINES_MAX) {
        log_write(lines->service->log, LOG_INFO, "%u %s", lines->count - CONN_LINES_MAX, lines->what);
    }
    lines->count = 0;
}

static void on_span_over(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)reactor;
    (void)timer;
    struct conn_lines *lines = arg;
    lines->timer = 0;
    count_others(lines);
}

bool conn_lines_take(struct conn_lines *lines)
{
    struct reactor *reactor = lines->service->reactor;
    int64_t now_ms = reactor_now_ms(reactor);
    if (lines->timer == 0 && now_ms >= lines->until_ms) {
        count_others(lines);
    }
    if (lines->count == 0) {
        lines->until_ms = now_ms + CONN_LINES_SPAN_MS;
    }
    lines->count += lines->count < UINT32_MAX;
    if (lines->count <= CONN_LINES_MAX) {
        return true;
    }
    if (lines->timer == 0) {
        lines->timer = reactor_set_timeout(reactor, (uint32_t)(lines->until_ms - now_ms), on_span_over, lines);
    }
    return false;
}

void conn_lines_done(struct conn_lines *lines)
{
    if (lines->timer != 0) {
        reactor_cancel_timer(lines->service->reactor, lines->timer);
        lines->timer = 0;
    }
    if (lines->service != NULL) {
        count_others(lines);
    }
}
