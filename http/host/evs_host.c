/* The tables of a thread, and finding the thread of an id. */

#include "http/host/evs_host.h"

#include "core/mailbox.h"
#include "core/sys.h"
#include "core/thread.h"

#include <stddef.h>
#include <time.h>

void evs_host_init(struct evs_host *host, unsigned thread, struct mailbox *mailbox, struct reactor *reactor,
                   const struct log *log)
{
    *host = (struct evs_host){.mailbox = mailbox, .reactor = reactor, .log = log, .thread = thread};
    thread_init_cond(&host->eased);
    pthread_mutex_init(&host->lock, NULL);
    evs_slots_init(&host->tickets);
    evs_slots_init(&host->calls);
    evs_slots_init(&host->fetch_ids);
}

void evs_host_end(struct evs_host *host)
{
    pthread_mutex_lock(&host->lock);
    host->is_over = true;
    pthread_cond_broadcast(&host->eased);
    pthread_mutex_unlock(&host->lock);
}

bool evs_host_is_in_child(const struct evs_host *host)
{
    return sys_process_id() != host->mailbox->process;
}

void evs_host_done(struct evs_host *host)
{
    evs_slots_done(&host->tickets);
    evs_slots_done(&host->calls);
    evs_slots_done(&host->fetch_ids);
    pthread_cond_destroy(&host->eased);
    pthread_mutex_destroy(&host->lock);
}

struct evs_host *evs_host_of_id(const struct evs_door *door, uint64_t id)
{
    uint64_t thread = (id << 1) >> (EVS_THREAD_SHIFT + 1); /* without the sign */
    return thread < door->thread_count ? &door->hosts[thread] : NULL;
}
