/* Happy path: walk_for() or read_standard() from the last element of a list to the client's.
 *
 * Failure modes: an element that is malformed ends the walk like one without an address, and says nothing; a protocol
 * other than those of HTTP and WebSockets, and a malformed host, count as absent. */

#include "http/forwarded.h"

#include "core/ascii.h"
#include "core/log.h"
#include "core/network.h"
#include "http/authority.h"
#include "http/char_class.h"
#include "http/trusted_proxies.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

enum { NODE_TEXT_MAX = 64 }; /* bytes of an address with its port, and more than any has */

static const char name_for[] = "X-Forwarded-For", name_proto[] = "X-Forwarded-Proto", name_host[] = "X-Forwarded-Host",
                  name_standard[] = "Forwarded", name_real[] = "X-Real-IP";

/* Bytes of a head, or of a copy of some. */
struct piece {
    const char *text; /* not NUL-terminated; NULL: there is none */
    size_t len;
};

static bool piece_is(struct piece piece, const char *word)
{
    return ascii_is(piece.text, piece.len, word);
}

/* Lists. */

/* The elements of all fields of one name, from the last one to the first. */
struct hop_list {
    const struct head *head;
    const char *data;
    const char *name;
    bool has_quotes;   /* a comma in a quoted string is none */
    unsigned field;    /* those before it are still to be looked at */
    struct piece rest; /* of the field after that: what was not taken yet */
};

static struct hop_list list_of(const struct head *head, const char *data, const char *name)
{
    return (struct hop_list){.head = head, .data = data, .name = name, .field = head->field_count};
}

/* Whether the quote at text[at] is within a quoted string: escaped, by an odd number of backslashes. */
static bool is_escaped(const char *text, size_t at)
{
    size_t begin = at;
    while (begin > 0 && text[begin - 1] == '\\') {
        begin--;
    }
    return (at - begin) % 2 == 1;
}

/* Where the last element begins. Read from the right, so that what a client has sent in front cannot spoil what proxies
 * have added; of a well-formed list that finds the same elements. */
static size_t find_last_element(struct piece list, bool has_quotes)
{
    bool is_quoted = false;
    for (size_t i = list.len; i > 0; i--) {
        char c = list.text[i - 1];
        if (c == '"' && has_quotes) {
            is_quoted = !is_quoted || is_escaped(list.text, i - 1);
        } else if (c == ',' && !is_quoted) {
            return i;
        }
    }
    return 0;
}

static struct piece trim(const char *text, size_t len)
{
    size_t begin = char_skip_space(text, len, 0);
    while (len > begin && char_is_space(text[len - 1])) {
        len--;
    }
    return (struct piece){text + begin, len - begin};
}

static bool step_to_field(struct hop_list *list)
{
    size_t name_len = strlen(list->name);
    while (list->field > 0) {
        const struct field *field = &list->head->fields[--list->field];
        if (field->name.len == name_len && ascii_equals(list->data + field->name.offset, list->name, name_len)) {
            list->rest = (struct piece){list->data + field->value.offset, field->value.len};
            return true;
        }
    }
    return false;
}

/* The element before the one taken last, without the white space around it. Empty ones are none (RFC 9110 section
 * 5.6.1). Returns false at the begin. */
static bool take_last(struct hop_list *list, struct piece *element)
{
    do {
        while (list->rest.len == 0) {
            if (!step_to_field(list)) {
                return false;
            }
        }
        size_t begin = find_last_element(list->rest, list->has_quotes);
        *element = trim(list->rest.text + begin, list->rest.len - begin);
        list->rest.len = begin == 0 ? 0 : begin - 1;
    } while (element->len == 0);
    return true;
}

/* What elements say. */

static uint8_t proto_bit(struct piece value)
{
    return piece_is(value, "https") || piece_is(value, "wss") ? FORWARDED_HTTPS
           : piece_is(value, "http") || piece_is(value, "ws") ? FORWARDED_HTTP
                                                              : 0;
}

static uint8_t take_host_of(struct forwarded *told, const char *data, struct piece value)
{
    if (!authority_is_valid(value.text, value.len)) {
        return 0;
    }
    told->host = (struct slice){(uint32_t)(value.text - data), (uint32_t)value.len};
    return FORWARDED_HOST;
}

/* An address, whose port may be hidden: "192.0.2.7:_port". Returns false for one that is unknown or hidden itself. */
static bool read_node(struct peer *client, struct piece node)
{
    const char *hidden = memmem(node.text, node.len, ":_", 2);
    return peer_parse(client, node.text, hidden == NULL ? node.len : (size_t)(hidden - node.text));
}

/* The element that is hops from the right, or else the first one. */
static struct piece find_hop(const struct head *head, const char *data, const char *name, unsigned hops)
{
    struct hop_list list = list_of(head, data, name);
    struct piece element, found = {NULL, 0};
    for (unsigned n = 0; n < hops && take_last(&list, &element); n++) {
        found = element;
    }
    return found;
}

/* Walk X-Forwarded-For. Returns how many elements trusted proxies have written, as far as they were looked at. */
static unsigned walk_for(struct forwarded *told, uint8_t *bits, const struct head *head, const char *data,
                         const struct trusted_proxies *trusted)
{
    struct hop_list list = list_of(head, data, name_for);
    struct piece element;
    unsigned hops = 0;
    while (hops < FORWARDED_HOPS_MAX && take_last(&list, &element)) {
        hops++;
        if (!read_node(&told->client, element)) {
            break;
        }
        *bits |= FORWARDED_CLIENT;
        if (!trusted_proxies_have(trusted, &told->client)) {
            break;
        }
    }
    return hops;
}

/* Forwarded. */

/* One element; parameters that it lacks have no text. */
struct hop {
    struct piece node, proto, host;
    bool is_escaped; /* node lies in buffer, without its backslashes */
    char buffer[NODE_TEXT_MAX];
};

/* The end of a quoted string that begins at text[at], behind its quote; 0: it has none. */
static size_t find_quote_end(struct piece text, size_t at)
{
    for (size_t i = at + 1; i < text.len; i++) {
        if (text.text[i] == '"') {
            return i + 1;
        }
        i += text.text[i] == '\\' ? 1 : 0;
    }
    return 0;
}

/* Take a value that begins at text[*at]: a token, or a quoted string, which it gives without its quotes. Addresses with
 * a colon come without quotes, too. Returns false if it is malformed. */
static bool take_hop_value(struct piece text, size_t *at, struct piece *value)
{
    size_t begin = *at, end = begin;
    if (begin < text.len && text.text[begin] == '"') {
        end = find_quote_end(text, begin);
        *value = (struct piece){text.text + begin + 1, end < 2 ? 0 : end - begin - 2};
        *at = end;
        return end > 0;
    }
    while (end < text.len && text.text[end] != ';' && text.text[end] != '"' && !char_is_space(text.text[end])) {
        end++;
    }
    *value = (struct piece){text.text + begin, end - begin};
    *at = end;
    return end > begin;
}

/* Note a parameter, which an element has once (RFC 7239 section 4). */
static bool note_parameter(struct hop *hop, struct piece name, struct piece value)
{
    struct piece *place = piece_is(name, "for")     ? &hop->node
                          : piece_is(name, "proto") ? &hop->proto
                          : piece_is(name, "host")  ? &hop->host
                                                    : NULL;
    if (place == NULL) {
        return true;
    }
    if (place->text != NULL) {
        return false;
    }
    *place = value;
    return true;
}

/* Returns false if the element is malformed. */
static bool read_hop(struct hop *hop, struct piece text)
{
    *hop = (struct hop){0};
    size_t at = 0;
    while (at < text.len) {
        if (text.text[at] == ';' || char_is_space(text.text[at])) {
            at++;
            continue;
        }
        struct piece name = {text.text + at, 0}, value;
        while (at < text.len && char_is(text.text[at], CLASS_TOKEN)) {
            at++;
        }
        name.len = (size_t)(text.text + at - name.text);
        if (name.len == 0 || at == text.len || text.text[at++] != '=' || !take_hop_value(text, &at, &value) ||
            !note_parameter(hop, name, value)) {
            return false;
        }
        at = char_skip_space(text.text, text.len, at);
        if (at < text.len && text.text[at] != ';') {
            return false;
        }
    }
    return true;
}

/* Without the backslashes of a quoted string. Returns false if there is no room for what is no address anyway. */
static bool unescape(struct piece *value, char buffer[NODE_TEXT_MAX])
{
    size_t len = 0;
    for (size_t i = 0; i < value->len; i++) {
        i += value->text[i] == '\\' && i + 1 < value->len ? 1 : 0;
        if (len == NODE_TEXT_MAX) {
            return false;
        }
        buffer[len++] = value->text[i];
    }
    *value = (struct piece){buffer, len};
    return true;
}

/* Of protocols and hosts the one furthest to the left counts, as far as the walk comes. */
static uint8_t read_standard(struct forwarded *told, const struct head *head, const char *data,
                             const struct trusted_proxies *trusted)
{
    struct hop_list list = list_of(head, data, name_standard);
    list.has_quotes = true;
    struct piece element;
    struct hop hop;
    uint8_t bits = 0;
    for (unsigned hops = 0; hops < FORWARDED_HOPS_MAX && take_last(&list, &element) && read_hop(&hop, element);
         hops++) {
        uint8_t proto = hop.proto.text == NULL ? 0 : proto_bit(hop.proto);
        if (proto != 0) {
            bits = (uint8_t)((bits & ~(FORWARDED_HTTP | FORWARDED_HTTPS)) | proto);
        }
        if (hop.host.text != NULL) {
            bits |= take_host_of(told, data, hop.host);
        }
        if (hop.node.text == NULL || !unescape(&hop.node, hop.buffer) || !read_node(&told->client, hop.node)) {
            break;
        }
        bits |= FORWARDED_CLIENT;
        if (!trusted_proxies_have(trusted, &told->client)) {
            break;
        }
    }
    return bits;
}

uint8_t forwarded_read(struct forwarded *told, const struct head *head, const char *data, unsigned sources,
                       const struct trusted_proxies *trusted)
{
    if ((sources & FORWARDED_BY_STANDARD) != 0) {
        return read_standard(told, head, data, trusted);
    }
    uint8_t bits = 0;
    unsigned hops = (sources & FORWARDED_BY_FOR) != 0 ? walk_for(told, &bits, head, data, trusted) : 0;
    hops = hops == 0 ? 1 : hops; /* the sender itself has written one element */
    if ((sources & FORWARDED_BY_PROTO) != 0) {
        struct piece proto = find_hop(head, data, name_proto, hops);
        bits |= proto.text == NULL ? 0 : proto_bit(proto);
    }
    if ((sources & FORWARDED_BY_HOST) != 0) {
        struct piece host = find_hop(head, data, name_host, hops);
        bits |= host.text == NULL ? 0 : take_host_of(told, data, host);
    }
    return bits;
}

/* Taking fields out. */

static bool should_strip(struct piece name, unsigned sources)
{
    static const char prefix[] = "X-Forwarded-";
    if (piece_is(name, name_standard)) {
        return (sources & FORWARDED_BY_STANDARD) == 0;
    }
    bool is_other = piece_is(name, name_real);
    if (!is_other && (name.len < sizeof prefix - 1 || !ascii_equals(name.text, prefix, sizeof prefix - 1))) {
        return false;
    }
    unsigned needed = piece_is(name, name_for)     ? (unsigned)FORWARDED_BY_FOR
                      : piece_is(name, name_proto) ? (unsigned)FORWARDED_BY_PROTO
                      : piece_is(name, name_host)  ? (unsigned)FORWARDED_BY_HOST
                                                   : (unsigned)FORWARDED_BY_DEFAULT;
    return (sources & needed) == 0;
}

void forwarded_strip(struct head *head, const char *data, unsigned sources)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < head->field_count; i++) {
        const struct field field = head->fields[i];
        if (should_strip((struct piece){data + field.name.offset, field.name.len}, sources)) {
            continue;
        }
        for (unsigned known = 0; kept != i && known < FIELD_KNOWN_COUNT; known++) {
            if (head->first[known] == i + 1) {
                head->first[known] = (uint16_t)(kept + 1);
            }
        }
        head->fields[kept++] = field;
    }
    head->field_count = (uint16_t)kept;
}

/* The setting. */

static const struct {
    const char *word;
    uint8_t bits;
    bool is_alone; /* no other word may stand beside it */
} setting_words[] = {
    {"x-forwarded", FORWARDED_BY_DEFAULT, true},
    {"forwarded", FORWARDED_BY_STANDARD, true},
    {"off", 0, true},
    {"x-forwarded-for", FORWARDED_BY_FOR, false},
    {"x-forwarded-proto", FORWARDED_BY_PROTO, false},
    {"x-forwarded-host", FORWARDED_BY_HOST, false},
};

enum { SETTING_WORDS = sizeof setting_words / sizeof setting_words[0] };

int forwarded_parse_setting(uint8_t *sources, const char *text, char *err, size_t errlen)
{
    const char *rest = text;
    uint8_t bits = 0;
    unsigned parts = 0;
    bool has_lone = false;
    do {
        size_t len, n = 0;
        const char *part = network_next_part(&rest, &len);
        while (n < SETTING_WORDS && !ascii_is(part, len, setting_words[n].word)) {
            n++;
        }
        if (n == SETTING_WORDS) {
            return error_text(
                err, errlen, -EINVAL,
                "\"%.*s\" is not one of \"x-forwarded\", \"forwarded\" and \"off\", and no field that can "
                "be chosen: \"x-forwarded-for\", \"x-forwarded-proto\", \"x-forwarded-host\"",
                (int)(len < NODE_TEXT_MAX ? len : NODE_TEXT_MAX), part);
        }
        bits |= setting_words[n].bits;
        has_lone = has_lone || setting_words[n].is_alone;
        parts++;
    } while (rest[0] != '\0' || rest[-1] == ',');
    if (has_lone && parts > 1) {
        return error_text(
            err, errlen, -EINVAL,
            "\"%.200s\": \"x-forwarded\", \"forwarded\" and \"off\" stand alone: believe one kind of field, "
            "and have the proxy delete the others",
            text);
    }
    *sources = bits;
    return 0;
}

void forwarded_format_setting(unsigned sources, char text[FORWARDED_TEXT_MAX])
{
    text[0] = '\0';
    for (size_t n = 0; n < SETTING_WORDS; n++) {
        unsigned bits = setting_words[n].bits;
        if (setting_words[n].is_alone ? sources == bits : (sources & bits) != 0) {
            strcat(text, text[0] == '\0' ? "" : ", ");
            strcat(text, setting_words[n].word);
            if (setting_words[n].is_alone) {
                return;
            }
        }
    }
}
