#ifndef EVSERVE_HTTP_HOST_PLAN_H
#define EVSERVE_HTTP_HOST_PLAN_H

/* What a host asked for, kept so that offers can be made of it at the start and at each reload. One for each handle,
 * shared by its threads, which only read it, except for the file stamps and the certificates in use, which have locks
 * of their own. */

#include "core/file_stamps.h"
#include "core/net_handed.h"
#include "core/write_buffer.h"
#include "evserve.h"
#include "http/host/access_keeper.h"
#include "http/host/limit_keeper.h"
#include "http/host/tls_keeper.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct destinations;
struct hub;
struct job_pools;
struct log;
struct offer;
struct outbound;
struct packed;
struct script_kind;
struct script_load;
struct stores;
struct topics;

struct plan {
    struct evserve_config config;   /* our own copy */
    const struct script_kind *kind; /* of the script; NULL if this build runs none */
    const struct log *log;          /* borrowed */
    int base_fd;              /* the working directory at the start, where relative paths start; -errno without it */
    struct file_stamps files; /* the files of the script, and what it reads at its start */
    struct write_buffer script_text; /* the script, of is_piped */
    uint64_t lua_memory_bytes;       /* default of lua_memory, by the limit of the cgroup; 0: lua's own */
    struct packed *packed;           /* config.script_files, which come before files on disk; may be NULL; owned */
    bool is_piped;                   /* it came through a pipe, so it cannot be read again */
    struct tls_plan certificates;    /* those of config, and its settings */
    struct tls_keeper tls;           /* the certificates in use */
    struct access_keeper access;     /* the access log in use */
    struct limit_keeper limits;      /* what limits of requests have counted */
    struct metrics_board *board;     /* the numbers of all threads; owned */
    struct stores *stores;           /* that scripts share; owned */
    struct hub *hub;                 /* topics, of all threads; owned */
    struct job_pools *jobs;          /* threads of scripts; released before plan_done() */
    struct destinations *allowed;    /* in a sandbox: servers that alone may be connected with; else NULL; owned */
    struct net_handed_list handed;   /* sockets for the start; none afterwards */
    struct {
        char fingerprint[96], pin[64]; /* of core/tls_dev.h; "": there is no certificate for development */
    } dev;
};

/* Copy a config that evs_config_read() has read. kind and log are borrowed. Returns 0, or -ENOMEM with nothing to
 * free. */
int plan_init(struct plan *plan, const struct evserve_config *config, const struct script_kind *kind,
              const struct log *log);

/* Read the script if it comes through a pipe, and how much memory its states may have: once, for all threads. Returns
 * 0, or -errno with a text in err. */
int plan_read_script(struct plan *plan, char *err, size_t errlen);

/* Every address is bound: forget the sockets of config.inherited, whose fds are the host's. */
void plan_forget_handed(struct plan *plan);

/* The default of lua_memory for each of so many threads, in a process that may have limit_bytes; 0: the one of
 * lua/settings.def. */
uint64_t plan_share_memory(uint64_t limit_bytes, unsigned reactors);

/* Make an offer for the reactor of outbound and topics, on its thread, or as load says, which may be NULL. thread is
 * the number of that reactor; for the first one missing directories are logged. Returns 0, or -errno with a text in
 * err. */
int plan_make_offer(struct plan *plan, struct outbound *outbound, struct topics *topics, unsigned thread,
                    const struct script_load *load, struct offer **made, char *err, size_t errlen);

/* Settle the certificates of the listeners: the host's, the one that is made for development among them, or else those
 * of the script of offer. plan_start_tls() reads them, and fails if one cannot be used, if there is none although a
 * listener speaks TLS, if a listener redirects to HTTPS and none speaks it, or if sockets without TLS ("fd:3") take the
 * place of a script's addresses with it. plan_reload_tls() reads
 * those of another offer, and keeps the former ones if anything is wrong, which the log says. Returns 0, or -errno with
 * a text in err. */
int plan_start_tls(struct plan *plan, const struct offer *offer, char *err, size_t errlen);
void plan_reload_tls(struct plan *plan, const struct offer *offer);

/* Once all addresses are bound: warn of certificates, and of hsts, if no listener speaks TLS, and of metrics that no
 * route shows. */
void plan_warn_of_unused(const struct plan *plan, const struct offer *offer);

/* Open the access logs that the host or the script of offer asks for, or go on with those in use if they are the same: at
 * the start, and at each reload. Returns 0, or -errno with a text in err and the former ones still in use. */
int plan_open_access(struct plan *plan, const struct offer *offer, char *err, size_t errlen);

/* Whether plan_open_access() would open the access logs: access_file_check(). */
int plan_check_access(const struct plan *plan, const struct offer *offer, char *err, size_t errlen);

/* Have the log say how clients recognize the certificate for development, if there is one. */
void plan_announce_dev(const struct plan *plan);

/* No offer of the plan is left: release its jobs as job_pools_release() does. plan_done() may follow when on_last was
 * called. */
void plan_release_jobs(struct plan *plan, void (*on_last)(void *owner), void *owner);

/* Free what else plan_init() made. */
void plan_done(struct plan *plan);

/* In a child process: close the fd, and leave everything else as it is. */
void plan_abandon(struct plan *plan);

#endif
