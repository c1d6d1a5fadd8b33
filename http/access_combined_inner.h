/* One line of "combined": a template without a header guard, included by http/access_combined.c for each variant after
 * it has defined
 *
 *   VARIANT     the name of its access_combined_fn
 *   TARGET      the attribute that allows the variant's instructions
 *   COPY_BLOCK(at, bytes)
 *               copies 32 bytes
 *   COPY(at, text, len)
 *               as access_copy_usual(), for a text of a head
 *
 * At its end the macros are undefined again. The function calls none that returns to it: it has little to save.
 *
 * The time is that of the response's Date field, which was written in this turn: the clock is not read again. */

TARGET static bool VARIANT(struct access_buffer *buffer, struct exchange *exchange, size_t queued)
{
    const struct access_memo *memo = &buffer->memo;
    const struct head *head = &exchange->head;
    const struct handler *handler = exchange->handler;
    struct combined_fields fields;
    if (buffer->used - 1 >= ACCESS_BLOCK_BYTES - 1 || handler == NULL || handler->is_unlogged ||
        head->len > ACCESS_COMBINED_MAX - COMBINED_REST) {
        return false;
    }
    if (memo->begin_second != exchange->service->date_s || !access_memo_has_peer(memo, exchange->peer)) {
        return begin_anew(buffer, exchange, queued);
    }
    if (memo->end_key != combined_end_key(exchange, queued)) {
        return end_anew(buffer, exchange, queued);
    }
    if (!find_combined_fields(&fields, exchange)) {
        return false;
    }
    char *at = buffer->block + buffer->used;
    COPY_BLOCK(at, memo->combined_begin);
    COPY_BLOCK(at + 32, memo->combined_begin + 32);
    if (memo->begin_len > 64) { /* IPv6 */
        COPY_BLOCK(at + 64, memo->combined_begin + 64);
    }
    at += memo->begin_len;
    const size_t request_len = head->target.offset + head->target.len - head->method_text.offset + 9; /* " HTTP/1.1" */
    if (!COPY(at, exchange_text(exchange, head->method_text), request_len)) {
        return false;
    }
    at += request_len;
    COPY_BLOCK(at, memo->combined_end);
    at += memo->end_len;
    if (fields.referer != NULL && fields.referer->len > 0) {
        at -= 7; /* "-" and what follows */
        if (!COPY(at, exchange_text(exchange, *fields.referer), fields.referer->len)) {
            return false;
        }
        at += fields.referer->len;
        memcpy(at, "\" \"-\"\n", 6);
        at += 6;
    }
    if (fields.user_agent != NULL && fields.user_agent->len > 0) {
        at -= 3;
        if (!COPY(at, exchange_text(exchange, *fields.user_agent), fields.user_agent->len)) {
            return false;
        }
        at += fields.user_agent->len;
        memcpy(at, "\"\n", 2);
        at += 2;
    }
    buffer->used = (uint32_t)(at - buffer->block);
    exchange->is_logged = LOGGED_NOT;
    return true;
}

#undef VARIANT
#undef TARGET
#undef COPY_BLOCK
#undef COPY
