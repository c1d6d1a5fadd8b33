/* Tickets: requests that other threads answer, in each way to run a server, with clients that leave meanwhile. */

#include "tests/lib/fake_mem.h"
#include "tests/lib/host.h"

#include <poll.h>
#include <stdatomic.h>
#include <sys/wait.h>

/* Requests on their way to the threads that answer them: a ring under a lock. */
enum { JOBS_MAX = 4096 };

struct jobs {
    pthread_mutex_t lock;
    pthread_cond_t more;
    evs_ticket tickets[JOBS_MAX];
    unsigned first, count;
    bool is_closed; /* no more will come */
};

static struct jobs jobs;

static void jobs_open(void)
{
    jobs.first = jobs.count = 0;
    jobs.is_closed = false;
    pthread_mutex_init(&jobs.lock, NULL);
    pthread_cond_init(&jobs.more, NULL);
}

static void jobs_put(evs_ticket ticket)
{
    pthread_mutex_lock(&jobs.lock);
    assert_true(jobs.count < JOBS_MAX);
    jobs.tickets[(jobs.first + jobs.count++) % JOBS_MAX] = ticket;
    pthread_cond_signal(&jobs.more);
    pthread_mutex_unlock(&jobs.lock);
}

static void jobs_close(void)
{
    pthread_mutex_lock(&jobs.lock);
    jobs.is_closed = true;
    pthread_cond_broadcast(&jobs.more);
    pthread_mutex_unlock(&jobs.lock);
}

/* The next one, or 0 when there are no more. */
static evs_ticket jobs_take(void)
{
    pthread_mutex_lock(&jobs.lock);
    while (jobs.count == 0 && !jobs.is_closed) {
        pthread_cond_wait(&jobs.more, &jobs.lock);
    }
    evs_ticket ticket = 0;
    if (jobs.count > 0) {
        ticket = jobs.tickets[jobs.first];
        jobs.first = (jobs.first + 1) % JOBS_MAX;
        jobs.count--;
    }
    pthread_mutex_unlock(&jobs.lock);
    return ticket;
}

static atomic_uint gone; /* requests whose client left before their answer */

static void on_event(evs_request *request, int event, void *arg)
{
    (void)request;
    (void)arg;
    gone += event == EVS_GONE ? 1 : 0;
}

static void serve_later(evs_request *request, void *arg)
{
    (void)arg;
    evs_on(request, on_event, NULL);
    evs_ticket ticket = evs_defer(request);
    assert_int_not_equal(ticket, 0);
    assert_int_equal(evs_defer(request), ticket);
    jobs_put(ticket);
}

static void serve_hello(evs_request *request, void *arg)
{
    (void)arg;
    evs_reply(request, 200, "text/plain", "hello", 5);
}

static void use_site(void)
{
    static const struct evs_route routes[] = {{.route = "GET /later", .serve = serve_later},
                                              {.route = "GET /", .serve = serve_hello},
                                              {.route = NULL}};
    jobs_open();
    gone = 0;
    host.config.routes = routes;
}

/* Ask for /later, and wait until a ticket of it is there. *fd gets the connection. */
static evs_ticket ask_later(int *fd)
{
    *fd = client_connect(host.port);
    assert_true(client_send(*fd, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n"));
    return jobs_take();
}

/* Leave with a reset, which nobody can take for a client that still reads. */
static void leave(int fd)
{
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(fd);
}

static void free_server(void)
{
    host_stop(1000);
    evserve_free(host.server);
    host.server = NULL;
}

/* Answering. */

static void other_thread_answers_in_each_way(void **state)
{
    (void)state;
    for (unsigned reactors = 0; reactors < 5; reactors += 4) {
        use_site();
        host.config.reactors = reactors;
        host_serve();
        int fd;
        char answer[4096];
        evs_ticket ticket = ask_later(&fd); /* this thread is none of the server's */
        char content[] = "a whole answer";
        assert_int_equal(evserve_set_header_to(host.server, ticket, "X-From", "a thread"), 0);
        assert_int_equal(evserve_set_header_to(host.server, ticket, "Connection", "close"), 0);
        assert_int_equal(evserve_reply_to(host.server, ticket, 202, "text/plain", content, strlen(content)), 0);
        memset(content, 'x', strlen(content)); /* it was copied */
        assert_int_equal(evserve_reply_to(host.server, ticket, 200, NULL, "again", 5), -ESRCH);
        client_read_all(fd, answer, sizeof answer);
        assert_non_null(strstr(answer, "HTTP/1.1 202 "));
        assert_non_null(strstr(answer, "X-From: a thread\r\n"));
        assert_string_equal(client_body(answer), "a whole answer");
        close(fd);

        ticket = ask_later(&fd);
        assert_int_equal(evserve_begin_to(host.server, ticket, 200, "text/plain", 11), 0);
        assert_int_equal(evserve_write_to(host.server, ticket, "hello ", 6), 1);
        assert_int_equal(evserve_write_to(host.server, ticket, "world", 5), 1);
        assert_int_equal(evserve_end_to(host.server, ticket), 0);
        assert_int_equal(evserve_write_to(host.server, ticket, "more", 4), -ESRCH);
        client_read_until(fd, answer, sizeof answer, "world");
        assert_non_null(strstr(answer, "Content-Length: 11\r\n"));
        assert_string_equal(client_body(answer), "hello world");
        /* All content is there before the order to end has come to the server: a client that leaves now is gone. */
        assert_true(client_send(fd, "GET /none HTTP/1.1\r\nHost: a\r\n\r\n"));
        client_read_until(fd, answer, sizeof answer, "404 Not Found\n");
        close(fd);

        ticket = ask_later(&fd);
        assert_int_equal(evserve_abort_to(host.server, ticket), 0);
        client_read_until(fd, answer, sizeof answer, "500 Internal Server Error\n");
        assert_non_null(strstr(answer, "HTTP/1.1 500 "));
        close(fd);
        assert_int_equal(gone, 0);
        free_server();
    }
}

static void ticket_does_not_name_the_next_request_of_its_connection(void **state)
{
    (void)state;
    use_site();
    host_serve();
    int fd;
    char answer[4096];
    evs_ticket first = ask_later(&fd);
    assert_int_equal(evserve_ready_to(host.server, first, 0), 1);
    assert_int_equal(evserve_reply_to(host.server, first, 200, NULL, "one", 3), 0);
    client_read_until(fd, answer, sizeof answer, "one");
    assert_true(client_send(fd, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n"));
    evs_ticket second = jobs_take();
    assert_int_not_equal(first, second);
    assert_int_equal(evserve_write_to(host.server, first, "stray", 5), -ESRCH);
    assert_int_equal(evserve_abort_to(host.server, first), -ESRCH);
    assert_int_equal(evserve_ready_to(host.server, first, 0), -ESRCH);
    assert_int_equal(evserve_reply_to(host.server, second, 200, NULL, "two", 3), 0);
    client_read_until(fd, answer, sizeof answer, "two");
    assert_null(strstr(answer, "stray"));
    close(fd);
}

static void ticket_of_a_client_that_left_names_nothing(void **state)
{
    (void)state;
    use_site();
    host.config.reactors = 1;
    host_serve();
    int fd;
    evs_ticket ticket = ask_later(&fd);
    leave(fd);
    while (evserve_ready_to(host.server, ticket, 0) != -ESRCH) {
        usleep(1000);
    }
    assert_int_equal(evserve_reply_to(host.server, ticket, 200, NULL, "x", 1), -ESRCH);
    assert_int_equal(evserve_end_to(host.server, ticket), -ESRCH);
    while (gone == 0) {
        usleep(1000);
    }
}

static void ticket_of_a_server_that_has_ended(void **state)
{
    (void)state;
    use_site();
    host_serve();
    int fd;
    evs_ticket ticket = ask_later(&fd);
    assert_int_equal(host_stop(0), 1);
    assert_int_equal(evserve_reply_to(host.server, ticket, 200, NULL, "x", 1), -ESHUTDOWN);
    assert_int_equal(evserve_write_to(host.server, ticket, "x", 1), -ESHUTDOWN);
    assert_int_equal(evserve_ready_to(host.server, ticket, -1), -ESHUTDOWN);
    assert_int_equal(gone, 1);
    close(fd);
}

static void mistakes_are_refused_and_change_nothing(void **state)
{
    (void)state;
    use_site();
    host.config.reactors = 1;
    host_serve();
    evserve *server = host.server;
    int fd;
    char answer[4096];
    static char big[512 << 10];
    evs_ticket ticket = ask_later(&fd);
    assert_int_equal(evserve_reply_to(server, ticket, 199, NULL, "x", 1), -EINVAL);
    assert_int_equal(evserve_reply_to(server, ticket, 600, NULL, "x", 1), -EINVAL);
    assert_int_equal(evserve_reply_to(server, ticket, 200, "a\nb", "x", 1), -EINVAL);
    assert_int_equal(evserve_reply_to(server, ticket, 200, NULL, NULL, 1), -EINVAL);
    assert_int_equal(evserve_begin_to(server, ticket, 0, NULL, -1), -EINVAL);
    assert_int_equal(evserve_write_to(server, ticket, NULL, 1), -EINVAL);
    assert_int_equal(evserve_set_header_to(server, ticket, NULL, "x"), -EINVAL);
    assert_int_equal(evserve_set_header_to(server, ticket, "x", NULL), -EINVAL);
    assert_int_equal(evserve_set_header_to(server, ticket, "a b", "x"), -EINVAL);
    assert_int_equal(evserve_set_header_to(server, ticket, "x", "a\nb"), -EINVAL);
    assert_int_equal(evserve_set_header_to(server, ticket, "Content-Length", "5"), -EPERM);
    assert_int_equal(evserve_write_to(server, ticket, big, sizeof big), -EMSGSIZE);
    assert_int_equal(evserve_reply_to(server, 0, 200, NULL, "x", 1), -ESRCH);
    assert_int_equal(evserve_reply_to(server, ticket + 1, 200, NULL, "x", 1), -ESRCH);
    assert_int_equal(evserve_reply_to(server, ticket | (UINT64_C(5) << 55), 200, NULL, "x", 1), -ESRCH);
    assert_int_equal(evserve_cancel(server, (int64_t)ticket), -ENOENT);
    assert_null(evs_find(server, ticket)); /* it is another thread's */
    assert_int_equal(evserve_write_to(server, ticket, "fine", 4), 1);
    assert_int_equal(evserve_reply_to(server, ticket, 200, NULL, "x", 1), -EALREADY);
    assert_int_equal(evserve_begin_to(server, ticket, 200, NULL, -1), -EALREADY);
    assert_int_equal(evserve_set_header_to(server, ticket, "X", "y"), -EALREADY);
    assert_int_equal(evserve_end_to(server, ticket), 0);
    client_read_until(fd, answer, sizeof answer, "\r\n0\r\n");
    assert_non_null(strstr(answer, "\r\n\r\n4\r\nfine\r\n0\r\n"));
    assert_string_equal(host.log, "");
    close(fd);
}

/* Order. */

/* On the request's own thread all of it is done at once. */
static void serve_here(evs_request *request, void *arg)
{
    (void)arg;
    evserve *server = evs_server(request);
    evs_ticket ticket = evs_defer(request);
    assert_ptr_equal(evs_find(server, ticket), request);
    assert_int_equal(evserve_set_header_to(server, ticket, "X-Here", "yes"), 0);
    assert_int_equal(evserve_begin_to(server, ticket, 200, "text/plain", -1), 0);
    assert_int_equal(evs_begun(request), 1);
    assert_int_equal(evserve_begin_to(server, ticket, 200, "text/plain", -1), -EALREADY);
    assert_int_equal(evserve_set_header_to(server, ticket, "X-Late", "yes"), -EALREADY);
    assert_int_equal(evserve_write_to(server, ticket, "at once", 7), 1);
    assert_int_equal(evserve_ready_to(server, ticket, -1), 1);
    assert_int_equal(evserve_end_to(server, ticket), 0);
    assert_int_equal(evs_begun(request), 2);
    assert_int_equal(evs_defer(request), 0);
    assert_int_equal(evserve_end_to(server, ticket), -ESRCH);
    assert_null(evs_find(server, ticket));
}

static void serve_stalled(evs_request *request, void *arg)
{
    static char big[200000];
    evs_ticket ticket = evs_defer(request);
    int rv = 1;
    while (rv > 0) { /* until the client, who does not read yet, is behind */
        rv = evserve_write_to(evs_server(request), ticket, big, 1000);
    }
    *(int *)arg = evserve_ready_to(evs_server(request), ticket, -1);
    assert_int_equal(evserve_ready_to(evs_server(request), ticket, 0), 0);
    assert_int_equal(evserve_end_to(evs_server(request), ticket), 0);
}

static void own_thread_acts_at_once_and_never_waits(void **state)
{
    (void)state;
    int ready = 1;
    const struct evs_route routes[] = {{.route = "GET /here", .serve = serve_here},
                                       {.route = "GET /stalled", .serve = serve_stalled, .arg = &ready},
                                       {.route = NULL}};
    host.config.routes = routes;
    host_serve();
    const char *answer = client_get(host.port, "/here");
    assert_non_null(strstr(answer, "X-Here: yes\r\n"));
    assert_string_equal(client_body(answer), "at once");
    client_get(host.port, "/stalled");
    assert_int_equal(ready, -EDEADLK);
    assert_string_equal(host.log, "");
}

static evs_ticket polled; /* the ticket of the request of the host's own loop */

static void serve_polled(evs_request *request, void *arg)
{
    (void)arg;
    polled = evs_defer(request);
}

static void write_b(void *arg)
{
    (void)arg;
    assert_int_equal(evserve_write_to(host.server, polled, "b", 1), 1); /* "a" may not have come yet */
}

/* What a thread orders between two turns of its own loop comes before what it orders in the next one. */
static void orders_of_a_hosts_loop_keep_their_order(void **state)
{
    (void)state;
    static const struct evs_route routes[] = {{.route = "GET /", .serve = serve_polled}, {.route = NULL}};
    host.config.routes = routes;
    host_start();
    int fd = client_connect(host.port);
    assert_true(client_send(fd, "GET / HTTP/1.0\r\n\r\n"));
    polled = 0;
    while (polled == 0) {
        assert_int_equal(evserve_poll(host.server, -1), 1);
    }
    assert_int_equal(evserve_after(host.server, 0, 0, write_b, NULL) > 0, true);
    assert_int_equal(evserve_poll(host.server, 0), 1); /* the timer is set, and is due in the next turn */
    assert_int_equal(evserve_write_to(host.server, polled, "a", 1), 1);
    assert_int_equal(evserve_poll(host.server, 0), 1);
    assert_int_equal(evserve_post(host.server, write_b, NULL), 0); /* writes when it is called */
    assert_int_equal(evserve_write_to(host.server, polled, "c", 1), 1);
    assert_int_equal(evserve_poll(host.server, 0), 1);
    assert_int_equal(evserve_end_to(host.server, polled), 0);
    struct pollfd waiting = {.fd = fd, .events = POLLRDHUP};
    while (poll(&waiting, 1, 0) == 0) {
        assert_int_equal(evserve_poll(host.server, 10), 1);
    }
    char answer[1024];
    client_read_all(fd, answer, sizeof answer);
    assert_string_equal(client_body(answer), "abcb");
    close(fd);
}

static int waited; /* what evserve_ready_to() said in a callback of another server */

static void wait_in_callback(void *arg)
{
    (void)arg;
    waited = evserve_ready_to(host.server, polled, -1);
}

/* While a client is behind, neither the thread that polls may wait for it, nor one that serves for another server. */
static void thread_that_polls_never_waits_between_two_polls(void **state)
{
    (void)state;
    static const struct evs_route routes[] = {{.route = "GET /", .serve = serve_polled}, {.route = NULL}};
    static char big[100000];
    struct evserve_config none = {.size = sizeof none, .listen = "none"};
    host.config.routes = routes;
    host_start();
    evserve *other = evserve_start(&none, host.err, sizeof host.err);
    assert_non_null(other);
    int fd = client_connect(host.port);
    assert_true(client_send(fd, "GET / HTTP/1.0\r\n\r\n"));
    polled = 0;
    while (polled == 0) {
        assert_int_equal(evserve_poll(host.server, -1), 1);
    }
    while (evserve_write_to(host.server, polled, big, sizeof big) != -EAGAIN) {
        assert_int_equal(evserve_poll(host.server, 0), 1);
    }
    assert_int_equal(evserve_ready_to(host.server, polled, -1), -EDEADLK);
    assert_int_equal(evserve_ready_to(host.server, polled, 0), 0);
    assert_int_equal(evserve_post(other, wait_in_callback, NULL), 0);
    assert_int_equal(evserve_poll(other, 0), 1);
    assert_int_equal(waited, -EDEADLK);
    close(fd);
    evserve_free(other);
}

/* Back-pressure. */

static int may_write;   /* what evs_write_ref() said last, or EVS_DRAIN */
static unsigned pieces; /* that it took */

static void note_drain(evs_request *request, int event, void *arg)
{
    (void)request;
    (void)arg;
    may_write = event == EVS_DRAIN;
}

static void write_refs(void *arg)
{
    static const char big[100000];
    evs_request *request = evs_find(host.server, polled);
    (void)arg;
    evs_on(request, note_drain, NULL);
    while (may_write == 1) {
        may_write = evs_write_ref(request, big, sizeof big, NULL, NULL);
        pieces++;
    }
}

/* What a thread may add is reckoned with what waits for the client, copied or not. */
static void content_that_is_not_copied_counts_for_threads(void **state)
{
    (void)state;
    enum { LARGEST = (256 << 10) - (32 << 10) - 64 };
    static const struct evs_route routes[] = {{.route = "GET /", .serve = serve_polled}, {.route = NULL}};
    static char largest[LARGEST];
    host.config.routes = routes;
    host_start();
    int fd = client_connect(host.port);
    assert_true(client_send(fd, "GET / HTTP/1.0\r\n\r\n"));
    polled = 0;
    while (polled == 0) {
        assert_int_equal(evserve_poll(host.server, -1), 1);
    }
    may_write = 1;
    unsigned before = 0;
    for (int quiet = 0; quiet < 50; quiet++) { /* until the client's socket is full */
        assert_int_equal(evserve_post(host.server, write_refs, NULL), 0);
        assert_int_equal(evserve_poll(host.server, 2), 1);
        quiet = pieces == before ? quiet : 0;
        before = pieces;
    }
    assert_true(evserve_write_to(host.server, polled, "x", 1) >= 0);
    assert_int_equal(evserve_poll(host.server, 0), 1);
    assert_int_equal(evserve_write_to(host.server, polled, largest, LARGEST), -EAGAIN);
    close(fd);
}

static unsigned char byte_at(size_t offset)
{
    return (unsigned char)(offset % 251);
}

/* Write so many bytes, as evserve.h says that it is to be done. Returns the answers that meant waiting. */
static unsigned write_all(evs_ticket ticket, size_t len)
{
    unsigned waits = 0;
    char piece[10000];
    for (size_t done = 0; done < len;) {
        size_t part = len - done < sizeof piece ? len - done : sizeof piece;
        for (size_t i = 0; i < part; i++) {
            piece[i] = (char)byte_at(done + i);
        }
        int rv = evserve_write_to(host.server, ticket, piece, part);
        assert_true(rv >= 0 || rv == -EAGAIN);
        done += rv >= 0 ? part : 0;
        if (rv != 1) {
            assert_int_equal(evserve_ready_to(host.server, ticket, -1), 1);
            waits++;
        }
    }
    return waits;
}

struct writing {
    evs_ticket ticket;
    size_t len;
    unsigned waits;
};

static void *write_from_thread(void *arg)
{
    struct writing *writing = arg;
    writing->waits = write_all(writing->ticket, writing->len);
    evserve_end_to(host.server, writing->ticket);
    return NULL;
}

static void thread_waits_for_a_slow_client_and_nothing_is_lost(void **state)
{
    (void)state;
    for (unsigned reactors = 0; reactors < 3; reactors += 2) {
        enum { LEN = 20000000 };
        use_site();
        host.config.reactors = reactors;
        host_serve();
        int fd = client_connect(host.port);
        assert_true(client_send(fd, "GET /later HTTP/1.0\r\n\r\n"));
        struct writing writing = {.ticket = jobs_take(), .len = LEN};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, write_from_thread, &writing), 0);
        static char content[65536];
        size_t len = client_read_until(fd, content, sizeof content, "\r\n\r\n");
        size_t head = (size_t)(client_body(content) - content), sum = 0;
        memmove(content, content + head, len - head);
        for (ssize_t got = (ssize_t)(len - head); got > 0 || sum == 0; got = recv(fd, content, sizeof content, 0)) {
            for (ssize_t i = 0; i < got; i++, sum++) {
                assert_int_equal((unsigned char)content[i], byte_at(sum));
            }
            usleep(100);
        }
        pthread_join(thread, NULL);
        assert_int_equal(sum, LEN);
        assert_true(writing.waits > 0);
        close(fd);
        free_server();
    }
}

/* Who does not wait when told to is refused at write_cap; the client, who reads nothing, is not cut. */
static void thread_that_does_not_wait_is_refused_and_the_client_is_not_cut(void **state)
{
    (void)state;
    use_site();
    host.config.reactors = 1;
    host_serve();
    int fd = client_connect(host.port);
    assert_true(client_send(fd, "GET /later HTTP/1.0\r\n\r\n"));
    evs_ticket ticket = jobs_take();
    static char piece[200000];
    size_t accepted = 0;
    int rv, refused = 0;
    memset(piece, 'x', sizeof piece);
    while (refused < 1000) {
        rv = evserve_write_to(host.server, ticket, piece, sizeof piece);
        assert_true(rv >= 0 || rv == -EAGAIN);
        accepted += rv >= 0 ? sizeof piece : 0;
        refused = rv >= 0 ? 0 : refused + 1;
        usleep(rv == -EAGAIN ? 10 : 0);
    }
    assert_int_equal(evserve_ready_to(host.server, ticket, 10), 0); /* a time limit */
    assert_int_equal(evserve_end_to(host.server, ticket), 0);       /* ending is accepted always */
    size_t len = client_read_until(fd, piece, 4096, "\r\n\r\n");
    len -= (size_t)(client_body(piece) - piece);
    for (ssize_t got; (got = recv(fd, piece, sizeof piece, 0)) > 0;) {
        len += (size_t)got;
    }
    assert_int_equal(len, accepted);
    assert_int_equal(gone, 0);
    close(fd);
}

/* An answer so long that it fits beside what waits only when that has been sent. */
static void long_piece_is_accepted_when_the_queue_has_gone_down(void **state)
{
    (void)state;
    use_site();
    host.config.reactors = 1;
    host_serve();
    enum { LONGEST = (256 << 10) - (32 << 10) - 64 };
    int fd = client_connect(host.port);
    assert_true(client_send(fd, "GET /later HTTP/1.0\r\n\r\n"));
    evs_ticket ticket = jobs_take();
    static char piece[LONGEST + 1];
    memset(piece, 'x', sizeof piece);
    assert_int_equal(evserve_write_to(host.server, ticket, piece, LONGEST + 1), -EMSGSIZE);
    unsigned accepted = 0, waits = 0;
    static char content[65536];
    size_t len = 0, head = 0;
    while (accepted < 40) {
        int rv = evserve_write_to(host.server, ticket, piece, LONGEST);
        assert_true(rv >= 0 || rv == -EAGAIN);
        accepted += rv >= 0 ? 1 : 0;
        while (rv != 1 && evserve_ready_to(host.server, ticket, 1) == 0) {
            ssize_t got = recv(fd, content, sizeof content - 1, MSG_DONTWAIT);
            if (got > 0 && head == 0) {
                content[got] = '\0';
                head = (size_t)(client_body(content) - content);
            }
            len += got > 0 ? (size_t)got : 0;
            waits++;
        }
    }
    assert_int_equal(evserve_end_to(host.server, ticket), 0);
    for (ssize_t got; (got = recv(fd, content, sizeof content, 0)) > 0;) {
        len += (size_t)got;
    }
    assert_int_equal(len, head + 40 * (size_t)LONGEST);
    assert_true(waits > 0);
    close(fd);
}

/* Write whenever there is room, until the client has left. */
static void *write_for_ever(void *arg)
{
    static char piece[100000];
    evs_ticket ticket = *(evs_ticket *)arg;
    int rv = 1;
    while (rv == 1) {
        rv = evserve_write_to(host.server, ticket, piece, sizeof piece);
        rv = rv == -ESRCH ? rv : evserve_ready_to(host.server, ticket, -1);
    }
    return (void *)(intptr_t)rv;
}

static void thread_that_waits_hears_that_the_client_left(void **state)
{
    (void)state;
    use_site();
    host.config.reactors = 1;
    host_serve();
    int fd;
    evs_ticket ticket = ask_later(&fd);
    pthread_t thread;
    void *result;
    assert_int_equal(pthread_create(&thread, NULL, write_for_ever, &ticket), 0);
    while (evserve_ready_to(host.server, ticket, 0) != 0) { /* nobody reads */
        usleep(1000);
    }
    leave(fd);
    pthread_join(thread, &result);
    assert_int_equal((intptr_t)result, -ESRCH);
}

/* Memory. */

static void serve_failing(evs_request *request, void *arg)
{
    unsigned *failures = arg;
    for (uint64_t n = 1;; n++) {
        fake_mem_fail_after(n, false);
        evs_ticket ticket = evs_defer(request);
        bool is_failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        if (ticket != 0) {
            break;
        }
        assert_true(is_failed);
        ++*failures;
    }
    evs_reply(request, 200, NULL, "x", 1);
}

static void without_memory_nothing_is_accepted(void **state)
{
    (void)state;
    unsigned failures = 0;
    const struct evs_route routes[] = {{.route = "GET /failing", .serve = serve_failing, .arg = &failures},
                                       {.route = "GET /", .serve = serve_polled},
                                       {.route = NULL}};
    host.config.routes = routes;
    host_start();
    int fd = client_connect(host.port);
    assert_true(client_send(fd, "GET /failing HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    polled = 0;
    while (polled == 0) {
        assert_int_equal(evserve_poll(host.server, -1), 1);
    }
    assert_true(failures > 0);
    for (uint64_t n = 1;; n++) {
        fake_mem_fail_after(n, false);
        int rv = evserve_reply_to(host.server, polled, 200, NULL, "fine", 4); /* between two turns: it is posted */
        fake_mem_fail_after(0, false);
        if (rv == 0) {
            break;
        }
        assert_int_equal(rv, -ENOMEM);
    }
    evserve_poll(host.server, 0);
    evserve_poll(host.server, 0);
    char answer[4096];
    client_read_until(fd, answer, sizeof answer, "fine");
    assert_non_null(strstr(answer, "\r\n\r\nfine"));
    close(fd);
}

/* A child has the parent's numbers, and harms nothing with them. */
static void forked_child_is_refused(void **state)
{
    (void)state;
    use_site();
    host.config.reactors = 1;
    host_serve();
    int fd, status;
    char answer[4096];
    evs_ticket ticket = ask_later(&fd);
    int64_t timer = evserve_after(host.server, 0, 3600 * 1000, free, NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(evserve_reply_to(host.server, ticket, 200, NULL, "child", 5) == -ECHILD &&
                      evserve_ready_to(host.server, ticket, -1) == -ECHILD &&
                      evserve_after(host.server, 0, 0, free, NULL) == -ECHILD &&
                      evserve_watch(host.server, 0, 0, 0, NULL, NULL) == -EINVAL &&
                      evserve_cancel(host.server, timer) == -ECHILD
                  ? 0
                  : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(evserve_cancel(host.server, timer), 0);
    assert_int_equal(evserve_reply_to(host.server, ticket, 200, NULL, "parent", 6), 0);
    client_read_until(fd, answer, sizeof answer, "parent");
    assert_null(strstr(answer, "child"));
    close(fd);
}

/* All at once. */

enum { WORKERS = 4, CLIENTS = 6, REQUESTS = 150 };

/* Answer tickets in different ways, and never mind who has left. */
static void *work(void *arg)
{
    unsigned *served = arg;
    for (evs_ticket ticket; (ticket = jobs_take()) != 0; ++*served) {
        evserve *server = host.server;
        switch (*served % 4) {
        case 0:
            evserve_set_header_to(server, ticket, "X-Worker", "yes");
            evserve_reply_to(server, ticket, 200, "text/plain", "whole", 5);
            break;
        case 1:
            for (int i = 0; i < 100 && evserve_write_to(server, ticket, "0123456789", 10) >= 0; i++) {
            }
            evserve_end_to(server, ticket);
            break;
        case 2:
            evserve_begin_to(server, ticket, 200, "text/plain", 3);
            evserve_write_to(server, ticket, "abc", 3);
            evserve_ready_to(server, ticket, 5);
            evserve_end_to(server, ticket);
            break;
        default:
            evserve_abort_to(server, ticket);
        }
        assert_true(evserve_reply_to(server, ticket, 200, NULL, "late", 4) < 0);
    }
    return NULL;
}

/* Ask again and again; leave every third time before the answer comes, or in the middle of it. */
static void *be_client(void *arg)
{
    unsigned *answered = arg;
    for (int i = 0; i < REQUESTS; i++) {
        char answer[4096];
        int fd = client_connect(host.port);
        if (fd < 0 || !client_send(fd, "GET /later HTTP/1.0\r\n\r\n")) {
            continue;
        }
        if (i % 3 == 0) {
            leave(fd);
            continue;
        }
        client_read_all(fd, answer, sizeof answer);
        *answered += strncmp(answer, "HTTP/1.1 ", 9) == 0 ? 1 : 0;
        close(fd);
    }
    return NULL;
}

static void workers_answer_while_clients_leave(void **state)
{
    (void)state;
    for (unsigned reactors = 0; reactors < 5; reactors += 4) {
        use_site();
        host.config.reactors = reactors;
        host_serve();
        pthread_t workers[WORKERS], clients[CLIENTS];
        unsigned served[WORKERS] = {0, 1, 2, 3}, answered[CLIENTS] = {0};
        for (int i = 0; i < WORKERS; i++) {
            assert_int_equal(pthread_create(&workers[i], NULL, work, &served[i]), 0);
        }
        for (int i = 0; i < CLIENTS; i++) {
            assert_int_equal(pthread_create(&clients[i], NULL, be_client, &answered[i]), 0);
        }
        for (int i = 0; i < CLIENTS; i++) {
            pthread_join(clients[i], NULL);
            assert_int_equal(answered[i], REQUESTS - REQUESTS / 3);
        }
        host_expect("/", "hello");
        host_stop(1000); /* with workers that are still at it */
        jobs_close();
        for (int i = 0; i < WORKERS; i++) {
            pthread_join(workers[i], NULL);
        }
        free_server();
    }
}

static char slow_fields[512]; /* of the last line that had some: "name=text " */

static void keep_slow_fields(void *arg, const struct evs_log_entry *entry)
{
    (void)arg;
    size_t len = 0;
    pthread_mutex_lock(&host_log_lock);
    for (unsigned i = 0; i < entry->field_count && len < sizeof slow_fields; i++) {
        const struct evs_log_field *field = &entry->fields[i];
        len += (size_t)snprintf(slow_fields + len, sizeof slow_fields - len, "%s=%s ", field->name, field->text);
    }
    pthread_mutex_unlock(&host_log_lock);
}

static void requests_that_wait_long_for_a_thread_are_logged_as_slow(void **state)
{
    (void)state;
    int fd;
    slow_fields[0] = '\0';
    host.config.log_entry = keep_slow_fields;
    host.config.log_slow_ms = 20;
    use_site();
    host_serve();
    evs_ticket ticket = ask_later(&fd);
    poll(NULL, 0, 60);
    char answer[4096];
    assert_int_equal(evserve_reply_to(host.server, ticket, 200, "text/plain", "late", 4), 0);
    client_read_until(fd, answer, sizeof answer, "late");
    close(fd);
    free_server();
    assert_non_null(strstr(slow_fields, "method=GET path=/later status=200 duration=0."));
    const char *waiting = strstr(slow_fields, " waiting=");
    assert_non_null(waiting);
    assert_true(strtod(waiting + strlen(" waiting="), NULL) >= 0.05); /* the rest is the machine's */
    assert_non_null(strstr(slow_fields, " route=/later place="));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(requests_that_wait_long_for_a_thread_are_logged_as_slow),
        HOST_TEST(other_thread_answers_in_each_way),
        HOST_TEST(ticket_does_not_name_the_next_request_of_its_connection),
        HOST_TEST(ticket_of_a_client_that_left_names_nothing),
        HOST_TEST(ticket_of_a_server_that_has_ended),
        HOST_TEST(mistakes_are_refused_and_change_nothing),
        HOST_TEST(own_thread_acts_at_once_and_never_waits),
        HOST_TEST(orders_of_a_hosts_loop_keep_their_order),
        HOST_TEST(thread_that_polls_never_waits_between_two_polls),
        HOST_TEST(content_that_is_not_copied_counts_for_threads),
        HOST_TEST(thread_waits_for_a_slow_client_and_nothing_is_lost),
        HOST_TEST(thread_that_does_not_wait_is_refused_and_the_client_is_not_cut),
        HOST_TEST(long_piece_is_accepted_when_the_queue_has_gone_down),
        HOST_TEST(thread_that_waits_hears_that_the_client_left),
        HOST_TEST(without_memory_nothing_is_accepted),
        HOST_TEST(forked_child_is_refused),
        HOST_TEST(workers_answer_while_clients_leave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
