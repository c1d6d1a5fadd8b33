#ifndef EVSERVE_HTTP_PARSER_AVX2_H
#define EVSERVE_HTTP_PARSER_AVX2_H

#include "http/h1/parser.h"

/* The variant for CPUs with AVX2, BMI and BMI2; on x86-64 only. A parse_head_fn. */
enum parse_verdict parse_head_avx2(struct parser *parser, struct head *head, const struct limits *limits,
                                   const char *data, size_t len);

#endif
