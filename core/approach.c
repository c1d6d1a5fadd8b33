/* Happy path: a question to the resolver, then one dial.
 *
 * Failure modes: a name without addresses; addresses that are all denied, which is told as a denial of the first one;
 * and whatever connecting says. */

#include "core/approach.h"

#include "core/destinations.h"
#include "core/dial.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/reactor.h"
#include "core/resolver.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct approach {
    struct resolver_query query; /* first: a query is its approach */
    struct reactor *reactor;
    const struct destination_policy *policy;
    void (*on_done)(void *arg, int fd, const struct sockaddr *address, socklen_t len);
    void *arg;
    bool (*free_fd)(void *arg); /* of the plan */
    void *free_fd_arg;
    struct dial *dial;        /* once it connects */
    struct reactor_task task; /* tells what approach_begin() has found out */
    int error;                /* -errno: it has failed */
    uint16_t port;
    bool is_beginning; /* inside approach_begin() */
    bool is_resolved;  /* there are addresses that may be connected with */
    char failure[RESOLVER_TEXT_MAX];
    char name[];
};

/* It has failed, and failure says why. The approach may be gone when this returns. */
static void fail_approach(struct approach *approach, int error)
{
    approach->error = error;
    if (approach->is_beginning) {
        reactor_schedule(approach->reactor, &approach->task);
    } else {
        approach->on_done(approach->arg, error, NULL, 0);
    }
}

static void on_approach_task(struct reactor *reactor, void *arg)
{
    (void)reactor;
    struct approach *approach = REACTOR_OWNER(arg, struct approach, task);
    approach->on_done(approach->arg, approach->error, NULL, 0);
}

static void on_dial_done(void *arg, int fd, const struct name_address *address)
{
    struct approach *approach = arg;
    struct sockaddr_storage peer;
    if (fd < 0) {
        snprintf(approach->failure, sizeof approach->failure, "%s", errno_text(-fd));
        fail_approach(approach, fd);
        return;
    }
    socklen_t len = dial_fill_address(&peer, address, approach->port);
    approach->on_done(approach->arg, fd, (const struct sockaddr *)&peer, len);
}

/* Copy the addresses that are not denied. Returns how many there are; for none, failure says what the first one is. */
static unsigned take_allowed(struct approach *approach, const struct resolver_answer *answer,
                             struct name_address allowed[NAME_ADDRESSES_MAX])
{
    unsigned count = 0;
    char err[RESOLVER_TEXT_MAX];
    approach->failure[0] = '\0';
    for (unsigned i = 0; i < answer->count; i++) {
        struct sockaddr_storage address;
        struct destination to = {.name = approach->name, .port = approach->port};
        to.len = dial_fill_address(&address, &answer->addresses[i], approach->port);
        to.address = (const struct sockaddr *)&address;
        if (destinations_check(approach->policy, &to, err, sizeof err) == 0) {
            allowed[count++] = answer->addresses[i];
        } else if (approach->failure[0] == '\0') {
            memcpy(approach->failure, err, sizeof err);
        }
    }
    return count;
}

/* The addresses are known, or not. The approach may be gone when this returns. */
static void follow_answer(struct approach *approach, const struct resolver_answer *answer)
{
    struct name_address allowed[NAME_ADDRESSES_MAX];
    struct dial_plan plan = {.addresses = allowed,
                             .port = approach->port,
                             .on_done = on_dial_done,
                             .arg = approach,
                             .free_fd = approach->free_fd,
                             .free_fd_arg = approach->free_fd_arg};
    if (answer->error < 0) {
        resolver_explain(approach->failure, approach->name, answer->error);
        fail_approach(approach, answer->error);
        return;
    }
    plan.count = take_allowed(approach, answer, allowed);
    if (plan.count == 0) {
        fail_approach(approach, -EPERM);
        return;
    }
    approach->is_resolved = true;
    int rv = dial_begin(&approach->dial, approach->reactor, &plan);
    if (rv < 0) {
        snprintf(approach->failure, sizeof approach->failure, "%s", errno_text(-rv));
        fail_approach(approach, rv);
    }
}

static void on_addresses(struct resolver_query *query, const struct resolver_answer *answer)
{
    follow_answer((struct approach *)query, answer);
}

int approach_begin(struct approach **approach, const struct approach_plan *plan, char *err, size_t errlen)
{
    const struct destination to = {.name = plan->name, .port = plan->port};
    struct resolver_answer answer;
    int rv = destinations_check(plan->policy, &to, err, errlen);
    if (rv < 0) {
        return rv;
    }
    size_t size = strlen(plan->name) + 1;
    struct approach *made = mem_zalloc(sizeof *made + size);
    if (made == NULL) {
        return error_text(err, errlen, -ENOMEM, "%s", errno_text(ENOMEM));
    }
    made->query.on_answer = on_addresses;
    made->reactor = plan->reactor;
    made->policy = plan->policy;
    made->on_done = plan->on_done;
    made->arg = plan->arg;
    made->free_fd = plan->free_fd;
    made->free_fd_arg = plan->free_fd_arg;
    made->task.fn = on_approach_task;
    made->port = plan->port;
    memcpy(made->name, plan->name, size);
    rv = resolver_ask(plan->resolver, &made->query, plan->name, &answer, err, errlen);
    if (rv < 0) {
        mem_free(made);
        return rv;
    }
    if (rv > 0) {
        made->is_beginning = true;
        follow_answer(made, &answer);
        made->is_beginning = false;
    }
    *approach = made;
    return 0;
}

void approach_end(struct approach *approach)
{
    if (approach != NULL) {
        resolver_cancel(&approach->query);
        dial_end(approach->dial);
        reactor_unschedule(approach->reactor, &approach->task);
        mem_free(approach);
    }
}

void approach_abandon(struct approach *approach)
{
    if (approach->dial != NULL) {
        dial_abandon(approach->dial);
    }
}

bool approach_is_resolved(const struct approach *approach)
{
    return approach->is_resolved;
}

const char *approach_failure(const struct approach *approach)
{
    return approach->failure;
}
