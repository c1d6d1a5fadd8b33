/* core/store_shard.c beside a simple model: after each of many random steps the tables agree with each other, and with
 * the model. */

#include "core/store_shard.h"

#include "tests/lib/fake_mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { KEYS = 60, STEPS = 20000, SIZE = 8192 };

struct model {
    bool is_there;
    int64_t expires_ms;
    uint64_t used_at; /* step of the last use */
    size_t value_len;
};

static struct store_shard shard;
static struct model models[KEYS];

static uint32_t number(uint32_t below)
{
    static uint32_t state = 12345;
    state = state * 1664525 + 1013904223;
    return (state >> 8) % below;
}

static size_t key_text(char text[8], unsigned key)
{
    return (size_t)snprintf(text, 8, "k%u", key);
}

static struct store_entry *find_key(unsigned key, int64_t now_ms)
{
    char text[8];
    size_t len = key_text(text, key);
    return store_shard_find(&shard, key / 3, text, len, now_ms); /* some hashes are the same */
}

static void free_dropped(void)
{
    store_entries_free(store_shard_take_dropped(&shard));
}

/* What the shard should have dropped for room: all that are over, then the oldest. */
static void make_model_room(uint64_t cost, int64_t now_ms)
{
    for (;;) {
        uint64_t used = cost;
        int victim = -1;
        for (int i = 0; i < KEYS; i++) {
            struct model *model = &models[i];
            if (model->is_there && model->expires_ms != 0 && model->expires_ms <= now_ms) {
                model->is_there = false;
            }
            if (model->is_there) {
                char text[8];
                used += store_entry_cost(key_text(text, (unsigned)i), model->value_len);
                victim = victim < 0 || model->used_at < models[victim].used_at ? i : victim;
            }
        }
        if (used <= shard.budget) {
            return;
        }
        models[victim].is_there = false;
    }
}

static void put(unsigned key, size_t value_len, int64_t expires_ms, int64_t now_ms, uint64_t step)
{
    static const char value[1000];
    char text[8];
    size_t len = key_text(text, key);
    struct store_entry *old = find_key(key, now_ms);
    if (old != NULL) {
        store_shard_drop(&shard, old);
    }
    struct store_entry *made = store_entry_make(key / 3, text, len, value, value_len);
    made->expires_ms = expires_ms;
    store_shard_expire(&shard, now_ms, 1000); /* when exactly they go is not the model's concern */
    store_shard_add(&shard, made, now_ms);
    models[key].is_there = false;
    make_model_room(store_entry_cost(len, value_len), now_ms);
    models[key] = (struct model){true, expires_ms, step, value_len};
}

static void check(int64_t now_ms)
{
    assert_true(store_shard_is_valid(&shard));
    for (unsigned key = 0; key < KEYS; key++) {
        bool is_over = models[key].expires_ms != 0 && models[key].expires_ms <= now_ms;
        assert_int_equal(find_key(key, now_ms) != NULL, models[key].is_there && !is_over);
    }
    free_dropped();
}

static void random_steps_agree_with_a_model(void **state)
{
    (void)state;
    int64_t now_ms = 1000;
    memset(models, 0, sizeof models);
    assert_int_equal(store_shard_init(&shard, SIZE), 0);
    for (uint64_t step = 1; step <= STEPS; step++) {
        unsigned key = number(KEYS);
        struct store_entry *entry = find_key(key, now_ms);
        struct model *model = &models[key];
        switch (number(8)) {
        case 0:
        case 1:
        case 2:
            put(key, number(900), number(2) == 0 ? 0 : now_ms + number(200), now_ms, step);
            break;
        case 3:
        case 4:
            if (entry != NULL) {
                store_shard_touch(&shard, entry);
                model->used_at = step;
            }
            break;
        case 5:
            if (entry != NULL) {
                model->expires_ms = number(2) == 0 ? 0 : now_ms + number(200);
                store_shard_set_deadline(&shard, entry, model->expires_ms);
            }
            break;
        case 6:
            if (entry != NULL) {
                store_shard_drop(&shard, entry);
                model->is_there = false;
            }
            break;
        default:
            now_ms += number(20);
            break;
        }
        if (step % 5000 == 0) {
            assert_int_equal(store_shard_resize(&shard, step % 10000 == 0 ? SIZE : SIZE / 2, now_ms), 0);
            make_model_room(0, now_ms);
        }
        check(now_ms);
    }
    store_shard_done(&shard);
    assert_int_equal(fake_mem_live(), 0);
}

static void clearing_drops_everything_once(void **state)
{
    (void)state;
    memset(models, 0, sizeof models);
    assert_int_equal(store_shard_init(&shard, SIZE), 0);
    for (unsigned key = 0; key < 5; key++) {
        put(key, 10, key % 2 == 0 ? 0 : 2000, 1000, key + 1);
    }
    store_shard_drop(&shard, find_key(2, 1000));
    store_shard_clear(&shard);
    assert_true(store_shard_is_valid(&shard));
    assert_int_equal(shard.count, 0);
    free_dropped();
    store_shard_clear(&shard);
    put(7, 10, 0, 1000, 1);
    assert_non_null(find_key(7, 1000));
    store_shard_done(&shard);
    assert_int_equal(fake_mem_live(), 0);
}

static void entry_of_exactly_the_budget_fits(void **state)
{
    (void)state;
    static const char value[SIZE];
    assert_int_equal(store_shard_init(&shard, SIZE), 0);
    size_t most = (size_t)(shard.budget - store_entry_cost(1, 0));
    struct store_entry *made = store_entry_make(1, "k", 1, value, most);
    store_shard_add(&shard, made, 0);
    assert_int_equal(shard.used, shard.budget);
    made = store_entry_make(1, "j", 1, value, 0);
    store_shard_add(&shard, made, 0);
    assert_int_equal(shard.count, 1);
    assert_int_equal(shard.evicted, 1);
    store_shard_done(&shard);
    assert_int_equal(fake_mem_live(), 0);
}

static void short_memory_changes_nothing(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 2; n++) {
        fake_mem_fail_after(n, false);
        assert_int_equal(store_shard_init(&shard, SIZE), -ENOMEM);
        store_shard_done(&shard);
        assert_int_equal(fake_mem_live(), 0);
    }
    fake_mem_fail_after(0, false);
    memset(models, 0, sizeof models);
    assert_int_equal(store_shard_init(&shard, SIZE), 0);
    put(1, 10, 0, 0, 1);
    for (uint64_t n = 1; n <= 2; n++) {
        fake_mem_fail_after(n, false);
        assert_int_equal(store_shard_resize(&shard, 10 * SIZE, 0), -ENOMEM);
        assert_true(store_shard_is_valid(&shard));
        assert_non_null(find_key(1, 0));
    }
    fake_mem_fail_after(1, false);
    assert_null(store_entry_make(1, "k", 1, NULL, 0));
    fake_mem_fail_after(0, false);
    store_shard_done(&shard);
    assert_int_equal(fake_mem_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_steps_agree_with_a_model),
        cmocka_unit_test(clearing_drops_everything_once),
        cmocka_unit_test(entry_of_exactly_the_budget_fits),
        cmocka_unit_test(short_memory_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
