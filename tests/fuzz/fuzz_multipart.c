/* multipart/form-data (http/multipart.c). The input is a Content-Type in its first line, and a body. Taken whole and in
 * random pieces, flush against a page that must not be touched, parts, content and verdict are the same. Then the body
 * is content: as the only part of a form it comes back as it was, unless it has the delimiter in it. */

#include "http/multipart.h"
#include "tests/lib/fuzz.h"

#include <string.h>

/* Everything that must not depend on how the bytes arrived. */
struct outcome {
    struct multipart parser;
    bool has_failed, is_whole; /* an error was told; the body ended behind its last delimiter */
    int parts, ends;           /* begun and ended */
    size_t len;                /* of told */
    char told[1 << 18];        /* content, and what was known of each part */
};

static struct outcome whole, pieces;

static void tell(struct outcome *out, const void *bytes, size_t len)
{
    FUZZ_MUST(out->len + len <= sizeof out->told);
    memcpy(out->told + out->len, bytes, len);
    out->len += len;
}

static void tell_part(struct outcome *out)
{
    static const char *const names[] = {"name", "filename*"};
    static char value[MULTIPART_HEAD_MAX];
    const struct multipart *parser = &out->parser;
    int of_texts = 0; /* a host gets name and filename in the room of one header */
    for (size_t i = 0; i < 3; i++) {
        int len = i == 2 ? multipart_filename(parser, value) : multipart_parameter(parser, names[i], value);
        FUZZ_MUST(len >= -1 && len <= MULTIPART_HEAD_MAX);
        of_texts += i != 1 && len > 0 ? len : 0;
        tell(out, "|", 1);
        tell(out, value, len > 0 ? (size_t)len : 0);
    }
    FUZZ_MUST(of_texts <= MULTIPART_HEAD_MAX);
    FUZZ_MUST(parser->head_len <= MULTIPART_HEAD_MAX && parser->field_count <= MULTIPART_FIELDS_MAX);
    for (size_t i = 0; i < parser->field_count; i++) {
        const struct field *field = &parser->fields[i];
        FUZZ_MUST(field->name.len > 0 && field->name.offset + field->name.len <= parser->head_len);
        FUZZ_MUST(field->value.offset + field->value.len <= parser->head_len);
        tell(out, parser->head + field->value.offset, field->value.len);
    }
    FUZZ_MUST(out->parts == out->ends);
    out->parts++;
    FUZZ_MUST(out->parts <= MULTIPART_PARTS_MAX);
}

static void tell_error(struct outcome *out)
{
    out->has_failed = true;
    FUZZ_MUST(out->parser.reason != NULL && (out->parser.status == 400 || out->parser.status == 413));
    tell(out, out->parser.reason, strlen(out->parser.reason));
}

static void arrive(struct outcome *out, const char *text, size_t len)
{
    const char *data = guarded_at_end(fuzz_guarded(), text, len);
    while (!out->has_failed) {
        size_t used = SIZE_MAX, content_len = 0;
        const char *content = NULL;
        enum multipart_event event = multipart_parse(&out->parser, data, len, &used, &content, &content_len);
        if (event == MULTIPART_ERROR) {
            tell_error(out);
            return;
        }
        FUZZ_MUST(used <= len);
        data += used;
        len -= used;
        if (event == MULTIPART_PART) {
            tell_part(out);
        } else if (event == MULTIPART_CONTENT) {
            FUZZ_MUST(content_len > 0 && out->parts == out->ends + 1);
            tell(out, content, content_len);
        } else if (event == MULTIPART_PART_END) {
            out->ends++;
            FUZZ_MUST(out->parts == out->ends);
        } else {
            FUZZ_MUST(len == 0);
            return;
        }
    }
}

static bool begin(struct outcome *out, const char *type, size_t len)
{
    memset(&out->parser, 0xa5, sizeof out->parser);
    out->has_failed = out->is_whole = false;
    out->parts = out->ends = 0;
    out->len = 0;
    int rv = multipart_begin(&out->parser, guarded_at_end(fuzz_guarded(), type, len), len);
    FUZZ_MUST(rv == 0 || rv == 400 || rv == 415);
    return rv == 0;
}

static void finish(struct outcome *out)
{
    if (!out->has_failed) {
        out->is_whole = multipart_finish(&out->parser);
        if (!out->is_whole) {
            tell_error(out);
        }
    }
    FUZZ_MUST(!out->is_whole || out->parts == out->ends);
}

static void arrive_in_pieces(struct outcome *out, const char *text, size_t len, struct fuzz_dice *dice)
{
    for (size_t at = 0; at < len;) {
        size_t piece = fuzz_piece(dice, len - at);
        arrive(out, text + at, piece);
        at += piece;
    }
    finish(out);
}

static void check_body(const char *type, size_t type_len, const char *body, size_t len, struct fuzz_dice *dice)
{
    if (!begin(&whole, type, type_len)) {
        return;
    }
    arrive(&whole, body, len);
    finish(&whole);
    begin(&pieces, type, type_len);
    arrive_in_pieces(&pieces, body, len, dice);
    FUZZ_MUST(whole.has_failed == pieces.has_failed && whole.is_whole == pieces.is_whole);
    FUZZ_MUST(whole.parts == pieces.parts && whole.ends == pieces.ends && whole.len == pieces.len);
    FUZZ_MUST(memcmp(whole.told, pieces.told, whole.len) == 0);
}

static void check_content(const char *content, size_t len, struct fuzz_dice *dice)
{
    static const char type[] = "multipart/form-data; boundary=\"a b\"";
    static const char head[] = "--a b\r\nContent-Disposition: form-data; name=x\r\n\r\n";
    static const char tail[] = "\r\n--a b--\r\n";
    static char body[GUARDED_BYTES];
    if (memmem(content, len, "\r\n--a b", 7) != NULL || (len >= 5 && memcmp(content, "--a b", 5) == 0)) {
        return;
    }
    memcpy(body, head, sizeof head - 1);
    memcpy(body + sizeof head - 1, content, len);
    memcpy(body + sizeof head - 1 + len, tail, sizeof tail - 1);
    FUZZ_MUST(begin(&pieces, type, sizeof type - 1));
    arrive_in_pieces(&pieces, body, sizeof head - 1 + len + sizeof tail - 1, dice);
    static const char told[] = "|x||form-data; name=x";
    FUZZ_MUST(pieces.is_whole && pieces.parts == 1 && pieces.len == sizeof told - 1 + len);
    FUZZ_MUST(memcmp(pieces.told, told, sizeof told - 1) == 0);
    FUZZ_MUST(memcmp(pieces.told + sizeof told - 1, content, len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct fuzz_dice dice = fuzz_dice_of(data, len);
    const char *text = (const char *)data;
    const char *lf = len == 0 ? NULL : memchr(text, '\n', len);
    if (lf == NULL || len > GUARDED_BYTES / 8) {
        return 0;
    }
    size_t type_len = (size_t)(lf - text);
    size_t body_len = len - type_len - 1;
    check_body(text, type_len, lf + 1, body_len, &dice);
    check_content(lf + 1, body_len, &dice);
    return 0;
}
