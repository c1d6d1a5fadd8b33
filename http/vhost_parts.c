/* Composition of what is served under some host names. */

#include "http/vhost_parts.h"

#include "core/mem.h"
#include "http/compress_options.h"
#include "http/error_pages.h"
#include "http/router.h"
#include "http/rules/rules.h"
#include "http/static_mounts.h"
#include "http/vhost.h"

#include <errno.h>

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
    error_pages_destroy(vhost->error_pages);
    compress_options_destroy(vhost->own_compress);
    mem_free(vhost->access_log);
    mem_free(vhost->access_format);
    mem_free(vhost->limits);
    mem_free(vhost->where);
}

int vhost_create(struct vhost **vhost, struct file_cache *cache, const char *where)
{
    struct vhost *made = mem_zalloc(sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    made->where = mem_copy_text(where);
    if (made->where == NULL || vhost_init(made, cache) < 0) {
        vhost_destroy(made);
        return -ENOMEM;
    }
    *vhost = made;
    return 0;
}

void vhost_destroy(struct vhost *vhost)
{
    if (vhost != NULL) {
        vhost_done(vhost);
        mem_free(vhost);
    }
}

void vhost_set_base(const struct vhost *vhost, int base_fd)
{
    static_mounts_set_base(vhost->mounts, base_fd);
}

void vhost_abandon(const struct vhost *vhost)
{
    static_mounts_abandon(vhost->mounts);
    error_pages_abandon(vhost->error_pages);
}
