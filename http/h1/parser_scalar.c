/* The head parser one byte at a time: for CPUs without vectors, and the reference that the other variants are tested
 * against. */

#include "http/h1/parser_scalar.h"

#include "http/h1/parser_rules.h"
#include "http/h1/parser_steps.h"

#define VARIANT parse_head_scalar
#define TARGET
#define INLINE     __attribute__((always_inline)) static inline
#define LOOKS_BACK 0

struct block {
    char unused; /* there is nothing to remember */
};

INLINE struct block begin_block(size_t pos, size_t end)
{
    (void)pos;
    (void)end;
    return (struct block){0};
}

INLINE void clear_head(struct head *head)
{
    *head = (struct head){.fields = head->fields, .field_capacity = head->field_capacity};
}

INLINE bool find_class_end(const char *data, size_t pos, size_t end, size_t *len, enum char_class wanted)
{
    size_t at = pos;

    while (at < end && char_is(data[at], wanted)) {
        at++;
    }
    *len = at - pos;
    return at < end;
}

INLINE bool find_name_end(struct block *block, const char *data, size_t pos, size_t end, size_t *len)
{
    (void)block;
    return find_class_end(data, pos, end, len, CLASS_TOKEN);
}

INLINE bool find_value_end(struct block *block, const char *data, size_t pos, size_t end, size_t *len)
{
    (void)block;
    return find_class_end(data, pos, end, len, CLASS_VALUE);
}

INLINE size_t find_path_end(const char *data, size_t pos, size_t end, bool *is_plain)
{
    return find_rest_of_path(data, pos, end, is_plain);
}

INLINE size_t find_query_end(const char *data, size_t pos, size_t end)
{
    return find_rest_of_query(data, pos, end);
}

/* parser_take_field() looks. */
INLINE bool is_plain_authority(const char *data, struct slice host)
{
    (void)data;
    (void)host;
    return false;
}

#include "http/h1/parser_whole.h"
