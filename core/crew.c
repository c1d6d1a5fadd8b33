/* Happy path: a thread that ends joins a list; whoever starts the next one, or frees the crew, joins those in the list.
 *
 * Failure modes: a thread whose function never returns cannot be ended from outside. After crew_release() a thread
 * detaches itself when it ends, and the last one frees the crew. */

#include "core/crew.h"

#include "core/mem.h"
#include "core/sys.h"
#include "core/thread.h"
#include "core/units.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

struct crew_member {
    struct crew *crew;        /* whose it is */
    struct crew_member *next; /* in the list of those that have ended */
    pthread_t thread;         /* valid in that list */
    void (*fn)(void *arg);    /* what it runs */
    void *arg;                /* for fn */
    bool is_left;             /* nobody waits for it */
};

struct crew {
    pthread_mutex_t lock;
    pthread_cond_t has_news;      /* of the fields below, which the lock protects */
    struct crew_member *ended;    /* to be joined */
    unsigned alive;               /* threads that have not ended */
    unsigned left;                /* of them, those that nobody waits for */
    bool is_released;             /* nobody joins threads any more */
    void (*on_last)(void *owner); /* of crew_release() */
    void *owner;                  /* for on_last */
};

int crew_create(struct crew **crew)
{
    struct crew *made = mem_zalloc(sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    pthread_mutex_init(&made->lock, NULL);
    thread_init_cond(&made->has_news);
    *crew = made;
    return 0;
}

static void destroy_crew(struct crew *crew)
{
    void (*on_last)(void *owner) = crew->on_last;
    void *owner = crew->owner;
    pthread_cond_destroy(&crew->has_news);
    pthread_mutex_destroy(&crew->lock);
    mem_free(crew);
    on_last(owner);
}

/* A thread. */

static void *run_member(void *arg)
{
    struct crew_member *member = arg;
    struct crew *crew = member->crew;
    member->fn(member->arg);
    pthread_mutex_lock(&crew->lock);
    bool is_released = crew->is_released;
    bool is_last = --crew->alive == 0 && is_released;
    crew->left -= member->is_left ? 1 : 0;
    if (!is_released) {
        member->thread = pthread_self();
        member->next = crew->ended;
        crew->ended = member;
        pthread_cond_signal(&crew->has_news);
    }
    pthread_mutex_unlock(&crew->lock);
    if (is_released) {
        mem_free(member);
        (void)pthread_detach(pthread_self());
    }
    if (is_last) {
        destroy_crew(crew);
    }
    return NULL;
}

/* Those in the list are about to return. */
static void join_members(struct crew_member *ended)
{
    while (ended != NULL) {
        struct crew_member *next = ended->next;
        (void)pthread_join(ended->thread, NULL);
        mem_free(ended);
        ended = next;
    }
}

static struct crew_member *take_ended(struct crew *crew)
{
    struct crew_member *ended = crew->ended;
    crew->ended = NULL;
    return ended;
}

int crew_start(struct crew *crew, void (*fn)(void *arg), void *arg, struct crew_member **member)
{
    struct crew_member *made = mem_zalloc(sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    *made = (struct crew_member){.crew = crew, .fn = fn, .arg = arg};
    *member = made; /* before the thread can ask for it */
    pthread_mutex_lock(&crew->lock);
    struct crew_member *ended = take_ended(crew);
    crew->alive++;
    pthread_mutex_unlock(&crew->lock);
    join_members(ended);
    pthread_t thread;
    int rv = thread_start(&thread, run_member, made);
    if (rv < 0) {
        pthread_mutex_lock(&crew->lock);
        crew->alive--;
        pthread_mutex_unlock(&crew->lock);
        mem_free(made);
        *member = NULL;
    }
    return rv;
}

void crew_leave_behind(struct crew_member *member)
{
    struct crew *crew = member->crew;
    pthread_mutex_lock(&crew->lock);
    crew->left += member->is_left ? 0 : 1;
    member->is_left = true;
    pthread_cond_signal(&crew->has_news);
    pthread_mutex_unlock(&crew->lock);
}

unsigned crew_count(struct crew *crew)
{
    pthread_mutex_lock(&crew->lock);
    unsigned alive = crew->alive;
    pthread_mutex_unlock(&crew->lock);
    return alive;
}

void crew_release(struct crew *crew, void (*on_last)(void *owner), void *owner)
{
    int64_t end_ns = sys_now_ns() + CREW_END_MS * NS_PER_MS;
    const struct timespec end = thread_until(end_ns);
    pthread_mutex_lock(&crew->lock);
    int error = 0;
    while (crew->alive > crew->left && error == 0) {
        error = pthread_cond_timedwait(&crew->has_news, &crew->lock, &end);
    }
    struct crew_member *ended = take_ended(crew);
    crew->is_released = true;
    crew->on_last = on_last;
    crew->owner = owner;
    bool is_last = crew->alive == 0;
    pthread_mutex_unlock(&crew->lock);
    join_members(ended);
    if (is_last) {
        destroy_crew(crew);
    }
}
