/* Reads .wire files. */

#include "tests/wire/wire_case.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LONG_BYTES = 1000,   /* a case of more is cut in samples */
    LONG_SAMPLES = 100,  /* so many of them */
    LONG_LINES_MAX = 50, /* and around each line end, when there are no more than these */
};

struct reader {
    const char *path;
    int line;
};

static void die(const struct reader *reader, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));

static void die(const struct reader *reader, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s:%d: ", reader->path, reader->line);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(2);
}

static void *need(void *block)
{
    if (block == NULL) {
        perror("wire_runner");
        exit(2);
    }
    return block;
}

static int hex_digit(const struct reader *reader, char c)
{
    const char *digits = "0123456789abcdef";
    const char *at = c == '\0' ? NULL : strchr(digits, c);
    if (at == NULL) {
        die(reader, "\\x wants two lower-case hex digits");
    }
    return (int)(at - digits);
}

/* Resolve the escapes of text. Returns a block of *len bytes, with room for two more. */
static char *unescape(const struct reader *reader, const char *text, size_t *len)
{
    char *out = need(malloc(strlen(text) + 3));
    size_t n = 0;
    for (; *text != '\0'; text++) {
        if (*text != '\\') {
            out[n++] = *text;
            continue;
        }
        switch (*++text) {
        case 'r':
            out[n++] = '\r';
            break;
        case 'n':
            out[n++] = '\n';
            break;
        case 't':
            out[n++] = '\t';
            break;
        case '\\':
            out[n++] = '\\';
            break;
        case 'x':
            out[n] = (char)(hex_digit(reader, text[1]) * 16);
            out[n] = (char)(out[n] + hex_digit(reader, text[2]));
            n++;
            text += 2;
            break;
        default:
            die(reader, "unknown escape \\%c", *text);
        }
    }
    *len = n;
    return out;
}

static struct wire_step *add_step(const struct reader *reader, struct wire_case *c, enum step_kind kind)
{
    if (c->step_count == CASE_STEPS_MAX) {
        die(reader, "more than %d steps", CASE_STEPS_MAX);
    }
    struct wire_step *step = &c->steps[c->step_count++];
    *step = (struct wire_step){.kind = kind};
    return step;
}

/* Send data so many times. Sends that follow each other are one step: how it is cut is the run's business. */
static void add_bytes(const struct reader *reader, struct wire_case *c, const char *data, size_t len, size_t times)
{
    struct wire_step *step = c->step_count > 0 ? &c->steps[c->step_count - 1] : NULL;
    if (step == NULL || step->kind != STEP_SEND) {
        step = add_step(reader, c, STEP_SEND);
    }
    /* Room for all at once: byte by byte, a million of them would be copied a million times. */
    step->data = need(realloc(step->data, step->len + len * times + 1));
    for (size_t i = 0; i < times; i++) {
        memcpy(step->data + step->len, data, len);
        step->len += len;
    }
}

static void read_send(const struct reader *reader, struct wire_case *c, const char *text)
{
    size_t len;
    if (text[0] == '*') {
        char *end;
        unsigned long count = strtoul(text + 1, &end, 10);
        char *piece = unescape(reader, *end == ' ' ? end + 1 : end, &len);
        add_bytes(reader, c, piece, len, count);
        free(piece);
        return;
    }
    bool is_raw = text[0] == '|';
    text += is_raw ? 1 : 0;
    char *bytes = unescape(reader, *text == ' ' ? text + 1 : text, &len);
    if (!is_raw) {
        bytes[len++] = '\r';
        bytes[len++] = '\n';
    }
    add_bytes(reader, c, bytes, len, 1);
    free(bytes);
}

static void read_statuses(const struct reader *reader, struct wire_case *c, char *text)
{
    for (char *word = strtok(text, " "); word != NULL; word = strtok(NULL, " ")) {
        char *times = strchr(word, 'x'); /* 200x16: sixteen times */
        int count = times == NULL ? 1 : atoi(times + 1);
        for (int i = 0; i < count; i++) {
            if (c->status_count == CASE_STATUSES_MAX) {
                die(reader, "more than %d statuses", CASE_STATUSES_MAX);
            }
            c->statuses[c->status_count++] = atoi(word);
        }
    }
}

static void add_line(const struct reader *reader, struct wire_case *c, const char *text, bool is_absent)
{
    if (c->line_count == CASE_LINES_MAX) {
        die(reader, "more than %d lines", CASE_LINES_MAX);
    }
    struct wire_line *line = &c->lines[c->line_count++];
    line->text = unescape(reader, text, &line->len);
    line->is_absent = is_absent;
}

static void add_body(const struct reader *reader, struct wire_case *c, const char *text, bool is_part)
{
    if (c->body_count == CASE_LINES_MAX) {
        die(reader, "more than %d bodies", CASE_LINES_MAX);
    }
    char *end;
    struct wire_line *body = &c->bodies[c->body_count++];
    body->is_part = is_part;
    body->answer = (int)strtol(text, &end, 10);
    body->text = unescape(reader, *end == ' ' ? end + 1 : end, &body->len);
}

static void add_limit(const struct reader *reader, struct wire_case *c, const char *text)
{
    unsigned long long value;
    if (c->limit_count == CASE_LIMITS_MAX || sscanf(text, "%31s %llu", c->limits[c->limit_count].name, &value) != 2) {
        die(reader, "set wants a limit's name and a number, and at most %d are there", CASE_LIMITS_MAX);
    }
    c->limits[c->limit_count++].value = value;
}

/* "CHANGE PATH", and behind them the new contents, what is added, or the size. */
static void add_change(const struct reader *reader, struct wire_case *c, const char *text)
{
    struct wire_step *step = add_step(reader, c, STEP_FILE);
    int at = 0;
    if (sscanf(text, "%15s %63s%n", step->change, step->path, &at) != 2) {
        die(reader, "file wants a change and a path");
    }
    text += at + (text[at] == ' ' ? 1 : 0);
    step->size = strtoull(text, NULL, 10);
    step->data = unescape(reader, text, &step->len);
    step->data[step->len] = '\0';
}

/* A word at the start of the line, and what follows it. */
static char *after(char *line, const char *word)
{
    size_t len = strlen(word);
    if (strncmp(line, word, len) != 0 || (line[len] != ' ' && line[len] != '\0')) {
        return NULL;
    }
    return line[len] == ' ' ? line + len + 1 : line + len;
}

static void read_line(const struct reader *reader, struct wire_case *c, char *line)
{
    char *rest;
    if (line[0] == '>') {
        read_send(reader, c, line + 1);
    } else if ((rest = after(line, "~")) != NULL) {
        add_step(reader, c, STEP_WAIT)->wait_ms = atoll(rest);
    } else if ((rest = after(line, "$")) != NULL) {
        add_step(reader, c, STEP_END)->is_fin_alone = strcmp(rest, "without close_notify") == 0;
    } else if ((rest = after(line, "status")) != NULL) {
        read_statuses(reader, c, rest);
    } else if ((rest = after(line, "has")) != NULL) {
        add_line(reader, c, rest, false);
    } else if ((rest = after(line, "lacks")) != NULL) {
        add_line(reader, c, rest, true);
    } else if ((rest = after(line, "body")) != NULL) {
        add_body(reader, c, rest, false);
    } else if ((rest = after(line, "part")) != NULL) {
        add_body(reader, c, rest, true);
    } else if ((rest = after(line, "file")) != NULL) {
        add_change(reader, c, rest);
    } else if ((rest = after(line, "take")) != NULL) {
        add_step(reader, c, STEP_TAKE)->take_bytes = strcmp(rest, "all") == 0 ? TAKE_ALL : atoll(rest);
    } else if ((rest = after(line, "etag")) != NULL) {
        snprintf(c->etag_of, sizeof c->etag_of, "%s", rest);
    } else if ((rest = after(line, "set")) != NULL) {
        add_limit(reader, c, rest);
    } else if ((rest = after(line, "interim")) != NULL) {
        c->interim = atoi(rest);
    } else if (after(line, "closes") != NULL || after(line, "stays") != NULL) {
        c->closes = line[0] == 'c';
    } else if (after(line, "cut") != NULL) {
        c->is_cut = c->closes = true;
    } else if (after(line, "may-reset") != NULL) {
        c->may_reset = true;
    } else if (after(line, "whole-only") != NULL) {
        c->whole_only = true;
    } else if ((rest = after(line, "tls-nothing")) != NULL && rest[0] != '\0') { /* with the reason */
        c->has_no_record = true;
    } else if ((rest = after(line, "tls-disorderly")) != NULL && rest[0] != '\0') {
        c->is_disorderly = true;
    } else {
        die(reader, "not understood: %s", line);
    }
}

size_t wire_cases_read(const char *path, struct wire_case **cases)
{
    struct reader reader = {.path = path};
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        die(&reader, "%s", strerror(errno));
    }
    char *line = NULL;
    size_t size = 0, count = 0;
    ssize_t len;
    *cases = NULL;
    while ((len = getline(&line, &size, file)) >= 0) {
        reader.line++;
        if (len > 0 && line[len - 1] == '\n') {
            line[len - 1] = '\0';
        }
        char *rest = after(line, "case");
        if (line[0] == '\0' || line[0] == '#') {
            continue;
        }
        if (rest != NULL) {
            *cases = need(realloc(*cases, (count + 1) * sizeof **cases));
            struct wire_case *c = &(*cases)[count++];
            *c = (struct wire_case){.file = path, .line = reader.line, .etag_of = "/a.txt"};
            sscanf(rest, "%127s", c->name);
        } else if (count == 0) {
            die(&reader, "expected a case first");
        } else {
            read_line(&reader, &(*cases)[count - 1], line);
        }
    }
    free(line);
    fclose(file);
    return count;
}

void wire_cases_free(struct wire_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct wire_case *c = &cases[i];
        for (size_t j = 0; j < c->step_count; j++) {
            free(c->steps[j].data);
        }
        for (size_t j = 0; j < c->line_count; j++) {
            free(c->lines[j].text);
        }
        for (size_t j = 0; j < c->body_count; j++) {
            free(c->bodies[j].text);
        }
    }
    free(cases);
}

bool wire_case_uses_tag(const struct wire_case *c)
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

bool wire_case_changes_files(const struct wire_case *c)
{
    bool changes = false;
    for (size_t i = 0; i < c->step_count; i++) {
        changes = changes || c->steps[i].kind == STEP_FILE;
    }
    return changes;
}

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

struct wire_bytes wire_case_bytes(const struct wire_case *c)
{
    struct wire_bytes bytes = {0};
    for (size_t i = 0; i < c->step_count; i++) {
        size_t len = c->steps[i].kind == STEP_SEND ? c->steps[i].len : 0;
        for (size_t at = 0; at < len; at++) {
            bytes.line_ends += c->steps[i].data[at] == '\n' ? 1 : 0;
        }
        bytes.len += len;
    }
    return bytes;
}

bool wire_case_is_cut_at(const struct wire_case *c, const struct wire_bytes *bytes, size_t position)
{
    if (bytes->len <= LONG_BYTES || position % (bytes->len / LONG_SAMPLES) == 0) {
        return true;
    }
    bool is_near = false;
    for (size_t i = position < 2 ? 0 : position - 2; i < position + 2; i++) {
        is_near = is_near || byte_at(c, i) == '\n';
    }
    return is_near && bytes->line_ends <= LONG_LINES_MAX;
}
