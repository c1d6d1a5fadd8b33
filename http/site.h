#ifndef EVSERVE_HTTP_SITE_H
#define EVSERVE_HTTP_SITE_H

/* What a server serves: limits, host names with their routes and mounted directories (http/vhost.h), the file cache. A
 * host or a script fills it in before a server serves it; from then on it is only read. A server may go on to another
 * site; requests that began with the old one finish with it, and pin it until then. */

#include "http/hsts.h"
#include "http/limits.h"
#include "http/vhosts.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct access_hosts;
struct acme;
struct file_cache;
struct file_replies;
struct limiter;
struct log;
struct metrics_hosts;
struct destinations;
struct trusted_proxies;

struct site {
    struct limits limits;                /* defaults, until changed */
    struct vhost default_host;           /* what names get that are not those of another host */
    struct vhosts *hosts;                /* owned, with the others in it; NULL: there are none */
    int unknown_host;                    /* if there are: the status for all other names; 0: the default host's */
    struct file_cache *cache;            /* owned; reads limits when it is used */
    struct file_replies *replies;        /* owned: files that handlers respond with */
    struct acme *acme;                   /* owned: challenges of a certificate authority; NULL without them */
    struct hsts hsts;                    /* of responses over TLS */
    char *access_log;                    /* owned: where the access log goes; NULL: the script does not say */
    char *access_format;                 /* owned: its format, valid; NULL: the usual one */
    struct access_hosts *access_hosts;   /* owned: the logs of hosts that have their own; NULL: none has */
    bool has_metrics;                    /* one of its routes shows metrics, so requests are counted by route */
    struct metrics_hosts *metrics_hosts; /* owned: and by host, those that are listed; NULL: by none */
    struct limiter *limiter;             /* borrowed: what limits of requests count; NULL: there are none */
    int base_fd;                         /* borrowed: where relative names start, see sys_base() */
    uint32_t pins;                       /* exchanges that use it */
    void (*on_unpinned)(void *arg); /* the last exchange let go of a site that its server has left; may be NULL. Called
                                     * deep inside of that server: the site must live until the end of the tick */
    void *on_unpinned_arg;

    struct destinations *denied;     /* owned: servers that may not be connected with; NULL: all may be */
    char *broker;                    /* owned: URL of what carries topics between machines; NULL: nothing does */
    struct trusted_proxies *trusted; /* owned: whose word counts; NULL: nobody's */
    uint8_t forwarded;               /* FORWARDED_BY_... bits: which of their fields say who the client is */
    bool strips_forwarded;           /* such fields that do not count are taken out of requests */
};

/* The hosts of a site: the default one for 0, then the others as they were added, NULL behind the last. */
static inline const struct vhost *site_host(const struct site *site, size_t n)
{
    return n == 0 ? &site->default_host : vhosts_get(site->hosts, n - 1);
}

/* Whether the site, one of its hosts or one of its routes has a log_slow (http/slow_log.h). */
bool site_logs_slow(const struct site *site);

#endif
