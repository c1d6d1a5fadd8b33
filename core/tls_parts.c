/* Failure modes: none. */

#include "core/tls_parts.h"

#include "core/tls_pool.h"

#include <string.h>

#ifdef EVSERVE_HAS_TLS

void tls_parts_skip(struct tls_parts *parts, size_t len)
{
    parts->offset += len;
    while (parts->count > 0 && parts->offset >= parts->parts->iov_len) {
        parts->offset -= parts->parts->iov_len;
        parts->parts++;
        parts->count--;
    }
}

struct tls_piece tls_parts_next(struct tls_parts *parts, char *block)
{
    struct tls_piece piece = {0};
    tls_parts_skip(parts, 0);
    if (parts->count == 0) {
        return piece;
    }
    size_t left = parts->parts->iov_len - parts->offset;
    if (parts->count == 1 || left >= TLS_RECORD_BYTES) {
        piece.data = (const char *)parts->parts->iov_base + parts->offset;
        piece.len = left < TLS_RECORD_BYTES ? left : TLS_RECORD_BYTES;
        tls_parts_skip(parts, piece.len);
        return piece;
    }
    piece.data = block;
    while (parts->count > 0 && piece.len < TLS_RECORD_BYTES) {
        left = parts->parts->iov_len - parts->offset;
        size_t len = left < TLS_RECORD_BYTES - piece.len ? left : TLS_RECORD_BYTES - piece.len;
        memcpy(block + piece.len, (const char *)parts->parts->iov_base + parts->offset, len);
        piece.len += len;
        tls_parts_skip(parts, len);
    }
    return piece;
}

#endif
