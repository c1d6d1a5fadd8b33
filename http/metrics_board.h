#ifndef EVSERVE_HTTP_METRICS_BOARD_H
#define EVSERVE_HTTP_METRICS_BOARD_H

/* What the reactors of a server share of their metrics: where each of them counts, and the names of what they count.
 * Any thread may read; numbers of another thread may be a moment old. Names are never given back before the end, so
 * that a reload goes on with the numbers of the routes that it keeps. */

#include "core/hub.h"
#include "core/topics.h"
#include "http/service.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct job_pools;
struct log;
struct metrics_board;
struct metrics_hosts;
struct metrics_own;
struct router;

/* What a reactor's thread looks at once a second (relaxed atomics). */
struct metrics_sample {
    uint64_t cpu_ns;                     /* processor time of the thread */
    uint64_t lua_memory;                 /* bytes of its script's Lua state */
    uint64_t lua_limit;                  /* and its limit; 0 without a script */
    uint64_t cached_files, cached_bytes; /* of its file cache: files held, and contents in memory */
    uint64_t cache_hits, cache_misses;   /* of all its file caches since the first look: a reload brings a new one */
    uint64_t connections[CONN_PHASES];   /* by what they are doing */
};

/* Make the board of a server with count reactors. log, which may be NULL, is borrowed. Returns 0 or -ENOMEM. */
int metrics_board_create(struct metrics_board **board, unsigned count, const struct log *log);

/* Free it. No reactor runs any more. NULL is allowed. */
void metrics_board_destroy(struct metrics_board *board);

/* The threads of scripts, which are borrowed, are shown, too. Before any reactor runs. */
void metrics_board_set_jobs(struct metrics_board *board, struct job_pools *jobs);
struct job_pools *metrics_board_jobs(const struct metrics_board *board); /* NULL: there are none */

/* The topics of the server, which are borrowed, are shown, too. Before any reactor runs. */
void metrics_board_set_hub(struct metrics_board *board, struct hub *hub);

/* The service of the n-th reactor, which is borrowed, is one of them from now on. Before any reactor runs. */
void metrics_board_join(struct metrics_board *board, unsigned n, struct service *service);

/* look(arg) brings the n-th reactor's sample up to date, on its thread. Set it before requests ask for it, and only
 * once. */
void metrics_board_set_look(struct metrics_board *board, unsigned n, void (*look)(void *arg), void *arg);

/* Call it, if there is one. The n-th reactor's thread. */
void metrics_board_look(const struct metrics_board *board, unsigned n);

/* Give each route its series (http/metrics_counts.h): that of the route with the same methods and path, before a
 * reload or on another thread, or a new one. Routes beyond SERIES_MAX, and all without memory, share SERIES_MORE. Any
 * thread, before requests look for these routes. */
void metrics_board_number_routes(struct metrics_board *board, struct router *router);

/* Give each name its number: that of the same name before, or a new one. Those beyond METRICS_HOSTS_MAX, and all
 * without memory, are HOST_OTHER. Returns the first name that is, or NULL. Any thread, before requests are looked up in
 * hosts. */
const char *metrics_board_number_hosts(struct metrics_board *board, struct metrics_hosts *hosts);

/* A reload is over. Any thread. */
void metrics_board_note_reload(struct metrics_board *board, bool has_succeeded);

/* The metrics of the application. Valid as long as the board. */
struct metrics_own *metrics_board_own(const struct metrics_board *board);

/* Reading. */

unsigned metrics_board_reactors(const struct metrics_board *board);
int64_t metrics_board_started_s(const struct metrics_board *board); /* wall time */

/* Reloads since the start, and what became of the last one. */
struct board_reloads {
    uint64_t succeeded, failed;
    int64_t last_s;          /* wall time of the last one; 0 before the first one */
    bool last_has_succeeded; /* true before the first one */
};

void metrics_board_get_reloads(const struct metrics_board *board, struct board_reloads *reloads);

/* The service of the n-th reactor; NULL before it has joined. */
struct service *metrics_board_service(const struct metrics_board *board, unsigned n);

/* The totals of all services that have joined. */
void metrics_board_sum(const struct metrics_board *board, struct server_stats *sum);

/* What topics add up to: what was published, and what the threads have made of it. All 0 without a hub. */
struct board_topics {
    struct hub_counts hub;
    struct topics_counts delivery;
};

void metrics_board_sum_topics(const struct metrics_board *board, struct board_topics *sum);

/* What the n-th reactor's thread writes once a second. */
struct metrics_sample *metrics_board_sample(struct metrics_board *board, unsigned n);

/* The path of a series, and its methods in *methods ("GET", "PUT,DELETE", "*"; NULL for those that are no route's).
 * NULL past the last series. The texts live as long as the board. */
const char *metrics_board_series(const struct metrics_board *board, unsigned series, const char **methods);

/* The name of a host; "" for HOST_OTHER. NULL past the last one. Lives as long as the board. */
const char *metrics_board_host(const struct metrics_board *board, unsigned host);

#endif
