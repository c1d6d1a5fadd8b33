#ifndef EVSERVE_CORE_STACK_H
#define EVSERVE_CORE_STACK_H

/* How much of its C stack a thread has left. Code that C calls back can recurse on it, and an overflow is a SIGSEGV. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    STACK_LEAST_BYTES = 512 << 10,  /* the smallest stack that a serving thread should have */
    STACK_LARGEST_BYTES = 64 << 20, /* how much of a larger or unlimited one is used */
};

struct stack {
    uintptr_t low;  /* lowest address that may be used */
    uintptr_t high; /* the address after the highest; 0: not known yet */
};

/* An address in the frame of the function that asks. The stack grows down. */
static inline uintptr_t stack_here(void)
{
    return (uintptr_t)__builtin_frame_address(0);
}

static inline bool stack_has(const struct stack *stack, uintptr_t address)
{
    return address >= stack->low && address < stack->high;
}

/* Find the stack that the caller runs on: that of its thread, or, if the caller runs on another one such as a host's
 * coroutine, STACK_LEAST_BYTES of it from here. Makes two system calls at most and opens no file. */
void stack_find(struct stack *stack);

#endif
