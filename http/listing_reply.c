/* From a directory to a response.
 *
 * Happy path: listing_reply() opens the directory and sends the page that the file cache keeps, if the times of the
 * directory are still those with which the page was made. Otherwise it begins a job (http/listing.h) and takes its
 * first step. That completes small directories; for larger ones a timer takes a step in each tick, so that others have
 * their turns in between.
 *
 * Failure modes: if the client leaves, its job ends. If a directory cannot be read to its end, or memory is short, the
 * response is an error. The next request in the queue always gets its turn. */

#include "http/listing_reply.h"

#include "core/mem.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "core/units.h"
#include "http/cached_file.h"
#include "http/conditional.h"
#include "http/exchange.h"
#include "http/file_cache.h"
#include "http/file_load.h"
#include "http/file_room.h"
#include "http/limits.h"
#include "http/listing.h"
#include "http/mount.h"
#include "http/representation.h"
#include "http/response.h"
#include "http/response_file.h"
#include "http/service.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    KEPT_TIMES = 100, /* a page is kept so many times longer than it took to make, for a hundredth of a core at most */
};

/* A request for a page that is not there yet. */
struct listing_visit {
    struct listing_visit *next; /* in the queue */
    struct exchange *exchange;  /* its user is this */
    struct listings *listings;
    struct mount *mount;
    struct listing listing;  /* of job */
    struct listing_job *job; /* NULL while it waits */
    struct stat st;          /* of the directory before it was read */
    int64_t begun_ms;        /* when that was */
    int64_t spent_ns;        /* by its steps */
    uint64_t timer;          /* of the next step; 0 without one */
    size_t len;              /* bytes of path */
    char path[];             /* below the mount */
};

static void on_turn(struct reactor *reactor, uint64_t timer, void *arg);

static struct reactor *reactor_of(const struct listing_visit *visit)
{
    return visit->exchange->service->reactor;
}

/* Responses. */

/* Evaluate the conditions: a listing exists, but has no validators (RFC 9110 section 13.2.1). Returns whether they
 * settled the response. */
static bool answer_conditions(struct exchange *exchange, const struct mount *mount)
{
    struct validators none = {.etag = ""};
    enum precondition precondition = conditional_evaluate(&exchange->head, exchange->head_data, &none);
    if (precondition == PRECONDITION_HOLDS) {
        return false;
    }
    mount_add_fields(exchange, mount);
    if (precondition == PRECONDITION_NOT_MODIFIED) {
        response_send(exchange, 304, NULL, NULL, 0);
    } else {
        response_refuse(exchange, 412, NULL);
    }
    return true;
}

/* Takes over the reference. */
static void send_page(struct exchange *exchange, const struct mount *mount, struct cached_file *page)
{
    static const char policy_name[] = "Content-Security-Policy";
    static const char policy[] = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; base-uri 'none'; "
                                 "form-action 'none'"; /* no name of a file can make the page do more */
    static const char cut_name[] = "Listing-Cut";
    mount_add_fields(exchange, mount);
    response_add_field(exchange, policy_name, sizeof policy_name - 1, policy, sizeof policy - 1);
    if (page->cut_rows > 0) {
        char rows[24];
        int len = snprintf(rows, sizeof rows, "%" PRIu64, page->cut_rows);
        response_add_field(exchange, cut_name, sizeof cut_name - 1, rows, (size_t)len);
    }
    response_file(exchange, 200, page->type, page, 0, page->size);
}

/* Separate the exchange from its visit. */
static struct exchange *leave(struct listing_visit *visit)
{
    struct exchange *exchange = visit->exchange;
    exchange->user = NULL;
    exchange->on_gone = NULL;
    return exchange;
}

static void refuse_visit(struct listing_visit *visit, int error)
{
    struct exchange *exchange = leave(visit);
    mount_add_fields(exchange, visit->mount);
    representation_refuse(exchange, error);
}

static void free_visit(struct listing_visit *visit)
{
    if (visit->timer != 0) {
        reactor_cancel_timer(reactor_of(visit), visit->timer);
    }
    listing_end(visit->job);
    mem_free(visit);
}

/* The queue. */

/* Let the next visit have its turn, in a tick of its own, since this may run in the middle of another visit's. */
static void run_next(struct listings *listings)
{
    listings->running = NULL;
    while (listings->running == NULL && listings->first != NULL) {
        struct listing_visit *visit = listings->first;
        listings->first = visit->next;
        listings->last = listings->first == NULL ? NULL : listings->last;
        visit->timer = reactor_set_timeout(reactor_of(visit), 0, on_turn, visit);
        if (visit->timer != 0) {
            listings->running = visit;
        } else {
            refuse_visit(visit, -ENOMEM);
            free_visit(visit);
        }
    }
}

static void forget_visit(struct listings *listings, struct listing_visit *visit)
{
    if (listings->running == visit) {
        free_visit(visit);
        run_next(listings);
        return;
    }
    struct listing_visit **at = &listings->first;
    struct listing_visit *before = NULL;
    for (; *at != visit; at = &(*at)->next) {
        before = *at;
    }
    *at = visit->next;
    listings->last = listings->last == visit ? before : listings->last;
    free_visit(visit);
}

static void on_visitor_gone(struct exchange *exchange)
{
    struct listing_visit *visit = exchange->user;
    forget_visit(visit->listings, visit);
}

/* The making of a page. */

/* Until when a page may be sent again. A directory that changed shortly before it was read may change again unseen. */
static int64_t kept_until(const struct listing_visit *visit)
{
    int64_t keep_ms = visit->spent_ns * KEPT_TIMES / NS_PER_MS;
    bool is_brief = keep_ms < FILE_FRESH_MS || file_is_unsettled(&visit->st, sys_wall_time_s());
    return visit->begun_ms + (is_brief ? FILE_FRESH_MS : keep_ms);
}

/* Give the page to the cache. Returns 0 with a reference, or -ENOMEM. */
static int store(struct listing_visit *visit, struct cached_file **file)
{
    struct listing_page page = listing_take(visit->job);
    struct file_page made = {
        .bytes = page.bytes,
        .len = page.len,
        .cut_rows = page.is_cut ? page.rows : 0,
        .made_ms = visit->begun_ms,
        .until_ms = kept_until(visit),
    };
    return file_cache_add_page(visit->listings->cache, &visit->mount->root, visit->path, visit->len, &visit->st, &made,
                               file);
}

static void finish(struct listing_visit *visit, int error)
{
    struct listings *listings = visit->listings;
    struct cached_file *page = NULL;
    int rv = error < 0 ? error : store(visit, &page);
    if (rv == 0) {
        send_page(leave(visit), visit->mount, page);
    } else {
        refuse_visit(visit, rv);
    }
    free_visit(visit);
    run_next(listings);
}

static void take_step(struct listing_visit *visit, int64_t now_ms)
{
    int64_t start_ns = sys_now_ns();
    int rv = listing_step(visit->job, file_root_dir(&visit->mount->root, now_ms));
    visit->spent_ns += sys_now_ns() - start_ns;
    if (rv == LISTING_MORE) {
        visit->timer = reactor_set_timeout(reactor_of(visit), 0, on_turn, visit);
        rv = visit->timer == 0 ? -ENOMEM : LISTING_MORE;
    }
    if (rv != LISTING_MORE) {
        finish(visit, rv);
    }
}

/* Open the directory and look at it. *page gets the page that the cache has, or NULL. Returns an fd or -errno. */
static int open_listed(struct listing_visit *visit, int64_t now_ms, struct cached_file **page)
{
    visit->listing.root_fd = file_root_dir(&visit->mount->root, now_ms);
    int tries = FILE_ROOM_TRIES;
    int dir_fd;
    do {
        dir_fd = listing_open(&visit->listing);
    } while (--tries > 0 && file_room_make(file_cache_room(visit->listings->cache), dir_fd));
    int rv = dir_fd < 0 ? dir_fd : sys_stat(dir_fd, &visit->st);
    if (rv < 0) {
        file_cache_note_denied(visit->listings->cache, &visit->mount->root, visit->path, visit->len, rv, now_ms);
        if (dir_fd >= 0) {
            sys_close(dir_fd);
        }
        return rv;
    }
    visit->begun_ms = now_ms;
    *page = file_cache_get_page(visit->listings->cache, &visit->mount->root, visit->path, visit->len, &visit->st,
                                now_ms);
    return dir_fd;
}

/* Begin the job and take its first step. Takes over dir_fd. */
static void begin(struct listing_visit *visit, int dir_fd, int64_t now_ms)
{
    bool has_room = file_cache_has_page_room(visit->listings->cache);
    int rv = has_room ? listing_begin(&visit->job, &visit->listing, dir_fd) : -ENOMEM;
    if (rv < 0) {
        sys_close(dir_fd);
        finish(visit, rv);
    } else {
        take_step(visit, now_ms);
    }
}

static void on_turn(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)timer;
    struct listing_visit *visit = arg;
    int64_t now_ms = reactor_now_ms(reactor);
    visit->timer = 0;
    if (visit->job != NULL) {
        take_step(visit, now_ms);
        return;
    }
    struct cached_file *page = NULL;
    int dir_fd = open_listed(visit, now_ms, &page); /* the visit before may have made the page */
    if (dir_fd < 0) {
        finish(visit, dir_fd);
    } else if (page == NULL) {
        begin(visit, dir_fd, now_ms);
    } else {
        struct listings *listings = visit->listings;
        sys_close(dir_fd);
        send_page(leave(visit), visit->mount, page);
        free_visit(visit);
        run_next(listings);
    }
}

static struct listing_visit *make_visit(struct listings *listings, struct mount *mount, struct exchange *exchange,
                                        const char *path, size_t len)
{
    struct listing_visit *visit = mem_alloc(sizeof *visit + len + 1);
    if (visit == NULL) {
        return NULL;
    }
    *visit = (struct listing_visit){
        .exchange = exchange,
        .listings = listings,
        .mount = mount,
        .listing =
            {
                .path = visit->path,
                .title = exchange->path,
                .title_len = exchange->path_len,
                .rows_max = exchange->limits->list_max,
                .has_parent = len > 0,
                .shows_dotfiles = mount->settings->dotfiles,
            },
        .len = len,
    };
    memcpy(visit->path, path, len);
    visit->path[len] = '\0';
    return visit;
}

int listing_reply(struct listings *listings, struct mount *mount, struct exchange *exchange, const char *path,
                  size_t len, int64_t now_ms)
{
    struct listing_visit *visit = make_visit(listings, mount, exchange, path, len);
    if (visit == NULL) {
        return -ENOMEM;
    }
    struct cached_file *page = NULL;
    int dir_fd = open_listed(visit, now_ms, &page);
    bool is_answered = dir_fd >= 0 && answer_conditions(exchange, mount);
    if (page != NULL && !is_answered) {
        send_page(exchange, mount, page);
        is_answered = true;
    } else {
        cached_file_put(page);
    }
    if (dir_fd < 0 || is_answered) {
        if (dir_fd >= 0) {
            sys_close(dir_fd);
        }
        mem_free(visit);
        return dir_fd < 0 ? dir_fd : 0;
    }
    exchange->user = visit;
    exchange->on_gone = on_visitor_gone;
    exchange->outlives_end = true; /* it is done as soon as a file is */
    if (listings->running == NULL) {
        listings->running = visit;
        begin(visit, dir_fd, now_ms);
        return 0;
    }
    sys_close(dir_fd);
    *(listings->first == NULL ? &listings->first : &listings->last->next) = visit;
    listings->last = visit;
    return 0;
}
