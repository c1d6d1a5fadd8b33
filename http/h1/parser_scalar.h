#ifndef EVSERVE_HTTP_PARSER_SCALAR_H
#define EVSERVE_HTTP_PARSER_SCALAR_H

#include "http/h1/parser.h"

/* The variant that every CPU can run. A parse_head_fn. */
enum parse_verdict parse_head_scalar(struct parser *parser, struct head *head, const struct limits *limits,
                                     const char *data, size_t len);

#endif
