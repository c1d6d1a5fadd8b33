/* http/words.h: short texts a word at a time. Texts of every short length lie flush against a page that nobody may
 * touch, at their beginning or at their end. */

#include "http/words.h"

#include "tests/lib/guard_page.h"

enum { LONGEST = 40 };

static struct guarded one;
static struct guarded other;

static int set_up(void **state)
{
    (void)state;
    guarded_init(&one);
    guarded_init(&other);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    guarded_done(&one);
    guarded_done(&other);
    return 0;
}

static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJ";

static void texts_are_equal_only_if_every_byte_is(void **state)
{
    (void)state;
    for (size_t len = 0; len <= LONGEST; len++) {
        const char *a = guarded_at_end(&one, alphabet, len);
        char *b = guarded_at_start(&other, alphabet, len);
        assert_true(words_equal(a, b, len));
        assert_true(words_equal(b, a, len));
        for (size_t i = 0; i < len; i++) {
            for (int bit = 0; bit < 8; bit++) {
                b[i] = (char)(b[i] ^ 1 << bit);
                assert_false(words_equal(a, b, len));
                b[i] = (char)(b[i] ^ 1 << bit);
            }
        }
    }
}

static void hash_sees_every_bit_and_the_length(void **state)
{
    (void)state;
    for (size_t len = 0; len <= LONGEST; len++) {
        char *a = guarded_at_end(&one, alphabet, len);
        uint64_t hash = words_hash(1, a, len);
        assert_true(hash == words_hash(1, guarded_at_start(&other, alphabet, len), len));
        assert_true(hash != words_hash(2, a, len));
        for (size_t i = 0; i < len; i++) {
            for (int bit = 0; bit < 8; bit++) {
                a[i] = (char)(a[i] ^ 1 << bit);
                assert_true(hash != words_hash(1, a, len));
                a[i] = (char)(a[i] ^ 1 << bit);
            }
        }
    }
    static const char same[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    for (size_t len = 1; len <= LONGEST; len++) {
        assert_true(words_hash(1, same, len) != words_hash(1, same, len - 1));
    }
}

static void copies_have_every_byte_and_no_more(void **state)
{
    (void)state;
    for (size_t len = 0; len <= 2 * sizeof alphabet; len++) {
        char text[2 * sizeof alphabet];
        for (size_t i = 0; i < len; i++) {
            text[i] = alphabet[i % (sizeof alphabet - 1)];
        }
        const char *from = guarded_at_end(&one, text, len);
        other.end[-(ptrdiff_t)len - 1] = '!';
        words_copy(other.end - len, from, len);
        assert_memory_equal(other.end - len, text, len);
        assert_int_equal(other.end[-(ptrdiff_t)len - 1], '!');
    }
}

static void zero_is_found_at_every_place_and_nowhere_else(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        for (unsigned byte = 1; byte < 256; byte++) {
            uint64_t word = word_of((char)byte);
            assert_false(word_has_zero(word));
            assert_true(word_has_zero(word & ~(UINT64_C(0xff) << 8 * i)));
            assert_false(word_has_zero((word_of(1) & ~(UINT64_C(0xff) << 8 * i)) | (uint64_t)byte << 8 * i));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_equal_only_if_every_byte_is),
        cmocka_unit_test(hash_sees_every_bit_and_the_length),
        cmocka_unit_test(copies_have_every_byte_and_no_more),
        cmocka_unit_test(zero_is_found_at_every_place_and_nowhere_else),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
