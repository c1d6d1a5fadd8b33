/* Doubles and decimal text (http/number.c). The input is a number in the grammar of JSON, or else the bytes of a
 * double. A text is read as the C library reads it; what is written is read back as the same double, by both, and is
 * not longer than what the C library needs. */

#include "http/number.h"
#include "tests/lib/fuzz.h"

#include <math.h>
#include <string.h>

enum { TEXT_MAX = 4096 };

/* Whether text is a number and nothing else (RFC 8259 section 6). */
static bool is_number(const char *text)
{
    static const char digits[] = "0123456789";
    text += *text == '-';
    size_t whole = strspn(text, digits);
    if (whole == 0 || (whole > 1 && *text == '0')) {
        return false;
    }
    text += whole;
    if (*text == '.') {
        size_t behind = strspn(text + 1, digits);
        if (behind == 0) {
            return false;
        }
        text += 1 + behind;
    }
    if (*text == 'e' || *text == 'E') {
        text++;
        text += *text == '-' || *text == '+';
        size_t exponent = strspn(text, digits);
        if (exponent == 0) {
            return false;
        }
        text += exponent;
    }
    return *text == '\0';
}

static bool is_same(double one, double other)
{
    return memcmp(&one, &other, sizeof one) == 0;
}

static void check_written(double number)
{
    char text[NUMBER_TEXT_MAX + 1];
    char plain[64];
    size_t len = number_format(text, number);
    FUZZ_MUST(len > 0 && len <= NUMBER_TEXT_MAX);
    text[len] = '\0';
    if (!isfinite(number)) {
        FUZZ_MUST(!is_number(text));
        return;
    }
    FUZZ_MUST(is_number(text));
    FUZZ_MUST(number_parse(text, len) == number && strtod(text, NULL) == number);
    for (int digits = 0; digits < 17; digits++) {
        snprintf(plain, sizeof plain, "%.*e", digits, number);
        if (strtod(plain, NULL) == number) {
            break;
        }
    }
    FUZZ_MUST(len <= strlen(plain) + 21); /* no more digits; the zeros of 1000000 and of 0.000001 */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char text[TEXT_MAX + 1];
    if (len == sizeof(double)) {
        double number;
        memcpy(&number, data, sizeof number);
        check_written(number);
    }
    if (len > TEXT_MAX) {
        return 0;
    }
    memcpy(text, data, len);
    text[len] = '\0';
    if (strlen(text) == len && is_number(text)) {
        struct guarded in;
        guarded_init(&in);
        double number = number_parse(guarded_at_end(&in, text, len), len);
        guarded_done(&in);
        FUZZ_MUST(is_same(number, strtod(text, NULL)));
        check_written(number);
    }
    return 0;
}
