#ifndef EVSERVE_HTTP_HOST_TLS_KEEPER_H
#define EVSERVE_HTTP_HOST_TLS_KEEPER_H

/* The certificates in use, one set for all threads of a server: made at the start, made anew by a reload and when a
 * file has changed. Whatever is wrong with a new one, the old one stays. */

#include "http/host/tls_plan.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

enum {
    TLS_LOOK_MS = 60000,     /* how often to look whether files have changed */
    TLS_RETRY_LOOKS = 10,    /* after so many looks files that could not be used are tried again */
    TLS_REMIND_LOOKS = 1440, /* and the log reminds of certificates that expire */
    TLS_BLIND_LOOKS = 3,     /* so many looks in a row a file may be gone, since it is being replaced */
    TLS_FAILURE_MAX = 1024,  /* bytes of an error text, as EVSERVE_ERROR_MAX */
};

struct tls_keeper {
    pthread_mutex_t lock;          /* of everything below; files are read under it */
    struct tls_plan plan;          /* what context was made of */
    struct tls_context *context;   /* for new connections; NULL: no listener speaks TLS */
    int base_fd;                   /* borrowed: where relative paths start */
    const struct log *log;         /* borrowed */
    unsigned looks;                /* since the start */
    unsigned blind_looks;          /* of them in a row, for which a file could not even be found */
    bool is_blind_told;            /* and the log has that */
    bool is_confined;              /* the sandbox is in force */
    bool has_named;                /* the log has which certificates were renewed last */
    char failure[TLS_FAILURE_MAX]; /* why the last look failed as a whole, which the log has already; "" */
};

/* Begin without certificates. The other functions may be called by any thread. */
void tls_keeper_init(struct tls_keeper *keeper, int base_fd, const struct log *log);

/* Free it. No other thread may use it any more; connections may still use the context. */
void tls_keeper_done(struct tls_keeper *keeper);

/* The start: make the context of plan, which is taken over and left empty, even if that fails. Returns 0, or -errno
 * with a text in err. */
int tls_keeper_start(struct tls_keeper *keeper, struct tls_plan *plan, char *err, size_t errlen);

/* Root was given up, and the sandbox, with is_confined, is about to close: from now on, files are read with what rights
 * are left. Warns of one that cannot be, since it would not be found when it is renewed. */
void tls_keeper_settle(struct tls_keeper *keeper, bool is_confined);

/* A reload: the same, with all files read again. A certificate that was there before and cannot be used now stays as it
 * is; one that is new and cannot be used keeps the whole plan from being used, and the former one is renewed. The log
 * has the reasons. Returns whether the context is a new one. */
bool tls_keeper_replace(struct tls_keeper *keeper, struct tls_plan *plan);

/* Once every TLS_LOOK_MS: read again the certificates whose files have changed, and now and then those that could not
 * be used. A failure goes to the log, once; so does a file that cannot be looked at, and a certificate's expiry.
 * Returns whether the context is a new one. */
bool tls_keeper_look(struct tls_keeper *keeper);

/* The keys of session tickets: in a pipe, for the program that takes the place of this one (tls_tickets_pass()); and of
 * the one whose place this takes, at the start: without them the log says what that means. tls_keeper_pass_tickets()
 * returns the fd, the caller's to close, or -errno: -ENOENT without certificates. */
int tls_keeper_pass_tickets(struct tls_keeper *keeper);
void tls_keeper_take_tickets(struct tls_keeper *keeper, int fd);

/* A reference to the context, for tls_context_put(); NULL without one. */
struct tls_context *tls_keeper_get(struct tls_keeper *keeper);

#endif
