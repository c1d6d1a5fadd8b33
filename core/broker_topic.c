/* Messages of a server come in the order of their numbers, except those that it sends again after it has lost its
 * connection: so the last number of each server is all that must be known. Without memory for that, or with more
 * servers than are remembered, a repeated message may be taken for a new one. */

#include "core/broker_topic.h"

#include "core/mem.h"

#include <string.h>

struct broker_topic *broker_topic_create(const char *name, size_t len, uint64_t hash)
{
    struct broker_topic *topic = mem_zalloc(sizeof *topic + len);
    if (topic != NULL) {
        char *copy = (char *)(topic + 1);
        memcpy(copy, name, len);
        topic->entry = (struct named_entry){.hash = hash, .name = copy, .len = len};
    }
    return topic;
}

void broker_topic_destroy(struct broker_topic *topic)
{
    if (topic != NULL) {
        mem_free(topic->nodes);
        mem_free(topic);
    }
}

/* The entry of a server, made anew if there is none; NULL without memory. */
static struct broker_node *find_node(struct broker_topic *topic, uint64_t node)
{
    for (unsigned i = 0; i < topic->node_count; i++) {
        if (topic->nodes[i].node == node) {
            return &topic->nodes[i];
        }
    }
    if (topic->nodes == NULL) {
        topic->nodes = mem_alloc(BROKER_NODES_MAX * sizeof *topic->nodes);
        if (topic->nodes == NULL) {
            return NULL;
        }
    }
    struct broker_node *found;
    if (topic->node_count < BROKER_NODES_MAX) {
        found = &topic->nodes[topic->node_count++];
    } else {
        found = &topic->nodes[topic->oldest_node];
        topic->oldest_node = (topic->oldest_node + 1) % BROKER_NODES_MAX;
    }
    *found = (struct broker_node){.node = node};
    return found;
}

bool broker_topic_is_news(struct broker_topic *topic, struct broker_origin origin)
{
    struct broker_node *known = origin.node == 0 ? NULL : find_node(topic, origin.node);
    if (known == NULL) {
        return true;
    }
    if (origin.number <= known->number) {
        return false;
    }
    known->number = origin.number;
    return true;
}
