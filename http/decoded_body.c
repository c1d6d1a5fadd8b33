/* Happy path: the framing gives a piece of what was sent, and the decoder writes to exchange->body_block, where the
 * handler reads it. What of a piece was not decoded yet goes back to the framing.
 *
 * Failure modes: a coding that is not there (415); content that is damaged or cut off (400); content that is longer
 * than max_body when decoded (413); no memory, or too many decoders at work (503). */

#include "http/decoded_body.h"

#include "core/ascii.h"
#include "core/decoder.h"
#include "core/mem.h"
#include "http/body_filter.h"
#include "http/char_class.h"
#include "http/exchange.h"
#include "http/refusal.h"
#include "http/response.h"
#include "http/response_fields.h"
#include "http/service.h"

#include <errno.h>
#include <string.h>

struct decoded_body {
    struct body_filter filter; /* first: exchange->body_filter points to it */
    struct content_decoder *decoder;
    const struct handler *handler; /* with BODY_WHOLE: the one that gets the body; NULL once it was called */
    struct handler collector;      /* stands for it until then */
    uint64_t decoded;              /* bytes so far */
    uint32_t given;                /* bytes at the start of body_block that the handler has */
    uint32_t turn_bytes;           /* decoded since others had their turn */
    bool has_pending;              /* the decoder may have content without further input */
    bool is_over;                  /* all was decoded, or it has failed: exchange->body_status */
};

static struct decoded_body *decoded_of(const struct exchange *exchange)
{
    return (struct decoded_body *)(uintptr_t)exchange->body_filter;
}

/* Codings. */

static const struct {
    const char *name;
    enum decoder_kind kind;
} codings[] = {{"gzip", DECODER_GZIP}, {"br", DECODER_BR}, {"zstd", DECODER_ZSTD}};

enum { CODINGS = sizeof codings / sizeof codings[0] };

void decoded_body_load(void)
{
    for (size_t i = 0; i < CODINGS; i++) {
        (void)decoder_is_there(codings[i].kind);
    }
}

void decoded_body_codings(char *text)
{
    *text = '\0';
    for (size_t i = 0; i < CODINGS; i++) {
        if (decoder_is_there(codings[i].kind)) {
            strcat(text, *text == '\0' ? "" : ", ");
            strcat(text, codings[i].name);
        }
    }
    if (*text == '\0') {
        strcpy(text, "identity");
    }
}

/* What the fields say. */
struct coding_list {
    unsigned count;     /* of codings, identity not among them */
    const char *coding; /* the last one */
    size_t len;
};

static void add_codings(struct coding_list *list, const char *at, const char *end)
{
    while (at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        const char *stop = comma == NULL ? end : comma;
        while (at < stop && char_is_space(*at)) {
            at++;
        }
        size_t len = (size_t)(stop - at);
        while (len > 0 && char_is_space(at[len - 1])) {
            len--;
        }
        if (len > 0 && !ascii_is(at, len, "identity")) {
            *list = (struct coding_list){.count = list->count + 1, .coding = at, .len = len};
        }
        at = comma == NULL ? end : comma + 1;
    }
}

static bool is_content_encoding(const struct exchange *exchange, const struct field *field)
{
    static const char name[] = "content-encoding";
    return field->name.len == sizeof name - 1 &&
           ascii_equals(exchange_text(exchange, field->name), name, sizeof name - 1);
}

static struct coding_list find_codings(const struct exchange *exchange)
{
    struct coding_list list = {0};
    for (unsigned i = 0; i < exchange->head.field_count; i++) {
        const struct field *field = &exchange->head.fields[i];
        if (is_content_encoding(exchange, field)) {
            const char *value = exchange_text(exchange, field->value);
            add_codings(&list, value, value + field->value.len);
        }
    }
    return list;
}

/* The decoder for the only coding of a list, or DECODER_KINDS. */
static enum decoder_kind coding_kind(const struct coding_list *list)
{
    bool is_old_name = ascii_is(list->coding, list->len, "x-gzip"); /* RFC 9110 section 8.4.1.3 */
    for (size_t i = 0; list->count == 1 && i < CODINGS; i++) {
        if (ascii_is(list->coding, list->len, codings[i].name) || (is_old_name && codings[i].kind == DECODER_GZIP)) {
            return decoder_is_there(codings[i].kind) ? codings[i].kind : DECODER_KINDS;
        }
    }
    return DECODER_KINDS;
}

/* Take the fields away that tell of the content as it was sent. */
static void drop_fields(struct exchange *exchange)
{
    struct head *head = &exchange->head;
    for (unsigned i = head->field_count; i-- > 0;) {
        if (is_content_encoding(exchange, &head->fields[i]) || head->first[FIELD_CONTENT_LENGTH] == i + 1) {
            head_drop_field(head, i);
        }
    }
}

/* Decoding. */

/* The body cannot be had. Returns the status, negated. */
static int fail_decoded(struct exchange *exchange, int status, const char *reason)
{
    decoded_of(exchange)->is_over = true;
    exchange->framing->fail_body(exchange, status, reason);
    return -status;
}

static int fail_decoding(struct exchange *exchange, ssize_t error)
{
    return error == -ENOMEM ? fail_decoded(exchange, 503, "out of memory")
                            : fail_decoded(exchange, 400,
                                           "the content is damaged, or not in the coding that Content-Encoding names");
}

/* Decode some of what was sent, behind what body_block has. Returns BODY_DATA if something was read or decoded, or
 * another result of exchange_read_body(). */
static int decode_some(struct exchange *exchange)
{
    struct decoded_body *decoded = decoded_of(exchange);
    const char *data = "";
    size_t len = 0;
    if (!decoded->has_pending) {
        int rv = exchange->framing->read_body(exchange, &data, &len);
        if (rv == BODY_END && !decoder_is_whole(decoded->decoder)) {
            return fail_decoded(exchange, 400, "the content is cut off: its coding does not end where the body does");
        }
        if (rv != BODY_DATA) {
            decoded->is_over = rv != BODY_WAIT;
            decoded->turn_bytes = rv == BODY_WAIT ? 0 : decoded->turn_bytes;
            return rv;
        }
    }
    char *room = write_buffer_reserve(&exchange->body_block, DECODED_BODY_PIECE, SIZE_MAX, NULL);
    if (room == NULL) {
        return fail_decoded(exchange, 503, "out of memory");
    }
    ssize_t got = decoder_run(decoded->decoder, &data, &len, room, DECODED_BODY_PIECE);
    if (got < 0) {
        return fail_decoding(exchange, got);
    }
    if (len > 0) {
        exchange->framing->unread_body(exchange, len);
    }
    decoded->has_pending = got == DECODED_BODY_PIECE && len == 0;
    decoded->decoded += (uint64_t)got;
    decoded->turn_bytes += (uint32_t)got;
    if (decoded->decoded > exchange->limits->max_body_bytes) {
        return fail_decoded(exchange, 413, NULL);
    }
    write_buffer_commit(&exchange->body_block, (size_t)got);
    return BODY_DATA;
}

/* The same within the budget of the turn. */
static int decode_in_turn(struct exchange *exchange)
{
    struct decoded_body *decoded = decoded_of(exchange);
    decoded->filter.has_more = false;
    if (decoded->is_over) {
        return exchange->body_status != 0 ? -exchange->body_status : BODY_END;
    }
    if (decoded->turn_bytes >= DECODED_BODY_TURN) {
        decoded->turn_bytes = 0;
        decoded->filter.has_more = true;
        exchange->wants_body = true;
        exchange_resume(exchange);
        return BODY_WAIT;
    }
    return decode_some(exchange);
}

/* Functions of struct body_filter. */

static int read_decoded(struct exchange *exchange, const char **data, size_t *len)
{
    struct decoded_body *decoded = decoded_of(exchange);
    write_buffer_consume(&exchange->body_block, decoded->given);
    decoded->given = 0;
    while (write_buffer_len(&exchange->body_block) == 0) {
        int rv = decode_in_turn(exchange);
        if (rv != BODY_DATA) {
            return rv;
        }
    }
    *data = write_buffer_data(&exchange->body_block);
    *len = write_buffer_len(&exchange->body_block);
    decoded->given = (uint32_t)*len;
    return BODY_DATA;
}

static void unread_decoded(struct exchange *exchange, size_t len)
{
    decoded_of(exchange)->given -= (uint32_t)len;
}

static int collect_decoded(struct exchange *exchange)
{
    struct decoded_body *decoded = decoded_of(exchange);
    int rv;
    write_buffer_consume(&exchange->body_block, decoded->given);
    decoded->given = 0;
    while ((rv = decode_in_turn(exchange)) == BODY_DATA) {
    }
    if (rv == BODY_END && write_buffer_len(&exchange->body_block) > 0) {
        exchange->body = write_buffer_data(&exchange->body_block);
        exchange->body_len = write_buffer_len(&exchange->body_block);
    }
    return rv;
}

static void free_decoded(struct decoded_body *decoded)
{
    decoder_destroy(decoded->decoder);
    mem_free(decoded);
}

static void drop_decoded(struct exchange *exchange)
{
    struct decoded_body *decoded = decoded_of(exchange);
    exchange->service->decoding--;
    exchange->body_filter = NULL;
    if (decoded->handler != NULL) {
        exchange->handler = decoded->handler;
    }
    free_decoded(decoded);
}

/* Handlers that want the body as a whole. */

/* The body is there, or cannot be had. */
static void serve_whole(struct exchange *exchange, int verdict)
{
    struct decoded_body *decoded = decoded_of(exchange);
    exchange->on_data = NULL;
    exchange->handler = decoded->handler;
    decoded->handler = NULL;
    if (verdict == BODY_END) {
        exchange->handler->serve(exchange, exchange->handler->ctx);
    } else if (!refusal_pass(exchange, -verdict, exchange->body_reason)) {
        response_error(exchange, -verdict, exchange->body_reason);
    }
}

static void go_on_collecting(struct exchange *exchange)
{
    int verdict = collect_decoded(exchange);
    if (verdict != BODY_WAIT) {
        serve_whole(exchange, verdict);
    }
}

static void serve_collecting(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    exchange->on_data = go_on_collecting;
    go_on_collecting(exchange);
}

static void stand_before_handler(struct exchange *exchange, struct decoded_body *decoded)
{
    decoded->handler = exchange->handler;
    decoded->collector = *exchange->handler;
    decoded->collector.serve = serve_collecting;
    decoded->collector.body_mode = BODY_STREAM;
    exchange->handler = &decoded->collector;
}

/* Beginning. */

static int begin_decoding(struct exchange *exchange, enum decoder_kind kind)
{
    struct decoded_body *decoded = mem_zalloc(sizeof *decoded);
    if (decoded == NULL || decoder_create(&decoded->decoder, kind) < 0 ||
        write_buffer_reserve(&exchange->body_block, DECODED_BODY_PIECE, SIZE_MAX, NULL) == NULL) {
        if (decoded != NULL) {
            free_decoded(decoded);
        }
        return -ENOMEM;
    }
    decoded->filter = (struct body_filter){.read = read_decoded,
                                           .unread = unread_decoded,
                                           .collect = collect_decoded,
                                           .drop = drop_decoded};
    exchange->body_filter = &decoded->filter;
    exchange->service->decoding++;
    if (exchange->handler->body_mode == BODY_WHOLE) {
        stand_before_handler(exchange, decoded);
    }
    return 0;
}

/* Refuse a coding. Without memory for the field, the response does without. */
static int refuse_coding(struct exchange *exchange, const char **reason)
{
    char text[DECODED_CODINGS_MAX];
    decoded_body_codings(text);
    (void)response_set_field(exchange, "Accept-Encoding", 15, text, strlen(text));
    *reason = "the body's Content-Encoding is none that can be decoded";
    return 415;
}

int decoded_body_begin(struct exchange *exchange, const char **reason)
{
    const struct coding_list list = find_codings(exchange);
    if (list.count == 0) {
        return 0;
    }
    enum decoder_kind kind = coding_kind(&list);
    if (kind == DECODER_KINDS) {
        return refuse_coding(exchange, reason);
    }
    if (exchange->service->decoding >= exchange->limits->decode_streams) {
        *reason = "decode_streams bodies are being decoded already";
        return 503;
    }
    if (begin_decoding(exchange, kind) < 0) {
        *reason = "out of memory";
        return 503;
    }
    drop_fields(exchange);
    return 0;
}
