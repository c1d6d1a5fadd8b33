/* Strings that C sends from where Lua has them.
 *
 * Happy path: script_anchor() keeps a string in the state until script_release(), when its last byte is sent or the
 * response is lost.
 *
 * Failure modes: clients that do not take their answers would fill the state with them until write_timeout, so that
 * nobody else gets one. What waits may hold half of lua_memory. Beyond that the answers are cut whose clients have
 * taken nothing for longest, the new one excepted. A string that several clients wait for is held once, and to cut one
 * of them would free nothing: such answers are left alone.
 *
 * Most answers leave at once, so a string is counted only when it is still held as the next one comes. */

#include "lua/anchor.h"

#include "core/log.h"
#include "core/mem.h"
#include "http/exchange.h"
#include "http/response.h"
#include "lua/script_error.h"

enum {
    UNSENT_PART = 2, /* the part of lua_memory that answers may hold which clients have not taken */
    CUT_SCAN = 64,   /* answers, the oldest first, among which the one to be cut is looked for */
    COUNT_SLOTS = 3, /* stack slots that counting needs */
};

static struct anchor *make_anchor(struct script *script)
{
    if (script_grow((void ***)&script->anchors, script->anchor_count, &script->anchor_capacity) < 0) {
        return NULL;
    }
    struct anchor *anchor = mem_zalloc(sizeof *anchor);
    if (anchor != NULL) {
        script->anchors[script->anchor_count++] = anchor;
        anchor->script = script;
        anchor->index = (int)script->anchor_count;
        anchor->next_free = script->free_anchors;
        script->free_anchors = anchor;
    }
    return anchor;
}

/* How many anchors hold the string on top of the stack, which is popped; from now on change more. A string that none
 * holds has no count. May raise (memory) for the first of a string. */
static int count_holders(lua_State *L, const struct script *script, int change)
{
    script_push_ref(script, L, REF_UNSENT);
    lua_insert(L, -2);
    lua_pushvalue(L, -1);
    lua_rawget(L, -3);
    int before = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    if (change != 0 && before + change == 0) {
        lua_pushnil(L);
    } else {
        lua_pushinteger(L, before + change);
    }
    if (change != 0) {
        lua_rawset(L, -3);
        lua_pop(L, 1);
    } else {
        lua_pop(L, 3);
    }
    return before;
}

static void push_string(lua_State *L, const struct anchor *anchor)
{
    script_push_ref(anchor->script, L, REF_ANCHORS);
    lua_rawgeti(L, -1, anchor->index);
    lua_remove(L, -2);
}

/* Count the string of the newest anchor, if that has not been done. May raise (memory), with nothing changed. */
static void count_newest(lua_State *L, struct script *script)
{
    struct anchor *anchor = script->uncounted_anchor;
    if (anchor != NULL) {
        luaL_checkstack(L, COUNT_SLOTS + 1, "an answer");
        push_string(L, anchor);
        script->unsent_bytes += count_holders(L, script, 1) == 0 ? anchor->len : 0;
        script->uncounted_anchor = NULL;
    }
}

size_t anchor_unsent_bytes(const struct script *script)
{
    const struct anchor *newest = script->uncounted_anchor;
    size_t bytes = script->unsent_bytes;
    if (newest != NULL) {
        push_string(script->L, newest);
        bytes += count_holders(script->L, script, 0) == 0 ? newest->len : 0;
    }
    return bytes;
}

struct anchor *script_anchor(lua_State *L, int index)
{
    struct script *script = script_of(L);
    if (script->free_anchors == NULL && make_anchor(script) == NULL) {
        script_raise_memory(L);
    }
    count_newest(L, script);
    struct anchor *anchor = script->free_anchors;
    lua_pushvalue(L, index);
    script_push_ref(script, L, REF_ANCHORS);
    lua_insert(L, -2);
    lua_rawseti(L, -2, anchor->index); /* may raise: then the anchor is still free */
    lua_pop(L, 1);
    anchor->data = lua_tolstring(L, index, &anchor->len);
    script->free_anchors = anchor->next_free;
    script->uncounted_anchor = anchor;
    anchor->exchange = NULL;
    anchor->is_cut = false;
    return anchor;
}

/* In and out of the list of those that answer. */
static void link_last(struct anchor *anchor)
{
    struct script *script = anchor->script;
    anchor->older = script->newest_anchor;
    anchor->newer = NULL;
    *(anchor->older != NULL ? &anchor->older->newer : &script->oldest_anchor) = anchor;
    script->newest_anchor = anchor;
}

static void unlink_anchor(struct anchor *anchor)
{
    struct script *script = anchor->script;
    *(anchor->older != NULL ? &anchor->older->newer : &script->oldest_anchor) = anchor->newer;
    *(anchor->newer != NULL ? &anchor->newer->older : &script->newest_anchor) = anchor->older;
}

void script_release(void *arg)
{
    struct anchor *anchor = arg;
    struct script *script = anchor->script;
    lua_State *L = script->L;
    if (anchor->exchange != NULL) {
        unlink_anchor(anchor);
    }
    if (anchor == script->uncounted_anchor) {
        script->uncounted_anchor = NULL;
    } else {
        push_string(L, anchor);
        script->unsent_bytes -= count_holders(L, script, -1) == 1 ? anchor->len : 0;
    }
    script->cut_bytes -= anchor->is_cut ? anchor->len : 0;
    script_push_ref(script, L, REF_ANCHORS);
    lua_pushboolean(L, 0); /* not nil: the table keeps its size, so that this needs no memory */
    lua_rawseti(L, -2, anchor->index);
    lua_pop(L, 1);
    anchor->next_free = script->free_anchors;
    script->free_anchors = anchor;
}

/* Of the oldest answers the one whose client has taken nothing for longest, if to cut it frees memory. */
static struct anchor *find_waiting(const struct script *script)
{
    struct anchor *found = NULL;
    int64_t found_ms = INT64_MAX;
    struct anchor *at = script->oldest_anchor;
    for (int i = 0; i < CUT_SCAN && at != script->newest_anchor; i++, at = at->newer) {
        int64_t at_ms = exchange_write_deadline_ms(at->exchange);
        if (at->is_cut || at_ms >= found_ms || at->data == script->newest_anchor->data) {
            continue;
        }
        push_string(script->L, at);
        if (count_holders(script->L, script, 0) == 1) {
            found = at;
            found_ms = at_ms;
        }
    }
    return found;
}

void anchor_send(struct anchor *anchor, struct exchange *exchange)
{
    struct script *script = anchor->script;
    size_t allowed = script->settings.lua_memory_bytes / UNSENT_PART;
    anchor->exchange = exchange;
    link_last(anchor);
    if (script->unsent_bytes - script->cut_bytes + anchor->len <= allowed) {
        return;
    }
    while (anchor_unsent_bytes(script) - script->cut_bytes > allowed) {
        struct anchor *waiting = find_waiting(script);
        if (waiting == NULL) {
            return;
        }
        waiting->is_cut = true;
        script->cut_bytes += waiting->len;
        char others[OTHERS_MAX];
        if (script_may_log(script, &script->cut_lines, others)) {
            log_write(
                script->log, LOG_WARN,
                "a response of %zu bytes was cut because its client does not read it: unread responses may hold half "
                "of lua_memory%s",
                waiting->len, others);
        }
        response_abort(waiting->exchange);
    }
}

void anchor_free_all(struct script *script)
{
    for (uint32_t i = 0; i < script->anchor_count; i++) {
        mem_free(script->anchors[i]);
    }
    mem_free(script->anchors);
}
