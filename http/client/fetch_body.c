/* The content of a response.
 *
 * Happy path: each call hands out what it finds, in one piece; chunked content at most one chunk at a time. Failure:
 * only chunks can be malformed; a length that is not reached shows when the connection ends. */

#include "http/client/fetch_body.h"

void fetch_body_begin(struct fetch_body *body, enum fetch_framing framing, uint64_t content_length)
{
    *body = (struct fetch_body){.framing = framing, .left = content_length};
    body->is_complete = framing == FRAMING_NONE || (framing == FRAMING_LENGTH && content_length == 0);
    if (framing == FRAMING_CHUNKS) {
        chunk_parser_reset(&body->chunk);
    }
}

enum parse_verdict fetch_body_take(struct fetch_body *body, const struct limits *limits, const char *data, size_t len,
                                   size_t *used, struct slice *piece)
{
    size_t most = len < UINT32_MAX ? len : UINT32_MAX;

    *used = 0;
    *piece = (struct slice){0, 0};
    if (body->is_complete) {
        return PARSE_COMPLETE;
    }
    if (body->framing == FRAMING_CHUNKS) {
        enum parse_verdict verdict = parse_chunked(&body->chunk, limits, data, len, used, piece);
        body->is_complete = verdict == PARSE_COMPLETE;
        return verdict;
    }
    if (body->framing == FRAMING_LENGTH) {
        most = body->left < most ? (size_t)body->left : most;
        body->left -= most;
        body->is_complete = body->left == 0;
    }
    *piece = (struct slice){0, (uint32_t)most};
    *used = most;
    return body->is_complete ? PARSE_COMPLETE : PARSE_INCOMPLETE;
}

bool fetch_body_end(struct fetch_body *body)
{
    body->is_complete |= body->framing == FRAMING_TO_CLOSE;
    return body->is_complete;
}
