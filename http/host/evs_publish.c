/* Topics of a host: publishing, and WebSockets that subscribe. No failure modes of its own: core/hub.h checks names and
 * messages. */

#include "core/hub.h"
#include "evserve.h"
#include "http/host/evs_host.h"
#include "http/ws/ws_topics.h"

#include <errno.h>
#include <string.h>

int evserve_publish(evserve *server, const char *topic, const void *data, size_t len)
{
    const struct evs_publication publication = {.size = sizeof publication, .topic = topic, .data = data, .len = len};
    return evserve_publish_as(server, &publication);
}

int evserve_publish_as(evserve *server, const struct evs_publication *publication)
{
    const struct evs_door *door = (const struct evs_door *)(const void *)server;
    if (evs_host_is_in_child(&door->hosts[0])) {
        return -ECHILD; /* a thread that does not exist here may hold the lock for ever */
    }
    if (publication->size != sizeof *publication || publication->topic == NULL ||
        (publication->data == NULL && publication->len > 0)) {
        return -EINVAL;
    }
    const char *event = publication->event == NULL ? "" : publication->event;
    const struct message_parts message = {
        .topic = publication->topic,
        .topic_len = strnlen(publication->topic, TOPIC_NAME_MAX + 1),
        .data = publication->data,
        .len = publication->len,
        .event = event,
        .event_len = strnlen(event, TOPIC_EVENT_MAX + 1),
        .is_binary = publication->binary != 0,
    };
    return hub_publish(door->hub, &message);
}

/* WebSockets. */

static struct ws *subscriber_of(evs_ws *ws)
{
    return (struct ws *)(void *)ws;
}

int evs_ws_subscribe(evs_ws *ws, const char *topic, unsigned flags)
{
    if (topic == NULL || (flags & ~(unsigned)EVS_WS_SKIP) != 0) {
        return -EINVAL;
    }
    return ws_subscribe(subscriber_of(ws), topic, strnlen(topic, TOPIC_NAME_MAX + 1), (flags & EVS_WS_SKIP) != 0);
}

int evs_ws_unsubscribe(evs_ws *ws, const char *topic)
{
    return topic == NULL ? -ENOENT : ws_unsubscribe(subscriber_of(ws), topic, strnlen(topic, TOPIC_NAME_MAX + 1));
}
