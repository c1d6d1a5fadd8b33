#ifndef EVSERVE_HTTP_WS_FRAME_H
#define EVSERVE_HTTP_WS_FRAME_H

/* Heads of WebSocket frames (RFC 6455 section 5.2), as a server reads and writes them: no I/O, no allocation, no state.
 * Any thread may call. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WS_CLIENT_HEAD_MAX = 14, /* bytes of the longest head that a client sends */
    WS_SERVER_HEAD_MAX = 10, /* of the longest one that we send: it has no mask */
    WS_CONTROL_MAX = 125,    /* payload bytes of a ping, a pong or a close */
    WS_REASON_MAX = 123,     /* bytes of the reason of a close, beside its code */
};

enum ws_opcode {
    WS_OP_CONTINUATION = 0,
    WS_OP_TEXT = 1,
    WS_OP_BINARY = 2,
    WS_OP_CLOSE = 8, /* this and those above are control frames */
    WS_OP_PING = 9,
    WS_OP_PONG = 10,
};

/* What a message is. The values are those of its opcode. */
enum ws_kind {
    WS_TEXT = WS_OP_TEXT,
    WS_BINARY = WS_OP_BINARY,
};

/* Status codes of a close (RFC 6455 section 7.4.1). */
enum ws_code {
    WS_CODE_NORMAL = 1000,
    WS_CODE_GOING_AWAY = 1001,
    WS_CODE_PROTOCOL = 1002,    /* malformed frames */
    WS_CODE_UNSUPPORTED = 1003, /* a kind of message that the application does not take */
    WS_CODE_NONE = 1005,        /* never sent: the close had no code */
    WS_CODE_LOST = 1006,        /* never sent: the connection ended without a close */
    WS_CODE_INVALID = 1007,     /* a text that is not UTF-8, compressed bytes that cannot be inflated */
    WS_CODE_POLICY = 1008,
    WS_CODE_TOO_BIG = 1009,
    WS_CODE_INTERNAL = 1011,
    WS_CODE_TRY_LATER = 1013,
};

struct ws_frame {
    uint64_t len;         /* of the payload; below 2^63 */
    uint8_t mask[4];      /* what the payload is XORed with, from its first byte */
    uint8_t opcode;       /* enum ws_opcode */
    bool is_final : 1;    /* FIN: the last frame of its message */
    bool is_deflated : 1; /* RSV1: the message that it begins is compressed (RFC 7692) */
};

/* Whether a frame is a ping, a pong or a close. */
static inline bool ws_is_control(unsigned opcode)
{
    return opcode >= WS_OP_CLOSE;
}

/* Parse the head at the beginning of len bytes that a client sent. allows_rsv1: an extension that uses RSV1 was agreed
 * on. Returns the length of the head with *frame filled; 0 if more bytes are needed; -1 if it is malformed (close code
 * 1002): *why is a static text that says how. A malformed byte is reported even if the head is not yet complete. */
int ws_frame_parse(struct ws_frame *frame, bool allows_rsv1, const char *data, size_t len, const char **why);

/* Write the head of an unfragmented frame with len bytes of payload, which lie behind it unmasked. Returns its length:
 * 2, 4 or 10. */
size_t ws_frame_write(char head[WS_SERVER_HEAD_MAX], enum ws_opcode opcode, bool is_deflated, uint64_t len);

/* Whether an endpoint may send this code in a close frame: 1000 to 1003, 1007 to 1014, 3000 to 4999. */
bool ws_code_is_valid(unsigned code);

#endif
