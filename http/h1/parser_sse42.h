#ifndef EVSERVE_HTTP_PARSER_SSE42_H
#define EVSERVE_HTTP_PARSER_SSE42_H

#include "http/h1/parser.h"

/* The variant for CPUs with SSE4.2; on x86-64 only. A parse_head_fn. */
enum parse_verdict parse_head_sse42(struct parser *parser, struct head *head, const struct limits *limits,
                                    const char *data, size_t len);

#endif
