/* Happy path: a message is put into the queue of the subscription, by reference, and a coroutine that waits is made
 * ready.
 *
 * Failure modes: a script that does not take its messages loses the oldest of them, and can ask how many. So does one
 * for whose queue memory is short. */

#include "lua/subscription.h"

#include "core/mem.h"
#include "lua/coro.h"
#include "lua/task.h"

#include <errno.h>

enum { RING_LEAST = 8 }; /* references that a queue has room for at first */

/* The queue. */

struct publication *subscription_first(const struct script_subscription *subscription)
{
    return subscription->count == 0 ? NULL : subscription->queue[subscription->first];
}

void subscription_drop_first(struct script_subscription *subscription)
{
    struct publication *publication = subscription->queue[subscription->first];
    subscription->first = (subscription->first + 1) % subscription->capacity;
    subscription->count--;
    subscription->bytes -= publication->payload->len;
    publication_put(publication);
}

/* Make room for one more. Returns 0 or -ENOMEM. */
static int grow_ring(struct script_subscription *subscription)
{
    if (subscription->count < subscription->capacity) {
        return 0;
    }
    uint32_t capacity = subscription->capacity == 0 ? (uint32_t)RING_LEAST : 2 * subscription->capacity;
    struct publication **queue = mem_alloc(capacity * sizeof(struct publication *));
    if (queue == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < subscription->count; i++) {
        queue[i] = subscription->queue[(subscription->first + i) % subscription->capacity];
    }
    mem_free(subscription->queue);
    subscription->queue = queue;
    subscription->first = 0;
    subscription->capacity = capacity;
    return 0;
}

static void drop_ring(struct script_subscription *subscription)
{
    while (subscription->count > 0) {
        subscription_drop_first(subscription);
    }
    mem_free(subscription->queue);
    subscription->queue = NULL;
    subscription->capacity = 0;
}

static void wake_first_waiting(struct script_subscription *subscription)
{
    struct coro *coro = subscription->waiting.first;
    if (coro != NULL) {
        coro_list_remove(coro);
        coro_cancel_timeout(coro);
        lua_pushboolean(coro->L, 1);
        coro_wake(coro, 1);
    }
}

static enum delivery deliver_to_script(struct subscription *of_topic, struct publication *publication)
{
    struct script_subscription *subscription = of_topic->arg;
    size_t len = publication->payload->len;
    if (grow_ring(subscription) < 0) {
        subscription->lost++;
        return DELIVERY_SKIPPED;
    }
    while (subscription->count > 0 &&
           (subscription->count >= subscription->max || subscription->bytes + len > SUBSCRIPTION_BYTES_MAX)) {
        subscription_drop_first(subscription);
        subscription->lost++;
    }
    uint32_t last = (subscription->first + subscription->count) % subscription->capacity;
    subscription->queue[last] = publication_get(publication);
    subscription->count++;
    subscription->bytes += len;
    wake_first_waiting(subscription);
    return DELIVERY_TAKEN;
}

/* The beginning and the end. */

static void end_subscription(struct coro_thing *thing)
{
    subscription_close((struct script_subscription *)(void *)thing);
}

static struct script_subscription *make_subscription(struct script *script)
{
    struct script_subscription *made = script->free_subscriptions;
    if (made != NULL) {
        script->free_subscriptions = made->next_free;
        return made;
    }
    if (script_grow((void ***)&script->subscriptions, script->subscription_count, &script->subscription_capacity) < 0) {
        return NULL;
    }
    made = mem_zalloc(sizeof *made);
    if (made != NULL) {
        made->script = script;
        made->index = script->subscription_count;
        made->thing.end = end_subscription;
        script->subscriptions[script->subscription_count++] = made;
    }
    return made;
}

static void put_subscription(struct script_subscription *subscription)
{
    struct script *script = subscription->script;
    drop_ring(subscription);
    subscription->id = 0;
    subscription->next_free = script->free_subscriptions;
    script->free_subscriptions = subscription;
}

struct script_subscription *subscription_open(struct script *script, struct coro *coro, const char *name, size_t len,
                                              uint32_t max, struct topics_replay *replay, int *error)
{
    bool is_full = script->free_subscriptions == NULL && script->subscription_count >= SUBSCRIPTIONS_MAX;
    struct script_subscription *subscription = is_full ? NULL : make_subscription(script);
    if (subscription == NULL) {
        *error = is_full ? -ENOBUFS : -ENOMEM;
        return NULL;
    }
    subscription->max = max;
    subscription->lost = 0;
    *error = topics_subscribe(script->topics, &subscription->subscription, name, len, deliver_to_script, subscription,
                              replay);
    if (*error < 0) {
        put_subscription(subscription);
        return NULL;
    }
    subscription->is_gap = replay != NULL && replay->is_lost;
    subscription->id = ++script->last_subscription_id;
    coro_own(task_root(coro), &subscription->thing);
    return subscription;
}

struct script_subscription *subscription_find(const struct script *script, const struct subscription_handle *handle)
{
    bool is_known = handle->id != 0 && handle->index < script->subscription_count;
    struct script_subscription *subscription = is_known ? script->subscriptions[handle->index] : NULL;
    return subscription != NULL && subscription->id == handle->id ? subscription : NULL;
}

void subscription_close(struct script_subscription *subscription)
{
    topics_unsubscribe(&subscription->subscription);
    coro_disown(&subscription->thing);
    while (subscription->waiting.first != NULL) {
        wake_first_waiting(subscription);
    }
    put_subscription(subscription);
}

void subscription_wake_all(struct script *script)
{
    for (uint32_t i = 0; i < script->subscription_count; i++) {
        while (script->subscriptions[i]->waiting.first != NULL) {
            wake_first_waiting(script->subscriptions[i]);
        }
    }
}

void subscription_close_all(struct script *script)
{
    for (uint32_t i = 0; i < script->subscription_count; i++) {
        topics_unsubscribe(&script->subscriptions[i]->subscription);
    }
}

void subscription_free_all(struct script *script)
{
    for (uint32_t i = 0; i < script->subscription_count; i++) {
        topics_unsubscribe(&script->subscriptions[i]->subscription);
        drop_ring(script->subscriptions[i]);
        mem_free(script->subscriptions[i]);
    }
    mem_free(script->subscriptions);
}

/* Waiting. */

static int on_subscriber_gone(struct coro *coro)
{
    coro_list_remove(coro);
    coro_cancel_timeout(coro);
    lua_pushboolean(coro->L, 0);
    return 1;
}

const struct coro_wait subscription_wait = {.on_gone = on_subscriber_gone, .cancel = coro_cancel_timeout};
