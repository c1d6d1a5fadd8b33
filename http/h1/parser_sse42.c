/* The head parser for CPUs with SSE4.2: vectors of 16 bytes. */

#include "http/h1/parser_sse42.h"

#include "http/h1/parser_rules.h"
#include "http/h1/parser_steps.h"

#ifdef __x86_64__

#include <immintrin.h>

#define VARIANT     parse_head_sse42
#define TARGET      __attribute__((target("sse4.2")))
#define INLINE      __attribute__((always_inline, target("sse4.2"))) static inline
#define LOOKS_BACK  32
#define WIDTH       16
#define vector      __m128i
#define V(op)       _mm_##op
#define VI(op)      _mm_##op##_si128
#define REPEAT(...) __VA_ARGS__
#define EACH_4(c)   c, c, c, c
#define EACH_16(c)  EACH_4(c), EACH_4(c), EACH_4(c), EACH_4(c)
#define EACH(c)     EACH_16(c)

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
