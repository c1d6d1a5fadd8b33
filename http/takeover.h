#ifndef EVSERVE_HTTP_TAKEOVER_H
#define EVSERVE_HTTP_TAKEOVER_H

/* A handler that has the connection speak another protocol after its response (RFC 9110 section 7.8): see
 * response_switch(). */

#include <stddef.h>

struct conn;
struct protocol;

struct takeover {
    const char *name;          /* the value of Upgrade: "websocket"; at most 64 bytes */
    const struct protocol *to; /* what is spoken from then on */

    /* The response is sent. Make the protocol's work, with a copy of what the client has sent behind its request: len
     * bytes of unread, perhaps none. Returns NULL without memory: the connection is closed. */
    void *(*begin)(struct conn *conn, const char *unread, size_t len, void *arg);

    /* The connection is lost before the response was sent, or begin() returned NULL: give up what arg stands for.
     * Called instead of any further begin(). NULL: there is nothing to give up. */
    void (*lose)(void *arg);
    void *arg; /* handed to both */
};

#endif
