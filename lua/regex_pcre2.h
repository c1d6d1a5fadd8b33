#ifndef EVSERVE_LUA_REGEX_PCRE2_H
#define EVSERVE_LUA_REGEX_PCRE2_H

/* PCRE2: its header, and its library, which is loaded when somebody needs it. Functions are called through a table; one
 * that is not in it is added below. For regex.c alone. */

#ifdef EVSERVE_HAS_PCRE2
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#endif

#include <stddef.h>

#ifdef EVSERVE_HAS_PCRE2

#define PCRE2_FUNCTIONS(_)                                                                                             \
    _(pcre2_code_free_8)                                                                                               \
    _(pcre2_compile_8)                                                                                                 \
    _(pcre2_compile_context_create_8)                                                                                  \
    _(pcre2_compile_context_free_8)                                                                                    \
    _(pcre2_general_context_create_8)                                                                                  \
    _(pcre2_general_context_free_8)                                                                                    \
    _(pcre2_get_error_message_8)                                                                                       \
    _(pcre2_get_ovector_pointer_8)                                                                                     \
    _(pcre2_jit_compile_8)                                                                                             \
    _(pcre2_jit_stack_assign_8)                                                                                        \
    _(pcre2_jit_stack_create_8)                                                                                        \
    _(pcre2_jit_stack_free_8)                                                                                          \
    _(pcre2_match_8)                                                                                                   \
    _(pcre2_match_context_create_8)                                                                                    \
    _(pcre2_match_context_free_8)                                                                                      \
    _(pcre2_match_data_create_8)                                                                                       \
    _(pcre2_match_data_free_8)                                                                                         \
    _(pcre2_pattern_info_8)                                                                                            \
    _(pcre2_set_callout_8)                                                                                             \
    _(pcre2_set_heap_limit_8)                                                                                          \
    _(pcre2_set_match_limit_8)                                                                                         \
    _(pcre2_set_max_pattern_length_8)

/* Written once, before regex_pcre2_load() first returns 0. */
struct regex_pcre2 {
#define PCRE2_POINTER(name) __typeof__(name) *name;
    PCRE2_FUNCTIONS(PCRE2_POINTER)
#undef PCRE2_POINTER
};

extern struct regex_pcre2 regex_pcre2;

#endif

/* Have the library loaded. Any thread; it stays for the life of the process. Returns 0, or -ELIBACC with a text in
 * err. */
int regex_pcre2_load(char *err, size_t errlen);

#endif
