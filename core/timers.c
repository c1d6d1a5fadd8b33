/* A timer that fires once leaves the heap before it is called, and an interval moves to its next expiry: so a callback
 * may cancel or set any timer, its own too. */

#include "core/timers.h"

#include "core/sys.h"
#include "core/tasks.h"

/* The next expiry of an interval after now, on the grid of the one that was due (R5). */
static int64_t next_expiry(int64_t due_ns, int64_t interval_ns, int64_t now_ns)
{
    return due_ns + ((now_ns - due_ns) / interval_ns + 1) * interval_ns;
}

/* A timer that is set or moved meanwhile has a sequence of at least limit and waits, even if it is due already; none
 * that was due before can be behind it in the heap. */
__attribute__((noinline)) int timers_run(struct timer_heap *heap, struct reactor *reactor, int64_t now_ns)
{
    int calls = 0;
    uint64_t limit = heap->next_sequence;
    for (;;) {
        const struct timer_entry *first = timer_heap_first(heap);
        if (first == NULL || first->deadline_ns > now_ns || first->sequence >= limit) {
            return calls;
        }
        if (calls > 0 && sys_now_ns() - now_ns >= SPELL_NS) {
            return calls;
        }
        timer_id id = timer_heap_id(heap, first);
        struct timer timer = *timer_heap_timer(heap, first);
        if (timer.interval_ns > 0) {
            timer_heap_move(heap, id, next_expiry(first->deadline_ns, timer.interval_ns, now_ns));
        } else {
            timer_heap_cancel(heap, id);
        }
        timer.fn(reactor, id, timer.arg);
        calls++;
    }
}
