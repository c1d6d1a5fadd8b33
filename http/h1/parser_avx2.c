/* The head parser for CPUs with AVX2: vectors of 32 bytes. */

#include "http/h1/parser_avx2.h"

#include "http/h1/parser_rules.h"
#include "http/h1/parser_steps.h"

#ifdef __x86_64__

#include <immintrin.h>

#define VARIANT     parse_head_avx2
#define TARGET      __attribute__((target("avx2,bmi,bmi2")))
#define INLINE      __attribute__((always_inline, target("avx2,bmi,bmi2"))) static inline
#define LOOKS_BACK  32
#define WIDTH       32
#define vector      __m256i
#define V(op)       _mm256_##op
#define VI(op)      _mm256_##op##_si256
#define REPEAT(...) __VA_ARGS__, __VA_ARGS__
#define EACH_4(c)   c, c, c, c
#define EACH_16(c)  EACH_4(c), EACH_4(c), EACH_4(c), EACH_4(c)
#define EACH(c)     EACH_16(c), EACH_16(c)

#include "http/h1/parser_block.h"
#include "http/h1/parser_whole.h"

#undef WIDTH
#undef vector
#undef V
#undef VI
#undef REPEAT
#undef EACH_4
#undef EACH_16
#undef EACH

#endif
