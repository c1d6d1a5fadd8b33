/* Where a thread's stack ends.
 *
 * Happy path: the C library knows it for the threads that it made. The main thread's stack grows towards its limit,
 * from below the name of the program, which the kernel puts at the top of it (getauxval(3), AT_EXECFN). The C library
 * reads /proc for it, which a sandbox may hide.
 *
 * Failure modes: a host may run us on a stack of its own. Then only the present place in it is known. */

#include "core/stack.h"

#include <pthread.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    TOP_BYTES = 4096,       /* the name of the program, at most, with what lies around it */
    ABOVE_BYTES = 64 << 10, /* what of an unknown stack is taken to lie above the caller */
};

static bool find_main(struct stack *stack)
{
    struct rlimit limit;
    uintptr_t top = getauxval(AT_EXECFN);
    if (top == 0 || getrlimit(RLIMIT_STACK, &limit) < 0) {
        return false;
    }
    bool is_large = limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur > STACK_LARGEST_BYTES;
    uintptr_t size = is_large ? STACK_LARGEST_BYTES : (uintptr_t)limit.rlim_cur;
    *stack = (struct stack){.low = top > size ? top - size : 0, .high = top + TOP_BYTES};
    return true;
}

static bool find_thread(struct stack *stack)
{
    pthread_attr_t attr;
    void *low = NULL;
    size_t size = 0, guard = 0;
    if (pthread_getattr_np(pthread_self(), &attr) != 0) {
        return false;
    }
    int rv = pthread_attr_getstack(&attr, &low, &size);
    (void)pthread_attr_getguardsize(&attr, &guard);
    pthread_attr_destroy(&attr);
    if (rv != 0 || guard >= size) {
        return false;
    }
    uintptr_t high = (uintptr_t)low + size;
    size -= guard; /* C libraries differ in whether it is part of the size */
    *stack = (struct stack){.low = high - (size < STACK_LARGEST_BYTES ? size : STACK_LARGEST_BYTES), .high = high};
    return true;
}

void stack_find(struct stack *stack)
{
    uintptr_t here = stack_here();
    if (gettid() == getpid() && find_main(stack) && stack_has(stack, here)) {
        return; /* in a child that a thread forked, that thread is the only one, but not on the main stack */
    }
    if (!find_thread(stack) || !stack_has(stack, here)) {
        *stack = (struct stack){.low = here - (STACK_LEAST_BYTES - ABOVE_BYTES), .high = here + ABOVE_BYTES};
    }
}
