/* Nothing here fails except for lack of memory. A publication has one or two forms, so they are a list. */

#include "core/publication.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct rendering {
    struct rendering *next;
    rendering_fn make; /* that made it */
    const void *arg;   /* with this argument */
    char *data;        /* owned */
    size_t len;        /* of data */
};

size_t publication_id_write(struct publication_id id, char text[PUBLICATION_ID_TEXT])
{
    return (size_t)snprintf(text, PUBLICATION_ID_TEXT, "%" PRIu64 "-%" PRIu64, id.ms, id.number);
}

/* Read digits from *at on, which moves behind them. Returns whether they are a number. */
static bool read_id_part(const char **at, const char *end, uint64_t *value)
{
    const char *start = *at;
    *value = 0;
    for (; *at < end && **at >= '0' && **at <= '9'; (*at)++) {
        unsigned digit = (unsigned)(**at - '0');
        if (*value > (UINT64_MAX - digit) / 10) {
            return false;
        }
        *value = *value * 10 + digit;
    }
    return *at > start;
}

bool publication_id_read(struct publication_id *id, const char *text, size_t len)
{
    const char *at = text, *end = text + len;
    if (!read_id_part(&at, end, &id->ms) || at == end || *at != '-') {
        return false;
    }
    at++;
    return read_id_part(&at, end, &id->number) && at == end;
}

int topic_check_name(const char *name, size_t len)
{
    if (len > TOPIC_NAME_MAX) {
        return -ENAMETOOLONG;
    }
    return len == 0 || memchr(name, '\0', len) != NULL ? -EINVAL : 0;
}

static bool is_all_utf8(const char *text, size_t len)
{
    static const uint64_t high_bits = UINT64_C(0x8080808080808080);
    size_t at = 0;
    while (at < len) {
        uint64_t word = high_bits;
        if (len - at >= sizeof word) {
            memcpy(&word, text + at, sizeof word);
        }
        size_t step = (word & high_bits) == 0 ? sizeof word : utf8_len((const unsigned char *)text + at, len - at);
        if (step == 0) {
            return false;
        }
        at += step;
    }
    return true;
}

int message_check(const struct message_parts *message)
{
    int rv = topic_check_name(message->topic, message->topic_len);
    if (rv == 0 && message->event_len > TOPIC_EVENT_MAX) {
        rv = -ENAMETOOLONG;
    }
    for (size_t i = 0; rv == 0 && i < message->event_len; i++) {
        char c = message->event[i];
        rv = c == '\0' || c == '\r' || c == '\n' ? -EINVAL : 0;
    }
    if (rv == 0 && message->len > PUBLICATION_BYTES_MAX) {
        return -EMSGSIZE;
    }
    return rv < 0 || message->is_binary || is_all_utf8(message->data, message->len) ? rv : -EILSEQ;
}

const char *message_error_text(int error)
{
    _Static_assert(TOPIC_NAME_MAX == 256 && TOPIC_EVENT_MAX == 128 && PUBLICATION_BYTES_MAX == 1 << 20,
                   "the texts name these limits");
    switch (-error) {
    case EINVAL:
        return "the name of a topic must not be empty or contain a NUL; that of an event must not contain a NUL or a "
               "line break";
    case ENAMETOOLONG:
        return "the name is too long: a topic's has at most 256 bytes, an event's 128";
    case EMSGSIZE:
        return "the message is too long: it may have at most 1 MiB";
    case EILSEQ:
        return "the text is not UTF-8: only a binary message may be something else";
    case ENOBUFS:
        return "subscribers are too far behind: 64 MiB of messages wait for one of the server's threads";
    case ENOSPC:
        return "there are too many topics: a server has at most 100000 that have subscribers or a replay";
    case ERANGE:
        return "a replay keeps 1 to 10000 messages";
    default:
        return errno_text(-error);
    }
}

/* Copy a text to *at, which moves behind it and its NUL. */
static const char *place_part(char **at, const char *text, size_t len)
{
    char *start = *at;
    if (len > 0) {
        memcpy(start, text, len);
    }
    start[len] = '\0';
    *at = start + len + 1;
    return start;
}

struct payload *payload_create(const struct message_parts *parts)
{
    struct payload *payload = mem_alloc(sizeof *payload + parts->topic_len + parts->event_len + parts->len + 3);
    if (payload != NULL) {
        char *at = payload->bytes;
        *payload = (struct payload){
            .refs = 1,
            .is_binary = parts->is_binary,
            .id = parts->id,
            .topic_len = (uint32_t)parts->topic_len,
            .event_len = (uint32_t)parts->event_len,
            .len = parts->len,
        };
        payload->topic = place_part(&at, parts->topic, parts->topic_len);
        payload->event = place_part(&at, parts->event, parts->event_len);
        payload->data = place_part(&at, parts->data, parts->len);
    }
    return payload;
}

struct payload *payload_get(struct payload *payload)
{
    (void)__atomic_add_fetch(&payload->refs, 1, __ATOMIC_RELAXED);
    return payload;
}

void payload_put(struct payload *payload)
{
    if (__atomic_sub_fetch(&payload->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        mem_free(payload);
    }
}

size_t payload_bytes(const struct payload *payload)
{
    return sizeof *payload + payload->topic_len + payload->event_len + payload->len + 3;
}

struct publication *publication_create(struct payload *payload)
{
    struct publication *publication = mem_alloc(sizeof *publication);
    if (publication != NULL) {
        *publication = (struct publication){.payload = payload_get(payload), .refs = 1};
    }
    return publication;
}

void publication_put(struct publication *publication)
{
    if (--publication->refs > 0) {
        return;
    }
    for (struct rendering *at = publication->renderings, *next; at != NULL; at = next) {
        next = at->next;
        mem_free(at->data);
        mem_free(at);
    }
    payload_put(publication->payload);
    mem_free(publication);
}

void publication_put_all(struct publication *first)
{
    for (struct publication *at = first, *next; at != NULL; at = next) {
        next = at->next;
        publication_put(at);
    }
}

static struct rendering *make_rendering(struct publication *publication, rendering_fn make, const void *arg)
{
    struct rendering *made = mem_alloc(sizeof *made);
    if (made == NULL) {
        return NULL;
    }
    *made = (struct rendering){.make = make, .arg = arg};
    made->data = make(publication->payload, arg, &made->len);
    if (made->data == NULL) {
        mem_free(made);
        return NULL;
    }
    made->next = publication->renderings; /* make() may have added others */
    publication->renderings = made;
    return made;
}

const char *publication_render(struct publication *publication, rendering_fn make, const void *arg, size_t *len)
{
    struct rendering *at = publication->renderings;
    while (at != NULL && (at->make != make || at->arg != arg)) {
        at = at->next;
    }
    at = at == NULL ? make_rendering(publication, make, arg) : at;
    if (at == NULL) {
        return NULL;
    }
    *len = at->len;
    return at->data;
}
