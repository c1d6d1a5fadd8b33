/* What can be asked of a parser; parser_variants.c has the ways to run one. */

#include "http/h1/parser.h"

void parser_reset(struct parser *parser)
{
    *parser = (struct parser){.state = STATE_START};
}

bool parser_has_begun(const struct parser *parser)
{
    return parser->state >= STATE_METHOD;
}

bool parser_has_head_method(const struct parser *parser, const struct head *head, const char *data)
{
    return parser_has_begun(parser) &&
           method_find(data + head->method_text.offset, head->method_text.len) == METHOD_HEAD;
}
