/* core/proxy_header.c: headers of both versions whole, cut at each place, broken, too long, and without an end. */

#include "core/proxy_header.h"

#include "tests/lib/guard_page.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>

#define COUNT(rows) (sizeof(rows) / sizeof(rows)[0])
#define SIGNATURE   "\r\n\r\n\0\r\nQUIT\n"
#define PAIR4       "\xc0\0\x02\x01\xc6\x33\x64\x02\xdc\x04\x01\xbb" /* 192.0.2.1:56324 to 198.51.100.2:443 */
#define PAIR6       "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\xdc\x04\x01\xbb"

static struct guarded guarded;

struct row {
    const char *bytes;
    size_t len;          /* 0: strlen(bytes) */
    const char *expects; /* "FROM TO", "none", or the beginning of what is wrong */
};

static void format_address(const struct sockaddr_storage *address, char *text, size_t len)
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)address;
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        snprintf(text, len, "%s:%u", host, ntohs(in->sin_port));
    } else if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)address;
        inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
        snprintf(text, len, "[%s]:%u", host, ntohs(in6->sin6_port));
    } else {
        snprintf(text, len, "%s", address->ss_family == AF_UNIX ? "unix:" : "?");
    }
}

/* What was read, as a row says it. */
static const char *describe(const struct proxy_header *header, enum proxy_verdict verdict)
{
    static char text[256];
    if (verdict != PROXY_WHOLE) {
        assert_true((verdict == PROXY_BAD) == (header->why != NULL));
        return verdict == PROXY_MORE ? "more" : header->why;
    }
    if (!header->has_addresses) {
        return "none";
    }
    char from[64], to[64];
    format_address(&header->source, from, sizeof from);
    format_address(&header->destination, to, sizeof to);
    snprintf(text, sizeof text, "%s %s", from, to);
    return text;
}

/* Whole with bytes of others behind it, alone, and as it comes byte by byte: a header is whole with its last byte and not
 * before, and a broken one is never anything but the beginning of one before it is broken. */
static void check_row(const struct row *row)
{
    size_t len = row->len == 0 ? strlen(row->bytes) : row->len;
    char more[PROXY_HEADER_MAX * 2];
    struct proxy_header header;
    memcpy(more, row->bytes, len);
    memcpy(more + len, "GET / HTTP/1.1\r\n\r\n", 18);
    enum proxy_verdict verdict = proxy_header_read(&header, guarded_at_end(&guarded, more, len + 18), len + 18);
    const char *found = describe(&header, verdict);
    if (strncmp(found, row->expects, strlen(row->expects)) != 0) {
        fail_msg("%.40s: expected %s, got %s", row->bytes, row->expects, found);
    }
    if (verdict == PROXY_WHOLE) {
        assert_int_equal(header.len, len);
    }
    bool was_bad = false;
    for (size_t cut = 0; cut <= len; cut++) {
        enum proxy_verdict part = proxy_header_read(&header, guarded_at_end(&guarded, row->bytes, cut), cut);
        assert_true(part != PROXY_WHOLE || (verdict == PROXY_WHOLE && cut == len));
        assert_true(part != PROXY_BAD || verdict == PROXY_BAD);
        assert_true(part != PROXY_MORE || (header.len == cut && !was_bad));
        was_bad = was_bad || part == PROXY_BAD;
    }
    assert_true(verdict != PROXY_WHOLE || proxy_header_read(&header, row->bytes, len) == PROXY_WHOLE);
}

#define LONGEST                                                                                                        \
    "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"
#define SIXTY "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static void lines_are_read_strictly(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n", 0, "192.0.2.1:56324 198.51.100.2:443"},
        {"PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n", 0, "255.255.255.255:65535 0.0.0.0:0"},
        {"PROXY TCP6 2001:db8::1 ::1 56324 443\r\n", 0, "[2001:db8::1]:56324 [::1]:443"},
        {"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", 0, "[::ffff:192.0.2.1]:1 [::1]:2"},
        {LONGEST, 0, "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
        {"PROXY UNKNOWN\r\n", 0, "none"},
        {"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 "
         "65535\r\n",
         0, "none"}, /* the longest there is: 107 bytes */
        {"PROXY UNKNOWN what ever \x01\xff\r\n", 0, "none"},
        {"GET / HTTP/1.1\r\n", 0, "there is none: something else"},
        {"\x16\x03\x01", 0, "there is none: TLS"},
        {"proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n", 0, "there is none"},
        {" PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n", 0, "there is none"},
        {"PROXY\tTCP4 1.2.3.4 1.2.3.4 1 2\r\n", 0, "there is none"},
        {"PROXY / HTTP/1.1\r\n", 0, "it has neither TCP4"},
        {"PROXY \r\n", 0, "it has neither TCP4"},
        {"PROXY TCP 1.2.3.4 1.2.3.4 1 2\r\n", 0, "it has neither TCP4"},
        {"PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n", 0, "it has neither TCP4"},
        {"PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n", 0, "it has neither TCP4"},
        {"PROXY UNKNOWNS\r\n", 0, "it has neither TCP4"},
        {"PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n", 0, "it has neither TCP4"},
        {"PROXY TCP4\r\n", 0, "it does not have two addresses"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", 0, "it does not have two addresses"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n", 0, "it does not have two addresses"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", 0, "it does not have two addresses"},
        {"PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n", 0, "it does not have two addresses"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", 0, "it has a port"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n", 0, "it has a port"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n", 0, "it has a port"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4  2\r\n", 0, "it has a port"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4 1 99999999999999999999\r\n", 0, "it has a port"},
        {"PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n", 0, "it has an address that is none of IPv4"},
        {"PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n", 0, "it has an address that is none of IPv4"},
        {"PROXY TCP4 1.2.3.256 1.2.3.4 1 2\r\n", 0, "it has an address that is none of IPv4"},
        {"PROXY TCP4 ::1 1.2.3.4 1 2\r\n", 0, "it has an address that is none of IPv4"},
        {"PROXY TCP4 1.2.3.4 localhost 1 2\r\n", 0, "it has an address that is none of IPv4"},
        {"PROXY TCP4 1.2.3.4\0 1.2.3.4 1 2\r\n", 33, "it has an address that is none of IPv4"},
        {"PROXY TCP6 1.2.3.4 ::1 1 2\r\n", 0, "it has an address that is none of IPv6"},
        {"PROXY TCP6 [::1] ::1 1 2\r\n", 0, "it has an address that is none of IPv6"},
        {"PROXY TCP6 ::1%lo ::1 1 2\r\n", 0, "it has an address that is none of IPv6"},
        {"PROXY TCP6 " SIXTY " 1 2\r\n", 0, "it does not have two addresses"},
        {"PROXY TCP6 " SIXTY " ::1 1 2\r\n", 0, "it has an address that is none of IPv6"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", 0, "its line does not end with CRLF"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r \r\n", 0, "its line does not end with CRLF"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\r\n", 0, "its line does not end with CRLF"},
        {"PROXY \n", 0, "its line does not end with CRLF"},
        {"PROXY UNKNOWN " SIXTY SIXTY "\r\n", 0, "its line has more than 107 bytes"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        check_row(&rows[i]);
    }
}

static void blocks_are_read_strictly(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {SIGNATURE "\x21\x11\0\x0c" PAIR4, 28, "192.0.2.1:56324 198.51.100.2:443"},
        {SIGNATURE "\x21\x21\0\x24" PAIR6, 52, "[2001:db8::1]:56324 [2001:db8::2]:443"},
        {SIGNATURE "\x20\0\0\0", 16, "none"},
        {SIGNATURE "\x20\x11\0\x0c" PAIR4, 28, "none"}, /* LOCAL: whatever else it has is skipped */
        {SIGNATURE "\x20\xff\0\x03xyz", 19, "none"},
        {SIGNATURE "\x21\0\0\0", 16, "none"},
        {SIGNATURE "\x21\0\0\x03xyz", 19, "none"},
        {SIGNATURE "\x21\x11\0\x0f" PAIR4 "\x04\0\0", 31, "192.0.2.1:56324"},     /* padding */
        {SIGNATURE "\x21\x11\0\x11" PAIR4 "\x30\0\x02ns", 33, "192.0.2.1:56324"}, /* a namespace */
        {SIGNATURE "\x21\x11\0\x10" PAIR4 "\xe0\0\x01\0", 32, "192.0.2.1:56324"}, /* somebody's own */
        {SIGNATURE "\x21\x11\0\x15" PAIR4 "\x03\0\x04\0\0\0\0\xea\0", 37,
         "its checksum"}, /* see below for a good one */
        {SIGNATURE "\x21\x11\0\x12" PAIR4 "\x03\0\x03\0\0\0", 34, "its checksum"},
        {SIGNATURE "\x11\x11\0\x0c" PAIR4, 28, "its version"},
        {SIGNATURE "\x31\x11\0\x0c" PAIR4, 28, "its version"},
        {SIGNATURE "\x22\x11\0\x0c" PAIR4, 28, "its command"},
        {SIGNATURE "\x21\x12\0\x0c" PAIR4, 28, "its family"}, /* UDP */
        {SIGNATURE "\x21\x22\0\x24" PAIR6, 52, "its family"},
        {SIGNATURE "\x21\x10\0\x0c" PAIR4, 28, "its family"},
        {SIGNATURE "\x21\x41\0\x0c" PAIR4, 28, "its family"},
        {SIGNATURE "\x21\x11\0\x0b" PAIR4, 28, "it is too short"},
        {SIGNATURE "\x21\x21\0\x23" PAIR6, 52, "it is too short"},
        {SIGNATURE "\x21\x31\0\xd7" PAIR6, 52, "it is too short"},
        {SIGNATURE "\x21\x11\x0f\xf1", 16, "it has more than 4096"},
        {SIGNATURE "\x20\0\xff\xff", 16, "it has more than 4096"},
        {SIGNATURE "\x21\x11\0\x0d" PAIR4 "\x04", 29, "it ends inside"},
        {SIGNATURE "\x21\x11\0\x0e" PAIR4 "\x04\0", 30, "it ends inside"},
        {SIGNATURE "\x21\x11\0\x0f" PAIR4 "\x04\0\x01", 31, "it ends inside"},
        {SIGNATURE "\x21\x11\0\x0f" PAIR4 "\x02\0\0", 31, "it has an item that is empty"},
        {SIGNATURE "\x21\x11\0\x10" PAIR4 "\x01\0\x01\n", 32, "it has a control character"},
        {SIGNATURE "\x21\x11\0\x10" PAIR4 "\x02\0\x01\x7f", 32, "it has a control character"},
        {SIGNATURE "\x21\x11\0\x14" PAIR4 "\x02\0\x01y\x02\0\x01z", 36, "it has one of its items twice"},
        {SIGNATURE "\x21\x11\0\x0f" PAIR4 "\x05\0\0", 31, "it has an id"},
        {SIGNATURE "\x21\x11\0\x14" PAIR4 "\x05\0\x01y\x05\0\x01y", 36, "it has an id"},
        {SIGNATURE "\x21\x11\0\x13" PAIR4 "\x20\0\x04\x01\0\0\0", 35, "it ends inside"},
        {SIGNATURE "\x21\x11\0\x16" PAIR4 "\x20\0\x07\x01\0\0\0\0\x21\0", 38, "it ends inside"},
        {"\r\n\r\n\0\r\nQUIT\r", 12, "there is none"},
        {"\r\n\r\nPROXY TCP4", 0, "there is none"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        check_row(&rows[i]);
    }
}

/* A header over IPv4 with these items behind its addresses. Returns its length. */
static size_t make_block(char *bytes, const char *items, size_t len)
{
    memcpy(bytes, SIGNATURE "\x21\x11", 14);
    bytes[14] = (char)((len + 12) >> 8);
    bytes[15] = (char)((len + 12) & 0xff);
    memcpy(bytes + 16, PAIR4, 12);
    memcpy(bytes + 28, items, len);
    return 28 + len;
}

static void check_text(struct proxy_text text, const char *expected)
{
    assert_int_equal(text.text == NULL, expected == NULL);
    if (expected != NULL) {
        assert_int_equal(text.len, strlen(expected));
        assert_memory_equal(text.text, expected, text.len);
    }
}

static void items_are_read(void **state)
{
    (void)state;
    static const char items[] = "\x01\0\x08http/1.1" /* 11 bytes */
                                "\x02\0\x0b"
                                "example.org" /* 14 */
                                "\x05\0\x04id\0\n"
                                "\x20\0\x24\x07\0\0\0\0" /* 36 = 5 + 10 + 8 + 13 */
                                "\x21\0\x07TLSv1.3"
                                "\x22\0\x05"
                                "alice"
                                "\x23\0\x0aTLS_CIPHER"
                                "\x04\0\x03\0\0\0";
    char bytes[256];
    struct proxy_header header;
    size_t len = make_block(bytes, items, sizeof items - 1);
    assert_int_equal(proxy_header_read(&header, bytes, len), PROXY_WHOLE);
    check_text(header.alpn, "http/1.1");
    check_text(header.authority, "example.org");
    assert_int_equal(header.unique_id.len, 4);
    assert_memory_equal(header.unique_id.text, "id\0\n", 4);
    assert_true(header.is_tls);
    check_text(header.tls_version, "TLSv1.3");
    check_text(header.tls_cipher, "TLS_CIPHER");
    check_text(header.tls_client, "alice");
}

/* Whether the certificate was verified says the proxy in four bytes; none was presented without one of two flags. */
static void only_verified_clients_have_a_name(void **state)
{
    (void)state;
    static const struct {
        const char *head; /* flags, and the result of the verification */
        bool is_tls, has_name;
    } rows[] = {
        {"\x07\0\0\0\0", true, true},   {"\x03\0\0\0\0", true, true},    {"\x05\0\0\0\0", true, true},
        {"\x01\0\0\0\0", true, false},  {"\x07\0\0\0\x01", true, false}, {"\x07\x80\0\0\0", true, false},
        {"\x06\0\0\0\0", false, false}, /* a certificate without TLS: nonsense */
        {"\0\0\0\0\0", false, false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char bytes[256], items[16] = "\x20\0\x0d";
        struct proxy_header header;
        memcpy(items + 3, rows[i].head, 5);
        memcpy(items + 8,
               "\x22\0\x05"
               "alice",
               8);
        size_t len = make_block(bytes, items, sizeof items);
        assert_int_equal(proxy_header_read(&header, bytes, len), PROXY_WHOLE);
        assert_int_equal(header.is_tls, rows[i].is_tls);
        check_text(header.tls_client, rows[i].has_name ? "alice" : NULL);
    }
}

/* Of the whole header, with zeros in its own place: figures of an independent implementation. */
static void checksum_is_verified(void **state)
{
    (void)state;
    char bytes[64];
    struct proxy_header header;
    size_t len = make_block(bytes, "\x03\0\x04\0\0\0\0", 7);
    uint32_t crc = 0xffffffff; /* Castagnoli's polynomial, the bits from the highest to the lowest */
    for (size_t i = 0; i < len; i++) {
        for (int bit = 0; bit < 8; bit++) {
            uint32_t in = (uint32_t)((uint8_t)bytes[i] >> bit & 1) ^ crc >> 31;
            crc = crc << 1 ^ (in ? 0x1edc6f41u : 0U);
        }
    }
    for (int bit = 0; bit < 32; bit++) {
        bytes[31 + 3 - bit / 8] = (char)((uint8_t)bytes[31 + 3 - bit / 8] | (~crc >> (31 - bit) & 1) << bit % 8);
    }
    assert_int_equal(proxy_header_read(&header, bytes, len), PROXY_WHOLE);
    for (size_t i = 16; i < len; i++) {
        if (i < 28 || i > 30) { /* not the item's own type and length */
            bytes[i] = (char)(bytes[i] ^ 0x10);
            assert_int_equal(proxy_header_read(&header, bytes, len), PROXY_BAD);
            bytes[i] = (char)(bytes[i] ^ 0x10);
        }
    }
    assert_int_equal(proxy_header_read(&header, bytes, len), PROXY_WHOLE);
}

static void unix_sockets_have_no_address(void **state)
{
    (void)state;
    char bytes[16 + 216] = SIGNATURE "\x21\x31\0\xd8/run/client";
    const struct row row = {bytes, sizeof bytes, "unix: unix:"};
    check_row(&row);
}

/* Items of the longest length, and of one byte more. */
static void texts_have_limits(void **state)
{
    (void)state;
    static const struct {
        char type;
        size_t max;
    } rows[] = {{0x02, PROXY_AUTHORITY_MAX}, {0x05, PROXY_UNIQUE_ID_MAX}, {0x01, 255}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (size_t len = rows[i].max; len <= rows[i].max + 1; len++) {
            char bytes[512], items[300];
            struct proxy_header header;
            memset(items, 'x', sizeof items);
            items[0] = rows[i].type;
            items[1] = (char)(len >> 8);
            items[2] = (char)(len & 0xff);
            assert_int_equal(proxy_header_read(&header, bytes, make_block(bytes, items, 3 + len)),
                             len > rows[i].max ? PROXY_BAD : PROXY_WHOLE);
        }
    }
}

static void header_of_the_longest_length_is_read(void **state)
{
    (void)state;
    static char bytes[PROXY_HEADER_MAX + 1], items[PROXY_HEADER_MAX];
    struct proxy_header header;
    size_t len = PROXY_HEADER_MAX - 28;
    items[0] = 0x04;
    items[1] = (char)((len - 3) >> 8);
    items[2] = (char)((len - 3) & 0xff);
    assert_int_equal(make_block(bytes, items, len), PROXY_HEADER_MAX);
    assert_int_equal(proxy_header_read(&header, bytes, PROXY_HEADER_MAX - 1), PROXY_MORE);
    assert_int_equal(proxy_header_read(&header, bytes, PROXY_HEADER_MAX + 1), PROXY_WHOLE);
    assert_int_equal(header.len, PROXY_HEADER_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_read_strictly), cmocka_unit_test(blocks_are_read_strictly),
        cmocka_unit_test(items_are_read),          cmocka_unit_test(only_verified_clients_have_a_name),
        cmocka_unit_test(checksum_is_verified),    cmocka_unit_test(unix_sockets_have_no_address),
        cmocka_unit_test(texts_have_limits),       cmocka_unit_test(header_of_the_longest_length_is_read),
    };
    guarded_init(&guarded);
    int rv = cmocka_run_group_tests(tests, NULL, NULL);
    guarded_done(&guarded);
    return rv;
}
