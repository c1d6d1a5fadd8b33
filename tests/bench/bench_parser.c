/* How fast request heads are parsed: nanoseconds per request and bytes per nanosecond, for each variant this CPU can
 * run.
 *
 *   bench_parser [seconds per input, default 0.5]
 *
 * Each figure is the best of many short batches, the variants taking turns: what the code costs when nothing else
 * wants the core. The requests are the same each time, so the CPU predicts their branches; a real mix costs more. */

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "http/h1/parser.h"
#include "http/h1/parser_variants.h"
#include "http/limits.h"

enum { BATCH = 50, VARIANTS_MAX = 8, FIELDS_MAX = 100 };

struct input {
    const char *name; /* for people */
    const char *text; /* the request head */
    size_t step;      /* bytes that arrive at a time; 0: all at once */
};

static const char short_request[] = "GET / HTTP/1.1\r\nHost: localhost:8080\r\n\r\n";

/* What a browser sends: about 700 bytes, a dozen fields. */
static const char browser_request[] =
    "GET /assets/photos/2024/05/harbour-at-dusk-wide.jpg?size=large HTTP/1.1\r\n"
    "Host: www.example.com\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    "Accept: image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5\r\n"
    "Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    "Referer: https://www.example.com/albums/harbour\r\n"
    "Connection: keep-alive\r\n"
    "Cookie: session=4f1c9e07b2d84a6c9a3e5d0c7b1f2a68; theme=dark; consent=analytics-no.marketing-no; "
    "_visit=1716393600.1716480000.17\r\n"
    "Sec-Fetch-Dest: image\r\n"
    "Sec-Fetch-Mode: no-cors\r\n"
    "Sec-Fetch-Site: same-origin\r\n"
    "If-Modified-Since: Wed, 22 May 2024 16:00:00 GMT\r\n"
    "Priority: u=4, i\r\n"
    "\r\n";

/* Ninety fields as short as they come: all structure, hardly any content. */
static void make_tiny_fields(char *out)
{
    strcpy(out, "GET / HTTP/1.1\r\nHost:a\r\n");
    for (int i = 0; i < 90; i++) {
        strcat(out, "a:b\r\n");
    }
    strcat(out, "\r\n");
}

/* Names and values that differ from the known ones in the last byte, white space, a folded case, a long value. */
static void make_hostile(char *out)
{
    strcpy(out, "GET /%2e%2e/%2e%2e/etc/passwd?{|}^\"<> HTTP/1.1\r\nhOsT:\t \t[::ffff:192.0.2.1]:80 \t \r\n");
    for (int i = 0; i < 12; i++) {
        strcat(out, "Content-Lengtg: 18446744073709551615\r\nTransfer-Encodinh:  chunked\r\nHosu: \xe9\xff\r\n");
    }
    strcat(out, "Content-Length: 0000000000000000000000042 , 42\r\nConnection: ,,,x,close,,\r\nX: ");
    memset(strchr(out, '\0'), 0, 2049);
    memset(strchr(out, '\0'), '\t', 2048);
    strcat(out, "\r\n\r\n");
}

static double now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Parse one request; the variant's answer must be right, or the figures mean nothing. */
static void parse(parse_head_fn fn, const struct input *input, size_t len, const struct limits *limits)
{
    struct field fields[FIELDS_MAX];
    struct head head = {.fields = fields, .field_capacity = FIELDS_MAX};
    struct parser parser;

    parser_reset(&parser);
    for (size_t there = input->step; there < len && input->step > 0; there += input->step) {
        fn(&parser, &head, limits, input->text, there);
    }
    if (fn(&parser, &head, limits, input->text, len) != PARSE_COMPLETE || head.len != len) {
        fprintf(stderr, "bench_parser: %s: not parsed: %s\n", input->name, parser.reason);
        exit(1);
    }
}

/* Seconds per request in one batch. */
static double measure(parse_head_fn fn, const struct input *input, size_t len, const struct limits *limits)
{
    double start = now_s();

    for (int i = 0; i < BATCH; i++) {
        parse(fn, input, len, limits);
    }
    return (now_s() - start) / BATCH;
}

static void run(const struct input *input, const struct limits *limits, double seconds)
{
    double best[VARIANTS_MAX] = {0};
    double end = now_s() + seconds;
    size_t len = strlen(input->text);
    parse_head_fn fn;
    const char *name;

    for (bool is_first = true; is_first || now_s() < end; is_first = false) {
        for (unsigned n = 0; n < VARIANTS_MAX && (fn = parse_head_variant(n, NULL)) != NULL; n++) {
            double result = measure(fn, input, len, limits);
            best[n] = is_first || result < best[n] ? result : best[n];
        }
    }
    for (unsigned n = 0; n < VARIANTS_MAX && parse_head_variant(n, &name) != NULL; n++) {
        printf("%-24s %5zu bytes  %-8s %8.1f ns/request  %6.2f bytes/ns\n", input->name, len, name, best[n] * 1e9,
               (double)len / (best[n] * 1e9));
    }
}

int main(int argc, char **argv)
{
    static char tiny_fields[1024];
    static char hostile[8192];
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 0.5;
    struct limits limits;

    make_tiny_fields(tiny_fields);
    make_hostile(hostile);
    const struct input inputs[] = {
        {"short", short_request, 0},
        {"browser", browser_request, 0},
        {"browser, in parts of 100", browser_request, 100},
        {"hostile: tiny fields", tiny_fields, 0},
        {"hostile: near misses", hostile, 0},
        {"hostile: byte by byte", browser_request, 1},
    };
    limits_init(&limits);
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
        run(&inputs[i], &limits, seconds);
    }
    return 0;
}
