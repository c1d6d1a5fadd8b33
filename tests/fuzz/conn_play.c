/* The input is what clients send, and what else happens, after a byte 01:
 *
 *   n            a new segment                        0 1 2 3   another client goes on, or comes
 *   s            the server runs to rest              f c h r   the client shuts its side, closes, hangs up, resets
 *   t BYTE       so many quarters of a second pass    w BYTE    the wall clock jumps
 *   m BYTE       a recv gives so many bytes at most   o BYTE    the client takes so many bytes a tick; 255: all
 *   e OP BYTE    the call OP fails with error BYTE    a BYTE    the n-th allocation fails
 *   d BYTE       the server drains, in so many quarters of a second
 *
 * and what the line knows besides.
 *
 * Held: the states of a connection are legal whenever it rests. A client gets well-formed answers, in their order,
 * never more than it sent requests, and one for each whole one as long as its connection is open; only what is cut
 * off may miss its end. When nothing but sending happens, it does not matter in which pieces. In the end, when
 * deadlines have passed, nobody is connected; no memory and no fd is left. */

#include "tests/fuzz/conn_play.h"

#include "core/log.h"
#include "core/reactor.h"
#include "http/h1/h1.h"
#include "http/server.h"
#include "http/server_internal.h"
#include "http/site.h"
#include "http/site_parts.h"
#include "tests/lib/fake_sys.h"
#include "tests/lib/fuzz.h"
#include "tests/lib/sent_requests.h"
#include "tests/wire/wire_answers.h"
#include "tests/wire/wire_site.h"

#include <errno.h>
#include <string.h>

enum {
    TICKS_MAX = 200000,
    SLOW_TICKS_MAX = 2000,
    BUSY_TICKS_MAX = 100, /* ticks one after another in which callbacks run and nothing changes */
    ACTION = 1,
    START_S = 784111777,
};

static const struct conn_line *line; /* between clients and server */
static struct reactor *reactor;
static struct site *site;
static struct server *server;
static struct play_client clients[PLAY_CLIENTS];
static struct play_client *client; /* who is at work */
static bool is_faulty;             /* a failure was asked for */
static bool is_drained;            /* the server is stopping */

/* The server. */

static void remove_files(void)
{
    wire_files_remove();
}

static int find_listener(void)
{
    return server->listeners[0].fd;
}

static void open_server(void)
{
    static bool has_files;
    char err[256] = "";
    if (!has_files) {
        has_files = true;
        wire_files_make();
        atexit(remove_files);
    }
    fake_sys_reset();
    FUZZ_MUST(reactor_create(&reactor, NULL) == 0 && site_create(&site, NULL) == 0);
    FUZZ_MUST(wire_site_fill(site, reactor) == 0);
    FUZZ_MUST(server_create(&server, reactor, site, NULL) == 0);
    FUZZ_MUST(server_listen(server, "127.0.0.1:0", err, sizeof err) == 0);
    memset(clients, 0, sizeof clients);
    for (int i = 0; i < PLAY_CLIENTS; i++) {
        clients[i].number = i;
    }
    client = &clients[0];
    is_faulty = is_drained = false;
    if (line->open != NULL) {
        line->open(server);
    }
}

static void close_server(void)
{
    server_destroy(server);
    site_destroy(site);
    reactor_destroy(reactor);
    if (fake_sys_open_fds() != 0) {
        fake_sys_print_open_fds();
    }
    FUZZ_MUST(fake_sys_open_fds() == 0);
    fake_sys_reset();
    FUZZ_MUST(fake_mem_live() == 0);
}

/* What holds of each connection between two ticks; is_at_rest: nothing waits to be done. */
static void check_states(bool is_at_rest)
{
    size_t open = 0;
    for (const struct conn *conn = server->pool.conns; conn != NULL; conn = conn->next) {
        open++;
        FUZZ_MUST(conn->state <= CONN_LINGERING && conn->transport.fd >= 0 && !conn->is_advancing);
        FUZZ_MUST(!is_at_rest || conn->task == TASK_NONE || conn->task == TASK_LACKING);
        FUZZ_MUST(conn->work == NULL || conn->state == CONN_OPEN);
        FUZZ_MUST(conn->work == NULL || ((const struct h1 *)conn->work)->conn == conn);
        FUZZ_MUST(
            conn->deadline.at_ms == DEADLINE_NEVER ||
            (conn->deadline.timer != 0 && reactor_timer_due_ms(reactor, conn->deadline.timer) <= conn->deadline.at_ms));
        FUZZ_MUST(conn->prev == NULL ? server->pool.conns == conn : conn->prev->next == conn);
    }
    FUZZ_MUST(open == server->service.stats.connections);
    uint64_t answers = 0;
    for (size_t i = 0; i < sizeof server->service.stats.by_class / sizeof server->service.stats.by_class[0]; i++) {
        answers += server->service.stats.by_class[i];
    }
    FUZZ_MUST(answers == server->service.stats.requests);
}

/* A number that changes with whatever gets somewhere. */
static uint64_t measure_progress(void)
{
    const struct server_stats *stats = &server->service.stats;
    uint64_t sum = stats->accepted + stats->connections + stats->requests + stats->bytes_received + stats->bytes_sent;
    for (int i = 0; i < PLAY_CLIENTS; i++) {
        size_t len = 0;
        if (clients[i].peer != NULL) {
            fake_peer_output(clients[i].peer, &len);
            sum += len + fake_peer_unread(clients[i].peer) * UINT64_C(1000003);
        }
    }
    return sum;
}

/* Run to rest; only a client that takes little at a time may keep the server from it. */
static void settle(void)
{
    bool is_slow = false;
    int quiet = 0, busy = 0;
    for (int i = 0; i < PLAY_CLIENTS; i++) {
        is_slow = is_slow || clients[i].is_disturbed;
    }
    for (int tick = 0; quiet < 3 && !(is_slow && tick == SLOW_TICKS_MAX); tick++) {
        uint64_t before = measure_progress();
        int calls = reactor_run_once(reactor, 0);
        FUZZ_MUST(tick < TICKS_MAX && (calls >= 0 || is_faulty));
        busy = calls > 0 && measure_progress() == before ? busy + 1 : 0;
        FUZZ_MUST(busy < BUSY_TICKS_MAX);
        quiet = calls == 0 ? quiet + 1 : 0;
    }
    check_states(quiet == 3);
}

/* Clients. */

static void come(void)
{
    if (client->peer == NULL && !is_drained) {
        client->peer = fake_peer_connect(find_listener());
        if (line->come != NULL) {
            line->come(client);
        }
    }
}

static void send_new(void)
{
    const char *content = client->sent + client->sent_len - client->new_len;
    if (client->peer != NULL && client->new_len > 0) {
        if (line->send != NULL) {
            line->send(client, content, client->new_len);
        } else {
            fake_peer_send(client->peer, content, client->new_len);
        }
    }
    client->new_len = 0;
}

static void say(char c)
{
    come();
    if (client->peer != NULL && !client->is_done) {
        client->sent[client->sent_len++] = c;
        client->new_len++;
    }
}

static void go_away(char how)
{
    come();
    if (client->peer == NULL || client->is_done) {
        return;
    }
    client->is_done = true;
    client->is_disturbed = client->is_disturbed || how != 'f';
    if (how == 'f') {
        if (line->finish != NULL) {
            line->finish(client);
        }
        fake_peer_shutdown(client->peer);
    } else if (how == 'c') {
        fake_peer_close(client->peer);
    } else if (how == 'h') {
        fake_peer_hang_up(client->peer);
    } else {
        fake_peer_reset(client->peer, 0);
    }
}

/* What happens. */

static void make_fail(unsigned char op, unsigned char error)
{
    static const int errors[] = {-EAGAIN, -EINTR, -ECONNRESET, -EMFILE, -ENOMEM, -EPIPE, -EIO, -ENOBUFS};
    static const enum fake_op ops[] = {FAKE_RECV,       FAKE_SEND,         FAKE_SENDV,          FAKE_SENDFILE,
                                       FAKE_ACCEPT,     FAKE_EPOLL_ADD,    FAKE_OPEN,           FAKE_OPEN_BENEATH,
                                       FAKE_STAT,       FAKE_STAT_AT,      FAKE_READ_DIR,       FAKE_PREAD,
                                       FAKE_SET_OPTION, FAKE_EPOLL_MODIFY, FAKE_SHUTDOWN_WRITE, FAKE_READ_LINK,
                                       FAKE_TIMERFD_SET};
    is_faulty = true;
    fake_sys_fail_op(ops[op % (sizeof ops / sizeof ops[0])], op / 64, 1, errors[error % 8]);
}

static void pass(unsigned quarters)
{
    fake_sys_advance_ms(250 * (int64_t)quarters);
    settle();
}

/* Time enough for handlers that answer later. Such a request that waits behind another begins when that is answered, so
 * time passes as long as there are answers; in small steps, so that no deadline ends a connection meanwhile. */
static void let_late_handlers_answer(void)
{
    uint64_t before;
    do {
        before = server->service.stats.requests;
        fake_sys_advance_ms(WIRE_LATE_MS);
        settle();
    } while (server->service.stats.requests > before);
}

/* How many bytes of the input the action has behind its name. */
static size_t act(char what, unsigned char first, unsigned char second)
{
    send_new();
    if (what >= '0' && what < '0' + PLAY_CLIENTS) {
        client = &clients[what - '0'];
        return 0;
    }
    if (what != '\0' && strchr("fchr", what) != NULL) {
        go_away(what);
        return 0;
    }
    switch (what) {
    case 's':
        settle();
        return 0;
    case 't':
        pass(first);
        return 1;
    case 'w':
        fake_sys_set_wall_time_s(START_S + (first - 128) * INT64_C(1000000));
        return 1;
    case 'm':
        fake_sys_set_recv_max(first);
        return 1;
    case 'o':
        come();
        if (client->peer != NULL) {
            client->is_disturbed = true;
            fake_peer_set_window(client->peer, first == 255 ? FAKE_NO_LIMIT : first * first);
        }
        return 1;
    case 'e':
        make_fail(first, second);
        return 2;
    case 'a':
        is_faulty = true;
        fake_mem_fail_after(first, false);
        return 1;
    case 'd':
        is_drained = true;
        server_drain(server, 250U * first, NULL, NULL);
        return 1;
    default:
        return line->act == NULL ? 0 : line->act(client, what, first);
    }
}

static void play(const uint8_t *data, size_t len, struct fuzz_dice *dice)
{
    size_t piece = dice == NULL ? SIZE_MAX : 1;
    for (size_t i = 0; i < len; i++) {
        if (data[i] != ACTION) {
            say((char)data[i]);
            if (--piece == 0) {
                send_new();
                piece = fuzz_piece(dice, PLAY_INPUT_MAX);
            }
        } else if (i + 1 < len) {
            i++;
            i += act((char)data[i], i + 1 < len ? data[i + 1] : 0, i + 2 < len ? data[i + 2] : 0);
        }
    }
    send_new();
    settle();
    let_late_handlers_answer();
}

/* What came of it. */

static void see(struct play_client *one, struct play_seen *seen)
{
    if (line->see != NULL) {
        line->see(one, seen);
        return;
    }
    *seen = (struct play_seen){.sent = one->sent, .sent_len = one->sent_len};
    seen->output = fake_peer_output(one->peer, &seen->output_len);
    seen->is_ended = fake_peer_saw_end(one->peer);
}

static void check_answers(struct play_client *one)
{
    static struct answers answers;
    static struct sent_requests sent;
    struct play_seen seen;
    see(one, &seen);
    bool is_over = fake_peer_saw_end(one->peer);
    bool is_disturbed = one->is_disturbed || is_faulty || is_drained;
    sent_requests_read(&sent, &site->limits, seen.sent, seen.sent_len);
    answers_read(&answers, seen.output, seen.output_len, sent.is_head, seen.is_ended);
    if (answers.error[0] != '\0' && sent.begun > sent.whole) { /* the last one may have been HEAD */
        answers_done(&answers);
        sent.is_head[sent.begun - 1] = true;
        answers_read(&answers, seen.output, seen.output_len, sent.is_head, seen.is_ended);
    }
    if (answers.error[0] != '\0' && !answers.is_cut && !(is_disturbed && answers_lack_their_end(answers.error))) {
        fprintf(stderr, "client %d: %s\n%s\n", one->number, answers.error, seen.output);
        abort();
    }
    if (seen.says_end) {
        FUZZ_MUST(!seen.is_ended || answers.error[0] == '\0');
        FUZZ_MUST(seen.is_ended || !is_over || is_disturbed || sent.whole < sent.begun || answers.error[0] != '\0');
    }
    bool is_turned_away = is_faulty && sent.begun == 0 && answers.count == 1 && answers.list[0].status == 503;
    FUZZ_MUST(answers.count <= sent.begun || is_turned_away); /* for want of an fd, before it said anything */
    FUZZ_MUST((size_t)answers.interim <= sent.expecting);
    FUZZ_MUST(!answers.is_cut || is_over || is_disturbed);
    for (size_t i = 0; i < answers.count; i++) {
        int status = answers.list[i].status;
        FUZZ_MUST(status >= 200 && status < 600);
        FUZZ_MUST(status != 500 || is_faulty);
        FUZZ_MUST(i + 1 < sent.begun || !sent.is_refused || status >= 400 || i >= sent.whole);
    }
    if (!is_over && !is_disturbed) {
        FUZZ_MUST(answers.count >= sent.whole && !sent.is_last && !sent.is_refused);
    }
    answers_done(&answers);
}

/* Everybody takes what there is, nothing fails any more, and time passes: in the end all have left. */
static void end(void)
{
    for (int i = 0; i < PLAY_CLIENTS; i++) {
        if (clients[i].peer != NULL) {
            check_answers(&clients[i]);
        }
    }
    fake_mem_fail_after(0, false);
    fake_sys_set_recv_max(0);
    for (int i = 0; i < PLAY_CLIENTS; i++) {
        if (clients[i].peer != NULL) {
            fake_peer_set_window(clients[i].peer, FAKE_NO_LIMIT);
        }
    }
    settle();
    let_late_handlers_answer();
    for (int i = 0; i < 12 && (i < 2 || server->pool.conns != NULL); i++) {
        pass(4 * 31);
    }
    FUZZ_MUST(server->pool.conns == NULL || is_faulty);
    for (int i = 0; i < PLAY_CLIENTS; i++) {
        if (clients[i].peer != NULL) {
            check_answers(&clients[i]);
        }
    }
}

/* What the first client got, without what depends on when its bytes came. Returns a block to be freed. */
static char *read_gist(void)
{
    static struct answers answers;
    static struct sent_requests sent;
    struct play_seen seen;
    size_t used = 0;
    see(&clients[0], &seen);
    sent_requests_read(&sent, &site->limits, seen.sent, seen.sent_len);
    answers_read(&answers, seen.output, seen.output_len, sent.is_head, true);
    char *gist = malloc(answers.count * 64 + 1);
    FUZZ_MUST(gist != NULL);
    gist[0] = '\0';
    for (size_t i = 0; i < answers.count; i++) {
        used += (size_t)snprintf(gist + used, 64, "%d:%zu ", answers.list[i].status, answers.list[i].body_len);
    }
    answers_done(&answers);
    return gist;
}

static char *run(const uint8_t *data, size_t len, struct fuzz_dice *dice)
{
    open_server();
    play(data, len, dice);
    end();
    char *gist = clients[0].peer == NULL ? NULL : read_gist();
    close_server();
    return gist;
}

int conn_play(const struct conn_line *between, const uint8_t *data, size_t len)
{
    line = between;
    struct fuzz_dice dice = fuzz_dice_of(data, len);
    if (len > PLAY_INPUT_MAX) {
        return 0;
    }
    char *whole = run(data, len, NULL);
    if (whole != NULL && memchr(data, ACTION, len) == NULL) {
        char *pieces = run(data, len, &dice);
        if (strcmp(whole, pieces) != 0) {
            fprintf(stderr, "whole:     %s\nin pieces: %s\n", whole, pieces);
            abort();
        }
        free(pieces);
    }
    free(whole);
    return 0;
}
