/* Runs every case of every .wire file in the folder named on the command line, in every way (README.md), on the fake
 * kernel. A case name as second argument runs that one alone and shows what came out. */

#include "core/log.h"
#include "core/reactor.h"
#include "http/limits.h"
#include "http/server.h"
#include "http/site.h"
#include "http/site_parts.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"
#include "tests/wire/wire_answers.h"
#include "tests/wire/wire_case.h"
#include "tests/wire/wire_site.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TICKS_MAX = 200000,
    WINDOW_BYTES = 700,
    TAG_MAX = 128,
    LONG_BYTES = 1000,   /* a case of more is cut in samples */
    LONG_SAMPLES = 100,  /* so many of them */
    LONG_LINES_MAX = 50, /* and around each line end, when there are no more than these */
};

/* How the bytes of a case are cut on their way. */
enum cut { CUT_NOWHERE, CUT_EVERYWHERE, CUT_ONCE };

struct run {
    const struct wire_case *wire_case;
    bool is_tiny;
    enum cut cut;
    size_t position;    /* of CUT_ONCE */
    const char *output; /* what came out */
    size_t output_len;
    bool is_closed;
    bool is_reset; /* with bytes unread: the client may lose the end of the last answer */
    char error[512];
};

struct world {
    struct reactor *reactor;
    struct site *site;
    struct server *server;
};

static bool fail(struct run *run, const char *what, const char *detail)
{
    snprintf(run->error, sizeof run->error, "%s%s%.300s", what, detail == NULL ? "" : ": ",
             detail == NULL ? "" : detail);
    return false;
}

/* The world of one run. */

static bool set_limits(struct run *run, struct limits *limits)
{
    static const struct wire_limit tiny[] = {{"write_high_mark", 1024},
                                             {"write_cap", 4096},
                                             {"max_cached_file", 0},
                                             {"max_cached_files", 1}};
    char err[256];
    for (size_t i = 0; run->is_tiny && i < sizeof tiny / sizeof tiny[0]; i++) {
        if (limits_set(limits, limits_find(tiny[i].name), tiny[i].value, err, sizeof err) < 0) {
            return fail(run, "tiny limits", err);
        }
    }
    for (size_t i = 0; i < run->wire_case->limit_count; i++) {
        const struct limit_info *info = limits_find(run->wire_case->limits[i].name);
        if (info == NULL || limits_set(limits, info, run->wire_case->limits[i].value, err, sizeof err) < 0) {
            return fail(run, "set", info == NULL ? run->wire_case->limits[i].name : err);
        }
    }
    return true;
}

static bool world_open(struct world *world, struct run *run)
{
    char err[256] = "";
    *world = (struct world){0};
    if (reactor_create(&world->reactor, NULL) < 0 || site_create(&world->site, NULL) < 0 ||
        wire_site_fill(world->site, world->reactor) < 0 || !set_limits(run, &world->site->limits)) {
        return run->error[0] != '\0' ? false : fail(run, "cannot build the site", NULL);
    }
    if (server_create(&world->server, world->reactor, world->site, NULL) < 0 ||
        server_listen(world->server, "127.0.0.1:0", err, sizeof err) < 0) {
        return fail(run, "cannot listen", err);
    }
    return true;
}

static void world_close(struct world *world)
{
    server_destroy(world->server);
    site_destroy(world->site);
    reactor_destroy(world->reactor);
}

/* Run ticks until nothing happens any more, without letting time pass. */
static bool settle(struct world *world, const struct fake_peer *peer, struct run *run)
{
    int quiet = 0;
    for (int tick = 0; tick < TICKS_MAX; tick++) {
        size_t unread = fake_peer_unread(peer);
        size_t before, after;
        fake_peer_output(peer, &before);
        int calls = reactor_run_once(world->reactor, 0);
        fake_peer_output(peer, &after);
        if (calls < 0) {
            return fail(run, "the reactor failed", strerror(-calls));
        }
        quiet = calls == 0 && before == after && fake_peer_unread(peer) == unread ? quiet + 1 : 0;
        if (quiet == 3) {
            return true;
        }
    }
    return fail(run, "the server does not come to rest", NULL);
}

/* The entity tag that the server gives the case's file, asked for on a connection of its own; empty when it gives none. */
static void learn_tag(struct world *world, struct run *run, char tag[TAG_MAX])
{
    char question[CASE_PATH_MAX + 64];
    snprintf(question, sizeof question, "HEAD %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
             run->wire_case->etag_of);
    struct fake_peer *peer = fake_peer_connect(fake_sys_listener_fd());
    fake_peer_send_text(peer, question);
    settle(world, peer, run);
    fake_peer_shutdown(peer);
    settle(world, peer, run);
    const char *field = strstr(fake_peer_output(peer, NULL), "ETag: ");
    size_t len = field == NULL ? 0 : strcspn(field + 6, "\r");
    snprintf(tag, TAG_MAX, "%.*s", (int)len, field == NULL ? "" : field + 6);
}

/* Text with {etag} replaced by tag. Returns a block to be freed, with a NUL behind its *len bytes. */
static char *expand(const char *text, size_t text_len, const char *tag, size_t *len)
{
    static const char name[] = "{etag}";
    size_t name_len = sizeof name - 1, tag_len = strlen(tag);
    char *out = malloc(text_len + (text_len / name_len + 1) * tag_len + 1);
    if (out == NULL) {
        perror("wire_runner");
        exit(2);
    }
    *len = 0;
    for (size_t at = 0; at < text_len;) {
        bool is_name = text_len - at >= name_len && memcmp(text + at, name, name_len) == 0;
        memcpy(out + *len, is_name ? tag : text + at, is_name ? tag_len : 1);
        *len += is_name ? tag_len : 1;
        at += is_name ? name_len : 1;
    }
    out[*len] = '\0';
    return out;
}

static void send_step(const struct wire_step *step, struct fake_peer *peer, const struct run *run, const char *tag,
                      size_t sent)
{
    size_t len;
    char *data = expand(step->data, step->len, tag, &len);
    if (run->cut == CUT_EVERYWHERE) {
        fake_peer_send_in_pieces(peer, data, len, 1);
    } else if (run->cut == CUT_ONCE && run->position > sent && run->position < sent + len) {
        fake_peer_send_split(peer, data, len, run->position - sent);
    } else {
        fake_peer_send(peer, data, len);
    }
    free(data);
}

/* Let time pass as an idle loop would see it. */
static bool pass_time(struct world *world, const struct fake_peer *peer, struct run *run, int64_t ms)
{
    for (int64_t left = ms; left > 0;) {
        int64_t piece = left < 1000 ? left : 1000;
        fake_sys_advance_ms(piece);
        left -= piece;
        if (!settle(world, peer, run)) {
            return false;
        }
    }
    return true;
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
            fake_peer_shutdown(peer);
        } else if (step->kind == STEP_TAKE) {
            take_bytes(peer, run, step->take_bytes);
        } else if (step->kind == STEP_FILE) {
            if (!wire_files_change(step->change, step->path, step->data, step->len, step->size)) {
                return fail(run, "no such change of a file", step->change);
            }
        } else if (!pass_time(world, peer, run, step->wait_ms)) {
            return false;
        }
        if (!settle(world, peer, run)) {
            return false;
        }
    }
    /* Handlers that answer later do so within this time; no deadline is that short. */
    return pass_time(world, peer, run, 20);
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
        char *text = expand(line->text, line->len, tag, &len);
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

static bool check(struct run *run, const struct answers *answers, const char *tag)
{
    const struct wire_case *c = run->wire_case;
    char text[64];
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

static bool uses_tag(const struct wire_case *c)
{
    bool is_used = false;
    for (size_t i = 0; i < c->step_count; i++) {
        is_used = is_used ||
                  (c->steps[i].data != NULL && memmem(c->steps[i].data, c->steps[i].len, "{etag}", 6) != NULL);
    }
    for (size_t i = 0; i < c->line_count; i++) {
        is_used = is_used || memmem(c->lines[i].text, c->lines[i].len, "{etag}", 6) != NULL;
    }
    return is_used;
}

static bool run_case(struct run *run, bool is_shown)
{
    fake_sys_reset();
    size_t live = fake_mem_live();
    struct world world;
    bool is_good = world_open(&world, run);
    if (is_good) {
        char tag[TAG_MAX] = "";
        if (uses_tag(run->wire_case)) {
            learn_tag(&world, run, tag);
        }
        struct fake_peer *peer = fake_peer_connect(fake_sys_listener_fd());
        if (run->is_tiny) {
            fake_peer_set_window(peer, WINDOW_BYTES);
        }
        is_good = play(&world, peer, run, tag);
        run->output = fake_peer_output(peer, &run->output_len);
        run->is_closed = fake_peer_saw_end(peer);
        if (is_shown) {
            printf("%s", run->output);
        }
        if (is_good) {
            static bool is_head[ANSWERS_MAX];
            static struct answers answers;
            memset(is_head, 0, sizeof is_head);
            find_heads(run->wire_case, is_head);
            answers_read(&answers, run->output, run->output_len, is_head, run->is_closed);
            /* The client has all it wants: a server that lingers may close now. */
            fake_peer_shutdown(peer);
            is_good = settle(&world, peer, run);
            run->is_reset = fake_peer_saw_reset(peer) && !run->wire_case->is_cut && !run->wire_case->may_reset;
            run->output = fake_peer_output(peer, &run->output_len);
            is_good = is_good && check(run, &answers, tag);
            answers_done(&answers);
        }
    }
    world_close(&world);
    wire_files_restore();
    if (is_good && fake_mem_live() != live) {
        is_good = fail(run, "memory is left", NULL);
    }
    if (is_good && fake_sys_open_fds() != 0) {
        is_good = fail(run, "fds are left", NULL);
    }
    return is_good;
}

static bool run_and_report(const struct wire_case *c, bool is_tiny, enum cut cut, size_t position, bool is_shown)
{
    static const char *const cuts[] = {"whole", "byte by byte", "split"};
    struct run run = {.wire_case = c, .is_tiny = is_tiny, .cut = cut, .position = position};
    if (run_case(&run, is_shown)) {
        return true;
    }
    printf("%s:%d: %s, %s limits, %s", c->file, c->line, c->name, is_tiny ? "tiny" : "default", cuts[cut]);
    if (cut == CUT_ONCE) {
        printf(" at %zu", position);
    }
    printf(": %s\n", run.error);
    return false;
}

/* The bytes of a case as they are sent, {etag} as it stands. */
static int byte_at(const struct wire_case *c, size_t position)
{
    for (size_t i = 0; i < c->step_count; i++) {
        size_t len = c->steps[i].kind == STEP_SEND ? c->steps[i].len : 0;
        if (position < len) {
            return (unsigned char)c->steps[i].data[position];
        }
        position -= len;
    }
    return -1;
}

/* Whether a case is cut at position, which is between two of its len bytes. A short one is cut everywhere, a long one
 * around line ends, as far as they are few, and otherwise in samples: long cases repeat themselves. */
static bool is_cut_at(const struct wire_case *c, size_t len, size_t line_ends, size_t position)
{
    if (len <= LONG_BYTES || position % (len / LONG_SAMPLES) == 0) {
        return true;
    }
    bool is_near = false;
    for (size_t i = position < 2 ? 0 : position - 2; i < position + 2; i++) {
        is_near = is_near || byte_at(c, i) == '\n';
    }
    return is_near && line_ends <= LONG_LINES_MAX;
}

/* All ways of one case; the first that fails ends it. */
static bool run_all_ways(const struct wire_case *c, bool is_shown)
{
    size_t len = 0, line_ends = 0;
    for (size_t i = 0; i < c->step_count; i++) {
        size_t step_len = c->steps[i].kind == STEP_SEND ? c->steps[i].len : 0;
        for (size_t at = 0; at < step_len; at++) {
            line_ends += c->steps[i].data[at] == '\n' ? 1 : 0;
        }
        len += step_len;
    }
    for (int tiny = 0; tiny <= 1; tiny++) {
        if (!run_and_report(c, tiny, CUT_NOWHERE, 0, is_shown && !tiny)) {
            return false;
        }
        if (c->whole_only) {
            continue;
        }
        if (!run_and_report(c, tiny, CUT_EVERYWHERE, 0, false)) {
            return false;
        }
        for (size_t position = 1; position < len; position++) {
            if (is_cut_at(c, len, line_ends, position) && !run_and_report(c, tiny, CUT_ONCE, position, false)) {
                return false;
            }
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: wire_runner FOLDER [CASE]\n");
        return 2;
    }
    char pattern[4096];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/*.wire", argv[1]);
    if (glob(pattern, 0, NULL, &found) != 0) {
        fprintf(stderr, "no cases: %s\n", pattern);
        return 2;
    }
    wire_files_make();
    int passed = 0, failed = 0;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct wire_case *cases;
        size_t count = wire_cases_read(found.gl_pathv[i], &cases);
        for (size_t n = 0; n < count; n++) {
            if (argc == 2 || strcmp(argv[2], cases[n].name) == 0) {
                bool is_good = run_all_ways(&cases[n], argc == 3);
                passed += is_good ? 1 : 0;
                failed += is_good ? 0 : 1;
            }
        }
        wire_cases_free(cases, count);
    }
    fake_sys_reset();
    wire_files_remove();
    globfree(&found);
    printf("%d passed, %d failed\n", passed, failed);
    return failed > 0 || passed == 0 ? 1 : 0;
}
