/* Happy path: connect, say who we are (AUTH, SELECT), ask for a sign of life (PING); when all of that is answered, the
 * user's commands go out, those of a tick together, and replies come in.
 *
 *     PAUSE --timer--> CONNECTING --on_open--> GREETING --replies--> READY
 *       ^                  |                      |                    |
 *       +------------------+---- lose_redis() ----+--------------------+
 *
 * Failure modes: all of them, from a name that does not resolve to a reply that is none, end in lose_redis(): the user
 * is told once, and the next attempt follows after a pause. */

#include "core/redis_client.h"

#include "core/link.h"
#include "core/log.h"
#include "core/outbound.h"
#include "core/sys.h"
#include "core/tls_client_context.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { READ_BLOCK = 16384, REDIS_NUMBER_MAX = 32 };

static void on_redis_attempt(struct reactor *reactor, uint64_t timer, void *arg);

/* Call fn after ms. Without memory for that client->timer is 0. */
static void set_client_timer(struct redis_client *client, uint32_t ms, reactor_timer_fn fn)
{
    reactor_cancel_timer(client->reactor, client->timer);
    client->timer = reactor_set_timeout(client->reactor, ms, fn, client);
}

/* From a half of ms to one and a half. */
static uint32_t about(uint32_t ms)
{
    uint32_t random = 0;
    if (sys_random(&random, sizeof random) < 0) {
        random = ms / 2;
    }
    return ms / 2 + random % (ms + 1);
}

/* The connection is over, or did not come about: begin anew after a pause. */
static void lose_redis(struct redis_client *client, const char *why)
{
    char text[REDIS_FAILURE_MAX]; /* why may be the link's */
    bool is_news = client->is_ready || !client->has_failed;

    snprintf(text, sizeof text, "%s", why);
    link_close(client->link);
    client->link = NULL;
    redis_reader_destroy(client->reader);
    client->reader = NULL;
    write_buffer_done(&client->out);
    reactor_unschedule(client->reactor, &client->flush);
    client->is_ready = client->is_asked = false;
    client->has_failed = true;
    set_client_timer(client, client->pause_ms == 0 ? 1 : about(client->pause_ms), on_redis_attempt);
    if (client->timer == 0) {
        reactor_schedule(client->reactor, &client->again);
    }
    uint32_t longer = client->pause_ms == 0 ? REDIS_CLIENT_PAUSE_LEAST_MS : 2 * client->pause_ms;
    client->pause_ms = longer < REDIS_CLIENT_PAUSE_MOST_MS ? longer : REDIS_CLIENT_PAUSE_MOST_MS;
    if (is_news) {
        client->user->on_lost(client->arg, text);
    }
}

static void lose_redis_for(struct redis_client *client, int error)
{
    const char *why = link_failure(client->link);
    lose_redis(client, why != NULL && why[0] != '\0' ? why : errno_text(-error));
}

/* Sending. */

/* Write a command behind the others. Returns as redis_client_command(). */
static int append_command(struct redis_client *client, const struct redis_word *words, size_t count)
{
    char number[REDIS_NUMBER_MAX];
    uint64_t len = REDIS_NUMBER_MAX;
    int error = 0;
    for (size_t i = 0; i < count; i++) {
        len += words[i].len + REDIS_NUMBER_MAX;
    }
    char *at = len > REDIS_CLIENT_QUEUE_MAX
                   ? NULL
                   : write_buffer_reserve(&client->out, (size_t)len, REDIS_CLIENT_QUEUE_MAX, &error);
    if (at == NULL) {
        return error < 0 ? error : -ENOBUFS;
    }
    const char *start = at;
    int digits = snprintf(number, sizeof number, "*%zu\r\n", count);
    memcpy(at, number, (size_t)digits);
    at += digits;
    for (size_t i = 0; i < count; i++) {
        digits = snprintf(number, sizeof number, "$%zu\r\n", words[i].len);
        memcpy(at, number, (size_t)digits);
        at += digits;
        if (words[i].len > 0) {
            memcpy(at, words[i].text, words[i].len);
        }
        at += words[i].len;
        memcpy(at, "\r\n", 2);
        at += 2;
    }
    write_buffer_commit(&client->out, (size_t)(at - start));
    reactor_schedule(client->reactor, &client->flush);
    return 0;
}

static int append_texts(struct redis_client *client, const char *first, const char *second, const char *third)
{
    const char *texts[] = {first, second, third};
    struct redis_word words[3];
    size_t count = 0;
    while (count < 3 && texts[count] != NULL) {
        words[count] = (struct redis_word){texts[count], strlen(texts[count])};
        count++;
    }
    return append_command(client, words, count);
}

/* Send what is queued, and wait for what is missing. Returns 0, or -errno if the connection is lost. */
static int send_queued(struct redis_client *client)
{
    while (write_buffer_len(&client->out) > 0) {
        ssize_t sent = link_send(client->link, write_buffer_data(&client->out), write_buffer_len(&client->out));
        if (sent < 0 && sent != -EINTR && sent != -EAGAIN) {
            return (int)sent;
        }
        if (sent == -EAGAIN) {
            break;
        }
        write_buffer_consume(&client->out, sent < 0 ? 0 : (size_t)sent);
    }
    bool is_full = write_buffer_len(&client->out) > 0;
    if (!is_full) {
        write_buffer_done(&client->out); /* a burst is no reason to keep its memory */
    }
    return link_want(client->link, (unsigned)REACTOR_READABLE | (is_full ? REACTOR_WRITABLE : 0));
}

static void on_flush(struct reactor *reactor, void *arg)
{
    (void)reactor;
    struct redis_client *client = REACTOR_OWNER(arg, struct redis_client, flush);
    int rv = client->link == NULL ? 0 : send_queued(client);
    if (rv < 0) {
        lose_redis_for(client, rv);
    }
}

/* Receiving. */

static void on_look(struct reactor *reactor, uint64_t timer, void *arg);

/* A reply while commands of ours are under way. */
static void greet_back(struct redis_client *client, const struct redis_reply *reply)
{
    if (reply->kind == REDIS_ERROR) {
        char why[REDIS_FAILURE_MAX];
        snprintf(why, sizeof why, "it replies: %.200s", reply->text);
        lose_redis(client, why);
        return;
    }
    client->greetings--;
    if (client->greetings == 0) {
        client->is_ready = true;
        client->has_failed = false;
        set_client_timer(client, REDIS_CLIENT_PING_MS, on_look);
        if (client->timer == 0) {
            lose_redis(client, errno_text(ENOMEM)); /* nobody would notice that the server is silent */
            return;
        }
        client->user->on_ready(client->arg);
    }
}

/* Whether it replies to PING: a status, or a list once there is a subscription. */
static bool is_pong(const struct redis_reply *reply)
{
    if (reply->kind == REDIS_STATUS) {
        return redis_reply_is(reply, "PONG");
    }
    if (reply->kind != REDIS_LIST || reply->count != 2) {
        return false;
    }
    struct redis_reply first = redis_reply_item(reply, 0);
    return redis_reply_is(&first, "pong");
}

/* Hand on the replies that are whole. Returns 0, or -errno; the connection may be lost meanwhile. */
static int take_replies(struct redis_client *client)
{
    struct redis_reply reply;
    int rv = 0;
    while (client->reader != NULL && (rv = redis_reader_next(client->reader, &reply)) == 1) {
        if (client->greetings > 0) {
            greet_back(client, &reply);
        } else if (!is_pong(&reply)) {
            client->user->on_reply(client->arg, &reply);
        }
    }
    return client->reader == NULL ? 0 : rv;
}

/* Read what has come. Returns 0, or -errno; *has_end: the server has closed. */
static int receive_some(struct redis_client *client, bool *has_end)
{
    char block[READ_BLOCK];
    size_t total = 0;
    int rv = 0;
    while (rv == 0 && client->link != NULL && total < REDIS_CLIENT_READ_MAX) {
        ssize_t got = link_recv(client->link, block, sizeof block);
        if (got == -EAGAIN || got == -EINTR) {
            break; /* link_want() goes on */
        }
        *has_end = got == 0;
        if (got <= 0) {
            return (int)got;
        }
        client->is_heard = true;
        total += (size_t)got;
        rv = redis_reader_feed(client->reader, block, (size_t)got);
        rv = rv < 0 ? rv : take_replies(client);
    }
    return rv;
}

static void on_redis_ready(void *arg, unsigned events)
{
    (void)events;
    struct redis_client *client = arg;
    bool has_end = false;
    int rv = receive_some(client, &has_end);
    if (client->link == NULL) {
        return;
    }
    if (has_end) {
        lose_redis(client, "it has closed the connection");
    } else if (rv == -EPROTO && link_failure(client->link)[0] == '\0') {
        lose_redis(client, "what it sends is not the protocol of Redis");
    } else if (rv == -EMSGSIZE) {
        lose_redis(client, "it has sent a reply of more than 32 MiB");
    } else {
        rv = rv < 0 ? rv : send_queued(client);
        if (rv < 0) {
            lose_redis_for(client, rv);
        }
    }
}

/* Connecting. */

static void on_redis_open(void *arg, int error)
{
    struct redis_client *client = arg;
    const struct redis_url *url = client->url;
    char database[REDIS_NUMBER_MAX];
    int rv = error < 0 ? error : redis_reader_create(&client->reader);
    if (rv < 0) {
        lose_redis_for(client, rv);
        return;
    }
    client->greetings = 1;
    if (url->has_password) {
        client->greetings++;
        rv = url->user[0] != '\0' ? append_texts(client, "AUTH", url->user, url->password)
                                  : append_texts(client, "AUTH", url->password, NULL);
    }
    if (rv == 0 && !client->is_subscriber && url->database != 0) {
        client->greetings++;
        snprintf(database, sizeof database, "%u", url->database);
        rv = append_texts(client, "SELECT", database, NULL);
    }
    rv = rv < 0 ? rv : append_texts(client, "PING", NULL, NULL);
    rv = rv < 0 ? rv : send_queued(client);
    if (rv < 0) {
        lose_redis_for(client, rv);
    }
}

static const struct link_user client_link_user = {.on_open = on_redis_open, .on_ready = on_redis_ready};

/* The attempt has taken too long. */
static void on_redis_late(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)reactor;
    (void)timer;
    struct redis_client *client = arg;
    client->timer = 0;
    lose_redis(client, "it does not answer");
}

/* The pause is over. */
static void on_redis_attempt(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)reactor;
    (void)timer;
    struct redis_client *client = arg;
    const struct redis_url *url = client->url;
    char err[LINK_FAILURE_MAX + LINK_HOST_MAX] = "";
    struct tls_client_settings settings = {.ca_file = url->ca_file[0] == '\0' ? NULL : url->ca_file,
                                           .base_fd = client->base_fd};
    struct link_tls tls = {.settings = &settings};
    struct link_target target = {.host = url->host, .port = url->port, .tls = url->tls ? &tls : NULL};
    if (url->host[0] == '\0') {
        target = (struct link_target){.path = url->path};
    }
    client->timer = 0;
    int rv = outbound_connect(client->outbound, &client->link, &target, &client_link_user, client, err, sizeof err);
    if (rv < 0) {
        client->link = NULL;
        lose_redis(client, err[0] != '\0' ? err : errno_text(-rv));
        return;
    }
    set_client_timer(client, REDIS_CLIENT_CONNECT_MS, on_redis_late);
    if (client->timer == 0) {
        lose_redis(client, errno_text(ENOMEM)); /* nobody would notice that it takes too long */
    }
}

static void on_again(struct reactor *reactor, void *arg)
{
    on_redis_attempt(reactor, 0, REACTOR_OWNER(arg, struct redis_client, again));
}

/* Looking after it. */

static void on_look(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)reactor;
    (void)timer;
    struct redis_client *client = arg;
    client->timer = 0;
    client->pause_ms = 0; /* it has lasted, so the next one may come at once when this one is lost */
    if (!client->is_heard && client->is_asked) {
        lose_redis(client, "it does not answer");
        return;
    }
    if (client->is_heard) {
        client->is_asked = false;
    } else if (append_texts(client, "PING", NULL, NULL) == 0) {
        client->is_asked = true;
    }
    client->is_heard = false;
    set_client_timer(client, REDIS_CLIENT_PING_MS, on_look);
    if (client->timer == 0) {
        lose_redis(client, errno_text(ENOMEM));
    }
}

int redis_client_command(struct redis_client *client, const struct redis_word *words, size_t count)
{
    return client->is_ready ? append_command(client, words, count) : -ENOTCONN;
}

int redis_client_start(struct redis_client *client)
{
    client->flush.fn = on_flush;
    client->again.fn = on_again;
    write_buffer_init(&client->out);
    set_client_timer(client, 0, on_redis_attempt);
    return client->timer == 0 ? -ENOMEM : 0;
}

void redis_client_end(struct redis_client *client)
{
    if (client->reactor == NULL) {
        return;
    }
    if (client->is_ready && write_buffer_len(&client->out) > 0) { /* the last words, as far as there is room */
        (void)link_send(client->link, write_buffer_data(&client->out), write_buffer_len(&client->out));
    }
    reactor_cancel_timer(client->reactor, client->timer);
    reactor_unschedule(client->reactor, &client->flush);
    reactor_unschedule(client->reactor, &client->again);
    link_close(client->link);
    redis_reader_destroy(client->reader);
    write_buffer_done(&client->out);
    *client = (struct redis_client){.reactor = NULL};
}
