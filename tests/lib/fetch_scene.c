/* A server that says what a test has it say. */

#include "tests/lib/fetch_scene.h"

#include "core/reactor.h"
#include "tests/lib/fake_mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct fetch_scene scene;

/* The server. */

static void peer_close(struct scene_peer *peer, bool resets)
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
static size_t whole_request(const struct scene_peer *peer)
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

static void peer_answer(struct scene_peer *peer)
{
    size_t len;
    while (peer->fd >= 0 && (len = whole_request(peer)) > 0) {
        assert_true(scene.answered < ANSWERS_MAX);
        const struct scene_answer *answer = &scene.answers[scene.answered];
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

void scene_serve(void)
{
    int fd = accept4(scene.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        assert_true(scene.accepted < PEERS_MAX);
        scene.peers[scene.accepted].fd = fd;
        scene.peers[scene.accepted].request = malloc(TEXT_MAX);
        scene.accepted++;
    }
    for (size_t i = 0; i < scene.accepted; i++) {
        struct scene_peer *peer = &scene.peers[i];
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

void scene_read(void)
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
        scene_read();
    }
    scene.ends += event == FETCH_DONE || event == FETCH_FAILED;
}

void scene_listen(int family, const struct sockaddr *address, socklen_t len)
{
    scene.listener = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(scene.listener, address, len), 0);
    assert_int_equal(listen(scene.listener, 32), 0);
}

int scene_begin(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;

    (void)state;
    memset(&scene, 0, sizeof scene);
    scene.close_at = -1;
    scene.content = malloc(TEXT_MAX);
    scene_listen(AF_INET, (struct sockaddr *)&address, sizeof address);
    assert_int_equal(getsockname(scene.listener, (struct sockaddr *)&address, &len), 0);
    scene.port = ntohs(address.sin_port);
    assert_int_equal(reactor_create(&scene.reactor, NULL), 0);
    outbound_init(&scene.outbound, scene.reactor, NULL, NULL);
    return 0;
}

int scene_end(void **state)
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

const char *scene_url(const char *path)
{
    snprintf(scene.url, sizeof scene.url, "http://127.0.0.1:%u%s", scene.port, path);
    return scene.url;
}

enum fetch_kind scene_start(struct fetch_request *request, const char *url)
{
    request->url = url;
    request->url_len = strlen(url);
    scene.ends = 0;
    scene.read = 0;
    memset(scene.events, 0, sizeof scene.events);
    return fetch_start(&scene.fetch, &scene.outbound, request, on_event, &scene, scene.err, sizeof scene.err);
}

/* Turn until the fetch has ended, or for so many turns. */
void scene_turn(int turns)
{
    for (int i = 0; i < turns && scene.ends == 0; i++) {
        scene_serve();
        assert_true(reactor_run_once(scene.reactor, i < turns / 2 ? 0 : 1) >= 0);
    }
}

void scene_run(void)
{
    scene_turn(4000);
    assert_int_equal(scene.ends, 1);
}

const struct fetch_response *scene_get(struct fetch_request *request, const char *url)
{
    enum fetch_kind kind = scene_start(request, url);
    if (kind != FETCH_SUCCESS) {
        fail_msg("%s: %s", fetch_kind_name(kind), scene.err);
    }
    scene_run();
    if (scene.fetch != NULL && scene.events[FETCH_FAILED] > 0) {
        assert_null(request->streams_response ? NULL : fetch_response(scene.fetch));
    }
    return scene.fetch == NULL ? NULL : fetch_response(scene.fetch);
}

/* A fetch that fails so, once it has begun. */
void scene_fails(struct fetch_request *request, const char *url, enum fetch_kind kind, const char *why)
{
    char wanted[FETCH_FAILURE_MAX];
    char peer[64];
    scene_get(request, url);
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

void scene_close(void)
{
    fetch_close(scene.fetch);
    scene.fetch = NULL;
}
