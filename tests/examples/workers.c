/* A host with its own worker threads. For GET /sum?to=N, one of four workers adds 1 to N the slow way and responds by
 * ticket. For GET /lines?count=N, a worker writes N lines, no faster than the client reads them. A job ends when its
 * client leaves. Meanwhile two threads of the library serve requests. */

#include "evserve.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORKERS = 4, STEP = 1 << 20 };

struct job {
    struct job *next;
    void (*run)(evs_ticket ticket, unsigned long n);
    evs_ticket ticket;
    unsigned long n;
};

static evserve *server;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t more = PTHREAD_COND_INITIALIZER;
static struct job *first, **last = &first; /* the queue of jobs */
static int is_over;

static void add_up(evs_ticket ticket, unsigned long n)
{
    unsigned long sum = 0;
    char text[32];
    for (unsigned long i = 1; i <= n; i++) {
        sum += i;
        if (i % STEP == 0 && evserve_ready_to(server, ticket, 0) < 0) {
            return; /* the client has left */
        }
    }
    int len = snprintf(text, sizeof text, "%lu\n", sum);
    evserve_reply_to(server, ticket, 200, "text/plain", text, (size_t)len);
}

static void write_lines(evs_ticket ticket, unsigned long n)
{
    char text[32];
    int rv = evserve_begin_to(server, ticket, 200, "text/plain", -1);
    for (unsigned long i = 1; i <= n && rv >= 0; i++) {
        int len = snprintf(text, sizeof text, "line %lu\n", i);
        rv = evserve_write_to(server, ticket, text, (size_t)len);
        if (rv == 0) {
            rv = evserve_ready_to(server, ticket, -1); /* the client has fallen behind: wait as long as it needs */
        }
    }
    evserve_end_to(server, ticket); /* -ESRCH when the client has left */
}

static void *work(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&lock);
    while (!is_over) {
        struct job *job = first;
        if (job == NULL) {
            pthread_cond_wait(&more, &lock);
            continue;
        }
        first = job->next;
        last = first == NULL ? &first : last;
        pthread_mutex_unlock(&lock);
        job->run(job->ticket, job->n);
        free(job);
        pthread_mutex_lock(&lock);
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

/* Pass a request to the workers. */
static void leave_to_workers(evs_request *request, void (*run)(evs_ticket ticket, unsigned long n), const char *number)
{
    struct job *job = malloc(sizeof *job);
    evs_ticket ticket = evs_defer(request);
    if (job == NULL || ticket == 0) {
        free(job);
        evs_reply(request, 503, NULL, NULL, 0);
        return;
    }
    *job = (struct job){.run = run, .ticket = ticket, .n = number == NULL ? 0 : strtoul(number, NULL, 10)};
    pthread_mutex_lock(&lock);
    *last = job;
    last = &job->next;
    pthread_cond_signal(&more);
    pthread_mutex_unlock(&lock);
}

static void serve_sum(evs_request *request, void *arg)
{
    (void)arg;
    leave_to_workers(request, add_up, evs_query(request, "to"));
}

static void serve_lines(evs_request *request, void *arg)
{
    (void)arg;
    leave_to_workers(request, write_lines, evs_query(request, "count"));
}

static void on_signal(int number)
{
    (void)number;
    evserve_stop(server, 1000);
}

int main(void)
{
    const struct evs_route routes[] = {{.route = "GET /sum", .serve = serve_sum},
                                       {.route = "GET /lines", .serve = serve_lines},
                                       {.route = NULL}};
    struct evserve_config config = {.size = sizeof config, .listen = "127.0.0.1:0", .routes = routes, .reactors = 2};
    char err[EVSERVE_ERROR_MAX];
    pthread_t workers[WORKERS];
    server = evserve_start(&config, err, sizeof err);
    if (server == NULL) {
        fprintf(stderr, "%s\n", err);
        return 1;
    }
    signal(SIGTERM, on_signal);
    for (int i = 0; i < WORKERS; i++) {
        pthread_create(&workers[i], NULL, work, NULL);
    }
    fprintf(stderr, "listening on %s\n", evserve_address(server, 0));
    evserve_wait(server); /* after this no ticket is valid, so every job ends soon */
    pthread_mutex_lock(&lock);
    is_over = 1;
    pthread_cond_broadcast(&more);
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < WORKERS; i++) {
        pthread_join(workers[i], NULL);
    }
    for (struct job *job = first, *next; job != NULL; job = next) {
        next = job->next;
        free(job);
    }
    signal(SIGTERM, SIG_IGN); /* the handler uses a server that is about to be freed */
    evserve_free(server);
    return 0;
}
