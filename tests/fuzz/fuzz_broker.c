/* What a broker is told (core/redis_url.c) and gets from Redis (core/broker_text.c). The input is a URL, a newline, and
 * a message as it comes through a channel. What is accepted of a URL has no password in what may be shown of it; a
 * message that was written is read as it was, and every other one is text. */

#include "core/broker_text.h"
#include "core/redis_url.h"
#include "tests/lib/fuzz.h"

#include <string.h>

static void check_url(const char *text)
{
    struct redis_url url;
    char err[512] = "";
    if (redis_url_parse(&url, text, err, sizeof err) < 0) {
        FUZZ_MUST(err[0] != '\0');
        return;
    }
    FUZZ_MUST((url.host[0] == '\0') != (url.path[0] == '\0'));
    FUZZ_MUST(url.port > 0 && url.name[0] != '\0' && strlen(url.name) < sizeof url.name);
    FUZZ_MUST(url.user[0] == '\0' || url.has_password);
    FUZZ_MUST(url.has_password || url.password[0] == '\0');
    struct redis_url again;
    if (url.host[0] != '\0') { /* what is shown is a URL of the same place */
        FUZZ_MUST(redis_url_parse(&again, url.name, err, sizeof err) == 0);
        FUZZ_MUST(strcmp(again.host, url.host) == 0 && again.port == url.port && again.tls == url.tls);
        FUZZ_MUST(again.database == url.database && !again.has_password);
    }
}

static void check_message(const char *text, size_t len)
{
    struct message_parts parts = {.data = NULL}, again = {.data = NULL};
    struct broker_origin origin, origin_again;
    broker_read_channel(text, len, &parts, &origin);
    FUZZ_MUST(parts.data >= text && parts.data + parts.len == text + len);
    if (origin.node == 0) {
        FUZZ_MUST(parts.event_len == 0 && !parts.is_binary && parts.id.ms == 0 && parts.id.number == 0);
        FUZZ_MUST(parts.len == len);
        return;
    }
    FUZZ_MUST(parts.event_len <= TOPIC_EVENT_MAX && memchr(parts.event, '\n', parts.event_len) == NULL);
    char head[BROKER_HEAD_MAX];
    size_t head_len = broker_write_head(head, origin, parts.is_binary, parts.event, parts.event_len);
    FUZZ_MUST(head_len < sizeof head);
    if (memchr(parts.event, '\0', parts.event_len) == NULL) { /* the hub refuses others */
        broker_read(head, head_len, &again, &origin_again);
        FUZZ_MUST(origin_again.node == origin.node && origin_again.number == origin.number);
        FUZZ_MUST(again.is_binary == parts.is_binary && again.event_len == parts.event_len && again.len == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const char *newline = memchr(data, '\n', len);
    size_t url_len = newline == NULL ? len : (size_t)(newline - (const char *)data);
    if (url_len <= REDIS_URL_MAX) {
        char url[REDIS_URL_MAX + 1];
        memcpy(url, data, url_len);
        url[url_len] = '\0';
        check_url(url);
    }
    if (newline != NULL) {
        size_t rest = len - url_len - 1;
        if (rest > GUARDED_BYTES) {
            return 0;
        }
        const char *text = guarded_at_end(fuzz_guarded(), newline + 1, rest);
        check_message(text, rest);
    }
    return 0;
}
