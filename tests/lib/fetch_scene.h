#ifndef EVSERVE_TESTS_FETCH_SCENE_H
#define EVSERVE_TESTS_FETCH_SCENE_H

/* What tests of http/client/fetch.c share: a reactor, and a server on a real socket in the same thread, which says what
 * the test has it say. tests/CMakeLists.txt links the scene to every program whose source includes this header. */

#include "core/outbound.h"
#include "http/client/fetch.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#define OK_HELLO             "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 5\r\n\r\nhello"
#define REDIRECT(status, to) "HTTP/1.1 " status " X\r\nLocation: " to "\r\nContent-Length: 0\r\n\r\n"

enum { ANSWERS_MAX = 64, PEERS_MAX = 64, TEXT_MAX = 1 << 20 };

/* What the server does with the n-th request. */
struct scene_answer {
    const char *text; /* NULL: nothing */
    size_t len;       /* 0: strlen(text) */
    bool closes;      /* the connection, behind it */
    bool resets;      /* likewise, with a reset */
};

struct scene_peer {
    int fd; /* -1: none */
    size_t len;
    char *request;
};

struct fetch_scene {
    struct reactor *reactor;
    struct outbound outbound;
    int listener;
    uint16_t port;
    bool answers_early; /* when the head is there, whatever of the body is missing */
    struct scene_answer answers[ANSWERS_MAX];
    size_t answered; /* of them */
    size_t accepted;
    struct scene_peer peers[PEERS_MAX];
    char requests[ANSWERS_MAX][2048]; /* beginnings of those that came */

    struct fetch *fetch;
    int events[5];   /* how often each came */
    int close_at;    /* the event at which the owner closes, or -1 */
    int ends;        /* FETCH_DONE and FETCH_FAILED */
    bool reads;      /* a streamed response is read as it comes */
    size_t read;     /* bytes of it */
    char *content;   /* of it, TEXT_MAX */
    ssize_t read_rv; /* last result of fetch_read() */
    char url[256];
    char err[FETCH_FAILURE_MAX];
};

extern struct fetch_scene scene; /* there is one test at a time */

/* Before and after each test: nothing may be left. */
int scene_begin(void **state);
int scene_end(void **state);

/* Listen at another address; the former listener is closed by the test. */
void scene_listen(int family, const struct sockaddr *address, socklen_t len);

/* One look at what came: requests that are whole are answered. */
void scene_serve(void);

/* A URL of the server; valid until the next call. */
const char *scene_url(const char *path);

/* fetch_start() with this URL; turns of both sides, until the fetch has ended or for so many; until it has ended. */
enum fetch_kind scene_start(struct fetch_request *request, const char *url);
void scene_turn(int turns);
void scene_run(void);

/* All of it. Returns the response; NULL after a failure. */
const struct fetch_response *scene_get(struct fetch_request *request, const char *url);

/* A fetch that fails so, once it has begun; "%s" in why stands for the server. */
void scene_fails(struct fetch_request *request, const char *url, enum fetch_kind kind, const char *why);

/* Take what there is of a streamed response; close the fetch. */
void scene_read(void);
void scene_close(void);

#endif
