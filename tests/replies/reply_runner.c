/* Runs the cases of .reply files (README.md) over http/client/fetch_reply.c. */

#include "http/client/fetch.h"
#include "http/client/fetch_reply.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/guard_page.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 60000, LINE_MAX_BYTES = 4096, HAS_MAX = 8, REASON_MAX = 128 };

/* One case, as it is read. */
struct reply_case {
    char place[LINE_MAX_BYTES]; /* file:line name */
    bool is_to_head;
    size_t max_head;
    char bytes[TEXT_MAX]; /* len of them */
    size_t len;
    bool ends; /* the server closes the connection behind them */

    int status; /* 0: not looked at */
    bool has_reason;
    char reason[REASON_MAX];
    char has[HAS_MAX][LINE_MAX_BYTES];
    size_t has_count;
    int fields; /* -1: not looked at */
    bool has_body, has_part;
    char body[TEXT_MAX];
    size_t body_len;
    int keeps; /* -1: not looked at */
    enum fetch_reply_verdict verdict;
    char why[REASON_MAX];
};

/* What a run came to. */
struct reply_outcome {
    enum fetch_reply_verdict verdict;
    char why[REASON_MAX];
    bool has_head;
    int status;
    uint32_t fields;
    bool keeps;
    size_t used; /* up to the end of the response */
    size_t len;
    char content[TEXT_MAX];
};

static struct guarded guarded;
static int failures, cases;

static void note_failure(const struct reply_case *c, const char *what, const char *got)
{
    fprintf(stderr, "%s: %s: %s\n", c->place, what, got);
    failures++;
}

/* Reading. */

static size_t unescape(char *out, const char *text)
{
    size_t len = 0;
    for (; *text != '\0'; text++) {
        if (*text != '\\') {
            out[len++] = *text;
            continue;
        }
        char byte[3] = {0};
        switch (*++text) {
        case 'r':
            out[len++] = '\r';
            break;
        case 'n':
            out[len++] = '\n';
            break;
        case 't':
            out[len++] = '\t';
            break;
        case 'x':
            memcpy(byte, text + 1, 2);
            out[len++] = (char)strtoul(byte, NULL, 16);
            text += 2;
            break;
        default:
            out[len++] = *text;
            break;
        }
    }
    return len;
}

static void append(struct reply_case *c, const char *text, size_t len)
{
    if (len > sizeof c->bytes - c->len) {
        fprintf(stderr, "%s: more than %d bytes\n", c->place, TEXT_MAX);
        exit(2);
    }
    memcpy(c->bytes + c->len, text, len);
    c->len += len;
}

static void read_bytes(struct reply_case *c, const char *line)
{
    char text[LINE_MAX_BYTES + 2];
    if (line[1] == '*') {
        char *piece;
        unsigned long times = strtoul(line + 2, &piece, 10);
        size_t len = unescape(text, piece + 1);
        for (unsigned long i = 0; i < times; i++) {
            append(c, text, len);
        }
        return;
    }
    bool is_raw = line[1] == '|';
    const char *from = line + (is_raw ? 2 : 1);
    size_t len = unescape(text, *from == ' ' ? from + 1 : from);
    if (!is_raw) {
        memcpy(text + len, "\r\n", 2);
        len += 2;
    }
    append(c, text, len);
}

static const char *after_word(const char *line, const char *word)
{
    size_t len = strlen(word);
    if (strncmp(line, word, len) != 0 || (line[len] != ' ' && line[len] != '\0')) {
        return NULL;
    }
    return line[len] == ' ' ? line + len + 1 : line + len;
}

static void expect_failure(struct reply_case *c, enum fetch_reply_verdict verdict, const char *why)
{
    c->verdict = verdict;
    snprintf(c->why, sizeof c->why, "%s", why);
}

static bool read_expectation(struct reply_case *c, const char *line)
{
    const char *rest;
    if ((rest = after_word(line, "status")) != NULL) {
        c->status = atoi(rest);
    } else if ((rest = after_word(line, "reason")) != NULL) {
        c->has_reason = true;
        snprintf(c->reason, sizeof c->reason, "%s", rest);
    } else if ((rest = after_word(line, "has")) != NULL && c->has_count < HAS_MAX) {
        strcpy(c->has[c->has_count++], rest);
    } else if ((rest = after_word(line, "fields")) != NULL) {
        c->fields = atoi(rest);
    } else if ((rest = after_word(line, "body")) != NULL || (rest = after_word(line, "part")) != NULL) {
        c->has_body = *line == 'b';
        c->has_part = *line == 'p';
        c->body_len = unescape(c->body, rest);
    } else if (strcmp(line, "keeps") == 0 || strcmp(line, "closes") == 0) {
        c->keeps = *line == 'k';
    } else if (strcmp(line, "more") == 0) {
        expect_failure(c, REPLY_MORE, "");
    } else if ((rest = after_word(line, "malformed")) != NULL) {
        expect_failure(c, REPLY_MALFORMED, rest);
    } else if ((rest = after_word(line, "too-large")) != NULL) {
        expect_failure(c, REPLY_TOO_LARGE, rest);
    } else if ((rest = after_word(line, "cut")) != NULL) {
        expect_failure(c, REPLY_CUT, rest);
    } else {
        return false;
    }
    return true;
}

static void read_line(struct reply_case *c, const char *line)
{
    const char *rest;
    if (*line == '<') {
        read_bytes(c, line);
    } else if (strcmp(line, "$") == 0) {
        c->ends = true;
    } else if ((rest = after_word(line, "to")) != NULL) {
        c->is_to_head = strcmp(rest, "HEAD") == 0;
    } else if ((rest = after_word(line, "max_head")) != NULL) {
        c->max_head = strtoul(rest, NULL, 10);
    } else if (*line != '\0' && *line != '#' && !read_expectation(c, line)) {
        fprintf(stderr, "%s: cannot read: %s\n", c->place, line);
        exit(2);
    }
}

/* Running. */

static void note_head(struct reply_outcome *out, const struct fetch_reply *reply)
{
    out->has_head = true;
    out->status = reply->head.status;
    out->fields = reply->head.field_count;
}

/* A piece came. Returns whether more may come. */
static bool arrive(struct reply_outcome *out, struct fetch_reply *reply, const char *bytes, size_t len)
{
    const char *data = guarded_at_end(&guarded, bytes, len);
    for (;;) {
        size_t used;
        struct slice piece;
        out->verdict = fetch_reply_take(reply, data, len, &used, &piece);
        if (out->verdict == REPLY_CONTENT || out->verdict == REPLY_DONE) {
            memcpy(out->content + out->len, data + piece.offset, piece.len);
            out->len += piece.len;
        }
        data += used;
        len -= used;
        out->used += used;
        if (out->verdict == REPLY_HEAD) {
            note_head(out, reply);
        } else if (out->verdict != REPLY_CONTENT) {
            return out->verdict == REPLY_MORE;
        }
    }
}

/* The bytes come in pieces: the first one of first bytes, the others of step. */
static void run(struct reply_outcome *out, struct fetch_reply *reply, const struct reply_case *c, size_t first,
                size_t step)
{
    memset(out, 0, sizeof *out);
    fetch_reply_init(reply, c->max_head, c->is_to_head);
    bool goes_on = true;
    for (size_t at = 0, len = first; goes_on && at < c->len; at += len, len = step) {
        len = len < c->len - at ? len : c->len - at;
        goes_on = arrive(out, reply, c->bytes + at, len);
    }
    if (goes_on && c->ends) {
        out->verdict = fetch_reply_end(reply);
    }
    out->keeps = fetch_reply_keeps(reply);
    snprintf(out->why, sizeof out->why, "%s", reply->why != NULL ? reply->why : "");
}

static void compare(const struct reply_case *c, const struct reply_outcome *whole, const struct reply_outcome *other,
                    size_t first, size_t step)
{
    /* Bytes behind a response are seen only when they come with it. */
    if (whole->verdict != other->verdict || strcmp(whole->why, other->why) != 0 || whole->status != other->status ||
        whole->fields != other->fields || whole->has_head != other->has_head || whole->len != other->len ||
        (whole->verdict == REPLY_DONE && whole->used != other->used) ||
        (whole->keeps != other->keeps && whole->used == c->len) ||
        memcmp(whole->content, other->content, whole->len) != 0) {
        char how[64];
        snprintf(how, sizeof how, "%zu bytes, then %zu at a time", first, step);
        note_failure(c, "ends otherwise when it comes in pieces", how);
    }
}

static void check_head(const struct reply_case *c, struct fetch_reply *reply)
{
    if (c->has_reason && strcmp(reply->bytes + reply->head.reason.offset, c->reason) != 0) {
        note_failure(c, "reason", reply->bytes + reply->head.reason.offset);
    }
    for (size_t i = 0; i < c->has_count; i++) {
        bool is_there = false;
        for (uint32_t n = 0; n < reply->head.field_count; n++) {
            char text[LINE_MAX_BYTES];
            snprintf(text, sizeof text, "%s: %s", reply->fields[n].name, reply->fields[n].value);
            is_there |= strcmp(text, c->has[i]) == 0;
        }
        if (!is_there) {
            note_failure(c, "lacks", c->has[i]);
        }
    }
}

static void check(const struct reply_case *c, const struct reply_outcome *out)
{
    char text[256];
    snprintf(text, sizeof text, "verdict %d %s, status %d, %u fields, %s, %zu bytes of content", (int)out->verdict,
             out->why, out->status, out->fields, out->keeps ? "keeps" : "closes", out->len);
    bool is_right = out->verdict == c->verdict && strcmp(out->why, c->why) == 0;
    is_right &= c->status == 0 || c->status == out->status;
    is_right &= c->fields < 0 || (uint32_t)c->fields == out->fields;
    is_right &= c->keeps < 0 || c->keeps == out->keeps;
    is_right &= !c->has_body || c->body_len == out->len;
    is_right &= !(c->has_body || c->has_part) ||
                (c->body_len <= out->len && memcmp(c->body, out->content, c->body_len) == 0);
    if (!is_right) {
        note_failure(c, "came to", text);
    }
}

static void run_every_way(const struct reply_case *c)
{
    static struct reply_outcome whole, other;
    struct fetch_reply reply;

    run(&whole, &reply, c, c->len, c->len);
    check(c, &whole);
    if (whole.has_head) {
        check_head(c, &reply);
    }
    fetch_reply_done(&reply);
    for (size_t step = 1; step <= 3; step++) {
        run(&other, &reply, c, step, step);
        compare(c, &whole, &other, step, step);
        fetch_reply_done(&reply);
    }
    size_t apart = c->len < 2000 ? 1 : c->len / 100; /* a long case is split in samples */
    for (size_t at = 1; at < c->len; at += apart) {
        run(&other, &reply, c, at, c->len);
        compare(c, &whole, &other, at, c->len);
        fetch_reply_done(&reply);
    }
    for (int way = 0; way < 2; way++) {
        uint64_t n = 0;
        do {
            fake_mem_fail_after(++n, false);
            run(&other, &reply, c, way == 0 ? c->len : 7, way == 0 ? c->len : 7);
            fetch_reply_done(&reply);
            if (fake_mem_failed() && other.verdict != REPLY_NO_MEMORY) {
                note_failure(c, "goes on without memory", "");
            }
        } while (fake_mem_failed());
        fake_mem_fail_after(0, false);
    }
    if (fake_mem_live() != 0) {
        note_failure(c, "leaves memory", "");
    }
    cases++;
}

static void play_file(const char *path)
{
    static struct reply_case c;
    char line[LINE_MAX_BYTES];
    FILE *file = fopen(path, "r");
    bool has_case = false;
    int number = 0;

    if (file == NULL) {
        perror(path);
        exit(2);
    }
    while (fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        number++;
        const char *name = after_word(line, "case");
        if (name != NULL) {
            if (has_case) {
                run_every_way(&c);
            }
            memset(&c, 0, sizeof c);
            c.max_head = FETCH_RESPONSE_HEAD_MAX;
            c.verdict = REPLY_DONE;
            c.fields = c.keeps = -1;
            snprintf(c.place, sizeof c.place, "%.*s:%d", (int)sizeof c.place / 2, path, number);
            has_case = true;
        } else {
            read_line(&c, line);
        }
    }
    if (has_case) {
        run_every_way(&c);
    }
    fclose(file);
}

int main(int argc, char **argv)
{
    guarded_init(&guarded);
    DIR *dir = opendir(argc > 1 ? argv[1] : "tests/replies");
    if (dir == NULL) {
        perror(argc > 1 ? argv[1] : "tests/replies");
        return 2;
    }
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        const char *dot = strrchr(entry->d_name, '.');
        if (dot != NULL && strcmp(dot, ".reply") == 0) {
            char path[LINE_MAX_BYTES];
            snprintf(path, sizeof path, "%s/%s", argc > 1 ? argv[1] : "tests/replies", entry->d_name);
            play_file(path);
        }
    }
    closedir(dir);
    guarded_done(&guarded);
    printf("%d cases, %d failures\n", cases, failures);
    return failures == 0 && cases > 0 ? 0 : 1;
}
