#ifndef EVSERVE_TESTS_H1_SCENE_H
#define EVSERVE_TESTS_H1_SCENE_H

/* What the tests of http/h1/ share: one connection that speaks HTTP/1, between two buffers. The transport reads what
 * the client has sent from one and writes what it gets to the other. There is no server, no listener and no socket; the
 * reactor is there as a clock and never runs. A test sends, and then calls the protocol as http/conn.c does: read()
 * while there is something to read and the protocol reads, advance() while it says TURN_AGAIN or writes and there is
 * room.
 *
 * When a test ends, no memory may be left, and no system call may have touched an fd. tests/CMakeLists.txt links the
 * scene to every program whose source includes this header. */

#include "core/log.h"
#include "core/reactor.h"
#include "core/transport.h"
#include "http/conn.h"
#include "http/conn_pool.h"
#include "http/exchange.h"
#include "http/h1/h1_protocol.h"
#include "http/response.h"
#include "http/service.h"
#include "http/site.h"
#include "http/site_parts.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"
#include "tests/lib/handlers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define CRLF        "\r\n"
#define COUNT(rows) (sizeof(rows) / sizeof(rows)[0])

/* "GET /path HTTP/1.1" with Host. */
#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

/* A response as read_output() gives it: without Date. */
#define OK_TEXT(length, content)                                                                                       \
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: " length "\r\n\r\n" content

enum { WIRE_MAX = 1 << 20, NO_LIMIT = 1 << 30 };

struct h1_scene {
    size_t live_at_start;     /* blocks of memory */
    struct reactor *reactor;  /* a clock */
    struct log log;           /* into log_text */
    char log_text[4096];      /* lines, each with its newline */
    struct site *site;        /* of the service */
    struct service service;   /* what requests know of a server */
    struct conn_pool pool;    /* two blocks */
    struct h1_server *server; /* of HTTP/1 */
    struct conn conn;         /* the connection */

    char in[WIRE_MAX];      /* what the client has sent */
    size_t in_len, in_used; /* of them: sent, read */
    bool is_ended;          /* the client sends no more */
    char out[WIRE_MAX];     /* what the client has got */
    size_t out_len;
    size_t room;       /* bytes that the transport takes before it is full */
    size_t take;       /* what a client that takes its responses makes of room, each time that it is full */
    size_t read_max;   /* bytes that a read gives at most */
    int error;         /* -errno that the transport gives instead of all else, or 0 */
    bool has_sendfile; /* the transport can send files; then sendfile_error, if it is not 0, is what it says */
    int sendfile_error;
    size_t write_max;  /* the most that one call of the transport wrote */
    enum turn last;    /* what the last turn ended with */
    bool is_over;      /* it was TURN_LINGER or TURN_CLOSE: the protocol has lost the connection */
    bool is_left_open; /* the scene ends with the connection open */
};

extern struct h1_scene h1_scene; /* there is one test at a time */

/* Before and after each test. Routes: GET, HEAD, POST and PUT of /hello ("hello\n"), /echo (BODY_WHOLE), /stream-back
 * (BODY_STREAM), /chunks ("one", "two", length unknown), /sized (the same with its length), /hold (held_exchange),
 * /hold-body (the same, BODY_STREAM), /hold-whole (the same, BODY_WHOLE). */
int h1_set_up(void **state);
int h1_tear_down(void **state);
#define H1_TEST(fn) cmocka_unit_test_setup_teardown(fn, h1_set_up, h1_tear_down)

/* Mount path at "/files". */
void mount_files(const char *path);

/* A fresh connection in place of the one before, which may be over or not. */
void new_connection(void);

/* The client sends text, or len bytes; nothing reads them yet. It shuts its side. */
void client_sends(const char *text);
void client_sends_bytes(const char *data, size_t len);
void client_ends(void);

/* Turns, until nothing more can be done. While the transport is full, room becomes take first. */
void pump(void);

/* One turn, without a read. */
void take_turn(void);

/* client_sends(), then pump(). */
void say(const char *text);

/* All output so far without its Date lines, of which each final response must have one. Valid until the next call. */
const char *read_output(void);

/* The output must be text, without Date lines. */
#define assert_output(text) assert_string_equal(read_output(), text)

/* What conn.c learns from the protocol. CONN_READS, if the connection is idle. */
unsigned wants(void);
enum wait waits_for(void);

/* What /hold, /hold-body and /hold-whole keep: NULL before them and after on_gone(). Calls of the callbacks. */
extern struct exchange *held_exchange;
extern int held_gones, held_drains, held_stops, held_data;

void set_limit(const char *name, uint64_t value);

#endif
