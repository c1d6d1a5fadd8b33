/* Happy path: services join at the start; routes get their numbers when an offer is about to be served.
 *
 * Failure mode: a route whose name finds no memory, or no room, is counted with others that had neither. */

#include "http/metrics_board.h"

#include "core/mem.h"
#include "core/sys.h"
#include "http/metrics_counts.h"
#include "http/metrics_hosts.h"
#include "http/metrics_own.h"
#include "http/route.h"
#include "http/router.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

/* One allocation; the path follows the methods. */
struct series_name {
    const char *path;
    char methods[];
};

/* Of a reactor: who brings its sample up to date. */
struct board_look {
    void (*look)(void *arg); /* NULL: nobody does */
    void *arg;
};

struct metrics_board {
    struct job_pools *jobs; /* borrowed; may be NULL */
    struct hub *hub;        /* likewise */
    int64_t started_s;
    struct metrics_own *own;         /* of the application */
    unsigned count;                  /* of reactors */
    atomic_ullong succeeded, failed; /* reloads */
    atomic_llong reloaded_s;         /* wall time of the last one */
    atomic_bool has_failed;          /* the last one has */
    struct service **services;       /* of the reactors; NULL before they have joined */
    struct metrics_sample *samples;
    struct board_look *looks;
    pthread_mutex_t lock;                  /* of adding a name */
    unsigned series_count;                 /* of names; atomic: readers see whole names */
    struct series_name *names[SERIES_MAX]; /* from SERIES_FIRST on */
    unsigned host_count;                   /* of hosts, likewise */
    char *hosts[METRICS_HOSTS_MAX];        /* number 1 is the first of them */
};

int metrics_board_create(struct metrics_board **board, unsigned count, const struct log *log)
{
    struct metrics_board *made = mem_zalloc(sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    made->services = mem_zalloc(count * sizeof *made->services);
    made->samples = mem_zalloc(count * sizeof *made->samples);
    made->looks = mem_zalloc(count * sizeof *made->looks);
    pthread_mutex_init(&made->lock, NULL);
    made->series_count = SERIES_FIRST;
    made->count = count;
    made->started_s = sys_wall_time_s();
    int rv = metrics_own_create(&made->own, count, log);
    if (rv < 0 || made->services == NULL || made->samples == NULL || made->looks == NULL) {
        metrics_board_destroy(made);
        return -ENOMEM;
    }
    *board = made;
    return 0;
}

void metrics_board_destroy(struct metrics_board *board)
{
    if (board == NULL) {
        return;
    }
    for (unsigned i = SERIES_FIRST; i < board->series_count; i++) {
        mem_free(board->names[i]);
    }
    for (unsigned i = 0; i < board->host_count; i++) {
        mem_free(board->hosts[i]);
    }
    pthread_mutex_destroy(&board->lock);
    metrics_own_destroy(board->own);
    mem_free(board->services);
    mem_free(board->samples);
    mem_free(board->looks);
    mem_free(board);
}

void metrics_board_set_jobs(struct metrics_board *board, struct job_pools *jobs)
{
    board->jobs = jobs;
}

struct job_pools *metrics_board_jobs(const struct metrics_board *board)
{
    return board->jobs;
}

void metrics_board_set_hub(struct metrics_board *board, struct hub *hub)
{
    board->hub = hub;
}

void metrics_board_join(struct metrics_board *board, unsigned n, struct service *service)
{
    board->services[n] = service;
    service->board = board;
}

void metrics_board_set_look(struct metrics_board *board, unsigned n, void (*look)(void *arg), void *arg)
{
    board->looks[n] = (struct board_look){look, arg};
}

void metrics_board_look(const struct metrics_board *board, unsigned n)
{
    if (board->looks[n].look != NULL) {
        board->looks[n].look(board->looks[n].arg);
    }
}

/* The methods of a route as a word: "GET,POST". */
static void write_methods(const struct router *router, uint64_t methods, char text[ROUTE_METHODS_TEXT_MAX])
{
    router_format_methods(router, methods, text);
    char *out = text;
    for (const char *in = text; *in != '\0'; in++) {
        *out = *in;
        out += *in != ' ';
    }
    *out = '\0';
}

static unsigned add_series(struct metrics_board *board, const char *methods, const char *path)
{
    size_t methods_len = strlen(methods) + 1, path_len = strlen(path) + 1;
    unsigned number = board->series_count;
    struct series_name *name = number == SERIES_MAX ? NULL : mem_alloc(sizeof *name + methods_len + path_len);
    if (name == NULL) {
        return SERIES_MORE;
    }
    memcpy(name->methods, methods, methods_len);
    name->path = memcpy(name->methods + methods_len, path, path_len);
    board->names[number] = name;
    __atomic_store_n(&board->series_count, number + 1, __ATOMIC_RELEASE);
    return number;
}

/* Find a name, or add it. The search begins at hint: routes mostly come in the order in which they came before. */
static unsigned find_series(struct metrics_board *board, const char *methods, const char *path, unsigned hint)
{
    unsigned count = board->series_count - SERIES_FIRST;
    for (unsigned i = 0; i < count; i++) {
        unsigned number = SERIES_FIRST + (hint - SERIES_FIRST + i) % count;
        const struct series_name *name = board->names[number];
        if (strcmp(name->path, path) == 0 && strcmp(name->methods, methods) == 0) {
            return number;
        }
    }
    return add_series(board, methods, path);
}

void metrics_board_number_routes(struct metrics_board *board, struct router *router)
{
    const struct route *route;
    unsigned number = SERIES_FIRST - 1;
    pthread_mutex_lock(&board->lock);
    for (size_t n = 0; (route = router_route(router, n)) != NULL; n++) {
        char methods[ROUTE_METHODS_TEXT_MAX];
        write_methods(router, route->methods, methods);
        number = find_series(board, methods, route->pattern, number < SERIES_FIRST ? SERIES_FIRST : number + 1);
        router_set_series(router, n, (uint16_t)number);
    }
    pthread_mutex_unlock(&board->lock);
}

/* Find a host, or add it. */
static unsigned find_host_number(struct metrics_board *board, const char *name)
{
    for (unsigned i = 0; i < board->host_count; i++) {
        if (strcmp(board->hosts[i], name) == 0) {
            return i + 1;
        }
    }
    char *copy = board->host_count == METRICS_HOSTS_MAX ? NULL : mem_copy_text(name);
    if (copy == NULL) {
        return HOST_OTHER;
    }
    board->hosts[board->host_count] = copy;
    __atomic_store_n(&board->host_count, board->host_count + 1, __ATOMIC_RELEASE);
    return board->host_count;
}

const char *metrics_board_number_hosts(struct metrics_board *board, struct metrics_hosts *hosts)
{
    const char *name, *lost = NULL;
    pthread_mutex_lock(&board->lock);
    for (size_t n = 0; (name = metrics_hosts_name(hosts, n)) != NULL; n++) {
        unsigned number = find_host_number(board, name);
        metrics_hosts_set_number(hosts, n, number);
        lost = number == HOST_OTHER && lost == NULL ? name : lost;
    }
    pthread_mutex_unlock(&board->lock);
    return lost;
}

void metrics_board_note_reload(struct metrics_board *board, bool has_succeeded)
{
    atomic_fetch_add(has_succeeded ? &board->succeeded : &board->failed, 1);
    atomic_store(&board->has_failed, !has_succeeded);
    atomic_store(&board->reloaded_s, sys_wall_time_s());
}

void metrics_board_get_reloads(const struct metrics_board *board, struct board_reloads *reloads)
{
    *reloads = (struct board_reloads){.succeeded = atomic_load(&board->succeeded),
                                      .failed = atomic_load(&board->failed),
                                      .last_s = atomic_load(&board->reloaded_s),
                                      .last_has_succeeded = !atomic_load(&board->has_failed)};
}

unsigned metrics_board_reactors(const struct metrics_board *board)
{
    return board->count;
}

int64_t metrics_board_started_s(const struct metrics_board *board)
{
    return board->started_s;
}

struct metrics_own *metrics_board_own(const struct metrics_board *board)
{
    return board->own;
}

struct service *metrics_board_service(const struct metrics_board *board, unsigned n)
{
    return board->services[n];
}

void metrics_board_sum(const struct metrics_board *board, struct server_stats *sum)
{
    enum { NUMBERS = sizeof *sum / sizeof(uint64_t) };
    *sum = (struct server_stats){0};
    for (unsigned i = 0; i < board->count; i++) {
        struct server_stats one = {0};
        if (board->services[i] != NULL) {
            service_get_stats(board->services[i], &one);
        }
        for (size_t n = 0; n < NUMBERS; n++) {
            ((uint64_t *)sum)[n] += ((const uint64_t *)&one)[n];
        }
    }
}

void metrics_board_sum_topics(const struct metrics_board *board, struct board_topics *sum)
{
    *sum = (struct board_topics){0};
    if (board->hub == NULL) {
        return;
    }
    hub_get_counts(board->hub, &sum->hub);
    for (unsigned i = 0; i < board->count; i++) {
        const struct service *service = metrics_board_service(board, i);
        if (service != NULL && service->topics != NULL) {
            const struct topics_counts *counts = &service->topics->counts;
            sum->delivery.delivered += __atomic_load_n(&counts->delivered, __ATOMIC_RELAXED);
            sum->delivery.skipped += __atomic_load_n(&counts->skipped, __ATOMIC_RELAXED);
            sum->delivery.ended += __atomic_load_n(&counts->ended, __ATOMIC_RELAXED);
        }
    }
}

struct metrics_sample *metrics_board_sample(struct metrics_board *board, unsigned n)
{
    return &board->samples[n];
}

const char *metrics_board_series(const struct metrics_board *board, unsigned series, const char **methods)
{
    static const char *const others[] = {[SERIES_NONE] = "none", [SERIES_FILES] = "files", [SERIES_MORE] = "other"};
    *methods = NULL;
    if (series < SERIES_FIRST) {
        return others[series];
    }
    if (series >= __atomic_load_n(&board->series_count, __ATOMIC_ACQUIRE)) {
        return NULL;
    }
    *methods = board->names[series]->methods;
    return board->names[series]->path;
}

const char *metrics_board_host(const struct metrics_board *board, unsigned host)
{
    if (host == HOST_OTHER) {
        return "";
    }
    return host > __atomic_load_n(&board->host_count, __ATOMIC_ACQUIRE) ? NULL : board->hosts[host - 1];
}
