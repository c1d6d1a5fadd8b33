#ifndef EVSERVE_HTTP_SITE_PARTS_H
#define EVSERVE_HTTP_SITE_PARTS_H

/* A site and its parts, made and freed together. */

#include <stddef.h>

struct log;
struct site;
struct vhost;

/* Make an empty site with default limits. log is borrowed, may be NULL. Returns 0 or -ENOMEM. */
int site_create(struct site **site, const struct log *log);

/* Free it; no server may use it any more. NULL is allowed. */
void site_destroy(struct site *site);

/* Add a host that is empty. where, copied, is where it was asked for: "site.lua:7", or "". It is served when it has
 * names (vhosts_add_name()). Returns 0 or -ENOMEM. */
int site_add_host(struct site *site, const char *where, struct vhost **made);

/* The limits of the site no longer change: settle those of its hosts. Returns 0, or -EINVAL with a text in err. */
int site_settle_hosts(struct site *site, char *err, size_t errlen);

/* Names of directories that are relative start at the directory base_fd, which is borrowed, and not at the working
 * directory of the moment: see sys_base(). Before the site is filled. */
void site_set_base(struct site *site, int base_fd);

/* Serve the challenges in a directory (http/acme.h), in place of those in another one. The name is copied. Returns 0 or
 * -ENOMEM. */
int site_set_acme(struct site *site, const char *directory);

/* Whom to believe (http/trusted_proxies.h), in place of those named before. Returns 0, -ENOMEM, or -EINVAL with a text
 * in err. */
int site_set_trusted_proxies(struct site *site, const char *text, char *err, size_t errlen);

/* Which of their fields say who the client is (http/forwarded.h). Returns 0, or -EINVAL with a text in err. */
int site_set_forwarded(struct site *site, const char *text, char *err, size_t errlen);

/* Which other servers may not be connected with (core/destinations.h), in place of those named before. Returns
 * likewise. */
int site_set_deny_connect(struct site *site, const char *text, char *err, size_t errlen);

/* What carries topics between machines (core/broker.h), in place of what was named before. Returns 0, -ENOMEM, or
 * -EINVAL or -ENOTSUP with a text in err. */
int site_set_broker(struct site *site, const char *url, char *err, size_t errlen);

/* Where the access log goes, and its format, which is checked. Both are copied. Return 0, or -ENOMEM, or -EINVAL with a
 * text in err that says what is wrong with the format. */
int site_set_access_log(struct site *site, const char *target);
int site_set_access_format(struct site *site, const char *text, char *err, size_t errlen);

/* No access log, of no host either, whatever was set before. Returns 0 or -ENOMEM. */
int site_silence(struct site *site);

/* In a process forked from the site's: close the fds of its files, and leave everything else as it is. */
void site_abandon(struct site *site);

#endif
