/* A queue under a lock. Whoever adds to it makes sure that a wake-up of the reactor is under way, which empties it.
 *
 * Threads wait in two places. mailbox_enter() waits while another thread has the reactor for a call; a thread that
 * serves another reactor does not wait there. mailbox_call_all() waits for its calls to be made, and meanwhile makes
 * those that others wait for. So of several threads that wait for each other, one always goes on.
 *
 * Failure mode: without memory for the letter nothing is queued, and mailbox_post() returns -ENOMEM. A call that is
 * waited for contains its letter, and the mailbox its wake-up, so neither can fail. */

#include "core/mailbox.h"

#include "core/mem.h"
#include "core/sys.h"
#include "core/tick_clock.h"

#include <errno.h>
#include <stdio.h>

/* The mailbox that the calling thread entered last; outer leads to those before it. A handler may call any server, and
 * nothing in its arguments says which server it is a handler of: only its thread does. */
static _Thread_local struct mailbox *entered;

/* Calls that are waited for together. */
struct round {
    pthread_mutex_t lock;
    pthread_cond_t has_news;
    size_t left;   /* calls that are not made yet */
    bool is_asked; /* a mailbox that the waiting thread has entered may have a call for it */
};

static void on_wake(struct reactor *reactor, void *arg);

void mailbox_init(struct mailbox *mailbox, struct reactor *reactor)
{
    *mailbox = (struct mailbox){.reactor = reactor,
                                .process = sys_process_id(),
                                .wake = {.fn = on_wake, .arg = mailbox}};
    atomic_init(&mailbox->owner, 0);
    atomic_init(&mailbox->last_owner, 0);
    atomic_init(&mailbox->entering, 0);
    pthread_mutex_init(&mailbox->lock, NULL);
    pthread_cond_init(&mailbox->is_left, NULL);
}

void mailbox_done(struct mailbox *mailbox)
{
    pthread_cond_destroy(&mailbox->is_left);
    pthread_mutex_destroy(&mailbox->lock);
}

/* Letters. */

/* Give the waiting thread something to do: tell says what. */
static void tell_round(struct round *round, void (*tell)(struct round *round))
{
    pthread_mutex_lock(&round->lock);
    tell(round);
    pthread_cond_signal(&round->has_news);
    pthread_mutex_unlock(&round->lock);
}

static void one_less(struct round *round)
{
    round->left--;
}

static void ask_round(struct round *round)
{
    round->is_asked = true;
}

static void run_letter(struct letter *letter)
{
    struct mailbox_call *call = letter->call;
    void (*fn)(void *arg) = letter->fn;
    void *arg = letter->arg;
    if (call == NULL) {
        mem_free(letter); /* before the call, which may never return here: see evserve.c, on_unwound() */
    }
    fn(arg);
    if (call != NULL) {
        tell_round(call->round, one_less); /* from here on it is gone */
    }
}

/* Take the first letter, or the first one that is waited for; NULL when there is none. */
static struct letter *take_letter(struct mailbox *mailbox, bool is_waited_for)
{
    pthread_mutex_lock(&mailbox->lock);
    struct letter *before = NULL;
    struct letter *letter = mailbox->first;
    while (letter != NULL && is_waited_for && letter->call == NULL) {
        before = letter;
        letter = letter->next;
    }
    if (letter != NULL) {
        *(before == NULL ? &mailbox->first : &before->next) = letter->next;
        mailbox->last = mailbox->last == letter ? before : mailbox->last;
        mailbox->count--;
    }
    pthread_mutex_unlock(&mailbox->lock);
    return letter;
}

/* Make the calls that wait now. Those that they post have a wake-up of their own. */
static void on_wake(struct reactor *reactor, void *arg)
{
    struct mailbox *mailbox = arg;
    pthread_mutex_lock(&mailbox->lock);
    mailbox->is_waking = false;
    size_t count = mailbox->count;
    pthread_mutex_unlock(&mailbox->lock);
    struct letter *letter;
    for (; count > 0 && (letter = take_letter(mailbox, false)) != NULL; count--) {
        run_letter(letter);
        char *name = stalls_note_end(&reactor_clock(reactor)->stalls);
        if (name != NULL) {
            snprintf(name, STALL_NAME_MAX, "a call from another thread");
        }
    }
}

static int add_letter(struct mailbox *mailbox, struct letter *letter)
{
    pthread_mutex_lock(&mailbox->lock);
    int rv = mailbox->is_closed ? -ESHUTDOWN : 0;
    if (rv == 0) {
        *(mailbox->first == NULL ? &mailbox->first : &mailbox->last->next) = letter;
        mailbox->last = letter;
        mailbox->count++;
        if (!mailbox->is_waking) {
            mailbox->is_waking = true;
            reactor_post_call(mailbox->reactor, &mailbox->wake);
        }
        if (letter->call != NULL && mailbox->waiting != NULL) {
            tell_round(mailbox->waiting, ask_round);
        }
    }
    pthread_mutex_unlock(&mailbox->lock);
    return rv;
}

int mailbox_post(struct mailbox *mailbox, void (*fn)(void *arg), void *arg)
{
    if (sys_process_id() != mailbox->process) {
        return -ECHILD; /* a thread that does not exist here may hold the lock forever */
    }
    struct letter *letter = mem_alloc(sizeof *letter);
    if (letter == NULL) {
        return -ENOMEM;
    }
    *letter = (struct letter){.fn = fn, .arg = arg};
    int rv = add_letter(mailbox, letter);
    if (rv < 0) {
        mem_free(letter);
    }
    return rv;
}

static void set_closed(struct mailbox *mailbox)
{
    pthread_mutex_lock(&mailbox->lock);
    mailbox->is_closed = true;
    pthread_mutex_unlock(&mailbox->lock);
}

void mailbox_close(struct mailbox *mailbox)
{
    set_closed(mailbox);
    struct letter *letter;
    while ((letter = take_letter(mailbox, false)) != NULL) {
        run_letter(letter);
    }
}

void mailbox_refuse(struct mailbox *mailbox)
{
    set_closed(mailbox);
    struct letter *letter;
    while ((letter = take_letter(mailbox, true)) != NULL) {
        letter->call->rv = -ESHUTDOWN;
        tell_round(letter->call->round, one_less);
    }
}

/* Entering and leaving. */

static bool try_enter(struct mailbox *mailbox)
{
    pthread_t nobody = 0;
    return atomic_compare_exchange_strong(&mailbox->owner, &nobody, pthread_self());
}

static void wait_and_enter(struct mailbox *mailbox)
{
    pthread_mutex_lock(&mailbox->lock);
    atomic_fetch_add(&mailbox->entering, 1);
    while (!try_enter(mailbox)) {
        pthread_cond_wait(&mailbox->is_left, &mailbox->lock);
    }
    atomic_fetch_sub(&mailbox->entering, 1);
    pthread_mutex_unlock(&mailbox->lock);
}

static void give_back(struct mailbox *mailbox)
{
    atomic_store(&mailbox->owner, 0);
    if (atomic_load(&mailbox->entering) > 0) {
        pthread_mutex_lock(&mailbox->lock);
        pthread_cond_signal(&mailbox->is_left);
        pthread_mutex_unlock(&mailbox->lock);
    }
}

bool mailbox_is_entered(const struct mailbox *mailbox)
{
    return atomic_load(&mailbox->owner) != 0;
}

bool mailbox_is_mine(const struct mailbox *mailbox)
{
    return pthread_equal(atomic_load(&mailbox->owner), pthread_self()) != 0;
}

bool mailbox_forbids_waiting(const struct mailbox *mailbox)
{
    bool is_between_turns = pthread_equal(atomic_load(&mailbox->last_owner), pthread_self()) != 0 &&
                            !mailbox_is_entered(mailbox);
    return entered != NULL || is_between_turns || mailbox_is_mine(mailbox);
}

int mailbox_enter(struct mailbox *mailbox)
{
    if (!try_enter(mailbox)) {
        if (mailbox_is_mine(mailbox) || entered != NULL) {
            return -EBUSY;
        }
        wait_and_enter(mailbox);
    }
    atomic_store(&mailbox->last_owner, pthread_self());
    mailbox->outer = entered;
    entered = mailbox;
    return 0;
}

void mailbox_leave(struct mailbox *mailbox)
{
    entered = mailbox->outer;
    give_back(mailbox);
}

/* Calls that are waited for. */

/* Make a call on the calling thread itself. */
static void call_here(struct mailbox_call *call)
{
    call->rv = call->mailbox->is_closed ? -ESHUTDOWN : 0;
    if (call->rv == 0) {
        call->fn(call->arg);
    }
    if (call->is_taken) {
        give_back(call->mailbox);
    }
}

/* From now on, calls for the mailboxes that this thread has entered are reported to round, as are those that wait
 * already. */
static void wait_in(struct round *round)
{
    for (struct mailbox *mailbox = entered; mailbox != NULL; mailbox = mailbox->outer) {
        pthread_mutex_lock(&mailbox->lock);
        mailbox->waiting = round;
        if (round != NULL && mailbox->count > 0) {
            tell_round(round, ask_round);
        }
        pthread_mutex_unlock(&mailbox->lock);
    }
}

static void serve_entered(void)
{
    for (struct mailbox *mailbox = entered; mailbox != NULL; mailbox = mailbox->outer) {
        struct letter *letter;
        while ((letter = take_letter(mailbox, true)) != NULL) {
            run_letter(letter);
        }
    }
}

/* Wait until all calls are made. Calls that are made for others meanwhile may wait in a round of their own. */
static void wait_for(struct round *round)
{
    struct round *outer = entered == NULL ? NULL : entered->waiting;
    wait_in(round);
    pthread_mutex_lock(&round->lock);
    while (round->left > 0) {
        if (!round->is_asked) {
            pthread_cond_wait(&round->has_news, &round->lock);
            continue;
        }
        round->is_asked = false;
        pthread_mutex_unlock(&round->lock);
        serve_entered();
        pthread_mutex_lock(&round->lock);
    }
    pthread_mutex_unlock(&round->lock);
    wait_in(outer);
}

void mailbox_call_all(struct mailbox_call *calls, size_t count)
{
    struct round round = {.left = count};
    pthread_mutex_init(&round.lock, NULL);
    pthread_cond_init(&round.has_news, NULL);
    for (size_t i = 0; i < count; i++) {
        struct mailbox_call *call = &calls[i];
        call->is_taken = try_enter(call->mailbox);
        call->is_here = call->is_taken || mailbox_is_mine(call->mailbox);
        if (!call->is_here) {
            call->round = &round;
            call->rv = 0;
            call->letter = (struct letter){.fn = call->fn, .arg = call->arg, .call = call};
            int rv = add_letter(call->mailbox, &call->letter);
            if (rv < 0) {
                call->rv = rv;
                tell_round(&round, one_less);
            }
        }
    }
    for (size_t i = 0; i < count; i++) { /* now that the others have theirs */
        if (calls[i].is_here) {
            call_here(&calls[i]);
            tell_round(&round, one_less);
        }
    }
    wait_for(&round);
    pthread_cond_destroy(&round.has_news);
    pthread_mutex_destroy(&round.lock);
}
