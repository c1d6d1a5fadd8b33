/* A host and its parts, made and freed together. */

#include "http/vhost.h"

#include "http/router.h"
#include "http/rules/rules.h"
#include "http/static_mounts.h"

int vhost_init(struct vhost *vhost, struct file_cache *cache)
{
    int rv = router_create(&vhost->router);
    return rv < 0 ? rv : static_mounts_create(&vhost->mounts, cache);
}

void vhost_done(struct vhost *vhost)
{
    static_mounts_destroy(vhost->mounts);
    router_destroy(vhost->router);
    rules_destroy(vhost->rules);
}

void vhost_set_base(struct vhost *vhost, int base_fd)
{
    static_mounts_set_base(vhost->mounts, base_fd);
}

void vhost_abandon(struct vhost *vhost)
{
    static_mounts_abandon(vhost->mounts);
}
