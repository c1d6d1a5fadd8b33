/* Two tables of sets, each of WAYS places; the hash of the credentials says which set.
 *
 * Failure modes: without memory or randomness there is no table, and the rule cannot be set up. */

#include "http/rules/verdicts.h"

#include "core/keyed_hash.h"
#include "core/mem.h"
#include "core/sys.h"
#include "http/rules/credentials.h"

#include <errno.h>
#include <string.h>

enum { VERDICT_WAYS = 4, VERDICT_SETS = VERDICTS_MAX / VERDICT_WAYS, VERDICT_TABLES = 2 };

struct verdict_place {
    uint64_t hashes[2];
    int64_t until_ms; /* 0: free */
};

struct verdicts {
    struct hash_key keys[2];
    struct verdict_place places[VERDICT_TABLES][VERDICT_SETS][VERDICT_WAYS]; /* right ones, wrong ones */
};

int verdicts_create(struct verdicts **made)
{
    struct verdicts *verdicts = mem_zalloc(sizeof *verdicts);
    if (verdicts == NULL) {
        return -ENOMEM;
    }
    int rv = sys_random(verdicts->keys, sizeof verdicts->keys);
    if (rv < 0) {
        mem_free(verdicts);
        return rv;
    }
    *made = verdicts;
    return 0;
}

void verdicts_destroy(struct verdicts *verdicts)
{
    if (verdicts != NULL) {
        explicit_bzero(verdicts, sizeof *verdicts);
        mem_free(verdicts);
    }
}

void verdicts_clear(struct verdicts *verdicts)
{
    memset(verdicts->places, 0, sizeof verdicts->places);
}

static void hash_credentials(const struct verdicts *verdicts, const struct credentials *credentials, uint64_t hashes[2])
{
    size_t len = credentials->name_len + 1 + credentials->password_len; /* with the NUL between them */
    for (int i = 0; i < 2; i++) {
        hashes[i] = keyed_hash(&verdicts->keys[i], credentials->text, len);
    }
}

static struct verdict_place *find_verdict_place(struct verdict_place set[VERDICT_WAYS], const uint64_t hashes[2])
{
    for (int i = 0; i < VERDICT_WAYS; i++) {
        if (set[i].hashes[0] == hashes[0] && set[i].hashes[1] == hashes[1]) {
            return &set[i];
        }
    }
    return NULL;
}

enum verdict verdicts_find(struct verdicts *verdicts, const struct credentials *credentials, int64_t now_ms)
{
    uint64_t hashes[2];
    hash_credentials(verdicts, credentials, hashes);
    for (int table = 0; table < VERDICT_TABLES; table++) {
        const struct verdict_place *place = find_verdict_place(verdicts->places[table][hashes[0] % VERDICT_SETS],
                                                               hashes);
        if (place != NULL && now_ms < place->until_ms) {
            return table == 0 ? VERDICT_RIGHT : VERDICT_WRONG;
        }
    }
    return VERDICT_UNKNOWN;
}

void verdicts_keep(struct verdicts *verdicts, const struct credentials *credentials, enum verdict verdict,
                   int64_t now_ms)
{
    uint64_t hashes[2];
    hash_credentials(verdicts, credentials, hashes);
    struct verdict_place *set = verdicts->places[verdict == VERDICT_RIGHT ? 0 : 1][hashes[0] % VERDICT_SETS];
    struct verdict_place *place = find_verdict_place(set, hashes);
    for (int i = 0; i < VERDICT_WAYS && place == NULL; i++) {
        bool is_oldest = true;
        for (int other = 0; other < VERDICT_WAYS; other++) {
            is_oldest = is_oldest && set[i].until_ms <= set[other].until_ms;
        }
        place = is_oldest ? &set[i] : NULL;
    }
    *place = (struct verdict_place){
        .hashes = {hashes[0], hashes[1]},
        .until_ms = now_ms + (int64_t)VERDICTS_TTL_S * 1000,
    };
}

size_t verdicts_number(const struct verdicts *verdicts, const char *name, size_t len)
{
    return (size_t)keyed_hash(&verdicts->keys[0], name, len);
}
