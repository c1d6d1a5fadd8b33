#ifndef EVSERVE_HTTP_WS_READER_H
#define EVSERVE_HTTP_WS_READER_H

/* The bytes that a WebSocket client sends, turned into messages and control frames (RFC 6455 section 5). No I/O. One
 * reader for each connection; all calls from the thread of its reactor.
 *
 * Payload is unmasked where it lies, in the caller's block. A message that lies there whole, in one frame and not
 * compressed, is handed over without a copy. Otherwise its parts are gathered in one buffer, which grows with what has
 * arrived, never with what a head announces, and is given back after the message. A reader between two messages holds
 * no memory beside itself.
 *
 *     for (;;) {
 *         switch (ws_reader_next(&reader, &rules, &at, &len, &what)) {
 *         case WS_NONE: return; // len is 0: read again
 *         case WS_MESSAGE: use(what.kind, what.data, what.len); break;
 *         ...
 *         }
 *     } */

#include "http/ws/ws_frame.h"
#include "http/ws/ws_utf8.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct ws_held;

enum {
    WS_EMPTY_FRAMES_MAX = 64,        /* of one message; one more is close code 1008 */
    WS_INFLATE_STEP_BYTES = 1 << 18, /* inflated bytes after which a call returns WS_GOES_ON */
};

/* What a call found. */
enum ws_event {
    WS_NONE,    /* all bytes are used up: call again when more have arrived */
    WS_GOES_ON, /* much was inflated, and the message is not complete: call again, now or in a later turn */
    WS_MESSAGE, /* kind, data, len */
    WS_PING,    /* data, len: what the pong has to return */
    WS_PONG,    /* data, len */
    WS_CLOSE,   /* code, data, len: the reason. Whatever follows is dropped */
    WS_FAIL,    /* code and why: close the connection with them. Whatever follows is dropped */
};

struct ws_happening {
    enum ws_kind kind; /* of a message */
    unsigned code;     /* of a close: WS_CODE_NONE if it had none; of a failure: enum ws_code, to be sent */
    const char *data;  /* len bytes, within the caller's block or the reader's buffer: valid until the next call */
    size_t len;        /* may be 0, data is not NULL then */
    const char *why;   /* of a failure: a static text for the log and the client, at most WS_REASON_MAX bytes */
};

/* Inflate a part of a compressed message (RFC 7692 section 7.2.2): take bytes from *in, put at most room into out. Both
 * are at least 1. Returns how many bytes it has put. It is called again at once while *in_len > 0 or out was filled,
 * with *in_len 0 in that case. ends: these are the 00 00 ff ff that the sender left out, which the reader adds: the
 * message ends when all of them are taken and out was not filled. -ENOMEM: no memory; other negative values: the bytes
 * cannot be inflated. */
typedef ssize_t ws_inflate_fn(void *arg, const char **in, size_t *in_len, bool ends, char *out, size_t room);

/* What holds for a connection. May be made anew for each call, with the same contents. */
struct ws_rules {
    size_t max_message;     /* bytes of a message, inflated; a longer one is close code 1009 */
    ws_inflate_fn *inflate; /* NULL: no compression was agreed on */
    void *inflate_arg;      /* handed to it */
};

struct ws_reader {
    struct ws_held *held; /* what had to be kept: part of a head, of a control frame, of a message; or NULL */
    uint64_t left;        /* payload bytes of the present frame still to come */
    uint8_t mask[4];      /* for the next of them */
    struct ws_utf8 utf8;  /* of the text so far */
    uint8_t opcode;       /* of the present frame */
    uint8_t kind;         /* enum ws_kind of the message that has begun; 0: none has */
    uint8_t empty_frames; /* of this message */
    bool is_in_frame : 1; /* a head was read, and not yet the end of its payload */
    bool is_final : 1;    /* the present frame is the last one of its message */
    bool is_deflated : 1; /* the message is compressed */
    bool is_over : 1;     /* a close or a failure: drop everything */
};

void ws_reader_init(struct ws_reader *reader);

/* Give back what is held. The reader can be used for nothing but ws_reader_init() afterwards. */
void ws_reader_done(struct ws_reader *reader);

/* Look for the next event in *len writable bytes at *at, which follow those of the calls before; both are moved past
 * what was used. Every event but WS_NONE may leave bytes: call again with them, and until WS_NONE, which may need no
 * bytes at all (*len 0). Bytes that were not used may be moved elsewhere in between. Never reads beyond the bytes. */
enum ws_event ws_reader_next(struct ws_reader *reader, const struct ws_rules *rules, char **at, size_t *len,
                             struct ws_happening *what);

/* What the last event pointed to is not needed any more, and there may be no further call for a long time. */
void ws_reader_settle(struct ws_reader *reader);

/* Whether the last byte seen was the end of a message or of a control frame between messages: nothing has begun. */
bool ws_reader_is_between(const struct ws_reader *reader);

#endif
