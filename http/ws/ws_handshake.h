#ifndef EVSERVE_HTTP_WS_WS_HANDSHAKE_H
#define EVSERVE_HTTP_WS_WS_HANDSHAKE_H

/* The texts of an opening handshake (RFC 6455 section 4.2). No state, no allocation; any thread. Texts have no NUL at
 * their end unless they are called lists. */

#include <stdbool.h>
#include <stddef.h>

enum { WS_ACCEPT_LEN = 28 }; /* bytes of Sec-WebSocket-Accept */

/* Whether a list of tokens, such as the value of Connection, has this one, in any case. */
bool ws_tokens_have(const char *value, size_t len, const char *token);

/* Whether a Sec-WebSocket-Key is 16 bytes of base64. */
bool ws_key_is_valid(const char *key, size_t len);

/* The Sec-WebSocket-Accept of a key. */
void ws_accept_value(const char *key, size_t len, char value[WS_ACCEPT_LEN]);

/* Whether an Origin is that of the request itself: the same host and port as in Host, where the default port of the
 * origin's scheme may be missing in both. A page that came by plain http is not of the origin of a server that the
 * request reached by TLS (is_secured); the other way round a proxy may have taken off TLS. */
bool ws_origin_is_own(const char *origin, size_t len, const char *host, size_t host_len, bool is_secured);

/* Whether a list of origins, separated by commas, has this one, or is "*". Default ports may be missing in both. */
bool ws_origin_is_listed(const char *origin, size_t len, const char *list);

/* Find the first subprotocol of a list, separated by commas, that the client offers. Returns it, within the list, and
 * its length; or NULL. offers(arg, name, len): whether the client does. */
const char *ws_choose_protocol(const char *list, bool (*offers)(void *arg, const char *name, size_t len), void *arg,
                               size_t *chosen_len);

/* Whether a list of subprotocols has that one, as it is written. */
bool ws_protocols_have(const char *value, size_t len, const char *name, size_t name_len);

#endif
