#ifndef EVSERVE_HTTP_SSE_H
#define EVSERVE_HTTP_SSE_H

/* Server-Sent Events: the text of an event (WHATWG HTML, section 9.2 "Server-sent events"). No I/O, no allocation, no
 * state; any thread. */

#include <stddef.h>
#include <stdint.h>

#define SSE_TYPE "text/event-stream" /* always UTF-8, so no charset */

enum { SSE_NO_RETRY = -1 };

/* An event. A NULL text is not sent; an empty one is. Without data, a client dispatches nothing, but remembers the
 * id. */
struct sse_event {
    const char *id; /* what the client sends as Last-Event-ID when it comes back; "" makes it forget the last one */
    size_t id_len;
    const char *event; /* the type, for addEventListener(); NULL: "message" */
    size_t event_len;
    const char *data; /* any text: each of its lines becomes a field, and the client joins them with line feeds */
    size_t data_len;
    int64_t retry_ms; /* how long the client waits before it comes back, from now on; or SSE_NO_RETRY */
};

/* Whether the event can be sent. Returns NULL, or static text that names the member and what is wrong with it, such as
 * "id: it must not contain a line break". */
const char *sse_check(const struct sse_event *event);

/* The length of the text of an event that sse_check() accepts; write it there. Returns the cursor behind the text. */
size_t sse_length(const struct sse_event *event);
char *sse_put(char *at, const struct sse_event *event);

/* The same for a comment, which clients ignore: text may have several lines, and be empty. */
size_t sse_comment_length(const char *text, size_t len);
char *sse_put_comment(char *at, const char *text, size_t len);

#endif
