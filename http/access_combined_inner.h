/* One line of "combined": a template without a header guard, included by http/access_combined.c for each variant after
 * it has defined
 *
 *   VARIANT     the name of its access_combined_fn
 *   TARGET      the attribute that allows the variant's instructions
 *   FIELDS      the name of a function for its own use
 *   COPY_BLOCK(at, bytes)
 *               copies 32 bytes
 *   COPY(at, text, len)
 *               as access_copy_usual(), for a text of a head
 *   FIND(fields, count)
 *               the set of those of count fields, SUSPECTS at most, whose name is as long as one that counts
 *   PLACES      for each bit of this set the index of its field, as a text
 *
 * At its end the macros are undefined again. The function calls none that returns to it: it has little to save.
 *
 * The time is that of the response's Date field, which was written in this turn: the clock is not read again. */

/* The line is there, except what its fields change; at is its end. The first field of a name counts. */
TARGET __attribute__((noinline)) static bool FIELDS(struct access_buffer *buffer, struct exchange *exchange, char *at)
{
    static const char places[] = PLACES;
    const struct field *referer = NULL, *user_agent = NULL, *group = exchange->head.fields;
    for (unsigned left = exchange->head.field_count; left > 0; group += SUSPECTS) {
        unsigned count = left < SUSPECTS ? left : (unsigned)SUSPECTS;
        left -= count;
        for (unsigned suspects = FIND(group, count); suspects != 0; suspects &= suspects - 1) {
            const struct field *field = group + (unsigned char)places[__builtin_ctz(suspects)];
            const char *name = exchange_text(exchange, field->name);
            if (field->name.len == 10) {
                bool is_first = user_agent == NULL || field < user_agent;
                user_agent = is_first && is_combined_name(name, "user-agent", 10) ? field : user_agent;
            } else if (field->name.len == 7) {
                bool is_first = referer == NULL || field < referer;
                referer = is_first && is_referer(name) ? field : referer;
            } else if (is_combined_name(name, "authorization", 13)) {
                return false;
            }
        }
    }
    if (referer != NULL && referer->value.len > 0) {
        at -= 7; /* "-" and what follows */
        if (!COPY(at, exchange_text(exchange, referer->value), referer->value.len)) {
            return false;
        }
        at += referer->value.len;
        memcpy(at, "\" \"-\"\n", 6);
        at += 6;
    }
    if (user_agent != NULL && user_agent->value.len > 0) {
        at -= 3;
        if (!COPY(at, exchange_text(exchange, user_agent->value), user_agent->value.len)) {
            return false;
        }
        at += user_agent->value.len;
        memcpy(at, "\"\n", 2);
        at += 2;
    }
    buffer->used = (uint32_t)(at - buffer->block);
    exchange->dues.is_logged = LOGGED_NOT;
    return true;
}

TARGET static bool VARIANT(struct access_buffer *buffer, struct exchange *exchange, uint64_t bytes)
{
    const struct access_memo *memo = &buffer->memo;
    const struct head *head = &exchange->head;
    if (buffer->used - 1 >= ACCESS_BLOCK_BYTES - 1 || exchange->is_unlogged ||
        head->len > ACCESS_COMBINED_MAX - COMBINED_REST) {
        return false;
    }
    if (memo->begin_second != exchange->service->date_s || !access_memo_has_peer(memo, exchange_client(exchange))) {
        return begin_anew(buffer, exchange, bytes);
    }
    if (memo->end_bytes != bytes || memo->end_look != response_look(exchange)) {
        return end_anew(buffer, exchange, bytes);
    }
    char *at = buffer->block + buffer->used;
    COPY_BLOCK(at, memo->combined_begin);
    COPY_BLOCK(at + 32, memo->combined_begin + 32);
    COPY_BLOCK(at + 64, memo->combined_begin + 64); /* for IPv6 */
    at += memo->begin_len;
    const size_t request_len = head->target.offset + head->target.len - head->method_text.offset + 9; /* " HTTP/1.1" */
    if (!COPY(at, exchange_text(exchange, head->method_text), request_len)) {
        return false;
    }
    at += request_len;
    COPY_BLOCK(at, memo->combined_end);
    at += memo->end_len;
    if (head->field_count > SUSPECTS || FIND(head->fields, head->field_count) != 0) {
        return FIELDS(buffer, exchange, at);
    }
    buffer->used = (uint32_t)(at - buffer->block);
    exchange->dues.is_logged = LOGGED_NOT;
    return true;
}

#undef VARIANT
#undef TARGET
#undef COPY_BLOCK
#undef COPY
#undef FIND
#undef PLACES
#undef FIELDS
