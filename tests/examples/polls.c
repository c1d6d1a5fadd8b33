/* A daemon for polls that people vote in, with a JSON REST API. Its user interface, the folder polls/, is compiled in
 * by evserve_embed(polls examples/polls polls). The server is one fd in the daemon's poll(2) loop, beside the fd for
 * signals.
 *
 *   GET /api/polls             [{"id":1,"question":"...","options":[{"text":"...","votes":0},...]},...]
 *   POST /api/polls            form with a question and 2 to 8 options: 201, Location, the poll
 *   GET /api/polls/:id         one poll, or 404
 *   POST /api/polls/:id/votes  form with the number of an option, starting with 0: the poll
 *   DELETE /api/polls/:id      204, or 404 */

#include "evserve.h"
#include "polls_assets.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { POLLS_MAX = 100, OPTIONS_MAX = 8, TEXT_MAX = 200 };

struct poll {
    unsigned id;    /* 0: this entry is free */
    unsigned count; /* number of options */
    unsigned long votes[OPTIONS_MAX];
    char question[TEXT_MAX + 1], options[OPTIONS_MAX][TEXT_MAX + 1];
};

static struct poll polls[POLLS_MAX]; /* there is a single serving thread, so no lock is needed */
static unsigned last_id;

static void print_text(FILE *json, const char *text)
{
    fputc('"', json);
    for (const char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == '"' || *c == '\\') {
            fprintf(json, "\\u%04x", (unsigned)*c);
        } else {
            fputc(*c, json);
        }
    }
    fputc('"', json);
}

static void print_poll(FILE *json, const struct poll *poll)
{
    fprintf(json, "{\"id\":%u,\"question\":", poll->id);
    print_text(json, poll->question);
    for (unsigned i = 0; i < poll->count; i++) {
        fputs(i == 0 ? ",\"options\":[{\"text\":" : ",{\"text\":", json);
        print_text(json, poll->options[i]);
        fprintf(json, ",\"votes\":%lu}", poll->votes[i]);
    }
    fputs("]}", json);
}

/* Reply with one poll, or with an array of all if poll is NULL. */
static void reply_json(evs_request *request, int status, const struct poll *poll)
{
    char *text = NULL;
    size_t len = 0;
    FILE *json = open_memstream(&text, &len);
    if (json == NULL) {
        evs_reply(request, 503, NULL, NULL, 0);
        return;
    }
    if (poll != NULL) {
        print_poll(json, poll);
    } else {
        fputc('[', json);
        for (unsigned i = 0, printed = 0; i < POLLS_MAX; i++) {
            if (polls[i].id != 0) {
                fputs(printed++ > 0 ? "," : "", json);
                print_poll(json, &polls[i]);
            }
        }
        fputc(']', json);
    }
    status = fclose(json) == 0 ? status : 503; /* this sets text */
    evs_reply(request, status, "application/json", text, len);
    free(text);
}

static void reply_error(evs_request *request, int status, const char *why)
{
    evs_reply(request, status, "text/plain", why, strlen(why));
}

static struct poll *find_poll(unsigned long id)
{
    for (unsigned i = 0; i < POLLS_MAX; i++) {
        if (polls[i].id == id) {
            return &polls[i];
        }
    }
    return NULL;
}

/* Find the poll that the path names. Returns NULL after sending a 404 if there is none. */
static struct poll *want_poll(evs_request *request)
{
    unsigned long id = strtoul(evs_param(request, "id"), NULL, 10);
    struct poll *poll = id == 0 ? NULL : find_poll(id);
    if (poll == NULL) {
        reply_error(request, 404, "no such poll");
    }
    return poll;
}

static void get_polls(evs_request *request, void *arg)
{
    (void)arg;
    reply_json(request, 200, NULL);
}

static void get_poll(evs_request *request, void *arg)
{
    (void)arg;
    const struct poll *poll = want_poll(request);
    if (poll != NULL) {
        reply_json(request, 200, poll);
    }
}

static int copy_text(char *to, const char *text)
{
    return *text != '\0' && snprintf(to, TEXT_MAX + 1, "%s", text) <= TEXT_MAX;
}

static void add_poll(evs_request *request, void *arg)
{
    (void)arg;
    struct poll *place = find_poll(0), poll = {.id = last_id + 1};
    const char *name, *value;
    int is_right = 1, fields = evs_form_count(request);
    for (unsigned i = 0; is_right && evs_form_at(request, i, &name, &value); i++) {
        if (strcmp(name, "question") == 0) {
            is_right = copy_text(poll.question, value);
        } else if (strcmp(name, "option") == 0) {
            is_right = poll.count < OPTIONS_MAX && copy_text(poll.options[poll.count++], value);
        }
    }
    if (fields < 0) {
        reply_error(request, -fields, evs_body_error(request));
    } else if (!is_right || poll.question[0] == '\0' || poll.count < 2) {
        reply_error(request, 400, "a poll has a question and 2 to 8 options, each of 1 to 200 bytes");
    } else if (place == NULL) {
        reply_error(request, 507, "there are 100 polls already");
    } else {
        char location[64];
        snprintf(location, sizeof location, "/api/polls/%u", poll.id);
        evs_set_header(request, "Location", location);
        *place = poll;
        last_id = poll.id;
        reply_json(request, 201, place);
    }
}

static void vote(evs_request *request, void *arg)
{
    (void)arg;
    struct poll *poll = want_poll(request);
    const char *option = evs_form(request, "option");
    if (poll == NULL) {
        return;
    }
    if (option == NULL || strspn(option, "0123456789") != 1 || option[1] != '\0' ||
        (unsigned)(*option - '0') >= poll->count) {
        reply_error(request, 400, "no such option");
        return;
    }
    poll->votes[*option - '0']++;
    reply_json(request, 200, poll);
}

static void delete_poll(evs_request *request, void *arg)
{
    (void)arg;
    struct poll *poll = want_poll(request);
    if (poll != NULL) {
        poll->id = 0;
        evs_end(request);
    }
}

int main(int argc, char **argv)
{
    static const struct evs_field headers[] = {{"Content-Security-Policy", "default-src 'self'"}, {NULL, NULL}};
    const struct evs_mount mounts[] = {
        {.prefix = "/", .assets = polls_assets, .headers = headers},
        {.prefix = NULL},
    };
    const struct evs_route routes[] = {
        {.route = "GET /api/polls", .serve = get_polls},
        {.route = "POST /api/polls", .serve = add_poll},
        {.route = "GET /api/polls/:id{int}", .serve = get_poll},
        {.route = "POST /api/polls/:id{int}/votes", .serve = vote},
        {.route = "DELETE /api/polls/:id{int}", .serve = delete_poll},
        {.route = NULL},
    };
    struct evserve_config config = EVSERVE_CONFIG_INIT;
    char err[EVSERVE_ERROR_MAX];
    config.listen = argc > 1 ? argv[1] : "127.0.0.1:0";
    config.mounts = mounts;
    config.routes = routes;
    evserve *server = evserve_start(&config, err, sizeof err);
    if (server == NULL) {
        fprintf(stderr, "%s\n", err);
        return 1;
    }
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    struct pollfd fds[] = {
        {.fd = evserve_fd(server), .events = POLLIN},
        {.fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK), .events = POLLIN},
    };
    fprintf(stderr, "listening on %s\n", evserve_address(server, 0));

    int rv = 1;
    while (rv > 0 && poll(fds, 2, -1) > 0) {
        struct signalfd_siginfo info;
        if (read(fds[1].fd, &info, sizeof info) > 0) {
            evserve_stop(server, 1000);
        }
        rv = evserve_poll(server, 0);
    }
    close(fds[1].fd);
    evserve_free(server);
    return rv == 0 ? 0 : 1;
}
