/* What a host leaves open is as in the default host, and as in the limits of its site. */

#include "http/vhost.h"

#include "core/log.h"
#include "core/mem.h"
#include "http/access_format.h"

#include <errno.h>
#include <string.h>

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

int vhost_set_access_log(struct vhost *vhost, const char *target)
{
    bool is_off = target != NULL && strcmp(target, "off") == 0;
    char *copy = target == NULL || is_off ? NULL : mem_copy_text(target);
    if (target != NULL && !is_off && copy == NULL) {
        return -ENOMEM;
    }
    mem_free(vhost->access_log);
    vhost->access_log = copy;
    vhost->is_unlogged = is_off;
    return 0;
}

int vhost_set_access_format(struct vhost *vhost, const char *text, char *err, size_t errlen)
{
    struct access_format *format;
    int rv = access_format_parse(&format, text, err, errlen);
    if (rv < 0) {
        return rv;
    }
    access_format_put(format);
    char *copy = mem_copy_text(text);
    if (copy == NULL) {
        return error_text(err, errlen, -ENOMEM, "%s", errno_text(ENOMEM));
    }
    mem_free(vhost->access_format);
    vhost->access_format = copy;
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
    vhost->compress = vhost->own_compress != NULL ? vhost->own_compress : default_host->own_compress;
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
