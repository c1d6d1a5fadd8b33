/* Letters are sent, confirmed and come back in the order of their numbers, so all look-ups end near the beginning. */

#include "core/broker_queue.h"

#include "core/mem.h"
#include "core/publication.h"

#include <errno.h>

int broker_queue_add(struct broker_queue *queue, struct payload *payload, bool comes_back)
{
    size_t bytes = payload_bytes(payload) + sizeof(struct broker_letter);
    if (bytes > BROKER_QUEUE_MAX - queue->bytes) {
        return -ENOBUFS;
    }
    struct broker_letter *letter = mem_zalloc(sizeof *letter);
    if (letter == NULL) {
        return -ENOMEM;
    }
    letter->payload = payload_get(payload);
    letter->number = ++queue->number;
    letter->comes_back = comes_back;
    letter->prev = queue->new_last;
    *(queue->new_last == NULL ? &queue->new_first : &queue->new_last->next) = letter;
    queue->new_last = letter;
    queue->bytes += bytes;
    return 0;
}

void broker_queue_take(struct broker_queue *queue)
{
    struct broker_letter *taken = queue->new_first;
    if (taken == NULL) {
        return;
    }
    taken->prev = queue->last;
    *(queue->last == NULL ? &queue->first : &queue->last->next) = taken;
    queue->last = queue->new_last;
    queue->new_first = queue->new_last = NULL;
    if (queue->unsent == NULL) {
        queue->unsent = taken;
    }
}

struct broker_letter *broker_queue_find(const struct broker_queue *queue, uint64_t number)
{
    struct broker_letter *letter = queue->first;
    while (letter != NULL && letter->number < number) {
        letter = letter->next;
    }
    return letter != NULL && letter->number == number ? letter : NULL;
}

void broker_queue_note_sent(struct broker_queue *queue, struct broker_letter *letter)
{
    letter->is_sent = true;
    do {
        letter = letter->next;
    } while (letter != NULL && letter->is_sent);
    queue->unsent = letter;
}

void broker_queue_return(struct broker_queue *queue, struct broker_letter *letter)
{
    letter->is_sent = false;
    if (queue->unsent == NULL || letter->number < queue->unsent->number) {
        queue->unsent = letter;
    }
}

static void unlink_letter(struct broker_queue *queue, struct broker_letter *letter)
{
    *(letter->prev == NULL ? &queue->first : &letter->prev->next) = letter->next;
    *(letter->next == NULL ? &queue->last : &letter->next->prev) = letter->prev;
}

void broker_queue_put_behind(struct broker_queue *queue, uint64_t number)
{
    struct broker_letter *next;
    broker_queue_take(queue);
    for (struct broker_letter *at = queue->first; at != NULL && at->number < number; at = next) {
        next = at->next;
        if (!at->is_sent && next != NULL) {
            unlink_letter(queue, at);
            at->next = NULL;
            at->prev = queue->last;
            queue->last = queue->last->next = at;
        }
        at->number = at->is_sent ? at->number : ++queue->number;
    }
    queue->unsent = queue->first;
    while (queue->unsent != NULL && queue->unsent->is_sent) {
        queue->unsent = queue->unsent->next;
    }
}

void broker_queue_rewind(struct broker_queue *queue)
{
    queue->unsent = NULL;
    for (struct broker_letter *letter = queue->last; letter != NULL; letter = letter->prev) {
        letter->is_sent = letter->is_confirmed;
        queue->unsent = letter->is_confirmed ? queue->unsent : letter;
    }
}

static size_t free_letter(struct broker_letter *letter)
{
    size_t bytes = payload_bytes(letter->payload) + sizeof *letter;
    payload_put(letter->payload);
    mem_free(letter);
    return bytes;
}

size_t broker_queue_drop(struct broker_queue *queue, struct broker_letter *letter)
{
    if (!letter->is_confirmed || letter->comes_back) {
        return 0;
    }
    unlink_letter(queue, letter);
    return free_letter(letter);
}

void broker_queue_done(struct broker_queue *queue)
{
    broker_queue_take(queue);
    for (struct broker_letter *at = queue->first, *next; at != NULL; at = next) {
        next = at->next;
        (void)free_letter(at);
    }
    *queue = (struct broker_queue){.first = NULL};
}
