/* Happy path: access_hosts_settle() when a site is complete, access_hosts_open() for each log on the thread that is going
 * to serve it; from then on access_log_exchange() finds them in exchange->vhost.
 *
 * Failure modes: a log too many is a text that names the host. A log without memory is left out, and the lines of its
 * hosts are in that of the site. */

#include "http/access_hosts.h"

#include "core/log.h"
#include "core/mem.h"
#include "http/access_format.h"
#include "http/access_log.h"
#include "http/site.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *text_or(const char *text, const char *otherwise)
{
    return text == NULL ? otherwise : text;
}

static bool has_same_text(const char *a, const char *b)
{
    return strcmp(text_or(a, ""), text_or(b, "")) == 0;
}

/* The format that a host has: its own, the site's, or the usual one. */
static const char *format_of(const struct site *site, const struct vhost *vhost)
{
    return text_or(vhost->access_format, text_or(site->access_format, "combined"));
}

const char *access_hosts_target(const struct site *site, const struct vhost *vhost)
{
    bool has_own = !vhost->is_unlogged && (vhost->access_log != NULL || vhost->access_format != NULL);
    const char *target = has_own ? text_or(vhost->access_log, site->access_log) : NULL;
    if (target == NULL || strcmp(target, "off") == 0 ||
        (has_same_text(target, site->access_log) &&
         has_same_text(format_of(site, vhost), text_or(site->access_format, "combined")))) {
        return NULL;
    }
    return target;
}

int access_hosts_blame(const struct access_host *host, int rv, const char *why, char *err, size_t errlen)
{
    const struct vhost *vhost = host->first;
    return error_text(err, errlen, rv, "%s%sthe host %s: %s", vhost->where, vhost->where[0] == '\0' ? "" : ": ",
                      text_or(vhost->name, ""), why);
}

static struct access_host *find_log(struct access_hosts *hosts, const char *target, const char *text)
{
    for (size_t i = 0; i < hosts->count; i++) {
        if (has_same_text(hosts->list[i].target, target) && has_same_text(hosts->list[i].text, text)) {
            return &hosts->list[i];
        }
    }
    return NULL;
}

/* Add the log of a host, unless another one has it, too. Returns as access_hosts_settle(). */
static int add_log(struct access_hosts *hosts, const struct access_host *wanted, char *err, size_t errlen)
{
    char why[512];
    if (find_log(hosts, wanted->target, wanted->text) != NULL) {
        return 0;
    }
    if (hosts->count == ACCESS_HOSTS_MAX) {
        snprintf(why, sizeof why,
                 "its access log %.200s is one too many: hosts have at most %d different ones; let several write to "
                 "one file, with $host in its format",
                 wanted->target, (int)ACCESS_HOSTS_MAX);
        return access_hosts_blame(wanted, -ENOSPC, why, err, errlen);
    }
    struct access_host made = *wanted;
    int rv = access_format_parse(&made.format, made.text, why, sizeof why);
    if (rv < 0) { /* it is valid */
        return error_text(err, errlen, rv, "%s", why);
    }
    hosts->list[hosts->count++] = made;
    return 0;
}

int access_hosts_settle(struct access_hosts **hosts, const struct site *site, char *err, size_t errlen)
{
    struct access_hosts *made = NULL;
    const struct vhost *vhost;
    int rv = 0;
    for (size_t n = 1; rv == 0 && (vhost = site_host(site, n)) != NULL; n++) {
        const struct access_host wanted = {.target = access_hosts_target(site, vhost),
                                           .text = format_of(site, vhost),
                                           .first = vhost};
        if (wanted.target == NULL) {
            continue;
        }
        made = made == NULL ? mem_zalloc(sizeof *made) : made;
        rv = made == NULL ? error_text(err, errlen, -ENOMEM, "cannot start: %s", errno_text(ENOMEM))
                          : add_log(made, &wanted, err, errlen);
    }
    if (rv < 0) {
        access_hosts_destroy(made);
        return rv;
    }
    *hosts = made;
    return 0;
}

void access_hosts_destroy(struct access_hosts *hosts)
{
    for (size_t i = 0; hosts != NULL && i < hosts->count; i++) {
        access_log_destroy(hosts->list[i].log);
        access_format_put(hosts->list[i].format);
    }
    mem_free(hosts);
}

int access_hosts_open(struct site *site, struct access_host *host, struct access_file *file, struct reactor *reactor)
{
    struct access_log *log;
    int rv = access_log_create(&log, reactor);
    if (rv < 0) {
        return rv;
    }
    rv = access_log_change(log, file, host->format);
    if (rv < 0) {
        access_log_destroy(log);
        return rv;
    }
    host->log = log;
    struct vhost *vhost;
    for (size_t n = 0; (vhost = vhosts_get(site->hosts, n)) != NULL; n++) {
        if (has_same_text(access_hosts_target(site, vhost), host->target) &&
            has_same_text(format_of(site, vhost), host->text)) {
            vhost->access = log;
        }
    }
    return 0;
}

void access_hosts_flush(struct access_hosts *hosts)
{
    for (size_t i = 0; hosts != NULL && i < hosts->count; i++) {
        if (hosts->list[i].log != NULL) {
            access_log_flush(hosts->list[i].log);
        }
    }
}

bool access_hosts_are_timed(const struct access_hosts *hosts)
{
    bool is_timed = false;
    for (size_t i = 0; hosts != NULL && i < hosts->count; i++) {
        is_timed = is_timed || hosts->list[i].format->is_timed;
    }
    return is_timed;
}
