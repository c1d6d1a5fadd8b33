/* Happy path: request_id_take() for the requests of trusted proxies, then request_id() for those who want to know.
 *
 * Failure modes: an X-Request-Id that is too long, malformed or sent twice counts as absent. If the kernel gives no
 * random bytes, an id is made of the clock, the process and a counter: it can be guessed, but does not come twice. If
 * the response has no room for the id, it goes without. */

#include "http/request_id.h"

#include "core/ascii.h"
#include "core/sys.h"
#include "http/exchange.h"
#include "http/response.h"
#include "http/service.h"
#include "http/site.h"

#include <string.h>

enum { ID_BYTES = REQUEST_ID_DIGITS / 2 };

static const char field_name[] = "X-Request-Id";

/* Bytes that look random, for want of those that are: the finalizer of SplitMix64, twice. */
static void make_unlikely(struct request_id_pool *pool, uint8_t bytes[ID_BYTES])
{
    uint64_t seed = (uint64_t)sys_now_ns() ^ (uint64_t)sys_process_id() << 40 ^ (uint64_t)(uintptr_t)pool;
    for (size_t done = 0; done < ID_BYTES; done += sizeof seed) {
        seed += ++pool->counter * 0x9e3779b97f4a7c15u;
        uint64_t mixed = (seed ^ seed >> 30) * 0xbf58476d1ce4e5b9u;
        mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
        mixed ^= mixed >> 31;
        memcpy(bytes + done, &mixed, sizeof mixed);
    }
}

static void take_random(struct request_id_pool *pool, uint8_t bytes[ID_BYTES])
{
    if (pool->left == 0) {
        if (sys_random(pool->bytes, sizeof pool->bytes) < 0) {
            make_unlikely(pool, bytes);
            return;
        }
        pool->left = REQUEST_ID_POOL;
    }
    pool->left = (uint16_t)(pool->left - ID_BYTES);
    memcpy(bytes, pool->bytes + pool->left, ID_BYTES);
}

static void make_id(struct exchange *exchange)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t bytes[ID_BYTES];
    char *at = exchange->own_id;
    take_random(&exchange->service->ids, bytes);
    for (size_t i = 0; i < ID_BYTES; i++) {
        *at++ = digits[bytes[i] >> 4];
        *at++ = digits[bytes[i] & 15];
    }
    *at = '\0';
    exchange->id_kind = REQUEST_ID_OWN;
}

const char *request_id(struct exchange *exchange)
{
    if (exchange->id_kind == REQUEST_ID_GIVEN) {
        return exchange_text(exchange, exchange->given_id);
    }
    if (exchange->id_kind == REQUEST_ID_NONE) {
        make_id(exchange);
    }
    return exchange->own_id;
}

static bool is_alphanumeric(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Nothing that a log, JSON, HTML or the name of a file would have to escape. */
static bool is_well_formed_id(const char *text, size_t len)
{
    if (len == 0 || len > REQUEST_ID_MAX || !is_alphanumeric(text[0])) {
        return false;
    }
    for (size_t i = 1; i < len; i++) {
        if (!is_alphanumeric(text[i]) && (text[i] == '\0' || strchr("-_.~=:+@", text[i]) == NULL)) {
            return false;
        }
    }
    return true;
}

/* The only field of that name, or NULL. */
static const struct field *find_only(const struct exchange *exchange)
{
    const struct field *found = NULL;
    for (unsigned i = 0; i < exchange->head.field_count; i++) {
        const struct field *field = &exchange->head.fields[i];
        if (field->name.len == sizeof field_name - 1 &&
            ascii_equals(exchange_text(exchange, field->name), field_name, sizeof field_name - 1)) {
            if (found != NULL) {
                return NULL;
            }
            found = field;
        }
    }
    return found;
}

void request_id_take(struct exchange *exchange)
{
    const struct field *field = find_only(exchange);
    if (field == NULL || !is_well_formed_id(exchange_text(exchange, field->value), field->value.len)) {
        return;
    }
    exchange->id_kind = REQUEST_ID_GIVEN;
    exchange->given_id = field->value;
    const char *id = exchange_end_text(exchange, field->value);
    if (response_set_field(exchange, field_name, sizeof field_name - 1, id, field->value.len) == 0) {
        response_keep_fields(exchange);
    }
}
