#ifndef EVSERVE_HTTP_WS_WS_ACCEPT_H
#define EVSERVE_HTTP_WS_WS_ACCEPT_H

/* The opening handshake (RFC 6455 section 4.2), for handlers of GET routes. */

#include <stddef.h>

struct exchange;
struct ws_options;

/* What a handshake may agree on. Used only during the call. */
struct ws_policy {
    /* Pages that browsers may connect from. NULL: those of the request's own host; "*": all; else origins such as
     * "https://example.org", separated by commas. Clients that send no Origin are no browsers, and may always. */
    const char *origins;

    /* Subprotocols, the best one first, separated by commas: the first one that the client offers is agreed on. Without
     * such a one there is none. NULL: none. Those behind the 255th are never chosen. */
    const char *protocols;
};

/* What was agreed on. */
struct ws_agreed {
    const char *protocol; /* within policy->protocols; NULL: none */
    size_t protocol_len;  /* bytes of it */
    unsigned place;       /* ws_protocol_place() */
};

/* Respond to a request that asks for a WebSocket, with the fields added: 101, after which the callbacks of
 * options->user are called with arg. agreed may be NULL. Returns 0; or the status of the response that was sent in its
 * place, with a text that says what is missing: then nothing of the user is called, and arg is still the caller's.
 *
 * 426: the request does not ask for a WebSocket, or for another version. 400: the handshake is malformed. 403: the
 * page's origin may not. 500: no memory. */
int ws_accept(struct exchange *exchange, const struct ws_policy *policy, const struct ws_options *options, void *arg,
              struct ws_agreed *agreed);

#endif
