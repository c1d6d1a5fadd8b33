/* Happy path: tls_keeper_start(), tls_keeper_get() for each thread; later tls_keeper_look() finds a changed file, and
 * each thread gets the new context.
 *
 * Failure modes: a pair that does not fit, a file that is gone or may not be read: what was read of this pair before
 * stays, and the log has the reason, once for each reason. A file that is being replaced may be caught halfway; it is
 * read again once the rest has changed, too. A certificate that a reload adds has nothing to stay with: if it cannot be
 * used, the former list of certificates stays, and those of its pairs that have changed are renewed. */

#include "http/host/tls_keeper.h"

#include "core/log.h"
#include "core/sys.h"
#include "core/tls_context.h"
#include "core/tls_tickets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

void tls_keeper_init(struct tls_keeper *keeper, int base_fd, const struct log *log)
{
    *keeper = (struct tls_keeper){.base_fd = base_fd, .log = log};
    pthread_mutex_init(&keeper->lock, NULL);
    tls_plan_init(&keeper->plan);
}

void tls_keeper_done(struct tls_keeper *keeper)
{
    tls_context_put(keeper->context);
    keeper->context = NULL;
    tls_plan_done(&keeper->plan);
    pthread_mutex_destroy(&keeper->lock);
}

/* Make the context of plan and go on to it, unless it would be what is there. Returns 1 if it has another certificate
 * now, else 0; or -errno with a text. With the lock. */
static int renew(struct tls_keeper *keeper, const struct tls_plan *plan, bool is_reload, char *err, size_t errlen)
{
    struct tls_former former = {.plan = &keeper->plan,
                                .context = keeper->context,
                                .is_reload = is_reload,
                                .is_confined = keeper->is_confined};
    struct tls_context *made;
    int rv = tls_plan_make(plan, keeper->context == NULL ? NULL : &former, keeper->base_fd, keeper->log, &made, err,
                           errlen);
    if (rv < 0) {
        return rv;
    }
    if (plan == &keeper->plan && former.renewed == 0) {
        tls_context_put(made);
        return 0;
    }
    tls_context_put(keeper->context);
    keeper->context = made;
    keeper->failure[0] = '\0';
    keeper->has_named = former.named > 0;
    return 1;
}

/* Go on to another plan, if its context could be made; take it over in any case. With the lock. */
static int renew_from(struct tls_keeper *keeper, struct tls_plan *plan, char *err, size_t errlen)
{
    int rv = renew(keeper, plan, true, err, errlen);
    if (rv >= 0) {
        tls_plan_done(&keeper->plan);
        keeper->plan = *plan;
        tls_plan_init(plan);
    } else {
        tls_plan_done(plan);
    }
    return rv < 0 ? rv : 0;
}

int tls_keeper_start(struct tls_keeper *keeper, struct tls_plan *plan, char *err, size_t errlen)
{
    pthread_mutex_lock(&keeper->lock);
    int rv = renew_from(keeper, plan, err, errlen);
    pthread_mutex_unlock(&keeper->lock);
    return rv;
}

static void log_kept(const struct tls_keeper *keeper, const char *err)
{
    log_write(keeper->log, LOG_ERROR, "the TLS certificates in use are kept: %s", err);
}

bool tls_keeper_replace(struct tls_keeper *keeper, struct tls_plan *plan)
{
    char err[TLS_FAILURE_MAX] = "", other[TLS_FAILURE_MAX];
    pthread_mutex_lock(&keeper->lock);
    int rv = renew_from(keeper, plan, err, sizeof err);
    bool is_new = rv == 0;
    if (rv < 0 && keeper->context != NULL && tls_context_is_stale(keeper->context)) {
        is_new = renew(keeper, &keeper->plan, false, other, sizeof other) > 0;
    }
    pthread_mutex_unlock(&keeper->lock);
    if (rv < 0) {
        log_kept(keeper, err);
    }
    return is_new;
}

/* Files that cannot be opened. */

struct sight {
    int base_fd;
    int flags;        /* of open(2) */
    const char *file; /* the last one that was tried; borrowed from the plan */
};

static int try_file(void *arg, const char *path)
{
    struct sight *sight = arg;
    int fd = sys_open(sys_base(sight->base_fd), path, sight->flags | O_CLOEXEC);
    sight->file = path;
    if (fd >= 0) {
        sys_close(fd);
        return 0;
    }
    bool is_of_file = fd == -EACCES || fd == -EPERM || fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP;
    return is_of_file ? fd : 0; /* else it is about this process, fds for example, and passes */
}

void tls_keeper_settle(struct tls_keeper *keeper, bool is_confined)
{
    pthread_mutex_lock(&keeper->lock);
    struct sight sight = {.base_fd = keeper->base_fd, .flags = O_RDONLY | O_NONBLOCK};
    int rv = keeper->context == NULL ? 0 : tls_plan_each_file(&keeper->plan, try_file, &sight);
    keeper->is_confined = is_confined;
    if (rv < 0) {
        keeper->is_blind_told = true;
        log_write(keeper->log, LOG_WARN,
                  "the user of the server (uid %u) cannot read %s (%s): a renewed certificate is not found until a "
                  "restart; let a group of the user read it (README, Renewal)",
                  sys_user_id(), sight.file, errno_text(-rv));
    }
    pthread_mutex_unlock(&keeper->lock);
}

/* A file that cannot be looked at hides its renewal. With the lock. */
static void note_sight(struct tls_keeper *keeper)
{
    struct sight sight = {.base_fd = keeper->base_fd, .flags = O_PATH};
    int rv = tls_plan_each_file(&keeper->plan, try_file, &sight);
    keeper->blind_looks = rv < 0 ? keeper->blind_looks + 1 : 0;
    keeper->is_blind_told = rv < 0 && keeper->is_blind_told;
    if (rv < 0 && !keeper->is_blind_told && (rv == -EACCES || keeper->blind_looks >= TLS_BLIND_LOOKS)) {
        keeper->is_blind_told = true;
        log_write(keeper->log, LOG_ERROR,
                  "cannot look whether %s has changed: %s; its certificate is kept as it was read", sight.file,
                  errno_text(-rv));
    }
}

/* What an attempt has come to, with the lock. Returns whether the log should have err. */
static bool note_attempt(struct tls_keeper *keeper, int rv, const char *err)
{
    bool is_news = rv < 0 && strcmp(keeper->failure, err) != 0;
    if (rv >= 0 || is_news) {
        snprintf(keeper->failure, sizeof keeper->failure, "%s", rv < 0 ? err : "");
    }
    return is_news;
}

bool tls_keeper_look(struct tls_keeper *keeper)
{
    char err[TLS_FAILURE_MAX] = "";
    pthread_mutex_lock(&keeper->lock);
    bool is_there = keeper->context != NULL;
    keeper->looks++;
    if (is_there) {
        tls_context_warn(keeper->context, keeper->looks % TLS_REMIND_LOOKS == 0);
        note_sight(keeper);
    }
    bool is_due = is_there && (tls_context_is_stale(keeper->context) ||
                               (keeper->looks % TLS_RETRY_LOOKS == 0 && tls_context_has_behind(keeper->context)));
    int rv = is_due ? renew(keeper, &keeper->plan, false, err, sizeof err) : 0;
    bool is_news = is_due && note_attempt(keeper, rv, err);
    bool has_named = keeper->has_named;
    pthread_mutex_unlock(&keeper->lock);
    if (is_news) {
        log_kept(keeper, err);
    } else if (rv > 0 && !has_named) { /* other files of a pair, or the same certificate again */
        log_write(keeper->log, LOG_INFO, "the TLS certificates have changed and are in use now");
    }
    return rv > 0;
}

struct tls_context *tls_keeper_get(struct tls_keeper *keeper)
{
    pthread_mutex_lock(&keeper->lock);
    struct tls_context *context = keeper->context == NULL ? NULL : tls_context_ref(keeper->context);
    pthread_mutex_unlock(&keeper->lock);
    return context;
}

int tls_keeper_pass_tickets(struct tls_keeper *keeper)
{
    pthread_mutex_lock(&keeper->lock);
    int fd = keeper->context == NULL ? -ENOENT : tls_tickets_pass(tls_context_tickets(keeper->context));
    pthread_mutex_unlock(&keeper->lock);
    return fd;
}

void tls_keeper_take_tickets(struct tls_keeper *keeper, int fd)
{
    pthread_mutex_lock(&keeper->lock);
    if (keeper->context != NULL && tls_tickets_take(tls_context_tickets(keeper->context), fd) < 0) {
        log_write(keeper->log, LOG_INFO,
                  "the keys of TLS session tickets were not handed over: each client makes a whole handshake once");
    }
    pthread_mutex_unlock(&keeper->lock);
}
