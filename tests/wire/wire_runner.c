/* Runs every case of every .wire file in the folder named on the command line, in every way (README.md), on the fake
 * kernel. A case name as second argument runs that one alone and shows what came out. */

#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"
#include "tests/wire/wire_answers.h"
#include "tests/wire/wire_case.h"
#include "tests/wire/wire_site.h"
#include "tests/wire/wire_tls.h"
#include "tests/wire/wire_world.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WINDOW_BYTES = 700,
    TAG_MAX = 128,
    LONG_STEP = 1000, /* bytes of a step; one of more is not sent byte by byte over TLS */
    CLIENTS_MAX = 32, /* of one world, which takes as long to build as a client to serve */
};

/* How the bytes of a case are cut on their way. */
enum cut {
    CUT_NOWHERE,
    CUT_EVERYWHERE,
    CUT_ONCE,
    CUT_TOGETHER, /* of TLS: everywhere, and all records of a step in one segment */
    CUT_RECORDS,  /* of TLS: nowhere, but each byte of a record is a segment */
};

struct run {
    const struct wire_case *wire_case;
    bool is_tiny, is_tls;
    enum cut cut;
    size_t position;    /* of CUT_ONCE */
    bool has_more;      /* another run may follow in the same world */
    const char *output; /* what came out */
    size_t output_len;
    bool is_closed;
    bool has_close_notify; /* over TLS */
    bool is_reset;         /* with bytes unread: the client may lose the end of the last answer */
    char error[512];
};

static bool fail(struct run *run, const char *what, const char *detail)
{
    snprintf(run->error, sizeof run->error, "%s%s%.300s", what, detail == NULL ? "" : ": ",
             detail == NULL ? "" : detail);
    return false;
}

/* The entity tag that the server gives the case's file, asked for on a connection of its own; empty when it gives
 * none. */
static void learn_tag(struct world *world, const struct run *run, char tag[TAG_MAX])
{
    char question[CASE_PATH_MAX + 64];
    snprintf(question, sizeof question, "HEAD %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
             run->wire_case->etag_of);
    struct fake_peer *peer = fake_peer_connect(world->listener_fd);
    world->peer = peer;
    fake_peer_send_text(peer, question);
    world_settle(world);
    fake_peer_shutdown(peer);
    world_settle(world);
    const char *field = strstr(fake_peer_output(peer, NULL), "ETag: ");
    size_t len = field == NULL ? 0 : strcspn(field + 6, "\r");
    snprintf(tag, TAG_MAX, "%.*s", (int)len, field == NULL ? "" : field + 6);
}

/* Text with {etag} replaced by tag, and {scheme} and the like by what they are in this run. Returns a block to be
 * freed, with a NUL behind its *len bytes. */
static char *expand(const char *text, size_t text_len, const struct run *run, const char *tag, size_t *len)
{
    const struct {
        const char *name, *value;
    } names[] = {{"{etag}", tag},
                 {"{scheme}", run->is_tls ? "https" : "http"},
                 {"{SCHEME}", run->is_tls ? "HTTPS" : "HTTP"},
                 {"{other_scheme}", run->is_tls ? "http" : "https"}};
    char *out = malloc(text_len * (strlen(tag) + 1) + 1);
    if (out == NULL) {
        perror("wire_runner");
        exit(2);
    }
    *len = 0;
    for (size_t at = 0; at < text_len;) {
        const char *value = text + at;
        size_t used = 1, value_len = 1;
        for (size_t i = 0; text[at] == '{' && i < sizeof names / sizeof names[0]; i++) {
            size_t name_len = strlen(names[i].name);
            if (text_len - at >= name_len && memcmp(text + at, names[i].name, name_len) == 0) {
                used = name_len;
                value = names[i].value;
                value_len = strlen(value);
            }
        }
        memcpy(out + *len, value, value_len);
        *len += value_len;
        at += used;
    }
    out[*len] = '\0';
    return out;
}

static void send_plain(struct fake_peer *peer, const struct run *run, const char *data, size_t len, size_t position)
{
    if (run->cut == CUT_EVERYWHERE) {
        fake_peer_send_in_pieces(peer, data, len, 1);
    } else if (position > 0) {
        fake_peer_send_split(peer, data, len, position);
    } else {
        fake_peer_send(peer, data, len);
    }
}

/* The same over TLS, where a piece is a record, and a segment; or some are one segment. A long case goes in pieces of
 * some bytes. */
static void send_records(const struct run *run, const char *data, size_t len, size_t position)
{
    size_t small = len <= LONG_STEP ? 1 : 16;
    bool is_in_bytes = run->cut == CUT_EVERYWHERE || run->cut == CUT_TOGETHER;
    bool is_together = run->cut == CUT_TOGETHER || (run->cut == CUT_ONCE && run->is_tiny);
    for (size_t at = 0, piece; at < len; at += piece) {
        piece = is_in_bytes ? (small < len - at ? small : len - at) : at == 0 && position > 0 ? position : len - at;
        wire_tls_write(data + at, piece);
        if (!is_together) {
            wire_tls_send(run->cut == CUT_RECORDS ? small : 0);
        }
    }
    wire_tls_send(0);
}

static void send_step(const struct wire_step *step, struct fake_peer *peer, const struct run *run, const char *tag,
                      size_t sent)
{
    size_t len;
    char *data = expand(step->data, step->len, run, tag, &len);
    bool is_cut_here = run->cut == CUT_ONCE && run->position > sent && run->position < sent + len;
    size_t position = is_cut_here ? run->position - sent : 0;
    if (run->is_tls) {
        send_records(run, data, len, position);
    } else {
        send_plain(peer, run, data, len, position);
    }
    free(data);
}

/* What the client takes from now on; the tiny run's window is for a client that takes all. */
static void take_bytes(struct fake_peer *peer, const struct run *run, int64_t bytes)
{
    fake_peer_set_window(peer, bytes == TAKE_ALL && run->is_tiny ? WINDOW_BYTES : FAKE_NO_LIMIT);
    if (bytes != TAKE_ALL) {
        fake_peer_set_room(peer, bytes);
    }
}

static bool play(struct world *world, struct fake_peer *peer, struct run *run, const char *tag)
{
    const struct wire_case *c = run->wire_case;
    size_t sent = 0;
    for (size_t i = 0; i < c->step_count; i++) {
        const struct wire_step *step = &c->steps[i];
        if (step->kind == STEP_SEND) {
            send_step(step, peer, run, tag, sent);
            sent += step->len;
        } else if (step->kind == STEP_END) {
            if (run->is_tls && !step->is_fin_alone) {
                wire_tls_end();
            }
            fake_peer_shutdown(peer);
        } else if (step->kind == STEP_TAKE) {
            take_bytes(peer, run, step->take_bytes);
        } else if (step->kind == STEP_FILE) {
            if (!wire_files_change(step->change, step->path, step->data, step->len, step->size)) {
                return fail(run, "no such change of a file", step->change);
            }
        } else if (!world_pass_ms(world, step->wait_ms)) {
            return false;
        }
        if (!world_settle(world)) {
            return false;
        }
    }
    /* Handlers that answer later do so within this time; no deadline is that short. */
    return world_pass_ms(world, 20);
}

/* What the case asks for. */

/* Which requests were HEAD: their answers have no content. Pipelined requests in a case begin at a line start. */
static void find_heads(const struct wire_case *c, bool *is_head)
{
    size_t n = 0;
    for (size_t i = 0; i < c->step_count; i++) {
        const char *data = c->steps[i].kind == STEP_SEND ? c->steps[i].data : NULL;
        for (size_t at = 0; data != NULL && at < c->steps[i].len && n < ANSWERS_MAX; at++) {
            if (at > 0 && data[at - 1] != '\n') {
                continue;
            }
            const char *end = memchr(data + at, '\r', c->steps[i].len - at);
            size_t len = end == NULL ? 0 : (size_t)(end - data) - at;
            bool begins_head = c->steps[i].len - at > 5 && memcmp(data + at, "HEAD ", 5) == 0; /* whole, or cut */
            if (begins_head || (len > 9 && memcmp(data + at + len - 9, " HTTP/", 6) == 0)) {
                is_head[n++] = begins_head;
            }
        }
    }
}

static bool check_lines(struct run *run, const struct answers *answers, const char *tag)
{
    for (size_t i = 0; i < run->wire_case->line_count; i++) {
        const struct wire_line *line = &run->wire_case->lines[i];
        bool found = false;
        size_t len;
        char *text = expand(line->text, line->len, run, tag, &len);
        for (size_t n = 0; n < answers->count; n++) {
            found = found || answer_has(&answers->list[n], text, len);
        }
        if (found == line->is_absent) {
            fail(run, line->is_absent ? "must not have" : "must have", text);
            free(text);
            return false;
        }
        free(text);
    }
    return true;
}

static bool check_bodies(struct run *run, const struct answers *answers)
{
    for (size_t i = 0; i < run->wire_case->body_count; i++) {
        const struct wire_line *body = &run->wire_case->bodies[i];
        const struct answer *answer = body->answer < 1 || (size_t)body->answer > answers->count
                                          ? NULL
                                          : &answers->list[body->answer - 1];
        bool is_right = answer != NULL &&
                        (body->is_part ? memmem(answer->body, answer->body_len, body->text, body->len) != NULL
                                       : answer->body_len == body->len &&
                                             (body->len == 0 || memcmp(answer->body, body->text, body->len) == 0));
        if (!is_right) {
            return fail(run, "content differs", answer == NULL || answer->body == NULL ? "(none)" : answer->body);
        }
    }
    return true;
}

/* The server says close_notify at each end that is in order, and at no other. */
static bool check_end_over_tls(struct run *run, const struct answers *answers)
{
    const struct wire_case *c = run->wire_case;
    if (c->has_no_record && (answers->count > 0 || !run->is_closed)) {
        return fail(run, "over TLS there is a response, or the connection stays open", NULL);
    }
    if (run->has_close_notify && (!run->is_closed || c->is_cut)) {
        return fail(run, "close_notify in the middle of a response", NULL);
    }
    if (run->is_closed && !run->has_close_notify && !c->is_cut && !c->is_disorderly) {
        return fail(run, "the connection ends without close_notify", NULL);
    }
    return true;
}

static bool check(struct run *run, const struct answers *answers, const char *tag)
{
    const struct wire_case *c = run->wire_case;
    char text[64];
    if (run->is_tls && !check_end_over_tls(run, answers)) {
        return false;
    }
    if (run->is_tls && c->has_no_record) {
        return true;
    }
    if (answers->error[0] != '\0' && !(c->is_cut && answers->is_cut)) {
        return fail(run, "malformed answer", answers->error);
    }
    if (c->is_cut && !answers->is_cut) {
        return fail(run, "the last answer is whole", NULL);
    }
    for (size_t i = 0; i < c->status_count || i < answers->count; i++) {
        int wanted = i < c->status_count ? c->statuses[i] : 0;
        int got = i < answers->count ? answers->list[i].status : 0;
        if (wanted != got) {
            snprintf(text, sizeof text, "answer %zu is %d, not %d", i + 1, got, wanted);
            return fail(run, text, NULL);
        }
    }
    if ((answers->interim > 0) != (c->interim != 0)) {
        return fail(run, c->interim != 0 ? "no interim answer" : "an interim answer came", NULL);
    }
    if (run->is_closed != c->closes) {
        return fail(run, c->closes ? "the connection stays open" : "the connection closes", NULL);
    }
    if (run->is_reset) {
        return fail(run, "the connection is reset: what the client has not read is lost", NULL);
    }
    return check_lines(run, answers, tag) && check_bodies(run, answers);
}

/* One run. */

/* Where clients are served. Runs that split a case in two places of it follow each other in one world, unless the case
 * changes files; every other run has one of its own. */
struct stage {
    struct world world;
    bool is_open;
    int clients; /* that have been there */
    size_t live; /* blocks of memory when it was opened */
};

static bool settle_world(void *world)
{
    return world_settle(world);
}

/* A client comes, and all that it does is done. */
static bool play_client(struct world *world, struct fake_peer *peer, struct run *run, const char *tag)
{
    world->peer = peer;
    if (run->is_tiny) {
        fake_peer_set_window(peer, WINDOW_BYTES);
    }
    if (run->is_tls && !wire_tls_connect(peer, run->cut != CUT_ONCE, settle_world, world)) {
        return fail(run, "the handshake has failed", NULL);
    }
    bool is_good = play(world, peer, run, tag);
    run->output = run->is_tls ? wire_tls_output(&run->output_len, &run->has_close_notify)
                              : fake_peer_output(peer, &run->output_len);
    run->is_closed = fake_peer_saw_end(peer);
    return is_good;
}

static bool check_output(struct world *world, struct fake_peer *peer, struct run *run, const char *tag)
{
    static bool is_head[ANSWERS_MAX];
    static struct answers answers;
    memset(is_head, 0, sizeof is_head);
    find_heads(run->wire_case, is_head);
    answers_read(&answers, run->output, run->output_len, is_head, run->is_closed);
    /* The client has all it wants: a server that lingers may close now. */
    fake_peer_shutdown(peer);
    bool is_good = world_settle(world);
    run->is_reset = fake_peer_saw_reset(peer) && !run->wire_case->is_cut && !run->wire_case->may_reset;
    is_good = is_good && check(run, &answers, tag);
    answers_done(&answers);
    return is_good;
}

static bool begin_world(struct stage *stage, struct run *run)
{
    fake_sys_reset();
    stage->live = fake_mem_live();
    stage->is_open = true;
    stage->clients = 0;
    return world_open(&stage->world, run->wire_case, run->is_tiny, run->is_tls);
}

static bool end_world(struct stage *stage, struct run *run, bool is_good)
{
    if (!is_good && run->error[0] == '\0') {
        fail(run, stage->world.error, NULL);
    }
    world_close(&stage->world);
    wire_files_restore();
    stage->is_open = false;
    if (is_good && fake_mem_live() != stage->live) {
        is_good = fail(run, "memory is left", NULL);
    }
    if (is_good && fake_sys_open_fds() != 0) {
        is_good = fail(run, "fds are left", NULL);
    }
    return is_good;
}

static bool run_case(struct stage *stage, struct run *run, bool is_shown)
{
    struct world *world = &stage->world;
    bool is_good = stage->is_open || begin_world(stage, run);
    if (is_good) {
        char tag[TAG_MAX] = "";
        if (wire_case_uses_tag(run->wire_case)) {
            learn_tag(world, run, tag);
        }
        struct fake_peer *peer = fake_peer_connect(run->is_tls ? world->tls_listener_fd : world->listener_fd);
        is_good = play_client(world, peer, run, tag);
        if (is_shown) {
            printf("%s", run->output);
        }
        is_good = is_good && check_output(world, peer, run, tag);
        wire_tls_disconnect();
    }
    stage->clients++;
    return is_good && run->has_more && stage->clients < CLIENTS_MAX ? true : end_world(stage, run, is_good);
}

static bool run_and_report(struct stage *stage, struct run run, bool is_shown)
{
    static const char *const cuts[] = {"whole", "byte by byte", "split", "byte by byte, together", "records in bytes"};
    const struct wire_case *c = run.wire_case;
    if (run_case(stage, &run, is_shown)) {
        return true;
    }
    printf("%s:%d: %s%s, %s limits, %s", c->file, c->line, c->name, run.is_tls ? " over TLS" : "",
           run.is_tiny ? "tiny" : "default", cuts[run.cut]);
    if (run.cut == CUT_ONCE) {
        printf(" at %zu", run.position);
    }
    printf(": %s\n", run.error);
    return false;
}

/* Split the case once at each place. */
static bool run_all_splits(struct stage *stage, struct run run, size_t stride)
{
    const struct wire_case *c = run.wire_case;
    const struct wire_bytes bytes = wire_case_bytes(c);
    bool may_share = !wire_case_changes_files(c);
    run.cut = CUT_ONCE;
    for (size_t next = 1; next <= bytes.len; next++) {
        bool is_last = next == bytes.len;
        if (!is_last && (next % stride != 0 || !wire_case_is_cut_at(c, &bytes, next))) {
            continue;
        }
        run.has_more = may_share && !is_last;
        if (run.position > 0 && !run_and_report(stage, run, false)) {
            return false;
        }
        run.position = next;
    }
    return true;
}

/* All ways of one case; the first that fails ends it. */
static bool run_all_ways(const struct wire_case *c, bool is_tls, size_t stride, bool is_shown)
{
    static const enum cut cuts[] = {CUT_NOWHERE, CUT_EVERYWHERE, CUT_TOGETHER, CUT_RECORDS};
    struct stage stage = {.is_open = false};
    for (int tiny = 0; tiny <= 1; tiny++) {
        struct run run = {.wire_case = c, .is_tls = is_tls, .is_tiny = tiny != 0};
        for (size_t i = 0; i < (c->whole_only ? 1U : is_tls ? 4U : 2U); i++) {
            run.cut = cuts[i];
            if (!run_and_report(&stage, run, is_shown && tiny == 0 && i == 0)) {
                return false;
            }
        }
        if (!c->whole_only && !run_all_splits(&stage, run, stride)) {
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    bool is_tls = argc > 2 && strcmp(argv[1], "--tls") == 0;
    size_t stride = is_tls ? strtoul(argv[2], NULL, 10) : 1;
    argc -= is_tls ? 2 : 0;
    argv += is_tls ? 2 : 0;
    if (argc < 2 || argc > 3 || stride == 0) {
        fprintf(stderr, "usage: wire_runner [--tls STRIDE] FOLDER [CASE]\n");
        return 2;
    }
    char pattern[4096];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/*.wire", argv[1]);
    if (glob(pattern, 0, NULL, &found) != 0) {
        fprintf(stderr, "no cases: %s\n", pattern);
        return 2;
    }
    if (is_tls && !wire_tls_begin()) {
        fprintf(stderr, "no TLS\n");
        return 2;
    }
    wire_files_make();
    int passed = 0, failed = 0;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct wire_case *cases;
        size_t count = wire_cases_read(found.gl_pathv[i], &cases);
        for (size_t n = 0; n < count; n++) {
            if (argc == 2 || strcmp(argv[2], cases[n].name) == 0) {
                bool is_good = run_all_ways(&cases[n], is_tls, stride, argc == 3);
                passed += is_good ? 1 : 0;
                failed += is_good ? 0 : 1;
            }
        }
        wire_cases_free(cases, count);
    }
    fake_sys_reset();
    wire_files_remove();
    if (is_tls) {
        wire_tls_done();
    }
    globfree(&found);
    printf("%d passed, %d failed\n", passed, failed);
    return failed > 0 || passed == 0 ? 1 : 0;
}
