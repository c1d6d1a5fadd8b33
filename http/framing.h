#ifndef EVSERVE_HTTP_FRAMING_H
#define EVSERVE_HTTP_FRAMING_H

/* What an exchange asks of whatever carries it over the wire. http/h1/ implements it for HTTP/1; a filter, such as one
 * that compresses, is a framing in front of another. The message storey decides what is said, a framing how it is
 * written. All functions are called on the reactor's thread; none of them ends the exchange or runs the connection
 * during the call. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct borrowed;
struct exchange;
struct prebuilt;
struct proxied;
struct tls_info;

enum {
    LENGTH_UNKNOWN = -1, /* the content ends where end() is called */
    LENGTH_NONE = -2,    /* a response that has no content, whatever the request: 204, 304 */
};

/* The head of a response, without the fields that the handler added: those are in exchange->fields. */
struct response_head {
    int status;          /* 100 to 599 */
    const char *type;    /* Content-Type, or NULL for none beside the fields added */
    int64_t length;      /* of the content, LENGTH_UNKNOWN or LENGTH_NONE; announced for HEAD, too */
    const void *content; /* content_len bytes that follow at once, copied; the framing does not count them */
    size_t content_len;  /* 0: the content comes by write(), borrow(), queue() or exchange->source */
};

struct framing {
    /* Queue a head and the content it brings. Returns 0, or -ENOMEM with nothing queued. */
    int (*begin)(struct exchange *exchange, const struct response_head *head);

    /* The same with a head made beforehand and the first content_len bytes behind it; exchange->fields goes into it. */
    int (*prebuilt)(struct exchange *exchange, const struct prebuilt *prebuilt, size_t content_len);

    /* Queue a piece of a stream, at least one byte: copied, or from where it is. borrow() takes piece over only when it
     * returns 0; -ENOBUFS: too many are in line. Both: -ENOMEM. */
    int (*write)(struct exchange *exchange, const void *content, size_t len);
    int (*borrow)(struct exchange *exchange, const struct borrowed *piece);

    /* Mark the end of a stream's content. Returns 0 or -ENOMEM. */
    int (*end)(struct exchange *exchange);

    /* Queue len bytes of content whose length was announced, copied, before exchange->source. Returns 0 or -ENOMEM. */
    int (*queue)(struct exchange *exchange, const void *content, size_t len);

    /* All bytes that wait for the client, copied and borrowed; and what a piece of a stream costs beside its
     * content. */
    size_t (*queued)(const struct exchange *exchange);
    size_t (*overhead)(const struct exchange *exchange);

    /* exchange_read_body(), exchange_unread_body(); and that the body cannot be had, for which the handler is given
     * status. reason: static text, or NULL. */
    int (*read_body)(struct exchange *exchange, const char **data, size_t *len);
    void (*unread_body)(struct exchange *exchange, size_t len);
    void (*fail_body)(struct exchange *exchange, int status, const char *reason);

    /* Something changed: the connection goes on with the exchange before the tick ends. */
    void (*resume)(struct exchange *exchange);

    /* Queue an interim response (RFC 9110 section 15.2) other than 100 and 101, before the response has begun: lines
     * are its field lines, each with CRLF. A client of HTTP/1.0 gets none. Returns 0 or -ENOMEM. */
    int (*interim)(struct exchange *exchange, int status, const char *lines, size_t len);

    /* exchange_write_deadline_ms(); and the socket, for hosts that want to ask it something. */
    int64_t (*write_deadline_ms)(const struct exchange *exchange);
    int (*fd)(const struct exchange *exchange);

    /* exchange_tls(). */
    bool (*tls)(const struct exchange *exchange, struct tls_info *info);

    /* Whether the connection's handshake was for another host, whose clients are not asked for what those of the host
     * called name are (RFC 9110 section 7.4). */
    bool (*is_misdirected)(const struct exchange *exchange, const char *name, size_t len);

    /* exchange_proxied(). */
    const struct proxied *(*proxied)(const struct exchange *exchange);
};

#endif
