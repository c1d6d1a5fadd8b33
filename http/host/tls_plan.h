#ifndef EVSERVE_HTTP_HOST_TLS_PLAN_H
#define EVSERVE_HTTP_HOST_TLS_PLAN_H

/* What a script, or a host, asks for by way of TLS: certificates and settings, as texts, before a file is read. A
 * context for the listeners is made of it at the start, at each reload, and when a file has changed. One thread at a
 * time. */

#include "core/tls_certificate.h"
#include "core/tls_settings.h"

#include <stdbool.h>
#include <stddef.h>

struct log;
struct tls_context;

enum { TLS_CERTIFICATES_MAX = 256 }; /* of one plan */

struct tls_plan {
    struct tls_settings settings;         /* NULL: not asked for */
    struct tls_certificate *certificates; /* count of them; the first one is the default */
    char **places;                        /* for each of them: where it was asked for, "site.lua:3", or NULL */
    size_t count;
};

/* Begin with nothing; and free it. Keys are erased from memory first. */
void tls_plan_init(struct tls_plan *plan);
void tls_plan_done(struct tls_plan *plan);

/* Add a copy of a certificate. place, or NULL, begins the error texts of it. Returns 0, -EINVAL for members that
 * contradict each other, -ENOSPC or -ENOMEM, with a text in err. */
int tls_plan_add(struct tls_plan *plan, const struct tls_certificate *certificate, const char *place, char *err,
                 size_t errlen);

/* Set the settings that are not NULL, copied; those that are stay as they are. Returns 0, -EINVAL, -EEXIST for one
 * that has another value already, or -ENOMEM, with a text in err that names the setting. */
int tls_plan_set(struct tls_plan *plan, const struct tls_settings *settings, char *err, size_t errlen);

/* Fill an empty plan with copies: the certificates of host, or, if it has none, those of script; and each setting of
 * host, or else that of script. script may be NULL. Returns 0, or -ENOMEM with a plan to be freed all the same. */
int tls_plan_join(struct tls_plan *plan, const struct tls_plan *host, const struct tls_plan *script);

/* The context that another one takes the place of. */
struct tls_former {
    const struct tls_plan *plan; /* what it was made of; borrowed */
    struct tls_context *context; /* borrowed */
    bool is_reload;              /* read all files, not only those that have changed (tls_context_is_stale()) */
    bool is_confined;            /* the sandbox is in force: it may be why a file cannot be read */
    size_t renewed;              /* what came of it: certificates that were read, */
    size_t named;                /* those of them that are others now, with a line in the log each, */
    size_t kept;                 /* and those whose files could not be used, so that what was read before stays */
};

/* Make a context: read the files. former, or NULL, gives its ticket keys, and stands in for each certificate of plan
 * that it has, too, and whose files cannot be used: the log says why, at each reload, and else once. Returns 0, or
 * -errno with a text in err: "site.lua:3: cannot read the private key /etc/x/key.pem: Permission denied". */
int tls_plan_make(const struct tls_plan *plan, struct tls_former *former, int base_fd, const struct log *log,
                  struct tls_context **context, char *err, size_t errlen);

/* Call fn with each file, until it returns something other than 0. Returns that value, or 0. */
int tls_plan_each_file(const struct tls_plan *plan, int (*fn)(void *arg, const char *path), void *arg);

#endif
