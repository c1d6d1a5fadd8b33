/* Happy path: a message comes in one frame, is inflated by one call, and its answer compressed by one.
 *
 *   kept context     deflater and inflater belong to the connection, from its first compressed message to its end
 *   no context       the deflater of the thread whose window fits the message; an inflater, borrowed until the message
 *                    has ended, since its parts may come between those of other connections
 *
 * Failure modes: no memory (the message is sent as it is; one that comes cannot be read, which ends the connection);
 * bytes that are no DEFLATE. */

#include "http/ws/ws_deflate.h"

#include "core/deflater.h"
#include "core/inflater.h"
#include "core/mem.h"
#include "core/zlib_calls.h"

#include <errno.h>
#include <string.h>

enum {
    SHARED_BITS_MOST = WS_WINDOW_BITS_MOST, /* of what many connections get; a browser asks for no limit */
    LOOK_AHEAD = 262,                       /* how far before the end of a window zlib stops to refer back */
    SCRATCH_KEPT = 64 * 1024,               /* a larger block for the output is given back at the next message */
    SPARE_INFLATERS = 4,
};

struct ws_codecs {
    struct ws_codecs **home;                           /* where the thread keeps it */
    size_t users;                                      /* connections */
    size_t reserved;                                   /* bytes of the budget */
    struct deflater *deflaters[DEFLATE_BITS_MOST + 1]; /* by window bits; NULL until they are needed */
    struct inflater *spare[SPARE_INFLATERS];           /* of the largest window */
    size_t spares;
    uint64_t swollen; /* bytes of messages that count for WS_SWELL_MAX_BYTES */
    char *scratch;    /* what the last message was compressed to */
    size_t scratch_size;
};

struct ws_deflate {
    struct ws_codecs *codecs;
    struct deflater *deflater; /* kept; NULL until it is needed, and always without context */
    struct inflater *inflater; /* kept, or borrowed during a message; NULL */
    struct ws_deflate_terms terms;
    unsigned reserved;    /* bytes of the budget */
    uint32_t taken, made; /* bytes of the message that came, and what they were inflated to */
    uint32_t swollen;     /* bytes of it that count in codecs */
    bool has_begun : 1;   /* a message that comes, and that has content */
    bool is_behind : 1;   /* the client was sent what the deflater does not know: it has to begin anew */
};

bool ws_deflate_is_there(void)
{
    return zlib_load() != NULL;
}

/* What a thread shares. */

/* Returns 0 or -ENOMEM. */
static int hold_codecs(struct ws_codecs **home)
{
    if (*home == NULL) {
        *home = mem_zalloc(sizeof **home);
        if (*home == NULL) {
            return -ENOMEM;
        }
        (*home)->home = home;
    }
    (*home)->users++;
    return 0;
}

static void release_codecs(struct ws_codecs *codecs)
{
    if (--codecs->users > 0) {
        return;
    }
    for (size_t i = 0; i <= DEFLATE_BITS_MOST; i++) {
        deflater_destroy(codecs->deflaters[i]);
    }
    while (codecs->spares > 0) {
        inflater_destroy(codecs->spare[--codecs->spares]);
    }
    mem_free(codecs->scratch);
    *codecs->home = NULL;
    mem_free(codecs);
}

size_t ws_codecs_reserved(const struct ws_codecs *codecs)
{
    return codecs->reserved;
}

/* Room for the output of a message. Returns NULL without memory. */
static char *get_scratch(struct ws_codecs *codecs, size_t size)
{
    if (codecs->scratch_size < size || (codecs->scratch_size > SCRATCH_KEPT && size <= SCRATCH_KEPT)) {
        mem_free(codecs->scratch);
        codecs->scratch_size = 0;
        codecs->scratch = mem_alloc(size);
        if (codecs->scratch != NULL) {
            codecs->scratch_size = size;
        }
    }
    return codecs->scratch;
}

/* Compress with a deflater, into the scratch block. Returns the length without the tail, or 0: it got no shorter. */
static size_t run_deflater(struct ws_codecs *codecs, struct deflater *deflater, const void *data, size_t len,
                           const char **out)
{
    size_t room = len + DEFLATE_TAIL; /* one byte less than the message, the tail, and one that says that it fits */
    char *scratch = get_scratch(codecs, room);
    ssize_t got = scratch == NULL ? -ENOMEM : deflater_run(deflater, data, len, scratch, room);
    if (got <= DEFLATE_TAIL) {
        return 0;
    }
    *out = scratch;
    return (size_t)got - DEFLATE_TAIL;
}

/* Compress without context: with the smallest window, up to most bits, that the whole message fits in, since a smaller
 * one takes less time to begin with. */
static size_t deflate_alone(struct ws_codecs *codecs, unsigned most, const void *data, size_t len, const char **out)
{
    unsigned bits = DEFLATE_BITS_LEAST;
    while (bits < most && len + LOOK_AHEAD > (size_t)1 << bits) {
        bits++;
    }
    struct deflater **deflater = &codecs->deflaters[bits];
    if (*deflater == NULL && deflater_create(deflater, bits) < 0) {
        return 0;
    }
    size_t got = run_deflater(codecs, *deflater, data, len, out);
    deflater_reset(*deflater);
    return got;
}

size_t ws_deflate_shared(struct ws_codecs *codecs, const void *data, size_t len, const char **out)
{
    return deflate_alone(codecs, SHARED_BITS_MOST, data, len, out);
}

/* A connection. */

static unsigned own_deflater_bits(const struct ws_deflate_terms *terms)
{
    return terms->server_bits < WS_WINDOW_BITS_OURS ? terms->server_bits : (unsigned)WS_WINDOW_BITS_OURS;
}

/* What a connection takes that keeps its context. */
static size_t context_memory(const struct ws_deflate_terms *terms)
{
    return (terms->server_keeps ? deflater_memory(own_deflater_bits(terms)) : 0) +
           (terms->client_keeps ? inflater_memory(terms->client_bits) : 0);
}

int ws_deflate_create(struct ws_deflate **created, struct ws_codecs **home, uint64_t memory,
                      const struct ws_offer *offer, struct ws_deflate_terms *terms)
{
    if (!ws_deflate_is_there()) {
        return -ENOSYS;
    }
    struct ws_deflate *deflate = mem_zalloc(sizeof *deflate);
    if (deflate == NULL || hold_codecs(home) < 0) {
        mem_free(deflate);
        return -ENOMEM;
    }
    struct ws_codecs *codecs = *home;
    ws_extension_agree(terms, offer, true);
    if (codecs->reserved + context_memory(terms) > memory) {
        ws_extension_agree(terms, offer, false);
    }
    deflate->codecs = codecs;
    deflate->terms = *terms;
    deflate->reserved = (unsigned)context_memory(terms);
    codecs->reserved += deflate->reserved;
    *created = deflate;
    return 0;
}

/* Give an inflater of the largest window back to the thread. */
static void return_inflater(struct ws_codecs *codecs, struct inflater *inflater)
{
    if (codecs->spares < SPARE_INFLATERS) {
        inflater_reset(inflater);
        codecs->spare[codecs->spares++] = inflater;
    } else {
        inflater_destroy(inflater);
    }
}

void ws_deflate_destroy(struct ws_deflate *deflate)
{
    if (deflate == NULL) {
        return;
    }
    deflate->codecs->reserved -= deflate->reserved;
    deflate->codecs->swollen -= deflate->swollen;
    deflater_destroy(deflate->deflater);
    if (deflate->inflater != NULL && !deflate->terms.client_keeps) {
        return_inflater(deflate->codecs, deflate->inflater);
    } else {
        inflater_destroy(deflate->inflater);
    }
    release_codecs(deflate->codecs);
    mem_free(deflate);
}

size_t ws_deflate_message(struct ws_deflate *deflate, const void *data, size_t len, const char **out)
{
    const struct ws_deflate_terms *terms = &deflate->terms;
    if (!terms->server_keeps) {
        return deflate_alone(deflate->codecs, terms->server_bits, data, len, out);
    }
    if (deflate->deflater == NULL && deflater_create(&deflate->deflater, own_deflater_bits(terms)) < 0) {
        return 0;
    }
    if (deflate->is_behind) {
        deflater_reset(deflate->deflater);
    }
    size_t got = run_deflater(deflate->codecs, deflate->deflater, data, len, out);
    deflate->is_behind = got == 0; /* the deflater knows a message that is not sent through it */
    return got;
}

void ws_deflate_take_back(struct ws_deflate *deflate)
{
    deflate->is_behind = true;
}

bool ws_deflate_takes_shared(struct ws_deflate *deflate)
{
    bool is_taken = deflate->terms.server_bits == SHARED_BITS_MOST;
    deflate->is_behind = deflate->is_behind || is_taken;
    return is_taken;
}

/* What comes. */

static int get_inflater(struct ws_deflate *deflate)
{
    struct ws_codecs *codecs = deflate->codecs;
    if (deflate->inflater != NULL) {
        return 0;
    }
    if (deflate->terms.client_keeps) {
        return inflater_create(&deflate->inflater, deflate->terms.client_bits);
    }
    if (codecs->spares > 0) {
        deflate->inflater = codecs->spare[--codecs->spares];
        return 0;
    }
    return inflater_create(&deflate->inflater, INFLATE_BITS_MOST);
}

/* The message has ended. Returns whether its content did, too. */
static bool end_inflated(struct ws_deflate *deflate)
{
    bool is_whole = inflater_is_whole(deflate->inflater);
    if (!deflate->terms.client_keeps) {
        return_inflater(deflate->codecs, deflate->inflater);
        deflate->inflater = NULL;
    }
    deflate->codecs->swollen -= deflate->swollen;
    deflate->taken = deflate->made = deflate->swollen = 0;
    deflate->has_begun = false;
    return is_whole;
}

/* Count what the message occupies beyond what was sent. Returns 0, or -ENOMEM if it may not grow. */
static int note_swelling(struct ws_deflate *deflate, size_t taken, size_t made)
{
    struct ws_codecs *codecs = deflate->codecs;
    deflate->taken += (uint32_t)taken; /* a message has at most 1 GiB, and its compressed form little more */
    deflate->made += (uint32_t)made;
    uint64_t allowed = WS_SWELL_FREE_BYTES + (uint64_t)WS_SWELL_TIMES * deflate->taken;
    uint32_t swollen = deflate->made > allowed ? (uint32_t)(deflate->made - allowed) : 0;
    codecs->swollen -= deflate->swollen;
    bool may_grow = swollen <= deflate->swollen || codecs->swollen <= WS_SWELL_MAX_BYTES;
    codecs->swollen += swollen;
    deflate->swollen = swollen;
    return may_grow ? 0 : -ENOMEM;
}

ssize_t ws_deflate_inflate(void *arg, const char **in, size_t *in_len, bool ends, char *out, size_t room)
{
    struct ws_deflate *deflate = arg;
    if (!deflate->has_begun && ends) { /* no content at all, which is how some clients compress an empty message */
        *in += *in_len;
        *in_len = 0;
        return 0;
    }
    deflate->has_begun = true;
    int rv = get_inflater(deflate);
    if (rv < 0) {
        return rv;
    }
    size_t had = *in_len;
    ssize_t got = inflater_run(deflate->inflater, in, in_len, out, room);
    rv = got < 0 ? 0 : note_swelling(deflate, had - *in_len, (size_t)got);
    if (rv < 0) {
        return rv;
    }
    bool is_over = got >= 0 && (size_t)got < room && ends;
    return is_over && !end_inflated(deflate) ? -EPROTO : got;
}
