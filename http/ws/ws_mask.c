/* Unmasking. The mask is repeated to a word; a whole number of words leaves its phase as it is. */

#include "http/ws/ws_mask.h"

#include <string.h>

void ws_unmask(char *data, size_t len, uint8_t mask[4])
{
    uint64_t word;
    uint64_t wide;
    uint8_t turned[4];

    memcpy(&word, mask, 4);
    memcpy((char *)&word + 4, mask, 4);
    for (; len >= sizeof word; data += sizeof word, len -= sizeof word) {
        memcpy(&wide, data, sizeof wide);
        wide ^= word;
        memcpy(data, &wide, sizeof wide);
    }
    for (size_t i = 0; i < len; i++) {
        data[i] = (char)(data[i] ^ mask[i & 3]);
    }
    for (size_t i = 0; i < 4; i++) {
        turned[i] = mask[(i + len) & 3];
    }
    memcpy(mask, turned, 4);
}
