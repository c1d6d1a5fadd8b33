/* A JSON API in C: notes, kept in memory.
 *
 *   GET /notes             [{"id":1,"text":"..."},...]
 *   POST /notes            creates a note with the body as its text: 201, Location, the note
 *   GET /notes/:id         one note, or 404
 *   DELETE /notes/:id      204, or 404 */

#include "evserve.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NOTES_MAX = 100, TEXT_MAX = 200, JSON_MAX = 6 * TEXT_MAX + 64 };

struct note {
    long id; /* 0: this entry is free */
    char text[TEXT_MAX + 1];
};

/* There is a single serving thread, so no lock is needed. */
struct notes {
    struct note list[NOTES_MAX];
    long last_id;
};

static evserve *server;

static void on_signal(int number)
{
    (void)number;
    evserve_stop(server, 1000);
}

static void reply_json(evs_request *request, int status, const char *json)
{
    evs_reply(request, status, "application/json", json, strlen(json));
}

/* Write a note as JSON. Returns the length. */
static size_t format_note(const struct note *note, char *json)
{
    char *at = json + sprintf(json, "{\"id\":%ld,\"text\":\"", note->id);
    for (const char *c = note->text; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == '"' || *c == '\\') {
            at += sprintf(at, "\\u%04x", (unsigned char)*c);
        } else {
            *at++ = *c;
        }
    }
    strcpy(at, "\"}");
    return (size_t)(at - json) + 2;
}

/* Find the note that the path names. Returns NULL after sending a 404 if there is none. */
static struct note *find_note(evs_request *request, struct notes *notes)
{
    long id = atol(evs_param(request, "id"));
    for (int i = 0; i < NOTES_MAX; i++) {
        if (id != 0 && notes->list[i].id == id) {
            return &notes->list[i];
        }
    }
    reply_json(request, 404, "{\"error\":\"no such note\"}");
    return NULL;
}

static void list_notes(evs_request *request, void *arg)
{
    const struct notes *notes = arg;
    char json[NOTES_MAX * JSON_MAX];
    size_t len = 0;
    json[len++] = '[';
    for (int i = 0; i < NOTES_MAX; i++) {
        if (notes->list[i].id != 0) {
            len += len > 1 ? (size_t)sprintf(json + len, ",") : 0;
            len += format_note(&notes->list[i], json + len);
        }
    }
    json[len++] = ']';
    evs_reply(request, 200, "application/json", json, len);
}

static void add_note(evs_request *request, void *arg)
{
    struct notes *notes = arg;
    size_t len;
    const char *text = evs_body(request, &len);
    int i = 0;
    while (i < NOTES_MAX && notes->list[i].id != 0) {
        i++;
    }
    if (i == NOTES_MAX || len > TEXT_MAX || memchr(text, '\0', len) != NULL) {
        reply_json(request, i == NOTES_MAX ? 507 : 400, "{\"error\":\"too many notes, or no text of 200 bytes\"}");
        return;
    }
    struct note *note = &notes->list[i];
    note->id = ++notes->last_id;
    memcpy(note->text, text, len);
    note->text[len] = '\0';
    char location[64], json[JSON_MAX];
    snprintf(location, sizeof location, "/notes/%ld", note->id);
    format_note(note, json);
    evs_set_header(request, "Location", location);
    reply_json(request, 201, json);
}

static void get_note(evs_request *request, void *arg)
{
    const struct note *note = find_note(request, arg);
    if (note != NULL) {
        char json[JSON_MAX];
        format_note(note, json);
        reply_json(request, 200, json);
    }
}

static void delete_note(evs_request *request, void *arg)
{
    struct note *note = find_note(request, arg);
    if (note != NULL) {
        note->id = 0;
        evs_end(request);
    }
}

int main(void)
{
    struct notes notes = {0};
    const struct evs_route routes[] = {
        {.route = "GET /notes", .serve = list_notes, .arg = &notes},
        {.route = "POST /notes", .serve = add_note, .arg = &notes},
        {.route = "GET /notes/:id{int}", .serve = get_note, .arg = &notes},
        {.route = "DELETE /notes/:id{int}", .serve = delete_note, .arg = &notes},
        {.route = NULL},
    };
    struct evserve_config config = {.size = sizeof config, .listen = "127.0.0.1:0", .routes = routes};
    char err[EVSERVE_ERROR_MAX];
    server = evserve_start(&config, err, sizeof err);
    if (server == NULL) {
        fprintf(stderr, "%s\n", err);
        return 1;
    }
    signal(SIGTERM, on_signal);
    fprintf(stderr, "listening on %s\n", evserve_address(server, 0));
    int cut = evserve_wait(server);
    signal(SIGTERM, SIG_IGN); /* the handler uses a server that is about to be freed */
    evserve_free(server);
    return cut != 0;
}
