/* Replies come in the order of commands, so a ring of what was asked is enough. What cannot be sent now is sent when
 * replies have come, or the connection is back. */

#include "core/broker_publish.h"

#include "core/hub.h"
#include "core/publication.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { COUNT_TEXT_MAX = 16 };

int broker_ask(struct broker *broker, const struct redis_word *words, size_t count, struct broker_request request)
{
    if (broker->request_count == BROKER_REQUESTS_MAX) {
        return -ENOBUFS;
    }
    int rv = redis_client_command(&broker->commands, words, count);
    if (rv == 0) {
        broker->requests[(broker->request_at + broker->request_count++) % BROKER_REQUESTS_MAX] = request;
        if (request.topic != NULL) {
            request.topic->requests++;
        }
    }
    return rv;
}

struct broker_request broker_pop_request(struct broker *broker)
{
    struct broker_request request = broker->requests[broker->request_at];
    broker->request_at = (broker->request_at + 1) % BROKER_REQUESTS_MAX;
    broker->request_count--;
    if (request.topic != NULL) {
        request.topic->requests--;
    }
    return request;
}

void broker_forget_requests(struct broker *broker)
{
    while (broker->request_count > 0) {
        struct broker_request request = broker_pop_request(broker);
        if (request.topic != NULL) {
            request.topic->is_loading = false;
        }
    }
    broker->sha[0] = '\0';
    broker_queue_rewind(&broker->queue);
}

/* Publish a letter. Returns 0, or -errno if it cannot go out now. */
static int send_letter(struct broker *broker, struct broker_letter *letter)
{
    const struct payload *payload = letter->payload;
    struct broker_name stream, keep, channel;
    char head[BROKER_HEAD_MAX], day[COUNT_TEXT_MAX];
    struct broker_origin origin = {broker->node, letter->number};

    broker_stream(&stream, payload->topic, payload->topic_len);
    broker_keep_key(&keep, payload->topic, payload->topic_len);
    broker_channel(&channel, broker->url.database, payload->topic, payload->topic_len);
    size_t head_len = broker_write_head(head, origin, payload->is_binary, payload->event, payload->event_len);
    int day_len = snprintf(day, sizeof day, "%d", BROKER_DAY_S);
    struct redis_word words[] = {
        {"EVALSHA", 7},         {broker->sha, BROKER_SHA_LEN}, {"2", 1},         {stream.text, stream.len},
        {keep.text, keep.len},  {channel.text, channel.len},   {head, head_len}, {payload->data, payload->len},
        {day, (size_t)day_len},
    };
    int rv = broker_ask(broker, words, sizeof words / sizeof words[0],
                        (struct broker_request){.asked = ASKED_PUBLISH, .letter = letter});
    if (rv == 0) {
        broker_queue_note_sent(&broker->queue, letter);
    }
    return rv;
}

void broker_send_letters(struct broker *broker)
{
    while (broker->sha[0] != '\0' && broker->queue.unsent != NULL && broker->request_count < BROKER_LETTERS_MAX &&
           write_buffer_len(&broker->commands.out) < BROKER_LETTER_BYTES_MAX) {
        if (send_letter(broker, broker->queue.unsent) < 0) {
            return;
        }
    }
}

void broker_drop_letter(struct broker *broker, struct broker_letter *letter)
{
    size_t bytes = broker_queue_drop(&broker->queue, letter);
    pthread_mutex_lock(&broker->lock);
    broker->queue.bytes -= bytes;
    pthread_mutex_unlock(&broker->lock);
}

void broker_deliver_here(struct broker *broker, struct broker_letter *letter)
{
    const struct payload *payload = letter->payload;
    struct message_parts parts = {
        .topic = payload->topic,
        .topic_len = payload->topic_len,
        .data = payload->data,
        .len = payload->len,
        .event = payload->event,
        .event_len = payload->event_len,
        .is_binary = payload->is_binary,
    };
    letter->comes_back = false;
    (void)hub_bring(broker->hub, &parts, false); /* the hub counts what it has no room for */
}
