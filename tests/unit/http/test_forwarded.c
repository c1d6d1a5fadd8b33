/* http/forwarded.c: which client, scheme and host forwarded fields name, from their lines to the result; what is taken
 * out of heads; and the setting. */

#include "http/forwarded.h"

#include "http/trusted_proxies.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(rows) (sizeof(rows) / sizeof(rows)[0])

enum { FIELDS_MAX = 16, TEXT_MAX = 8192 };

static struct field fields[FIELDS_MAX];
static char data[TEXT_MAX];

/* A head with the lines of text, "name: value\n" each. */
static struct head head_of(const char *text)
{
    struct head head = {.fields = fields, .field_capacity = FIELDS_MAX};
    assert_true(strlen(text) < sizeof data);
    strcpy(data, text);
    for (const char *line = data; *line != '\0'; line = strchr(line, '\n') + 1) {
        const char *colon = strchr(line, ':'), *value = colon + 1 + strspn(colon + 1, " ");
        assert_in_range(head.field_count, 0, FIELDS_MAX - 1);
        fields[head.field_count++] = (struct field){
            {(uint32_t)(line - data), (uint32_t)(colon - line)},
            {(uint32_t)(value - data), (uint32_t)(strchr(line, '\n') - value)},
        };
    }
    return head;
}

/* What is told by these lines, as "CLIENT SCHEME HOST", with "-" for what is not. */
static const char *read_text(const char *lines, const char *trusted, unsigned sources)
{
    static char shown[TEXT_MAX];
    char err[256], client[128] = "-";
    struct trusted_proxies *proxies;
    struct forwarded told;
    assert_int_equal(trusted_proxies_parse(&proxies, trusted, err, sizeof err), 0);
    const struct head head = head_of(lines);
    uint8_t bits = forwarded_read(&told, &head, data, sources, proxies);
    trusted_proxies_destroy(proxies);
    if ((bits & FORWARDED_CLIENT) != 0 && told.client.port != 0) {
        peer_format(&told.client, client, sizeof client);
    } else if ((bits & FORWARDED_CLIENT) != 0) {
        peer_format_host(&told.client, client, sizeof client);
    }
    assert_false((bits & FORWARDED_HTTP) != 0 && (bits & FORWARDED_HTTPS) != 0);
    const char *scheme = (bits & FORWARDED_HTTPS) != 0 ? "https" : (bits & FORWARDED_HTTP) != 0 ? "http" : "-";
    bool has_host = (bits & FORWARDED_HOST) != 0;
    snprintf(shown, sizeof shown, "%s %s %.*s", client, scheme, has_host ? (int)told.host.len : 1,
             has_host ? data + told.host.offset : "-");
    return shown;
}

struct row {
    const char *lines, *told;
};

static void assert_rows(const struct row *rows, size_t count, unsigned sources)
{
    for (size_t i = 0; i < count; i++) {
        const char *told = read_text(rows[i].lines, "10.0.0.0/8, fd00::/8, unix:", sources);
        if (strcmp(told, rows[i].told) != 0) {
            fail_msg("row %zu: %s\"%s\", expected \"%s\"", i, rows[i].lines, told, rows[i].told);
        }
    }
}

static void x_forwarded_fields_name_the_rightmost_untrusted_address(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"", "- - -"},
        {"Forwarded: for=192.0.2.7;proto=https;host=a\n", "- - -"},
        {"X-Real-IP: 192.0.2.7\n", "- - -"},
        /* one proxy */
        {"X-Forwarded-For: 192.0.2.7\n", "192.0.2.7 - -"},
        {"x-forwarded-for:192.0.2.7\n", "192.0.2.7 - -"},
        {"X-Forwarded-For: 192.0.2.7\nX-Forwarded-Proto: https\nX-Forwarded-Host: example.org\n",
         "192.0.2.7 https example.org"},
        {"X-Forwarded-For: 10.0.0.5\n", "10.0.0.5 - -"}, /* a client of the inner network */
        /* several, in one line or in several */
        {"X-Forwarded-For: 192.0.2.7, 10.0.0.1\n", "192.0.2.7 - -"},
        {"X-Forwarded-For: 192.0.2.7,10.0.0.1 ,\t10.0.0.2\n", "192.0.2.7 - -"},
        {"X-Forwarded-For: 192.0.2.7\nX-Other: 198.51.100.1\nX-Forwarded-For: 10.0.0.1\n", "192.0.2.7 - -"},
        {"X-Forwarded-For: 192.0.2.7, 10.0.0.1\nX-Forwarded-For: 10.0.0.2\n", "192.0.2.7 - -"},
        {"X-Forwarded-For: 10.0.0.3, 10.0.0.1\n", "10.0.0.3 - -"}, /* all are trusted: the first one */
        {"X-Forwarded-For: ,, 192.0.2.7 , ,10.0.0.1,\n", "192.0.2.7 - -"},
        {"X-Forwarded-For: ,\nX-Forwarded-For:\n", "- - -"},
        /* spoofed: the client has sent what is further to the left */
        {"X-Forwarded-For: 1.1.1.1, 192.0.2.7\n", "192.0.2.7 - -"},
        {"X-Forwarded-For: 1.1.1.1, 10.0.0.9, 192.0.2.7, 10.0.0.1\n", "192.0.2.7 - -"},
        {"X-Forwarded-For: 10.0.0.9\nX-Forwarded-For: 192.0.2.7\n", "192.0.2.7 - -"},
        {"X-Forwarded-For: \"1.1.1.1, 192.0.2.7\n", "192.0.2.7 - -"},
        /* ports, IPv6, unix sockets */
        {"X-Forwarded-For: 192.0.2.7:40312\n", "192.0.2.7:40312 - -"},
        {"X-Forwarded-For: 192.0.2.7:40312, 10.0.0.1:80\n", "192.0.2.7:40312 - -"},
        {"X-Forwarded-For: 2001:db8::7\n", "2001:db8::7 - -"},
        {"X-Forwarded-For: [2001:db8::7]\n", "2001:db8::7 - -"},
        {"X-Forwarded-For: [2001:DB8::7]:443, fd00::1\n", "[2001:db8::7]:443 - -"},
        {"X-Forwarded-For: ::ffff:192.0.2.7, ::ffff:10.0.0.1\n", "192.0.2.7 - -"},
        {"X-Forwarded-For: 192.0.2.7, unix:\n", "192.0.2.7 - -"},
        {"X-Forwarded-For: unix:\n", "unix: - -"},
        /* unreadable: the last address known */
        {"X-Forwarded-For: unknown\n", "- - -"},
        {"X-Forwarded-For: 192.0.2.7, unknown\n", "- - -"},
        {"X-Forwarded-For: 192.0.2.7, unknown, 10.0.0.1\n", "10.0.0.1 - -"},
        {"X-Forwarded-For: 192.0.2.7, _hidden, 10.0.0.1\n", "10.0.0.1 - -"},
        {"X-Forwarded-For: 192.0.2.7, \"10.0.0.1\"\n", "- - -"},
        {"X-Forwarded-For: 192.0.2.07\n", "- - -"},
        {"X-Forwarded-For: 192.0.2.7:\n", "- - -"},
        {"X-Forwarded-For: 192.0.2.7:65536\n", "- - -"},
        {"X-Forwarded-For: 192.0.2.7:65535\n", "192.0.2.7:65535 - -"},
        {"X-Forwarded-For: fe80::7%eth0\n", "- - -"},
        {"X-Forwarded-For: 192.0.2.7 10.0.0.1\n", "- - -"},
        {"X-Forwarded-For: [2001:db8::7\n", "- - -"},
        {"X-Forwarded-For: [192.0.2.7]\n", "- - -"},
        {"X-Forwarded-For: example.org\n", "- - -"},
    };
    assert_rows(rows, COUNT(rows), FORWARDED_BY_DEFAULT);
}

static void protocols_and_hosts_are_counted_from_the_right(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"X-Forwarded-Proto: https\n", "- https -"},
        {"X-Forwarded-Proto: HTTP\n", "- http -"},
        {"X-Forwarded-Proto: wss\n", "- https -"},
        {"X-Forwarded-Proto: ws\n", "- http -"},
        {"X-Forwarded-Proto: gopher\n", "- - -"},
        {"X-Forwarded-Proto: \"https\"\n", "- - -"},
        {"X-Forwarded-Proto:\n", "- - -"},
        /* the sender's own, as far as the walk took */
        {"X-Forwarded-Proto: https, http\n", "- http -"},
        {"X-Forwarded-For: 192.0.2.7\nX-Forwarded-Proto: https, http\n", "192.0.2.7 http -"},
        {"X-Forwarded-For: 192.0.2.7, 10.0.0.1\nX-Forwarded-Proto: https, http\n", "192.0.2.7 https -"},
        {"X-Forwarded-For: 192.0.2.7, 10.0.0.1\nX-Forwarded-Proto: https\n", "192.0.2.7 https -"},
        {"X-Forwarded-For: 1.1.1.1, 192.0.2.7\nX-Forwarded-Proto: https\nX-Forwarded-Proto: http\n",
         "192.0.2.7 http -"},
        {"X-Forwarded-For: unknown\nX-Forwarded-Proto: https\n", "- https -"},
        {"X-Forwarded-For: 192.0.2.7, 10.0.0.1\nX-Forwarded-Host: a.example, b.example, c.example\n",
         "192.0.2.7 - b.example"},
        {"X-Forwarded-Host: example.org:8443\n", "- - example.org:8443"},
        {"X-Forwarded-Host: [2001:db8::7]:8443\n", "- - [2001:db8::7]:8443"},
        {"X-Forwarded-Host: user@example.org\n", "- - -"},
        {"X-Forwarded-Host: example.org/path\n", "- - -"},
        {"X-Forwarded-Host: exam ple.org\n", "- - -"},
        {"X-Forwarded-Host: <script>\n", "- - -"},
        {"X-Forwarded-Host: :80\n", "- - -"},
    };
    assert_rows(rows, COUNT(rows), FORWARDED_BY_DEFAULT);
}

static void forwarded_names_them_in_its_elements(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"X-Forwarded-For: 192.0.2.7\nX-Forwarded-Proto: https\nX-Forwarded-Host: a\n", "- - -"},
        {"Forwarded: for=192.0.2.7\n", "192.0.2.7 - -"},
        {"forwarded:For=192.0.2.7;PROTO=https;By=203.0.113.60;Host=example.org\n", "192.0.2.7 https example.org"},
        {"Forwarded: for=192.0.2.7 ; proto=http ;\n", "192.0.2.7 http -"},
        {"Forwarded: for=192.0.2.7;secret=x;;proto=https\n", "192.0.2.7 https -"},
        /* several proxies */
        {"Forwarded: for=192.0.2.7;proto=https;host=a.example, for=10.0.0.1;proto=http;host=b.example\n",
         "192.0.2.7 https a.example"},
        {"Forwarded: for=192.0.2.7;proto=https\nForwarded: for=10.0.0.1\n", "192.0.2.7 https -"},
        {"Forwarded: for=192.0.2.7, for=10.0.0.1;proto=https;host=b.example\n", "192.0.2.7 https b.example"},
        {"Forwarded: for=10.0.0.3, for=10.0.0.1\n", "10.0.0.3 - -"},
        {"Forwarded: for=192.0.2.7,,for=10.0.0.1,\n", "192.0.2.7 - -"},
        /* spoofed */
        {"Forwarded: for=1.1.1.1;proto=https;host=evil.example, for=192.0.2.7;proto=http\n", "192.0.2.7 http -"},
        {"Forwarded: for=\"1.1.1.1, for=192.0.2.7\n", "192.0.2.7 - -"},
        {"Forwarded: for=1.1.1.1;x=\", for=\"[2001:db8::7]:80\"\n", "[2001:db8::7]:80 - -"},
        {"Forwarded: for=1.1.1.1;x=\"\\\", for=\"[2001:db8::7]\", for=10.0.0.1\n", "2001:db8::7 - -"},
        {"Forwarded: for=192.0.2.7;x=\"a, for=1.1.1.1\"\n", "192.0.2.7 - -"},
        {"Forwarded: for=192.0.2.7;x=\"a\\\", for=1.1.1.1\"\n", "192.0.2.7 - -"},
        {"Forwarded: for=192.0.2.7;x=\"a\\\\\", for=10.0.0.1\n", "192.0.2.7 - -"},
        /* quotes, ports, IPv6 */
        {"Forwarded: for=\"192.0.2.7:40312\";proto=\"https\";host=\"example.org:8443\"\n",
         "192.0.2.7:40312 https example.org:8443"},
        {"Forwarded: for=\"[2001:db8:cafe::17]:4711\"\n", "[2001:db8:cafe::17]:4711 - -"},
        {"Forwarded: for=\"[2001:db8:cafe::17]\"\n", "2001:db8:cafe::17 - -"},
        {"Forwarded: for=\"19\\2.0.2.\\7\"\n", "192.0.2.7 - -"},
        {"Forwarded: for=192.0.2.7:40312;host=example.org:8443\n", "192.0.2.7:40312 - example.org:8443"},
        {"Forwarded: for=[2001:db8::7]:80\n", "[2001:db8::7]:80 - -"},
        {"Forwarded: for=\"192.0.2.7:_port\"\n", "192.0.2.7 - -"},
        {"Forwarded: for=\"[2001:db8::7]:_p\"\n", "2001:db8::7 - -"},
        {"Forwarded: host=\"example\\.org\"\n", "- - -"},
        {"Forwarded: for=\"unix:\", for=\"unix:\"\n", "unix: - -"},
        /* hidden and unknown: the last address known, but what else the element says counts */
        {"Forwarded: for=_hidden;proto=https;host=example.org\n", "- https example.org"},
        {"Forwarded: for=_SEVKISEK, for=10.0.0.1\n", "10.0.0.1 - -"},
        {"Forwarded: for=192.0.2.7, for=unknown;proto=http, for=10.0.0.1;proto=https\n", "10.0.0.1 http -"},
        {"Forwarded: for=\"unknown:80\"\n", "- - -"},
        {"Forwarded: proto=https;by=10.0.0.1\n", "- https -"},
        {"Forwarded: for=192.0.2.7, proto=https\n", "- https -"},
        /* malformed: the element says nothing, and the walk ends */
        {"Forwarded: 192.0.2.7\n", "- - -"},
        {"Forwarded: for=\n", "- - -"},
        {"Forwarded: for = 192.0.2.7\n", "- - -"},
        {"Forwarded: =192.0.2.7\n", "- - -"},
        {"Forwarded: for=192.0.2.7 proto=https\n", "- - -"},
        {"Forwarded: for=\"192.0.2.7\n", "- - -"},
        {"Forwarded: for=\"192.0.2.7\"x\n", "- - -"},
        {"Forwarded: for=\"\\\"\n", "- - -"},
        {"Forwarded: for=192.0.2.7;for=192.0.2.8\n", "- - -"},
        {"Forwarded: for=192.0.2.7;proto=https;proto=http\n", "- - -"},
        {"Forwarded: for=192.0.2.7, for=10.0.0.1;proto=https;x\n", "- - -"},
        {"Forwarded: for=192.0.2.7, a;b, for=10.0.0.1;proto=https\n", "10.0.0.1 https -"},
        {"Forwarded: for=\"0000000000000000000000000000000000000000000000000000000000000000000192.0.2.7\"\n", "- - -"},
    };
    assert_rows(rows, COUNT(rows), FORWARDED_BY_STANDARD);
}

static void only_chosen_fields_count(void **state)
{
    (void)state;
    static const char lines[] = "X-Forwarded-For: 192.0.2.7\nX-Forwarded-Proto: https\nX-Forwarded-Host: a\n";
    assert_string_equal(read_text(lines, "none", FORWARDED_BY_FOR), "192.0.2.7 - -");
    assert_string_equal(read_text(lines, "none", FORWARDED_BY_PROTO), "- https -");
    assert_string_equal(read_text(lines, "none", FORWARDED_BY_HOST), "- - a");
    assert_string_equal(read_text(lines, "none", FORWARDED_BY_FOR | FORWARDED_BY_PROTO), "192.0.2.7 https -");
    assert_string_equal(read_text(lines, "none", 0), "- - -");
}

/* first, then count times next. */
static const char *repeated(const char *name, const char *first, const char *next, unsigned count)
{
    static char text[TEXT_MAX];
    int used = snprintf(text, sizeof text, "%s: %s", name, first);
    while (count-- > 0) {
        used += snprintf(text + used, sizeof text - (size_t)used, ",%s", next);
    }
    assert_true((size_t)used + 2 < sizeof text);
    strcpy(text + used, "\n");
    return text;
}

static void a_walk_ends_after_so_many_hops(void **state)
{
    (void)state;
    const char *at_limit = repeated("X-Forwarded-For", "192.0.2.7", "10.0.0.1", FORWARDED_HOPS_MAX - 1);
    assert_string_equal(read_text(at_limit, "10.0.0.1", FORWARDED_BY_DEFAULT), "192.0.2.7 - -");
    const char *beyond = repeated("X-Forwarded-For", "192.0.2.7", "10.0.0.1", FORWARDED_HOPS_MAX);
    assert_string_equal(read_text(beyond, "10.0.0.1", FORWARDED_BY_DEFAULT), "10.0.0.1 - -");
    at_limit = repeated("Forwarded", "for=192.0.2.7", "for=10.0.0.1", FORWARDED_HOPS_MAX - 1);
    assert_string_equal(read_text(at_limit, "10.0.0.1", FORWARDED_BY_STANDARD), "192.0.2.7 - -");
    beyond = repeated("Forwarded", "for=192.0.2.7", "for=10.0.0.1", FORWARDED_HOPS_MAX);
    assert_string_equal(read_text(beyond, "10.0.0.1", FORWARDED_BY_STANDARD), "10.0.0.1 - -");
}

/* The names that are left, with a space between two. */
static const char *left_of(struct head *head)
{
    static char shown[TEXT_MAX];
    shown[0] = '\0';
    for (unsigned i = 0; i < head->field_count; i++) {
        size_t used = strlen(shown);
        snprintf(shown + used, sizeof shown - used, "%s%.*s", i == 0 ? "" : " ", (int)head->fields[i].name.len,
                 data + head->fields[i].name.offset);
    }
    return shown;
}

static void fields_that_do_not_count_are_taken_out(void **state)
{
    (void)state;
    static const char lines[] = "X-Forwarded-For: 1\nHost: a\nFORWARDED: for=1\nX-Forwarded-Proto: https\nCookie: a=1\n"
                                "x-forwarded-port: 443\nX-Forwarded-For: 2\nX-Real-IP: 1\nX-Forwarded: 1\n"
                                "X-Forwarded-Host: b\nX-Request-Id: 1\n";
    static const struct {
        unsigned sources;
        const char *left;
    } rows[] = {
        {0, "Host Cookie X-Forwarded X-Request-Id"},
        {FORWARDED_BY_STANDARD, "Host FORWARDED Cookie X-Forwarded X-Request-Id"},
        {FORWARDED_BY_DEFAULT, "X-Forwarded-For Host X-Forwarded-Proto Cookie x-forwarded-port X-Forwarded-For "
                               "X-Real-IP X-Forwarded X-Forwarded-Host X-Request-Id"},
        {FORWARDED_BY_PROTO, "Host X-Forwarded-Proto Cookie x-forwarded-port X-Real-IP X-Forwarded X-Request-Id"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct head head = head_of(lines);
        head.first[FIELD_HOST] = 2;
        head.first[FIELD_COOKIE] = 5;
        forwarded_strip(&head, data, rows[i].sources);
        assert_string_equal(left_of(&head), rows[i].left);
        assert_memory_equal(data + fields[head.first[FIELD_HOST] - 1].name.offset, "Host", 4);
        assert_memory_equal(data + fields[head.first[FIELD_COOKIE] - 1].name.offset, "Cookie", 6);
        assert_int_equal(head.first[FIELD_RANGE], 0);
    }
}

static void setting_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rv;
        unsigned sources;
    } rows[] = {
        {"x-forwarded", 0, FORWARDED_BY_DEFAULT},
        {"X-Forwarded", 0, FORWARDED_BY_DEFAULT},
        {"forwarded", 0, FORWARDED_BY_STANDARD},
        {"off", 0, 0},
        {"x-forwarded-for", 0, FORWARDED_BY_FOR},
        {" x-forwarded-for , X-Forwarded-Proto", 0, FORWARDED_BY_FOR | FORWARDED_BY_PROTO},
        {"x-forwarded-host,x-forwarded-proto,x-forwarded-for", 0, FORWARDED_BY_DEFAULT},
        {"", -EINVAL, 0},
        {"x-forwarded-for,", -EINVAL, 0},
        {"on", -EINVAL, 0},
        {"x-forwarded-port", -EINVAL, 0},
        {"x-forwarded, forwarded", -EINVAL, 0},
        {"forwarded, x-forwarded-for", -EINVAL, 0},
        {"x-forwarded-for, off", -EINVAL, 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char err[512] = "";
        uint8_t sources = 77;
        assert_int_equal(forwarded_parse_setting(&sources, rows[i].text, err, sizeof err), rows[i].rv);
        assert_int_equal(sources, rows[i].rv == 0 ? rows[i].sources : 77);
        assert_int_equal(err[0] != '\0', rows[i].rv != 0);
    }
    char err[512];
    uint8_t sources;
    (void)forwarded_parse_setting(&sources, "x-forwarded-for, x-real-ip", err, sizeof err);
    assert_string_equal(err,
                        "\"x-real-ip\" is not one of \"x-forwarded\", \"forwarded\" and \"off\", and no field that "
                        "can be chosen: \"x-forwarded-for\", \"x-forwarded-proto\", \"x-forwarded-host\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(x_forwarded_fields_name_the_rightmost_untrusted_address),
        cmocka_unit_test(protocols_and_hosts_are_counted_from_the_right),
        cmocka_unit_test(forwarded_names_them_in_its_elements),
        cmocka_unit_test(only_chosen_fields_count),
        cmocka_unit_test(a_walk_ends_after_so_many_hops),
        cmocka_unit_test(fields_that_do_not_count_are_taken_out),
        cmocka_unit_test(setting_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
