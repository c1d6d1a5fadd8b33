#ifndef EVSERVE_HTTP_PARSER_RULES_H
#define EVSERVE_HTTP_PARSER_RULES_H

/* What the elements of a request head mean, for those who find them: parser_steps.c and parser_whole.h. */

#include "http/h1/parser_inner.h"

/* Refuse the message. Returns false, for the caller to return. */
__attribute__((cold)) bool parser_fail(struct parser *parser, int status, const char *reason);

/* Refuse it for a byte of the request line that does not belong where it is. is_first: the element would begin with
 * it. */
__attribute__((cold)) bool parser_fail_byte(struct parser *parser, enum head_state state, char byte, bool is_first);

/* The same for a byte of a field line. is_first_line: it comes before any field. */
__attribute__((cold)) bool parser_fail_field_byte(struct parser *parser, enum field_line_state state, char byte,
                                                  bool is_first_line);

/* Interpret a request line whose bytes are in order; version is where its "HTTP/1.1" is. false: refused. */
bool parser_end_request_line(struct parser *parser, struct head *head, const char *data, const char *version);

/* Interpret the latest field, whose name is known and at most LAST_INTERPRETED_FIELD. false: refused. */
#define LAST_INTERPRETED_FIELD FIELD_EXPECT
bool parser_take_field(struct parser *parser, struct head *head, const char *data, enum known_field known);

/* Interpret the fields as a whole. false: refused. */
bool parser_end_fields(struct parser *parser, struct head *head);

/* Whether the connection may go on after this request (RFC 9112 section 9.3). */
ALWAYS_INLINE bool parser_keeps_alive(const struct parser *parser, const struct head *head)
{
    return !(parser->seen & SEEN_CLOSE) && (head->minor_version == 1 || parser->seen & SEEN_KEEP_ALIVE);
}

/* The empty line was read, and with it the whole head: s->verdict is set. Returns false. What most heads say, a Host
 * and nothing of framing, costs no call. */
ALWAYS_INLINE bool end_head(struct scan *s)
{
    struct head *head = s->head;

    head->len = (uint32_t)s->pos;
    head->field_count = (uint16_t)(s->field - head->fields);
    s->verdict = PARSE_COMPLETE;
    if (!(s->parser->seen & ~(SEEN_CLOSE | SEEN_KEEP_ALIVE)) && head->first[FIELD_HOST] != 0 &&
        head->authority.len == 0) {
        head->authority = head->fields[head->first[FIELD_HOST] - 1].value;
        head->keep_alive = parser_keeps_alive(s->parser, head);
    } else if (!parser_end_fields(s->parser, head)) {
        s->verdict = PARSE_ERROR;
    }
    return false;
}

#endif
