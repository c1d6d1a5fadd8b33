#ifndef EVSERVE_HTTP_VHOST_PARTS_H
#define EVSERVE_HTTP_VHOST_PARTS_H

/* A host (http/vhost.h) and its parts, made and freed together. */

struct file_cache;
struct vhost;

/* Make an empty one of zeros. The cache is where its files come from: it is borrowed and must outlive it. Returns 0, or
 * -ENOMEM; vhost_done() is due in any case. */
int vhost_init(struct vhost *vhost, struct file_cache *cache);

/* Free what it holds. No server may use it any more. One of zeros is allowed. */
void vhost_done(struct vhost *vhost);

/* The same for one on the heap. where is copied: "site.lua:7", or "". Returns 0 or -ENOMEM. NULL may be destroyed. */
int vhost_create(struct vhost **vhost, struct file_cache *cache, const char *where);
void vhost_destroy(struct vhost *vhost);

/* Relative directories start at base_fd, which is borrowed: see sys_base(). Before directories are added. */
void vhost_set_base(const struct vhost *vhost, int base_fd);

/* In a forked child: close the fds of its files and leave everything else as it is. */
void vhost_abandon(const struct vhost *vhost);

#endif
