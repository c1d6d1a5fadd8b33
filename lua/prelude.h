#ifndef EVSERVE_LUA_PRELUDE_H
#define EVSERVE_LUA_PRELUDE_H

/* lua/prelude*.lua, embedded by the build byte for byte. */

#include <stddef.h>

struct prelude_part {
    const char *text; /* NUL-terminated source text; NULL behind the last part */
    size_t len;       /* bytes without the NUL */
};

/* In the order in which they run: in a script's state, in that of a worker's thread, and when a script first requires
 * "ngx". */
extern const struct prelude_part evserve_prelude[];
extern const struct prelude_part evserve_worker_prelude[];
extern const struct prelude_part evserve_ngx_prelude[];

/* In the state of a file of tests: rehearsal.h. */
extern const struct prelude_part evserve_test_prelude[];

/* prelude_redis*.lua: bind_redis.h. */
extern const struct prelude_part evserve_redis_prelude[];

/* prelude_template*.lua: bind_template.h. */
extern const struct prelude_part evserve_template_prelude[];

/* prelude_session.lua: bind_session.h. */
extern const struct prelude_part evserve_session_prelude[];

/* prelude_store.lua: bind_store.h. */
extern const struct prelude_part evserve_compiled_prelude[];

#endif
