/* What users of WebSockets call: messages, pings, closing, pausing, frames made beforehand. */

#include "tests/lib/server_scene.h"
#include "tests/lib/ws_scene.h"

static void messages_come_and_go(void **state)
{
    (void)state;
    struct fake_peer *peer = ws_client();
    ws_say(peer, WS_OP_TEXT, "hello");
    ws_say(peer, WS_OP_BINARY, "\xff");
    ws_say(peer, WS_OP_PING, "a");
    ws_say(peer, WS_OP_PONG, "b");
    assert_string_equal(ws_answers(peer), "text hello; binary \xff; pong a; ");
    ws_say(peer, WS_OP_CLOSE,
           "\x03\xe8"
           "bye");
    assert_string_equal(ws_answers(peer), "close 1000 ; ");
    assert_true(is_closed(peer));
    assert_string_equal(heard.text, "open; text hello; binary \xff; pong b; close 1000 bye; ");
    assert_int_equal(stats().ws_received, 2);
    assert_int_equal(stats().ws_sent, 2);
    assert_int_equal(stats().websockets, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WS_TEST(messages_come_and_go),
    };
    return cmocka_run_group_tests_name("ws", tests, NULL, NULL);
}
