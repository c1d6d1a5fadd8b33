/* The variants of the parser, of which the fastest one that the CPU runs is used. */

#include "http/h1/parser_variants.h"

#include "http/h1/parser_avx2.h"
#include "http/h1/parser_scalar.h"
#include "http/h1/parser_sse42.h"

#include <stddef.h>

parse_head_fn parse_head_variant(unsigned n, const char **name)
{
    static const struct {
        const char *name; /* for people */
        parse_head_fn fn;
    } variants[] = {
        {"scalar", parse_head_scalar},
#ifdef __x86_64__
        {"sse4.2", parse_head_sse42},
        {"avx2", parse_head_avx2},
#endif
    };
    unsigned count = 1;

#ifdef __x86_64__
    if (__builtin_cpu_supports("sse4.2")) {
        count = 2;
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2")) {
            count = 3;
        }
    }
#endif
    if (n >= count) {
        return NULL;
    }
    if (name != NULL) {
        *name = variants[n].name;
    }
    return variants[n].fn;
}

parse_head_fn parse_head_best(const char **name)
{
    unsigned n = 0;

    while (parse_head_variant(n + 1, NULL) != NULL) {
        n++;
    }
    return parse_head_variant(n, name);
}
