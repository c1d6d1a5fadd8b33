#include "tests/lib/tls_day.h"

#include "tests/lib/fake_mem.h"
#include "tests/lib/tls_day_site.h"
#include "tests/lib/tls_faults.h"
#include "tests/lib/tls_scene.h"
#include "tests/wire/wire_answers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/err.h>

enum {
    PIPELINED = 20,
    SEGMENTS_MAX = 4, /* of a visitor */
    POLLS_MAX = 5000, /* of one settling */
    DRAIN_MS = 1000,  /* for requests in flight when the server stops */
    SHOWN_MAX = 800,  /* bytes of the log, its last ones */
    LOOK_MS = 61000,  /* after that a changed file was noticed */
};

#define REQUEST(method, path, fields) method " " path " HTTP/1.1\r\nHost: a.example\r\n" fields "\r\n"
#define GET(path)                     REQUEST("GET", path, "")
#define LAST(path)                    REQUEST("GET", path, "Connection: close\r\n")

/* One client of the day. */
struct visitor {
    const char *name;
    int version;
    const char *says[SEGMENTS_MAX]; /* its content, one record after the other */
    const char *statuses;           /* of its responses when nothing fails; NULL: it takes none whole */
    int64_t window;                 /* bytes that it takes a tick; 0: all */
    size_t piece;                   /* bytes of its segments; 0: all at once */
    int resumes;                    /* 1 and the place of another one, whose session it uses */
    enum { STAYS, SAYS_END, CUTS, RESETS, STALLS } manner; /* how it goes, once it has said all */
    bool is_nameless;                                      /* it sends no server name */
    bool has_certificate, lacks_certificate;               /* it asks for the host that wants one */
    bool is_rsa;                                           /* it accepts no ECDSA */
    struct fake_peer *peer;
    struct tls_client *client;
};

static struct visitor visitors[] = {
    {"1.3",
     TLS1_3_VERSION,
     {GET("/small"), REQUEST("HEAD", "/small", ""), GET("/hello") GET("/who")},
     .statuses = "200 200 200 200"},
    {"1.3, resumed", TLS1_3_VERSION, {GET("/who")}, .statuses = "200", .resumes = 1},
    {"1.2", TLS1_2_VERSION, {GET("/small") GET("/who")}, .statuses = "200 200"},
    {"1.2, resumed", TLS1_2_VERSION, {GET("/who")}, .statuses = "200", .resumes = 3},
    {"RSA", TLS1_2_VERSION, {GET("/who")}, .statuses = "200", .is_rsa = true, .is_nameless = true},
    {"client certificate, 1.3", TLS1_3_VERSION, {GET("/who")}, .statuses = "200", .has_certificate = true},
    {"client certificate, 1.2", TLS1_2_VERSION, {GET("/who")}, .statuses = "200", .has_certificate = true},
    {"no client certificate", TLS1_2_VERSION, {NULL}, .statuses = "", .lacks_certificate = true},
    {"large file, slow", TLS1_3_VERSION, {GET("/large") GET("/small")}, .statuses = "200 200", .window = 7000},
    {"one that takes nothing more", TLS1_2_VERSION, {GET("/large")}, .window = 500, .manner = STALLS},
    {"stream", TLS1_3_VERSION, {GET("/stream") GET("/hello")}, .statuses = "200 200", .window = 5000},
    {"stream to 1.0", TLS1_3_VERSION, {"GET /stream HTTP/1.0\r\n\r\n"}, .statuses = "200"},
    {"late response", TLS1_2_VERSION, {GET("/hello") GET("/later") GET("/hello")}, .statuses = "200 200 200"},
    {"pipelined", TLS1_3_VERSION, {NULL}, .window = 700}, /* make_files() says what */
    {"upload",
     TLS1_3_VERSION,
     {REQUEST("PUT", "/upload", "Transfer-Encoding: chunked\r\n"), "3\r\non", "e\r\n3\r\ntwo\r\n", "0\r\n\r\n"},
     .statuses = "200"},
    {"body", TLS1_2_VERSION, {REQUEST("PUT", "/whole", "Content-Length: 6\r\n") "one", "two"}, .statuses = "200"},
    {"bytes in small pieces", TLS1_3_VERSION, {GET("/small")}, .statuses = "200", .piece = 50},
    {"last", TLS1_3_VERSION, {LAST("/small")}, .statuses = "200"},
    {"close_notify of the client", TLS1_3_VERSION, {GET("/small")}, .statuses = "200", .manner = SAYS_END},
    {"cut body",
     TLS1_2_VERSION,
     {REQUEST("PUT", "/whole", "Content-Length: 6\r\n") "one"},
     .statuses = "",
     .manner = CUTS},
    {"reset", TLS1_3_VERSION, {GET("/never")}, .manner = RESETS},
};

enum { VISITORS = sizeof visitors / sizeof visitors[0] };

/* Those that never get through a handshake. */
static const struct stranger {
    const char *name, *says;
    size_t len;
    enum { STRANGER_STAYS, STRANGER_CUTS, STRANGER_RESETS } manner;
} strangers[] = {
    {"plain HTTP", GET("/hello"), sizeof GET("/hello") - 1, STRANGER_CUTS},
    {"nonsense", "\0\0\0\0\0\0\0\0\0\0\0\0", 12, STRANGER_CUTS},
    {"half a record", "\x16\x03\x01\x02\x00\x01", 6, STRANGER_STAYS},
    {"half a record, cut", "\x16\x03\x01\x02\x00\x01", 6, STRANGER_CUTS},
    {"half a record, reset", "\x16\x03\x01\x02\x00\x01", 6, STRANGER_RESETS},
    {"silent", "", 0, STRANGER_STAYS},
};

enum { STRANGERS = sizeof strangers / sizeof strangers[0] };

static char pipeline[PIPELINED * sizeof GET("/hello")];
static char pipeline_statuses[PIPELINED * 4 + 1];

/* The responses of a day without failures: what others are compared with. */
static struct answers expected[VISITORS];
static char *expected_input[VISITORS]; /* into which they point */

struct tls_day_fault tls_day_fault;
uint64_t tls_day_calls[FAKE_OP_COUNT];

static evserve *server;
static int listener_fd;
static struct tls_client clients[VISITORS];
static struct tls_client guest; /* of check_newcomer() */
static char err[EVSERVE_ERROR_MAX];

#define check(condition, who)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            tls_day_complain(who, #condition);                                                                         \
        }                                                                                                              \
    } while (0)

void tls_day_complain(const char *who, const char *what)
{
    const char *log = tls_day_site.logged;
    size_t len = strlen(log);
    print_message("... %s", log + (len > SHOWN_MAX ? len - SHOWN_MAX : 0));
    fail_msg("%s: %s, when %s %d fails (%s)", who, what, tls_day_fault.what, (int)tls_day_fault.n,
             tls_day_fault.kind == FAULT_CALL ? strerror(-tls_day_fault.error) : tls_faults_place());
}

/* The server runs between these two. */
static void enter(void)
{
    tls_faults_enter();
}

static void leave(void)
{
    tls_faults_leave();
    unsigned long error = ERR_peek_error();
    if (error != 0) {
        char text[256];
        ERR_error_string_n(error, text, sizeof text);
        ERR_clear_error();
        tls_day_complain("OpenSSL's queue of errors", text);
    }
}

/* The clock of the day. */

static void arm(void)
{
    if (tls_day_fault.kind == FAULT_MEM) {
        fake_mem_fail_after(tls_day_fault.n, tls_day_fault.forever);
    } else if (tls_day_fault.kind == FAULT_OPENSSL) {
        tls_faults_fail_after(tls_day_fault.n, tls_day_fault.forever);
    } else if (tls_day_fault.kind == FAULT_CALL) {
        fake_sys_fail_op(tls_day_fault.op, (int)tls_day_fault.n - 1, 1, tls_day_fault.error);
    }
}

static bool has_failed(void)
{
    switch (tls_day_fault.kind) {
    case FAULT_MEM:
        tls_day_fault.shown = tls_day_fault.shown || fake_mem_failed();
        break;
    case FAULT_OPENSSL:
        tls_day_fault.shown = tls_day_fault.shown || tls_faults_failed();
        break;
    case FAULT_CALL:
        tls_day_fault.shown = tls_day_fault.shown || fake_sys_count(tls_day_fault.op) >= tls_day_fault.n;
        break;
    default:
        break;
    }
    return tls_day_fault.shown;
}

/* The fault is gone. */
static void disarm(void)
{
    (void)has_failed();
    fake_mem_fail_after(0, false);
    tls_faults_fail_after(0, false);
}

static void poll_once(void)
{
    enter();
    int rv = evserve_poll(server, 0);
    leave();
    check(rv == 1, "the loop");
}

/* Turn the loop until nothing happens any more. A turn without events is one system call. */
static void come_to_rest(void)
{
    int quiet = 0;
    for (int polls = 0; quiet < 3; polls++) {
        uint64_t before = fake_sys_total();
        check(polls < POLLS_MAX, "the loop, which turns");
        poll_once();
        quiet = fake_sys_total() - before <= 1 ? quiet + 1 : 0;
    }
}

static void let_pass(int64_t ms, int64_t step)
{
    for (; ms > 0; ms -= step) {
        fake_sys_advance_ms(step);
        come_to_rest();
    }
}

/* Those that have received something read it, and say what they have to say to that. */
static void run_visitors(void)
{
    for (int i = 0; i < VISITORS; i++) {
        size_t len;
        (void)fake_peer_output(visitors[i].peer, &len);
        if (len > 0 && visitors[i].manner != RESETS && visitors[i].manner != STALLS) {
            tls_client_run(visitors[i].client);
        }
    }
}

static bool start_server(void)
{
    err[0] = '\0';
    enter();
    server = tls_day_site_start(err, sizeof err);
    leave();
    listener_fd = server == NULL ? -1 : fake_sys_listener_fd();
    return server != NULL;
}

/* The hours of the day. Each returns with what it began having come to rest. */

static void begin_the_day(size_t blocks)
{
    tls_day_site_replace(&tls_day_site.first);
    if (!start_server()) {
        check(has_failed(), "the start");
        check(err[0] != '\0', "the start");
        check(fake_mem_live() == blocks, "the start");
        check(fake_sys_open_fds() == 0, "the start");
        disarm();
        check(start_server(), "the second start");
    }
}

static void keep_session(struct visitor *visitor, struct tls_client *from)
{
    SSL_SESSION *session = from->ssl == NULL ? NULL : SSL_get1_session(from->ssl);
    if (session != NULL && SSL_SESSION_is_resumable(session)) {
        SSL_set_session(visitor->client->ssl, session);
    }
    SSL_SESSION_free(session);
}

static void open_visitor(struct visitor *visitor)
{
    visitor->peer = fake_peer_connect(listener_fd);
    if (visitor->manner != STALLS && visitor->window > 0) {
        fake_peer_set_window(visitor->peer, visitor->window);
    }
    visitor->client->piece = visitor->piece;
    bool is_b = visitor->has_certificate || visitor->lacks_certificate;
    tls_client_connect(visitor->client, visitor->peer, visitor->is_nameless ? NULL : is_b ? "b.example" : "a.example");
    if (visitor->resumes > 0) {
        keep_session(visitor, visitors[visitor->resumes - 1].client);
    }
    tls_client_run(visitor->client);
}

static void receive_visitor(struct visitor *visitor)
{
    open_visitor(visitor);
    if (visitor->manner == STALLS) {
        fake_peer_set_room(visitor->peer, visitor->window);
    }
    for (int n = 0; n < SEGMENTS_MAX && visitor->says[n] != NULL; n++) {
        if (!visitor->client->has_failed && SSL_is_init_finished(visitor->client->ssl)) {
            (void)SSL_write(visitor->client->ssl, visitor->says[n], (int)strlen(visitor->says[n]));
            ERR_clear_error();
            tls_client_run(visitor->client);
        }
    }
    switch (visitor->manner) {
    case SAYS_END:
        (void)SSL_shutdown(visitor->client->ssl);
        ERR_clear_error();
        tls_client_run(visitor->client);
        fake_peer_shutdown(visitor->peer);
        break;
    case CUTS:
        fake_peer_shutdown(visitor->peer);
        break;
    case RESETS:
        fake_peer_reset(visitor->peer, 0);
        break;
    default:
        break;
    }
    come_to_rest();
}

static void receive_strangers(void)
{
    struct fake_peer *peers[STRANGERS];
    for (int i = 0; i < STRANGERS; i++) {
        peers[i] = fake_peer_connect(listener_fd);
        fake_peer_send(peers[i], strangers[i].says, strangers[i].len);
        come_to_rest();
        if (strangers[i].manner == STRANGER_RESETS) {
            fake_peer_reset(peers[i], 0);
        } else if (strangers[i].manner == STRANGER_CUTS) {
            fake_peer_shutdown(peers[i]);
        }
        come_to_rest();
    }
    let_pass(15000, 3000); /* deadlines */
    size_t len;
    const char *text = fake_peer_output(peers[0], &len);
    check(has_failed() || strncmp(text, "HTTP/1.1 400 ", 13) == 0, strangers[0].name);
    check(len == 0 || strncmp(text, "HTTP/1.1 400 ", 13) == 0 || text[0] == SSL3_RT_ALERT, strangers[0].name);
    for (int i = 0; i < STRANGERS; i++) {
        check(fake_peer_saw_close(peers[i]) || (has_failed() && fake_peer_fd(peers[i]) < 0), strangers[i].name);
    }
}

static void receive_visitors(void)
{
    for (int i = 0; i < VISITORS; i++) {
        receive_visitor(&visitors[i]);
    }
    for (int i = 0; i < 10; i++) { /* what waits, streams, and listeners that rest */
        let_pass(40, 40);
        run_visitors();
    }
    for (int i = 0; i < 7; i++) { /* deadlines */
        let_pass(2000, 1000);
        run_visitors();
    }
}

/* A new client: its request is answered rightly, or its connection fails. Returns whether it got its response. */
static bool visit(int version, const struct made *wanted, const struct made *or_this, const char *who)
{
    tls_client_hang_up(&guest);
    SSL_CTX_set_min_proto_version(guest.ctx, version);
    SSL_CTX_set_max_proto_version(guest.ctx, version);
    tls_client_connect(&guest, fake_peer_connect(listener_fd), "a.example");
    tls_client_run(&guest);
    const char *name = tls_client_saw(&guest);
    if (guest.has_failed || !SSL_is_init_finished(guest.ssl)) {
        check(has_failed(), who);
        return false;
    }
    if (X509_cmp(SSL_get0_peer_certificate(guest.ssl), wanted->cert) != 0) {
        check(has_failed(), name);
        check(X509_cmp(SSL_get0_peer_certificate(guest.ssl), or_this->cert) == 0 ||
                  X509_cmp(SSL_get0_peer_certificate(guest.ssl), tls_day_site.rsa.cert) == 0,
              name);
    }
    tls_client_say(&guest, GET("/hello") GET("/small") LAST("/large"));
    bool is_head[ANSWERS_MAX] = {false};
    struct answers answers;
    answers_read(&answers, guest.input, guest.input_len, is_head, true);
    bool is_whole = answers.error[0] == '\0' && !answers.is_cut && answers.count == 3 && guest.has_close_notify;
    for (size_t i = 0; i < answers.count && is_whole; i++) {
        is_whole = answers.list[i].status == 200;
    }
    is_whole = is_whole && answers.list[2].body_len == TLS_DAY_LARGE;
    answers_done(&answers);
    check(is_whole || has_failed(), who);
    return is_whole;
}

/* The files of a certificate are replaced by those of another one, by a pair that does not fit, and by a good one. */
static void replace_certificates(void)
{
    (void)visit(TLS1_3_VERSION, &tls_day_site.first, &tls_day_site.first, "before the replacement");
    tls_day_site_replace(&tls_day_site.second);
    let_pass(LOOK_MS, 10000);
    (void)visit(TLS1_3_VERSION, &tls_day_site.second, &tls_day_site.first, "after the replacement");
    tree_replace_file(&tls_day_site.tree, "key.pem", tls_day_site.authority.key_pem);
    let_pass(LOOK_MS, 10000);
    check(has_failed() || strstr(tls_day_site.logged, "kept") != NULL, "the broken pair");
    (void)visit(TLS1_2_VERSION, &tls_day_site.second, &tls_day_site.first, "after the broken pair");
    tls_day_site_replace(&tls_day_site.third);
    err[0] = '\0';
    enter();
    int rv = evserve_reload(server, err, sizeof err);
    leave();
    check(rv == 0 || (has_failed() && err[0] != '\0'), "the reload");
    come_to_rest();
}

/* When the fault is gone: all as on a good day. */
static void check_serves_again(void)
{
    disarm();
    tls_day_fault.shown = false;
    enum tls_day_kind kind = tls_day_fault.kind;
    tls_day_fault.kind = FAULT_NONE;
    let_pass(2000, 500); /* listeners have rested, the file cache looks again */
    enter();
    int rv = evserve_reload(server, err, sizeof err);
    leave();
    check(rv == 0, "the second reload");
    come_to_rest();
    check(visit(TLS1_3_VERSION, &tls_day_site.third, &tls_day_site.third, "afterwards"), "afterwards");
    check(visit(TLS1_2_VERSION, &tls_day_site.third, &tls_day_site.third, "afterwards"), "afterwards");
    tls_day_fault.kind = kind;
    tls_day_fault.shown = true;
}

static void stop_the_server(bool is_good_day)
{
    enum { LATE = 4 };
    static const char *const late[LATE] = {GET("/later"), GET("/never"), "GET /hel", ""};
    for (int i = 0; i < LATE; i++) {
        tls_client_hang_up(visitors[i].client);
        open_visitor(&visitors[i]);
        if (!visitors[i].client->has_failed && SSL_is_init_finished(visitors[i].client->ssl)) {
            tls_client_say(visitors[i].client, late[i]);
        }
    }
    struct fake_peer *half = fake_peer_connect(listener_fd);
    fake_peer_send(half, "\x16\x03\x01", 3);
    come_to_rest();
    enter();
    evserve_stop(server, DRAIN_MS);
    int rv = 1;
    for (int ms = 0; rv == 1 && ms < 3 * DRAIN_MS; ms += 5) {
        for (int i = 0; i < 10 && rv == 1; i++) {
            rv = evserve_poll(server, 0);
        }
        fake_sys_advance_ms(5);
    }
    leave();
    check(rv == 0, "the stop");
    int cut = evserve_wait(server);
    check(cut >= 0, "the stop");
    if (is_good_day) {
        check(cut == 2, "the stop"); /* one that never gets a response, half a head */
    }
    check(fake_peer_saw_close(half) || fake_peer_fd(half) < 0, "the stop");
}

/* Judging. */

static bool is_same(const struct answer *one, const struct answer *other_one)
{
    return one->status == other_one->status && one->body_len == other_one->body_len &&
           (one->body_len == 0 || memcmp(one->body, other_one->body, one->body_len) == 0);
}

/* Content that was cut is the beginning of the right one. */
static bool is_part(const struct answer *part, const struct answer *whole)
{
    return part->status == whole->status && part->body_len <= whole->body_len &&
           (part->body_len == 0 || memcmp(part->body, whole->body, part->body_len) == 0);
}

static void judge_visitor(int i)
{
    const struct visitor *visitor = &visitors[i];
    const struct tls_client *client = visitor->client;
    struct answers answers;
    char statuses[ANSWERS_MAX * 4 + 1] = "";
    bool is_head[ANSWERS_MAX] = {false};
    is_head[1] = i == 0;
    answers_read(&answers, client->input, client->input_len, is_head, true);
    bool is_malformed = answers.error[0] != '\0' && !answers_lack_their_end(answers.error);
    check(!is_malformed, visitor->name);
    check(fake_peer_saw_close(visitor->peer) || (has_failed() && fake_peer_fd(visitor->peer) < 0), visitor->name);
    for (size_t n = 0, used = 0; n < answers.count; n++) {
        used += (size_t)sprintf(statuses + used, "%s%d", n == 0 ? "" : " ", answers.list[n].status);
    }
    bool is_cut = answers.is_cut || answers.error[0] != '\0';
    check(!is_cut || !client->has_close_notify, visitor->name); /* what was cut does not look whole */
    if (!has_failed() && visitor->statuses != NULL && (is_cut || strcmp(statuses, visitor->statuses) != 0)) {
        fail_msg("%s got %s%s instead of %s. Log:\n%s", visitor->name, statuses, is_cut ? " (cut)" : "",
                 visitor->statuses, tls_day_site.logged);
    }
    for (size_t n = 0; n < answers.count && tls_day_fault.kind != FAULT_NONE; n++) {
        const struct answer *answer = &answers.list[n];
        bool may_be_part = n + 1 == answers.count && !client->has_close_notify;
        bool is_fault = has_failed() && (answer->status == 500 || answer->status == 503);
        bool is_right = n < expected[i].count &&
                        (may_be_part ? is_part(answer, &expected[i].list[n]) : is_same(answer, &expected[i].list[n]));
        check(is_fault || is_right, visitor->name);
    }
    answers_done(&answers);
}

static void keep_answers(void)
{
    for (int i = 0; i < VISITORS; i++) {
        bool is_head[ANSWERS_MAX] = {false};
        is_head[1] = i == 0;
        expected_input[i] = malloc(visitors[i].client->input_len + 1);
        assert_non_null(expected_input[i]);
        memcpy(expected_input[i], visitors[i].client->input, visitors[i].client->input_len + 1);
        answers_read(&expected[i], expected_input[i], visitors[i].client->input_len, is_head, true);
    }
}

bool tls_day_play(void)
{
    disarm();
    fake_sys_reset();
    ERR_clear_error();
    tls_day_site.logged[0] = '\0';
    tls_day_site.requests = tls_day_site.resumed = 0;
    size_t blocks = fake_mem_live();
    tls_faults_mark();
    tls_day_fault.shown = false;
    arm();
    tls_faults_set_phase(0);
    begin_the_day(blocks);
    tls_faults_set_phase(1);
    receive_visitors();
    for (int i = 0; i < VISITORS; i++) {
        judge_visitor(i);
    }
    if (tls_day_fault.kind == FAULT_NONE && expected_input[0] == NULL) {
        keep_answers();
    }
    check(tls_day_fault.kind != FAULT_NONE || tls_day_site.resumed == 2, "resumption");
    receive_strangers();
    tls_faults_set_phase(2);
    replace_certificates();
    bool is_bad_day = has_failed();
    if (is_bad_day || tls_day_fault.kind == FAULT_NONE) {
        check_serves_again();
    }
    tls_faults_set_phase(3);
    stop_the_server(tls_day_fault.kind == FAULT_NONE);
    is_bad_day = has_failed();
    disarm();
    for (int op = 0; op < FAKE_OP_COUNT && !is_bad_day; op++) {
        tls_day_calls[op] = fake_sys_count((enum fake_op)op);
    }
    enter();
    evserve_free(server);
    leave();
    for (int i = 0; i < VISITORS; i++) {
        tls_client_hang_up(visitors[i].client);
    }
    tls_client_hang_up(&guest);
    OPENSSL_thread_stop();
    check(tls_day_site.requests == 0, "the end");
    check(fake_mem_live() == blocks, "the end");
    check(fake_sys_open_fds() == 0, "the end");
    fake_sys_reset();
    return is_bad_day;
}

void tls_day_make(void)
{
    tls_day_site_make();
    for (int i = 0; i < PIPELINED; i++) {
        strcat(pipeline, i % 2 == 0 ? GET("/hello") : GET("/small"));
        strcat(pipeline_statuses, i == 0 ? "200" : " 200");
    }
    for (int i = 0; i < VISITORS; i++) {
        struct visitor *visitor = &visitors[i];
        if (strcmp(visitor->name, "pipelined") == 0) {
            visitor->says[0] = pipeline;
            visitor->statuses = pipeline_statuses;
        }
        visitor->client = &clients[i];
        tls_client_init(visitor->client, visitor->version, poll_once);
        if (visitor->has_certificate) {
            SSL_CTX_use_certificate(visitor->client->ctx, tls_day_site.alice.cert);
            SSL_CTX_use_PrivateKey(visitor->client->ctx, tls_day_site.alice.key);
        }
        if (visitor->is_rsa) {
            SSL_CTX_set_cipher_list(visitor->client->ctx, "ECDHE-RSA-AES128-GCM-SHA256");
        }
    }
    tls_client_init(&guest, TLS1_3_VERSION, poll_once);
}

void tls_day_remove(void)
{
    for (int i = 0; i < VISITORS; i++) {
        answers_done(&expected[i]);
        free(expected_input[i]);
        tls_client_done(visitors[i].client);
    }
    tls_client_done(&guest);
    disarm();
    fake_sys_reset();
    tls_day_site_remove();
}
