/* multipart/form-data in every split: what parts and content come out, and what is refused. */

#include "http/multipart.h"

#include "tests/lib/guard_page.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TYPE       "multipart/form-data; boundary=XYZ"
#define PART(name) "Content-Disposition: form-data; name=\"" name "\"\r\n\r\n"

static char heard[200000]; /* what was told: "[name|filename|type]content;", "E400 reason", "." at the end */
static size_t heard_len;

static void hear(const char *text, size_t len)
{
    assert_true(heard_len + len < sizeof heard);
    memcpy(heard + heard_len, text, len);
    heard_len += len;
    heard[heard_len] = '\0';
}

static void hear_value(int len, const char *value)
{
    hear(len < 0 ? "-" : value, len < 0 ? 1 : (size_t)len);
    hear("|", 1);
}

static void hear_part(const struct multipart *multipart)
{
    size_t len = 1;
    char value[MULTIPART_HEAD_MAX];
    const char *type = multipart_field(multipart, "content-type", &len);
    hear("[", 1);
    hear_value(multipart_parameter(multipart, "name", value), value);
    hear_value(multipart_filename(multipart, value), value);
    hear(type == NULL ? "-" : type, type == NULL ? 1 : len);
    hear("]", 1);
}

static void hear_error(const struct multipart *multipart)
{
    char text[200];
    int len = snprintf(text, sizeof text, "E%d %s", multipart->status, multipart->reason);
    hear(text, (size_t)len);
}

/* Hand on some bytes. Returns false after an error. */
static bool feed(struct multipart *multipart, const char *data, size_t len)
{
    for (;;) {
        size_t used = SIZE_MAX, content_len = 0;
        const char *content = NULL;
        enum multipart_event event = multipart_parse(multipart, data, len, &used, &content, &content_len);
        assert_true(used <= len);
        data += used;
        len -= used;
        switch (event) {
        case MULTIPART_PART:
            hear_part(multipart);
            break;
        case MULTIPART_CONTENT:
            assert_true(content_len > 0);
            hear(content, content_len);
            break;
        case MULTIPART_PART_END:
            hear(";", 1);
            break;
        case MULTIPART_ERROR:
            hear_error(multipart);
            return false;
        case MULTIPART_MORE:
            assert_int_equal(len, 0);
            return true;
        }
    }
}

static void finish(struct multipart *multipart)
{
    if (multipart_finish(multipart)) {
        hear(".", 1);
    } else {
        hear_error(multipart);
    }
}

static struct multipart *begin(const char *type)
{
    static struct multipart multipart;
    heard_len = 0;
    heard[0] = '\0';
    assert_int_equal(multipart_begin(&multipart, type, strlen(type)), 0);
    return &multipart;
}

/* Parse in pieces of size bytes, each flush against a page that may not be read. */
static const char *parse_pieces(struct guarded *guarded, const char *type, const char *body, size_t len, size_t size)
{
    struct multipart *multipart = begin(type);
    for (size_t at = 0; at < len; at += size) {
        size_t piece = len - at < size ? len - at : size;
        if (!feed(multipart, guarded_at_end(guarded, body + at, piece), piece)) {
            return heard;
        }
    }
    finish(multipart);
    return heard;
}

static const char *parse_split(struct guarded *guarded, const char *type, const char *body, size_t len, size_t cut)
{
    struct multipart *multipart = begin(type);
    if (feed(multipart, guarded_at_end(guarded, body, cut), cut) &&
        feed(multipart, guarded_at_end(guarded, body + cut, len - cut), len - cut)) {
        finish(multipart);
    }
    return heard;
}

static const char *parse(const char *type, const char *body)
{
    struct multipart *multipart = begin(type);
    if (feed(multipart, body, strlen(body))) {
        finish(multipart);
    }
    return heard;
}

/* The same comes out of a body whole, in pieces of every small size, and split at every place. */
static void assert_heard(const char *type, const char *body, const char *expected)
{
    struct guarded guarded;
    size_t len = strlen(body);
    guarded_init(&guarded);
    for (size_t size = 1; size < 20; size++) {
        assert_string_equal(parse_pieces(&guarded, type, body, len, size), expected);
    }
    for (size_t cut = 0; cut <= len; cut++) {
        assert_string_equal(parse_split(&guarded, type, body, len, cut), expected);
    }
    guarded_done(&guarded);
}

/* What is well-formed. */

static void parts_and_their_content_come_out_in_every_split(void **state)
{
    (void)state;
    static const struct {
        const char *body, *expected;
    } cases[] = {
        {"--XYZ\r\n" PART("a") "one\r\n--XYZ\r\n" PART("b") "two\r\n--XYZ--\r\n", "[a|-|-]one;[b|-|-]two;."},
        {"--XYZ\r\n" PART("a") "\r\n--XYZ--", "[a|-|-];."},
        {"--XYZ--\r\n", "."},
        {"--XYZ--", "."},
        {"--XYZ \t\r\n" PART("a") "x\r\n--XYZ-- and what follows\r\n--XYZ\r\n", "[a|-|-]x;."},
        {"a preamble\r\n--XY\r\n--XYZ\r\n" PART("a") "x\r\n--XYZ--\r\n", "[a|-|-]x;."},
        {"\r\n--XYZ\r\n" PART("a") "x\r\n--XYZ--\r\n", "[a|-|-]x;."},
        /* What looks like a delimiter for a while. */
        {"--XYZ\r\n" PART("a") "\r\n--XY\r\r\n\r\n-\r\n--\r\n--X\r\n--XYZ--",
         "[a|-|-]\r\n--XY\r\r\n\r\n-\r\n--\r\n--X;."},
        {"--XYZ\r\n" PART("a") "x--XYZ\n--XYZ\r--XYZ\r\n--XYZ--", "[a|-|-]x--XYZ\n--XYZ\r--XYZ;."},
        {"--XYZ\r\n" PART("a") "\r\r\r\n\r\n--XYZ--", "[a|-|-]\r\r\r\n;."},
        /* Files. */
        {"--XYZ\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a b;c.txt\"\r\nContent-Type: text/plain\r\n\r\n"
         "x\r\n--XYZ--",
         "[f|a b;c.txt|text/plain]x;."},
        {"--XYZ\r\ncontent-type:image/png \r\nCONTENT-DISPOSITION:Form-Data;filename=x.png;NAME=f\r\n\r\nx\r\n--XYZ--",
         "[f|x.png|image/png]x;."},
        {"--XYZ\r\nContent-Disposition: form-data; name=\"f\"; filename=\"\"\r\n\r\n\r\n--XYZ--", "[f||-];."},
        {"--XYZ\r\nContent-Disposition: form-data; name=\"\"\r\n\r\nx\r\n--XYZ--", "[|-|-]x;."},
        {"--XYZ\r\nContent-Disposition: form-data; name=\"a\\\"b\"; filename=\"C:\\dir\\\\x\"\r\n\r\nx\r\n--XYZ--",
         "[a\"b|C:\\dir\\x|-]x;."},
        {"--XYZ\r\nContent-Disposition: form-data; name=\"caf\xc3\xa9\"; filename=\"%22.txt\"\r\n\r\nx\r\n--XYZ--",
         "[caf\xc3\xa9|%22.txt|-]x;."},
        {"--XYZ\r\nContent-Disposition: form-data; filename=\"name=x\"; name=\"a\"\r\n\r\nx\r\n--XYZ--",
         "[a|name=x|-]x;."},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_heard(TYPE, cases[i].body, cases[i].expected);
    }
}

#define FILE_PART(parameters) "--XYZ\r\nContent-Disposition: form-data; name=f; " parameters "\r\n\r\nx\r\n--XYZ--"

/* RFC 8187, with the examples of its section 3.2.2. */
static void an_extended_file_name_is_decoded(void **state)
{
    (void)state;
    static const struct {
        const char *body, *expected;
    } cases[] = {
        {FILE_PART("filename*=UTF-8''%c2%a3%20and%20%e2%82%ac%20rates"), "[f|\xc2\xa3 and \xe2\x82\xac rates|-]x;."},
        {FILE_PART("filename*=iso-8859-1'en'%A3%20rates"), "[f|\xc2\xa3 rates|-]x;."},
        {FILE_PART("filename*=utf-8''plain.txt; filename=other.txt"), "[f|plain.txt|-]x;."},
        {FILE_PART("filename=\"first.txt\"; FileName*=UTF-8''second.txt"), "[f|second.txt|-]x;."},
        {FILE_PART("filename*=\"UTF-8''quoted%3b.txt\""), "[f|quoted;.txt|-]x;."},
        {FILE_PART("filename*=UTF-8''"), "[f||-]x;."},
        {FILE_PART("filename*=UTF-8''a'b"), "[f|a'b|-]x;."},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_heard(TYPE, cases[i].body, cases[i].expected);
    }
}

static void a_malformed_one_is_400(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        FILE_PART("filename*=plain.txt"),
        FILE_PART("filename*=UTF-8'x"),
        FILE_PART("filename*=''x"),
        FILE_PART("filename*=UTF-16''x"),
        FILE_PART("filename*=UTF-8''%"),
        FILE_PART("filename*=UTF-8''%4"),
        FILE_PART("filename*=UTF-8''%4g"),
        FILE_PART("filename*=UTF-8''%00"),
        FILE_PART("filename*=UTF-8''%0d%0a"),
        FILE_PART("filename*=UTF-8''%7f"),
        FILE_PART("filename*=UTF-8''%c3"),
        FILE_PART("filename*=UTF-8''%c0%af"),
        FILE_PART("filename*=UTF-8''%ed%a0%80"),
        FILE_PART("filename*=ISO-8859-1''%85"),
        FILE_PART("filename*=UTF-8''caf\xc3\xa9"),
        FILE_PART("filename*="),
        FILE_PART("filename=a.txt; filename*=UTF-8''%"),
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        assert_heard(TYPE, bodies[i], "E400 malformed filename* of a part");
    }
}

static void content_may_be_any_bytes(void **state)
{
    (void)state;
    static const char head[] = "--XYZ\r\n" PART("a");
    static const char tail[] = "\r\n--XYZ--";
    char body[sizeof head + 512 + sizeof tail];
    size_t len = sizeof head - 1;
    struct guarded guarded;
    memcpy(body, head, len);
    for (int i = 0; i < 512; i++) {
        body[len++] = (char)(i * 7);
    }
    memcpy(body + len, tail, sizeof tail - 1);
    len += sizeof tail - 1;
    guarded_init(&guarded);
    for (size_t size = 1; size < 40; size++) {
        parse_pieces(&guarded, TYPE, body, len, size);
        assert_int_equal(heard_len, strlen("[a|-|-]") + 512 + strlen(";."));
        assert_memory_equal(heard + strlen("[a|-|-]"), body + sizeof head - 1, 512);
    }
    guarded_done(&guarded);
}

static void boundaries_are_tokens_or_quoted(void **state)
{
    (void)state;
    static const struct {
        const char *type, *boundary;
    } cases[] = {
        {"multipart/form-data; boundary=XYZ", "XYZ"},
        {"Multipart/Form-Data;BOUNDARY=XYZ", "XYZ"},
        {"multipart/form-data; charset=utf-8; boundary=\"a b:c?\"", "a b:c?"},
        {"multipart/form-data; x=\"; boundary=no\"; boundary=yes", "yes"},
        {"multipart/form-data;; ;boundary=yes", "yes"},
        {"multipart/form-data; boundary=a$b&<c>", "a$b&<c>"},
        {"multipart/form-data; boundary=\"a;b; boundary=c\"; x", "a;b; boundary=c"},
        {"multipart/form-data; boundary=\"a\\\"b\"", "a\"b"},
        {"multipart/form-data ; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW ; x=y",
         "----WebKitFormBoundary7MA4YWxkTrZu0gW"},
        {"multipart/form-data; boundary=1234567890123456789012345678901234567890123456789012345678901234567890",
         "1234567890123456789012345678901234567890123456789012345678901234567890"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char body[512];
        snprintf(body, sizeof body, "--%s\r\n" PART("a") "x\r\n--%s--", cases[i].boundary, cases[i].boundary);
        assert_string_equal(parse(cases[i].type, body), "[a|-|-]x;.");
    }
}

/* What is not. */

static void other_types_and_bad_boundaries_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        int status;
    } cases[] = {
        {"", 415},
        {"text/plain", 415},
        {"multipart/form-data-x; boundary=a", 415},
        {"multipart/mixed; boundary=a", 415},
        {"multipart/form-data", 400},
        {"multipart/form-data;", 400},
        {"multipart/form-data; boundary", 400},
        {"multipart/form-data; boundary=", 400},
        {"multipart/form-data; boundary=\"\"", 400},
        {"multipart/form-data; boundary=\"a", 400},
        {"multipart/form-data; boundary=\"a \"", 400},
        {"multipart/form-data; boundary=\"a\tb\"", 400},
        {"multipart/form-data; boundary=\"a\xc3\xa9\"", 400},
        {"multipart/form-data; boundary=12345678901234567890123456789012345678901234567890123456789012345678901", 400},
        {"multipart/form-data; =; boundary=a", 400},
    };
    static struct multipart multipart;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(multipart_begin(&multipart, cases[i].type, strlen(cases[i].type)), cases[i].status);
    }
    static char long_type[2 * MULTIPART_HEAD_MAX];
    memset(long_type, 'x', sizeof long_type);
    memcpy(long_type, "multipart/form-data; boundary=", 30);
    assert_int_equal(multipart_begin(&multipart, long_type, sizeof long_type), 400);
}

static void broken_bodies_are_400_in_every_split(void **state)
{
    (void)state;
    static const struct {
        const char *body, *expected;
    } cases[] = {
        {"", "E400 the body ends before its last boundary"},
        {"no boundary at all", "E400 the body ends before its last boundary"},
        {"--XYZ", "E400 the body ends before its last boundary"},
        {"--XYZ-", "E400 the body ends before its last boundary"},
        {"--XYZ\r\n" PART("a") "x", "[a|-|-]xE400 the body ends before its last boundary"},
        {"--XYZ\r\n" PART("a") "x\r\n--XYZ\r\n", "[a|-|-]x;E400 the body ends before its last boundary"},
        {"--XYZ\r\nContent-Disp", "E400 the body ends before its last boundary"},
        {"--XYZ\r\n" PART("a") "x\r\n--XYZ1\r\n", "[a|-|-]x;E400 text after a boundary"},
        {"--XYZ\n", "E400 text after a boundary"},
        {"--XYZ\rx", "E400 text after a boundary"},
        {"--XYZ-x", "E400 text after a boundary"},
        {"--XYZ\r\n\r\nx\r\n--XYZ--", "E400 a part without a name"},
        {"--XYZ\r\nContent-Type: text/plain\r\n\r\nx\r\n--XYZ--", "E400 a part without a name"},
        {"--XYZ\r\nContent-Disposition: form-data\r\n\r\nx\r\n--XYZ--", "E400 a part without a name"},
        {"--XYZ\r\nContent-Disposition: file; name=\"a\"\r\n\r\nx\r\n--XYZ--", "E400 a part without a name"},
        {"--XYZ\r\nContent-Disposition: form-data; name=\"a\r\n\r\nx\r\n--XYZ--", "E400 a part without a name"},
        {"--XYZ\r\nA: b\nC: d\r\n\r\n", "E400 line feed without carriage return in a part's header"},
        {"--XYZ\r\nA b: c\r\n\r\n", "E400 malformed header fields of a part"},
        {"--XYZ\r\nA: b\r\n c\r\n\r\n", "E400 malformed header fields of a part"},
        {"--XYZ\r\n: b\r\n\r\n", "E400 malformed header fields of a part"},
        {"--XYZ\r\nA\r\n\r\n", "E400 malformed header fields of a part"},
        {"--XYZ\r\nA: b\rc\r\n\r\n", "E400 malformed header fields of a part"},
        {"--XYZ\r\nA: b\001c\r\n\r\n", "E400 malformed header fields of a part"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_heard(TYPE, cases[i].body, cases[i].expected);
    }
}

static void error_stays_one(void **state)
{
    (void)state;
    parse(TYPE, "--XYZ!");
    struct multipart *multipart = begin(TYPE);
    assert_false(feed(multipart, "--XYZ!", 6));
    assert_false(feed(multipart, "more", 4));
    assert_false(multipart_finish(multipart));
    assert_string_equal(multipart->reason, "text after a boundary");
}

/* Limits. */

static char filled[2 * MULTIPART_HEAD_MAX];

static void head_of_a_part_has_a_limit(void **state)
{
    (void)state;
    for (int over = 0; over <= 1; over++) {
        size_t len = (size_t)snprintf(filled, sizeof filled,
                                      "--XYZ\r\nContent-Disposition: form-data; name=\"a\"\r\nX: ");
        size_t end = strlen("--XYZ\r\n") + MULTIPART_HEAD_MAX - strlen("\r\n\r\n") + (size_t)over;
        memset(filled + len, 'x', end - len);
        snprintf(filled + end, sizeof filled - end, "\r\n\r\nx\r\n--XYZ--");
        assert_string_equal(parse(TYPE, filled), over ? "E413 header fields of a part too long" : "[a|-|-]x;.");
    }
}

static void fields_of_a_part_have_a_limit(void **state)
{
    (void)state;
    for (int over = 0; over <= 1; over++) {
        size_t len = (size_t)snprintf(filled, sizeof filled, "--XYZ\r\nContent-Disposition: form-data; name=\"a\"\r\n");
        for (int i = 1; i < MULTIPART_FIELDS_MAX + over; i++) {
            len += (size_t)snprintf(filled + len, sizeof filled - len, "X: y\r\n");
        }
        snprintf(filled + len, sizeof filled - len, "\r\nx\r\n--XYZ--");
        assert_string_equal(parse(TYPE, filled), over ? "E400 malformed header fields of a part" : "[a|-|-]x;.");
    }
}

static void parts_have_a_limit(void **state)
{
    (void)state;
    static const char part[] = "--XYZ\r\n" PART("a") "x\r\n";
    for (int over = 0; over <= 1; over++) {
        struct multipart *multipart = begin(TYPE);
        bool is_fed = true;
        for (int i = 0; i < MULTIPART_PARTS_MAX + over; i++) {
            assert_true(is_fed);
            is_fed = feed(multipart, part, sizeof part - 1);
        }
        assert_int_equal(is_fed, !over);
        assert_true(over || feed(multipart, "--XYZ--", 7));
        assert_int_equal(multipart_finish(multipart), !over);
        assert_int_equal(multipart->status, over ? 413 : 0);
    }
}

static void media_types_are_compared_without_parameters_and_case(void **state)
{
    (void)state;
    assert_true(media_type_is("application/json", 16, "application/json"));
    assert_true(media_type_is("Application/JSON ;charset=utf-8", 31, "application/json"));
    assert_false(media_type_is("application/jsonx", 17, "application/json"));
    assert_false(media_type_is("application/jso", 15, "application/json"));
    assert_false(media_type_is("", 0, "application/json"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_and_their_content_come_out_in_every_split),
        cmocka_unit_test(an_extended_file_name_is_decoded),
        cmocka_unit_test(a_malformed_one_is_400),
        cmocka_unit_test(content_may_be_any_bytes),
        cmocka_unit_test(boundaries_are_tokens_or_quoted),
        cmocka_unit_test(other_types_and_bad_boundaries_are_refused),
        cmocka_unit_test(broken_bodies_are_400_in_every_split),
        cmocka_unit_test(error_stays_one),
        cmocka_unit_test(head_of_a_part_has_a_limit),
        cmocka_unit_test(fields_of_a_part_have_a_limit),
        cmocka_unit_test(parts_have_a_limit),
        cmocka_unit_test(media_types_are_compared_without_parameters_and_case),
    };
    return cmocka_run_group_tests_name("multipart", tests, NULL, NULL);
}
