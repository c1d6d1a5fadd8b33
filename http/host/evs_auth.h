#ifndef EVSERVE_HTTP_HOST_EVS_AUTH_H
#define EVSERVE_HTTP_HOST_EVS_AUTH_H

/* Names and passwords, and error pages, as a host asks for them: struct evs_rule and struct evs_error_page of
 * evserve.h. */

#include <stddef.h>

struct evs_block;
struct evs_error_page;
struct evs_rule;
struct rules;
struct vhost;

/* Make a rule of basic_auth or authenticate of a struct evs_rule; what authenticate_arg points to is borrowed. A
 * relative file starts at base_fd, which is borrowed (sys_base()). Returns 0, or -errno with a text in err, without the
 * name of the member. */
int evs_auth_add(struct rules **rules, const struct evs_rule *rule, int base_fd, char *err, size_t errlen);

/* Copy pages, ended by NULL statuses, into a block (http/host/evs_block.h): NULL while it has no memory. */
struct evs_error_page *evs_error_pages_put(struct evs_block *block, const struct evs_error_page *pages);

/* The same in memory of their own, to be freed with mem_free(). NULL without memory. */
struct evs_error_page *evs_error_pages_copy(const struct evs_error_page *pages);

/* Set the pages of a host. name is where they come from, for texts: "evserve_config.error_pages". Returns 0, or -errno
 * with a text in err. */
struct file_cache;
int evs_error_pages_add(struct vhost *vhost, struct file_cache *cache, int base_fd, const struct evs_error_page *pages,
                        const char *name, char *err, size_t errlen);

#endif
