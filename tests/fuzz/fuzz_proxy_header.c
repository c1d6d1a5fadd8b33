/* The header of the PROXY protocol (core/proxy_header.c). The input is what a connection begins with, flush against a page
 * that must not be touched. Whole and in pieces it has the same verdict, which is that of a plain reading; texts lie within
 * the header; and bytes behind it change nothing. */

#include "core/proxy_header.h"
#include "tests/lib/fuzz.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

enum { WORDS = 6, BLOCK_HEAD = 16 };

/* A number as printf() writes it, and nothing else. */
static bool is_plain_port(const char *text)
{
    char again[16];
    unsigned long number = strtoul(text, NULL, 10);
    snprintf(again, sizeof again, "%lu", number);
    return number <= 65535 && strcmp(text, again) == 0;
}

/* A line without its CRLF, by its words. */
static bool is_plain_line(const char *line, size_t len, bool *has_addresses)
{
    char words[WORDS][108] = {{0}};
    size_t count = 1, at = 0;
    struct in6_addr address;
    for (size_t i = 0; i < len; i++) {
        if (line[i] == ' ') {
            count++;
            at = 0;
        } else if (count <= WORDS) {
            words[count - 1][at++] = line[i] == '\0' ? '?' : line[i];
        }
        if (count == 3 && strcmp(words[1], "UNKNOWN") == 0) {
            break;
        }
    }
    *has_addresses = strcmp(words[1], "UNKNOWN") != 0;
    int family = strcmp(words[1], "TCP4") == 0 ? AF_INET : AF_INET6;
    return !*has_addresses ||
           (count == WORDS && (family == AF_INET || strcmp(words[1], "TCP6") == 0) &&
            inet_pton(family, words[2], &address) == 1 && inet_pton(family, words[3], &address) == 1 &&
            is_plain_port(words[4]) && is_plain_port(words[5]));
}

/* The verdict on a line; data begins with "PROXY ". */
static enum proxy_verdict read_plain_line(const char *data, size_t len, size_t *end, bool *has_addresses)
{
    for (size_t i = 0; i < len && i < PROXY_LINE_MAX; i++) {
        if (data[i] == '\n' || (i > 0 && data[i - 1] == '\r')) {
            *end = i + 1;
            return data[i] == '\n' && data[i - 1] == '\r' && is_plain_line(data, i - 1, has_addresses) ? PROXY_WHOLE
                                                                                                       : PROXY_BAD;
        }
    }
    return len < PROXY_LINE_MAX ? PROXY_MORE : PROXY_BAD;
}

static bool is_plain_text(const char *text, size_t len, size_t max)
{
    bool is_one = len > 0 && len <= max;
    for (size_t i = 0; i < len; i++) {
        is_one = is_one && (unsigned char)text[i] >= ' ' && text[i] != 0x7f;
    }
    return is_one;
}

static uint32_t plain_crc(const char *data, size_t len, const char *zeros)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < len; i++) {
        for (int bit = 0; bit < 8; bit++) {
            bool in = data + i >= zeros && data + i < zeros + 4 ? false : (data[i] >> bit & 1) != 0;
            crc = (crc >> 1) ^ ((crc & 1) != in ? UINT32_C(0x82f63b78) : 0);
        }
    }
    return ~crc;
}

/* A list of items from "at" to end; whole_len bytes of header begin at whole, NULL inside of the item about TLS. */
static bool are_plain_items(const char *at, const char *end, const char *whole, size_t whole_len)
{
    unsigned seen[256] = {0};
    while (at < end) {
        if (end - at < 3) {
            return false;
        }
        unsigned type = (uint8_t)at[0];
        size_t len = (size_t)(uint8_t)at[1] * 256 + (uint8_t)at[2];
        const char *value = at + 3;
        if ((size_t)(end - value) < len) {
            return false;
        }
        bool is_read = whole == NULL ? type >= 0x21 && type <= 0x23
                                     : type == 1 || type == 2 || type == 5 || type == 0x20;
        if (is_read && seen[type]++ > 0) {
            return false;
        }
        bool is_good = whole == NULL  ? !is_read || is_plain_text(value, len, PROXY_HEADER_MAX)
                       : type == 1    ? is_plain_text(value, len, 255)
                       : type == 2    ? is_plain_text(value, len, PROXY_AUTHORITY_MAX)
                       : type == 5    ? len > 0 && len <= PROXY_UNIQUE_ID_MAX
                       : type == 0x20 ? len >= 5 && are_plain_items(value + 5, value + len, NULL, 0)
                       : type == 3    ? len == 4 && ntohl(*(uint32_t *)memcpy(&(uint32_t){0}, value, 4)) ==
                                                     plain_crc(whole, whole_len, value)
                                   : true;
        if (!is_good) {
            return false;
        }
        at = value + len;
    }
    return true;
}

static enum proxy_verdict read_plain_block(const char *data, size_t len, size_t *end, bool *has_addresses)
{
    uint8_t head[BLOCK_HEAD] = {0};
    memcpy(head, data, len < BLOCK_HEAD ? len : BLOCK_HEAD);
    if (len > 12 && head[12] != 0x20 && head[12] != 0x21) {
        return PROXY_BAD;
    }
    *has_addresses = head[12] == 0x21 && head[13] != 0;
    size_t pair = !*has_addresses ? 0 : head[13] == 0x11 ? 12 : head[13] == 0x21 ? 36 : head[13] == 0x31 ? 216 : 9999;
    if (pair == 9999 && len > 13) {
        return PROXY_BAD;
    }
    if (len < BLOCK_HEAD) {
        return PROXY_MORE;
    }
    size_t content = (size_t)head[14] * 256 + head[15];
    if (content + BLOCK_HEAD > PROXY_HEADER_MAX || content < pair) {
        return PROXY_BAD;
    }
    if (len < content + BLOCK_HEAD) {
        return PROXY_MORE;
    }
    *end = content + BLOCK_HEAD;
    return !*has_addresses || are_plain_items(data + BLOCK_HEAD + pair, data + *end, data, *end) ? PROXY_WHOLE
                                                                                                 : PROXY_BAD;
}

static enum proxy_verdict read_plainly(const char *data, size_t len, size_t *end, bool *has_addresses)
{
    static const char line[] = "PROXY ", block[] = "\r\n\r\n\0\r\nQUIT\n";
    bool is_line = memcmp(data, line, len < 6 ? len : 6) == 0;
    bool is_block = memcmp(data, block, len < 12 ? len : 12) == 0;
    if (is_line && len >= 6) {
        return read_plain_line(data, len, end, has_addresses);
    }
    if (is_block && len >= 12) {
        return read_plain_block(data, len, end, has_addresses);
    }
    return is_line || is_block ? PROXY_MORE : PROXY_BAD;
}

static void check_within(struct proxy_text text, const char *data, size_t len)
{
    FUZZ_MUST(text.text == NULL || (text.text >= data + BLOCK_HEAD && text.text + text.len <= data + len));
    FUZZ_MUST(text.text != NULL || text.len == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len > GUARDED_BYTES) {
        return 0;
    }
    struct guarded *guarded = fuzz_guarded();
    struct fuzz_dice dice = fuzz_dice_of(data, len);
    struct proxy_header header, again;
    const char *text = guarded_at_end(guarded, (const char *)data, len);
    size_t end = 0;
    bool has_addresses = false;
    enum proxy_verdict verdict = proxy_header_read(&header, text, len);
    FUZZ_MUST(verdict == read_plainly(text, len, &end, &has_addresses));
    FUZZ_MUST((verdict == PROXY_BAD) == (header.why != NULL));
    if (verdict == PROXY_WHOLE) {
        const struct proxy_text texts[] = {header.unique_id,   header.authority,  header.alpn,
                                           header.tls_version, header.tls_cipher, header.tls_client};
        FUZZ_MUST(header.len == end && header.has_addresses == has_addresses);
        for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
            check_within(texts[i], text, header.len);
        }
        FUZZ_MUST(!has_addresses || header.source.ss_family == header.destination.ss_family);
    }
    for (size_t cut = 0; cut < len; cut += fuzz_piece(&dice, len - cut)) {
        enum proxy_verdict part = proxy_header_read(&again, guarded_at_end(guarded, (const char *)data, cut), cut);
        FUZZ_MUST(part == PROXY_MORE || part == verdict);
        FUZZ_MUST(part == PROXY_BAD || again.len == (part == PROXY_MORE ? cut : end));
    }
    return 0;
}
