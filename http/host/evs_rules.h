#ifndef EVSERVE_HTTP_HOST_EVS_RULES_H
#define EVSERVE_HTTP_HOST_EVS_RULES_H

/* A host's rules (struct evs_rule of evserve.h): copies that outlive the host's own, and rules of a site. */

#include <stddef.h>

struct evs_block;
struct evs_rule;
struct rules;

/* Copy rules, ended by a NULL prefix, with all that they point to. Returns NULL while the block is measured. */
struct evs_rule *evs_rules_put(struct evs_block *block, const struct evs_rule *rules);

/* The same into a block of their own, to be freed with mem_free(). NULL without memory. */
struct evs_rule *evs_rules_copy(const struct evs_rule *rules);

/* Add rules. name is where they come from, for errors: "evserve_config.rules". Relative files start at base_fd,
 * which is borrowed (sys_base()). Returns 0, or -errno with a text in err
 * that names the member; some of them may then be there. */
int evs_rules_add(struct rules **added, const struct evs_rule *rules, int base_fd, const char *name, char *err,
                  size_t errlen);

#endif
