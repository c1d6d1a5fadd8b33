#ifndef EVSERVE_HTTP_CONN_STEPS_H
#define EVSERVE_HTTP_CONN_STEPS_H

/* The steps of a connection's state machine, for conn.c alone: one for each state. A step may change the state, queue
 * bytes and call the handler; it never closes the connection. conn->exchange is there and has its input. */

#include <stdbool.h>

struct conn;
struct exchange;

enum {
    PIPELINE_BUDGET = 64, /* requests answered in one turn (R6) */
};

/* What a step of conn_advance() says. */
enum advance {
    ADVANCE_ON,    /* go on with the state the connection is in now */
    ADVANCE_WAIT,  /* nothing more can be done before something happens */
    ADVANCE_CLOSE, /* the connection is over */
};

/* READING_HEADERS. A client that does not take its answers gets no further request parsed. */
enum advance conn_read_head(struct conn *conn);

/* READING_BODY: for the handler, or, after the answer, to get it out of the way of the next request. */
enum advance conn_read_body(struct conn *conn);

/* PROCESSING: the handler is called once; it may answer at once or later, and may take the body meanwhile. */
enum advance conn_process(struct conn *conn);

/* WRITING_RESPONSE: bytes may wait for those of the next answer, so that pipelined requests are answered with one write;
 * a body that is sent from where it is, or a queue above the high mark, goes first. */
enum advance conn_write_response(struct conn *conn);

/* CLOSING: send what is queued; then, if the client may still be sending, shut our side and wait for its end. A close
 * with unread bytes would reset the connection and could take the answer away from the client (RFC 9112 section 9.6). */
enum advance conn_linger(struct conn *conn);

/* A new exchange, or one whose answer is over: it starts afresh, for the next request. */
void conn_start_request(struct conn *conn);

/* The answer is known before the body is read, or there is none: the connection closes after it. Returns ADVANCE_ON. */
enum advance conn_refuse(struct conn *conn, int status, const char *detail);

/* What the connection is doing, for log lines: "while reading request headers". */
const char *conn_doing(const struct conn *conn);

/* The connection ends abnormally: counted, and logged with what it was doing, for those who want to know. Returns
 * ADVANCE_CLOSE. */
enum advance conn_lost(struct conn *conn, const char *why);

/* The handler waits for content of the body, and has not ended its answer meanwhile. NULL is allowed. */
bool conn_wants_body(const struct exchange *exchange);

#endif
