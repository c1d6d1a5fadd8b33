/* The end of fetches. Nothing here fails. */

#include "http/client/fetch_over.h"

#include "core/link.h"
#include "core/outbound.h"
#include "core/reactor.h"
#include "core/visible.h"
#include "http/client/fetch_state.h"

#include <stdio.h>
#include <string.h>

const char *fetch_peer_name(const struct fetch *fetch, char name[FETCH_FAILURE_MAX / 2])
{
    const char *path = fetch->order.unix_path != NULL ? fetch->order.unix_path : fetch->url.unix_path;
    size_t taken;

    if (path != NULL) {
        visible_copy(name, FETCH_FAILURE_MAX / 2, path, strlen(path), VISIBLE_LINE, &taken);
    } else {
        snprintf(name, FETCH_FAILURE_MAX / 2, "%.*s", (int)fetch->url.authority_len, fetch->url.authority);
    }
    return name;
}

void fetch_let_go(struct fetch *fetch)
{
    struct reactor *reactor = fetch->outbound->links.reactor;

    reactor_unschedule(reactor, &fetch->task);
    deadline_cancel(&fetch->deadline, reactor);
    link_close(fetch->link);
    fetch->link = NULL;
}

void fetch_fail(struct fetch *fetch, enum fetch_kind kind, const char *format, ...)
{
    va_list args;

    if (fetch_is_over(fetch)) {
        return;
    }
    va_start(args, format);
    vsnprintf(fetch->failure, sizeof fetch->failure, format, args);
    va_end(args);
    fetch->kind = (uint8_t)kind;
    fetch->stage = FETCH_ENDED;
    fetch_let_go(fetch);
    fetch_note(fetch, FETCH_FAILED);
}

void fetch_note(struct fetch *fetch, enum fetch_event event)
{
    fetch->due |= (uint8_t)(1U << event);
}

/* The order in which events that are due together are told. */
static const enum fetch_event told_in_order[] = {FETCH_HEAD, FETCH_WRITABLE, FETCH_READABLE, FETCH_DONE, FETCH_FAILED};

void fetch_tell(struct fetch *fetch)
{
    bool is_gone = false;
    fetch->is_gone = &is_gone;
    for (size_t i = 0; i < sizeof told_in_order / sizeof told_in_order[0]; i++) {
        unsigned bit = 1U << told_in_order[i];
        if ((fetch->due & bit) == 0) {
            continue;
        }
        fetch->due &= (uint8_t)~bit;
        fetch->on_event(fetch, told_in_order[i], fetch->arg);
        if (is_gone) {
            return;
        }
    }
    fetch->is_gone = NULL;
}
