#ifndef EVSERVE_HTTP_FETCH_CONTENT_H
#define EVSERVE_HTTP_FETCH_CONTENT_H

/* Heads and content of responses, on their way to the owner of a fetch. */

#include "http/client/fetch_reply.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct fetch;

/* Take bytes that came. Returns REPLY_MORE; REPLY_DONE when the response is complete; or REPLY_MALFORMED after
 * fetch_fail(). Where a little gzip makes much content, this takes a part of the bytes and keeps the rest: then
 * fetch_has_rest(), and fetch_take_rest() is due in another turn, before any other bytes. */
enum fetch_reply_verdict fetch_take_bytes(struct fetch *fetch, const char *data, size_t len);
enum fetch_reply_verdict fetch_take_rest(struct fetch *fetch);
bool fetch_has_rest(const struct fetch *fetch);

/* The server has closed the connection. As above. */
enum fetch_reply_verdict fetch_take_end(struct fetch *fetch);

/* Whether there is room for more content: a streamed response waits for its reader, and all wait for their rest. */
bool fetch_has_room(const struct fetch *fetch);

/* Where content of a known place may be received to directly, for a response that is collected: *room bytes there.
 * Returns NULL if it has to go through another buffer. */
char *fetch_content_room(struct fetch *fetch, size_t *room);

/* The response is complete: what the owner sees of it. Returns 0, or -ENOMEM after fetch_fail(). */
int fetch_finish_content(struct fetch *fetch);

/* fetch_read(), as far as content is there: its length; 0; -EAGAIN if others have their turn first, after
 * fetch_note(FETCH_READABLE); or -EIO after fetch_fail(), if it cannot be decoded. */
ssize_t fetch_take_content(struct fetch *fetch, const char **data);

/* Free what is kept of it. */
void fetch_content_done(struct fetch *fetch);

#endif
