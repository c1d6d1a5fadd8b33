/* See the header. Nothing here can fail: what cannot be read as ours is what another program has published. */

#include "core/broker_text.h"

#include <stdio.h>
#include <string.h>

enum { HEX_DIGITS = 16, HEAD_FIXED = 3 + HEX_DIGITS + 1 + HEX_DIGITS + 1 + 1 + 1 }; /* "e1 NODE NUMBER K " */

static const char publish_script[] =
    "local id, failed, keep = '-', nil, redis.pcall('GET', KEYS[2])\n"
    "if type(keep) == 'table' then failed, keep = keep, nil end\n"
    "if keep then\n"
    "  id = redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', keep, '*', 'h', ARGV[2], 'm', ARGV[3])\n"
    "  if type(id) == 'table' then id, failed = '-', id end\n"
    "  redis.call('EXPIRE', KEYS[1], ARGV[4])\n"
    "  redis.call('EXPIRE', KEYS[2], ARGV[4])\n"
    "end\n"
    "redis.call('PUBLISH', ARGV[1], id .. ' ' .. ARGV[2] .. ARGV[3])\n"
    "return failed or id\n";

static const char keep_script[] = "local keep = tonumber(redis.call('GET', KEYS[2]) or 0)\n"
                                  "if keep < tonumber(ARGV[1]) then keep = ARGV[1] end\n"
                                  "redis.call('SET', KEYS[2], keep, 'EX', ARGV[2])\n"
                                  "redis.call('EXPIRE', KEYS[1], ARGV[2])\n"
                                  "return 1\n";

const char *broker_publish_script(void)
{
    return publish_script;
}

const char *broker_keep_script(void)
{
    return keep_script;
}

static void name_in_redis(struct broker_name *name, const char *prefix, const char *topic, size_t len)
{
    size_t prefix_len = strlen(prefix);
    memcpy(name->text, prefix, prefix_len);
    memcpy(name->text + prefix_len, topic, len);
    name->len = prefix_len + len;
    name->text[name->len] = '\0';
}

static void channel_prefix(char prefix[BROKER_NAME_MAX - TOPIC_NAME_MAX], unsigned database)
{
    snprintf(prefix, BROKER_NAME_MAX - TOPIC_NAME_MAX, "evserve:%u:", database);
}

void broker_channel(struct broker_name *name, unsigned database, const char *topic, size_t len)
{
    char prefix[BROKER_NAME_MAX - TOPIC_NAME_MAX];
    channel_prefix(prefix, database);
    name_in_redis(name, prefix, topic, len);
}

void broker_stream(struct broker_name *name, const char *topic, size_t len)
{
    name_in_redis(name, "evserve:replay:", topic, len);
}

void broker_keep_key(struct broker_name *name, const char *topic, size_t len)
{
    name_in_redis(name, "evserve:keep:", topic, len);
}

bool broker_topic_of(const char *channel, size_t len, unsigned database, const char **topic, size_t *topic_len)
{
    char prefix[BROKER_NAME_MAX - TOPIC_NAME_MAX];
    channel_prefix(prefix, database);
    size_t prefix_len = strlen(prefix);
    if (len <= prefix_len || memcmp(channel, prefix, prefix_len) != 0) {
        return false;
    }
    *topic = channel + prefix_len;
    *topic_len = len - prefix_len;
    return true;
}

size_t broker_write_head(char head[BROKER_HEAD_MAX], struct broker_origin origin, bool is_binary, const char *event,
                         size_t event_len)
{
    int len = snprintf(head, BROKER_HEAD_MAX, "e1 %016llx %016llx %c %.*s\n", (unsigned long long)origin.node,
                       (unsigned long long)origin.number, is_binary ? 'b' : 't', (int)event_len,
                       event_len == 0 ? "" : event);
    return (size_t)len;
}

/* Read 16 hexadecimal digits in lower case. */
static bool read_hex(const char *text, uint64_t *number)
{
    uint64_t value = 0;
    for (int i = 0; i < HEX_DIGITS; i++) {
        char c = text[i];
        if ((c < '0' || c > '9') && (c < 'a' || c > 'f')) {
            return false;
        }
        value = value << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    *number = value;
    return true;
}

/* The length of the first line with its end, 0 if it is none of ours. */
static size_t read_head(const char *text, size_t len, struct message_parts *parts, struct broker_origin *origin)
{
    struct broker_origin read;
    if (len <= HEAD_FIXED || memcmp(text, "e1 ", 3) != 0 || !read_hex(text + 3, &read.node) ||
        text[3 + HEX_DIGITS] != ' ' || !read_hex(text + 4 + HEX_DIGITS, &read.number)) {
        return 0;
    }
    const char *kind = text + 4 + 2 * HEX_DIGITS; /* " t " */
    if (read.node == 0) {                         /* stands for other programs */
        return 0;
    }
    const char *end = memchr(text + HEAD_FIXED, '\n', len - HEAD_FIXED);
    if (kind[0] != ' ' || (kind[1] != 't' && kind[1] != 'b') || kind[2] != ' ' || end == NULL ||
        (size_t)(end - text) > HEAD_FIXED + TOPIC_EVENT_MAX) {
        return 0;
    }
    *origin = read;
    parts->is_binary = kind[1] == 'b';
    parts->event = kind + 3;
    parts->event_len = (size_t)(end - parts->event);
    return (size_t)(end - text) + 1;
}

void broker_read(const char *text, size_t len, struct message_parts *parts, struct broker_origin *origin)
{
    size_t head = read_head(text, len, parts, origin);
    if (head == 0) {
        *origin = (struct broker_origin){0};
        parts->is_binary = false;
        parts->event = NULL;
        parts->event_len = 0;
    }
    parts->data = text + head;
    parts->len = len - head;
}

void broker_read_channel(const char *text, size_t len, struct message_parts *parts, struct broker_origin *origin)
{
    size_t id_len = 0;
    const char *space = memchr(text, ' ', len < PUBLICATION_ID_TEXT ? len : PUBLICATION_ID_TEXT);
    parts->id = (struct publication_id){0};
    if (space != NULL &&
        ((space == text + 1 && text[0] == '-') || publication_id_read(&parts->id, text, (size_t)(space - text)))) {
        id_len = (size_t)(space - text) + 1;
    }
    broker_read(text + id_len, len - id_len, parts, origin);
    if (origin->node == 0) { /* what looks like an id is the text of another program */
        parts->id = (struct publication_id){0};
        parts->data = text;
        parts->len = len;
    }
}
