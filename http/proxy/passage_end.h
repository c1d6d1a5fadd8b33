#ifndef EVSERVE_HTTP_PASSAGE_END_H
#define EVSERVE_HTTP_PASSAGE_END_H

/* Memory of passages, and how they end. */

#include <stddef.h>

struct exchange;
struct passage;
struct proxy;

/* Take a passage, zeroed except for its proxy; NULL without memory. Give it back when its link is no longer its own. */
struct passage *passage_take(struct proxy *proxy);
void passage_put(struct passage *passage);

/* Free the memory that is kept for passages. None may be under way. */
void passages_done(struct proxy *proxy);

/* Close its link, if it has one. */
void passage_close_link(struct passage *passage);

/* Part with exchange and upstream. Returns the exchange, for the last word; the passage is gone. */
struct exchange *passage_end(struct passage *passage);

/* The same: there will be no response of an upstream, so the client gets this status; or no more of it. */
void passage_fail(struct passage *passage, int status, const char *detail);
void passage_lack_memory(struct passage *passage);

#endif
