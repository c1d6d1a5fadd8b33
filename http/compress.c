/* Happy path: filter_begin() looks at the head and chooses; then the content goes through a coder, in pieces of at most
 * PIECE bytes, to the framing that carries the exchange.
 *
 * What a stream needs hangs on exchange->source.then, so it ends with the response, however that ends.
 *
 * Failure modes: without memory, or with too many coders in use, the response stays as it is; if memory is short in the
 * middle of a response, it is aborted as without a coder. */

#include "http/compress.h"

#include "core/mem.h"
#include "http/coders.h"
#include "http/compress_fields.h"
#include "http/compress_options.h"
#include "http/exchange.h"
#include "http/response_fields.h"
#include "http/service.h"
#include "http/source.h"
#include "http/vhost.h"

#include <errno.h>
#include <string.h>

enum {
    PIECE = 32 << 10,   /* bytes that a coder writes at once, and the longest content that is compressed at once */
    STEP = 64 << 10,    /* bytes of a long content that are compressed at once: then others have their turn */
    PIECE_LEAST = 2048, /* bytes of a piece, where write_cap is that small */
    EXPANSION = 256,    /* what does not get shorter gets longer by less than one in so many bytes, */
    EXTRA = 128,        /* and so many */
};

/* What a server keeps for it. */
struct compressor {
    struct framing filter;         /* sees the head */
    struct framing coding;         /* of a response that is compressed */
    const struct framing *carrier; /* behind both */
    struct coders coders;
    char piece[PIECE]; /* output of a coder */
};

/* A response that is compressed, unless it was at once. */
struct compression {
    struct exchange *exchange;
    struct compressor *compressor;
    struct lent_coder lent;
    struct borrowed content; /* what is left of a content in memory; data is NULL for a stream */
    size_t held;             /* bytes of a stream that were written since the last flush */
    bool is_over;            /* the coder was given back */
    bool is_broken;          /* the coder cannot go on */
};

static void give_coder_back(struct compression *compression)
{
    if (!compression->is_over) {
        coders_put(&compression->compressor->coders, &compression->lent, compression->is_broken);
        compression->is_over = true;
    }
}

/* The response is over, or lost. */
static void release_compression(void *arg)
{
    struct compression *compression = arg;
    compression->exchange->framing = compression->compressor->carrier;
    give_coder_back(compression);
    if (compression->content.release != NULL) {
        compression->content.release(compression->content.arg);
    }
    mem_free(compression);
}

static size_t room_of(const struct exchange *exchange)
{
    uint64_t half = exchange->limits->write_cap_bytes / 2;
    return half > PIECE ? (size_t)PIECE : half < PIECE_LEAST ? (size_t)PIECE_LEAST : (size_t)half;
}

/* Let the coder write one piece at most. Returns 1 if there is more of this step, 0 when it is done, or -ENOMEM. The
 * source is set aside meanwhile: what is written goes to the end of the queue. */
static int run_once(struct compression *compression, enum coder_step step, const char **in, size_t *in_len)
{
    struct compressor *compressor = compression->compressor;
    struct exchange *exchange = compression->exchange;
    size_t room = room_of(exchange);
    ssize_t len = coder_run(compression->lent.coder, step, in, in_len, compressor->piece, room);
    if (len < 0) {
        compression->is_broken = true;
        return -ENOMEM;
    }
    enum source_kind kind = exchange->source.kind;
    exchange->source.kind = SOURCE_NONE;
    int rv = len == 0 ? 0 : compressor->carrier->write(exchange, compressor->piece, (size_t)len);
    exchange->source.kind = kind;
    return rv < 0 ? rv : (size_t)len == room;
}

/* All of a step. Returns 0 or -ENOMEM. */
static int run_step(struct compression *compression, enum coder_step step, const char *in, size_t in_len)
{
    int rv;
    do {
        rv = run_once(compression, step, &in, &in_len);
    } while (rv == 1);
    return rv;
}

static void set_made(struct exchange *exchange)
{
    exchange->source.kind = SOURCE_MADE;
    exchange->source.made.has_run = false;
}

/* The content is compressed: give the coder back and mark the end. */
static int finish_content(struct compression *compression)
{
    struct exchange *exchange = compression->exchange;
    give_coder_back(compression);
    exchange->source.kind = SOURCE_NONE;
    return compression->compressor->carrier->end(exchange);
}

/* The connection has its turn: flush a stream, or go on with a content in memory. */
static int make_more(struct exchange *exchange, void *arg)
{
    struct compression *compression = arg;
    struct borrowed *content = &compression->content;
    if (compression->is_over) {
        return 0;
    }
    if (content->data == NULL) {
        compression->held = 0;
        return run_step(compression, CODER_FLUSH, NULL, 0);
    }
    size_t len = content->len < STEP ? content->len : STEP;
    size_t left = len;
    int rv = run_once(compression, len == content->len ? CODER_END : CODER_GO_ON, &content->data, &left);
    content->len -= len - left;
    if (rv == 0 && content->len == 0) {
        return finish_content(compression);
    }
    if (rv >= 0) {
        set_made(exchange);
    }
    return rv < 0 ? rv : 0;
}

static struct compression *compression_of(const struct exchange *exchange)
{
    const struct continuation *then = &exchange->source.then;
    return then->next == make_more ? then->arg : NULL;
}

/* The framing of a stream that is compressed. */

static int coding_write(struct exchange *exchange, const void *content, size_t len)
{
    struct compression *compression = compression_of(exchange);
    if (compression == NULL || compression->is_over || run_step(compression, CODER_GO_ON, content, len) < 0) {
        return -ENOMEM;
    }
    compression->held += len;
    set_made(exchange);
    return 0;
}

/* A coder reads it at once, so nothing is borrowed. */
static int coding_borrow(struct exchange *exchange, const struct borrowed *piece)
{
    (void)exchange;
    (void)piece;
    return -ENOBUFS;
}

static int coding_end(struct exchange *exchange)
{
    struct compression *compression = compression_of(exchange);
    if (compression == NULL || compression->is_over || run_step(compression, CODER_END, NULL, 0) < 0) {
        return -ENOMEM;
    }
    return finish_content(compression);
}

/* What the coder holds back counts as if it were queued: who writes much waits, so that others have their turn. */
static size_t coding_queued(const struct exchange *exchange)
{
    const struct compressor *compressor = exchange->service->compressor;
    const struct compression *compression = compression_of(exchange);
    size_t held = compression == NULL ? 0 : compression->held;
    return compressor->carrier->queued(exchange) + held + held / EXPANSION;
}

static size_t coding_overhead(const struct exchange *exchange)
{
    return exchange->service->compressor->carrier->overhead(exchange) + EXTRA;
}

/* Heads. */

/* A content that is known whole and short. Returns 1 if the head was written, 0 if the response stays as it is, or
 * -ENOMEM. */
static int begin_short(struct exchange *exchange, const struct response_head *given, enum encoding encoding)
{
    struct compressor *compressor = exchange->service->compressor;
    struct source *source = &exchange->source;
    bool is_borrowed = source->kind == SOURCE_BORROWED;
    struct lent_coder lent;
    const char *in = is_borrowed ? source->borrowed.data : given->content;
    const size_t content_len = is_borrowed ? source->borrowed.len : given->content_len;
    size_t in_len = content_len;
    if (!coders_take(&compressor->coders, encoding, exchange->vhost->compress->level, &lent)) {
        return 0;
    }
    ssize_t len = coder_run(lent.coder, CODER_END, &in, &in_len, compressor->piece, content_len);
    coders_put(&compressor->coders, &lent, len < 0);
    if (len < 0 || (size_t)len >= content_len) {
        return 0; /* it would not get shorter */
    }
    struct response_head head = *given;
    head.content = compressor->piece;
    head.content_len = (size_t)len;
    head.length = len;
    int rv = compress_mark(exchange, encoding);
    rv = rv < 0 ? rv : exchange->framing->begin(exchange, &head);
    if (rv == 0 && is_borrowed) {
        source_release(source);
    }
    return rv < 0 ? rv : 1;
}

/* Whether all of the content is there, and no more than a coder may write at once. */
static bool is_short_content(const struct exchange *exchange, const struct response_head *head)
{
    size_t len = exchange->source.kind == SOURCE_BORROWED ? exchange->source.borrowed.len : head->content_len;
    return len > 0 && len <= PIECE && (int64_t)len == head->length;
}

/* A stream, or a content that stands in exchange->source. Likewise. */
static int begin_long(struct exchange *exchange, const struct response_head *given, enum encoding encoding)
{
    struct compressor *compressor = exchange->service->compressor;
    struct compression *compression = mem_zalloc(sizeof *compression);
    struct response_head head = *given;
    head.length = LENGTH_UNKNOWN;
    if (compression == NULL ||
        !coders_take(&compressor->coders, encoding, exchange->vhost->compress->level, &compression->lent)) {
        mem_free(compression);
        return 0;
    }
    compression->exchange = exchange;
    compression->compressor = compressor;
    int rv = compress_mark(exchange, encoding);
    rv = rv < 0 ? rv : exchange->framing->begin(exchange, &head);
    if (rv < 0) {
        give_coder_back(compression);
        mem_free(compression);
        return rv;
    }
    bool is_in_memory = exchange->source.kind == SOURCE_BORROWED;
    if (is_in_memory) {
        compression->content = exchange->source.borrowed;
        set_made(exchange);
    }
    exchange->source.then = (struct continuation){make_more, release_compression, compression};
    exchange->framing = &compressor->coding;
    return 1;
}

/* A response without content to HEAD: the fields are those for GET. */
static int begin_head_only(struct exchange *exchange, const struct response_head *given, enum encoding encoding)
{
    struct response_head head = *given;
    head.length = LENGTH_UNKNOWN;
    int rv = compress_mark(exchange, encoding);
    rv = rv < 0 ? rv : exchange->framing->begin(exchange, &head);
    return rv < 0 ? rv : 1;
}

static bool is_candidate(const struct exchange *exchange, const struct response_head *head)
{
    const struct compress_options *options = exchange->vhost->compress;
    const struct source *source = &exchange->source;
    bool is_off = exchange->is_uncoded || (exchange->handler != NULL && exchange->handler->is_uncoded);
    bool is_short = head->length == 0 || (head->length > 0 && (uint64_t)head->length < options->min_bytes);
    bool is_elsewhere = source->kind == SOURCE_FILE || source->then.next != NULL || source->then.release != NULL;
    return !is_off && !is_short && head->length != LENGTH_NONE && head->status >= 200 && head->status != 206 &&
           !is_elsewhere && compress_suits(exchange, head->type, options);
}

static int filter_begin(struct exchange *exchange, const struct response_head *head)
{
    exchange->framing = exchange->service->compressor->carrier;
    if (head->status == 304) {
        int rv = compress_mark_unchanged(exchange);
        return rv < 0 ? rv : exchange->framing->begin(exchange, head);
    }
    if (!is_candidate(exchange, head)) {
        return exchange->framing->begin(exchange, head);
    }
    int rv = compress_add_vary(exchange);
    if (rv < 0) {
        return rv;
    }
    enum encoding encoding = compress_choose(exchange, exchange->vhost->compress);
    if (encoding != ENCODING_IDENTITY) {
        rv = exchange->head_only                ? begin_head_only(exchange, head, encoding)
             : is_short_content(exchange, head) ? begin_short(exchange, head, encoding)
             : head->content_len == 0           ? begin_long(exchange, head, encoding)
                                                : 0;
    }
    return rv < 0 ? rv : rv == 1 ? 0 : exchange->framing->begin(exchange, head);
}

static int filter_prebuilt(struct exchange *exchange, const struct prebuilt *prebuilt, size_t content_len)
{
    exchange->framing = exchange->service->compressor->carrier;
    return exchange->framing->prebuilt(exchange, prebuilt, content_len);
}

static struct compressor *make_compressor(const struct framing *carrier)
{
    struct compressor *compressor = mem_alloc(sizeof *compressor);
    if (compressor != NULL) {
        compressor->carrier = carrier;
        compressor->coders = (struct coders){0};
        compressor->filter = *carrier;
        compressor->filter.begin = filter_begin;
        compressor->filter.prebuilt = filter_prebuilt;
        compressor->coding = *carrier;
        compressor->coding.write = coding_write;
        compressor->coding.borrow = coding_borrow;
        compressor->coding.end = coding_end;
        compressor->coding.queued = coding_queued;
        compressor->coding.overhead = coding_overhead;
    }
    return compressor;
}

void compress_install(struct exchange *exchange)
{
    struct service *service = exchange->service;
    if (service->compressor == NULL) {
        service->compressor = make_compressor(exchange->framing);
    }
    if (service->compressor != NULL && !exchange->vhost->compress->is_off) {
        compress_hear_tags(exchange);
        exchange->framing = &service->compressor->filter;
    }
}

void compressor_destroy(struct compressor *compressor)
{
    if (compressor != NULL) {
        coders_done(&compressor->coders);
        mem_free(compressor);
    }
}
