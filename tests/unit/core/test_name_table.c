/* core/name_table.c: many names, names whose hashes are equal, and growth without memory. */

#include "core/name_table.h"
#include "tests/lib/fake_mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { NAMES = 500 };

static struct named_entry entries[NAMES];
static char names[NAMES][16];

static void name_entries(uint64_t hashes)
{
    for (int i = 0; i < NAMES; i++) {
        int len = snprintf(names[i], sizeof names[i], "name %d", i);
        entries[i] = (struct named_entry){.hash = (uint64_t)i * 7919 % hashes, .name = names[i], .len = (size_t)len};
    }
}

static struct named_entry *find(const struct name_table *table, int i)
{
    return name_table_find(table, entries[i].hash, names[i], strlen(names[i]));
}

/* Add all, take out every third one, and look for each. */
static void fill_and_look(struct name_table *table)
{
    for (int i = 0; i < NAMES; i++) {
        assert_null(find(table, i));
        assert_int_equal(name_table_add(table, &entries[i]), 0);
    }
    for (int i = 0; i < NAMES; i += 3) {
        name_table_remove(table, &entries[i]);
    }
    for (int i = 0; i < NAMES; i++) {
        assert_ptr_equal(find(table, i), i % 3 == 0 ? NULL : &entries[i]);
    }
    assert_int_equal(table->count, NAMES - (NAMES + 2) / 3);
    assert_null(name_table_find(table, entries[1].hash, names[1], 3)); /* the beginning of a name */
    name_table_done(table);
    assert_int_equal(fake_mem_live(), 0);
}

static void names_are_found_whatever_their_hashes(void **state)
{
    (void)state;
    for (uint64_t hashes = 1; hashes <= 1000; hashes *= 10) {
        struct name_table table = {0};
        name_entries(hashes);
        fill_and_look(&table);
    }
}

static void a_table_that_cannot_grow_goes_on(void **state)
{
    (void)state;
    struct name_table table = {0};
    name_entries(1000);
    assert_null(find(&table, 0));
    fake_mem_fail_after(1, true);
    assert_int_equal(name_table_add(&table, &entries[0]), -ENOMEM);
    assert_int_equal(table.count, 0);
    fake_mem_fail_after(2, true);
    fill_and_look(&table);
    fake_mem_fail_after(0, false);
    name_table_done(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_found_whatever_their_hashes),
        cmocka_unit_test(a_table_that_cannot_grow_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
