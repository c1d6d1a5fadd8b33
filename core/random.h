#ifndef EVSERVE_CORE_RANDOM_H
#define EVSERVE_CORE_RANDOM_H

/* Bytes that nobody can predict, from the kernel: fit for keys, salts and ids. No allocation; any thread. */

#include <stddef.h>
#include <stdint.h>

/* Fill buf with len of them. Returns 0, or -errno with buf cleared: never a part. While the kernel has gathered too
 * little at boot, this waits. */
int random_fill(void *buf, size_t len);

enum { UUID_TEXT = 36 }; /* characters of a UUID */

/* Write a UUID (RFC 9562) of version 4, which is random, or 7, which begins with the time, so that later ones are greater
 * (to the millisecond). wall_ms is sys_wall_time_ms(); version 4 ignores it. There is no NUL. Returns 0, or -errno as
 * random_fill() does. */
int uuid_write(char text[UUID_TEXT], int version, int64_t wall_ms);

#endif
