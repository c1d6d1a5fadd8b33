#ifndef EVSERVE_CORE_KEYED_HASH_H
#define EVSERVE_CORE_KEYED_HASH_H

/* A hash for tables whose keys clients choose: SipHash-1-3. Without the key nobody can find texts whose hashes collide,
 * which would make every look into the table slow. No state; any thread. */

#include <stddef.h>
#include <stdint.h>

struct hash_key {
    uint64_t words[2]; /* random: sys_random() */
};

uint64_t keyed_hash(const struct hash_key *key, const char *text, size_t len);

#endif
