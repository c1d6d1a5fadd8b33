/* Uploads to disk: POST /upload receives a multipart form and writes each file in it to a new file in the folder named
 * on the command line, while it arrives. The response has a line for each file: its path, its length, and the client's
 * name for it. A large file needs no more memory than a small one. If the client leaves halfway, or the body is
 * malformed, the files written so far are removed. Two threads serve requests. */

#include "evserve.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILES_MAX = 16 }; /* in one upload */

struct upload {
    struct {
        char path[256];
        char name[128]; /* the client's name, shortened; never used as a path */
        size_t len;
    } files[FILES_MAX];
    unsigned count; /* number of files */
    int fd;         /* the last file while it is written, or -1 */
};

static evserve *server;
static const char *folder;

static void on_signal(int number)
{
    (void)number;
    evserve_stop(server, 1000);
}

static void finish(struct upload *upload, int keeps_files)
{
    if (upload->fd >= 0) {
        close(upload->fd);
    }
    while (!keeps_files && upload->count > 0) {
        unlink(upload->files[--upload->count].path);
    }
    free(upload);
}

/* A part begins: if it is a file, create ours. Returns 0, or the status to reply with. */
static int begin_file(struct upload *upload, const struct evs_part *part)
{
    if (part->filename == NULL) {
        return 0; /* a text field: the next evs_part_next() skips it */
    }
    if (upload->count == FILES_MAX) {
        return 413;
    }
    unsigned i = upload->count;
    snprintf(upload->files[i].path, sizeof upload->files[i].path, "%s/upload-XXXXXX", folder);
    snprintf(upload->files[i].name, sizeof upload->files[i].name, "%s", part->filename);
    upload->fd = mkstemp(upload->files[i].path);
    upload->count += upload->fd >= 0;
    return upload->fd >= 0 ? 0 : 507;
}

/* Write what has arrived of the current file. Returns EVS_END, EVS_WAIT, or the negated status to reply with. */
static int write_file(evs_request *request, struct upload *upload)
{
    const void *data;
    size_t len;
    int rv;
    while ((rv = evs_part_read(request, &data, &len)) == EVS_PIECE) {
        if (write(upload->fd, data, len) != (ssize_t)len) {
            return -507; /* the disk is full */
        }
        upload->files[upload->count - 1].len += len;
    }
    if (rv == EVS_END) {
        rv = close(upload->fd) < 0 ? -507 : EVS_END;
        upload->fd = -1;
    }
    return rv;
}

/* The form is complete: list the files. */
static void reply(evs_request *request, struct upload *upload)
{
    char text[FILES_MAX * 512];
    size_t len = 0;
    for (unsigned i = 0; i < upload->count; i++) {
        len += (size_t)snprintf(text + len, sizeof text - len, "%s %zu %s\n", upload->files[i].path,
                                upload->files[i].len, upload->files[i].name);
    }
    finish(upload, evs_reply(request, 201, "text/plain; charset=utf-8", text, len) == 0);
}

/* Read until there is no more data for now (EVS_DATA will call again), the form is complete, or there is an error. */
static void take_upload(evs_request *request, struct upload *upload)
{
    struct evs_part part = {.size = sizeof part};
    int rv = EVS_PART;
    while (rv == EVS_PART) {
        rv = upload->fd < 0 ? EVS_END : write_file(request, upload);
        if (rv == EVS_END) {
            rv = evs_part_next(request, &part);
            int status = rv == EVS_PART ? begin_file(upload, &part) : 0;
            rv = status > 0 ? -status : rv;
        }
    }
    if (rv == EVS_END) {
        reply(request, upload);
    } else if (rv < 0) {
        const char *why = evs_body_error(request);
        evs_reply(request, -rv, "text/plain", why, why == NULL ? 0 : strlen(why));
        finish(upload, 0);
    }
}

static void on_upload_event(evs_request *request, int event, void *arg)
{
    if (event == EVS_DATA) {
        take_upload(request, arg);
    } else if (event == EVS_GONE) {
        finish(arg, 0);
    }
}

static void serve_upload(evs_request *request, void *arg)
{
    (void)arg;
    struct upload *upload = calloc(1, sizeof *upload);
    if (upload == NULL) {
        evs_reply(request, 503, NULL, NULL, 0);
        return;
    }
    upload->fd = -1;
    evs_on(request, on_upload_event, upload);
    take_upload(request, upload);
}

int main(int argc, char **argv)
{
    const struct evs_route routes[] = {
        {.route = "POST /upload", .serve = serve_upload, .flags = EVS_STREAM_BODY},
        {.route = NULL},
    };
    struct evserve_config config = {
        .size = sizeof config, .listen = "127.0.0.1:0", .routes = routes, .reactors = 2, .max_body = 1 << 30};
    char err[EVSERVE_ERROR_MAX];
    folder = argc > 1 ? argv[1] : ".";
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
