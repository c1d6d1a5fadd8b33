/* The HTTP client (http/client/fetch.c) on the fake kernel. The input is what servers send, with events in between,
 * each a byte 1 and a letter:
 *
 *   s  what is collected so far is sent as a segment    r  the server resets        e  it ends its side
 *   t  time passes (the next byte says how much)        c  the owner closes         n  the owner begins anew
 *   o  the owner reads                                  w  it writes                x  it ends what it writes
 *   f  the next allocation but so many fails            k  the same for system calls
 *
 * The first byte chooses how the owner asks. Whatever happens: the owner hears of one end, and nothing after it; a
 * failure has a kind and a text; a response is whole; when all deadlines have passed, each fetch has ended; no memory
 * and no fd is left. */

#include "core/outbound.h"
#include "core/reactor.h"
#include "http/client/fetch.h"
#include "tests/lib/fake_sys.h"
#include "tests/lib/fuzz.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

static struct {
    struct reactor *reactor;
    struct outbound outbound;
    struct fake_server *server;
    struct fake_peer *peer; /* the last connection */
    struct fetch *fetch;
    uint8_t way;     /* how the owner asks */
    bool has_ended;  /* it was told so */
    bool closes;     /* it closes in its next event */
    bool has_failed; /* an allocation or a system call may have: events can be lost */
    char segment[4096];
    size_t len; /* of it */
} play;

static void check_end(const struct fetch *fetch, enum fetch_event event)
{
    const struct fetch_response *response = fetch_response(fetch);
    if (event == FETCH_FAILED) {
        FUZZ_MUST(fetch_failure_kind(fetch) != FETCH_SUCCESS && fetch_failure(fetch)[0] != '\0');
        FUZZ_MUST(fetch_kind_name(fetch_failure_kind(fetch))[0] != '\0');
        return;
    }
    FUZZ_MUST(fetch_failure_kind(fetch) == FETCH_SUCCESS && response != NULL);
    FUZZ_MUST(response->status >= 200 && response->status <= 999 && response->redirects <= FETCH_REDIRECTS);
    if ((play.way & 1) == 0) {
        FUZZ_MUST(response->body != NULL && response->body[response->body_len] == '\0');
        FUZZ_MUST(response->body_len <= FETCH_BODY_MAX);
    }
}

static void on_event(struct fetch *fetch, enum fetch_event event, void *arg)
{
    (void)arg;
    FUZZ_MUST(fetch == play.fetch && !play.has_ended);
    FUZZ_MUST((play.way & 1) != 0 || event == FETCH_DONE || event == FETCH_FAILED || event == FETCH_WRITABLE);
    if (event == FETCH_DONE || event == FETCH_FAILED) {
        play.has_ended = true;
        check_end(fetch, event);
    }
    if (play.closes) {
        play.closes = false;
        fetch_close(play.fetch);
        play.fetch = NULL;
    }
}

static void begin_fetch(void)
{
    static const char *const methods[] = {"GET", "POST", "HEAD", "PUT"};
    const char *method = methods[play.way >> 4 & 3];
    char err[FETCH_FAILURE_MAX] = "";
    struct fetch_request request = {.url = "http://127.0.0.1:8000/a/b", .method = method, .body_length = -1};

    if (play.fetch != NULL) {
        return;
    }
    request.url_len = strlen(request.url);
    request.method_len = strlen(method);
    request.streams_response = (play.way & 1) != 0;
    request.streams_body = (play.way & 2) != 0;
    request.body = (play.way & 6) == 4 ? "some body" : NULL;
    request.body_len = request.body != NULL ? 9 : 0;
    request.max_head = (play.way & 8) != 0 ? 200 : 0;
    request.max_body = (play.way & 8) != 0 ? 1000 : 0;
    play.has_ended = false;
    enum fetch_kind kind = fetch_start(&play.fetch, &play.outbound, &request, on_event, NULL, err, sizeof err);
    if (kind != FETCH_SUCCESS) {
        FUZZ_MUST(play.has_failed && err[0] != '\0');
        play.fetch = NULL;
    }
}

static void close_fetch(void)
{
    fetch_close(play.fetch);
    play.fetch = NULL;
}

static void turn(void)
{
    (void)reactor_run_once(play.reactor, 0);
    struct fake_peer *peer = fake_server_next(play.server);
    play.peer = peer != NULL ? peer : play.peer;
}

static void send_segment(void)
{
    if (play.peer != NULL && play.len > 0 && fake_peer_fd(play.peer) >= 0) {
        fake_peer_send(play.peer, play.segment, play.len);
    }
    play.len = 0;
    turn();
    turn();
}

static void read_content(void)
{
    const char *data;
    ssize_t len;
    if (play.fetch == NULL || (play.way & 1) == 0) {
        return;
    }
    while ((len = fetch_read(play.fetch, &data)) > 0) {
        char sum = 0; /* all of it can be read */
        for (ssize_t i = 0; i < len; i++) {
            sum = (char)(sum ^ data[i]);
        }
        (void)sum;
    }
    FUZZ_MUST(len == 0 || len == -EAGAIN || len == -EIO);
    FUZZ_MUST(len == -EAGAIN || play.has_ended || len == -EIO);
}

static void write_body(bool ends)
{
    static const char piece[5000] = "a piece of the body";
    if (play.fetch == NULL) {
        return;
    }
    int rv = ends ? fetch_write_end(play.fetch) : fetch_write(play.fetch, piece, sizeof piece);
    FUZZ_MUST(rv == 0 || rv == -EAGAIN || rv == -EPIPE || (rv == -ENOMEM && play.has_failed));
}

/* Returns how many bytes behind the event's letter it has used. */
static size_t happen(char event, const uint8_t *more, size_t len)
{
    uint8_t number = len > 0 ? *more : 0;
    switch (event) {
    case 's':
        send_segment();
        return 0;
    case 'r':
    case 'e':
        send_segment();
        if (play.peer != NULL && fake_peer_fd(play.peer) >= 0) {
            event == 'r' ? fake_peer_reset(play.peer, 0) : fake_peer_shutdown(play.peer);
        }
        turn();
        return 0;
    case 't':
        fake_sys_advance_ms(number * 250);
        turn();
        return len > 0;
    case 'c':
        if (number % 2 == 0) {
            close_fetch();
        } else {
            play.closes = true;
        }
        return len > 0;
    case 'n':
        if (play.has_ended) {
            close_fetch();
        }
        begin_fetch();
        turn();
        return 0;
    case 'o':
        read_content();
        return 0;
    case 'w':
    case 'x':
        write_body(event == 'x');
        return 0;
    case 'f':
        play.has_failed = true;
        fake_mem_fail_after(1 + number % 16, false);
        return len > 0;
    case 'k':
        play.has_failed = true;
        fake_sys_fail(1 + number % 16, number % 2 == 0 ? -ECONNRESET : -ENOMEM);
        return len > 0;
    default:
        return 0;
    }
}

static void play_input(const uint8_t *data, size_t len)
{
    for (size_t at = 0; at < len; at++) {
        if (data[at] == 1 && at + 1 < len) {
            at += 1 + happen((char)data[at + 1], data + at + 2, len - at - 2);
        } else if (play.len < sizeof play.segment) {
            play.segment[play.len++] = (char)data[at];
        }
    }
    send_segment();
}

/* All deadlines pass: the fetch has ended, unless its reader left something. */
static void let_it_end(void)
{
    fake_mem_fail_after(0, false);
    fake_sys_fail(0, 0);
    for (int i = 0; i < 20 && play.fetch != NULL && !play.has_ended; i++) {
        read_content();
        turn();
        fake_sys_advance_ms(FETCH_TIMEOUT_MS + 1);
        turn();
    }
    FUZZ_MUST(play.fetch == NULL || play.has_ended);
    read_content();
    close_fetch();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(8000)};

    if (len == 0 || len > 4096) {
        return 0;
    }
    (void)fuzz_guarded();
    fake_sys_reset();
    memset(&play, 0, sizeof play);
    play.way = data[0];
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    play.server = fake_server_create((struct sockaddr *)&address, sizeof address);
    FUZZ_MUST(reactor_create(&play.reactor, NULL) == 0);
    outbound_init(&play.outbound, play.reactor, NULL, NULL);
    begin_fetch();
    turn();
    turn();
    play_input(data + 1, len - 1);
    let_it_end();
    outbound_done(&play.outbound);
    reactor_destroy(play.reactor);
    FUZZ_MUST(fake_sys_open_fds() == 0);
    fake_sys_reset();
    FUZZ_MUST(fake_mem_live() == 0);
    return 0;
}
