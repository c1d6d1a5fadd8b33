#ifndef EVSERVE_HTTP_VHOST_H
#define EVSERVE_HTTP_VHOST_H

/* What is served under one host name, or several: routes, mounted directories and what holds for all of them. A site
 * has a default host and perhaps others (http/site.h). A host or a script fills it in before a server serves its site;
 * from then on it is only read. A request belongs to one of them (exchange->vhost). */

struct file_cache;
struct router;
struct rules;
struct static_mounts;

/* What a path is that no route fits, but would with a slash at its end, or without the one it has. Static files and
 * paths that fit a route as they are do not care. */
enum slash_policy {
    SLASH_STRICT,   /* another path */
    SLASH_REDIRECT, /* a request to be sent there */
    SLASH_IGNORE,   /* the same path */
};

struct vhost {
    struct router *router;            /* owned */
    struct static_mounts *mounts;     /* owned */
    struct rules *rules;              /* owned: what holds for requests before they are routed; NULL without any */
    enum slash_policy trailing_slash; /* of routes */
};

/* Make an empty one of zeros. The cache is where its files come from: it is borrowed and must outlive it. Returns 0, or
 * -ENOMEM; vhost_done() is due in any case. */
int vhost_init(struct vhost *vhost, struct file_cache *cache);

/* Free what it holds. No server may use it any more. One of zeros is allowed. */
void vhost_done(struct vhost *vhost);

/* Relative directories start at base_fd, which is borrowed: see sys_base(). Before directories are added. */
void vhost_set_base(struct vhost *vhost, int base_fd);

/* In a forked child: close the fds of its files and leave everything else as it is. */
void vhost_abandon(struct vhost *vhost);

#endif
