#ifndef EVSERVE_CORE_CRC32_H
#define EVSERVE_CORE_CRC32_H

/* CRC-32 as Ethernet, gzip and PNG have it: polynomial 0x04C11DB7, reflected. */

#include <stddef.h>
#include <stdint.h>

/* The checksum of len bytes. Any thread. */
uint32_t crc32_of(const void *bytes, size_t len);

#endif
