/* http/h1/parser*.c: the rules of a request head with their sections. Each row is parsed in every way of parse_ways.h,
 * followed by other bytes or not, and under limits that fit exactly and that are too small. A list of rules, so a
 * long file. */

#include <stdio.h>
#include <string.h>

#include "tests/lib/parse_ways.h"

enum { DUMP_MAX = 1 << 16 };

/* What a head says, for people: "GET 1.1 keep-alive host=a path=/b query=c length=5 fields=2". */

static size_t dump_slice(char *out, size_t n, const char *name, struct slice slice, const char *text)
{
    return n + (size_t)snprintf(out + n, DUMP_MAX - n, " %s=%.*s", name, (int)slice.len, text + slice.offset);
}

static void dump(char *out, const struct outcome *outcome, const char *text)
{
    const struct head *head = &outcome->head;
    size_t n = 0;

    if (outcome->verdict == PARSE_INCOMPLETE) {
        strcpy(out, "incomplete");
        return;
    }
    if (outcome->verdict == PARSE_ERROR) {
        snprintf(out, DUMP_MAX, "%d %s", outcome->parser.status, outcome->parser.reason);
        return;
    }
    n += (size_t)snprintf(out, DUMP_MAX, "%s 1.%d%s", method_name(head->method), head->minor_version,
                          head->keep_alive ? "" : " close");
    if (head->is_asterisk) {
        n += (size_t)snprintf(out + n, DUMP_MAX - n, " *");
    }
    if (head->authority.len > 0) {
        n = dump_slice(out, n, "host", head->authority, text);
    }
    if (head->path.len > 0) {
        n = dump_slice(out, n, "path", head->path, text);
    }
    if (head->has_query) {
        n = dump_slice(out, n, "query", head->query, text);
    }
    if (head->has_length) {
        n += (size_t)snprintf(out + n, DUMP_MAX - n, " length=%llu", (unsigned long long)head->content_length);
    }
    n += (size_t)snprintf(out + n, DUMP_MAX - n, "%s%s", head->chunked ? " chunked" : "",
                          head->expect_continue ? " expects" : "");
}

/* The tables. */

struct row {
    const char *section; /* of RFC 9112 unless it says otherwise */
    const char *text;    /* what arrives */
    size_t len;          /* of text, which may hold NUL */
    const char *wanted;  /* what dump() has to say */
};

#define ROW(section, text, wanted)                                                                                     \
    {                                                                                                                  \
        section, text, sizeof(text) - 1, wanted                                                                        \
    }

/* Limits that a message just fits; wanted is its outcome. Each of them lowered by one makes it too large. */
static void check_exact_limits(const struct outcome *wanted, const char *text, size_t len)
{
    static struct outcome out;
    const struct head *head = &wanted->head;
    size_t version = head->target.offset + head->target.len + 1;
    size_t fields = version + strlen("HTTP/1.1\r\n");
    struct limits limits;

    limits_init(&limits);
    limits.max_request_line_bytes = fields - head->method_text.offset;
    limits.max_header_bytes_bytes = head->len - fields - strlen("\r\n");
    limits.max_fields = head->field_count;
    parse_every_way(&out, &limits, text, len);
    assert_same(wanted, &out);

    struct limits less = limits;
    less.max_request_line_bytes--;
    parse_every_way(&out, &less, text, len);
    assert_int_equal(out.verdict, PARSE_ERROR);
    assert_int_equal(out.parser.status, 414);

    if (head->field_count > 0) {
        less = limits;
        less.max_header_bytes_bytes--;
        parse_every_way(&out, &less, text, len);
        assert_int_equal(out.verdict, PARSE_ERROR);
        assert_int_equal(out.parser.status, 431);

        less = limits;
        less.max_fields--;
        parse_every_way(&out, &less, text, len);
        assert_int_equal(out.verdict, PARSE_ERROR);
        assert_int_equal(out.parser.status, 431);
    }
}

/* Small limits may turn the answer into 414 or 431, but never into another one, nor let it depend on how the bytes
 * came. */
static void check_tiny_limits(const struct outcome *wanted, const char *text, size_t len)
{
    static struct outcome out;
    struct limits limits;

    limits_init(&limits);
    for (unsigned tiny = 0; tiny < 40; tiny += 13) {
        limits.max_request_line_bytes = 20 + tiny;
        limits.max_header_bytes_bytes = tiny;
        limits.max_fields = 1 + tiny / 13;
        parse_every_way(&out, &limits, text, len);
        if (out.verdict != PARSE_ERROR || (out.parser.status != 414 && out.parser.status != 431)) {
            assert_same(wanted, &out);
        }
    }
}

static void check_row(const struct row *row)
{
    static struct outcome out;
    static struct outcome longer;
    static char said[DUMP_MAX];
    static char followed[1 << 14];
    static const char next[] =
        "\0\xff garbage of every kind \r\n\n\r GET / HTTP/1.1\r\n\r\n and more than sixty-four bytes";
    struct limits limits;

    limits_init(&limits);
    parse_every_way(&out, &limits, row->text, row->len);
    dump(said, &out, row->text);
    if (strcmp(said, row->wanted) != 0) {
        print_error("%s: %s\n", row->section, row->text);
    }
    assert_string_equal(said, row->wanted);
    check_tiny_limits(&out, row->text, row->len);
    if (out.verdict != PARSE_COMPLETE) {
        return;
    }
    assert_int_equal(out.head.len, row->len);
    check_exact_limits(&out, row->text, row->len);

    /* Bytes of the next message are none of its business. */
    memcpy(followed, row->text, row->len);
    memcpy(followed + row->len, next, sizeof next);
    parse_every_way(&longer, &limits, followed, row->len + sizeof next);
    assert_same(&out, &longer);
}

static void check_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        check_row(&rows[i]);
    }
}

static void request_lines_are_read_as_the_rfc_says(void **state)
{
    static const struct row rows[] = {
        ROW("3", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET 1.1 host=a path=/"),
        ROW("3", "GET / HTTP/1.0\r\n\r\n", "GET 1.0 close path=/"),
        ROW("3.1", "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD 1.1 host=a path=/"),
        ROW("3.1", "POST / HTTP/1.1\r\nHost: a\r\n\r\n", "POST 1.1 host=a path=/"),
        ROW("3.1", "PUT / HTTP/1.1\r\nHost: a\r\n\r\n", "PUT 1.1 host=a path=/"),
        ROW("3.1", "PATCH / HTTP/1.1\r\nHost: a\r\n\r\n", "PATCH 1.1 host=a path=/"),
        ROW("3.1", "DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", "DELETE 1.1 host=a path=/"),
        ROW("3.1", "OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS 1.1 host=a path=/"),
        ROW("9110 9.1", "get / HTTP/1.1\r\nHost: a\r\n\r\n", "* 1.1 host=a path=/"),
        ROW("9110 9.1", "GETS / HTTP/1.1\r\nHost: a\r\n\r\n", "* 1.1 host=a path=/"),
        ROW("9110 9.1", "GE / HTTP/1.1\r\nHost: a\r\n\r\n", "* 1.1 host=a path=/"),
        ROW("9110 9.3.6", "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", "501 CONNECT is for proxies"),
        ROW("9110 9.3.6", "CONNECT / HTTP/1.1\r\n", "501 CONNECT is for proxies"),
        ROW("9110 9.3.6", "connect / HTTP/1.1\r\nHost: a\r\n\r\n", "* 1.1 host=a path=/"),
        ROW("3.2.4", "PROPFIND * HTTP/1.1\r\n", "400 request target * is for OPTIONS only"),
        ROW("3.2", "PROPFIND a:80 HTTP/1.1\r\n", "400 request target is neither a path nor an http URI"),
        ROW("9110 9.3.8", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", "* 1.1 host=a path=/"),
        ROW("3", "M!#$%&'*+-.^_`|~09azAZ / HTTP/1.1\r\nHost: a\r\n\r\n", "* 1.1 host=a path=/"),
        ROW("3", "ABCDEFGHIJKLMNOPQRSTUVWXYZ123456 / HTTP/1.1\r\nHost: a\r\n\r\n", "* 1.1 host=a path=/"),
        ROW("3", "ABCDEFGHIJKLMNOPQRSTUVWXYZ1234567", "501 method too long"),
        ROW("3.1", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid character in method"),
        ROW("3.1", "GET:/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid character in method"),
        ROW("3.1", "G\xc3\x89T / HTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid character in method"),
        ROW("3.1", "\x16\x03\x01\x02", "400 request does not begin with a method"),
        ROW("3", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", "400 white space before the method"),
        ROW("3", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid character in method"),
        ROW("3", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "400 more than one space before the request target"),
        ROW("3", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n", "400 more than one space before the version"),
        ROW("3", "GET /\tHTTP/1.1\r\nHost: a\r\n\r\n", "400 control character in request target"),
        ROW("3", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "400 malformed HTTP version"),
        ROW("3", "GET / /b HTTP/1.1\r\nHost: a\r\n\r\n", "400 malformed HTTP version"),
        ROW("3", "GET\r\n", "400 request line without a target"),
        ROW("3", "GET\n", "400 request line without a target"),
        ROW("3", "GET /\r\n", "400 request line without a version"),
        ROW("3", "GET /\n", "400 request line without a version"),
        ROW("3", "GET /?\r\n", "400 request line without a version"),
        ROW("2.2", "GET / HTTP/1.1\nHost: a\r\n\r\n", "400 line feed without carriage return"),
        ROW("2.2", "GET / HTTP/1.1\rHost: a\r\n\r\n", "400 malformed HTTP version"),
        ROW("2.2", "GET / HTTP/1.1\r\rHost: a\r\n\r\n", "400 malformed HTTP version"),
    };

    (void)state;
    check_rows(rows, COUNT(rows));
}

static void higher_minor_versions_are_processed_as_1_1(void **state)
{
    static const struct row rows[] = {
        ROW("9110 2.5", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", "GET 1.1 host=a path=/"),
        ROW("9110 2.5", "GET / HTTP/1.9\r\nHost: a\r\n\r\n", "GET 1.1 host=a path=/"),
        ROW("9110 2.5", "GET / HTTP/1.2\r\n\r\n", "400 HTTP/1.1 request without Host"),
        ROW("2.3", "GET / HTTP/1.10\r\n", "400 malformed HTTP version"),
    };

    (void)state;
    check_rows(rows, COUNT(rows));
}

static void major_versions_other_than_1_are_refused(void **state)
{
    static const struct row rows[] = {
        ROW("2.3", "GET / HTTP/2.0\r\n", "505 HTTP major version is not 1"),
        ROW("2.3", "GET / HTTP/0.9\r\n", "505 HTTP major version is not 1"),
        ROW("2.3", "GET / HTTP/0.1\r\n", "505 HTTP major version is not 1"),
        ROW("2.3", "GET / HTTP/2.1\r\n", "505 HTTP major version is not 1"),
        ROW("9113 3.4", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 HTTP major version is not 1"),
        ROW("2.3", "GET / http/1.1\r\n", "400 malformed HTTP version"),
        ROW("2.3", "GET / HTTP/1\r\n", "400 malformed HTTP version"),
        ROW("2.3", "GET / HTTP/2\r\n", "400 malformed HTTP version"),
        ROW("2.3", "GET / HTTP/11.1\r\n", "400 malformed HTTP version"),
        ROW("2.3", "GET / HTTP/1.10\r\n", "400 malformed HTTP version"),
        ROW("2.3", "GET / HTTP/1,1\r\n", "400 malformed HTTP version"),
        ROW("2.3", "GET / HTTP/a.1\r\n", "400 malformed HTTP version"),
        ROW("2.3", "GET / HTTP/1.:\r\n", "400 malformed HTTP version"),
        ROW("2.3", "GET / HTTPS/1.1\r\n", "400 malformed HTTP version"),
        ROW("2.3", "GET / ICY/1.1\r\n", "400 malformed HTTP version"),
    };

    (void)state;
    check_rows(rows, COUNT(rows));
}

static void empty_lines_before_a_request_are_tolerated_within_bounds(void **state)
{
    static const struct row rows[] = {
        ROW("2.2", "\r\nGET / HTTP/1.0\r\n\r\n", "GET 1.0 close path=/"),
        ROW("2.2", "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.0\r\n\r\n", "GET 1.0 close path=/"),
        ROW("2.2", "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.0\r\n\r\n",
            "400 too many empty lines before the request"),
        ROW("2.2", "\nGET / HTTP/1.0\r\n\r\n", "400 line feed without carriage return"),
        ROW("2.2", "\r\rGET / HTTP/1.0\r\n\r\n", "400 carriage return without line feed"),
        ROW("2.2", "\rGET / HTTP/1.0\r\n\r\n", "400 carriage return without line feed"),
        ROW("2.2", "\r\n GET / HTTP/1.0\r\n\r\n", "400 white space before the method"),
        ROW("2.2", "\r\n\r", "incomplete"),
    };

    (void)state;
    check_rows(rows, COUNT(rows));
}

static void targets_have_the_form_that_their_method_wants(void **state)
{
    static const struct row rows[] = {
        ROW("3.2.1", "GET /a/b.c HTTP/1.0\r\n\r\n", "GET 1.0 close path=/a/b.c"),
        ROW("3.2.1", "GET /? HTTP/1.0\r\n\r\n", "GET 1.0 close path=/ query="),
        ROW("3.2.1", "GET /a?b=c&d HTTP/1.0\r\n\r\n", "GET 1.0 close path=/a query=b=c&d"),
        ROW("3.2.1", "GET /a?b?c/d HTTP/1.0\r\n\r\n", "GET 1.0 close path=/a query=b?c/d"),
        ROW("3.2.1", "GET //a//b HTTP/1.0\r\n\r\n", "GET 1.0 close path=//a//b"),
        ROW("3.2.1", "GET /%zz%2e%00 HTTP/1.0\r\n\r\n", "GET 1.0 close path=/%zz%2e%00"), /* url.c judges it */
        ROW("3.2", "GET /!$&'()*+,-.;=@_~[]{}|^`\"<>\\:? HTTP/1.0\r\n\r\n",
            "GET 1.0 close path=/!$&'()*+,-.;=@_~[]{}|^`\"<>\\: query="),
        ROW("3.2", "GET /?!$&'()*+,-.;=@_~[]{}|^`\"<>\\:? HTTP/1.0\r\n\r\n",
            "GET 1.0 close path=/ query=!$&'()*+,-.;=@_~[]{}|^`\"<>\\:?"),
        ROW("3.2", "GET /a#b HTTP/1.0\r\n\r\n", "400 fragment in request target"),
        ROW("3.2", "GET /a?b#c HTTP/1.0\r\n\r\n", "400 fragment in request target"),
        ROW("3.2", "GET /\0 HTTP/1.0\r\n\r\n", "400 control character in request target"),
        ROW("3.2", "GET /\x7f HTTP/1.0\r\n\r\n", "400 control character in request target"),
        ROW("3.2", "GET /?\x1f HTTP/1.0\r\n\r\n", "400 control character in request target"),
        ROW("3.2", "GET /caf\xc3\xa9 HTTP/1.0\r\n\r\n", "400 unencoded byte in request target"),
        ROW("3.2", "GET a HTTP/1.0\r\n\r\n", "400 request target is neither a path nor an http URI"),
        ROW("3.2", "GET ?a HTTP/1.0\r\n\r\n", "400 request target is neither a path nor an http URI"),
        ROW("3.2", "GET http:/a HTTP/1.0\r\n\r\n", "400 request target is neither a path nor an http URI"),
        ROW("3.2", "GET http HTTP/1.0\r\n\r\n", "400 request target is neither a path nor an http URI"),
        ROW("3.2", "GET http?:// HTTP/1.0\r\n\r\n", "400 request target is neither a path nor an http URI"),
        ROW("3.2.2", "GET http://a/b?c HTTP/1.0\r\n\r\n", "GET 1.0 close host=a path=/b query=c"),
        ROW("3.2.2", "GET http://a/b HTTP/1.1\r\nHost: c\r\n\r\n", "GET 1.1 host=a path=/b"),
        ROW("3.2.2", "GET http://a:80/b HTTP/1.1\r\nHost: c:81\r\n\r\n", "GET 1.1 host=a:80 path=/b"),
        ROW("3.2.2", "GET hTTp://A/b HTTP/1.1\r\nHost:\r\n\r\n", "GET 1.1 host=A path=/b"),
        ROW("9110 7.4", "GET https://a/b HTTP/1.1\r\nHost: a\r\n\r\n", "421 https request on a connection without TLS"),
        ROW("9110 7.4", "OPTIONS HTTPS://a HTTP/1.0\r\n\r\n", "421 https request on a connection without TLS"),
        ROW("3.2.2", "GET http://a HTTP/1.0\r\n\r\n", "GET 1.0 close host=a"),
        ROW("3.2.2", "GET http://a?b/c HTTP/1.0\r\n\r\n", "GET 1.0 close host=a query=b/c"),
        ROW("3.2.2", "GET http://[::1]:80/ HTTP/1.0\r\n\r\n", "GET 1.0 close host=[::1]:80 path=/"),
        ROW("3.2", "GET http://a/b HTTP/1.1\r\n\r\n", "400 HTTP/1.1 request without Host"),
        ROW("9110 4.2.1", "GET http:///b HTTP/1.0\r\n\r\n", "400 malformed host in request target"),
        ROW("9110 4.2.1", "GET http://:80/b HTTP/1.0\r\n\r\n", "400 malformed host in request target"),
        ROW("9110 4.2.1", "GET http:// HTTP/1.0\r\n\r\n", "400 malformed host in request target"),
        ROW("9110 4.2.1", "GET https:// HTTP/1.0\r\n\r\n", "400 malformed host in request target"),
        ROW("9110 4.2.1", "GET http://?a HTTP/1.0\r\n\r\n", "400 malformed host in request target"),
        ROW("9110 4.2.4", "GET http://a@b/ HTTP/1.0\r\n\r\n", "400 malformed host in request target"),
        ROW("9110 4.2.1", "GET http://a\\b/ HTTP/1.0\r\n\r\n", "400 malformed host in request target"),
        ROW("3.2", "GET ftp://a/ HTTP/1.0\r\n\r\n", "400 request target is neither a path nor an http URI"),
        ROW("3.2", "GET httpx://a/ HTTP/1.0\r\n\r\n", "400 request target is neither a path nor an http URI"),
        ROW("3.2.3", "GET a:80 HTTP/1.0\r\n\r\n", "400 request target is neither a path nor an http URI"),
        ROW("3.2.4", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS 1.1 * host=a"),
        ROW("3.2.4", "OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS 1.1 * host=a"),
        ROW("3.2.4", "OPTIONS http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS 1.1 host=a path=/"),
        ROW("3.2.4", "OPTIONS http://a? HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS 1.1 host=a query="),
        ROW("3.2.4", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", "400 request target * is for OPTIONS only"),
        ROW("3.2.4", "OPTIONS *? HTTP/1.1\r\nHost: a\r\n\r\n", "400 request target is neither a path nor an http URI"),
        ROW("3.2.4", "OPTIONS ** HTTP/1.1\r\nHost: a\r\n\r\n", "400 request target is neither a path nor an http URI"),
    };

    (void)state;
    check_rows(rows, COUNT(rows));
}

static void absolute_form_with_tls_is_https(void **state)
{
    static const struct row rows[] = {
        ROW("3.2.1", "GET /a HTTP/1.0\r\n\r\n", "GET 1.0 close path=/a"),
        ROW("3.2.2", "GET https://a/b?c HTTP/1.0\r\n\r\n", "GET 1.0 close host=a path=/b query=c"),
        ROW("3.2.2", "GET HTTPS://A:8443/b HTTP/1.1\r\nHost: c\r\n\r\n", "GET 1.1 host=A:8443 path=/b"),
        ROW("3.2.4", "OPTIONS https://a HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS 1.1 * host=a"),
        ROW("9110 7.4", "GET http://a/b HTTP/1.1\r\nHost: a\r\n\r\n", "421 http request on a connection with TLS"),
        ROW("9110 4.2.1", "GET https:// HTTP/1.0\r\n\r\n", "400 malformed host in request target"),
    };

    (void)state;
    parses_https = true;
    check_rows(rows, COUNT(rows));
    parses_https = false;
}

#define LINE "GET / HTTP/1.1\r\nHost: a\r\n"

static void field_lines_are_read_as_the_rfc_says(void **state)
{
    static const struct row rows[] = {
        ROW("5", LINE "a:\r\n\r\n", "GET 1.1 host=a path=/"),
        ROW("5", LINE "a: \t \r\n\r\n", "GET 1.1 host=a path=/"),
        ROW("5", LINE "a:b\r\na:b\r\na:b\r\n\r\n", "GET 1.1 host=a path=/"),
        ROW("5.1", "GET / HTTP/1.1\r\nHost:\t \ta \t\r\n\r\n", "GET 1.1 host=a path=/"),
        ROW("5.1", "GET / HTTP/1.1\r\nhOsT:a\r\n\r\n", "GET 1.1 host=a path=/"),
        ROW("5.5 of 9110", LINE "a: \xff\x80 \t\x21~b \r\n\r\n", "GET 1.1 host=a path=/"),
        ROW("9110 5.6.2", LINE "!#$%&'*+-.^_`|~09azAZ: b\r\n\r\n", "GET 1.1 host=a path=/"),
        ROW("5.1", LINE "a : b\r\n\r\n", "400 space between field name and colon"),
        ROW("5.1", LINE "a\t: b\r\n\r\n", "400 space between field name and colon"),
        ROW("5", LINE "a b: c\r\n\r\n", "400 space between field name and colon"),
        ROW("5", LINE ": b\r\n\r\n", "400 empty field name"),
        ROW("5", LINE "a\r\n\r\n", "400 field line without a colon"),
        ROW("5", LINE "a\n\r\n", "400 field line without a colon"),
        ROW("5", LINE "a(b: c\r\n\r\n", "400 invalid character in field name"),
        ROW("5", LINE "a\0: c\r\n\r\n", "400 invalid character in field name"),
        ROW("5", LINE "\x80: c\r\n\r\n", "400 invalid character in field name"),
        ROW("5", LINE "caf\xe9: c\r\n\r\n", "400 invalid character in field name"),
        ROW("2.2", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", "400 white space before the first field"),
        ROW("2.2", "GET / HTTP/1.1\r\n\tHost: a\r\n\r\n", "400 white space before the first field"),
        ROW("5.2", LINE "a: b\r\n c\r\n\r\n", "400 field value continued on the next line"),
        ROW("5.2", LINE "a: b\r\n\tc\r\n\r\n", "400 field value continued on the next line"),
        ROW("5.2", LINE "a:\r\n \r\n\r\n", "400 field value continued on the next line"),
        ROW("2.2", LINE "a: b\n\r\n", "400 line feed without carriage return"),
        ROW("2.2", LINE "a: b\nc: d\r\n\r\n", "400 line feed without carriage return"),
        ROW("2.2", LINE "a:\n\r\n", "400 line feed without carriage return"),
        ROW("2.2", LINE "\n", "400 line feed without carriage return"),
        ROW("2.2", LINE "a: b\rc\r\n\r\n", "400 carriage return without line feed"),
        ROW("2.2", LINE "a: b\r\r\n\r\n", "400 carriage return without line feed"),
        ROW("2.2", LINE "\r\r\n", "400 carriage return without line feed"),
        ROW("2.2", LINE "\rGET", "400 carriage return without line feed"),
        ROW("9110 5.5", LINE "a: b\0c\r\n\r\n", "400 NUL in field value"),
        ROW("9110 5.5", LINE "a: \x01\r\n\r\n", "400 control character in field value"),
        ROW("9110 5.5", LINE "a: \x0b\r\n\r\n", "400 control character in field value"),
        ROW("9110 5.5", LINE "a: b\x7f\r\n\r\n", "400 control character in field value"),
        ROW("2.1", LINE, "incomplete"),
        ROW("2.1", LINE "\r", "incomplete"),
        ROW("2.1", LINE "a", "incomplete"),
        ROW("2.1", LINE "a: \t", "incomplete"),
        ROW("2.1", LINE "a: b\r", "incomplete"),
    };

    (void)state;
    check_rows(rows, COUNT(rows));
}

#define HOST(value) "GET / HTTP/1.1\r\nHost: " value "\r\n\r\n"

static void host_comes_once_and_is_well_formed(void **state)
{
    static const struct row rows[] = {
        ROW("3.2", HOST("example.com"), "GET 1.1 host=example.com path=/"),
        ROW("3.2", HOST("example.com:8080"), "GET 1.1 host=example.com:8080 path=/"),
        ROW("3986 3.2.3", HOST("example.com:"), "GET 1.1 host=example.com: path=/"),
        ROW("3986 3.2.2", HOST("127.0.0.1"), "GET 1.1 host=127.0.0.1 path=/"),
        ROW("3986 3.2.2", HOST("under_score.-~!$&'()*+,;=%41"), "GET 1.1 host=under_score.-~!$&'()*+,;=%41 path=/"),
        ROW("3986 3.2.2", HOST("[::1]"), "GET 1.1 host=[::1] path=/"),
        ROW("3986 3.2.2", HOST("[2001:db8:0:1:1:1:1:1]:443"), "GET 1.1 host=[2001:db8:0:1:1:1:1:1]:443 path=/"),
        ROW("3986 3.2.2", HOST("[::ffff:192.0.2.1]"), "GET 1.1 host=[::ffff:192.0.2.1] path=/"),
        ROW("3986 3.2.2", HOST("[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]"),
            "GET 1.1 host=[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255] path=/"),
        ROW("9110 7.2", HOST(""), "GET 1.1 path=/"), /* the target has no authority */
        ROW("9110 7.2", "GET / HTTP/1.0\r\nHost:\r\n\r\n", "GET 1.0 close path=/"),
        ROW("3.2", "GET / HTTP/1.0\r\nHost: a\r\n\r\n", "GET 1.0 close host=a path=/"),
        ROW("3.2", "GET / HTTP/1.1\r\n\r\n", "400 HTTP/1.1 request without Host"),
        ROW("3.2", "GET / HTTP/1.1\r\nHosts: a\r\n\r\n", "400 HTTP/1.1 request without Host"),
        ROW("3.2", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "400 more than one Host"),
        ROW("3.2", "GET / HTTP/1.1\r\nHost: a\r\nb: c\r\nhost: b\r\n\r\n", "400 more than one Host"),
        ROW("3.2", "GET / HTTP/1.1\r\nHost:\r\nHost: a\r\n\r\n", "400 more than one Host"),
        ROW("3.2", "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", "400 more than one Host"),
        ROW("3.2", "GET http://a/ HTTP/1.1\r\nHost: a@b\r\n\r\n", "400 malformed Host"),
        ROW("3.2", HOST("a b"), "400 malformed Host"),
        ROW("3.2", HOST("a, b"), "400 malformed Host"),
        ROW("3.2", HOST("a/b"), "400 malformed Host"),
        ROW("3.2", HOST("http://a"), "400 malformed Host"),
        ROW("3.2", HOST("user@a"), "400 malformed Host"),
        ROW("3.2", HOST("a?b"), "400 malformed Host"),
        ROW("3.2", HOST("a#b"), "400 malformed Host"),
        ROW("3.2", HOST("a\\b"), "400 malformed Host"),
        ROW("3.2", HOST("\"a\""), "400 malformed Host"),
        ROW("3.2", HOST("caf\xc3\xa9"), "400 malformed Host"),
        ROW("3986 2.1", HOST("a%4"), "400 malformed Host"),
        ROW("3986 2.1", HOST("a%"), "400 malformed Host"),
        ROW("3986 2.1", HOST("a%4g"), "400 malformed Host"),
        ROW("3986 2.1", HOST("a%g4"), "400 malformed Host"),
        ROW("9110 4.2.1", HOST(":80"), "400 malformed Host"),
        ROW("9110 4.2.1", HOST(":"), "400 malformed Host"),
        ROW("3986 3.2.3", HOST("a:80a"), "400 malformed Host"),
        ROW("3986 3.2.3", HOST("a:80:81"), "400 malformed Host"),
        ROW("3986 3.2.3", HOST("a:-1"), "400 malformed Host"),
        ROW("3986 3.2.2", HOST("::1"), "400 malformed Host"),
        ROW("3986 3.2.2", HOST("[::1"), "400 malformed Host"),
        ROW("3986 3.2.2", HOST("[]"), "400 malformed Host"),
        ROW("3986 3.2.2", HOST("[::1]a"), "400 malformed Host"),
        ROW("3986 3.2.2", HOST("[::1]]"), "400 malformed Host"),
        ROW("3986 3.2.2", HOST("a[::1]"), "400 malformed Host"),
        ROW("3986 3.2.2", HOST("[127.0.0.1]"), "400 malformed Host"),
        ROW("3986 3.2.2", HOST("[1:2:3]"), "400 malformed Host"),
        ROW("3986 3.2.2", HOST("[::12345]"), "400 malformed Host"),
        ROW("6874 2", HOST("[fe80::1%25eth0]"), "400 malformed Host"),
        ROW("3986 3.2.2", HOST("[0000000000000000000000000000000000000000000000]"),
            "400 malformed Host"),                               /* one byte more than any address */
        ROW("3986 3.2.2", HOST("[v1.a]"), "400 malformed Host"), /* IPvFuture names no address we could have */
    };

    (void)state;
    check_rows(rows, COUNT(rows));
}

#define POST(fields)     "POST / HTTP/1.1\r\nHost: a\r\n" fields "\r\n"
#define POST_1_0(fields) "POST / HTTP/1.0\r\n" fields "\r\n"

static void content_length_is_one_number(void **state)
{
    static const struct row rows[] = {
        ROW("9110 8.6", POST("Content-Length: 0\r\n"), "POST 1.1 host=a path=/ length=0"),
        ROW("9110 8.6", POST("CONTENT-LENGTH:42\r\n"), "POST 1.1 host=a path=/ length=42"),
        ROW("9110 8.6", POST("Content-Length: 0000000000000000000000007\r\n"), "POST 1.1 host=a path=/ length=7"),
        ROW("9110 8.6", POST("Content-Length: 18446744073709551615\r\n"),
            "POST 1.1 host=a path=/ length=18446744073709551615"),
        ROW("9110 8.6", POST("Content-Length: 5, 5\r\n"), "POST 1.1 host=a path=/ length=5"),
        ROW("9110 8.6", POST("Content-Length: 5 \t,\t 5,5\r\n"), "POST 1.1 host=a path=/ length=5"),
        ROW("9110 8.6", POST("Content-Length: 5\r\nContent-Length: 5\r\n"), "POST 1.1 host=a path=/ length=5"),
        ROW("9110 8.6", POST("Content-Length: 5\r\nContent-Length: 05\r\n"), "POST 1.1 host=a path=/ length=5"),
        ROW("9110 8.6", POST_1_0("Content-Length: 5\r\n"), "POST 1.0 close path=/ length=5"),
        ROW("9110 8.6", "GET / HTTP/1.0\r\nContent-Length: 5\r\n\r\n", "GET 1.0 close path=/ length=5"),
        ROW("9110 8.6", POST("Content-Length: 18446744073709551616\r\n"), "400 Content-Length out of range"),
        ROW("9110 8.6", POST("Content-Length: 18446744073709551620\r\n"), "400 Content-Length out of range"),
        ROW("9110 8.6", POST("Content-Length: 99999999999999999999\r\n"), "400 Content-Length out of range"),
        ROW("9110 8.6", POST("Content-Length: 5, 6\r\n"), "400 different values of Content-Length"),
        ROW("9110 8.6", POST("Content-Length: 5\r\na: b\r\nContent-Length: 6\r\n"),
            "400 different values of Content-Length"),
        ROW("9110 8.6", POST("Content-Length: 0\r\nContent-Length: 6\r\n"), "400 different values of Content-Length"),
        ROW("9110 8.6", POST("Content-Length:\r\n"), "400 Content-Length without a number"),
        ROW("9110 8.6", POST("Content-Length: 5,\r\n"), "400 Content-Length without a number"),
        ROW("9110 8.6", POST("Content-Length: ,5\r\n"), "400 Content-Length without a number"),
        ROW("9110 8.6", POST("Content-Length: 5,,5\r\n"), "400 Content-Length without a number"),
        ROW("9110 8.6", POST("Content-Length: 5 5\r\n"), "400 Content-Length is not a number"),
        ROW("9110 8.6", POST("Content-Length: +5\r\n"), "400 Content-Length is not a number"),
        ROW("9110 8.6", POST("Content-Length: -5\r\n"), "400 Content-Length is not a number"),
        ROW("9110 8.6", POST("Content-Length: 0x5\r\n"), "400 Content-Length is not a number"),
        ROW("9110 8.6", POST("Content-Length: 5.0\r\n"), "400 Content-Length is not a number"),
        ROW("9110 8.6", POST("Content-Length: 5;a\r\n"), "400 Content-Length is not a number"),
        ROW("9110 8.6", POST("Content-Length: \"5\"\r\n"), "400 Content-Length is not a number"),
        ROW("9110 8.6", POST("Content-Length: \xb2\r\n"), "400 Content-Length is not a number"),
    };

    (void)state;
    check_rows(rows, COUNT(rows));
}

static void transfer_encoding_is_chunked_or_refused(void **state)
{
    static const struct row rows[] = {
        ROW("6.1", POST("Transfer-Encoding: chunked\r\n"), "POST 1.1 host=a path=/ chunked"),
        ROW("6.1", POST("transfer-encoding:\tCHUNKed \r\n"), "POST 1.1 host=a path=/ chunked"),
        ROW("6.1", POST("Transfer-Encoding: gzip, chunked\r\n"), "501 unknown transfer coding"),
        ROW("6.1", POST("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"), "501 unknown transfer coding"),
        ROW("6.1", POST("Transfer-Encoding: identity, chunked\r\n"), "501 unknown transfer coding"),
        ROW("6.1", POST("Transfer-Encoding: xchunked, chunked\r\n"), "501 unknown transfer coding"),
        ROW("6.3", POST("Transfer-Encoding: gzip\r\n"), "400 last transfer coding is not chunked"),
        ROW("6.3", POST("Transfer-Encoding: identity\r\n"), "400 last transfer coding is not chunked"),
        ROW("6.3", POST("Transfer-Encoding: xchunked\r\n"), "400 last transfer coding is not chunked"),
        ROW("6.3", POST("Transfer-Encoding: chunke\r\n"), "400 last transfer coding is not chunked"),
        ROW("6.3", POST("Transfer-Encoding: chunked, gzip\r\n"), "400 transfer coding after chunked"),
        ROW("6.1", POST("Transfer-Encoding: chunked, chunked\r\n"), "400 transfer coding after chunked"),
        ROW("6.1", POST("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
            "400 transfer coding after chunked"),
        ROW("6.1", POST("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
            "400 transfer coding after chunked"),
        ROW("6.1", POST("Transfer-Encoding:\r\n"), "400 malformed Transfer-Encoding"),
        ROW("6.1", POST("Transfer-Encoding: chunked,\r\n"), "400 transfer coding after chunked"),
        ROW("6.1", POST("Transfer-Encoding: , chunked\r\n"), "400 malformed Transfer-Encoding"),
        ROW("6.1",
            POST("Transfer-Encoding: \x0b"
                 "chunked\r\n"),
            "400 control character in field value"),
        ROW("6.1", POST("Transfer-Encoding: chunked;q=1\r\n"), "400 malformed Transfer-Encoding"),
        ROW("6.1", POST("Transfer-Encoding: gzip;a=\"b, chunked\"\r\n"), "400 malformed Transfer-Encoding"),
        ROW("6.1", POST("Transfer-Encoding: \"chunked\"\r\n"), "400 malformed Transfer-Encoding"),
        ROW("6.1", POST("Transfer-Encoding: chunked chunked\r\n"), "400 malformed Transfer-Encoding"),
        ROW("6.1", POST_1_0("Transfer-Encoding: chunked\r\n"), "400 Transfer-Encoding in HTTP/1.0"),
        ROW("6.1", POST_1_0("Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n"),
            "400 Transfer-Encoding in HTTP/1.0"),
        ROW("6.3", POST("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
            "400 both Content-Length and Transfer-Encoding"),
        ROW("6.3", POST("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
            "400 both Content-Length and Transfer-Encoding"),
        ROW("6.3", POST("Content-Length: 0\r\nTransfer-Encoding: gzip\r\n"),
            "400 both Content-Length and Transfer-Encoding"),
        ROW("5.1", POST("Transfer-Encoding : chunked\r\n"), "400 space between field name and colon"),
        ROW("6.3", POST("Content-Length: 5\r\nTransfer_Encoding: chunked\r\n"), "POST 1.1 host=a path=/ length=5"),
    };

    (void)state;
    check_rows(rows, COUNT(rows));
}

static void expectations_are_100_continue_or_refused(void **state)
{
    static const struct row rows[] = {
        ROW("9110 10.1.1", POST("Expect: 100-continue\r\n"), "POST 1.1 host=a path=/ expects"),
        ROW("9110 10.1.1", POST("expect: 100-CONTINUE\r\n"), "POST 1.1 host=a path=/ expects"),
        ROW("9110 10.1.1", POST("Expect: 100-continue, 100-continue,\r\n"), "POST 1.1 host=a path=/ expects"),
        ROW("9110 10.1.1", POST("Expect:\r\n"), "POST 1.1 host=a path=/"),
        ROW("9110 10.1.1", POST_1_0("Expect: 100-continue\r\n"), "POST 1.0 close path=/"),
        ROW("9110 10.1.1", POST("Expect: 200-ok\r\n"), "417 unknown expectation"),
        ROW("9110 10.1.1", POST("Expect: 100-continue, a\r\n"), "417 unknown expectation"),
        ROW("9110 10.1.1", POST("Expect: 100-continue\r\nExpect: a\r\n"), "417 unknown expectation"),
        ROW("9110 10.1.1", POST("Expect: 100-continue;a=b\r\n"), "417 unknown expectation"),
        ROW("9110 10.1.1", POST("Expect: 100-continu\r\n"), "417 unknown expectation"),
        ROW("9110 10.1.1", POST_1_0("Expect: a\r\n"), "417 unknown expectation"),
        ROW("6.3", POST("Expect: a\r\nTransfer-Encoding: gzip\r\n"), "400 last transfer coding is not chunked"),
    };

    (void)state;
    check_rows(rows, COUNT(rows));
}

static void connection_options_decide_about_keep_alive(void **state)
{
    static const struct row rows[] = {
        ROW("9.3", POST(""), "POST 1.1 host=a path=/"),
        ROW("9.3", POST_1_0(""), "POST 1.0 close path=/"),
        ROW("9.3", POST("Connection: keep-alive\r\n"), "POST 1.1 host=a path=/"),
        ROW("9.3", POST_1_0("Connection: keep-alive\r\n"), "POST 1.0 path=/"),
        ROW("9.3", POST_1_0("Connection: Keep-Alive\r\n"), "POST 1.0 path=/"),
        ROW("9.6", POST("Connection: close\r\n"), "POST 1.1 close host=a path=/"),
        ROW("9.6", POST("Connection: CLOSE\r\n"), "POST 1.1 close host=a path=/"),
        ROW("9.6", POST("Connection: upgrade, close\r\n"), "POST 1.1 close host=a path=/"),
        ROW("9.6", POST("Connection: ,,close,,\r\n"), "POST 1.1 close host=a path=/"),
        ROW("9.6", POST("Connection: close \t, te\r\n"), "POST 1.1 close host=a path=/"),
        ROW("9.6", POST("Connection: te\r\nConnection: close\r\n"), "POST 1.1 close host=a path=/"),
        ROW("9.6", POST("Connection: close\r\nConnection: te\r\n"), "POST 1.1 close host=a path=/"),
        ROW("9.3", POST("Connection: close, keep-alive\r\n"), "POST 1.1 close host=a path=/"),
        ROW("9.3", POST_1_0("Connection: keep-alive, close\r\n"), "POST 1.0 close path=/"),
        ROW("9.3", POST_1_0("Connection: keep-alive\r\nConnection: close\r\n"), "POST 1.0 close path=/"),
        ROW("9.3", POST("Connection: closed\r\n"), "POST 1.1 host=a path=/"),
        ROW("9.3", POST("Connection: clos\r\n"), "POST 1.1 host=a path=/"),
        ROW("9.3", POST("Connection: close te\r\n"), "POST 1.1 host=a path=/"),
        ROW("9.3", POST("Connection:\r\n"), "POST 1.1 host=a path=/"),
        ROW("9.3", POST_1_0("Connection: keep-alived\r\n"), "POST 1.0 close path=/"),
        ROW("C.2.2", POST_1_0("Proxy-Connection: keep-alive\r\n"), "POST 1.0 close path=/"),
        ROW("9.3", POST_1_0("Keep-Alive: 5\r\n"), "POST 1.0 close path=/"),
    };

    (void)state;
    check_rows(rows, COUNT(rows));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request_lines_are_read_as_the_rfc_says),
        cmocka_unit_test(higher_minor_versions_are_processed_as_1_1),
        cmocka_unit_test(major_versions_other_than_1_are_refused),
        cmocka_unit_test(empty_lines_before_a_request_are_tolerated_within_bounds),
        cmocka_unit_test(targets_have_the_form_that_their_method_wants),
        cmocka_unit_test(absolute_form_with_tls_is_https),
        cmocka_unit_test(field_lines_are_read_as_the_rfc_says),
        cmocka_unit_test(host_comes_once_and_is_well_formed),
        cmocka_unit_test(content_length_is_one_number),
        cmocka_unit_test(transfer_encoding_is_chunked_or_refused),
        cmocka_unit_test(expectations_are_100_continue_or_refused),
        cmocka_unit_test(connection_options_decide_about_keep_alive),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
