/* The end of a run that takes too much.
 *
 * Happy path: every LOOK_INTERVAL instructions of Lua code on_count() looks at the monotonic clock, which costs no
 * system call. Processor time never runs faster, so it is asked for only when the run could be over its budget.
 *
 * What the processor time was when a run began is known from a mark, a reading at the beginning of a run that is at
 * most 10 ms old: since then it has not run faster than the clock. So whatever a run does before its first look counts,
 * such as a slow C function, except what other runs may have taken since the mark. A server that is busy pays for a
 * system call each 10 ms.
 *
 * A run that is over its budget is stopped by on_count() at every further instruction. Where its coroutine can yield,
 * it yields, past every pcall, and is never resumed; a coroutine that the script made hands over to the one that
 * resumed it, which is stopped the same way. Inside a function that C calls back (that of table.sort) nobody can yield:
 * there an error is raised, again and again, until the stack is unwound to where one can. So no further instruction is
 * executed.
 *
 * Failure modes. Nothing stops a C function that takes long (string.find with a bad pattern), unless it is one of ours
 * that calls deadline_check(); the run ends at the first look after it has returned. Those that are known to be slow
 * make for a look when they return (watch.c), and after one that nobody knows the looks are closer together. A run that
 * took long and ended all the same is logged (coro.c). LuaJIT calls no hook in finalizers and in compiled code.
 *
 * A script that is loaded while others serve has a deadline of its own (struct script_load), which ends it the same
 * way. */

#include "lua/deadline.h"

#include "core/sys.h"
#include "lua/collector.h"
#include "lua/hook.h"
#include "lua/memory.h"
#include "lua/scratch.h"
#include "lua/script_error.h"
#include "lua/stack_guard.h"

#include <stdio.h>

enum {
    LOOK_INTERVAL = 1000, /* instructions between two looks; some microseconds */
    SLOW_INTERVAL = 16,   /* and when those took much longer, because some of them call slow functions of C */
    LONG_FACTOR = 2,      /* a run of so many times its budget that was not stopped is worth a line in the log */
    SEEN_PART = 8,        /* the part of the budget that may pass on the wall clock before processor time counts */
};

static const int64_t ns_per_ms = 1000000;
static const int64_t slow_ns = 1000000;       /* between two looks; usual is a hundredth of it */
static const int64_t long_ns = 50000000;      /* a run that takes less is not long: the coarse clock may err by 10 ms */
static const int64_t write_turn_ns = 1000000; /* how long a stream may write before others have their turn */
static const int64_t mark_ns = 10000000;      /* how old a reading of processor time may be when a run begins */
static const int64_t coarse_err_ns = 10000000; /* by which the coarse clock may be late */

/* A run begins, at now_ns, which may be a time of the coarse clock. */
static inline void start_clock(struct script *script, struct run *run, int64_t now_ns)
{
    run->clock = RUN_UNSEEN;
    run->start_ns = now_ns;
    run->seen_ns = now_ns;
    if (now_ns - script->cpu_marked_ns < mark_ns) {
        run->cpu_ns = now_ns + script->cpu_ahead_ns;
        return;
    }
    run->cpu_ns = sys_thread_cpu_ns();
    script->cpu_marked_ns = now_ns;
    script->cpu_ahead_ns = run->cpu_ns - now_ns + coarse_err_ns;
}

/* Whether the run has used up its budget. */
static bool is_over(struct run *run)
{
    int64_t now_ns = sys_now_ns();
    int64_t budget_ns = (int64_t)run->budget_ns;
    int64_t free_ns = budget_ns / SEEN_PART;
    run->is_slow = now_ns - run->seen_ns > (run->clock == RUN_UNSEEN ? slow_ns + coarse_err_ns : slow_ns);
    run->seen_ns = now_ns;
    if (run->clock == RUN_UNSEEN) {
        run->clock = RUN_SEEN;
        run->look_ns = now_ns - run->start_ns > free_ns ? now_ns : now_ns + free_ns; /* it has had that already */
        if (run->look_ns > now_ns) {
            return false;
        }
    }
    if (now_ns < run->look_ns) {
        return false;
    }
    int64_t cpu_ns = sys_thread_cpu_ns();
    if (run->clock == RUN_SEEN) {
        run->clock = RUN_MEASURED;
        run->cpu_ns = cpu_ns < run->cpu_ns ? cpu_ns : run->cpu_ns;
    }
    int64_t used_ns = cpu_ns - run->cpu_ns;
    run->look_ns = now_ns + budget_ns - used_ns;
    return used_ns >= budget_ns;
}

bool deadline_restart(struct script *script)
{
    struct run *run = script->run;
    int64_t now_ns = sys_now_ns();
    run->before_ns += now_ns - run->start_ns;
    start_clock(script, run, now_ns);
    if (run->turn_end_ns == 0) {
        run->turn_end_ns = now_ns + write_turn_ns;
    }
    return now_ns >= run->turn_end_ns;
}

/* Collect garbage. The first time, this is not the run's fault: its clocks go on from where they were. */
static void collect_step(lua_State *L, struct script *script)
{
    struct run *run = script->run;
    int64_t now_ns = sys_now_ns();
    int64_t cpu_ns = sys_thread_cpu_ns();
    memory_collect(L);
    if (!run->is_collected) {
        run->is_collected = true;
        int64_t took_ns = sys_now_ns() - now_ns;
        run->start_ns += took_ns;
        run->seen_ns += took_ns;
        run->look_ns += took_ns;
        run->cpu_ns += sys_thread_cpu_ns() - cpu_ns;
    }
}

void deadline_describe(const struct script *script, const struct run *run, char *text, size_t len)
{
    if (run->stop == STOP_CPU) {
        snprintf(text, len, "stopped: more than %llu ms of processor time without a wait (handler_cpu)",
                 (unsigned long long)run->budget_ns / (unsigned long long)ns_per_ms);
    } else if (run->stop == STOP_LOAD) {
        snprintf(text, len, "stopped: loading took more than %llu ms (reload_timeout)",
                 (unsigned long long)script->load->timeout_ms);
    } else {
        memory_describe(script, run, text, len);
    }
}

/* Whether the script has loaded for too long, or in vain. Its time is that of the wall clock: somebody waits. */
static bool is_load_over(struct script *script)
{
    struct run *run = script->run;
    if (script->load == NULL) {
        return false;
    }
    int64_t now_ns = sys_now_ns();
    run->is_slow = now_ns - run->seen_ns > slow_ns;
    run->seen_ns = now_ns;
    return now_ns >= script->load->end_ns || atomic_load_explicit(script->load->is_unwanted, memory_order_relaxed);
}

/* Put on record where the run was stopped. */
static void report(lua_State *L, struct script *script)
{
    char text[SCRIPT_TEXT_MAX];
    script_place(L, script->stop_place);
    if (script->run->report != NULL) {
        deadline_describe(script, script->run, text, sizeof text);
        script->is_exempt = true;
        script->run->is_reported = script->run->report(L, text);
        script->is_exempt = false;
    }
}

/* Raise an error: the only way out where nobody can yield. */
_Noreturn static void raise_stop(lua_State *L, const struct script *script)
{
    char text[SCRIPT_TEXT_MAX];
    deadline_describe(script, script->run, text, sizeof text);
    lua_pushfstring(L, "%s: %s", script->stop_place, text);
    script_raise_top(L);
}

void deadline_check(lua_State *L)
{
    struct script *script = script_of(L);
    struct run *run = script->run;
    bool is_late = run->stop == STOP_NONE && run->budget_ns != 0 && is_over(run);
    if (is_late || (run->stop == STOP_NONE && is_load_over(script))) {
        run->stop = is_late ? STOP_CPU : STOP_LOAD;
        hook_set_interval(script, 1);
        script_end_loan(script); /* the function ends here, and the report may need it */
        report(L, script);
    }
    if (run->stop != STOP_NONE) {
        raise_stop(L, script);
    }
}

/* The hook. */
static void on_count(lua_State *L, lua_Debug *at)
{
    (void)at;
    struct script *script = script_of(L);
    struct run *run = script->run;
    if (run->stop == STOP_NONE) {
        script_check_stack(L, "a function that C calls back");
        if (memory_is_low(script)) {
            collect_step(L, script);
        } else {
            collector_look(script, L);
        }
        bool is_late = run->budget_ns != 0 && is_over(run);
        run->stop = memory_is_over(script) ? STOP_MEMORY
                    : is_late              ? STOP_CPU
                    : is_load_over(script) ? STOP_LOAD
                                           : STOP_NONE;
        hook_set_interval(script, run->stop != STOP_NONE ? 1 : run->is_slow ? SLOW_INTERVAL : LOOK_INTERVAL);
        script->was_short = script->was_short || run->stop == STOP_MEMORY;
        if (run->stop != STOP_NONE) {
            report(L, script);
        }
    }
    if (run->stop != STOP_NONE && lua_isyieldable(L)) {
        (void)lua_yield(L, 0);
    } else if (run->stop != STOP_NONE) {
        raise_stop(L, script);
    }
}

void deadline_arm(struct script *script)
{
    script->on_count = on_count;
    hook_set_interval(script, LOOK_INTERVAL);
}

void deadline_enter(struct script *script, uint64_t budget_ms, struct run *run)
{
    *run = (struct run){.outer = script->run, .budget_ns = budget_ms * (uint64_t)ns_per_ms};
    start_clock(script, run, sys_coarse_ns());
    script->run = run;
}

uint64_t deadline_leave(struct script *script)
{
    struct run *ended = script->run;
    struct run *outer = ended->outer;
    int64_t now_ns = sys_coarse_ns();
    int64_t last_ns = now_ns - ended->start_ns;
    int64_t took_ns = ended->before_ns + last_ns;
    ended->took_ns = took_ns;
    script->run = outer;
    outer->clock = RUN_UNSEEN; /* the time of the inner run is not the outer one's */
    outer->start_ns += took_ns;
    outer->cpu_ns += took_ns + coarse_err_ns;
    outer->seen_ns = now_ns;
    if (ended->stop != STOP_NONE) {
        hook_set_interval(script, outer->stop == STOP_NONE ? LOOK_INTERVAL : 1);
        return 0;
    }
    bool is_long = last_ns >= long_ns && ended->budget_ns != 0 && last_ns >= LONG_FACTOR * (int64_t)ended->budget_ns;
    return is_long ? (uint64_t)(last_ns / ns_per_ms) : 0;
}
