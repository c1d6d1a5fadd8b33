/* The table of char_class.h: a byte is looked up, not compared. */

#include "http/char_class.h"

#define VALUE_ONLY (CLASS_VALUE)
#define VISIBLE    (CLASS_VALUE | CLASS_PATH | CLASS_QUERY)
#define TOKEN_CHAR (VISIBLE | CLASS_TOKEN)
#define EVERYWHERE (VISIBLE | CLASS_TOKEN | CLASS_HOST)

const uint8_t char_classes[256] = {
    ['\t'] = VALUE_ONLY,
    [' '] = VALUE_ONLY,
    ['!'] = EVERYWHERE,
    ['"'] = VISIBLE,
    ['#'] = CLASS_VALUE | CLASS_TOKEN,
    ['$'] = EVERYWHERE,
    ['%'] = TOKEN_CHAR,
    ['&'] = EVERYWHERE,
    ['\''] = EVERYWHERE,
    ['('] = VISIBLE | CLASS_HOST,
    [')'] = VISIBLE | CLASS_HOST,
    ['*'] = EVERYWHERE,
    ['+'] = EVERYWHERE,
    [','] = VISIBLE | CLASS_HOST,
    ['-'] = EVERYWHERE,
    ['.'] = EVERYWHERE,
    ['/'] = VISIBLE,
    ['0' ... '9'] = EVERYWHERE,
    [':'] = VISIBLE,
    [';'] = VISIBLE | CLASS_HOST,
    ['<'] = VISIBLE,
    ['='] = VISIBLE | CLASS_HOST,
    ['>'] = VISIBLE,
    ['?'] = CLASS_VALUE | CLASS_QUERY,
    ['@'] = VISIBLE,
    ['A' ... 'Z'] = EVERYWHERE,
    ['[' ... ']'] = VISIBLE,
    ['^'] = TOKEN_CHAR,
    ['_'] = EVERYWHERE,
    ['`'] = TOKEN_CHAR,
    ['a' ... 'z'] = EVERYWHERE,
    ['{'] = VISIBLE,
    ['|'] = TOKEN_CHAR,
    ['}'] = VISIBLE,
    ['~'] = EVERYWHERE,
    [0x80 ... 0xff] = VALUE_ONLY,
};
