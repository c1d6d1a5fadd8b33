#ifndef EVSERVE_TESTS_WS_SCENE_H
#define EVSERVE_TESTS_WS_SCENE_H

/* What the tests of WebSockets share, on top of tests/lib/server_scene.h: a route /ws whose user writes down what it
 * hears, and clients that send masked frames and read what comes back as text. */

#include "http/ws/ws.h"
#include "http/ws/ws_accept.h"

#include "tests/lib/fake_sys.h"

#include <stdbool.h>
#include <stddef.h>

#define WS_HELLO                                                                                                       \
    "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"        \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

/* What the user of the route does, and what it has heard. */
struct ws_heard {
    struct ws *ws;             /* of the last on_open(); NULL after on_close() */
    char text[8192];           /* "open; text hello; pong x; close 1000 bye; ", in order */
    size_t len;                /* of text */
    bool is_echo;              /* messages are sent back */
    void (*then)(struct ws *); /* called by on_message(), behind the echo; may be NULL */
    int sent;                  /* what the last echo returned */
    int drains;                /* calls of on_drain() */
    int accepted;              /* what the last ws_accept() returned */
    struct ws_agreed agreed;   /* by it */
};

extern struct ws_heard heard;
extern struct ws_options ws_scene_options; /* of the route; a test may change them */
extern struct ws_policy ws_scene_policy;

/* Before and after each test: server_scene with the route, started. */
int ws_set_up(void **state);
int ws_tear_down(void **state);

#define WS_TEST(fn) cmocka_unit_test_setup_teardown(fn, ws_set_up, ws_tear_down)

/* A client whose WebSocket is open; its 101 is forgotten. */
struct fake_peer *ws_client(void);

/* Write a masked frame, final unless said otherwise. Returns the end of it. */
char *ws_put_frame(char *at, unsigned opcode, bool is_final, const void *data, size_t len);

/* Send a frame, and run until nothing is left to do. */
void ws_say(struct fake_peer *peer, unsigned opcode, const char *text);

/* The frames that came and were not asked for yet, as text: "text hello; ping ; close 1000 bye; ". Those of more than
 * 100 bytes say how many: "binary [70000]; ". Valid until the next call. */
const char *ws_answers(struct fake_peer *peer);

#endif
