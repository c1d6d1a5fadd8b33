/* Work on threads: POST /jobs receives a multipart form with a file, writes the file to disk while it arrives, and
 * passes it to one of two workers, which computes a digest of it ?rounds= times. When the digest is ready, the response
 * has its value and the file's path. If a client leaves, its upload or job is cancelled and the file is removed. A job
 * of more than five minutes is cancelled, too, and its client gets a 503 (handler_timeout).
 *
 *     curl -F file=@photo.jpg 'http://.../jobs?rounds=20'       cbf29ce484222325 ./job-Sc3fXa
 *     curl http://.../jobs                                      waiting 0, running 1, done 3, cancelled 1
 *
 * Two threads serve requests. They share the queue with the workers, so it has a lock. */

#include "evserve.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WORKERS = 2, WAITING_MAX = 16 };

/* Owned by the request's thread while the file arrives, then by a worker. */
struct job {
    struct job *next; /* in the queue */
    evserve *server;
    evs_ticket ticket; /* names the request that waits for the digest */
    unsigned long rounds;
    int fd;
    char path[256];
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct job *first, **last;
    unsigned waiting, running, done, cancelled;
    int is_closed; /* no more jobs are accepted */
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .last = &queue.first};

static evserve *server;
static const char *folder;

static void on_signal(int number)
{
    (void)number;
    evserve_stop(server, 2000);
}

static void free_job(struct job *job, int keeps_file)
{
    if (job->fd >= 0) {
        close(job->fd);
    }
    if (!keeps_file) {
        unlink(job->path);
    }
    free(job);
}

/* Put a job in the queue. Returns 0, or -1 if the queue is full. */
static int queue_put(struct job *job)
{
    pthread_mutex_lock(&queue.lock);
    int is_full = queue.waiting == WAITING_MAX;
    if (!is_full) {
        *queue.last = job;
        queue.last = &job->next;
        queue.waiting++;
        pthread_cond_signal(&queue.changed);
    }
    pthread_mutex_unlock(&queue.lock);
    return is_full ? -1 : 0;
}

/* Wait for a job and take it. Returns NULL if the queue is closed. */
static struct job *queue_take(void)
{
    pthread_mutex_lock(&queue.lock);
    while (queue.first == NULL && !queue.is_closed) {
        pthread_cond_wait(&queue.changed, &queue.lock);
    }
    struct job *job = queue.first;
    if (job != NULL) {
        queue.first = job->next;
        queue.last = queue.first == NULL ? &queue.first : queue.last;
        queue.waiting--;
        queue.running++;
    }
    pthread_mutex_unlock(&queue.lock);
    return job;
}

static void queue_count(int was_cancelled)
{
    pthread_mutex_lock(&queue.lock);
    queue.running--;
    *(was_cancelled ? &queue.cancelled : &queue.done) += 1;
    pthread_mutex_unlock(&queue.lock);
}

/* Compute FNV-1a over the file, round after round. Returns 0 or -errno; -ESRCH means that the client has left. */
static int make_digest(const struct job *job, uint64_t *digest)
{
    unsigned char bytes[65536];
    ssize_t len = 0;
    *digest = UINT64_C(0xcbf29ce484222325);
    for (unsigned long round = 0; len == 0 && round < job->rounds; round++) {
        off_t at = 0;
        do {
            int rv = evserve_ready_to(job->server, job->ticket, 0);
            if (rv < 0) {
                return rv;
            }
            len = pread(job->fd, bytes, sizeof bytes, at);
            for (ssize_t i = 0; i < len; i++) {
                *digest = (*digest ^ bytes[i]) * UINT64_C(0x100000001b3);
            }
            at += len;
        } while (len > 0);
    }
    return len < 0 ? -errno : 0;
}

static void *work(void *arg)
{
    (void)arg;
    struct job *job;
    while ((job = queue_take()) != NULL) {
        uint64_t digest;
        char text[320] = "the file cannot be read\n";
        int rv = make_digest(job, &digest);
        if (close(job->fd) < 0 && rv == 0) {
            rv = -errno; /* a network's file system may report a full disk only now */
        }
        job->fd = -1;
        if (rv == 0) {
            snprintf(text, sizeof text, "%016" PRIx64 " %s\n", digest, job->path);
        }
        int sent = evserve_reply_to(job->server, job->ticket, rv == 0 ? 201 : 500, "text/plain", text, strlen(text));
        queue_count(sent < 0);
        free_job(job, rv == 0 && sent == 0);
    }
    return NULL;
}

/* Write what has arrived of the file. Returns EVS_END when it is complete, EVS_WAIT, or the negated status to reply
 * with. */
static int take_file(evs_request *request, struct job *job)
{
    struct evs_part part = {.size = sizeof part};
    int rv;
    do {
        const void *data;
        size_t len;
        while ((rv = evs_part_read(request, &data, &len)) == EVS_PIECE) {
            if (write(job->fd, data, len) != (ssize_t)len) {
                return -507; /* the disk is full */
            }
        }
        if (rv == EVS_END) {
            rv = evs_part_next(request, &part);
        }
    } while (rv == EVS_PART);
    return rv;
}

/* Read until there is no more data for now (EVS_DATA will call again), the form is complete, or there is an error. */
static void take_job(evs_request *request, struct job *job)
{
    int rv = take_file(request, job);
    if (rv == EVS_WAIT) {
        return;
    }
    if (rv == EVS_END) {
        job->ticket = evs_defer(request);
        evs_on(request, NULL, NULL); /* from now on a worker owns the job */
        if (job->ticket != 0 && queue_put(job) == 0) {
            return;
        }
        rv = -503;
    }
    evs_reply(request, -rv, NULL, NULL, 0);
    free_job(job, 0);
}

static void on_upload_event(evs_request *request, int event, void *arg)
{
    if (event == EVS_DATA) {
        take_job(request, arg);
    } else if (event == EVS_GONE) {
        free_job(arg, 0);
    }
}

static void post_job(evs_request *request, void *arg)
{
    (void)arg;
    const char *rounds = evs_query(request, "rounds");
    struct job *job = calloc(1, sizeof *job);
    if (job != NULL) {
        job->server = evs_server(request);
        job->rounds = rounds == NULL ? 1 : strtoul(rounds, NULL, 10);
        snprintf(job->path, sizeof job->path, "%s/job-XXXXXX", folder);
        job->fd = mkstemp(job->path);
    }
    if (job == NULL || job->fd < 0) {
        evs_reply(request, 503, NULL, NULL, 0);
        free(job);
        return;
    }
    evs_on(request, on_upload_event, job);
    take_job(request, job);
}

static void get_jobs(evs_request *request, void *arg)
{
    (void)arg;
    char text[128];
    pthread_mutex_lock(&queue.lock);
    int len = snprintf(text, sizeof text, "waiting %u, running %u, done %u, cancelled %u\n", queue.waiting,
                       queue.running, queue.done, queue.cancelled);
    pthread_mutex_unlock(&queue.lock);
    evs_reply(request, 200, "text/plain", text, (size_t)len);
}

int main(int argc, char **argv)
{
    const struct evs_limits limits = {.size = sizeof limits, .max_body = 1 << 30};
    const struct evs_route routes[] = {
        {.route = "POST /jobs", .serve = post_job, .flags = EVS_STREAM_BODY, .limits = &limits},
        {.route = "GET /jobs", .serve = get_jobs},
        {.route = NULL},
    };
    struct evserve_config config = EVSERVE_CONFIG_INIT;
    char err[EVSERVE_ERROR_MAX];
    folder = argc > 1 ? argv[1] : ".";
    config.listen = argc > 2 ? argv[2] : "127.0.0.1:0";
    config.routes = routes;
    config.reactors = 2;
    server = evserve_start(&config, err, sizeof err);
    if (server == NULL) {
        fprintf(stderr, "%s\n", err);
        return 1;
    }
    signal(SIGTERM, on_signal);
    fprintf(stderr, "listening on %s\n", evserve_address(server, 0));
    pthread_t workers[WORKERS];
    unsigned count = 0;
    while (count < WORKERS && pthread_create(&workers[count], NULL, work, NULL) == 0) {
        count++;
    }
    evserve_wait(server); /* jobs whose requests it cuts are cancelled */
    pthread_mutex_lock(&queue.lock);
    queue.is_closed = 1;
    pthread_cond_broadcast(&queue.changed);
    pthread_mutex_unlock(&queue.lock);
    while (count > 0) {
        pthread_join(workers[--count], NULL);
    }
    signal(SIGTERM, SIG_IGN); /* the handler uses a server that is about to be freed */
    evserve_free(server);
    return 0;
}
