#ifndef EVSERVE_LUA_REHEARSAL_H
#define EVSERVE_LUA_REHEARSAL_H

/* Files of tests: `evserve --test`. A file runs in a Lua state of its own, outside of the server's loop: its functions
 * let the loop turn while they wait. The rest is in prelude_test*.lua. */

#include "http/host/script_kind.h"

#include <stddef.h>

/* script_kind.test. */
int rehearsal_run(const struct script_stage *stage, const char *path, const char *only, char *err, size_t errlen);

#endif
