/* Fields that choose what of a file is sent: conditions (http/conditional.c), dates (http/http_date.c) and codings
 * (http/encoding.c). The input is the field lines of a request. It is evaluated against several versions of a file:
 *   - what any request may get follows from its method and from which fields there are (RFC 9110 section 13.2.2);
 *   - If-Match and If-None-Match with the same list never agree, and a list that covers a tag strongly covers it
 *     weakly;
 *   - a date that is read, with whatever clock, and written out as IMF-fixdate is read as the same moment;
 *   - the chosen coding is one that is there and was not refused. */

#include "core/sys.h"
#include "http/conditional.h"
#include "http/encoding.h"
#include "http/h1/parser_scalar.h"
#include "http/http_date.h"
#include "http/limits.h"
#include "tests/lib/fuzz.h"

#include <string.h>
#include <time.h>

enum { FIELDS_MAX = 100, NOW_S = 784111777 };

static struct field fields[FIELDS_MAX];

/* Parse a head made of the field lines. Returns where it lies, flush against the page, or NULL. */
static const char *parse(struct head *head, const char *method, const char *lines, size_t len)
{
    static char text[GUARDED_BYTES];
    struct parser parser;
    struct limits limits;
    limits_init(&limits);
    size_t used = (size_t)snprintf(text, sizeof text, "%s / HTTP/1.0\r\n", method);
    memcpy(text + used, lines, len);
    used += len;
    memcpy(text + used, "\r\n\r\n", 4);
    used += 4;
    *head = (struct head){.fields = fields, .field_capacity = FIELDS_MAX};
    parser_reset(&parser);
    if (parse_head_scalar(&parser, head, &limits, text, used) != PARSE_COMPLETE) {
        return NULL;
    }
    return guarded_at_end(fuzz_guarded(), text, head->len);
}

static bool has(const struct head *head, enum known_field field)
{
    return head->first[field] != 0;
}

static void check_version(const struct head *head, const char *data, const struct validators *validators)
{
    enum precondition verdict = conditional_evaluate(head, data, validators);
    bool is_get = head->method == METHOD_GET || head->method == METHOD_HEAD;
    bool can_fail = has(head, FIELD_IF_MATCH) || has(head, FIELD_IF_UNMODIFIED_SINCE);
    bool can_be_same = has(head, FIELD_IF_NONE_MATCH) || has(head, FIELD_IF_MODIFIED_SINCE);
    FUZZ_MUST(verdict == PRECONDITION_HOLDS || verdict == PRECONDITION_NOT_MODIFIED || verdict == PRECONDITION_FAILED);
    FUZZ_MUST(verdict != PRECONDITION_NOT_MODIFIED || (is_get && can_be_same));
    FUZZ_MUST(verdict != PRECONDITION_FAILED || can_fail || (!is_get && has(head, FIELD_IF_NONE_MATCH)));
    const struct field *range = conditional_range(head, data, validators);
    FUZZ_MUST(range == NULL || (head->method == METHOD_GET && range == &fields[head->first[FIELD_RANGE] - 1]));
}

static void check_tags(const struct head *head, const char *data, const struct validators *validators)
{
    for (int i = 0; i < head->field_count; i++) {
        const char *list = data + fields[i].value.offset;
        size_t len = fields[i].value.len;
        bool strong = conditional_list_covers(list, len, validators->etag, validators->etag_len, ETAG_STRONG);
        bool weak = conditional_list_covers(list, len, validators->etag, validators->etag_len, ETAG_WEAK);
        FUZZ_MUST(weak || !strong);
        FUZZ_MUST(!strong || validators->etag[0] != 'W' || (len == 1 && list[0] == '*'));
    }
}

static void check_date(const char *data, size_t len, int64_t now_s)
{
    int64_t time_s = INT64_MIN, again_s = 0;
    char text[64], formatted[HTTP_DATE_LEN];
    struct tm tm;
    if (!http_date_parse(data, len, now_s, &time_s)) {
        FUZZ_MUST(time_s == INT64_MIN);
        return;
    }
    time_t moment = (time_t)time_s;
    FUZZ_MUST(gmtime_r(&moment, &tm) != NULL);
    size_t text_len = strftime(text, sizeof text, "%a, %d %b ", &tm);
    text_len += (size_t)snprintf(text + text_len, sizeof text - text_len, "%04d ", tm.tm_year + 1900);
    text_len += strftime(text + text_len, sizeof text - text_len, "%H:%M:%S GMT", &tm);
    FUZZ_MUST(http_date_parse(text, text_len, now_s, &again_s) && again_s == time_s);
    http_date_format(time_s, formatted);
    FUZZ_MUST(text_len == sizeof formatted && memcmp(text, formatted, sizeof formatted) == 0);
}

static void check_dates(const struct head *head, const char *data)
{
    /* Clocks that are right, and as wrong as can be: four digits of a year, and an int, end here. */
    static const int64_t nows_s[] = {NOW_S,    INT64_MIN, -62167219200, 253402300799, INT64_C(67768036191676799),
                                     INT64_MAX};
    for (int i = 0; i < head->field_count; i++) {
        for (size_t n = 0; n < sizeof nows_s / sizeof nows_s[0]; n++) {
            check_date(data + fields[i].value.offset, fields[i].value.len, nows_s[n]);
        }
    }
}

static void check_codings(const struct head *head, const char *data)
{
    struct encoding_wishes wishes;
    encoding_wishes_init(&wishes);
    for (int i = 0; i < head->field_count; i++) {
        encoding_wishes_add(&wishes, data + fields[i].value.offset, fields[i].value.len);
    }
    for (unsigned available = 0; available < 1U << ENCODING_COUNT; available++) {
        enum encoding chosen = encoding_choose(&wishes, available);
        FUZZ_MUST(chosen < ENCODING_COUNT && (chosen == ENCODING_IDENTITY || (available & 1U << chosen) != 0));
        FUZZ_MUST(chosen == ENCODING_IDENTITY || wishes.quality[chosen] != 0);
    }
    for (int i = 0; i < ENCODING_COUNT; i++) {
        FUZZ_MUST(wishes.quality[i] >= QUALITY_UNSAID && wishes.quality[i] <= 1000);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const char *const methods[] = {"GET", "HEAD", "PUT"};
    static const struct validators versions[] = {
        {"\"a\"", 3, true, 0},
        {"\"a\"", 3, true, NOW_S},
        {"W/\"a\"", 5, true, NOW_S - 86400},
        {"\"\"", 2, false, 0},
    };
    struct head head;
    if (len > 4096) {
        return 0;
    }
    for (size_t m = 0; m < sizeof methods / sizeof methods[0]; m++) {
        const char *text = parse(&head, methods[m], (const char *)data, len);
        if (text == NULL) {
            return 0;
        }
        for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++) {
            check_version(&head, text, &versions[i]);
            check_tags(&head, text, &versions[i]);
        }
        check_dates(&head, text);
        check_codings(&head, text);
    }
    return 0;
}
