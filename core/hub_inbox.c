/* A list with a wake-up that is posted once until the thread has come to look. No failure modes: publications have
 * their links, and the wake-up is a member. */

#include "core/hub_inbox.h"

#include "core/reactor.h"

bool hub_inbox_has_room(const struct hub_inbox *inbox, const struct payload *payload, size_t limit)
{
    size_t waiting = __atomic_load_n(&inbox->bytes, __ATOMIC_RELAXED);
    return waiting == 0 || waiting + payload_bytes(payload) <= limit;
}

void hub_inbox_queue(struct hub_inbox *inbox, struct publication *publication)
{
    publication->next = NULL;
    *(inbox->first == NULL ? &inbox->first : &inbox->last->next) = publication;
    inbox->last = publication;
    (void)__atomic_add_fetch(&inbox->bytes, payload_bytes(publication->payload), __ATOMIC_RELAXED);
    if (!inbox->is_waking) {
        inbox->is_waking = true;
        reactor_post_call(inbox->reactor, &inbox->wake);
    }
}

struct publication *hub_inbox_take(struct hub_inbox *inbox)
{
    struct publication *first = inbox->first;
    inbox->first = inbox->last = NULL;
    return first;
}

void hub_inbox_note(struct hub_inbox *inbox, const struct payload *payload)
{
    (void)__atomic_sub_fetch(&inbox->bytes, payload_bytes(payload), __ATOMIC_RELAXED);
}
