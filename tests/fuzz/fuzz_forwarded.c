/* What proxies tell (http/forwarded.c). Each line of the input is a field, whose first byte chooses its name: f, p and h
 * for X-Forwarded-For, -Proto and -Host, s for Forwarded, anything else for another one. The head lies flush against a
 * page that must not be touched. What X-Forwarded-For tells is what a plain reading of the whole list gives; whatever a
 * client puts in front of what proxies have added changes nothing; a host is valid and lies within the head; and what
 * is taken out is no more told. */

#include "http/authority.h"
#include "http/forwarded.h"
#include "http/trusted_proxies.h"
#include "tests/lib/fuzz.h"

#include <string.h>

enum { LINES_MAX = 32, ELEMENTS_MAX = 128, JUNK_MAX = 64 };

static struct field lines[LINES_MAX];

static bool is_same_peer(const struct peer *one, const struct peer *other)
{
    return one->family == other->family && one->port == other->port &&
           memcmp(one->address, other->address, sizeof one->address) == 0;
}

static const char *name_of(char c)
{
    return c == 'f'   ? "X-Forwarded-For"
           : c == 'p' ? "X-Forwarded-Proto"
           : c == 'h' ? "X-Forwarded-Host"
           : c == 's' ? "Forwarded"
                      : "X-Other";
}

/* Write the head of an input to text, with junk before the first line of the kind junk_kind. Returns its length. */
static size_t write_head(char *text, struct head *head, const char *input, size_t len, char junk_kind, const char *junk,
                         size_t junk_len)
{
    size_t at = 0, end = 0;
    bool has_junk = false;
    *head = (struct head){.fields = lines, .field_capacity = LINES_MAX};
    for (; at < len && head->field_count < LINES_MAX; at++) {
        size_t line_end = at;
        while (line_end < len && input[line_end] != '\n') {
            line_end++;
        }
        if (line_end == at) {
            continue;
        }
        const char *name = name_of(input[at]);
        struct field *field = &lines[head->field_count++];
        field->name = (struct slice){(uint32_t)end, (uint32_t)strlen(name)};
        end = (size_t)(stpcpy(text + end, name) - text);
        field->value = (struct slice){(uint32_t)end, (uint32_t)(line_end - at - 1)};
        if (junk != NULL && input[at] == junk_kind && !has_junk) {
            memcpy(text + end, junk, junk_len);
            text[end + junk_len] = ',';
            field->value.len += (uint32_t)junk_len + 1;
            end += junk_len + 1;
            has_junk = true;
        }
        memcpy(text + end, input + at + 1, line_end - at - 1);
        end += line_end - at - 1;
        at = line_end;
    }
    return end;
}

/* All elements of the fields of a kind, from left to right. Returns how many; beyond ELEMENTS_MAX they are not kept. */
static size_t split_plainly(const struct head *head, const char *data, const char *name, struct slice *elements)
{
    size_t count = 0;
    for (unsigned i = 0; i < head->field_count; i++) {
        const struct field *field = &head->fields[i];
        if (field->name.len != strlen(name) || memcmp(data + field->name.offset, name, field->name.len) != 0) {
            continue;
        }
        uint32_t begin = field->value.offset, end = begin + field->value.len;
        for (uint32_t at = begin; at <= end; at++) {
            if (at < end && data[at] != ',') {
                continue;
            }
            struct slice element = {begin, at - begin};
            while (element.len > 0 && (data[element.offset] == ' ' || data[element.offset] == '\t')) {
                element.offset++;
                element.len--;
            }
            while (element.len > 0 &&
                   (data[element.offset + element.len - 1] == ' ' || data[element.offset + element.len - 1] == '\t')) {
                element.len--;
            }
            if (element.len > 0 && count < ELEMENTS_MAX) {
                elements[count++] = element;
            }
            begin = at + 1;
        }
    }
    return count;
}

static void check_for(const struct head *head, const char *data, const struct trusted_proxies *trusted)
{
    struct slice elements[ELEMENTS_MAX];
    struct forwarded told;
    struct peer client, found;
    size_t count = split_plainly(head, data, "X-Forwarded-For", elements);
    if (count == ELEMENTS_MAX) {
        return;
    }
    bool is_known = false;
    for (size_t n = 0; n < count && n < FORWARDED_HOPS_MAX; n++) {
        const struct slice element = elements[count - 1 - n];
        const char *hidden = memmem(data + element.offset, element.len, ":_", 2);
        size_t len = hidden == NULL ? element.len : (size_t)(hidden - data) - element.offset;
        if (!peer_parse(&found, data + element.offset, len)) {
            break;
        }
        client = found;
        is_known = true;
        if (!trusted_proxies_have(trusted, &client)) {
            break;
        }
    }
    uint8_t bits = forwarded_read(&told, head, data, FORWARDED_BY_FOR, trusted);
    FUZZ_MUST((bits & ~FORWARDED_CLIENT) == 0);
    FUZZ_MUST(is_known == (bits != 0));
    FUZZ_MUST(!is_known || is_same_peer(&client, &told.client));
}

static void check_told(uint8_t bits, const struct forwarded *told, const char *data, size_t len)
{
    FUZZ_MUST((bits & (FORWARDED_HTTP | FORWARDED_HTTPS)) != (FORWARDED_HTTP | FORWARDED_HTTPS));
    if ((bits & FORWARDED_HOST) != 0) {
        FUZZ_MUST((size_t)told->host.offset + told->host.len <= len);
        FUZZ_MUST(authority_is_valid(data + told->host.offset, told->host.len));
    }
}

/* Once an address that is no proxy's was found, nothing in front of the list matters. */
static void check_junk(const char *input, size_t len, char kind, unsigned sources,
                       const struct trusted_proxies *trusted)
{
    static char plain_text[GUARDED_BYTES + LINES_MAX * 20], text[GUARDED_BYTES + LINES_MAX * 20 + JUNK_MAX + 1];
    struct head head;
    struct forwarded before, after;
    char junk[JUNK_MAX];
    static const char choices[] = "\"\\,;= for=127.0.0.1proto=https[]:_x";
    struct fuzz_dice dice = fuzz_dice_of((const uint8_t *)input, len);
    size_t junk_len = fuzz_roll(&dice, JUNK_MAX);
    for (size_t i = 0; i < junk_len; i++) {
        junk[i] = choices[fuzz_roll(&dice, sizeof choices - 1)];
    }
    write_head(plain_text, &head, input, len, '\0', NULL, 0);
    uint8_t bits = forwarded_read(&before, &head, plain_text, sources, trusted);
    if ((bits & FORWARDED_CLIENT) == 0 || trusted_proxies_have(trusted, &before.client)) {
        return;
    }
    write_head(text, &head, input, len, kind, junk, junk_len);
    FUZZ_MUST(forwarded_read(&after, &head, text, sources, trusted) == bits);
    FUZZ_MUST(is_same_peer(&before.client, &after.client));
    FUZZ_MUST((bits & FORWARDED_HOST) == 0 ||
              (before.host.len == after.host.len &&
               memcmp(plain_text + before.host.offset, text + after.host.offset, before.host.len) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static char made[GUARDED_BYTES + LINES_MAX * 20];
    struct trusted_proxies *trusted;
    struct head head;
    if (len > GUARDED_BYTES - LINES_MAX * 20) {
        return 0;
    }
    FUZZ_MUST(trusted_proxies_parse(&trusted, "10.0.0.0/8, ::1, unix:", NULL, 0) == 0);
    size_t head_len = write_head(made, &head, (const char *)data, len, '\0', NULL, 0);
    const char *text = guarded_at_end(fuzz_guarded(), made, head_len);
    for (unsigned sources = 0; sources <= FORWARDED_BY_STANDARD; sources++) {
        struct forwarded told;
        check_told(forwarded_read(&told, &head, text, sources, trusted), &told, text, head_len);
    }
    check_for(&head, text, trusted);
    check_junk((const char *)data, len, 'f', FORWARDED_BY_DEFAULT, trusted);
    check_junk((const char *)data, len, 's', FORWARDED_BY_STANDARD, trusted);
    write_head(made, &head, (const char *)data, len, '\0', NULL, 0);
    forwarded_strip(&head, text, 0);
    struct forwarded told;
    FUZZ_MUST(forwarded_read(&told, &head, text, FORWARDED_BY_DEFAULT, trusted) == 0);
    FUZZ_MUST(forwarded_read(&told, &head, text, FORWARDED_BY_STANDARD, trusted) == 0);
    trusted_proxies_destroy(trusted);
    return 0;
}
