#ifndef EVSERVE_HTTP_WS_EXTENSION_H
#define EVSERVE_HTTP_WS_EXTENSION_H

/* Sec-WebSocket-Extensions (RFC 6455 section 9.1), and what is agreed on of permessage-deflate (RFC 7692 section 7.1),
 * the one extension that we know. Pure: no allocation, no I/O. Any thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WS_EXTENSION_MAX = 160,   /* bytes of the longest text of ws_extension_write() */
    WS_WINDOW_BITS_OURS = 12, /* of windows that a connection keeps, ours and, if it can be told so, the client's */
    WS_WINDOW_BITS_MOST = 15, /* where nothing else was agreed on */
};

/* What a client offers. */
struct ws_offer {
    bool is_there : 1;        /* it offers permessage-deflate, with parameters that we take */
    bool server_forgets : 1;  /* server_no_context_takeover: we must not refer to earlier messages */
    bool client_forgets : 1;  /* client_no_context_takeover: it may be told not to, and would not anyway */
    bool has_client_bits : 1; /* client_max_window_bits: it can be told the size of its window */
    uint8_t server_bits;      /* server_max_window_bits, 9 to 15; 0: it says nothing of it */
    uint8_t client_bits;      /* of client_max_window_bits; 15 if it has no value */
};

/* Read a field value, of len bytes; a request may have several, in order. Of all offers of permessage-deflate in them
 * the first one counts that we can take: that has no parameter that is unknown, comes twice or has a wrong value, and
 * not a window of 8 bits for us, which zlib does not have. *offer is {0} before the first value. Returns false if the
 * value is malformed: the handshake has to fail. */
bool ws_extension_read(struct ws_offer *offer, const char *value, size_t len);

/* What was agreed on. A side that keeps its context refers to what it has sent in earlier messages. */
struct ws_deflate_terms {
    bool server_keeps : 1;
    bool client_keeps : 1;
    bool says_server_bits : 1; /* the client asked for a limit, so the response repeats it */
    bool says_client_bits : 1;
    uint8_t server_bits; /* 9 to 15: our window is at most 1 << bits bytes */
    uint8_t client_bits; /* 8 to 15 */
};

/* Agree on an offer that is there. may_keep: there is memory for a connection that keeps its context; without it both
 * sides begin each message anew. */
void ws_extension_agree(struct ws_deflate_terms *terms, const struct ws_offer *offer, bool may_keep);

/* Write the value of Sec-WebSocket-Extensions for the response. Returns its length; there is no NUL at the end. */
size_t ws_extension_write(char text[WS_EXTENSION_MAX], const struct ws_deflate_terms *terms);

#endif
