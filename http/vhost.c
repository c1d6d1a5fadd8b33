/* What a host leaves open is as in the default host, and as in the limits of its site. */

#include "http/vhost.h"

#include "core/log.h"
#include "core/mem.h"

#include <errno.h>

_Static_assert(sizeof(struct limits) / sizeof(uint64_t) <= 64, "is_own has a bit for each limit");

int vhost_set_limit(struct vhost *vhost, const struct limit_info *limit, uint64_t value)
{
    if (vhost->limits == NULL) {
        vhost->limits = mem_zalloc(sizeof *vhost->limits);
    }
    if (vhost->limits == NULL) {
        return -ENOMEM;
    }
    (void)limits_set(&vhost->limits->own, limit, value, NULL, 0);
    vhost->limits->is_own |= (uint64_t)1 << (limit - limit_table);
    return 0;
}

int vhost_settle(struct vhost *vhost, const struct vhost *default_host, const struct limits *limits, char *err,
                 size_t errlen)
{
    char text[512];
    struct vhost_limits *own = vhost->limits;
    if (!vhost->has_slash) {
        vhost->trailing_slash = default_host->trailing_slash;
    }
    if (own == NULL) {
        return 0;
    }
    own->in_force = *limits;
    for (size_t i = 0; i < limit_table_len; i++) {
        if ((own->is_own >> i & 1) != 0) {
            (void)limits_set(&own->in_force, &limit_table[i], limits_get(&own->own, &limit_table[i]), NULL, 0);
        }
    }
    if (limits_check(&own->in_force, text, sizeof text) < 0) {
        return error_text(err, errlen, -EINVAL, "%s%slimits of the host %s: %s", vhost->where,
                          vhost->where[0] == '\0' ? "" : ": ", vhost->name == NULL ? "" : vhost->name, text);
    }
    return 0;
}
