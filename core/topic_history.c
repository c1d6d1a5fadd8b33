/* A chain of payloads, of which each is kept by one topic. */

#include "core/topic_history.h"

#include "core/mem.h"

#include <errno.h>
#include <stdint.h>

void topic_history_raise(struct topic_history *history, unsigned keep)
{
    if (history->keep == 0 && keep > 0) {
        history->dropped_id = history->last_id;
    }
    history->keep = history->keep < keep ? keep : history->keep;
}

size_t topic_history_drop(struct topic_history *history)
{
    struct payload *oldest = history->first;
    size_t bytes = payload_bytes(oldest);
    history->first = oldest->kept;
    history->last = history->first == NULL ? NULL : history->last;
    history->count--;
    history->bytes -= bytes;
    history->dropped_id = oldest->id;
    payload_put(oldest);
    return bytes;
}

void topic_history_follow(const struct topic_history *history, struct publication_id *id)
{
    const struct publication_id *last = &history->last_id;
    if (publication_id_compare(*id, *last) <= 0) {
        *id = (struct publication_id){last->ms, last->number + 1};
    }
}

void topic_history_add(struct topic_history *history, struct payload *payload)
{
    payload->kept = NULL;
    *(history->first == NULL ? &history->first : &history->last->kept) = payload_get(payload);
    history->last = payload;
    history->last_id = payload->id;
    history->count++;
    history->bytes += payload_bytes(payload);
}

void topic_history_pass(struct topic_history *history, const struct payload *payload)
{
    history->last_id = payload->id;
    history->dropped_id = payload->id;
}

/* An id from the future is of another server, or of a time when the clock was ahead. With a broker the messages before
 * it are on their way; without one, nobody knows what came after it. */
int topic_history_get(const struct topic_history *history, struct publication_id after, bool has_broker,
                      struct topic_replay *replay)
{
    bool is_known = has_broker || publication_id_compare(after, history->last_id) <= 0;
    bool is_fetched = !has_broker || history->brought_id.ms != 0;
    *replay = (struct topic_replay){
        .is_lost = !is_known || (is_fetched && publication_id_compare(after, history->dropped_id) < 0),
        .after = is_known ? after : (struct publication_id){0},
    };
    if (history->count == 0) {
        return 0;
    }
    replay->kept = mem_alloc(history->count * sizeof(struct payload *));
    if (replay->kept == NULL) {
        return -ENOMEM;
    }
    for (struct payload *at = history->first; at != NULL; at = at->kept) {
        if (!is_known || publication_id_compare(at->id, after) > 0) {
            replay->kept[replay->count++] = payload_get(at);
        }
    }
    return 0;
}
