#include "core/keyed_hash.h"

#include <string.h>

struct sip_state {
    uint64_t v[4];
};

static inline uint64_t turn_left(uint64_t word, unsigned bits)
{
    return word << bits | word >> (64 - bits);
}

static inline void sip_round(struct sip_state *state)
{
    uint64_t *v = state->v;
    v[0] += v[1];
    v[2] += v[3];
    v[1] = turn_left(v[1], 13) ^ v[0];
    v[3] = turn_left(v[3], 16) ^ v[2];
    v[0] = turn_left(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = turn_left(v[1], 17) ^ v[2];
    v[3] = turn_left(v[3], 21) ^ v[0];
    v[2] = turn_left(v[2], 32);
}

static inline void sip_take(struct sip_state *state, uint64_t word)
{
    state->v[3] ^= word;
    sip_round(state);
    state->v[0] ^= word;
}

/* Words are taken in the machine's order of bytes: hashes are not kept. */
uint64_t keyed_hash(const struct hash_key *key, const char *text, size_t len)
{
    struct sip_state state = {{
        key->words[0] ^ UINT64_C(0x736f6d6570736575),
        key->words[1] ^ UINT64_C(0x646f72616e646f6d),
        key->words[0] ^ UINT64_C(0x6c7967656e657261),
        key->words[1] ^ UINT64_C(0x7465646279746573),
    }};
    size_t i = 0;
    for (; len - i >= sizeof(uint64_t); i += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, text + i, sizeof word);
        sip_take(&state, word);
    }
    uint64_t last = (uint64_t)len << 56;
    for (unsigned shift = 0; i < len; i++, shift += 8) {
        last |= (uint64_t)(unsigned char)text[i] << shift;
    }
    sip_take(&state, last);
    state.v[2] ^= 0xff;
    for (int i_round = 0; i_round < 3; i_round++) {
        sip_round(&state);
    }
    return state.v[0] ^ state.v[1] ^ state.v[2] ^ state.v[3];
}
