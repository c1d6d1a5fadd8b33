/* http/client/fetch.c over real sockets, with a server in the same thread that says what a test has it say. */

#include "core/destinations.h"
#include "core/gunzip.h"
#include "core/outbound.h"
#include "core/reactor.h"
#include "http/client/fetch.h"
#include "tests/lib/fake_mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

enum { ANSWERS_MAX = 64, PEERS_MAX = 64, TEXT_MAX = 1 << 20 };

/* What the server does with the n-th request. */
struct answer {
    const char *text; /* NULL: nothing */
    size_t len;       /* 0: strlen(text) */
    bool closes;      /* the connection, behind it */
    bool resets;      /* likewise, with a reset */
};

struct peer {
    int fd; /* -1: none */
    size_t len;
    char *request;
};

static struct scene {
    struct reactor *reactor;
    struct outbound outbound;
    int listener;
    uint16_t port;
    bool answers_early; /* when the head is there, whatever of the body is missing */
    struct answer answers[ANSWERS_MAX];
    size_t answered; /* of them */
    size_t accepted;
    struct peer peers[PEERS_MAX];
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
} scene;

/* The server. */

static void peer_close(struct peer *peer, bool resets)
{
    struct linger linger = {.l_onoff = 1};
    if (resets) {
        setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    }
    close(peer->fd);
    peer->fd = -1;
    peer->len = 0;
}

/* The length of the first request that is there as a whole, or 0. */
static size_t whole_request(const struct peer *peer)
{
    const char *end = memmem(peer->request, peer->len, "\r\n\r\n", 4);
    if (end == NULL) {
        return 0;
    }
    size_t head = (size_t)(end - peer->request) + 4;
    const char *length = memmem(peer->request, head, "Content-Length: ", 16);
    if (scene.answers_early) {
        return peer->len;
    }
    if (memmem(peer->request, head, "Transfer-Encoding: chunked", 26) != NULL) {
        const char *last = memmem(end, peer->len - (head - 4), "\r\n0\r\n\r\n", 7);
        return last == NULL ? 0 : (size_t)(last - peer->request) + 7;
    }
    size_t whole = head + (length != NULL ? strtoul(length + 16, NULL, 10) : 0);
    return whole <= peer->len ? whole : 0;
}

static void peer_answer(struct peer *peer)
{
    size_t len;
    while (peer->fd >= 0 && (len = whole_request(peer)) > 0) {
        assert_true(scene.answered < ANSWERS_MAX);
        const struct answer *answer = &scene.answers[scene.answered];
        size_t kept = len < sizeof scene.requests[0] ? len : sizeof scene.requests[0] - 1;
        memcpy(scene.requests[scene.answered], peer->request, kept);
        scene.requests[scene.answered++][kept] = '\0';
        memmove(peer->request, peer->request + len, peer->len - len);
        peer->len -= len;
        size_t size = answer->text == NULL ? 0 : answer->len > 0 ? answer->len : strlen(answer->text);
        for (size_t sent = 0; sent < size;) {
            ssize_t rv = send(peer->fd, answer->text + sent, size - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
            if (rv < 0) {
                break; /* the socket's buffer is larger than all that tests send, unless they want it to be full */
            }
            sent += (size_t)rv;
        }
        if (answer->closes || answer->resets) {
            peer_close(peer, answer->resets);
        }
    }
}

static void serve(void)
{
    int fd = accept4(scene.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        assert_true(scene.accepted < PEERS_MAX);
        scene.peers[scene.accepted].fd = fd;
        scene.peers[scene.accepted].request = malloc(TEXT_MAX);
        scene.accepted++;
    }
    for (size_t i = 0; i < scene.accepted; i++) {
        struct peer *peer = &scene.peers[i];
        ssize_t len = peer->fd < 0 ? -1 : recv(peer->fd, peer->request + peer->len, TEXT_MAX - peer->len, 0);
        if (len == 0) {
            peer_close(peer, false);
        } else if (len > 0) {
            peer->len += (size_t)len;
            peer_answer(peer);
        }
    }
}

/* The client. */

static void read_all(void)
{
    const char *data;
    while ((scene.read_rv = fetch_read(scene.fetch, &data)) > 0) {
        assert_true(scene.read + (size_t)scene.read_rv <= TEXT_MAX);
        memcpy(scene.content + scene.read, data, (size_t)scene.read_rv);
        scene.read += (size_t)scene.read_rv;
    }
}

static void on_event(struct fetch *fetch, enum fetch_event event, void *arg)
{
    assert_ptr_equal(arg, &scene);
    assert_ptr_equal(fetch, scene.fetch);
    assert_int_equal(scene.ends, 0);
    scene.events[event]++;
    if ((int)event == scene.close_at) {
        fetch_close(scene.fetch);
        scene.fetch = NULL;
        scene.ends++;
        return;
    }
    if (scene.reads && (event == FETCH_HEAD || event == FETCH_READABLE || event == FETCH_DONE)) {
        read_all();
    }
    scene.ends += event == FETCH_DONE || event == FETCH_FAILED;
}

static void listen_at(int family, const struct sockaddr *address, socklen_t len)
{
    scene.listener = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(scene.listener, address, len), 0);
    assert_int_equal(listen(scene.listener, 32), 0);
}

static int set_up(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;

    (void)state;
    memset(&scene, 0, sizeof scene);
    scene.close_at = -1;
    scene.content = malloc(TEXT_MAX);
    listen_at(AF_INET, (struct sockaddr *)&address, sizeof address);
    assert_int_equal(getsockname(scene.listener, (struct sockaddr *)&address, &len), 0);
    scene.port = ntohs(address.sin_port);
    assert_int_equal(reactor_create(&scene.reactor, NULL), 0);
    outbound_init(&scene.outbound, scene.reactor, NULL, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_mem_fail_after(0, false);
    fetch_close(scene.fetch);
    outbound_done(&scene.outbound);
    reactor_destroy(scene.reactor);
    for (size_t i = 0; i < scene.accepted; i++) {
        if (scene.peers[i].fd >= 0) {
            close(scene.peers[i].fd);
        }
        free(scene.peers[i].request);
    }
    close(scene.listener);
    free(scene.content);
    return fake_mem_live() == 0 ? 0 : -1;
}

static const char *url_of(const char *path)
{
    snprintf(scene.url, sizeof scene.url, "http://127.0.0.1:%u%s", scene.port, path);
    return scene.url;
}

static enum fetch_kind start(struct fetch_request *request, const char *url)
{
    request->url = url;
    request->url_len = strlen(url);
    scene.ends = 0;
    scene.read = 0;
    memset(scene.events, 0, sizeof scene.events);
    return fetch_start(&scene.fetch, &scene.outbound, request, on_event, &scene, scene.err, sizeof scene.err);
}

/* Turn until the fetch has ended, or for so many turns. */
static void turn(int turns)
{
    for (int i = 0; i < turns && scene.ends == 0; i++) {
        serve();
        assert_true(reactor_run_once(scene.reactor, i < turns / 2 ? 0 : 1) >= 0);
    }
}

static void run_to_end(void)
{
    turn(4000);
    assert_int_equal(scene.ends, 1);
}

static const struct fetch_response *get(struct fetch_request *request, const char *url)
{
    enum fetch_kind kind = start(request, url);
    if (kind != FETCH_SUCCESS) {
        fail_msg("%s: %s", fetch_kind_name(kind), scene.err);
    }
    run_to_end();
    if (scene.fetch != NULL && scene.events[FETCH_FAILED] > 0) {
        assert_null(request->streams_response ? NULL : fetch_response(scene.fetch));
    }
    return scene.fetch == NULL ? NULL : fetch_response(scene.fetch);
}

/* A fetch that fails so, once it has begun. */
static void assert_fails(struct fetch_request *request, const char *url, enum fetch_kind kind, const char *why)
{
    char wanted[FETCH_FAILURE_MAX];
    char peer[64];
    get(request, url);
    snprintf(peer, sizeof peer, "127.0.0.1:%u", scene.port);
    const char *hole = strstr(why, "%s"); /* for the server */
    const char *rest = hole != NULL ? hole + 2 : why + strlen(why);
    snprintf(wanted, sizeof wanted, "%.*s%s%s", (int)(hole != NULL ? hole - why : rest - why), why,
             hole != NULL ? peer : "", rest);
    assert_string_equal(fetch_failure(scene.fetch), wanted);
    assert_int_equal(fetch_failure_kind(scene.fetch), kind);
    assert_int_equal(scene.events[FETCH_FAILED], 1);
    fetch_close(scene.fetch);
    scene.fetch = NULL;
}

static void done(void)
{
    fetch_close(scene.fetch);
    scene.fetch = NULL;
}

#define OK_HELLO "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 5\r\n\r\nhello"

static void a_response_is_collected(void **state)
{
    char wanted[256];
    (void)state;
    scene.answers[0].text = OK_HELLO;
    const struct fetch_response *response = get(&(struct fetch_request){0}, url_of("/a b?c#d"));
    snprintf(wanted, sizeof wanted,
             "GET /a%%20b?c HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nUser-Agent: evserve\r\nAccept: */*\r\n%s\r\n", scene.port,
             gunzip_is_there() ? "Accept-Encoding: gzip\r\n" : "");
    assert_string_equal(scene.requests[0], wanted);
    assert_int_equal(response->status, 200);
    assert_int_equal(response->minor_version, 1);
    assert_string_equal(response->reason, "OK");
    assert_string_equal(response->body, "hello");
    assert_int_equal(response->body_len, 5);
    assert_int_equal(response->field_count, 2);
    assert_string_equal(response->fields[0].name, "Server");
    assert_string_equal(response->fields[0].value, "x");
    assert_string_equal(response->url, url_of("/a%20b?c"));
    assert_int_equal(scene.events[FETCH_HEAD] + scene.events[FETCH_READABLE], 0);
    done();
}

static void a_connection_is_kept_for_the_next_request(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        scene.answers[i].text = OK_HELLO;
        const struct fetch_response *response = get(&(struct fetch_request){0}, url_of("/"));
        assert_string_equal(response->body, "hello");
        assert_int_equal(response->is_reused, i > 0);
        done();
    }
    assert_int_equal(scene.accepted, 1);
    assert_int_equal(scene.outbound.kept.count, 1);

    scene.answers[3].text = OK_HELLO;
    get(&(struct fetch_request){.closes = true}, url_of("/"));
    assert_non_null(strstr(scene.requests[3], "\r\nConnection: close\r\n"));
    done();
    assert_int_equal(scene.accepted, 2);
    assert_int_equal(scene.outbound.kept.count, 1);
}

static void a_connection_is_not_kept_if_either_side_closes_or_says_more(void **state)
{
    static const char *const texts[] = {
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nmore",
        "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=0\r\nContent-Length: 4\r\n\r\nmoremore",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        scene.answers[i].text = texts[i];
        assert_non_null(get(&(struct fetch_request){0}, url_of("/")));
        done();
        assert_int_equal(scene.outbound.kept.count, 0);
    }
}

static void fields_and_bodies_are_sent(void **state)
{
    static const struct fetch_field fields[] = {
        {"Host", "example.org", 4, 11}, {"X-A", "1", 3, 1}, {"x-a", "", 3, 0}, {"user-agent", "me", 10, 2},
        {"ACCEPT", "text/html", 6, 9},
    };
    (void)state;
    scene.answers[0].text = scene.answers[1].text = scene.answers[2].text = OK_HELLO;
    struct fetch_request request = {.method = "POST",
                                    .method_len = 4,
                                    .keeps_coding = true,
                                    .fields = fields,
                                    .field_count = sizeof fields / sizeof fields[0],
                                    .body = "some\0text",
                                    .body_len = 9};
    get(&request, url_of("/"));
    assert_string_equal(scene.requests[0],
                        "POST / HTTP/1.1\r\nContent-Length: 9\r\nHost: example.org\r\nX-A: 1\r\nx-a: "
                        "\r\nuser-agent: me\r\nACCEPT: text/html\r\n\r\nsome");
    done();
    request = (struct fetch_request){.method = "PUT", .method_len = 3};
    get(&request, url_of("/"));
    assert_non_null(strstr(scene.requests[1], "\r\nContent-Length: 0\r\n"));
    done();
    request = (struct fetch_request){.method = "DELETE", .method_len = 6};
    get(&request, url_of("/"));
    assert_null(strstr(scene.requests[2], "Content-Length"));
    done();
}

static void a_large_body_is_sent_from_where_it_is(void **state)
{
    static char body[300000];
    (void)state;
    memset(body, 'x', sizeof body);
    scene.answers[0].text = OK_HELLO;
    struct fetch_request request = {.method = "PUT", .method_len = 3, .body = body, .body_len = sizeof body};
    assert_non_null(get(&request, url_of("/")));
    assert_non_null(strstr(scene.requests[0], "Content-Length: 300000\r\n"));
    assert_int_equal(scene.outbound.kept.count, 1);
}

static void a_large_response_is_collected(void **state)
{
    static char text[600100];
    int way;
    (void)state;
    for (way = 0; way < 2; way++) {
        size_t head = (size_t)sprintf(text, "HTTP/1.1 200 OK\r\n%s\r\n", way == 0 ? "Content-Length: 600000\r\n" : "");
        for (size_t i = 0; i < 600000; i++) {
            text[head + i] = (char)('a' + i % 26);
        }
        scene.answers[way] = (struct answer){.text = text, .len = head + 600000, .closes = way == 1};
        const struct fetch_response *response = get(&(struct fetch_request){0}, url_of("/"));
        assert_int_equal(response->body_len, 600000);
        assert_memory_equal(response->body, text + head, 600000);
        assert_int_equal(response->body[600000], '\0');
        done();
    }
}

static void a_request_that_cannot_be_one_is_refused(void **state)
{
    static const struct fetch_field bad[] = {
        {"A B", "", 3, 0},
        {"", "", 0, 0},
        {"A", "b\r\nC: d", 1, 7},
        {"A", "\0", 1, 1},
        {"Content-length", "5", 14, 1},
        {"Transfer-Encoding", "chunked", 17, 7},
        {"connection", "close", 10, 5},
        {"TE", "trailers", 2, 8},
        {"Upgrade", "x", 7, 1},
        {"Expect", "100-continue", 6, 12},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct fetch_request request = {.fields = &bad[i], .field_count = 1};
        assert_int_equal(start(&request, url_of("/")), FETCH_BAD_REQUEST);
        assert_non_null(strstr(scene.err, "the header field"));
    }
    static const char *const methods[] = {"", "GET /", "CONNECT", "get", "Post", "A234567890123456789012345678901 "};
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        struct fetch_request request = {.method = methods[i], .method_len = strlen(methods[i])};
        assert_int_equal(start(&request, url_of("/")), FETCH_BAD_REQUEST);
        assert_non_null(strstr(scene.err, "the method"));
    }
    struct fetch_request requests[] = {
        {.redirects = FETCH_REDIRECTS_MAX + 1},
        {.redirects = -2},
        {.timeout_ms = FETCH_TIMEOUT_MAX_MS + 1},
        {.cert_file = "x"},
        {.key_file = "x"},
        {.max_head = FETCH_RESPONSE_HEAD_MAX + 1},
        {.streams_body = true, .body = "x"},
        {.streams_body = true, .body_length = -2},
        {.unix_path = "a\0b", .unix_path_len = 3},
        {.field_count = FETCH_REQUEST_FIELDS_MAX + 1},
    };
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        assert_int_equal(start(&requests[i], url_of("/")), FETCH_BAD_REQUEST);
    }
    assert_int_equal(start(&(struct fetch_request){0}, "example.org"), FETCH_BAD_REQUEST);
    assert_string_equal(scene.err, "the URL \"example.org\" does not begin with http://, https:// or http+unix:");
    assert_int_equal(start(&(struct fetch_request){0}, "http://a\r\nb/"), FETCH_BAD_REQUEST);
    assert_string_equal(scene.err, "the URL \"http://a\\x0d\\nb/\" has a host with a character that no host has");
    assert_int_equal(scene.accepted, 0);
    assert_int_equal(fake_mem_live() > 0, true);
}

static void what_the_server_does_wrong_is_said(void **state)
{
    struct fetch_request request = {0};
    (void)state;
    scene.answers[0] = (struct answer){.text = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello", .closes = true};
    assert_fails(&request, url_of("/"), FETCH_CUT, "%s closed the connection in the middle of the response's content");
    scene.answers[1].closes = true;
    assert_fails(&request, url_of("/"), FETCH_CUT, "%s closed the connection before any byte of the response");
    scene.answers[2].resets = true;
    assert_fails(&request, url_of("/"), FETCH_CUT, "the connection to %s broke: Connection reset by peer");
    scene.answers[3].text = "SSH-2.0-OpenSSH_9\r\n";
    assert_fails(&request, url_of("/"), FETCH_MALFORMED,
                 "malformed response from %s: what came does not begin with HTTP/");
    scene.answers[4].text = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_fails(&request, url_of("/"), FETCH_MALFORMED,
                 "malformed response from %s: both Transfer-Encoding and Content-Length");
    scene.answers[5].text = "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n";
    request.max_body = 10;
    assert_fails(&request, url_of("/"), FETCH_TOO_LARGE, "the body from %s has more than 10 bytes (max_body)");
    scene.answers[6].text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n";
    assert_fails(&request, url_of("/"), FETCH_TOO_LARGE, "the body from %s has more than 10 bytes (max_body)");
    scene.answers[7] = (struct answer){.text = "HTTP/1.1 200 OK\r\n\r\nhello worl", .closes = true};
    assert_int_equal(get(&request, url_of("/"))->body_len, 10);
    done();
    scene.answers[8].text = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    request.max_head = 30;
    assert_fails(&request, url_of("/"), FETCH_TOO_LARGE, "response from %s: header fields too long (max_head)");
    assert_int_equal(scene.outbound.kept.count, 0);
}

static void nobody_there_is_said(void **state)
{
    (void)state;
    close(scene.listener);
    assert_fails(&(struct fetch_request){0}, url_of("/"), FETCH_NOT_REACHED,
                 "cannot connect to %s: Connection refused");
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    listen_at(AF_INET, (struct sockaddr *)&address, sizeof address);
    assert_fails(&(struct fetch_request){0}, "http+unix:/nowhere/x:/", FETCH_NOT_REACHED,
                 "cannot connect to /nowhere/x: No such file or directory");
}

static void silence_has_an_end(void **state)
{
    struct fetch_request request = {.timeout_ms = 20};
    (void)state;
    assert_fails(&request, url_of("/"), FETCH_TIMED_OUT, "no response from %s within 20 ms (timeout)");
    scene.answers[1].text = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello";
    assert_fails(&request, url_of("/"), FETCH_TIMED_OUT, "%s did not complete its response within 20 ms (timeout)");
}

#define REDIRECT(status, to) "HTTP/1.1 " status " X\r\nLocation: " to "\r\nContent-Length: 0\r\n\r\n"

static void redirects_are_followed(void **state)
{
    static const struct {
        const char *method, *text, *wanted;
        bool has_body;
    } rows[] = {
        {"GET", REDIRECT("301", "/b"), "GET /b ", false},     {"POST", REDIRECT("301", "/b"), "GET /b ", false},
        {"POST", REDIRECT("302", "/b"), "GET /b ", false},    {"PUT", REDIRECT("302", "/b"), "PUT /b ", true},
        {"POST", REDIRECT("303", "/b"), "GET /b ", false},    {"PUT", REDIRECT("303", "/b"), "GET /b ", false},
        {"HEAD", REDIRECT("303", "/b"), "HEAD /b ", false},   {"POST", REDIRECT("307", "../b"), "POST /b ", true},
        {"POST", REDIRECT("308", "?c"), "POST /x/?c ", true},
    };
    static const struct fetch_field fields[] = {{"Content-Type", "text/x", 12, 6}, {"Authorization", "y", 13, 1}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bool is_head = strcmp(rows[i].method, "HEAD") == 0, is_get = strcmp(rows[i].method, "GET") == 0;
        struct fetch_request request = {.method = rows[i].method, .method_len = strlen(rows[i].method)};
        request.fields = fields;
        request.field_count = 2;
        request.body = is_head || is_get ? NULL : "body";
        request.body_len = is_head || is_get ? 0 : 4;
        scene.answered = 0;
        scene.answers[0].text = rows[i].text;
        scene.answers[1].text = is_head ? "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" : OK_HELLO;
        const struct fetch_response *response = get(&request, url_of("/x/"));
        assert_int_equal(response->redirects, 1);
        assert_int_equal(response->status, 200);
        assert_memory_equal(scene.requests[1], rows[i].wanted, strlen(rows[i].wanted));
        assert_int_equal(strstr(scene.requests[1], "\r\n\r\nbody") != NULL, rows[i].has_body);
        assert_int_equal(strstr(scene.requests[1], "Content-Type") != NULL, rows[i].has_body || is_get || is_head);
        assert_non_null(strstr(scene.requests[1], "Authorization: y"));
        done();
    }
    assert_int_equal(scene.accepted, 1);
}

static void credentials_stay_with_their_origin(void **state)
{
    static const struct fetch_field fields[] = {{"Authorization", "y", 13, 1},
                                                {"cookie", "a=b", 6, 3},
                                                {"Host", "h", 4, 1},
                                                {"X", "z", 1, 1}};
    struct fetch_request request = {.fields = fields, .field_count = 4};
    char text[256], host[64];
    (void)state;
    snprintf(text, sizeof text, "HTTP/1.1 302 X\r\nLocation: http://127.0.0.2:%u/b\r\nContent-Length: 0\r\n\r\n",
             scene.port);
    close(scene.listener);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(scene.port)};
    listen_at(AF_INET, (struct sockaddr *)&address, sizeof address);
    scene.answers[0].text = text;
    scene.answers[1].text = OK_HELLO;
    assert_int_equal(get(&request, url_of("/a"))->status, 200);
    snprintf(host, sizeof host, "\r\nHost: 127.0.0.2:%u\r\n", scene.port);
    assert_non_null(strstr(scene.requests[0], "Authorization: y\r\ncookie: a=b\r\nHost: h\r\n"));
    assert_null(strstr(scene.requests[1], "Authorization"));
    assert_null(strstr(scene.requests[1], "cookie"));
    assert_non_null(strstr(scene.requests[1], host));
    assert_non_null(strstr(scene.requests[1], "\r\nX: z\r\n"));
    assert_int_equal(scene.accepted, 2);
}

static void redirects_have_limits(void **state)
{
    struct fetch_request request = {.redirects = 2};
    (void)state;
    for (int i = 0; i < 12; i++) {
        scene.answers[i].text = REDIRECT("302", "/again");
    }
    assert_fails(&request, url_of("/"), FETCH_REDIRECTED, "%s redirects again, after 2 redirects");
    request.redirects = -1;
    assert_int_equal(get(&request, url_of("/"))->status, 302);
    done();
    scene.answers[4].text = REDIRECT("302", "ftp://x/");
    request.redirects = 0;
    assert_fails(&request, url_of("/"), FETCH_REDIRECTED,
                 "%s redirects to ftp://x/, which does not begin with http://, https:// or http+unix:");
    scene.answers[5].text = REDIRECT("302", "http+unix:/run/docker.sock:/");
    assert_fails(&request, url_of("/"), FETCH_REDIRECTED,
                 "%s redirects to http+unix:/run/docker.sock:/, which leads to or from a unix socket");
    scene.answers[6].text = "HTTP/1.1 302 X\r\nContent-Length: 0\r\n\r\n";
    assert_int_equal(get(&request, url_of("/"))->status, 302);
    done();
    scene.answers[7].text = REDIRECT("304", "/x");
    assert_int_equal(get(&request, url_of("/"))->status, 304);
    done();
    /* One whose content does not come at once is left. */
    scene.answers[8].text = "HTTP/1.1 302 X\r\nLocation: /x\r\nContent-Length: 500\r\n\r\n";
    scene.answers[9].text = OK_HELLO;
    assert_int_equal(get(&request, url_of("/"))->status, 200);
}

static void a_kept_connection_that_was_closed_is_replaced(void **state)
{
    (void)state;
    for (int resets = 0; resets < 2; resets++) {
        size_t first = scene.answered;
        size_t before = scene.accepted;
        scene.answers[first].text = OK_HELLO;
        scene.answers[first + 1] = (struct answer){.closes = resets == 0, .resets = resets == 1};
        scene.answers[first + 2].text = OK_HELLO;
        get(&(struct fetch_request){.closes = false}, url_of("/"));
        done();
        const struct fetch_response *response = get(&(struct fetch_request){0}, url_of("/"));
        assert_string_equal(response->body, "hello");
        assert_false(response->is_reused);
        done();
        assert_int_equal(scene.accepted, before + (resets == 0 ? 2 : 1));
        assert_int_equal(scene.answered, first + 3);
    }
    /* What may have had an effect is not repeated. */
    size_t first = scene.answered;
    scene.answers[first].closes = true;
    struct fetch_request post = {.method = "POST", .method_len = 4};
    assert_fails(&post, url_of("/"), FETCH_CUT, "%s closed the connection before any byte of the response");
    assert_int_equal(scene.answered, first + 1);
}

static void a_body_is_streamed_in_chunks(void **state)
{
    struct fetch_request request = {.method = "POST", .method_len = 4, .streams_body = true, .body_length = -1};
    (void)state;
    scene.answers[0].text = OK_HELLO;
    assert_int_equal(start(&request, url_of("/")), FETCH_SUCCESS);
    assert_int_equal(fetch_write(scene.fetch, "hello ", 6), 0);
    assert_int_equal(fetch_write(scene.fetch, "", 0), 0);
    turn(20);
    assert_int_equal(fetch_write(scene.fetch, "wonderful, wonderful world", 26), 0);
    assert_int_equal(fetch_write_end(scene.fetch), 0);
    assert_int_equal(fetch_write(scene.fetch, "x", 1), -EPIPE);
    run_to_end();
    assert_int_equal(scene.events[FETCH_DONE], 1);
    assert_non_null(strstr(scene.requests[0], "Transfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n1a\r\nwonderful, "
                                              "wonderful world\r\n0\r\n\r\n"));
    assert_int_equal(scene.outbound.kept.count, 1);
}

static void a_body_is_streamed_by_length(void **state)
{
    struct fetch_request request = {.method = "PUT", .method_len = 3, .streams_body = true, .body_length = 11};
    (void)state;
    scene.answers[0].text = OK_HELLO;
    assert_int_equal(start(&request, url_of("/")), FETCH_SUCCESS);
    assert_int_equal(fetch_write(scene.fetch, "hello world!", 12), -EMSGSIZE);
    assert_int_equal(fetch_write(scene.fetch, "hello ", 6), 0);
    assert_int_equal(fetch_write_end(scene.fetch), -EMSGSIZE);
    assert_int_equal(fetch_write(scene.fetch, "world", 5), 0);
    assert_int_equal(fetch_write_end(scene.fetch), 0);
    run_to_end();
    assert_non_null(strstr(scene.requests[0], "Content-Length: 11\r\n"));
    assert_non_null(strstr(scene.requests[0], "\r\n\r\nhello world"));
}

static void a_slow_server_slows_the_writer_down(void **state)
{
    static char piece[40000];
    struct fetch_request request = {.method = "PUT", .method_len = 3, .streams_body = true, .body_length = -1};
    size_t written = 0;
    int rv = 0;
    (void)state;
    memset(piece, 'x', sizeof piece);
    scene.answers[0].text = OK_HELLO;
    assert_int_equal(start(&request, url_of("/")), FETCH_SUCCESS);
    for (int i = 0; i < 2000 && rv == 0; i++) { /* nobody reads */
        rv = fetch_write(scene.fetch, piece, sizeof piece);
        written += rv == 0 ? sizeof piece : 0;
        reactor_run_once(scene.reactor, 0);
    }
    assert_int_equal(rv, -EAGAIN);
    assert_int_equal(scene.events[FETCH_WRITABLE], 0);
    scene.answers_early = true; /* the server does not look at the body's end */
    while (scene.events[FETCH_WRITABLE] == 0) {
        turn(1);
    }
    assert_int_equal(scene.events[FETCH_WRITABLE], 1);
    run_to_end();
    assert_int_equal(scene.events[FETCH_DONE], 1);
    assert_int_equal(fetch_write(scene.fetch, "x", 1), -EPIPE);
    assert_int_equal(fetch_write_end(scene.fetch), -EPIPE);
    assert_int_equal(scene.outbound.kept.count, 0); /* the request was not complete */
}

static void a_response_is_streamed(void **state)
{
    static char text[300100];
    struct fetch_request request = {.streams_response = true};
    (void)state;
    size_t head = (size_t)sprintf(text, "HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n");
    for (size_t i = 0; i < 300000; i++) {
        text[head + i] = (char)('a' + i % 26);
    }
    scene.answers[0] = (struct answer){.text = text, .len = head + 300000};
    scene.reads = true;
    assert_int_equal(start(&request, url_of("/")), FETCH_SUCCESS);
    assert_null(fetch_response(scene.fetch));
    run_to_end();
    assert_int_equal(scene.events[FETCH_HEAD], 1);
    assert_true(scene.events[FETCH_READABLE] > 0);
    assert_int_equal(scene.events[FETCH_DONE], 1);
    assert_int_equal(scene.read, 300000);
    assert_memory_equal(scene.content, text + head, 300000);
    assert_int_equal(scene.read_rv, 0);
    assert_null(fetch_response(scene.fetch)->body);
    assert_int_equal(fetch_response(scene.fetch)->status, 200);
    assert_int_equal(scene.outbound.kept.count, 1);
}

static void a_slow_reader_slows_the_server_down(void **state)
{
    static char text[TEXT_MAX - 200];
    struct fetch_request request = {.streams_response = true, .timeout_ms = 30};
    const char *data;
    (void)state;
    size_t head = (size_t)sprintf(text, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n", 1000000);
    memset(text + head, 'x', 1000000);
    memcpy(text + head + 1000000, "\r\n0\r\n\r\n", 7);
    scene.answers[0] = (struct answer){.text = text, .len = head + 1000007};
    assert_int_equal(start(&request, url_of("/")), FETCH_SUCCESS);
    turn(200);
    usleep(40000); /* the time does not run while the reader has something to read */
    turn(200);
    assert_int_equal(scene.ends, 0);
    assert_int_equal(scene.events[FETCH_HEAD], 1);
    assert_int_equal(scene.events[FETCH_READABLE], 0);
    size_t all = 0;
    for (int i = 0; i < 3000; i++) {
        ssize_t len = fetch_read(scene.fetch, &data);
        if (len == 0) {
            break;
        }
        assert_true(len == -EAGAIN || (len > 0 && len < 100000));
        all += len > 0 ? (size_t)len : 0;
        serve();
        reactor_run_once(scene.reactor, 0);
    }
    assert_int_equal(all, 1000000);
    assert_int_equal(scene.events[FETCH_DONE], 1);
}

static void a_streamed_response_that_fails_is_read_to_where_it_came(void **state)
{
    struct fetch_request request = {.streams_response = true};
    (void)state;
    scene.answers[0] = (struct answer){.text = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello", .closes = true};
    assert_int_equal(start(&request, url_of("/")), FETCH_SUCCESS);
    run_to_end();
    assert_int_equal(scene.events[FETCH_HEAD], 1);
    assert_int_equal(scene.events[FETCH_FAILED], 1);
    read_all();
    assert_int_equal(scene.read, 5);
    assert_int_equal(scene.read_rv, -EIO);
    assert_int_equal(fetch_failure_kind(scene.fetch), FETCH_CUT);
    assert_int_equal(fetch_response(scene.fetch)->status, 200);
    done();
    /* Silence in the middle. */
    scene.answers[1].text = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello";
    request.timeout_ms = 20;
    scene.reads = true;
    assert_int_equal(start(&request, url_of("/")), FETCH_SUCCESS);
    run_to_end();
    assert_int_equal(scene.read, 5);
    assert_int_equal(fetch_failure_kind(scene.fetch), FETCH_TIMED_OUT);
}

static void an_owner_may_close_at_any_time(void **state)
{
    (void)state;
    for (int event = FETCH_HEAD; event <= FETCH_DONE; event++) {
        struct fetch_request request = {.streams_response = event != FETCH_DONE};
        scene.close_at = event;
        scene.reads = true;
        scene.answers[scene.answered].text = OK_HELLO;
        if (event != FETCH_WRITABLE && event != FETCH_READABLE) {
            get(&request, url_of("/"));
            assert_null(scene.fetch);
        }
    }
    for (int turns = 0; turns < 6; turns++) {
        size_t answered = scene.answered;
        scene.close_at = -1;
        scene.answers[answered].text = OK_HELLO;
        assert_int_equal(start(&(struct fetch_request){0}, url_of("/")), FETCH_SUCCESS);
        turn(turns);
        done();
        for (int i = 0; i < 5; i++) {
            serve();
            reactor_run_once(scene.reactor, 0);
        }
    }
    fetch_close(NULL);
}

/* "hello, hello, hello\n", and 300,000 times "x". */
static const char gzip_hello[] =
    "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xcb\x48\xcd\xc9\xc9\xd7\x51\xc8\x40\xa2\xb8\x00\xe7\x42"
    "\x6e\x52\x14\x00\x00\x00";
static const char gzip_many[] =
    "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xed\xc1\x01\x0d\x00\x00\x00\xc2\xa0\xda\x8f\x6f\x0f\x07"
    "\x14\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    "\x00\x00\x00\xfc\x18\xcd\x2a\xc8\xb3\xe0\x93\x04\x00";

/* A response of this content, in chunks of 10 bytes or by its length. */
static void answer_in_gzip(const char *content, size_t len, bool in_chunks)
{
    static char text[8192];
    size_t at = (size_t)sprintf(text, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n");
    if (!in_chunks) {
        at += (size_t)sprintf(text + at, "Content-Length: %zu\r\n\r\n", len);
        memcpy(text + at, content, len);
        at += len;
    } else {
        at += (size_t)sprintf(text + at, "Transfer-Encoding: chunked\r\n\r\n");
        for (size_t i = 0; i < len; i += 10) {
            size_t piece = len - i < 10 ? len - i : 10;
            at += (size_t)sprintf(text + at, "%zx\r\n", piece);
            memcpy(text + at, content + i, piece);
            at += piece + (size_t)sprintf(text + at + piece, "\r\n");
        }
        at += (size_t)sprintf(text + at, "0\r\n\r\n");
    }
    scene.answers[scene.answered] = (struct answer){.text = text, .len = at};
}

static void gzip_is_decoded(void **state)
{
    struct fetch_request request = {0};
    (void)state;
    if (!gunzip_is_there()) {
        skip();
    }
    for (int in_chunks = 0; in_chunks < 2; in_chunks++) {
        answer_in_gzip(gzip_hello, sizeof gzip_hello - 1, in_chunks);
        const struct fetch_response *response = get(&request, url_of("/"));
        assert_string_equal(response->body, "hello, hello, hello\n");
        assert_true(response->is_decoded);
        assert_non_null(strstr(scene.requests[scene.answered - 1], "\r\nAccept-Encoding: gzip\r\n"));
        done();
        answer_in_gzip(gzip_many, sizeof gzip_many - 1, in_chunks);
        assert_int_equal(get(&request, url_of("/"))->body_len, 300000);
        done();
    }
    request.max_body = 299999;
    answer_in_gzip(gzip_many, sizeof gzip_many - 1, false);
    assert_fails(&request, url_of("/"), FETCH_TOO_LARGE, "the body from %s has more than 299999 bytes (max_body)");
    request.max_body = 0;
    answer_in_gzip(gzip_many, sizeof gzip_many - 2, false);
    assert_fails(&request, url_of("/"), FETCH_MALFORMED,
                 "malformed response from %s: its content is not in gzip, or damaged");
    answer_in_gzip("plain", 5, false);
    assert_fails(&request, url_of("/"), FETCH_MALFORMED,
                 "malformed response from %s: its content is not in gzip, or damaged");
    request.keeps_coding = true;
    answer_in_gzip(gzip_hello, sizeof gzip_hello - 1, false);
    const struct fetch_response *response = get(&request, url_of("/"));
    assert_int_equal(response->body_len, sizeof gzip_hello - 1);
    assert_false(response->is_decoded);
    assert_null(strstr(scene.requests[scene.answered - 1], "Accept-Encoding"));
}

static void gzip_that_makes_much_of_little_takes_several_turns(void **state)
{
    enum { TIMES = 12 };
    static char members[TIMES * sizeof gzip_many];
    size_t len = sizeof gzip_many - 1;
    (void)state;
    if (!gunzip_is_there()) {
        skip();
    }
    for (size_t i = 0; i < TIMES; i++) {
        memcpy(members + i * len, gzip_many, len);
    }
    for (int in_chunks = 0; in_chunks < 2; in_chunks++) {
        answer_in_gzip(members, TIMES * len, in_chunks);
        assert_int_equal(start(&(struct fetch_request){0}, url_of("/")), FETCH_SUCCESS);
        uint64_t tasks = reactor_counts(scene.reactor).tasks;
        run_to_end();
        assert_true(reactor_counts(scene.reactor).tasks - tasks >= 2);
        const struct fetch_response *response = fetch_response(scene.fetch);
        assert_int_equal(response->body_len, TIMES * 300000);
        for (size_t i = 0; i < response->body_len; i++) {
            assert_int_equal(response->body[i], 'x');
        }
        done();
        assert_int_equal(scene.outbound.kept.count, 1);
    }
    /* The end of the connection is behind them. */
    answer_in_gzip(members, TIMES * len, false);
    scene.answers[scene.answered].len -= 1;
    scene.answers[scene.answered].closes = true;
    assert_fails(&(struct fetch_request){0}, url_of("/"), FETCH_CUT,
                 "%s closed the connection in the middle of the response's content");
    assert_int_equal(scene.accepted, 1);
}

static void streamed_gzip_is_decoded_as_it_is_read(void **state)
{
    struct fetch_request request = {.streams_response = true};
    (void)state;
    if (!gunzip_is_there()) {
        skip();
    }
    scene.reads = true;
    for (int in_chunks = 0; in_chunks < 2; in_chunks++) {
        answer_in_gzip(gzip_many, sizeof gzip_many - 1, in_chunks);
        assert_int_equal(get(&request, url_of("/"))->is_decoded, true);
        assert_int_equal(scene.read, 300000);
        assert_int_equal(scene.read_rv, 0);
        done();
    }
    answer_in_gzip(gzip_many, sizeof gzip_many - 2, false);
    get(&request, url_of("/"));
    assert_int_equal(scene.read_rv, -EIO);
    assert_int_equal(fetch_failure_kind(scene.fetch), FETCH_MALFORMED);
    done();
    answer_in_gzip("plain", 5, true);
    get(&request, url_of("/"));
    assert_int_equal(scene.read_rv, -EIO);
    done();
    request.max_body = 100000;
    answer_in_gzip(gzip_many, sizeof gzip_many - 1, false);
    get(&request, url_of("/"));
    assert_int_equal(scene.read_rv, -EIO);
    assert_int_equal(fetch_failure_kind(scene.fetch), FETCH_TOO_LARGE);
    assert_true(scene.read <= 100000);
}

static void a_unix_socket_is_reached(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char name[64], url[128];
    (void)state;
    int len = snprintf(name, sizeof name, "@evserve-fetch-%d", (int)getpid());
    memcpy(address.sun_path + 1, name + 1, (size_t)len - 1);
    close(scene.listener);
    listen_at(AF_UNIX, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)len));
    scene.answers[0].text = REDIRECT("302", "b");
    scene.answers[1].text = scene.answers[2].text = OK_HELLO;
    snprintf(url, sizeof url, "http+unix:%s:/a", name);
    assert_int_equal(get(&(struct fetch_request){0}, url)->status, 200);
    assert_memory_equal(scene.requests[1], "GET /b HTTP/1.1\r\nHost: localhost\r\n", 34);
    done();
    struct fetch_request request = {.unix_path = name, .unix_path_len = (size_t)len};
    assert_int_equal(get(&request, "http://docker:99/v1")->status, 200);
    assert_memory_equal(scene.requests[2], "GET /v1 HTTP/1.1\r\nHost: docker:99\r\n", 35);
    done();
    scene.answers[3].text = REDIRECT("302", "http://127.0.0.1/");
    assert_int_equal(start(&request, "http://docker:99/v1"), FETCH_SUCCESS);
    run_to_end();
    assert_int_equal(fetch_failure_kind(scene.fetch), FETCH_REDIRECTED);
}

static void too_many_connections_are_refused(void **state)
{
    struct fetch *fetches[3] = {0};
    struct fetch_request request = {0};
    (void)state;
    scene.outbound.links.max = 2;
    for (int i = 0; i < 3; i++) {
        enum fetch_kind kind = start(&request, url_of("/"));
        assert_int_equal(kind, i < 2 ? FETCH_SUCCESS : FETCH_BUSY);
        fetches[i] = i < 2 ? scene.fetch : NULL;
    }
    assert_non_null(strstr(scene.err, "2 connections to other servers are open"));
    fetch_close(fetches[0]);
    fetch_close(fetches[1]);
    scene.fetch = NULL;
}

static void denied_servers_are_named_so(void **state)
{
    struct destinations *denied;
    enum fetch_kind kind;
    (void)state;
    assert_int_equal(destinations_parse_denied(&denied, "private", scene.err, sizeof scene.err), 0);
    scene.outbound.links.policy.denied = denied;
    const char *urls[] = {url_of("/"), "http+unix:/x:/", "http://localhost/"};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        kind = start(&(struct fetch_request){0}, urls[i]);
        if (kind == FETCH_SUCCESS) {
            run_to_end();
            kind = fetch_failure_kind(scene.fetch);
            snprintf(scene.err, sizeof scene.err, "%s", fetch_failure(scene.fetch));
        }
        assert_int_equal(kind, FETCH_DENIED);
        assert_non_null(strstr(scene.err, "deny_connect"));
        done();
    }
    assert_int_equal(scene.accepted, 0);
    scene.outbound.links.policy.denied = NULL;
    destinations_destroy(denied);
}

/* A redirect, a kept connection, and a body, with each allocation failing once. */
static void without_memory_a_fetch_fails_and_leaves_nothing(void **state)
{
    uint64_t n = 0;
    (void)state;
    size_t before = 0;
    do {
        struct fetch_request request = {.method = "PUT", .method_len = 3, .body = "x", .body_len = 1};
        scene.answered = 0;
        scene.answers[0].text = REDIRECT("307", "/b");
        scene.answers[1].text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        kept_links_done(&scene.outbound.kept);
        before = fake_mem_live();
        fake_mem_fail_after(++n, false);
        enum fetch_kind kind = start(&request, url_of("/"));
        if (kind == FETCH_SUCCESS) {
            run_to_end();
            kind = fetch_failure_kind(scene.fetch);
            if (kind == FETCH_SUCCESS) {
                assert_string_equal(fetch_response(scene.fetch)->body, "hello");
            } else {
                assert_null(fetch_response(scene.fetch));
            }
        }
        assert_true(kind == FETCH_SUCCESS || kind == FETCH_NO_MEMORY || kind == FETCH_NOT_REACHED || kind == FETCH_CUT);
        done();
        kept_links_done(&scene.outbound.kept);
        if (n > 1) {
            assert_true(fake_mem_live() <= before + 8); /* the reactor's own tables may have grown */
        }
        for (int i = 0; i < 4; i++) {
            serve();
            reactor_run_once(scene.reactor, 0);
        }
        for (size_t i = 0; i < scene.accepted; i++) {
            if (scene.peers[i].fd >= 0) {
                close(scene.peers[i].fd);
            }
            free(scene.peers[i].request);
        }
        scene.accepted = 0;
    } while (fake_mem_failed());
    assert_true(n > 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_response_is_collected, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_connection_is_kept_for_the_next_request, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_connection_is_not_kept_if_either_side_closes_or_says_more, set_up, tear_down),
        cmocka_unit_test_setup_teardown(fields_and_bodies_are_sent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_large_body_is_sent_from_where_it_is, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_large_response_is_collected, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_request_that_cannot_be_one_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_the_server_does_wrong_is_said, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_there_is_said, set_up, tear_down),
        cmocka_unit_test_setup_teardown(silence_has_an_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(redirects_are_followed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(credentials_stay_with_their_origin, set_up, tear_down),
        cmocka_unit_test_setup_teardown(redirects_have_limits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_kept_connection_that_was_closed_is_replaced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_body_is_streamed_in_chunks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_body_is_streamed_by_length, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_slow_server_slows_the_writer_down, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_response_is_streamed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_slow_reader_slows_the_server_down, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_streamed_response_that_fails_is_read_to_where_it_came, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_owner_may_close_at_any_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_unix_socket_is_reached, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gzip_is_decoded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gzip_that_makes_much_of_little_takes_several_turns, set_up, tear_down),
        cmocka_unit_test_setup_teardown(streamed_gzip_is_decoded_as_it_is_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(denied_servers_are_named_so, set_up, tear_down),
        cmocka_unit_test_setup_teardown(too_many_connections_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_memory_a_fetch_fails_and_leaves_nothing, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
