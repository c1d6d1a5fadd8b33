/* Happy path: getrandom(2) gives up to 256 bytes at a time, whole.
 *
 * Failure modes: a signal interrupts it while it waits for the kernel's first bytes after boot: it is called again. A
 * filter of system calls refuses it: an error, never weaker bytes. */

#include "core/random.h"

#include "core/hex.h"
#include "core/sys.h"

#include <string.h>

enum { RANDOM_PIECE = 256 }; /* bytes for which sys_random() may be asked */

int random_fill(void *buf, size_t len)
{
    unsigned char *at = buf;
    for (size_t left = len; left > 0;) {
        size_t piece = left < RANDOM_PIECE ? left : RANDOM_PIECE;
        int rv = sys_random(at, piece);
        if (rv == -EINTR || rv == -EAGAIN) {
            continue;
        }
        if (rv < 0) {
            explicit_bzero(buf, len);
            return rv;
        }
        at += piece;
        left -= piece;
    }
    return 0;
}

int uuid_write(char text[UUID_TEXT], int version, int64_t wall_ms)
{
    static const size_t groups[] = {4, 2, 2, 2, 6}; /* bytes between the hyphens */
    unsigned char bytes[16];
    int rv = random_fill(bytes, sizeof bytes);
    if (rv < 0) {
        return rv;
    }
    if (version == 7) {
        for (int i = 0; i < 6; i++) {
            bytes[i] = (unsigned char)((uint64_t)wall_ms >> (40 - 8 * i));
        }
    }
    bytes[6] = (unsigned char)((bytes[6] & 0x0f) | version << 4);
    bytes[8] = (unsigned char)((bytes[8] & 0x3f) | 0x80); /* the variant */
    const unsigned char *from = bytes;
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        if (i > 0) {
            *text++ = '-';
        }
        hex_encode(from, groups[i], text);
        text += 2 * groups[i];
        from += groups[i];
    }
    return 0;
}
