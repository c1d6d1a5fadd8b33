/* Password files and the credentials of clients (http/rules/htpasswd.c, credentials.c). The input is the value of an
 * Authorization field up to the first newline, and a file behind it, each flush against a page that must not be
 * touched. What is accepted is what a plain reading gives. */

#include "core/password_hash.h"
#include "http/rules/credentials.h"
#include "http/rules/htpasswd.h"
#include "tests/lib/fuzz.h"

#include <stdlib.h>
#include <string.h>

static void check_credentials(const char *value, size_t len)
{
    struct credentials credentials;
    if (!credentials_read(&credentials, value, len)) {
        return;
    }
    FUZZ_MUST(credentials.name == credentials.text && credentials.name_len > 0);
    FUZZ_MUST(strlen(credentials.name) == credentials.name_len && strchr(credentials.name, ':') == NULL);
    FUZZ_MUST(strlen(credentials.password) == credentials.password_len);
    FUZZ_MUST(credentials.password == credentials.name + credentials.name_len + 1);
    FUZZ_MUST(credentials.name_len + credentials.password_len < CREDENTIALS_MAX);
    FUZZ_MUST(credentials.name_len + 1 + credentials.password_len <= (len - 6) / 4 * 3 + 3);
}

/* Each line by itself: what is no comment and not blank is a user who is found, with the hash of that line. */
static void check_table(const struct htpasswd *table, const char *text, size_t len)
{
    size_t users = 0;
    for (size_t start = 0; start < len;) {
        const char *newline = memchr(text + start, '\n', len - start);
        size_t end = newline == NULL ? len : (size_t)(newline - text), next = end + 1;
        while (end > start && strchr(" \t\r", text[end - 1]) != NULL && text[end - 1] != '\0') {
            end--;
        }
        if (end > start && text[start] != '#') {
            const char *colon = memchr(text + start, ':', end - start);
            FUZZ_MUST(colon != NULL);
            size_t name_len = (size_t)(colon - text) - start;
            const char *hash = htpasswd_find(table, text + start, name_len);
            FUZZ_MUST(hash != NULL && memcmp(hash, colon + 1, strlen(hash)) == 0);
            size_t behind = start + name_len + 1 + strlen(hash);
            FUZZ_MUST(behind == end || text[behind] == ':');
            FUZZ_MUST(password_hash_check(hash, NULL, 0) == 0);
            users++;
        }
        start = next;
    }
    FUZZ_MUST(users == htpasswd_count(table));
    FUZZ_MUST((htpasswd_decoy(table, len) == NULL) == (users == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len > GUARDED_BYTES) {
        return 0;
    }
    const uint8_t *newline = len == 0 ? NULL : memchr(data, '\n', len);
    size_t value_len = newline == NULL ? len : (size_t)(newline - data);
    check_credentials(guarded_at_end(fuzz_guarded(), (const char *)data, value_len), value_len);
    if (newline != NULL) {
        size_t text_len = len - value_len - 1;
        const char *text = guarded_at_end(fuzz_guarded(), (const char *)newline + 1, text_len);
        struct htpasswd *table = NULL;
        char err[128];
        if (htpasswd_parse(&table, text, text_len, err, sizeof err) == 0) {
            check_table(table, text, text_len);
        } else {
            FUZZ_MUST(table == NULL && strncmp(err, "line ", 5) == 0);
        }
        htpasswd_put(table);
    }
    return 0;
}
