/* How fast frames of WebSocket clients are read: unmasked, checked for UTF-8 and handed over, without a socket.
 *
 *   bench_ws [seconds per figure, default 0.2]
 *
 * Each figure is the best of many short batches: what the code costs when nothing else wants the core. The bytes lie in
 * the cache. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "http/ws/ws_mask.h"
#include "http/ws/ws_reader.h"
#include "http/ws/ws_utf8.h"

enum { BLOCK = 1 << 16 };

static char frames[BLOCK], block[BLOCK];
static double seconds = 0.2;

static double ws_now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The least seconds that a call of work(arg) takes. */
static double time_best(void (*work)(void *), void *arg)
{
    double best = 1e9;

    for (double end = ws_now_s() + seconds, now = 0; now < end;) {
        double begin = ws_now_s();
        work(arg);
        now = ws_now_s();
        best = now - begin < best ? now - begin : best;
    }
    return best;
}

struct unmasking {
    ws_unmask_fn *fn;
    size_t len;
};

static void unmask_block(void *arg)
{
    const struct unmasking *unmasking = arg;
    uint8_t mask[4] = {1, 2, 3, 4};

    for (size_t at = 0; at + unmasking->len <= BLOCK; at += unmasking->len) {
        unmasking->fn(block + at, unmasking->len, mask);
    }
}

static void check_text(void *arg)
{
    struct ws_utf8 utf8 = {0};

    if (!ws_utf8_check(&utf8, arg, BLOCK - BLOCK % 3)) {
        abort();
    }
}

/* Fill the block with a text, again and again. */
static void repeat_text(char *out, const char *text)
{
    size_t len = strlen(text);
    size_t at = 0;

    for (; at + len <= BLOCK; at += len) {
        memcpy(out + at, text, len);
    }
    memset(out + at, ' ', BLOCK - at);
}

struct reading {
    size_t len;  /* of the payload of a message */
    size_t used; /* bytes of the block */
};

static void read_block(void *arg)
{
    const struct reading *reading = arg;
    const struct ws_rules rules = {.max_message = BLOCK};
    struct ws_reader reader;
    struct ws_happening what;
    char *at = block;
    size_t len = reading->used;
    size_t messages = 0;

    memcpy(block, frames, reading->used);
    ws_reader_init(&reader);
    while (ws_reader_next(&reader, &rules, &at, &len, &what) == WS_MESSAGE) {
        messages++;
    }
    if (len != 0 || messages == 0) {
        abort();
    }
}

static void copy_block(void *arg)
{
    const struct reading *reading = arg;

    memcpy(block, frames, reading->used);
    __asm__ volatile("" ::"r"(block) : "memory");
}

/* Text messages of len bytes each, as many as the block holds. */
static size_t make_frames(struct reading *reading)
{
    size_t count = 0;

    reading->used = 0;
    while (reading->used + WS_CLIENT_HEAD_MAX + reading->len <= BLOCK) {
        static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};
        uint8_t turned[4];
        char *at = frames + reading->used;
        size_t head = ws_frame_write(at, WS_OP_TEXT, false, reading->len);
        at[1] = (char)(at[1] | 0x80);
        memcpy(at + head, mask, 4);
        memcpy(turned, mask, 4);
        memset(at + head + 4, 'x', reading->len);
        ws_unmask(at + head + 4, reading->len, turned); /* which masks just as well */
        reading->used += head + 4 + reading->len;
        count++;
    }
    return count;
}

int main(int argc, char **argv)
{
    static const size_t lens[] = {16, 64, 1024, 60000};
    const char *name;

    seconds = argc > 1 ? atof(argv[1]) : seconds;
    puts("unmask, GB/s:");
    for (unsigned n = 0; ws_unmask_variant(n, &name) != NULL; n++) {
        for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
            struct unmasking unmasking = {ws_unmask_variant(n, &name), lens[i]};
            double bytes = (double)(BLOCK / lens[i] * lens[i]);
            printf("  %-6s %6zu bytes  %6.1f\n", name, lens[i], bytes / time_best(unmask_block, &unmasking) / 1e9);
        }
    }
    puts("UTF-8, GB/s:");
    static const struct {
        const char *name, *text;
    } texts[] = {{"ASCII", "The quick brown fox jumps over the lazy dog. "},
                 {"German", "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. "},
                 {"Chinese", "你好世界"}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        repeat_text(block, texts[i].text);
        printf("  %-8s %6.1f\n", texts[i].name, BLOCK / time_best(check_text, block) / 1e9);
    }
    puts("messages, ns each:");
    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        struct reading reading = {.len = lens[i]};
        double count = (double)make_frames(&reading);
        double taken = time_best(read_block, &reading) - time_best(copy_block, &reading);
        printf("  text of %6zu bytes  %8.1f\n", lens[i], taken / count * 1e9);
    }
    return 0;
}
