/* core/broker.c with a real Redis: several hubs, as of several machines, on one reactor. Skipped where redis-server or
 * hiredis is not installed. */

#include "core/broker.h"
#include "core/hub.h"
#include "core/log.h"
#include "core/outbound.h"
#include "core/reactor.h"
#include "core/redis_reader.h"
#include "core/topics.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/open_fds.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { MACHINES = 3, HEARD_MAX = 4096 };

struct machine {
    struct hub *hub;
    struct topics topics;
    struct outbound outbound;
    struct broker_bell bell;
    struct broker *broker;
    struct subscription subscription;
    char heard[HEARD_MAX];       /* "one two " */
    char ids[HEARD_MAX];         /* of what was heard */
    struct publication_id first; /* of them */
    int count;                   /* of what was heard */
    int last[26];                /* number of the last text of each letter, "a7" */
    bool is_unordered;           /* one had a smaller number than that before it */
};

static struct {
    pid_t redis;
    char folder[64], socket[96], url[128];
    struct reactor *reactor;
    struct log log;
    char logged[HEARD_MAX];
    struct machine machines[MACHINES];
    int fds;
    size_t blocks;
} scene;

static void take_line(void *arg, int level, const char *line)
{
    (void)arg;
    (void)level;
    snprintf(scene.logged + strlen(scene.logged), HEARD_MAX - strlen(scene.logged), "%s\n", line);
}

/* Redis. */

/* Send a command as a line; returns what comes back at once. */
static const char *redis(const char *line)
{
    static char reply[HEARD_MAX];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", scene.socket);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ssize_t len = -1;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 && dprintf(fd, "%s\r\n", line) > 0) {
        len = recv(fd, reply, sizeof reply - 1, 0);
    }
    close(fd);
    reply[len < 0 ? 0 : len] = '\0';
    return len <= 0 ? NULL : reply;
}

static void pass(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

static bool start_redis(void)
{
    scene.redis = fork();
    if (scene.redis == 0) {
        if (freopen("/dev/null", "w", stdout) == NULL) {
            _exit(126);
        }
        execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", scene.socket, "--save", "", "--dir",
               scene.folder, (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 1000; i++) {
        int status;
        const char *reply = redis("PING");
        if (reply != NULL && strcmp(reply, "+PONG\r\n") == 0) {
            return true;
        }
        if (waitpid(scene.redis, &status, WNOHANG) == scene.redis) {
            break;
        }
        pass(10);
    }
    scene.redis = 0;
    return false;
}

static void stop_redis(void)
{
    if (scene.redis > 0) {
        kill(scene.redis, SIGKILL);
        waitpid(scene.redis, NULL, 0);
        scene.redis = 0;
    }
}

static int begin_all(void **state)
{
    (void)state;
    snprintf(scene.folder, sizeof scene.folder, "/tmp/evbroker.XXXXXX");
    if (mkdtemp(scene.folder) == NULL) {
        return -1;
    }
    snprintf(scene.socket, sizeof scene.socket, "%s/s", scene.folder);
    snprintf(scene.url, sizeof scene.url, "unix:%s", scene.socket);
    if (redis_reader_is_there()) {
        (void)start_redis();
    }
    scene.log = (struct log){.sink = take_line, .level = LOG_DEBUG};
    return 0;
}

static int end_all(void **state)
{
    (void)state;
    stop_redis();
    unlink(scene.socket);
    return rmdir(scene.folder);
}

/* Machines. */

static bool is_connected(const struct machine *machine)
{
    struct hub_counts counts;
    hub_get_counts(machine->hub, &counts);
    return counts.broker.is_connected;
}

static int open_broker(struct machine *machine, const char *url)
{
    const struct broker_config config = {
        .bell = &machine->bell,
        .url = url,
        .hub = machine->hub,
        .reactor = scene.reactor,
        .outbound = &machine->outbound,
        .log = &scene.log,
        .base_fd = -1,
    };
    char err[BROKER_ERROR_MAX];
    return broker_create(&machine->broker, &config, err, sizeof err);
}

static int open_machine(int n, const char *url)
{
    struct machine *machine = &scene.machines[n];
    int rv = hub_create(&machine->hub, 1);
    if (rv < 0) {
        return rv;
    }
    topics_init(&machine->topics, machine->hub, 0, scene.reactor);
    outbound_init(&machine->outbound, scene.reactor, NULL, &scene.log);
    return open_broker(machine, url);
}

static void close_machine(struct machine *machine)
{
    if (machine->hub != NULL) {
        broker_destroy(machine->broker);
        outbound_done(&machine->outbound);
        topics_unsubscribe(&machine->subscription);
        topics_done(&machine->topics);
    }
}

static void turn(void)
{
    assert_true(reactor_run_once(scene.reactor, 1) >= 0);
}

/* Turn until a condition holds, for at most ten seconds. */
#define turn_until(condition)                                                                                          \
    do {                                                                                                               \
        int turns_left = 10000;                                                                                        \
        while (!(condition) && turns_left-- > 0) {                                                                     \
            turn();                                                                                                    \
        }                                                                                                              \
        assert_true(condition);                                                                                        \
    } while (0)

static enum delivery hear(struct subscription *subscription, struct publication *publication)
{
    struct machine *machine = subscription->arg;
    const struct payload *payload = publication->payload;
    char id[PUBLICATION_ID_TEXT];
    publication_id_write(payload->id, id);
    if (machine->first.ms == 0) {
        machine->first = payload->id;
    }
    int letter = payload->data[0] - 'a';
    int number = atoi(payload->data + 1);
    machine->count++;
    if (letter >= 0 && letter < 26 && number > 0) {
        machine->is_unordered = machine->is_unordered || number <= machine->last[letter];
        machine->last[letter] = number;
    }
    snprintf(machine->heard + strlen(machine->heard), HEARD_MAX - strlen(machine->heard), "%s ", payload->data);
    snprintf(machine->ids + strlen(machine->ids), HEARD_MAX - strlen(machine->ids), "%s ", id);
    return DELIVERY_TAKEN;
}

static void join(int n, const char *topic, unsigned keep, struct publication_id after)
{
    struct machine *machine = &scene.machines[n];
    struct topics_replay replay = {.keep = keep, .after = after};
    assert_int_equal(topics_subscribe(&machine->topics, &machine->subscription, topic, strlen(topic), hear, machine,
                                      keep > 0 ? &replay : NULL),
                     0);
}

static void publish(int n, const char *topic, const char *text)
{
    const struct message_parts message = {.topic = topic,
                                          .topic_len = strlen(topic),
                                          .data = text,
                                          .len = strlen(text)};
    assert_int_equal(hub_publish(scene.machines[n].hub, &message), 0);
}

static const char *heard(int n)
{
    return scene.machines[n].heard;
}

static int set_up(void **state)
{
    (void)state;
    memset(scene.machines, 0, sizeof scene.machines);
    scene.logged[0] = '\0';
    scene.fds = open_fds();
    scene.blocks = fake_mem_live();
    return reactor_create(&scene.reactor, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    fake_mem_fail_after(0, false);
    for (int i = 0; i < MACHINES; i++) {
        close_machine(&scene.machines[i]);
    }
    reactor_destroy(scene.reactor);
    for (int i = 0; i < MACHINES; i++) {
        hub_destroy(scene.machines[i].hub);
    }
    if (scene.redis > 0) {
        (void)redis("FLUSHALL");
    }
    return open_fds() == scene.fds && fake_mem_live() == scene.blocks ? 0 : -1;
}

static void begin(int machines)
{
    if (scene.redis <= 0) {
        skip();
    }
    for (int i = 0; i < machines; i++) {
        assert_int_equal(open_machine(i, scene.url), 0);
    }
    for (int i = 0; i < machines; i++) {
        turn_until(is_connected(&scene.machines[i]));
    }
}

/* Whether Redis knows of so many subscribers of a topic. */
static bool has_subscribers(const char *topic, int count)
{
    char line[128], wanted[32];
    snprintf(line, sizeof line, "PUBSUB NUMSUB evserve:0:%s", topic);
    snprintf(wanted, sizeof wanted, ":%d\r\n", count);
    const char *reply = redis(line);
    return reply != NULL && strstr(reply, wanted) != NULL;
}

static struct hub_broker_counts counts_of(int n)
{
    struct hub_counts counts;
    hub_get_counts(scene.machines[n].hub, &counts);
    assert_true(counts.has_broker);
    return counts.broker;
}

/* Messages that were published on a machine. */
static uint64_t published_on(int n)
{
    struct hub_counts counts;
    hub_get_counts(scene.machines[n].hub, &counts);
    return counts.published;
}

static const struct publication_id from_now = {0};

static void messages_reach_all_machines_once(void **state)
{
    (void)state;
    begin(2);
    join(0, "news", 0, from_now);
    join(1, "news", 0, from_now);
    turn_until(has_subscribers("news", 2));
    publish(0, "news", "a1");
    publish(0, "news", "a2");
    publish(0, "other", "nobody");
    turn_until(strcmp(heard(1), "a1 a2 ") == 0);
    publish(1, "news", "b1");
    turn_until(strcmp(heard(0), "a1 a2 b1 ") == 0);
    assert_non_null(redis("PUBLISH evserve:0:news foreign"));
    turn_until(strcmp(heard(0), "a1 a2 b1 foreign ") == 0);
    turn_until(strcmp(heard(1), "a1 a2 b1 foreign ") == 0);
    const struct hub_broker_counts counts = counts_of(0);
    assert_int_equal(counts.sent, 3);
    assert_int_equal(counts.received, 2);
    assert_int_equal(counts.dropped, 0);
    assert_int_equal(counts.waiting, 0);
}

static void topic_is_subscribed_while_it_has_subscribers(void **state)
{
    (void)state;
    begin(1);
    struct machine *machine = &scene.machines[0];
    for (int i = 0; i < 3; i++) {
        join(0, "news", 0, from_now);
        turn_until(has_subscribers("news", 1));
        topics_unsubscribe(&machine->subscription);
        turn_until(has_subscribers("news", 0));
    }
    for (int i = 0; i < 20; i++) { /* while Redis has not yet confirmed */
        join(0, "news", 0, from_now);
        topics_unsubscribe(&machine->subscription);
        turn();
    }
    join(0, "news", 0, from_now);
    turn_until(has_subscribers("news", 1));
    publish(0, "news", "a");
    turn_until(strcmp(heard(0), "a ") == 0);
}

static void replays_have_the_same_ids_everywhere(void **state)
{
    (void)state;
    begin(2);
    join(0, "news", 10, from_now);
    join(1, "news", 10, from_now);
    turn_until(has_subscribers("news", 2));
    for (int i = 0; i < 50; i++) { /* until they are live */
        turn();
    }
    publish(0, "news", "a1");
    publish(1, "news", "b1");
    publish(0, "news", "a2");
    turn_until(strlen(heard(0)) == 9 && strlen(heard(1)) == 9);
    assert_string_equal(heard(0), heard(1));
    assert_string_equal(scene.machines[0].ids, scene.machines[1].ids);
    assert_int_equal(published_on(0), 2); /* though they came back */
    assert_int_equal(published_on(1), 1);

    /* A client moves to a machine that has never heard of the topic. */
    assert_int_equal(open_machine(2, scene.url), 0);
    join(2, "news", 10, scene.machines[0].first);
    turn_until(strcmp(heard(2), heard(0) + 3) == 0);
    publish(2, "news", "c1");
    turn_until(strlen(heard(0)) == 12 && strlen(heard(1)) == 12 && strlen(heard(2)) == 9);
    assert_string_equal(heard(2), heard(0) + 3);
    assert_string_equal(heard(0), heard(1));
}

/* What is published before the broker's thread has heard of the topic, as by a server that starts, is delivered once, even
 * if there is a stream, where it comes back. */
static void what_is_published_at_the_start_comes_once(void **state)
{
    (void)state;
    begin(1);
    join(0, "news", 10, from_now);
    turn_until(has_subscribers("news", 1));
    for (int i = 0; i < 50; i++) { /* until it is live, and has a stream */
        turn();
    }
    assert_int_equal(open_machine(1, scene.url), 0);
    join(1, "news", 10, from_now);
    publish(1, "news", "b1");
    turn_until(strcmp(heard(0), "b1 ") == 0 && is_connected(&scene.machines[1]) && has_subscribers("news", 2));
    for (int i = 0; i < 50; i++) {
        turn();
    }
    assert_string_equal(heard(1), "b1 ");
    topics_unsubscribe(&scene.machines[1].subscription);
    scene.machines[1].heard[0] = '\0';
    join(1, "news", 10, (struct publication_id){.number = 1}); /* whatever is kept */
    for (int i = 0; i < 50; i++) {
        turn();
    }
    assert_string_equal(heard(1), "b1 ");
}

/* Only those who ask for it get the history. */
static void newcomer_gets_no_history_unasked(void **state)
{
    (void)state;
    begin(2);
    join(0, "news", 10, from_now);
    turn_until(has_subscribers("news", 1));
    for (int i = 0; i < 50; i++) {
        turn();
    }
    publish(0, "news", "old");
    turn_until(strcmp(heard(0), "old ") == 0);
    join(1, "news", 10, from_now);
    turn_until(has_subscribers("news", 2));
    for (int i = 0; i < 50; i++) {
        turn();
    }
    publish(0, "news", "new");
    turn_until(strcmp(heard(1), "new ") == 0);
}

/* More than a page of the stream. */
static void long_history_is_read_in_parts(void **state)
{
    char text[8];
    (void)state;
    begin(1);
    join(0, "news", 1000, from_now);
    turn_until(has_subscribers("news", 1));
    for (int i = 0; i < 50; i++) {
        turn();
    }
    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof text, "%02d", i);
        publish(0, "news", text);
    }
    turn_until(strlen(heard(0)) == 300);
    assert_int_equal(open_machine(1, scene.url), 0);
    join(1, "news", 1000, scene.machines[0].first);
    turn_until(strlen(heard(1)) == 297);
    assert_string_equal(heard(1), heard(0) + 3);
}

static void what_is_published_during_an_outage_reaches_everybody_later(void **state)
{
    (void)state;
    begin(1);
    assert_non_null(redis("ACL SETUSER ann on >secret ~* &* +@all"));
    char url[160];
    snprintf(url, sizeof url, "%s?user=ann&password=secret", scene.url);
    assert_int_equal(open_machine(1, url), 0);
    turn_until(is_connected(&scene.machines[1]));
    for (int i = 0; i < 2; i++) {
        join(i, "news", 10, from_now);
    }
    turn_until(has_subscribers("news", 2));
    for (int i = 0; i < 50; i++) {
        turn();
    }
    publish(0, "news", "a1");
    publish(1, "news", "b1");
    turn_until(strlen(heard(0)) == 6 && strlen(heard(1)) == 6);

    (void)redis("ACL SETUSER ann off");
    publish(1, "news", "b2"); /* it may be on its way */
    (void)redis("CLIENT KILL USER ann");
    turn_until(!is_connected(&scene.machines[1]));
    publish(1, "news", "b3");
    publish(0, "news", "a2");
    turn_until(strstr(heard(1), "b2 b3 ") != NULL);
    turn_until(strstr(heard(0), "a2 ") != NULL);
    assert_null(strstr(heard(1), "a2 "));
    assert_null(strstr(heard(0), "b3 "));

    (void)redis("ACL SETUSER ann on");
    turn_until(is_connected(&scene.machines[1]));
    turn_until(strstr(heard(0), "b2 ") != NULL && strstr(heard(0), "b3 ") != NULL && strstr(heard(1), "a2 ") != NULL);
    for (int i = 0; i < 50; i++) {
        turn();
    }
    publish(1, "news", "b4");
    publish(0, "news", "a3");
    turn_until(strlen(heard(0)) == 21 && strlen(heard(1)) == 21);
    for (int i = 0; i < 50; i++) {
        turn();
    }
    assert_int_equal(strlen(heard(0)), 21); /* nothing twice */
    assert_int_equal(strlen(heard(1)), 21);
    assert_true(strstr(heard(0), "b2 ") < strstr(heard(0), "b3 ") && strstr(heard(0), "b3 ") < strstr(heard(0), "b4 "));
    assert_non_null(strstr(scene.logged, "connection lost: "));
    assert_non_null(strstr(scene.logged, ": connected again"));
    assert_null(strstr(scene.logged, "secret"));
    char *line = strstr(scene.logged, "connection lost");
    assert_null(strstr(line + 1, "connection lost")); /* once, however many attempts fail */
}

/* What was published during an outage comes, in the replay of this server, behind what Redis has given ids before. */
static void replay_goes_on_through_an_outage(void **state)
{
    (void)state;
    begin(2);
    join(0, "news", 10, from_now);
    turn_until(has_subscribers("news", 1));
    for (int i = 0; i < 50; i++) {
        turn();
    }
    publish(0, "news", "a1");
    publish(0, "news", "a2");
    turn_until(strcmp(heard(0), "a1 a2 ") == 0);
    struct machine *machine = &scene.machines[0];
    broker_destroy(machine->broker);
    machine->broker = NULL;
    publish(0, "news", "a3");
    turn_until(strcmp(heard(0), "a1 a2 a3 ") == 0);

    static struct machine late;
    memset(&late, 0, sizeof late);
    struct topics_replay replay = {.keep = 10, .after = machine->first};
    assert_int_equal(topics_subscribe(&machine->topics, &late.subscription, "news", 4, hear, &late, &replay), 0);
    assert_string_equal(late.heard, "a2 a3 ");
    assert_false(replay.is_lost);
    topics_unsubscribe(&late.subscription);

    /* Another machine fetches the history, and knows that it is whole. */
    join(1, "news", 10, machine->first);
    turn_until(strcmp(heard(1), "a2 ") == 0);
    memset(&late, 0, sizeof late);
    replay = (struct topics_replay){.keep = 10, .after = machine->first};
    struct topics *other = &scene.machines[1].topics;
    assert_int_equal(topics_subscribe(other, &late.subscription, "news", 4, hear, &late, &replay), 0);
    assert_string_equal(late.heard, "a2 ");
    assert_false(replay.is_lost);
    topics_unsubscribe(&late.subscription);
}

static void restarted_redis_is_found_again(void **state)
{
    (void)state;
    begin(2);
    join(0, "news", 0, from_now);
    join(1, "news", 5, from_now);
    turn_until(has_subscribers("news", 2));
    stop_redis();
    turn_until(!is_connected(&scene.machines[0]) && !is_connected(&scene.machines[1]));
    publish(0, "news", "a1");
    turn_until(strcmp(heard(0), "a1 ") == 0);
    assert_true(start_redis());
    turn_until(is_connected(&scene.machines[0]) && is_connected(&scene.machines[1]));
    turn_until(has_subscribers("news", 2));
    publish(0, "news", "a2");
    turn_until(strcmp(heard(0), "a1 a2 ") == 0 && strstr(heard(1), "a2 ") != NULL);
}

/* What has waited for a Redis that comes back empty is in the stream, for servers that come back later. */
static void what_has_waited_is_in_the_stream_of_an_empty_redis(void **state)
{
    (void)state;
    begin(1);
    join(0, "news", 5, from_now);
    turn_until(has_subscribers("news", 1));
    for (int i = 0; i < 50; i++) {
        turn();
    }
    stop_redis();
    turn_until(!is_connected(&scene.machines[0]));
    publish(0, "news", "a1");
    publish(0, "news", "a2");
    publish(0, "other", "b1"); /* of which nobody wants a replay */
    turn_until(strcmp(heard(0), "a1 a2 ") == 0);
    assert_true(start_redis());
    turn_until(is_connected(&scene.machines[0]) && has_subscribers("news", 1));
    for (int i = 0; i < 50; i++) {
        turn();
    }
    assert_string_equal(redis("XLEN evserve:replay:news"), ":2\r\n");
    assert_string_equal(redis("EXISTS evserve:replay:other"), ":0\r\n");
    assert_string_equal(heard(0), "a1 a2 ");
}

enum { WRITERS = 3, WRITTEN = 300 };

static void *write_many(void *arg)
{
    const int *name = arg;
    for (int i = 1; i <= WRITTEN; i++) {
        char text[16];
        snprintf(text, sizeof text, "%c%d", 'a' + *name, i);
        publish(0, "many", text);
        publish(0, "replayed", text);
    }
    return NULL;
}

/* Several threads publish, to a topic with a replay and to one without; connections are cut meanwhile. */
static void publish_by_threads(const char *cut, bool loses_channels)
{
    begin(3);
    join(1, "many", 0, from_now);
    join(2, "replayed", 1000, from_now);
    struct machine *own = &scene.machines[0];
    join(0, "replayed", 1000, from_now);
    turn_until(has_subscribers("many", 1) && has_subscribers("replayed", 2));
    for (int i = 0; i < 50; i++) {
        turn();
    }
    pthread_t writers[WRITERS];
    int names[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        names[i] = i;
        assert_int_equal(pthread_create(&writers[i], NULL, write_many, &names[i]), 0);
    }
    for (int i = 0; i < 5; i++) {
        turn();
    }
    assert_non_null(redis(cut));
    turn_until(own->count == WRITERS * WRITTEN && scene.machines[2].count == WRITERS * WRITTEN);
    turn_until(loses_channels || scene.machines[1].count == WRITERS * WRITTEN);
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(writers[i], NULL);
    }
    for (int i = 0; i < 50; i++) {
        turn();
    }
    for (int i = 0; i < MACHINES; i++) {
        bool is_whole = scene.machines[i].count == WRITERS * WRITTEN;
        assert_true(is_whole || (loses_channels && i == 1));
        assert_false(scene.machines[i].is_unordered);
    }
}

static void threads_publish_in_their_order(void **state)
{
    (void)state;
    publish_by_threads("CLIENT KILL TYPE normal SKIPME yes", false);
}

/* What was missed of a topic without a replay is lost, but not of the other one. */
static void threads_publish_while_subscriptions_are_lost(void **state)
{
    (void)state;
    publish_by_threads("CLIENT KILL TYPE pubsub", true);
}

static void flushed_scripts_are_loaded_again(void **state)
{
    (void)state;
    begin(2);
    join(1, "news", 0, from_now);
    turn_until(has_subscribers("news", 1));
    assert_string_equal(redis("SCRIPT FLUSH"), "+OK\r\n");
    publish(0, "news", "a1");
    publish(0, "news", "a2");
    turn_until(strcmp(heard(1), "a1 a2 ") == 0);
}

/* Topics that somebody subscribes to while as many commands are under way as may be. */
static void burst_leaves_no_topic_behind(void **state)
{
    (void)state;
    begin(2);
    join(1, "news", 10, from_now);
    turn_until(has_subscribers("news", 1));
    for (int i = 0; i < 50; i++) {
        turn();
    }
    for (int i = 0; i < 30000; i++) {
        publish(0, "burst", "x");
    }
    turn();
    join(0, "news", 10, from_now);
    turn_until(has_subscribers("news", 2));
    turn_until(counts_of(0).waiting == 0);
    for (int i = 0; i < 50; i++) {
        turn();
    }
    publish(1, "news", "b1");
    turn_until(strcmp(heard(0), "b1 ") == 0);
}

/* Such as that of another program that the client has spoken to before. */
static void unknown_id_does_not_keep_messages_away(void **state)
{
    (void)state;
    begin(2);
    join(0, "news", 10, (struct publication_id){.ms = UINT64_MAX});
    turn_until(has_subscribers("news", 1));
    for (int i = 0; i < 50; i++) {
        turn();
    }
    publish(1, "news", "b1");
    turn_until(strcmp(heard(0), "b1 ") == 0);
}

/* A server that lets us in and throws us out again. */
static void connections_that_do_not_last_are_made_less_often(void **state)
{
    int count = 0;
    (void)state;
    begin(1);
    for (int i = 0; i < 300; i++) {
        if (is_connected(&scene.machines[0])) {
            (void)redis("CLIENT KILL TYPE normal SKIPME yes");
        }
        turn();
    }
    for (const char *at = scene.logged; (at = strstr(at, "connected again")) != NULL; at++) {
        count++;
    }
    assert_in_range(count, 1, 8);
}

static void password_that_is_wrong_is_said(void **state)
{
    char url[160];
    (void)state;
    begin(0);
    snprintf(url, sizeof url, "%s?user=nobody&password=hush-hush", scene.url);
    assert_int_equal(open_machine(0, url), 0);
    turn_until(strstr(scene.logged, "WRONGPASS") != NULL);
    assert_non_null(strstr(scene.logged, "cannot be reached"));
    assert_null(strstr(scene.logged, "hush"));
}

/* Connect to a server that sends a text, or resets the connection; the log has why. */
static void meet_stranger(int n, const char *text, const char *why)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char url[160];
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), peer = -1;
    snprintf(address.sun_path, sizeof address.sun_path, "%s/other%d", scene.folder, n);
    snprintf(url, sizeof url, "unix:%s", address.sun_path);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(open_machine(n, url), 0);
    turn_until(peer >= 0 || (peer = accept(listener, NULL, NULL)) >= 0);
    for (int i = 0; i < 20; i++) { /* it has sent its greetings, which nobody reads: closed, that is a reset */
        turn();
    }
    assert_int_equal(send(peer, text, strlen(text), MSG_NOSIGNAL), strlen(text));
    if (text[0] == '\0') {
        close(peer);
    }
    turn_until(strstr(scene.logged, why) != NULL);
    if (text[0] != '\0') {
        close(peer);
    }
    close(listener);
    unlink(address.sun_path);
}

static void server_that_is_not_redis_is_said(void **state)
{
    (void)state;
    begin(0);
    meet_stranger(0, "HTTP/1.1 400 Bad Request\r\n\r\n",
                  "cannot be reached: what it sends is not the protocol of Redis;");
    meet_stranger(1, "", "cannot be reached: Connection reset by peer;");
    assert_null(strstr(scene.logged, "Success"));
}

/* It takes nothing more for streams, but hands messages on. */
static void redis_that_is_full_still_hands_messages_on(void **state)
{
    (void)state;
    begin(2);
    join(0, "news", 10, from_now);
    join(1, "news", 10, from_now);
    turn_until(has_subscribers("news", 2));
    for (int i = 0; i < 50; i++) {
        turn();
    }
    publish(0, "news", "a1");
    turn_until(strcmp(heard(0), "a1 ") == 0 && strcmp(heard(1), "a1 ") == 0);
    assert_string_equal(redis("CONFIG SET maxmemory 1"), "+OK\r\n");
    publish(0, "news", "a2");
    publish(0, "news", "a3");
    for (int i = 0; i < 1000 && strlen(heard(1)) < 9; i++) {
        turn();
    }
    assert_string_equal(redis("CONFIG SET maxmemory 0"), "+OK\r\n");
    publish(0, "news", "a4");
    turn_until(strstr(heard(0), "a4 ") != NULL && strstr(heard(1), "a4 ") != NULL);
    assert_string_equal(heard(0), "a1 a2 a3 a4 ");
    assert_string_equal(heard(1), "a1 a2 a3 a4 ");
    assert_non_null(strstr(scene.logged, ": it replies: "));
    assert_non_null(strstr(scene.logged, "OOM"));
}

static void queue_is_bounded_while_redis_is_away(void **state)
{
    static char text[1 << 20];
    (void)state;
    begin(0);
    assert_int_equal(open_machine(0, "unix:/nowhere/at/all"), 0);
    memset(text, 'x', sizeof text - 1);
    for (int i = 0; i < 20; i++) {
        publish(0, "news", text);
    }
    turn();
    const struct hub_broker_counts counts = counts_of(0);
    assert_int_equal(counts.dropped, 5);
    assert_true(counts.waiting > 15 << 20 && counts.waiting <= 16 << 20);
}

static void bad_urls_are_refused(void **state)
{
    char err[BROKER_ERROR_MAX];
    (void)state;
    begin(0);
    assert_int_equal(broker_check("http://secret@x", err, sizeof err), -EINVAL);
    assert_null(strstr(err, "secret"));
    assert_int_equal(broker_check(scene.url, err, sizeof err), 0);
}

/* A broker goes, as a reload may have it, while a ring is under way; another one follows. */
static void broker_can_be_replaced(void **state)
{
    (void)state;
    begin(2);
    struct machine *machine = &scene.machines[0];
    join(0, "news", 0, from_now);
    turn_until(has_subscribers("news", 1));
    publish(0, "news", "a1");
    broker_destroy(machine->broker);
    assert_int_equal(open_broker(machine, scene.url), 0);
    publish(0, "news", "a2");
    turn_until(strcmp(heard(0), "a1 a2 ") == 0);
    turn_until(is_connected(machine) && has_subscribers("news", 1));
    publish(1, "news", "b1");
    turn_until(strcmp(heard(0), "a1 a2 b1 ") == 0);
    broker_destroy(machine->broker);
    machine->broker = NULL;
    publish(0, "news", "a3");
    turn_until(strcmp(heard(0), "a1 a2 b1 a3 ") == 0);
}

/* What was under way when a broker was replaced is in the stream that the next one reads, and was delivered. */
static void new_broker_knows_what_is_ours(void **state)
{
    (void)state;
    begin(1);
    struct machine *machine = &scene.machines[0];
    join(0, "news", 10, (struct publication_id){.number = 1});
    turn_until(has_subscribers("news", 1));
    for (int i = 0; i < 50; i++) {
        turn();
    }
    publish(0, "news", "a1");
    publish(0, "news", "a2");
    broker_destroy(machine->broker);
    publish(0, "news", "a3");
    assert_int_equal(open_broker(machine, scene.url), 0);
    publish(0, "news", "a4");
    turn_until(is_connected(machine) && has_subscribers("news", 1));
    for (int i = 0; i < 50; i++) {
        turn();
    }
    publish(0, "news", "a5");
    turn_until(strstr(heard(0), "a5 ") != NULL);
    assert_string_equal(heard(0), "a1 a2 a3 a4 a5 ");
}

/* What has not come back when a broker goes is delivered here. */
static void broker_that_goes_leaves_nothing_behind(void **state)
{
    (void)state;
    begin(1);
    struct machine *machine = &scene.machines[0];
    join(0, "news", 10, from_now);
    turn_until(has_subscribers("news", 1));
    for (int i = 0; i < 50; i++) {
        turn();
    }
    publish(0, "news", "a1");
    assert_true(counts_of(0).waiting > 0);
    broker_destroy(machine->broker);
    machine->broker = NULL;
    publish(0, "news", "a2");
    turn_until(strcmp(heard(0), "a1 a2 ") == 0);
}

/* Whatever allocation fails, subscribers of this server get what is published, and nothing leaks. */
static void memory_may_be_short(void **state)
{
    (void)state;
    begin(0);
    struct machine *machine = &scene.machines[0];
    bool has_failed = true;
    for (uint64_t n = 1; has_failed && n < 200; n++) {
        memset(machine, 0, sizeof *machine);
        assert_int_equal(hub_create(&machine->hub, 1), 0);
        topics_init(&machine->topics, machine->hub, 0, scene.reactor);
        outbound_init(&machine->outbound, scene.reactor, NULL, &scene.log);
        join(0, "quiet", 0, from_now);
        fake_mem_fail_after(n, false);
        int rv = open_broker(machine, scene.url);
        if (rv == 0) {
            for (int i = 0; i < 30 && !is_connected(machine); i++) {
                turn();
            }
            const struct message_parts message = {.topic = "quiet", .topic_len = 5, .data = "a", .len = 1};
            rv = hub_publish(machine->hub, &message);
            for (int i = 0; i < 10; i++) {
                turn();
            }
            assert_true(rv == 0 ? strcmp(heard(0), "a ") == 0 : rv == -ENOMEM);
        } else {
            assert_int_equal(rv, -ENOMEM);
        }
        has_failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        close_machine(machine);
        for (int i = 0; i < 3; i++) {
            (void)reactor_run_once(scene.reactor, 0);
        }
        hub_destroy(machine->hub);
    }
    assert_false(has_failed);
    memset(machine, 0, sizeof *machine);
}

#define on_redis(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        on_redis(messages_reach_all_machines_once),
        on_redis(topic_is_subscribed_while_it_has_subscribers),
        on_redis(replays_have_the_same_ids_everywhere),
        on_redis(what_is_published_at_the_start_comes_once),
        on_redis(newcomer_gets_no_history_unasked),
        on_redis(long_history_is_read_in_parts),
        on_redis(what_is_published_during_an_outage_reaches_everybody_later),
        on_redis(replay_goes_on_through_an_outage),
        on_redis(restarted_redis_is_found_again),
        on_redis(what_has_waited_is_in_the_stream_of_an_empty_redis),
        on_redis(threads_publish_in_their_order),
        on_redis(threads_publish_while_subscriptions_are_lost),
        on_redis(flushed_scripts_are_loaded_again),
        on_redis(burst_leaves_no_topic_behind),
        on_redis(unknown_id_does_not_keep_messages_away),
        on_redis(connections_that_do_not_last_are_made_less_often),
        on_redis(password_that_is_wrong_is_said),
        on_redis(server_that_is_not_redis_is_said),
        on_redis(redis_that_is_full_still_hands_messages_on),
        on_redis(queue_is_bounded_while_redis_is_away),
        on_redis(bad_urls_are_refused),
        on_redis(broker_can_be_replaced),
        on_redis(new_broker_knows_what_is_ours),
        on_redis(broker_that_goes_leaves_nothing_behind),
        on_redis(memory_may_be_short),
    };
    return cmocka_run_group_tests(tests, begin_all, end_all);
}
