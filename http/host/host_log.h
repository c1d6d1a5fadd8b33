#ifndef EVSERVE_HTTP_HOST_HOST_LOG_H
#define EVSERVE_HTTP_HOST_HOST_LOG_H

/* The log of a server whose lines go to its host: one after the other, whichever thread writes them. */

#include "core/log.h"
#include "evserve.h"

#include <pthread.h>

struct host_log {
    struct log log; /* what the server writes to */
    /* The config's. NULL: it does not take lines, or does not take them in parts. */
    void (*sink)(void *arg, int level, const char *line);
    void (*entry)(void *arg, const struct evs_log_entry *entry);
    void *arg;            /* for both */
    pthread_mutex_t lock; /* held while the host is called */
};

/* Make the log that a config asks for. It does not move from then on. */
void host_log_init(struct host_log *log, const struct evserve_config *config);

/* From now on the host hears nothing any more, not even from a thread that was left behind. Any thread. */
void host_log_silence(struct host_log *log);

/* No thread writes any more. */
void host_log_done(struct host_log *log);

#endif
