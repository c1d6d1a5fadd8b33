/* Where the stack of a thread ends, on the main thread, on others, and on a stack of the host's own. */

#include "core/stack.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <ucontext.h>

#include <cmocka.h>

static void main_thread_has_what_its_limit_allows(void **state)
{
    (void)state;
    struct rlimit limit;
    struct stack stack = {0};
    assert_int_equal(getrlimit(RLIMIT_STACK, &limit), 0);
    stack_find(&stack);
    assert_true(stack_has(&stack, stack_here()));
    if (limit.rlim_cur <= STACK_LARGEST_BYTES) {
        assert_in_range(stack.high - stack.low, limit.rlim_cur, limit.rlim_cur + 4096);
    } else {
        assert_in_range(stack.high - stack.low, STACK_LARGEST_BYTES, STACK_LARGEST_BYTES + 4096);
    }
}

static void *find(void *arg)
{
    stack_find(arg);
    return stack_has(arg, stack_here()) ? arg : NULL;
}

static void other_thread_has_what_it_was_made_with(void **state)
{
    (void)state;
    struct stack stack = {0};
    pthread_attr_t attr;
    pthread_t thread;
    void *result = NULL;
    assert_int_equal(pthread_attr_init(&attr), 0);
    assert_int_equal(pthread_attr_setstacksize(&attr, STACK_LEAST_BYTES), 0);
    assert_int_equal(pthread_create(&thread, &attr, find, &stack), 0);
    assert_int_equal(pthread_join(thread, &result), 0);
    pthread_attr_destroy(&attr);
    assert_ptr_equal(result, &stack);
    assert_in_range(stack.high - stack.low, STACK_LEAST_BYTES - 65536, STACK_LEAST_BYTES + 65536);
    assert_false(stack_has(&stack, stack_here())); /* this thread's is another one */
}

#ifdef __GLIBC__ /* musl has no makecontext(3) */
static ucontext_t outside, inside;
static struct stack found;

static void find_inside(void)
{
    stack_find(&found);
}

static void stack_of_the_hosts_own_is_taken_to_be_the_least_one(void **state)
{
    (void)state;
    char *own = malloc(2 * STACK_LEAST_BYTES);
    assert_non_null(own);
    assert_int_equal(getcontext(&inside), 0);
    inside.uc_stack.ss_sp = own;
    inside.uc_stack.ss_size = 2 * STACK_LEAST_BYTES;
    inside.uc_link = &outside;
    makecontext(&inside, find_inside, 0);
    assert_int_equal(swapcontext(&outside, &inside), 0);
    assert_int_equal(found.high - found.low, STACK_LEAST_BYTES);
    assert_true(found.low >= (uintptr_t)own);
    free(own);
}
#else
static void stack_of_the_hosts_own_is_taken_to_be_the_least_one(void **state)
{
    (void)state;
    skip();
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(main_thread_has_what_its_limit_allows),
        cmocka_unit_test(other_thread_has_what_it_was_made_with),
        cmocka_unit_test(stack_of_the_hosts_own_is_taken_to_be_the_least_one),
    };
    return cmocka_run_group_tests_name("stack", tests, NULL, NULL);
}
