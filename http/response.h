#ifndef EVSERVE_HTTP_RESPONSE_H
#define EVSERVE_HTTP_RESPONSE_H

/* Responses: what is said, and its checks. The framing (http/framing.h) writes it, always as a well-formed message.
 * Nothing here sends: bytes are queued and the connection flushes them. So no function here ends the exchange under its
 * caller's feet.
 *
 * A handler responds with exactly one of response_send(), response_send_borrowed(), response_error(), response_file()
 * or with response_begin(), response_write()..., response_end(). Fields come before. */

#include "http/response_fields.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct continuation;
struct exchange;
struct source;
struct takeover;

enum {
    REF_COPY_MAX = 4096, /* pieces of a stream up to here are copied, which costs less than to keep them in line */
    RESPONSE_LENGTH_UNKNOWN = -1, /* of response_begin() */
    RESPONSE_PAGE_MAX = 512,      /* bytes of the text of a status */
};

#define RESPONSE_TEXT_PLAIN "text/plain; charset=utf-8" /* the type of the pages that the server writes itself */

/* Respond with the file that the host of the request has for an error (http/error_pages.h), and with the fields that
 * were added. Returns false without having responded if it has none, or if the file is not there. */
bool response_send_page(struct exchange *exchange, int status);

/* Answer with a status and len bytes of content, copied. type is the Content-Type, in place of one that was added, or
 * NULL for none beside the fields added. A status without content (204, 304) drops the content. An error without
 * content gets that of response_send_page(). */
void response_send(struct exchange *exchange, int status, const char *type, const void *content, size_t len);

/* The same without a copy: content stays where it is until release(arg) is called, exactly once, perhaps before this
 * function returns. */
void response_send_borrowed(struct exchange *exchange, int status, const char *type, const void *content, size_t len,
                            void (*release)(void *arg), void *arg);

/* Answer with a status and a short text page that names it; 405 carries Allow from exchange->match.allowed. Drops
 * fields that were added before. detail, or NULL, is one more line for the client. */
void response_error(struct exchange *exchange, int status, const char *detail);

/* The same with the fields that were added before, except for those of response_drop_content_fields(): what those who
 * added them want to have in every response, such as the fields of CORS, is in this one, too. */
void response_refuse(struct exchange *exchange, int status, const char *detail);

/* The same with all fields as they are. */
void response_error_page(struct exchange *exchange, int status, const char *detail);

/* The page of response_error() whatever hooks would say: for requests whose framing is in doubt. */
void response_error_plain(struct exchange *exchange, int status, const char *detail);

/* The text of a status: its code and reason, and detail (or NULL) as one more line. Returns its length, at most
 * RESPONSE_PAGE_MAX - 1: a longer one is cut. */
size_t response_format_page(char page[RESPONSE_PAGE_MAX], int status, const char *detail);

/* Redirect: Location, in place of one that was added, and a short text. location must be a valid field value, else it
 * is a 500. */
void response_redirect(struct exchange *exchange, int status, const char *location, size_t len);

/* Switch to another protocol: 101 with Upgrade and the fields added. When it is sent, the connection goes over to
 * takeover->to, which must stay valid until then, and the exchange is over. Returns 0; -EPROTO for HTTP/1.0, which
 * knows no switch, and -EBUSY while a body of the request has not been read: then nothing was sent. */
int response_switch(struct exchange *exchange, const struct takeover *takeover);

/* Begin a response whose content comes in pieces: of a length known beforehand, or RESPONSE_LENGTH_UNKNOWN (chunked, or
 * in HTTP/1.0 until the connection closes). */
void response_begin(struct exchange *exchange, int status, const char *type, int64_t length);

/* Queue a piece of content, copied. Returns 1: go on; 0: taken, but the client is behind, so wait for on_drain; -1: the
 * client is gone, or it owes more than write_cap and is cut, or more was written than announced. */
int response_write(struct exchange *exchange, const void *content, size_t len);

/* The same without a copy, unless content is short (REF_COPY_MAX) or many pieces wait already: it stays where it is
 * until release(arg) is called, exactly once whatever is returned, perhaps before this function returns. Counts against
 * write_cap as if it were copied. */
int response_write_borrowed(struct exchange *exchange, const void *content, size_t len, void (*release)(void *arg),
                            void *arg);

/* Whether a piece of len bytes more would owe the client more than write_cap: one reason why the functions above return
 * -1. */
bool response_is_beyond_cap(const struct exchange *exchange, size_t len);

/* Wait for on_drain, though the last response_write() returned 1: it comes once others have had their turn and the
 * client has taken most of what is queued. For a handler that would otherwise write without end. */
void response_pause(struct exchange *exchange);

/* Send no more than so many bytes of the response in a second, or as many as the client takes (0), whatever rate_limit
 * says. Before the response, or while it is streamed. */
void response_set_rate(struct exchange *exchange, uint64_t bytes);

/* End a streamed response. Less content than announced cuts the connection. */
void response_end(struct exchange *exchange);

/* Give up a response that has begun: the connection is cut without a proper end, so that the client can tell; with a
 * reset when the end of the connection is all that marks the end. A response that has not begun becomes a 500. */
void response_abort(struct exchange *exchange);

/* Respond with a source of len bytes, which is taken over: a range, or, if it has none, what source->then brings forth:
 * its next() is then called at once. What it borrows is released exactly once, perhaps before this function returns. */
void response_send_source(struct exchange *exchange, int status, const char *type, uint64_t len,
                          const struct source *source);

/* Content that is made range by range (struct continuation of http/source.h). */

/* Add field lines of a file, except those whose place a field of the handler takes (response_put_lines()). They are
 * known to be well-formed, each with CRLF, and do not count against RESPONSE_FIELDS_MAX.
 * Returns 0, or -ENOMEM with the response as before. */
int response_add_lines(struct exchange *exchange, const char *lines, size_t len);

/* Answer with content of length bytes that then->next() brings forth: it is called at once, and again whenever what it
 * set was sent. then->release() is called exactly once, perhaps before this function returns. */
void response_send_ranges(struct exchange *exchange, int status, const char *type, uint64_t length,
                          const struct continuation *then);

/* For then->next() alone. Queue len bytes of content, copied: 0 or -ENOMEM. */
int response_queue(struct exchange *exchange, const void *content, size_t len);

/* For what responds with heads of its own (response_file.c): count a response whose head was queued; and all of a
 * response was queued or stands in exchange->source. */
void response_count(struct exchange *exchange, int status);
void response_complete(struct exchange *exchange);

#endif
