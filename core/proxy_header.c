/* Happy path: the first bytes say which version it is; a line is cut at its spaces, a block of version 2 has its
 * addresses at fixed places and then a list of types, lengths and values.
 *
 * Failure modes: the first byte that no header has there ends it. Everything must be as it is written in the
 * specification: a header that two readers could read in two ways is none. */

#include "core/proxy_header.h"

#include "core/ascii.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>

/* What the bytes of a header mean. */
enum {
    SIGNATURE_LEN = 12, /* of version 2 */
    BLOCK_HEAD_LEN = 16,
    COMMAND_AT = 12,
    FAMILY_AT = 13,
    LENGTH_AT = 14,
    COMMAND_LOCAL = 0x20,
    COMMAND_PROXY = 0x21,
    FAMILY_UNSPEC = 0x00,
    FAMILY_TCP4 = 0x11,
    FAMILY_TCP6 = 0x21,
    FAMILY_UNIX = 0x31,
    UNIX_ADDRESS_LEN = 108,
    ITEM_HEAD_LEN = 3, /* a type and a length */
    ITEM_ALPN = 0x01,
    ITEM_AUTHORITY = 0x02,
    ITEM_CRC32C = 0x03,
    ITEM_UNIQUE_ID = 0x05,
    ITEM_SSL = 0x20,
    ITEM_SSL_VERSION = 0x21,
    ITEM_SSL_CN = 0x22,
    ITEM_SSL_CIPHER = 0x23,
    TLS_ITEM_HEAD_LEN = 5,         /* a byte of flags, and whether the certificate is good */
    CLIENT_HAS_TLS = 0x01,         /* the client speaks TLS */
    CLIENT_HAS_CERTIFICATE = 0x06, /* and has presented a certificate, here or when its session began */
    ALPN_TEXT_MAX = 255,           /* RFC 7301, section 3.1 */
};

static const uint32_t crc32c_poly = 0x82f63b78u; /* reflected */

static const char proxy_signature[] = "\r\n\r\n\0\r\nQUIT\n";
static const char proxy_line_begin[] = "PROXY ";

static enum proxy_verdict say_bad(struct proxy_header *header, const char *why)
{
    *header = (struct proxy_header){.why = why};
    return PROXY_BAD;
}

static unsigned read_u16(const char *data)
{
    return (unsigned)(uint8_t)data[0] << 8 | (uint8_t)data[1];
}

static uint32_t read_u32(const char *data)
{
    return (uint32_t)read_u16(data) << 16 | read_u16(data + 2);
}

/* Version 1. */

/* The next word of a line, which ends at its one space, or at the line's end. */
static struct proxy_text next_word(const char **at, const char *end)
{
    const char *space = memchr(*at, ' ', (size_t)(end - *at));
    struct proxy_text word = {*at, (size_t)((space == NULL ? end : space) - *at)};
    *at = space == NULL ? NULL : space + 1;
    return word;
}

static bool read_proxy_port(struct proxy_text word, in_port_t *port)
{
    uint64_t number;
    bool is_number = ascii_parse_number(word.text, word.len, UINT16_MAX, &number) &&
                     (word.len == 1 || word.text[0] != '0'); /* one way to write it */
    *port = is_number ? htons((uint16_t)number) : 0;
    return is_number;
}

static bool read_address(struct sockaddr_storage *address, int family, struct proxy_text word, in_port_t port)
{
    char text[INET6_ADDRSTRLEN];
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = port};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = port};
    if (word.len >= sizeof text || memchr(word.text, '\0', word.len) != NULL) {
        return false;
    }
    memcpy(text, word.text, word.len);
    text[word.len] = '\0';
    if (family == AF_INET) {
        bool is_one = inet_pton(AF_INET, text, &in.sin_addr) == 1;
        memcpy(address, &in, sizeof in);
        return is_one;
    }
    bool is_one = inet_pton(AF_INET6, text, &in6.sin6_addr) == 1;
    memcpy(address, &in6, sizeof in6);
    return is_one;
}

/* What follows "PROXY " up to the CRLF. */
static enum proxy_verdict read_words(struct proxy_header *header, const char *at, const char *end)
{
    struct proxy_text words[5] = {{0}};
    unsigned count = 0;
    struct proxy_text kind = words[0] = next_word(&at, end);
    bool is_tcp4 = kind.len == 4 && memcmp(kind.text, "TCP4", 4) == 0;
    if (kind.len == 7 && memcmp(kind.text, "UNKNOWN", 7) == 0) {
        return PROXY_WHOLE; /* whatever follows */
    }
    if (!is_tcp4 && !(kind.len == 4 && memcmp(kind.text, "TCP6", 4) == 0)) {
        return say_bad(header, "it has neither TCP4, TCP6 nor UNKNOWN behind PROXY");
    }
    for (count = 1; count < 5 && at != NULL; count++) {
        words[count] = next_word(&at, end);
    }
    if (count < 5 || at != NULL) {
        return say_bad(header, "it does not have two addresses and two ports, with one space between them");
    }
    in_port_t source_port, destination_port;
    if (!read_proxy_port(words[3], &source_port) || !read_proxy_port(words[4], &destination_port)) {
        return say_bad(header, "it has a port that is no number from 0 to 65535");
    }
    int family = is_tcp4 ? AF_INET : AF_INET6;
    if (!read_address(&header->source, family, words[1], source_port) ||
        !read_address(&header->destination, family, words[2], destination_port)) {
        return say_bad(header,
                       is_tcp4 ? "it has an address that is none of IPv4" : "it has an address that is none of IPv6");
    }
    header->has_addresses = true;
    return PROXY_WHOLE;
}

static enum proxy_verdict read_line(struct proxy_header *header, const char *data, size_t len)
{
    size_t seen = len < PROXY_LINE_MAX ? len : PROXY_LINE_MAX;
    const char *cr = memchr(data, '\r', seen);
    const char *lf = memchr(data, '\n', seen);
    if ((lf != NULL && cr != lf - 1) || (cr != NULL && lf == NULL && cr + 1 < data + seen)) {
        return say_bad(header, "its line does not end with CRLF");
    }
    if (lf == NULL) {
        return len < PROXY_LINE_MAX ? PROXY_MORE : say_bad(header, "its line has more than 107 bytes");
    }
    header->len = (size_t)(lf + 1 - data);
    return read_words(header, data + sizeof proxy_line_begin - 1, cr);
}

/* Version 2. */

/* Of a header of len bytes, in which the checksum, at crc_at, counts as zero (RFC 3720, appendix B.4). */
static uint32_t crc32c_of(const char *data, size_t len, size_t crc_at)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < len; i++) {
        crc ^= i >= crc_at && i < crc_at + 4 ? 0U : (uint8_t)data[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? crc32c_poly : 0U);
        }
    }
    return ~crc;
}

/* Note a text that may occur once. */
static const char *take_item_text(struct proxy_text *text, const char *value, size_t len, size_t max)
{
    if (text->text != NULL) {
        return "it has one of its items twice";
    }
    if (len == 0 || len > max) {
        return "it has an item that is empty or too long";
    }
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)value[i] < 0x20 || value[i] == 0x7f) {
            return "it has a control character in a text";
        }
    }
    *text = (struct proxy_text){value, len};
    return NULL;
}

/* Cut the next item off a list. Returns false when the list is not whole; its length is above 0. */
static bool next_item(const char **at, size_t *left, unsigned *type, struct proxy_text *value)
{
    size_t len = *left < ITEM_HEAD_LEN ? 0 : read_u16(*at + 1);
    if (*left < ITEM_HEAD_LEN || *left - ITEM_HEAD_LEN < len) {
        return false;
    }
    *type = (uint8_t)(*at)[0];
    *value = (struct proxy_text){*at + ITEM_HEAD_LEN, len};
    *at += ITEM_HEAD_LEN + len;
    *left -= ITEM_HEAD_LEN + len;
    return true;
}

static const char items_cut[] = "it ends inside of an item";

/* What the proxy says of the client's TLS. Returns NULL, or what is wrong. */
static const char *read_ssl(struct proxy_header *header, struct proxy_text ssl)
{
    if (ssl.len < TLS_ITEM_HEAD_LEN) {
        return items_cut;
    }
    unsigned flags = (uint8_t)ssl.text[0];
    bool is_verified = (flags & CLIENT_HAS_CERTIFICATE) != 0 && read_u32(ssl.text + 1) == 0;
    struct proxy_text version = {0}, cipher = {0}, name = {0}, value;
    const char *at = ssl.text + TLS_ITEM_HEAD_LEN, *why = NULL;
    size_t left = ssl.len - TLS_ITEM_HEAD_LEN;
    while (why == NULL && left > 0) {
        unsigned type;
        if (!next_item(&at, &left, &type, &value)) {
            return items_cut;
        }
        struct proxy_text *text = type == ITEM_SSL_VERSION  ? &version
                                  : type == ITEM_SSL_CIPHER ? &cipher
                                  : type == ITEM_SSL_CN     ? &name
                                                            : NULL;
        why = text == NULL ? NULL : take_item_text(text, value.text, value.len, PROXY_HEADER_MAX);
    }
    if (why == NULL && (flags & CLIENT_HAS_TLS) != 0) {
        header->is_tls = true;
        header->tls_version = version;
        header->tls_cipher = cipher;
        header->tls_client = is_verified ? name : (struct proxy_text){0};
    }
    return why;
}

/* Take one item; data is the whole header. Returns NULL, or what is wrong. */
static const char *take_item(struct proxy_header *header, const char *data, unsigned type, struct proxy_text value,
                             bool *has_ssl)
{
    switch (type) {
    case ITEM_ALPN:
        return take_item_text(&header->alpn, value.text, value.len, ALPN_TEXT_MAX);
    case ITEM_AUTHORITY:
        return take_item_text(&header->authority, value.text, value.len, PROXY_AUTHORITY_MAX);
    case ITEM_UNIQUE_ID:
        if (header->unique_id.text != NULL || value.len == 0 || value.len > PROXY_UNIQUE_ID_MAX) {
            return "it has an id twice, or one that is empty or longer than 128 bytes";
        }
        header->unique_id = value;
        return NULL;
    case ITEM_CRC32C:
        return value.len == 4 && read_u32(value.text) == crc32c_of(data, header->len, (size_t)(value.text - data))
                   ? NULL
                   : "its checksum is wrong";
    case ITEM_SSL:
        if (*has_ssl) {
            return "it has one of its items twice";
        }
        *has_ssl = true;
        return read_ssl(header, value);
    default:
        return NULL; /* padding, network namespaces, and what proxies invent */
    }
}

/* A pair of addresses and ports, at "at"; of unix sockets the family says all that is asked. */
static void read_addresses(struct proxy_header *header, unsigned family, const char *at)
{
    header->has_addresses = true;
    if (family == FAMILY_TCP4) {
        struct sockaddr_in source = {.sin_family = AF_INET}, destination = {.sin_family = AF_INET};
        memcpy(&source.sin_addr, at, 4);
        memcpy(&destination.sin_addr, at + 4, 4);
        memcpy(&source.sin_port, at + 8, 2);
        memcpy(&destination.sin_port, at + 10, 2);
        memcpy(&header->source, &source, sizeof source);
        memcpy(&header->destination, &destination, sizeof destination);
    } else if (family == FAMILY_TCP6) {
        struct sockaddr_in6 source = {.sin6_family = AF_INET6}, destination = {.sin6_family = AF_INET6};
        memcpy(&source.sin6_addr, at, 16);
        memcpy(&destination.sin6_addr, at + 16, 16);
        memcpy(&source.sin6_port, at + 32, 2);
        memcpy(&destination.sin6_port, at + 34, 2);
        memcpy(&header->source, &source, sizeof source);
        memcpy(&header->destination, &destination, sizeof destination);
    } else {
        header->source.ss_family = AF_UNIX;
        header->destination.ss_family = AF_UNIX;
    }
}

/* Bytes of the addresses of a family; -1 for none that a stream has. */
static int addresses_len(unsigned family)
{
    return family == FAMILY_TCP4     ? 12
           : family == FAMILY_TCP6   ? 36
           : family == FAMILY_UNIX   ? 2 * UNIX_ADDRESS_LEN
           : family == FAMILY_UNSPEC ? 0
                                     : -1;
}

static enum proxy_verdict read_block(struct proxy_header *header, const char *data, size_t len)
{
    unsigned command = len > COMMAND_AT ? (uint8_t)data[COMMAND_AT] : (unsigned)COMMAND_LOCAL;
    unsigned family = len > FAMILY_AT ? (uint8_t)data[FAMILY_AT] : (unsigned)FAMILY_UNSPEC;
    if (command != COMMAND_LOCAL && command != COMMAND_PROXY) {
        return say_bad(header,
                       command >> 4 == 2 ? "its command is neither LOCAL nor PROXY" : "its version is neither 1 nor 2");
    }
    bool has_client = command == COMMAND_PROXY && family != FAMILY_UNSPEC;
    int pair_len = has_client ? addresses_len(family) : 0;
    if (pair_len < 0) {
        return say_bad(header, "its family is none of TCP over IPv4, TCP over IPv6, and unix sockets");
    }
    if (len < BLOCK_HEAD_LEN) {
        return PROXY_MORE;
    }
    size_t content_len = read_u16(data + LENGTH_AT);
    if (content_len > PROXY_HEADER_MAX - BLOCK_HEAD_LEN) {
        return say_bad(header, "it has more than 4096 bytes");
    }
    if (content_len < (size_t)pair_len) {
        return say_bad(header, "it is too short for its addresses");
    }
    if (len < BLOCK_HEAD_LEN + content_len) {
        return PROXY_MORE;
    }
    header->len = BLOCK_HEAD_LEN + content_len;
    if (!has_client) {
        return PROXY_WHOLE; /* whatever it has: the specification says to skip it */
    }
    read_addresses(header, family, data + BLOCK_HEAD_LEN);
    const char *at = data + BLOCK_HEAD_LEN + pair_len;
    size_t left = content_len - (size_t)pair_len;
    for (bool has_ssl = false; left > 0;) {
        unsigned type;
        struct proxy_text value;
        const char *why = next_item(&at, &left, &type, &value) ? take_item(header, data, type, value, &has_ssl)
                                                               : items_cut;
        if (why != NULL) {
            return say_bad(header, why);
        }
    }
    return PROXY_WHOLE;
}

/* Whether the first bytes of data, len in all, are those of begin, as far as they go. */
static bool begins_as(const char *data, size_t len, const char *begin, size_t begin_len)
{
    return memcmp(data, begin, len < begin_len ? len : begin_len) == 0;
}

enum proxy_verdict proxy_header_read(struct proxy_header *header, const char *data, size_t len)
{
    *header = (struct proxy_header){.len = len};
    if (len == 0) {
        return PROXY_MORE;
    }
    bool is_line = begins_as(data, len, proxy_line_begin, sizeof proxy_line_begin - 1);
    if (!is_line && !begins_as(data, len, proxy_signature, SIGNATURE_LEN)) {
        *header = (struct proxy_header){.is_missing = true,
                                        .why = data[0] == 0x16 ? "there is none: TLS came instead"
                                                               : "there is none: something else came instead"};
        return PROXY_BAD;
    }
    if (len < (is_line ? sizeof proxy_line_begin - 1 : (size_t)SIGNATURE_LEN)) {
        return PROXY_MORE;
    }
    return is_line ? read_line(header, data, len) : read_block(header, data, len);
}
