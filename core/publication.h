#ifndef EVSERVE_CORE_PUBLICATION_H
#define EVSERVE_CORE_PUBLICATION_H

/* A message that was published to a topic.
 *
 * Its content is stored once, for all threads and for the replay of the topic (struct payload: counted atomically,
 * never changed). Each thread that has subscribers gets a struct publication of its own, which counts the references of
 * that thread alone and keeps the forms in which the content is sent: each is made once for all subscribers of the
 * thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TOPIC_NAME_MAX = 256,            /* bytes of a topic's name */
    TOPIC_EVENT_MAX = 128,           /* bytes of an event's name */
    PUBLICATION_BYTES_MAX = 1 << 20, /* bytes of a message */
};

/* A place in the history of a topic: later publications have greater ids, also across topics. {0, 0} is none. */
struct publication_id {
    uint64_t ms;     /* when the server began, in milliseconds since the epoch; or what the broker says */
    uint64_t number; /* counts up */
};

enum { PUBLICATION_ID_TEXT = 42 }; /* bytes of an id as text with its NUL: "1764536400000-17" */

/* Less than, equal to or greater than 0 as a comes before, at or after b. */
static inline int publication_id_compare(struct publication_id a, struct publication_id b)
{
    int order = (a.ms > b.ms) - (a.ms < b.ms);
    return order != 0 ? order : (a.number > b.number) - (a.number < b.number);
}

/* Write an id as text, "MS-NUMBER"; returns its length. Read one: whether text is such an id, without anything else. */
size_t publication_id_write(struct publication_id id, char text[PUBLICATION_ID_TEXT]);
bool publication_id_read(struct publication_id *id, const char *text, size_t len);

/* What is to be published. Everything is copied. */
struct message_parts {
    const char *topic;
    size_t topic_len;
    const char *data;
    size_t len;
    const char *event; /* name of the event, for Server-Sent Events; event_len may be 0 */
    size_t event_len;
    bool is_binary;           /* else it is text */
    struct publication_id id; /* of core/hub.h: hub_bring() only */
};

/* Check the name of a topic: 0; -EINVAL: it is empty or contains a NUL; -ENAMETOOLONG. */
int topic_check_name(const char *name, size_t len);

/* Check a message. Returns 0; what topic_check_name() says of its topic; -ENAMETOOLONG or -EINVAL for its event, whose
 * name contains a NUL or a line break; -EMSGSIZE: it is too long; or -EILSEQ: it is a text, and not UTF-8. */
int message_check(const struct message_parts *message);

/* A text for people of what hub_publish(), hub_keep() or topics_subscribe() returned. Static. */
const char *message_error_text(int error);

/* The content, the same for all threads. Only core/hub.c makes and changes it. */
struct payload {
    unsigned refs;   /* counted atomically */
    bool is_binary;  /* else it is text */
    bool is_history; /* brought later than it was published: only for those who asked for it */
    uint64_t seq;    /* counts up over all topics of the server */
    uint64_t hash;   /* of the topic */
    struct publication_id id;
    struct payload *kept; /* the next one in the replay of the topic; under the hub's lock */
    uint32_t topic_len, event_len;
    size_t len;                       /* of data */
    const char *topic, *event, *data; /* each NUL-terminated; they lie in bytes */
    char bytes[];
};

/* Copy a message; one reference is the caller's. Returns NULL without memory. */
struct payload *payload_create(const struct message_parts *parts);
struct payload *payload_get(struct payload *payload); /* one more reference */
void payload_put(struct payload *payload);            /* one less */
size_t payload_bytes(const struct payload *payload);  /* what it occupies, for limits */

/* One form of a publication, made for all its subscribers. */
struct rendering;

/* Make a form of a payload: len bytes from mem_alloc(), which the publication frees. NULL without memory. arg is that
 * of publication_render(). */
typedef char *(*rendering_fn)(const struct payload *payload, const void *arg, size_t *len);

/* One thread's. */
struct publication {
    struct publication *next; /* in the queue of its thread */
    struct payload *payload;  /* its content */
    uint32_t refs;            /* of this thread */
    uint32_t batch; /* while it is delivered: how many messages of its topic there are from it on, linked by next */
    struct rendering *renderings; /* that were made */
};

/* Make one of a payload, of which it gets a reference of its own; one reference to it is the caller's. NULL without
 * memory. */
struct publication *publication_create(struct payload *payload);

/* One more reference, and one less. They are counted without a lock: only on the thread that has the publication. */
static inline struct publication *publication_get(struct publication *publication)
{
    publication->refs++;
    return publication;
}
void publication_put(struct publication *publication);
void publication_put_all(struct publication *first); /* with those that are linked to it */

/* The form that make(payload, arg) returns: it is called once for the same make and arg. Returns the bytes, valid as
 * long as the publication, or NULL without memory. On the publication's thread. */
const char *publication_render(struct publication *publication, rendering_fn make, const void *arg, size_t *len);

#endif
