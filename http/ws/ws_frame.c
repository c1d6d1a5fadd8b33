/* Heads of WebSocket frames.
 *
 *   byte 0   FIN RSV1 RSV2 RSV3, 4 bits of opcode
 *   byte 1   MASK, 7 bits of length: 0 to 125; 126: 16 bits of length follow; 127: 64 bits
 *   then     the mask, 4 bytes
 *
 * Failure modes: reserved bits and opcodes, a control frame that is long or a fragment, a frame without a mask, a
 * length that is not in its shortest form or has its highest bit set. Each byte is checked as soon as it is there, so
 * the verdict does not depend on how the head arrived. */

#include "http/ws/ws_frame.h"

#include <string.h>

enum {
    WS_BIT_FIN = 0x80,
    WS_BIT_RSV1 = 0x40,
    WS_BITS_RSV23 = 0x30,
    WS_BITS_OPCODE = 0x0f,
    WS_BIT_MASK = 0x80,
    WS_BITS_LEN = 0x7f,
    WS_LEN_16 = 126, /* 16 bits of length follow */
    WS_LEN_64 = 127, /* 64 bits of length follow */
};

/* What is wrong with the first byte; NULL: nothing. */
static const char *ws_check_first(unsigned first, bool allows_rsv1)
{
    unsigned opcode = first & WS_BITS_OPCODE;

    if ((first & WS_BITS_RSV23) != 0) {
        return "a reserved bit (RSV2, RSV3) is set";
    }
    if (opcode > WS_OP_PONG || (opcode > WS_OP_BINARY && opcode < WS_OP_CLOSE)) {
        return "unknown opcode";
    }
    if ((first & WS_BIT_RSV1) != 0) {
        if (!allows_rsv1) {
            return "RSV1 is set, but no compression was agreed on";
        }
        if (opcode != WS_OP_TEXT && opcode != WS_OP_BINARY) {
            return "RSV1 is set in a frame that does not begin a message";
        }
    }
    if (ws_is_control(opcode) && (first & WS_BIT_FIN) == 0) {
        return "fragmented control frame";
    }
    return NULL;
}

static uint64_t ws_read_number(const unsigned char *bytes, size_t len)
{
    uint64_t number = 0;

    for (size_t i = 0; i < len; i++) {
        number = number << 8 | bytes[i];
    }
    return number;
}

int ws_frame_parse(struct ws_frame *frame, bool allows_rsv1, const char *data, size_t len, const char **why)
{
    const unsigned char *bytes = (const unsigned char *)data;

    if (len == 0) {
        return 0;
    }
    *why = ws_check_first(bytes[0], allows_rsv1);
    if (*why != NULL) {
        return -1;
    }
    frame->opcode = bytes[0] & WS_BITS_OPCODE;
    frame->is_final = (bytes[0] & WS_BIT_FIN) != 0;
    frame->is_deflated = (bytes[0] & WS_BIT_RSV1) != 0;
    if (len == 1) {
        return 0;
    }
    unsigned short_len = bytes[1] & WS_BITS_LEN;
    if ((bytes[1] & WS_BIT_MASK) == 0) {
        *why = "frame without a mask";
        return -1;
    }
    if (ws_is_control(frame->opcode) && short_len > WS_CONTROL_MAX) {
        *why = "control frame longer than 125 bytes";
        return -1;
    }
    size_t wide = short_len == WS_LEN_16 ? 2 : short_len == WS_LEN_64 ? 8 : 0;
    if (len < 2 + wide) {
        return 0;
    }
    frame->len = wide == 0 ? short_len : ws_read_number(bytes + 2, wide);
    if (wide != 0 && frame->len <= (wide == 2 ? (uint64_t)WS_CONTROL_MAX : UINT16_MAX)) {
        *why = "length is not in its shortest form";
        return -1;
    }
    if (frame->len > INT64_MAX) {
        *why = "length of 2^63 or more";
        return -1;
    }
    if (len < 2 + wide + sizeof frame->mask) {
        return 0;
    }
    memcpy(frame->mask, bytes + 2 + wide, sizeof frame->mask);
    return (int)(2 + wide + sizeof frame->mask);
}

size_t ws_frame_write(char head[WS_SERVER_HEAD_MAX], enum ws_opcode opcode, bool is_deflated, uint64_t len)
{
    size_t wide = len <= WS_CONTROL_MAX ? 0 : len <= UINT16_MAX ? 2 : 8;
    uint64_t rest = len;

    head[0] = (char)(WS_BIT_FIN | (is_deflated ? WS_BIT_RSV1 : 0) | (int)opcode);
    if (wide == 0) {
        head[1] = (char)len;
        return 2;
    }
    head[1] = (char)(wide == 2 ? WS_LEN_16 : WS_LEN_64);
    for (size_t i = wide; i > 0; i--) {
        head[1 + i] = (char)(unsigned char)(rest & 0xff);
        rest >>= 8;
    }
    return 2 + wide;
}

bool ws_code_is_valid(unsigned code)
{
    return (code >= WS_CODE_NORMAL && code <= WS_CODE_UNSUPPORTED) || (code >= WS_CODE_INVALID && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}
