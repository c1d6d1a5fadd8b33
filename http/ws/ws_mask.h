#ifndef EVSERVE_HTTP_WS_MASK_H
#define EVSERVE_HTTP_WS_MASK_H

/* Unmasking the payload of frames (RFC 6455 section 5.3), with the widest vectors that the CPU has. No state; any
 * thread. */

#include <stddef.h>
#include <stdint.h>

typedef void ws_unmask_fn(char *data, size_t len, uint8_t mask[4]);

/* XOR the next len bytes of a payload with its mask, where they lie. mask is rotated, so that the call for the bytes
 * after these starts with the right one. No byte beyond len is read or written. */
void ws_unmask(char *data, size_t len, uint8_t mask[4]);

/* Every way to do so that this CPU has, for tests and benchmarks: the n-th with its name, or NULL. */
ws_unmask_fn *ws_unmask_variant(unsigned n, const char **name);

#endif
