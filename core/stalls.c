/* Happy path: ticks are short, and nothing here is called. Runs that take STALL_NOTED_NS or more are noted, the
 * longest of a tick by its name. When a tick turns out to be a stall, the line has that name.
 *
 * No failure modes: nothing here allocates or asks the kernel. */

#include "core/stalls.h"

#include "core/log.h"
#include "core/sys.h"
#include "core/tally.h"
#include "core/units.h"

#include <inttypes.h>
#include <stdio.h>

static const int64_t stall_line_ns = 1000000000; /* one line in this time */

void stalls_init(struct stalls *stalls, const struct log *log, const int64_t *began_ns, const uint64_t *ticks)
{
    *stalls = (struct stalls){.limit_ns = INT64_MAX, .log = log, .began_ns = began_ns, .ticks = ticks};
}

void stalls_enter(struct stalls *stalls)
{
    stalls->first_tick = *stalls->ticks;
}

void stalls_watch(struct stalls *stalls, uint64_t limit_ms, uint64_t *count)
{
    bool is_wanted = limit_ms > 0 && limit_ms < (uint64_t)(INT64_MAX / NS_PER_MS);
    stalls->limit_ns = is_wanted ? (int64_t)limit_ms * NS_PER_MS : INT64_MAX;
    stalls->count = count;
}

void stalls_tell(struct stalls *stalls, int64_t end_ns)
{
    int64_t tick_ns = *stalls->began_ns;
    if (*stalls->ticks == stalls->first_tick) {
        return;
    }
    char more[64] = "";
    tally_add(stalls->count, 1);
    if (end_ns < stalls->quiet_until_ns) {
        stalls->unlogged++;
        return;
    }
    if (stalls->unlogged > 0) {
        snprintf(more, sizeof more, " (and %" PRIu64 " more since the last such line)", stalls->unlogged);
    }
    stalls->quiet_until_ns = end_ns + stall_line_ns;
    stalls->unlogged = 0;
    int64_t took_ms = (end_ns - tick_ns) / NS_PER_MS, limit_ms = stalls->limit_ns / NS_PER_MS;
    int64_t longest_ms = stalls->longest_ns / NS_PER_MS; /* by the coarse clock */
    if (stalls->tick_ns == tick_ns) {
        log_write(stalls->log, LOG_WARN,
                  "the event loop stood still for %" PRId64 " ms (stall_warning is %" PRId64 " ms): %s ran for %" PRId64
                  " ms without a wait%s",
                  took_ms, limit_ms, stalls->name, longest_ms < took_ms ? longest_ms : took_ms, more);
    } else {
        log_write(stalls->log, LOG_WARN,
                  "the event loop stood still for %" PRId64 " ms (stall_warning is %" PRId64
                  " ms): nothing that is timed ran for 10 ms, so it was a slow disk, many requests at once, or a busy "
                  "machine%s",
                  took_ms, limit_ms, more);
    }
}

/* Note a run. Returns as stalls_note(). */
static char *note_until(struct stalls *stalls, int64_t took_ns, int64_t end_ns)
{
    bool is_longest = stalls->tick_ns != *stalls->began_ns || took_ns > stalls->longest_ns;
    stalls->tick_ns = *stalls->began_ns;
    stalls->last_end_ns = end_ns;
    if (!is_longest) {
        return NULL;
    }
    stalls->longest_ns = took_ns;
    stalls->name[0] = '\0';
    return stalls->name;
}

char *stalls_note(struct stalls *stalls, int64_t took_ns)
{
    return !stalls_are_watched(stalls) ? NULL : note_until(stalls, took_ns, sys_coarse_ns());
}

char *stalls_note_end(struct stalls *stalls)
{
    if (!stalls_are_watched(stalls)) {
        return NULL;
    }
    int64_t end_ns = sys_coarse_ns();
    int64_t took_ns = end_ns - *stalls->began_ns;
    if (took_ns >= STALL_NOTED_NS && stalls->tick_ns == *stalls->began_ns) {
        took_ns = end_ns - stalls->last_end_ns;
    }
    return took_ns < STALL_NOTED_NS ? NULL : note_until(stalls, took_ns, end_ns);
}
