#ifndef EVSERVE_LUA_EVENTS_H
#define EVSERVE_LUA_EVENTS_H

/* The functions that app.on() was given for "start", "stopping", "stop" and "memory". */

#include "lua/state.h"

/* From now on a state that is full asks the functions of "memory". */
void events_init(struct script *script);

/* Call those of "start", until one fails. Returns 0, or -EINVAL with a text in err. */
int events_start(struct script *script, char *err, size_t errlen);

/* Call those of REF_STOPPING, REF_STOP or REF_MEMORY. One that fails is logged, and does not take the others with
 * it. */
void events_call(struct script *script, enum script_ref event);

#endif
