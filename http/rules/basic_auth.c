/* Happy path: the credentials are known, and the request passes within the call. If they are not, a thread checks them
 * while the exchange is held. If they are, but nobody has looked at the file for a while, a thread does that for all
 * requests that come meanwhile.
 *
 * Failure modes: too many checks wait, or there is no memory or no thread: 503. A password file that cannot be read any
 * more is a line in the log, and the passwords stay as they were. */

#include "http/rules/basic_auth.h"
#include "http/metrics_board.h"

#include "core/ascii.h"
#include "core/crypt_calls.h"
#include "core/job_pool.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/reactor.h"
#include "http/dispatch.h"
#include "http/exchange.h"
#include "http/exchange_log.h"
#include "http/response.h"
#include "http/rules/auth_threads.h"
#include "http/rules/htpasswd.h"
#include "http/rules/password_check.h"
#include "http/rules/verdicts.h"
#include "http/service.h"
#include "http/vhost.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { AUTH_QUIET_MS = 10000 /* between two lines in the log about the same thing */ };

static const char auth_field[] = "WWW-Authenticate";

/* A request that waits for a look at the file. */
struct auth_waiter {
    struct auth_waiter *next, **link; /* in the list */
    struct exchange *exchange;        /* whose user it is */
};

struct basic_auth {
    char *challenge; /* owned: the value of WWW-Authenticate; NULL: everybody is let in */
    struct basic_auth_asked asked;
    const struct rule *rule; /* whose data this is */

    /* Of a file. */
    struct password_file *file; /* held; NULL if asked knows the passwords */
    struct password_view view;
    int64_t fresh_until_ms;    /* reactor time until which the file need not be looked at; 0: now */
    struct verdicts *verdicts; /* owned */
    struct service *service;   /* borrowed: of its requests; NULL before the first one */
    struct auth_threads hashers, lookers;
    bool is_looking;             /* a look was submitted */
    struct auth_waiter *waiting; /* for that; NULL: none */
    int64_t may_warn_ms;         /* reactor time from which the log may have the next line about the file */
    int64_t may_say_ms;          /* and about too many checks */
};

/* Setting up. */

static void destroy_auth(void *data)
{
    struct basic_auth *auth = data;
    auth_threads_close(&auth->hashers);
    auth_threads_close(&auth->lookers);
    if (auth->asked.destroy != NULL) {
        auth->asked.destroy(auth->asked.arg);
    }
    verdicts_destroy(auth->verdicts);
    htpasswd_put(auth->view.table);
    password_file_put(auth->file);
    mem_free(auth->challenge);
    mem_free(auth);
}

/* A realm becomes a quoted-string (RFC 9110 section 5.6.4). Returns 0, -EINVAL or -ENOMEM. */
static int make_challenge(struct basic_auth *auth, const char *realm)
{
    static const char begin[] = "Basic realm=\"", end[] = "\", charset=\"UTF-8\"";
    size_t len = strlen(realm);
    if (len > BASIC_AUTH_REALM_MAX) {
        return -EINVAL;
    }
    char *at = auth->challenge = mem_alloc(sizeof begin + 2 * len + sizeof end);
    if (at == NULL) {
        return -ENOMEM;
    }
    at += sprintf(at, "%s", begin);
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)realm[i] < ' ' || realm[i] == '\x7f') {
            return -EINVAL;
        }
        if (realm[i] == '"' || realm[i] == '\\') {
            *at++ = '\\';
        }
        *at++ = realm[i];
    }
    strcpy(at, end);
    return 0;
}

static int fill_auth(struct basic_auth *auth, const struct basic_auth_options *options, char *err, size_t errlen)
{
    if (options->file == NULL && options->asked == NULL) {
        return 0;
    }
    int rv = make_challenge(auth, options->realm == NULL ? "Restricted" : options->realm);
    if (rv == -EINVAL) {
        return error_text(err, errlen, rv, "realm: a text of at most %d bytes without control characters expected",
                          BASIC_AUTH_REALM_MAX);
    }
    auth->hashers.hashes = true;
    if (rv == 0 && options->file != NULL) {
        (void)crypt_load(NULL, 0); /* now, since a sandbox may prevent it when the file has changed */
        rv = password_file_create(&auth->file, options->file, options->base_fd);
        rv = rv < 0 ? rv : verdicts_create(&auth->verdicts);
    }
    if (rv < 0) {
        return error_text(err, errlen, rv, "%s", errno_text(-rv));
    }
    rv = options->file == NULL ? 0 : password_view_update(&auth->view, auth->file, err, errlen);
    if (rv == -ENOENT && strlen(err) < errlen) { /* what is missing; now how to make it */
        size_t len = strlen(err);
        snprintf(err + len, errlen - len, "; make it with: htpasswd -cB %.300s NAME", options->file);
    }
    return rv;
}

static enum rules_verdict decide_auth(struct exchange *exchange, const struct rule *first);

static const struct rules_kind basic_auth_kind = {
    .order = RULE_AUTH,
    .decide = decide_auth,
    .destroy = destroy_auth,
    .name = "app.basic_auth",
    .host_name = "evs_rule.basic_auth",
};

int basic_auth_add(struct rules **rules, const char *prefix, const struct basic_auth_options *options, char *err,
                   size_t errlen)
{
    struct basic_auth *auth = mem_zalloc(sizeof *auth);
    if (auth == NULL) {
        return error_text(err, errlen, -ENOMEM, "%s", errno_text(ENOMEM));
    }
    int rv = fill_auth(auth, options, err, errlen);
    struct rule *rule = rv < 0 ? NULL : rules_add(rules, &basic_auth_kind, prefix, auth, &rv, err, errlen);
    if (rule == NULL) {
        destroy_auth(auth);
        return rv;
    }
    auth->rule = rule;
    if (options->asked != NULL) {
        auth->asked = *options->asked;
        rule->held.name = rule->is_of_host ? "evs_rule.authenticate" : rule->held.name;
    }
    return 0;
}

int basic_auth_each_file(const struct rules *rules, int (*fn)(void *arg, const char *file), void *arg)
{
    int rv = 0;
    for (const struct rule *rule = rules == NULL ? NULL : rules->first[RULE_AUTH]; rule != NULL && rv == 0;
         rule = rule->next) {
        const struct basic_auth *auth = rule->data;
        rv = auth->file == NULL ? 0 : fn(arg, password_file_name(auth->file));
    }
    return rv;
}

/* Requests. */

static struct basic_auth *auth_of(const struct exchange *exchange)
{
    const struct rule *rule = rules_first(exchange->vhost->rules, RULE_AUTH, exchange->path, exchange->path_len);
    return rule->data;
}

/* 401 with a challenge (RFC 9110 section 15.5.2). */
static enum rules_verdict challenge(struct exchange *exchange, const struct basic_auth *auth)
{
    response_clear_fields(exchange);
    if (response_add_field(exchange, auth_field, sizeof auth_field - 1, auth->challenge, strlen(auth->challenge)) < 0) {
        response_error(exchange, 503, NULL); /* a 401 without it would be against the rules */
    } else {
        response_refuse(exchange, 401, NULL);
    }
    return RULES_ANSWERED;
}

static enum rules_verdict let_in(struct exchange *exchange)
{
    exchange->has_user = true;
    return RULES_PASS;
}

void basic_auth_go_on(struct exchange *exchange)
{
    exchange->has_user = true;
    dispatch_go_on(exchange);
}

void basic_auth_refuse(struct exchange *exchange)
{
    challenge(exchange, auth_of(exchange));
}

/* No verdict: there is no room, no memory or no thread. */
static enum rules_verdict refuse_check(struct exchange *exchange, struct basic_auth *auth, int error)
{
    int64_t now_ms = reactor_now_ms(exchange->service->reactor);
    if (now_ms >= auth->may_say_ms) {
        auth->may_say_ms = now_ms + AUTH_QUIET_MS;
        if (error == -EAGAIN) {
            exchange_log(exchange, LOG_WARN, auth_field,
                         "503: %d requests wait for their passwords to be checked: limit their number with %s",
                         AUTH_HASHES_WAITING, auth->rule->is_of_host ? "evs_rule.limit_concurrency" : "app.limit");
        } else {
            exchange_log(exchange, LOG_ERROR, auth_field, "503: a password cannot be checked: %s",
                         error == -ENOSYS ? "there are no threads for that" : errno_text(-error));
        }
    }
    response_clear_fields(exchange);
    if (error == -EAGAIN) {
        (void)response_add_field(exchange, "Retry-After", 11, "1", 1);
    }
    response_refuse(exchange, 503, NULL);
    return RULES_ANSWERED;
}

/* Checks that were made before a change each have a table of their own of the same text. */
static bool views_agree(const struct password_view *a, const struct password_view *b)
{
    return memcmp(a->digest, b->digest, sizeof a->digest) == 0;
}

/* A thread has looked at the file: it may have changed, or be gone. Several threads may look at the same time: the last
 * look counts. */
static void take_view(struct basic_auth *auth, struct password_check *check)
{
    int64_t now_ms = reactor_now_ms(auth->service->reactor);
    if (check->has_failed) {
        if (now_ms >= auth->may_warn_ms) {
            auth->may_warn_ms = now_ms + AUTH_QUIET_MS;
            log_write(auth->service->log, LOG_ERROR, "%s: %s; the passwords stay as they were", rule_name(auth->rule),
                      check->reason);
        }
        auth->fresh_until_ms = now_ms + BASIC_AUTH_FRESH_MS; /* there is nothing newer */
        return;
    }
    if (check->view.looked_ns < auth->view.looked_ns) {
        return;
    }
    struct htpasswd *before = auth->view.table, *now = check->view.table;
    bool is_same = views_agree(&check->view, &auth->view);
    if (!is_same) {
        verdicts_clear(auth->verdicts);
    }
    auth->view = check->view;
    auth->view.table = is_same ? before : now;
    check->view.table = is_same ? now : before; /* goes with the check */
    auth->fresh_until_ms = now_ms + BASIC_AUTH_FRESH_MS;
}

static void drop_check(struct job *job)
{
    password_check_destroy((struct password_check *)job);
}

/* A check for one of the two desks. NULL without memory. */
static struct password_check *make_check(struct basic_auth *auth, const struct credentials *credentials,
                                         void (*run)(struct job *job, void *arg, unsigned thread),
                                         void (*on_done)(struct job *job))
{
    struct password_check *check = password_check_create(auth->file, &auth->view, credentials);
    if (check != NULL) {
        check->job = (struct job){.run = run, .on_done = on_done, .drop = drop_check};
        check->owner = auth;
    }
    return check;
}

/* Returns as auth_threads_submit(). */
static int submit_check(const struct basic_auth *auth, struct auth_threads *threads, struct password_check *check)
{
    const struct service *service = auth->service;
    struct job_pools *jobs = service->board == NULL ? NULL : metrics_board_jobs(service->board);
    return auth_threads_submit(threads, jobs, service->reactor, &check->job);
}

/* Hashing. */

static void run_check(struct job *job, void *arg, unsigned thread)
{
    (void)arg, (void)thread;
    password_check_run((struct password_check *)job);
}

static void on_checked(struct job *job)
{
    struct password_check *check = (struct password_check *)job;
    struct exchange *exchange = check->exchange;
    struct basic_auth *auth = check->owner;
    enum verdict verdict = check->verdict;
    take_view(auth, check);
    if (verdict != VERDICT_UNKNOWN && views_agree(&check->view, &auth->view)) {
        verdicts_keep(auth->verdicts, &check->credentials, verdict, reactor_now_ms(auth->service->reactor));
    }
    password_check_destroy(check);
    exchange->on_gone = NULL;
    if (verdict == VERDICT_RIGHT) {
        basic_auth_go_on(exchange);
    } else if (verdict == VERDICT_WRONG) {
        challenge(exchange, auth);
    } else {
        refuse_check(exchange, auth, -ENOMEM);
    }
}

static void forget_check(struct exchange *exchange)
{
    struct password_check *check = exchange->user;
    (void)job_drop(&check->job);
}

static enum rules_verdict hash_password(struct exchange *exchange, struct basic_auth *auth,
                                        const struct credentials *credentials)
{
    struct password_check *check = make_check(auth, credentials, run_check, on_checked);
    if (check == NULL) {
        return refuse_check(exchange, auth, -ENOMEM);
    }
    check->decoy = verdicts_number(auth->verdicts, credentials->name, credentials->name_len);
    check->exchange = exchange;
    int rv = submit_check(auth, &auth->hashers, check);
    if (rv < 0) {
        password_check_destroy(check);
        return refuse_check(exchange, auth, rv);
    }
    exchange->user = check;
    exchange->on_gone = forget_check;
    return RULES_HELD;
}

/* Looking. */

static void run_look(struct job *job, void *arg, unsigned thread)
{
    (void)arg, (void)thread;
    password_check_look((struct password_check *)job);
}

static void leave_waiting(struct auth_waiter *waiter)
{
    *waiter->link = waiter->next;
    if (waiter->next != NULL) {
        waiter->next->link = waiter->link;
    }
    mem_free(waiter);
}

static void forget_waiter(struct exchange *exchange)
{
    leave_waiting(exchange->user);
}

static bool read_request(const struct exchange *exchange, struct credentials *credentials);

/* The file was looked at: what was known holds, or is forgotten. */
static void settle_waiter(struct basic_auth *auth, struct exchange *exchange)
{
    struct credentials credentials;
    if (!read_request(exchange, &credentials)) { /* it was read before */
        challenge(exchange, auth);
        return;
    }
    switch (verdicts_find(auth->verdicts, &credentials, reactor_now_ms(auth->service->reactor))) {
    case VERDICT_RIGHT:
        basic_auth_go_on(exchange);
        break;
    case VERDICT_WRONG:
        challenge(exchange, auth);
        break;
    case VERDICT_UNKNOWN:
        (void)hash_password(exchange, auth, &credentials);
        break;
    }
    credentials_wipe(&credentials);
}

static void on_looked(struct job *job)
{
    struct password_check *check = (struct password_check *)job;
    struct basic_auth *auth = check->owner;
    take_view(auth, check);
    password_check_destroy(check);
    auth->is_looking = false;
    while (auth->waiting != NULL) {
        struct exchange *exchange = auth->waiting->exchange;
        exchange->on_gone = NULL;
        leave_waiting(auth->waiting);
        settle_waiter(auth, exchange);
    }
}

/* Returns 0 or -errno. */
static int begin_look(struct basic_auth *auth, const struct credentials *credentials)
{
    struct password_check *check = make_check(auth, credentials, run_look, on_looked);
    int rv = check == NULL ? -ENOMEM : submit_check(auth, &auth->lookers, check);
    if (rv < 0) {
        password_check_destroy(check);
    }
    auth->is_looking = rv == 0;
    return rv;
}

static enum rules_verdict wait_for_look(struct exchange *exchange, struct basic_auth *auth,
                                        const struct credentials *credentials)
{
    struct auth_waiter *waiter = mem_alloc(sizeof *waiter);
    int rv = waiter == NULL ? -ENOMEM : auth->is_looking ? 0 : begin_look(auth, credentials);
    if (rv < 0) {
        mem_free(waiter);
        return refuse_check(exchange, auth, rv);
    }
    *waiter = (struct auth_waiter){.next = auth->waiting, .link = &auth->waiting, .exchange = exchange};
    if (waiter->next != NULL) {
        waiter->next->link = &waiter->next;
    }
    auth->waiting = waiter;
    exchange->user = waiter;
    exchange->on_gone = forget_waiter;
    return RULES_HELD;
}

static enum rules_verdict ask_file(struct exchange *exchange, struct basic_auth *auth,
                                   const struct credentials *credentials)
{
    int64_t now_ms = reactor_now_ms(exchange->service->reactor);
    enum verdict known = verdicts_find(auth->verdicts, credentials, now_ms);
    auth->service = exchange->service;
    if (known == VERDICT_UNKNOWN) {
        return hash_password(exchange, auth, credentials);
    }
    if (now_ms >= auth->fresh_until_ms) {
        return wait_for_look(exchange, auth, credentials);
    }
    return known == VERDICT_RIGHT ? let_in(exchange) : challenge(exchange, auth);
}

/* Read the credentials of a request. Two of them are none: whoever reads the request behind us might choose the other
 * ones. */
static bool read_request(const struct exchange *exchange, struct credentials *credentials)
{
    static const char name[] = "authorization";
    const struct field *found = NULL;
    for (unsigned i = 0; i < exchange->head.field_count; i++) {
        const struct field *field = &exchange->head.fields[i];
        if (field->name.len == sizeof name - 1 &&
            ascii_equals(exchange_text(exchange, field->name), name, sizeof name - 1)) {
            if (found != NULL) {
                return false;
            }
            found = field;
        }
    }
    return found != NULL && credentials_read(credentials, exchange_text(exchange, found->value), found->value.len);
}

static enum rules_verdict decide_auth(struct exchange *exchange, const struct rule *first)
{
    struct basic_auth *auth = first->data;
    struct credentials credentials;
    if (auth->challenge == NULL) {
        return RULES_PASS;
    }
    if (!read_request(exchange, &credentials)) {
        return challenge(exchange, auth);
    }
    enum rules_verdict verdict = auth->file != NULL ? ask_file(exchange, auth, &credentials)
                                                    : auth->asked.ask(exchange, &credentials, auth->asked.arg);
    credentials_wipe(&credentials);
    if (auth->file == NULL && verdict == RULES_PASS) {
        exchange->has_user = true;
    }
    if (auth->file == NULL && verdict == RULES_ANSWERED && exchange->response_state == RESPONSE_NONE) {
        challenge(exchange, auth);
    }
    return verdict;
}

bool basic_auth_read(const struct exchange *exchange, char name[CREDENTIALS_MAX], size_t *name_len,
                     char password[CREDENTIALS_MAX], size_t *password_len)
{
    struct credentials credentials;
    if (!read_request(exchange, &credentials)) {
        return false;
    }
    *name_len = credentials.name_len;
    *password_len = credentials.password_len;
    memcpy(name, credentials.name, credentials.name_len + 1);
    memcpy(password, credentials.password, credentials.password_len + 1);
    credentials_wipe(&credentials);
    return true;
}

size_t basic_auth_user(const struct exchange *exchange, char name[CREDENTIALS_MAX])
{
    struct credentials credentials;
    if (!exchange->has_user || !read_request(exchange, &credentials)) {
        return 0;
    }
    size_t len = credentials.name_len;
    memcpy(name, credentials.name, len + 1);
    credentials_wipe(&credentials);
    return len;
}
