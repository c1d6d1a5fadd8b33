#ifndef EVSERVE_HTTP_PARSER_VARIANTS_H
#define EVSERVE_HTTP_PARSER_VARIANTS_H

#include "http/h1/parser.h"

/* The fastest variant for this CPU; all give the same results. name, if not NULL, gets "scalar", "sse4.2" or "avx2". */
parse_head_fn parse_head_best(const char **name);

/* Every variant this CPU can run, for tests and benchmarks: the n-th with its name, or NULL. */
parse_head_fn parse_head_variant(unsigned n, const char **name);

#endif
