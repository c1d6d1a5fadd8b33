/* The table of char_class.h: a byte is looked up, not compared. */

#include "http/char_class.h"

#define VALUE_ONLY (CLASS_VALUE)
#define ENCODED    (CLASS_VALUE | CLASS_PATH | CLASS_QUERY)
#define VISIBLE    (ENCODED | CLASS_PLAIN)
#define TOKEN_CHAR (VISIBLE | CLASS_TOKEN)
#define EVERYWHERE (VISIBLE | CLASS_TOKEN | CLASS_HOST)

/* So many bytes from c on; ISO C has no ranges here. */
#define BYTES_1(c, classes) [c] = (classes)
#define BYTES_2(c, classes) BYTES_1(c, classes), BYTES_1((c) + 1, classes)
#define BYTES_8(c, classes)                                                                                            \
    BYTES_2(c, classes), BYTES_2((c) + 2, classes), BYTES_2((c) + 4, classes), BYTES_2((c) + 6, classes)
#define BYTES_16(c, classes) BYTES_8(c, classes), BYTES_8((c) + 8, classes)
#define BYTES_32(c, classes) BYTES_16(c, classes), BYTES_16((c) + 16, classes)
#define DIGITS(classes)      BYTES_8('0', classes), BYTES_2('8', classes)
#define LETTERS(a, classes)  BYTES_16(a, classes), BYTES_8((a) + 16, classes), BYTES_2((a) + 24, classes)

const uint8_t char_classes[256] = {
    ['\t'] = VALUE_ONLY,
    [' '] = VALUE_ONLY,
    ['!'] = EVERYWHERE,
    ['"'] = VISIBLE,
    ['#'] = CLASS_VALUE | CLASS_TOKEN,
    ['$'] = EVERYWHERE,
    ['%'] = ENCODED | CLASS_TOKEN,
    ['&'] = EVERYWHERE,
    ['\''] = EVERYWHERE,
    ['('] = VISIBLE | CLASS_HOST,
    [')'] = VISIBLE | CLASS_HOST,
    ['*'] = EVERYWHERE,
    ['+'] = EVERYWHERE,
    [','] = VISIBLE | CLASS_HOST,
    ['-'] = EVERYWHERE,
    ['.'] = ENCODED | CLASS_TOKEN | CLASS_HOST,
    ['/'] = VISIBLE,
    DIGITS(EVERYWHERE),
    [':'] = VISIBLE,
    [';'] = VISIBLE | CLASS_HOST,
    ['<'] = VISIBLE,
    ['='] = VISIBLE | CLASS_HOST,
    ['>'] = VISIBLE,
    ['?'] = CLASS_VALUE | CLASS_QUERY,
    ['@'] = VISIBLE,
    LETTERS('A', EVERYWHERE),
    ['['] = VISIBLE,
    ['\\'] = ENCODED,
    [']'] = VISIBLE,
    ['^'] = TOKEN_CHAR,
    ['_'] = EVERYWHERE,
    ['`'] = TOKEN_CHAR,
    LETTERS('a', EVERYWHERE),
    ['{'] = VISIBLE,
    ['|'] = TOKEN_CHAR,
    ['}'] = VISIBLE,
    ['~'] = EVERYWHERE,
    BYTES_32(0x80, VALUE_ONLY),
    BYTES_32(0xa0, VALUE_ONLY),
    BYTES_32(0xc0, VALUE_ONLY),
    BYTES_32(0xe0, VALUE_ONLY),
};
