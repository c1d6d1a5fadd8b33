/* core/broker_queue.c: what Redis refuses, while it takes what comes behind it. */

#include "core/broker_queue.h"
#include "core/publication.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct broker_letter *add(struct broker_queue *queue, const char *text, bool comes_back)
{
    const struct message_parts parts = {.topic = "t", .topic_len = 1, .data = text, .len = strlen(text)};
    struct payload *payload = payload_create(&parts);
    assert_non_null(payload);
    assert_int_equal(broker_queue_add(queue, payload, comes_back), 0);
    payload_put(payload);
    return queue->new_last;
}

/* The texts of all letters, each with its number: "a1 b2 ". */
static const char *listed(const struct broker_queue *queue)
{
    static char text[128];
    text[0] = '\0';
    for (const struct broker_letter *at = queue->first; at != NULL; at = at->next) {
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%d ", at->payload->data, (int)at->number);
        assert_ptr_equal(at->next == NULL ? queue->last : at->next->prev, at);
    }
    return text;
}

static void confirm(struct broker_queue *queue, struct broker_letter *letter)
{
    letter->is_confirmed = true;
    queue->bytes -= broker_queue_drop(queue, letter);
}

static void refused_letter_is_sent_again_and_no_other(void **state)
{
    struct broker_queue queue = {.first = NULL};
    (void)state;
    struct broker_letter *a = add(&queue, "a", false), *b = add(&queue, "b", false), *c = add(&queue, "c", true);
    broker_queue_take(&queue);
    while (queue.unsent != NULL) {
        broker_queue_note_sent(&queue, queue.unsent);
    }
    broker_queue_return(&queue, a);
    broker_queue_return(&queue, b);
    assert_ptr_equal(queue.unsent, a);
    confirm(&queue, c); /* it has not come back, so it stays */
    broker_queue_note_sent(&queue, a);
    assert_ptr_equal(queue.unsent, b);
    broker_queue_note_sent(&queue, b);
    assert_null(queue.unsent);
    broker_queue_done(&queue);
}

static void refused_letters_go_behind_what_was_taken(void **state)
{
    struct broker_queue queue = {.first = NULL};
    (void)state;
    struct broker_letter *a = add(&queue, "a", false), *b = add(&queue, "b", false), *c = add(&queue, "c", true);
    broker_queue_take(&queue);
    for (int i = 0; i < 3; i++) {
        broker_queue_note_sent(&queue, queue.unsent);
    }
    struct broker_letter *d = add(&queue, "d", false);
    broker_queue_return(&queue, a);
    broker_queue_return(&queue, b);
    confirm(&queue, c);
    broker_queue_put_behind(&queue, c->number);
    assert_string_equal(listed(&queue), "c3 d4 a5 b6 ");
    assert_ptr_equal(queue.unsent, d);
    struct broker_letter *found = broker_queue_find(&queue, 5);
    assert_ptr_equal(found, a);

    c->comes_back = false;
    confirm(&queue, c);
    broker_queue_put_behind(&queue, 3); /* all of them are newer */
    assert_string_equal(listed(&queue), "d4 a5 b6 ");
    for (int i = 0; i < 3; i++) {
        broker_queue_note_sent(&queue, queue.unsent);
    }
    broker_queue_return(&queue, b);
    broker_queue_put_behind(&queue, 7); /* the last one has nowhere to go */
    assert_string_equal(listed(&queue), "d4 a5 b7 ");
    assert_ptr_equal(queue.unsent, b);
    broker_queue_done(&queue);
}

static void empty_queue_has_nothing_to_put_behind(void **state)
{
    struct broker_queue queue = {.first = NULL};
    (void)state;
    broker_queue_put_behind(&queue, 9);
    assert_null(queue.unsent);
    assert_null(queue.first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused_letter_is_sent_again_and_no_other),
        cmocka_unit_test(refused_letters_go_behind_what_was_taken),
        cmocka_unit_test(empty_queue_has_nothing_to_put_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
