/* Happy path: the text is copied, its lines are cut into names and hashes in place, and sorted by name.
 *
 * Failure modes: a line that makes no user is an error, since an administrator who thinks that a user has a password,
 * or that an old one is gone, must not be wrong. */

#include "http/rules/htpasswd.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/password_hash.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { HTPASSWD_REASON_MAX = 256 };

struct htpasswd_user {
    const char *name, *hash; /* in text */
    size_t name_len;
    unsigned line; /* from 1 */
};

struct htpasswd {
    atomic_uint holders;
    char *text; /* owned copy; names and hashes end with NUL */
    size_t text_len;
    size_t count, capacity;
    struct htpasswd_user *users; /* owned; sorted by name */
};

struct htpasswd *htpasswd_get(struct htpasswd *table)
{
    atomic_fetch_add_explicit(&table->holders, 1, memory_order_relaxed);
    return table;
}

void htpasswd_put(struct htpasswd *table)
{
    if (table != NULL && atomic_fetch_sub_explicit(&table->holders, 1, memory_order_acq_rel) == 1) {
        if (table->text != NULL) {
            explicit_bzero(table->text, table->text_len);
        }
        mem_free(table->text);
        mem_free(table->users);
        mem_free(table);
    }
}

size_t htpasswd_count(const struct htpasswd *table)
{
    return table->count;
}

static int compare_user_names(const char *a, size_t a_len, const char *b, size_t b_len)
{
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
    return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

static int compare_users(const void *a, const void *b)
{
    const struct htpasswd_user *left = a, *right = b;
    int order = compare_user_names(left->name, left->name_len, right->name, right->name_len);
    return order != 0 ? order : (left->line > right->line) - (left->line < right->line);
}

const char *htpasswd_find(const struct htpasswd *table, const char *name, size_t len)
{
    size_t low = 0, high = table->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct htpasswd_user *user = &table->users[middle];
        int order = compare_user_names(name, len, user->name, user->name_len);
        if (order == 0) {
            return user->hash;
        }
        low = order > 0 ? middle + 1 : low;
        high = order > 0 ? high : middle;
    }
    return NULL;
}

const char *htpasswd_decoy(const struct htpasswd *table, size_t n)
{
    return table->count == 0 ? NULL : table->users[n % table->count].hash;
}

/* Room for one more user. Returns 0, -E2BIG or -ENOMEM. */
static int make_user_room(struct htpasswd *table)
{
    if (table->count < table->capacity) {
        return 0;
    }
    if (table->count == HTPASSWD_USERS_MAX) {
        return -E2BIG;
    }
    size_t capacity = table->capacity == 0 ? 16 : table->capacity * 2;
    struct htpasswd_user *users = mem_resize(table->users, capacity * sizeof *users);
    if (users == NULL) {
        return -ENOMEM;
    }
    table->users = users;
    table->capacity = capacity < HTPASSWD_USERS_MAX ? capacity : HTPASSWD_USERS_MAX;
    return 0;
}

/* A line that is not empty: ends with NUL, len bytes, in the table's own text. */
static int add_user(struct htpasswd *table, char *line, size_t len, unsigned number, char *err, size_t errlen)
{
    char reason[HTPASSWD_REASON_MAX];
    char *colon = memchr(line, ':', len);
    if (strlen(line) != len) {
        return error_text(err, errlen, -EINVAL, "line %u: it contains a NUL byte", number);
    }
    if (colon == NULL || colon == line) {
        return error_text(err, errlen, -EINVAL,
                          "line %u: a name, a colon and a hash expected, as \"htpasswd\" writes them", number);
    }
    size_t name_len = (size_t)(colon - line);
    if (name_len > HTPASSWD_NAME_MAX) {
        return error_text(err, errlen, -EINVAL, "line %u: the name is longer than %d bytes", number, HTPASSWD_NAME_MAX);
    }
    char *hash = colon + 1, *comment = strchr(hash, ':');
    if (comment != NULL) {
        *comment = '\0';
    }
    *colon = '\0';
    int rv = password_hash_check(hash, reason, sizeof reason);
    if (rv < 0) {
        return error_text(err, errlen, rv, "line %u, user \"%.64s\": %s", number, line, reason);
    }
    rv = make_user_room(table);
    if (rv < 0) {
        return rv == -E2BIG ? error_text(err, errlen, rv, "line %u: more than %d users", number, HTPASSWD_USERS_MAX)
                            : error_text(err, errlen, rv, "%s", errno_text(-rv));
    }
    table->users[table->count++] =
        (struct htpasswd_user){.name = line, .hash = hash, .name_len = name_len, .line = number};
    return 0;
}

static int add_lines(struct htpasswd *table, char *err, size_t errlen)
{
    char *end = table->text + table->text_len;
    unsigned number = 1;
    int rv = 0;
    for (char *line = table->text, *next; rv == 0 && line < end; line = next, number++) {
        char *newline = memchr(line, '\n', (size_t)(end - line));
        char *stop = newline == NULL ? end : newline;
        next = stop + 1;
        while (stop > line && (stop[-1] == '\r' || stop[-1] == ' ' || stop[-1] == '\t')) {
            stop--;
        }
        *stop = '\0'; /* there is room for that behind the text */
        if (stop > line && *line != '#') {
            rv = add_user(table, line, (size_t)(stop - line), number, err, errlen);
        }
    }
    return rv;
}

/* A name that stands there twice would have two passwords, or one that is no longer meant. */
static int check_names(const struct htpasswd *table, char *err, size_t errlen)
{
    for (size_t i = 1; i < table->count; i++) {
        const struct htpasswd_user *before = &table->users[i - 1], *user = &table->users[i];
        if (compare_user_names(before->name, before->name_len, user->name, user->name_len) == 0) {
            return error_text(err, errlen, -EINVAL, "line %u: user \"%.64s\" is in line %u, too", user->line,
                              user->name, before->line);
        }
    }
    return 0;
}

int htpasswd_parse(struct htpasswd **made, const char *text, size_t len, char *err, size_t errlen)
{
    struct htpasswd *table = mem_zalloc(sizeof *table);
    if (table == NULL) {
        return error_text(err, errlen, -ENOMEM, "%s", errno_text(ENOMEM));
    }
    atomic_init(&table->holders, 1);
    table->text = mem_alloc(len + 1);
    table->text_len = len;
    if (table->text == NULL) {
        htpasswd_put(table);
        return error_text(err, errlen, -ENOMEM, "%s", errno_text(ENOMEM));
    }
    if (len > 0) {
        memcpy(table->text, text, len);
    }
    table->text[len] = '\0';
    int rv = add_lines(table, err, errlen);
    if (rv == 0 && table->count > 0) {
        qsort(table->users, table->count, sizeof table->users[0], compare_users);
        rv = check_names(table, err, errlen);
    }
    if (rv < 0) {
        htpasswd_put(table);
        return rv;
    }
    *made = table;
    return 0;
}
