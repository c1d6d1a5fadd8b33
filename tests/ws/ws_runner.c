/* Runs the cases of .ws files (README.md) over http/ws/ws_reader.c. */

#include "http/ws/ws_deflate.h"
#include "http/ws/ws_reader.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/guard_page.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    BYTES_MAX = 1 << 19,     /* of a case */
    SCRIPT_MAX = 1 << 20,    /* what happened, as a text */
    CASE_LINE_MAX = 1 << 14, /* of a file */
    PLACE_MAX = 256,
};

/* What happened, or should: a text with a line for each event. */
struct script {
    size_t len;
    char text[SCRIPT_MAX];
};

/* One case, as it is read. */
struct ws_case {
    char place[PLACE_MAX]; /* file:line: name */
    struct ws_rules rules;
    bool is_deflated;
    size_t len; /* of bytes */
    char bytes[BYTES_MAX];
    size_t fails_by; /* a failure must be seen when so many bytes are there; 0: not looked at */
    struct script expected;
};

static struct guarded guarded;
static struct ws_codecs *codecs; /* there while one struct ws_deflate is */
static int failures, cases;

static void die(const struct ws_case *c, const char *what, const char *line)
{
    fprintf(stderr, "%s: %s: %s\n", c->place, what, line);
    exit(2);
}

/* Scripts. */

static void script_add(struct script *script, const void *bytes, size_t len)
{
    if (len > sizeof script->text - script->len) {
        fprintf(stderr, "a script is longer than %d bytes\n", SCRIPT_MAX);
        exit(2);
    }
    memcpy(script->text + script->len, bytes, len);
    script->len += len;
}

__attribute__((format(printf, 4, 5))) static void script_event(struct script *script, const char *data, size_t len,
                                                               const char *format, ...)
{
    char line[PLACE_MAX];
    va_list args;

    va_start(args, format);
    int line_len = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    script_add(script, line, (size_t)line_len);
    script_add(script, " | ", 3);
    script_add(script, data, len);
    script_add(script, "\n", 1);
}

static void script_print(const char *title, const struct script *script)
{
    fprintf(stderr, "  %s:\n    ", title);
    for (size_t i = 0; i < script->len && i < 600; i++) {
        unsigned char c = (unsigned char)script->text[i];
        if (c == '\n') {
            fputs("\n    ", stderr);
        } else {
            fprintf(stderr, c < 0x20 || c > 0x7e ? "\\x%02x" : "%c", c);
        }
    }
    fputs(script->len > 600 ? "...\n" : "\n", stderr);
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

/* What is right of the "|" of a line, repeated x times: in a static buffer. The line ends before it then. */
static char *read_payload(const struct ws_case *c, char *line, size_t *len)
{
    static char payload[BYTES_MAX];
    char text[CASE_LINE_MAX];
    char *bar = strchr(line, '|');
    size_t piece = 0;
    unsigned long times = 1;

    *len = 0;
    if (bar == NULL) {
        return payload;
    }
    piece = unescape(text, bar[1] == ' ' ? bar + 2 : bar + 1);
    *bar = '\0';
    const char *x = strstr(line, " x=");
    if (x != NULL) {
        times = strtoul(x + 3, NULL, 10);
    }
    for (unsigned long i = 0; i < times; i++) {
        if (piece > sizeof payload - *len) {
            die(c, "payload is too long", line);
        }
        memcpy(payload + *len, text, piece);
        *len += piece;
    }
    return payload;
}

static void append(struct ws_case *c, const void *bytes, size_t len)
{
    if (len > sizeof c->bytes - c->len) {
        die(c, "more bytes than a case may have", "");
    }
    memcpy(c->bytes + c->len, bytes, len);
    c->len += len;
}

static int opcode_of(const char *word)
{
    static const char *const names[] = {"continuation", "text", "binary", "", "", "", "", "", "close", "ping", "pong"};
    for (int i = 0; i < 11; i++) {
        if (strcmp(word, names[i]) == 0) {
            return i;
        }
    }
    return atoi(word);
}

static void append_number(struct ws_case *c, uint64_t number, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--) {
        char byte = (char)(number >> (8 * i) & 0xff);
        append(c, &byte, 1);
    }
}

/* > OPCODE OPTION... | PAYLOAD */
static void read_frame(struct ws_case *c, char *line)
{
    size_t len;
    char *payload = read_payload(c, line, &len);
    unsigned first = 0x80;
    unsigned wide = 0;
    uint64_t mask = 0x37fa213d;
    bool is_masked = true;
    bool has_says = false;
    uint64_t says = 0;
    char *rest = NULL;
    char *word = strtok_r(line, " ", &rest);

    first |= (unsigned)opcode_of(word);
    while ((word = strtok_r(NULL, " ", &rest)) != NULL) {
        if (strcmp(word, "more") == 0) {
            first &= 0x7f;
        } else if (strncmp(word, "rsv", 3) == 0) {
            first |= 0x80U >> atoi(word + 3);
        } else if (strcmp(word, "unmasked") == 0) {
            is_masked = false;
        } else if (strcmp(word, "len16") == 0 || strcmp(word, "len64") == 0) {
            wide = word[3] == '1' ? 2 : 8;
        } else if (strncmp(word, "says=", 5) == 0) {
            has_says = true;
            says = strtoull(word + 5, NULL, 0);
        } else if (strncmp(word, "mask=", 5) == 0) {
            mask = strtoull(word + 5, NULL, 16);
        } else if (strncmp(word, "code=", 5) == 0) {
            unsigned code = (unsigned)atoi(word + 5);
            memmove(payload + 2, payload, len);
            payload[0] = (char)(code >> 8);
            payload[1] = (char)(code & 0xff);
            len += 2;
        } else if (strncmp(word, "x=", 2) != 0) {
            die(c, "cannot read the option", word);
        }
    }
    says = has_says ? says : len;
    wide = wide != 0 ? wide : says > 65535 ? 8 : says > 125 ? 2 : 0;
    append_number(c, first, 1);
    append_number(c, (is_masked ? 0x80 : 0) | (wide == 8 ? 127 : wide == 2 ? 126 : says), 1);
    append_number(c, says, (int)wide);
    if (is_masked) {
        append_number(c, mask, 4);
        for (size_t i = 0; i < len; i++) {
            payload[i] = (char)(payload[i] ^ (char)(mask >> (8 * (3 - i % 4)) & 0xff));
        }
    }
    append(c, payload, len);
}

static char *behind_word(char *line, const char *word)
{
    size_t len = strlen(word);
    if (strncmp(line, word, len) != 0 || (line[len] != ' ' && line[len] != '\0')) {
        return NULL;
    }
    return line[len] == ' ' ? line + len + 1 : line + len;
}

static bool read_expectation(struct ws_case *c, char *line)
{
    size_t len;
    char *rest;

    if ((rest = behind_word(line, "message")) != NULL) {
        const char *payload = read_payload(c, line, &len);
        script_event(&c->expected, payload, len, "message %s", *rest == 't' ? "text" : "binary");
    } else if (strcmp(line, "unfinished") == 0) {
        script_event(&c->expected, "", 0, "unfinished");
    } else if (behind_word(line, "ping") != NULL || behind_word(line, "pong") != NULL) {
        const char *payload = read_payload(c, line, &len);
        script_event(&c->expected, payload, len, "%.4s", line);
    } else if ((rest = behind_word(line, "close")) != NULL || (rest = behind_word(line, "fail")) != NULL) {
        const char *payload = read_payload(c, line, &len);
        const char *by = strstr(rest, " by=");
        c->fails_by = by != NULL ? strtoul(by + 4, NULL, 10) : 0;
        script_event(&c->expected, payload, len, "%s %d", *line == 'c' ? "close" : "fail", atoi(rest));
    } else {
        return false;
    }
    return true;
}

static void read_line(struct ws_case *c, char *line)
{
    char *rest;
    if ((rest = behind_word(line, ">")) != NULL) {
        read_frame(c, rest);
    } else if (strncmp(line, ">|", 2) == 0) {
        size_t len;
        const char *payload = read_payload(c, line, &len);
        append(c, payload, len);
    } else if ((rest = behind_word(line, "max_message")) != NULL) {
        c->rules.max_message = strtoul(rest, NULL, 10);
    } else if (strcmp(line, "deflate") == 0) {
        c->is_deflated = true;
    } else if (*line != '\0' && *line != '#' && !read_expectation(c, line)) {
        die(c, "cannot read", line);
    }
}

/* Running. */

/* What a connection has that agreed on permessage-deflate, with nothing said of contexts. */
static struct ws_deflate *open_deflate(struct ws_case *c)
{
    static const char offered[] = "permessage-deflate";
    struct ws_offer offer = {0};
    struct ws_deflate_terms terms;
    struct ws_deflate *deflate = NULL;

    if (!ws_extension_read(&offer, offered, sizeof offered - 1) ||
        ws_deflate_create(&deflate, &codecs, 1 << 20, &offer, &terms) < 0) {
        die(c, "cannot agree on", offered);
    }
    c->rules.inflate = ws_deflate_inflate;
    c->rules.inflate_arg = deflate;
    return deflate;
}

/* A piece has come. Returns how many of its bytes were there when a failure was seen; 0: none was. */
static size_t arrive(const struct ws_case *c, struct ws_reader *reader, struct script *script, size_t from, size_t len)
{
    static char block[BYTES_MAX];
    struct ws_happening what;
    size_t left = len;
    char *at = len <= GUARDED_BYTES ? guarded_at_end(&guarded, c->bytes + from, len)
                                    : memcpy(block, c->bytes + from, len);

    for (;;) {
        memset(&what, 0xa5, sizeof what);
        switch (ws_reader_next(reader, &c->rules, &at, &left, &what)) {
        case WS_NONE:
            return 0;
        case WS_GOES_ON:
            break;
        case WS_MESSAGE:
            script_event(script, what.data, what.len, "message %s", what.kind == WS_TEXT ? "text" : "binary");
            break;
        case WS_PING:
            script_event(script, what.data, what.len, "ping");
            break;
        case WS_PONG:
            script_event(script, what.data, what.len, "pong");
            break;
        case WS_CLOSE:
            script_event(script, what.data, what.len, "close %u", what.code);
            break;
        case WS_FAIL:
            script_event(script, what.why, strlen(what.why), "fail %u", what.code);
            return from + len;
        }
    }
}

/* The bytes come in pieces: the first one of first bytes, the others of step. The fails_at-th allocation fails, and all
 * after it. Returns how many bytes were there when a failure was seen. */
static size_t run(struct script *script, struct ws_case *c, size_t first, size_t step, uint64_t fails_at)
{
    struct ws_deflate *deflate;
    struct ws_reader reader;
    size_t failed = 0;

    script->len = 0;
    fake_mem_fail_after(0, false);
    deflate = c->is_deflated ? open_deflate(c) : NULL;
    fake_mem_fail_after(fails_at, true);
    ws_reader_init(&reader);
    for (size_t at = 0, len = first; at < c->len; at += len, len = step) {
        len = len < c->len - at ? len : c->len - at;
        size_t by = arrive(c, &reader, script, at, len);
        failed = failed == 0 ? by : failed;
    }
    if (!reader.is_over && !ws_reader_is_between(&reader)) {
        script_event(script, "", 0, "unfinished");
    } else if (reader.held != NULL) {
        script_event(script, "", 0, "idle, but holds memory");
    }
    ws_reader_done(&reader);
    ws_deflate_destroy(deflate);
    return failed;
}

static void compare(const struct ws_case *c, const struct script *script, size_t first, size_t step)
{
    if (script->len != c->expected.len || memcmp(script->text, c->expected.text, script->len) != 0) {
        if (failures++ < 20) {
            fprintf(stderr, "%s, %zu bytes, then %zu at a time\n", c->place, first, step);
            script_print("expected", &c->expected);
            script_print("happened", script);
        }
    }
}

static void note(const struct ws_case *c, const char *what, size_t number)
{
    failures++;
    fprintf(stderr, "%s: %s %zu\n", c->place, what, number);
}

/* With an allocation that fails the same happens up to there, and then a failure that says so. */
static void compare_without_memory(const struct ws_case *c, const struct script *script)
{
    static const char end[] = "fail 1011 | no memory\n";
    size_t len = script->len < sizeof end - 1 ? 0 : script->len - (sizeof end - 1);

    if (memcmp(script->text + len, end, sizeof end - 1) != 0 || len > c->expected.len ||
        memcmp(script->text, c->expected.text, len) != 0) {
        note(c, "goes on without memory", script->len);
        script_print("happened", script);
    }
}

static void run_every_way(struct ws_case *c)
{
    static struct script script;

    if (c->is_deflated && !ws_deflate_is_there()) {
        return; /* zlib is not there */
    }
    size_t live = fake_mem_live();
    cases++;
    for (size_t step = 1; step <= (c->len < 20000 ? 5 : 1); step++) {
        size_t by = run(&script, c, step, step, 0);
        compare(c, &script, step, step);
        if (step == 1 && c->fails_by != 0 && by != c->fails_by) {
            note(c, "is not seen as early as it can be, but with byte", by);
        }
    }
    size_t apart = c->len < 2000 ? 1 : c->len / 32; /* a long case is split in samples */
    for (size_t at = 1; at <= c->len; at += at < 32 ? 1 : apart) {
        run(&script, c, at, c->len, 0);
        compare(c, &script, at, c->len);
    }
    run(&script, c, c->len, c->len, 0);
    compare(c, &script, c->len, c->len);
    for (size_t step = 7; step < 5000; step = step == 7 ? 4096 : 5000) {
        uint64_t n = 0;
        do {
            run(&script, c, step, step, ++n);
            if (fake_mem_failed()) {
                compare_without_memory(c, &script);
            }
        } while (fake_mem_failed());
        fake_mem_fail_after(0, false);
    }
    if (fake_mem_live() != live) {
        note(c, "leaves blocks of memory:", fake_mem_live() - live);
    }
}

static void play_file(const char *path)
{
    static struct ws_case c;
    static char line[CASE_LINE_MAX];
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
        const char *name = behind_word(line, "case");
        if (name != NULL) {
            if (has_case) {
                run_every_way(&c);
            }
            c.len = c.expected.len = c.fails_by = 0;
            c.is_deflated = false;
            c.rules = (struct ws_rules){.max_message = 1 << 20};
            snprintf(c.place, sizeof c.place, "%.120s:%d: %.100s", path, number, name);
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
    const char *folder = argc > 1 ? argv[1] : "tests/ws";
    DIR *dir = opendir(folder);

    guarded_init(&guarded);
    if (dir == NULL) {
        perror(folder);
        return 2;
    }
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        const char *dot = strrchr(entry->d_name, '.');
        if (dot != NULL && strcmp(dot, ".ws") == 0) {
            char path[4096];
            snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
            play_file(path);
        }
    }
    closedir(dir);
    guarded_done(&guarded);
    printf("%d cases, %d failures\n", cases, failures);
    return failures == 0 && cases > 0 ? 0 : 1;
}
