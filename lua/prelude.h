#ifndef EVSERVE_LUA_PRELUDE_H
#define EVSERVE_LUA_PRELUDE_H

/* lua/prelude.lua, embedded by the build byte for byte. */

#include <stddef.h>

extern const char evserve_prelude[];     /* NUL-terminated source text */
extern const size_t evserve_prelude_len; /* bytes without the NUL */

#endif
