/* The memory of a script: that of its Lua state, and what C keeps alive in it.
 *
 * Happy path: the state allocates through core/mem.h, counted.
 *
 * Failure modes: an allocation that fails is a Lua error in whatever asked for it. In two places LuaJIT cannot take
 * that (the states of Debian 12 at least), so there memory is set aside beforehand. */

#include "lua/memory.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/reactor.h"
#include "http/server.h"
#include "lua/collector.h"
#include "lua/hook.h"
#include "lua/scratch.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    BLOCKS = 8192,            /* for request objects: what is made of them between two collections, and more */
    BIRTH_BYTES = 16384,      /* memory that lua_newstate() gets; it takes some 12 KiB */
    ALIGNMENT = 16,           /* of the pieces of it */
    SPARE_BYTES = 65536,      /* memory for stacks that must grow when there is no other; 8,000 values */
    STACK_MAX_BYTES = 655360, /* no stack is larger: 65,500 values, and some 8,000 of a call that is too much */
    LOOK_BYTES = 16384,       /* a block of that size takes time to fill: see where the run stands */
    FULL_WAIT_MS = 1000,      /* how long nothing is tried when collecting and asking the script have not helped */
};

/* Parts of lua_memory. */
enum {
    MARK_PART = 4,  /* memory free, below which garbage is collected at once; LuaJIT collects bit by bit before that */
    ROOM_PART = 16, /* memory free, without which no handler is entered */
    GC_PART = 2,    /* what a forced collection may take beyond it: LuaJIT for its tables, and finalizers */
};

/* The state's memory. */

/* LuaJIT cannot take an allocation that fails inside lua_newstate(): it crashes. So what a state is born with is set
 * aside beforehand, in one block, and handed out from there. */
static bool is_from_birth(const struct script *script, const void *block)
{
    return (uintptr_t)block - (uintptr_t)script->birth < BIRTH_BYTES;
}

static void *take_from_birth(struct script *script, size_t size)
{
    size_t taken = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (taken > BIRTH_BYTES - script->birth_used) {
        return mem_alloc(size);
    }
    script->birth_used += taken;
    return script->birth + script->birth_used - taken;
}

/* Nor can it take that growing a stack fails: it then writes beyond the stack's end. In the allocator's eyes a stack is
 * some block that grows, so for blocks that grow there is a spare one. One that was lent has room to grow further. */
static void *lend_spare(struct script *script, void *block, size_t old_size, size_t size)
{
    if (script->spare == NULL || block == NULL || size < old_size || size > SPARE_BYTES) {
        return NULL;
    }
    script->lent = script->spare;
    script->spare = NULL;
    return memcpy(script->lent, block, old_size);
}

bool memory_has_spare(struct script *script)
{
    if (script->spare == NULL) {
        script->spare = mem_alloc(SPARE_BYTES);
    }
    return script->spare != NULL;
}

/* Request objects come and go with each request, and are made where nothing may raise. So there are blocks for them,
 * used again without the C library; more than that many come from there, too. */
struct free_block {
    struct free_block *next;
};

static bool is_set_aside(const struct script *script, const void *block)
{
    return (uintptr_t)block - (uintptr_t)script->blocks < BLOCKS * script->block_bytes;
}

int memory_set_aside(struct script *script, size_t bytes)
{
    size_t rounded = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    script->blocks = mem_alloc(BLOCKS * rounded); /* the kernel gives the pages when they are used */
    script->block_bytes = script->blocks == NULL ? 0 : rounded;
    return script->blocks == NULL ? -ENOMEM : 0;
}

bool memory_ready_block(struct script *script)
{
    struct free_block *taken = script->free_blocks;
    if (script->ready_block != NULL) {
        return true;
    }
    if (taken != NULL) {
        script->free_blocks = taken->next;
        script->ready_block = taken;
    } else if (script->blocks_used < BLOCKS) {
        script->ready_block = script->blocks + script->block_bytes * script->blocks_used++;
    } else {
        script->ready_block = mem_alloc(script->block_bytes);
    }
    return script->ready_block != NULL;
}

static void *take_ready_block(struct script *script, size_t size)
{
    void *block = script->ready_block;
    assert(size <= script->block_bytes);
    script->ready_block = NULL;
    script->memory_bytes += size;
    return block;
}

static void release_block(struct script *script, void *block)
{
    if (block == script->lent) {
        script->lent = NULL;
    }
    if (is_set_aside(script, block)) {
        struct free_block *freed = block;
        freed->next = script->free_blocks;
        script->free_blocks = freed;
    } else if (!is_from_birth(script, block)) {
        mem_free(block);
    }
}

/* Resize a block; NULL makes a new one. On failure NULL, and block is as it was. */
static void *resize(struct script *script, void *block, size_t old_size, size_t size)
{
    bool is_special = block != NULL && (block == script->lent || is_from_birth(script, block));
    if (block != NULL && block == script->lent && size <= SPARE_BYTES) {
        return block;
    }
    void *moved = script->L == NULL             ? take_from_birth(script, size)
                  : is_special || block == NULL ? mem_alloc(size)
                                                : mem_resize(block, size);
    bool is_copied = moved != NULL && (script->L == NULL || is_special);
    if (is_copied && block != NULL) {
        memcpy(moved, block, old_size < size ? old_size : size);
    }
    if (moved == NULL) {
        moved = lend_spare(script, block, old_size, size);
        is_copied = moved != NULL;
    }
    if (is_copied && block != NULL) {
        release_block(script, block);
    }
    return moved;
}

/* The cap, lua_memory.
 *
 * A block that grows may be a stack, so one that a stack could be is never refused. What is held can thus be more than
 * the cap for a moment: then the run is stopped at its next instruction (deadline.c), and none is begun before there is
 * room. All other blocks are refused beyond the cap, which is a Lua error, "not enough memory".
 *
 * LuaJIT collects garbage when twice as much is held as was left the last time. Near the cap that would be too late,
 * and inside the allocator it is impossible. So above a mark everything is collected at the next instruction. The mark
 * then is half way between what is left and the cap, so that collections do not follow each other too closely. */

/* Bytes that the state may hold for what is at work now. */
static size_t memory_limit(const struct script *script)
{
    size_t cap = script->settings.lua_memory_bytes;
    return cap + (script->run->uses_reserve || script->lends_reserve ? cap / MEMORY_RESERVE_PART : 0);
}

static bool is_refused(struct script *script, const void *block, size_t size, size_t held)
{
    bool may_be_stack = block != NULL && size <= STACK_MAX_BYTES;
    size_t limit = script->gc_limit > 0 ? script->gc_limit : memory_limit(script);
    if (held <= limit || may_be_stack || script->is_exempt) {
        return false;
    }
    script->run->refused_bytes = size;
    script->run->held_bytes = script->memory_bytes;
    script->wants_collection = true;
    script->was_short = script->was_short || size <= limit; /* what is larger never fits, whatever is dropped */
    return true;
}

bool memory_is_low(const struct script *script)
{
    return script->wants_collection || script->memory_bytes > script->memory_mark;
}

bool memory_is_over(const struct script *script)
{
    return script->memory_bytes > memory_limit(script);
}

void memory_reset_mark(struct script *script)
{
    script->memory_mark = script->settings.lua_memory_bytes - script->settings.lua_memory_bytes / MARK_PART;
}

void memory_describe(const struct script *script, const struct run *run, char *text, size_t len)
{
    unsigned long long cap = script->settings.lua_memory_bytes;
    if (run != NULL && run->refused_bytes > 0) {
        snprintf(text, len, "not enough memory: %zu bytes are held and %zu more wanted, and lua_memory is %llu",
                 run->held_bytes, run->refused_bytes, cap);
    } else {
        snprintf(text, len, "not enough memory: %zu bytes are held, and lua_memory is %llu", script->memory_bytes, cap);
    }
}

void memory_collect(lua_State *L)
{
    struct script *script = script_of(L);
    size_t outer_limit = script->gc_limit;
    size_t limit = memory_limit(script);
    size_t start = script->memory_bytes + SPARE_BYTES; /* it always can begin */
    limit += limit / GC_PART;
    script->gc_limit = start > limit ? start : limit;
    collector_finish(L);
    script->gc_limit = outer_limit;
    script->wants_collection = false;
    size_t cap = memory_limit(script);
    size_t held = script->memory_bytes < cap ? script->memory_bytes : cap;
    memory_reset_mark(script);
    if (held + (cap - held) / 2 > script->memory_mark) {
        script->memory_mark = held + (cap - held) / 2;
    }
}

/* Everything is collected, and the state is still full: the script may have something to drop. */
static void ask_script(struct script *script)
{
    script->lends_reserve = true;
    bool is_asked = script->on_full != NULL && script->on_full(script);
    script->lends_reserve = false;
    if (is_asked) {
        memory_collect(script->L);
    }
}

/* A state that stays full serves nobody, and what fills it will hardly go by itself. */
static void note_full(struct script *script, int64_t now_ms, bool is_full)
{
    uint64_t allowed_ms = script->settings.lua_full_timeout_ms;
    if (!is_full) {
        script->full_since_ms = 0;
    } else if (script->full_since_ms == 0) {
        script->full_since_ms = now_ms;
    } else if (allowed_ms > 0 && (uint64_t)(now_ms - script->full_since_ms) >= allowed_ms && script->server != NULL) {
        script->full_since_ms = now_ms; /* if that does not help, again after the same time */
        server_report_full(script->server, script->settings.lua_full_exit);
    }
}

/* Everything that can be let go is, if it is time for that. A run that failed for want of memory counts as a full
 * state: it may have wanted more than what is free. */
static void make_script_room(struct script *script, size_t full)
{
    int64_t now_ms = script_now_ms(script);
    bool is_due = now_ms >= script->full_until_ms;
    bool is_short = script->was_short && now_ms >= script->short_until_ms;
    if (!is_short && (!is_due || (script->memory_bytes <= full && !memory_is_low(script)))) {
        return;
    }
    memory_collect(script->L);
    if ((script->memory_bytes > full || is_short) && !script->lends_reserve) {
        size_t held = script->memory_bytes;
        ask_script(script);
        bool has_helped = script->memory_bytes + script->settings.lua_memory_bytes / ROOM_PART <= held;
        script->was_short = false;
        script->short_until_ms = has_helped ? 0 : now_ms + FULL_WAIT_MS;
    }
    script->full_until_ms = script->memory_bytes > full ? now_ms + FULL_WAIT_MS : 0;
    note_full(script, now_ms, script->memory_bytes > full);
}

/* memory_has_room() when there may be none. Not inlined, since each request asks. */
__attribute__((noinline)) static bool find_room(struct script *script, bool uses_reserve, size_t full)
{
    if (script->running != NULL) { /* in the middle of another run, whose hook will see to it */
        return !memory_is_over(script);
    }
    make_script_room(script, full);
    return script->memory_bytes <= full + (uses_reserve ? script->settings.lua_memory_bytes / MEMORY_RESERVE_PART : 0);
}

bool memory_has_room(struct script *script, bool uses_reserve)
{
    size_t cap = script->settings.lua_memory_bytes;
    size_t full = cap - cap / ROOM_PART;
    if (script->memory_bytes <= full && !memory_is_low(script) && !script->was_short) {
        script->full_since_ms = 0;
        return true;
    }
    return find_room(script, uses_reserve, full);
}

void memory_report_full(struct script *script, const char *what, const char *place)
{
    char others[OTHERS_MAX];
    char text[SCRIPT_TEXT_MAX];
    if (script_may_log(script, &script->full_lines, others)) {
        memory_describe(script, NULL, text, sizeof text);
        log_write(script->log, LOG_ERROR, "%s%s: %s%s", what, place, text, others);
    }
}

/* Give a block of size bytes, or change one to it. Lua relies on shrinking to succeed: then the block stays as large as
 * it is. Not inlined, since each request makes and frees an object that is none of its business. */
__attribute__((noinline)) static void *change_block(struct script *script, void *block, size_t old_size, size_t size)
{
    bool grows = size > old_size;
    size_t held = script->memory_bytes + size - old_size;
    if (grows && script->L != NULL && (held > script->memory_mark || size >= LOOK_BYTES)) {
        hook_look_soon(script);
    }
    void *moved = grows && is_refused(script, block, size, held) ? NULL : resize(script, block, old_size, size);
    if (moved == NULL && (block == NULL || grows)) {
        script_end_loan(script); /* Lua raises, past whoever has it */
        return NULL;
    }
    script->memory_bytes = held;
    return moved == NULL ? block : moved;
}

/* lua_Alloc */
static void *allocate(void *arg, void *block, size_t old_size, size_t size)
{
    struct script *script = arg;
    if (size == 0) {
        script->memory_bytes -= old_size;
        release_block(script, block);
        return NULL;
    }
    return script->ready_block != NULL && block == NULL ? take_ready_block(script, size)
                                                        : change_block(script, block, old_size, size);
}

/* The state itself. */

int memory_new_state(struct script *script)
{
    script->birth = mem_alloc(BIRTH_BYTES);
    if (script->birth == NULL || !memory_has_spare(script)) {
        return -ENOMEM;
    }
    script->L = lua_newstate(allocate, script);
    if (script->L != NULL) {
        collector_start(script->L);
        return 0;
    }
    /* Without GC64, on a machine of 64 bits, LuaJIT uses its own allocator alone and does not even ask ours. */
    return script->birth_used == 0 ? -ENOTSUP : -ENOMEM;
}

void memory_done(struct script *script)
{
    if (script->ready_block != NULL) {
        release_block(script, script->ready_block);
    }
    mem_free(script->blocks);
    mem_free(script->birth);
    mem_free(script->spare);
}
