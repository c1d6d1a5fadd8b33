#include "tests/lib/tls_faults.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

enum { FRAMES_MAX = 24, PLACE_MAX = 512, NOT_A_FRAME = 2, WAY_FRAMES_MAX = 64, WAYS_MAX = 100000, TABLE_SIZE = 262144 };

/* What lies before the caller's bytes. */
struct block {
    _Alignas(max_align_t) struct block *prev, *next; /* all that live */
    size_t size;                                     /* asked for */
    const char *file;                                /* of OpenSSL's source, a literal */
    int line;
    uint64_t number; /* in the order of allocation */
};

static struct block *blocks;
static uint64_t allocated, marked;
static bool is_inside;
static uint64_t calls, fail_at;
static bool fail_forever, has_failed;
static char place[PLACE_MAX];

/* What a recording knows. */
static struct {
    bool is_on;
    int phase;
    uint64_t first;             /* call that came before it */
    uint64_t *ways;             /* hashes, in a table that is open; 0: free */
    size_t way_count;           /* of them */
    uint64_t numbers[WAYS_MAX]; /* way_count of them */
} record;

/* Note an allocation that comes on a new way. */
static void note_way(void)
{
    void *frames[WAY_FRAMES_MAX];
    int count = backtrace(frames, WAY_FRAMES_MAX);
    uint64_t way = 14695981039346656037U + (uint64_t)record.phase; /* FNV-1a */
    for (int i = 0; i < count; i++) {
        way = (way ^ (uintptr_t)frames[i]) * 1099511628211U;
    }
    size_t slot = way % TABLE_SIZE;
    while (record.ways[slot] != 0 && record.ways[slot] != way) {
        slot = (slot + 1) % TABLE_SIZE;
    }
    if (record.ways[slot] == 0 && record.way_count < WAYS_MAX) {
        record.ways[slot] = way;
        record.numbers[record.way_count++] = calls - record.first;
    }
}

/* Where an allocation is about to fail. */
static void keep_place(const char *file, int line)
{
    void *frames[FRAMES_MAX];
    int count = backtrace(frames, FRAMES_MAX);
    int used = snprintf(place, sizeof place, "%s:%d, below", file, line);
    for (int i = NOT_A_FRAME; i < count && used < PLACE_MAX; i++) {
        Dl_info info;
        if (dladdr(frames[i], &info) != 0 && info.dli_sname != NULL) {
            used += snprintf(place + used, sizeof place - (size_t)used, " %s", info.dli_sname);
        } else if (dladdr(frames[i], &info) != 0) {
            used += snprintf(place + used, sizeof place - (size_t)used, " %s+%zx", strrchr(info.dli_fname, '/'),
                             (size_t)((char *)frames[i] - (char *)info.dli_fbase));
        }
    }
}

static bool shall_fail(const char *file, int line)
{
    if (!is_inside) {
        return false;
    }
    calls++;
    if (record.is_on) {
        note_way();
    }
    if (fail_at == 0 || calls < fail_at || (calls > fail_at && !fail_forever)) {
        return false;
    }
    if (!has_failed) {
        keep_place(file, line);
    }
    has_failed = true;
    return true;
}

static void *allocate(size_t size, const char *file, int line)
{
    if (size == 0 || shall_fail(file, line)) {
        return NULL;
    }
    struct block *block = malloc(sizeof *block + size);
    if (block == NULL) {
        return NULL;
    }
    *block = (struct block){.next = blocks, .size = size, .file = file, .line = line, .number = ++allocated};
    if (blocks != NULL) {
        blocks->prev = block;
    }
    blocks = block;
    return memset(block + 1, 0xa5, size);
}

static void release(void *bytes, const char *file, int line)
{
    (void)file;
    (void)line;
    if (bytes == NULL) {
        return;
    }
    struct block *block = (struct block *)bytes - 1;
    *(block->prev == NULL ? &blocks : &block->prev->next) = block->next;
    if (block->next != NULL) {
        block->next->prev = block->prev;
    }
    free(block);
}

/* As realloc(3), but the block always moves. */
static void *resize(void *bytes, size_t size, const char *file, int line)
{
    if (size == 0) {
        release(bytes, file, line);
        return NULL;
    }
    void *moved = allocate(size, file, line);
    if (moved != NULL && bytes != NULL) {
        size_t old = ((struct block *)bytes - 1)->size;
        memcpy(moved, bytes, old < size ? old : size);
        release(bytes, file, line);
    }
    return moved;
}

void tls_faults_install(void)
{
    if (CRYPTO_set_mem_functions(allocate, resize, release) != 1) {
        fprintf(stderr, "tls_faults: OpenSSL has allocated already\n");
        abort();
    }
}

void tls_faults_enter(void)
{
    is_inside = true;
}

void tls_faults_leave(void)
{
    is_inside = false;
}

void tls_faults_fail_after(uint64_t n, bool forever)
{
    has_failed = false;
    place[0] = n == 0 ? place[0] : '\0';
    fail_forever = forever;
    fail_at = n == 0 ? 0 : calls + n;
}

bool tls_faults_failed(void)
{
    return has_failed;
}

const char *tls_faults_place(void)
{
    return place;
}

void tls_faults_record(void)
{
    record.is_on = true;
    record.first = calls;
    record.way_count = 0;
    record.ways = calloc(TABLE_SIZE, sizeof *record.ways);
    if (record.ways == NULL) {
        abort();
    }
}

void tls_faults_set_phase(int phase)
{
    record.phase = phase;
}

uint64_t *tls_faults_end_record(size_t *count)
{
    uint64_t *numbers = malloc((record.way_count + 1) * sizeof *numbers);
    if (numbers == NULL) {
        abort();
    }
    memcpy(numbers, record.numbers, record.way_count * sizeof *numbers);
    *count = record.way_count;
    free(record.ways);
    record.is_on = false;
    return numbers;
}

/* What OpenSSL keeps for later: the algorithms it has looked up. */
static bool is_kept(const struct block *block)
{
    return strstr(block->file, "crypto/property/") != NULL;
}

void tls_faults_mark(void)
{
    marked = allocated;
}

size_t tls_faults_left(void)
{
    size_t count = 0;
    for (const struct block *block = blocks; block != NULL; block = block->next) {
        count += block->number > marked && !is_kept(block);
    }
    return count;
}

void tls_faults_print_left(void)
{
    for (const struct block *block = blocks; block != NULL; block = block->next) {
        if (block->number > marked && !is_kept(block)) {
            fprintf(stderr, "%zu bytes of %s:%d are left\n", block->size, block->file, block->line);
        }
    }
}
