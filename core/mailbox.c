/* A queue under a lock. The one who posts into an empty queue wakes the reactor, and the call it makes empties it: so
 * there is always a wake-up under way while something waits.
 *
 * Failure mode: without memory for the letter or the wake-up nothing is queued, and the caller is told. */

#include "core/mailbox.h"

#include "core/mem.h"
#include "core/reactor.h"

#include <errno.h>
#include <stddef.h>
#include <unistd.h>

enum { MEMORY_WAIT_US = 1000, OWNER_WAIT_US = 200 };

struct letter {
    struct letter *next;
    void (*fn)(void *arg);
    void *arg;
};

void mailbox_init(struct mailbox *mailbox, struct reactor *reactor)
{
    *mailbox = (struct mailbox){.reactor = reactor};
    atomic_init(&mailbox->owner, 0);
    pthread_mutex_init(&mailbox->lock, NULL);
}

void mailbox_done(struct mailbox *mailbox)
{
    pthread_mutex_destroy(&mailbox->lock);
}

static void call_all(struct mailbox *mailbox, bool is_last)
{
    pthread_mutex_lock(&mailbox->lock);
    struct letter *letter = mailbox->first;
    mailbox->first = mailbox->last = NULL;
    mailbox->is_closed = mailbox->is_closed || is_last;
    pthread_mutex_unlock(&mailbox->lock);
    while (letter != NULL) {
        struct letter *next = letter->next;
        letter->fn(letter->arg);
        mem_free(letter);
        letter = next;
    }
}

static void on_wake(struct reactor *reactor, void *arg)
{
    (void)reactor;
    call_all(arg, false);
}

static int add_letter(struct mailbox *mailbox, struct letter *letter)
{
    if (mailbox->is_closed) {
        return -ESHUTDOWN;
    }
    if (mailbox->first != NULL) {
        mailbox->last->next = letter;
    } else {
        int rv = reactor_post(mailbox->reactor, on_wake, mailbox);
        if (rv < 0) {
            return rv;
        }
        mailbox->first = letter;
    }
    mailbox->last = letter;
    return 0;
}

int mailbox_post(struct mailbox *mailbox, void (*fn)(void *arg), void *arg)
{
    struct letter *letter = mem_alloc(sizeof *letter);
    if (letter == NULL) {
        return -ENOMEM;
    }
    *letter = (struct letter){.fn = fn, .arg = arg};
    pthread_mutex_lock(&mailbox->lock);
    int rv = add_letter(mailbox, letter);
    pthread_mutex_unlock(&mailbox->lock);
    if (rv < 0) {
        mem_free(letter);
    }
    return rv;
}

void mailbox_close(struct mailbox *mailbox)
{
    call_all(mailbox, true);
}

static bool try_enter(struct mailbox *mailbox)
{
    pthread_t nobody = 0;
    return atomic_compare_exchange_strong(&mailbox->owner, &nobody, pthread_self());
}

void mailbox_enter(struct mailbox *mailbox)
{
    while (!try_enter(mailbox)) {
        usleep(OWNER_WAIT_US); /* a reload is at it */
    }
}

void mailbox_leave(struct mailbox *mailbox)
{
    atomic_store(&mailbox->owner, 0);
}

/* Calls that are waited for together. */
struct round {
    pthread_mutex_t lock;
    pthread_cond_t all_done;
    size_t left; /* calls that are not made yet */
};

struct round_errand {
    struct round *round;
    struct mailbox_call *call;
};

static void finish_errand(struct round *round)
{
    pthread_mutex_lock(&round->lock);
    round->left--;
    pthread_cond_signal(&round->all_done);
    pthread_mutex_unlock(&round->lock);
}

static void run_errand(void *arg)
{
    struct round_errand *errand = arg;
    struct round *round = errand->round;
    errand->call->fn(errand->call->arg);
    mem_free(errand);
    finish_errand(round);
}

/* Post a call; when memory is short, wait for it: a call that belongs to others cannot be left out. */
static int post_errand(struct round *round, struct mailbox_call *call)
{
    struct round_errand *errand;
    while ((errand = mem_alloc(sizeof *errand)) == NULL) {
        usleep(MEMORY_WAIT_US);
    }
    *errand = (struct round_errand){.round = round, .call = call};
    int rv;
    while ((rv = mailbox_post(call->mailbox, run_errand, errand)) == -ENOMEM) {
        usleep(MEMORY_WAIT_US);
    }
    if (rv < 0) {
        mem_free(errand);
    }
    return rv;
}

/* Make a call of the calling thread's own. */
static void call_here(struct mailbox_call *call)
{
    call->rv = call->mailbox->is_closed ? -ESHUTDOWN : 0;
    if (call->rv == 0) {
        call->fn(call->arg);
    }
    if (call->is_taken) {
        mailbox_leave(call->mailbox);
    }
}

void mailbox_call_all(struct mailbox_call *calls, size_t count)
{
    struct round round = {.left = count};
    pthread_mutex_init(&round.lock, NULL);
    pthread_cond_init(&round.all_done, NULL);
    for (size_t i = 0; i < count; i++) {
        struct mailbox_call *call = &calls[i];
        call->is_taken = try_enter(call->mailbox);
        call->is_here = call->is_taken || pthread_equal(atomic_load(&call->mailbox->owner), pthread_self()) != 0;
        if (!call->is_here) {
            call->rv = post_errand(&round, call);
            if (call->rv < 0) {
                finish_errand(&round);
            }
        }
    }
    for (size_t i = 0; i < count; i++) { /* now that the others have theirs */
        if (calls[i].is_here) {
            call_here(&calls[i]);
            finish_errand(&round);
        }
    }
    pthread_mutex_lock(&round.lock);
    while (round.left > 0) {
        pthread_cond_wait(&round.all_done, &round.lock);
    }
    pthread_mutex_unlock(&round.lock);
    pthread_cond_destroy(&round.all_done);
    pthread_mutex_destroy(&round.lock);
}
