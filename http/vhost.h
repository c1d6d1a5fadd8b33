#ifndef EVSERVE_HTTP_VHOST_H
#define EVSERVE_HTTP_VHOST_H

/* What is served under one host name, or several: routes, mounted directories and what holds for all of them. A site
 * has a default host and perhaps others (http/site.h), made with their parts by http/vhost_parts.h. A host or a script fills it in before a server serves its site;
 * from then on it is only read. A request belongs to one of them (exchange->vhost). */

#include "http/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct access_log;
struct compress_options;
struct error_pages;
struct handler;
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

/* The limits of a host that has some of its own. */
struct vhost_limits {
    struct limits in_force; /* set by vhost_settle() */
    struct limits own;      /* as given for the host, where bits of is_own are set */
    uint64_t is_own;        /* set of 1 << row of limit_table */
};

struct vhost {
    struct router *router;           /* owned */
    struct static_mounts *mounts;    /* owned */
    struct rules *rules;             /* owned: what holds for requests before they are routed; NULL without any */
    struct error_pages *error_pages; /* owned: files in place of texts; NULL without any */
    const struct handler *no_route;  /* borrowed: responds where no route does (http/refusal.h); NULL: the server */
    const struct compress_options *compress; /* borrowed: own_compress, or that of the default host; NULL: nothing is */
    struct compress_options *own_compress;   /* owned: what is compressed on the fly; NULL: the host does not say */
    enum slash_policy trailing_slash;        /* of routes */
    bool has_slash;                          /* it was set for this host, else it is that of the default host */
    bool is_pinned;                          /* the program has set it: its names win over those of a script */
    bool is_unlogged;                        /* its requests are not in the access log */
    char *access_log;                        /* owned: where its own access log goes; NULL: to that of the site */
    char *access_format;                     /* owned: the format of its lines, valid; NULL: that of the site */
    struct access_log *access;               /* borrowed from http/access_hosts.h: its own; NULL: that of the site */
    struct vhost_limits *limits;             /* owned; NULL: those of the site */
    const char *name;                        /* borrowed from vhosts.h: the first one; NULL: the default host */
    char *where;                             /* owned: "site.lua:7", ""; NULL: the default host */
};

/* Set a limit that may differ from route to route, for all requests of the host. value is in its range. Returns 0 or
 * -ENOMEM. */
int vhost_set_limit(struct vhost *vhost, const struct limit_info *limit, uint64_t value);

/* Log its requests to target, which is copied, or not at all for "off"; NULL: to the log of the site. Returns 0 or
 * -ENOMEM. */
int vhost_set_access_log(struct vhost *vhost, const char *target);

/* In a format, which is checked and copied. Returns 0, or -ENOMEM or -EINVAL with a text in err. */
int vhost_set_access_format(struct vhost *vhost, const char *text, char *err, size_t errlen);

/* All is set: what the host leaves open is as in the default host, and as in limits, those of the site, which no longer
 * change. Returns 0, or -EINVAL with a text in err for limits that contradict each other. */
int vhost_settle(struct vhost *vhost, const struct vhost *default_host, const struct limits *limits, char *err,
                 size_t errlen);

/* The limits of its requests before a route is known. limits are those of the site. */
static inline const struct limits *vhost_limits(const struct vhost *vhost, const struct limits *limits)
{
    return vhost->limits == NULL ? limits : &vhost->limits->in_force;
}

#endif
