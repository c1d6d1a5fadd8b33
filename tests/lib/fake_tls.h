#ifndef EVSERVE_TESTS_FAKE_TLS_H
#define EVSERVE_TESTS_FAKE_TLS_H

/* A fake of the TLS transport (core/tls.h) without cryptography: a struct transport_ops that keeps the same
 * contract, and does whatever that contract allows. A read says -EAGAIN during the handshake; it may leave bytes of
 * which no event tells. A record that does not fit into the socket waits, and its content is owed: the fake aborts
 * if the caller then offers other bytes. An end without close_notify is -ECONNABORTED, nonsense is -EPROTO, files
 * cannot be sent.
 *
 * On the wire a record is its type, two bytes of length (the high one first), and that many bytes of content. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FAKE_TLS_RECORD_MAX = 16384, FAKE_TLS_HEAD_LEN = 3, FAKE_TLS_RECORDS_MAX = 8 };

/* Types of records. */
enum fake_tls_type {
    FAKE_TLS_UPDATE = 20,    /* asks for the same in return, as an update of keys does */
    FAKE_TLS_ALERT = 21,     /* something is wrong: only the server sends it, and then nothing more */
    FAKE_TLS_HANDSHAKE = 22, /* these come first, as many as the client likes, each with a reply */
    FAKE_TLS_CONTENT = 23,
    FAKE_TLS_CLOSE = 24,    /* close_notify */
    FAKE_TLS_FINISHED = 25, /* the last one of the handshake, with a reply of the same type */
};

/* How sessions behave that are opened from now on: the arg of transport_open(). */
struct fake_tls_plan {
    size_t reply_bytes;    /* content of the reply to each record of the handshake */
    size_t record_bytes;   /* content of a record that the server makes, at most */
    unsigned records;      /* records that it makes for one write, at most */
    bool reads_one_record; /* a read gives the content of no more than one record */
    bool holds_reply;      /* the last reply of the handshake waits for a response to be sent with it */
    bool overstates;       /* holds_input is also set for the beginning of a record */
};

extern const struct transport_ops fake_tls_ops;

/* What a client reads whose first bytes are a letter, as plain HTTP begins. */
extern const char fake_tls_plain_reply[];

/* Append a record to text, which has room for it. Returns its bytes. */
size_t fake_tls_record(char *text, enum fake_tls_type type, const char *content, size_t len);

/* What lies in a stream of records. */
struct fake_tls_content {
    char *bytes;       /* content; owned */
    size_t len;        /* of bytes */
    bool is_open;      /* the handshake is over on this side */
    bool has_close;    /* it ends with close_notify; what follows does not count */
    bool has_alert;    /* and the same with an alert */
    bool has_rest;     /* there are bytes behind that end, or behind what is malformed */
    bool is_malformed; /* what follows is no record, or none that this side may send */
    bool is_cut;       /* the last record is not whole */
};

/* Read what one side has sent. Content before the end of the handshake is malformed. The result is freed by
 * fake_tls_content_done(). */
void fake_tls_content_read(struct fake_tls_content *content, const char *data, size_t len, bool is_of_server);
void fake_tls_content_done(struct fake_tls_content *content);

#endif
