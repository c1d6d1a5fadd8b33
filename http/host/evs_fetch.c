/* Requests of a host to other servers.
 *
 * Happy path: evs_fetch() begins a fetch (http/client/fetch.h) and gives it an id; when it is over, done gets the
 * response, and the fetch is freed. Failure: done gets a kind and a text. Everything happens on the thread of the
 * server that was named, so there is no lock. */

#include "http/host/evs_fetch.h"

#include "core/ascii.h"
#include "core/log.h"
#include "core/mailbox.h"
#include "core/mem.h"
#include "evserve.h"
#include "http/client/fetch.h"
#include "http/host/evs_host.h"
#include "http/host/evs_stalls.h"

#include <errno.h>
#include <string.h>

struct evs_fetching {
    struct evs_fetching *next, *prev; /* in the list of the thread */
    struct evs_host *host;
    struct fetch *fetch;
    uint64_t id; /* within the thread */
    void (*done)(const struct evs_fetched *fetched, void *arg);
    void *arg; /* for done */
};

/* The end. */

/* Take it out of the tables; the fetch stays. */
static void forget_fetching(struct evs_fetching *fetching)
{
    struct evs_host *host = fetching->host;
    evs_slots_put(&host->fetch_ids, fetching->id);
    if (fetching->next != NULL) {
        fetching->next->prev = fetching->prev;
    }
    if (fetching->prev != NULL) {
        fetching->prev->next = fetching->next;
    } else {
        host->fetches = fetching->next;
    }
}

static void free_fetching(struct evs_fetching *fetching)
{
    fetch_close(fetching->fetch);
    mem_free(fetching);
}

/* The fields as the host sees them, or NULL without memory. */
static struct evs_field *list_fetched(const struct fetch_response *response)
{
    struct evs_field *fields = mem_alloc((response->field_count + 1) * sizeof *fields);
    if (fields == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < response->field_count; i++) {
        fields[i] = (struct evs_field){.name = response->fields[i].name, .value = response->fields[i].value};
    }
    fields[response->field_count] = (struct evs_field){.name = NULL};
    return fields;
}

static const struct evs_field no_fields[] = {{.name = NULL}};

static void tell_fetched(const struct evs_fetching *fetching, const char *kind, const char *error)
{
    const struct fetch_response *response = *kind == '\0' ? fetch_response(fetching->fetch) : NULL;
    struct evs_field *fields = response != NULL ? list_fetched(response) : NULL;
    struct evs_fetched fetched = {
        .kind = kind, .error = error, .reason = "", .url = "", .headers = no_fields, .body = "", .body_len = 0};
    if (response != NULL && fields == NULL) {
        fetched.kind = fetch_kind_name(FETCH_NO_MEMORY);
        fetched.error = "out of memory";
    } else if (response != NULL) {
        fetched.status = response->status;
        fetched.reason = response->reason;
        fetched.url = response->url;
        fetched.headers = fields;
        fetched.header_count = response->field_count;
        fetched.body = response->body;
        fetched.body_len = response->body_len;
    }
    fetching->done(&fetched, fetching->arg);
    mem_free(fields);
}

static void on_fetched(struct fetch *fetch, enum fetch_event event, void *arg)
{
    struct evs_fetching *fetching = arg;
    struct reactor *reactor = fetching->host->reactor;
    (void)event; /* without streams there are DONE and FAILED alone */
    forget_fetching(fetching);
    tell_fetched(fetching, fetch_kind_name(fetch_failure_kind(fetch)), fetch_failure(fetch));
    free_fetching(fetching);
    evs_stalls_note(reactor, "a fetch of the host");
}

void evs_fetches_end(struct evs_host *host)
{
    while (host->fetches != NULL) {
        struct evs_fetching *fetching = host->fetches;
        forget_fetching(fetching);
        tell_fetched(fetching, fetch_kind_name(FETCH_CUT), "the server has ended");
        free_fetching(fetching);
    }
}

/* The beginning. */

static int errno_of_kind(enum fetch_kind kind)
{
    switch (kind) {
    case FETCH_BAD_REQUEST:
        return -EINVAL;
    case FETCH_BUSY:
        return -ENOBUFS;
    case FETCH_NO_MEMORY:
        return -ENOMEM;
    default:
        return -EHOSTUNREACH;
    }
}

/* Find the thread, which must be the calling one. Returns 0 with *host, or -errno with a text in err. */
static int find_fetch_host(evserve *server, unsigned thread, struct evs_host **host, char *err, size_t errlen)
{
    const struct evs_door *door = (const struct evs_door *)(void *)server;
    if (thread >= door->thread_count) {
        return error_text(err, errlen, -EINVAL, "the server has no thread %u", thread);
    }
    *host = &door->hosts[thread];
    if (evs_host_is_in_child(*host)) {
        return error_text(err, errlen, -ECHILD, "the server belongs to the parent of this process");
    }
    if (!mailbox_is_mine((*host)->mailbox)) {
        return error_text(err, errlen, -EPERM,
                          "evs_fetch() belongs on the server's thread: let evserve_post_to() call it there");
    }
    if ((*host)->is_over || (*host)->outbound == NULL) {
        return error_text(err, errlen, -ESHUTDOWN, "the server has ended");
    }
    return 0;
}

static size_t count_headers(const struct evs_field *headers)
{
    size_t count = 0;
    while (headers != NULL && headers[count].name != NULL) {
        count++;
    }
    return count;
}

/* The request as the client takes it; fields has room for count. */
static struct fetch_request translate(const struct evs_fetch_request *from, struct fetch_field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *value = from->headers[i].value != NULL ? from->headers[i].value : "";
        fields[i] = (struct fetch_field){.name = from->headers[i].name,
                                         .name_len = strlen(from->headers[i].name),
                                         .value = value,
                                         .value_len = strlen(value)};
    }
    return (struct fetch_request){
        .method = from->method,
        .method_len = from->method != NULL ? strlen(from->method) : 0,
        .url = from->url,
        .url_len = strlen(from->url),
        .unix_path = from->unix_path,
        .unix_path_len = from->unix_path != NULL ? strlen(from->unix_path) : 0,
        .fields = fields,
        .field_count = count,
        .body = from->body,
        .body_len = from->body != NULL ? from->body_len : 0,
        .closes = (from->flags & (unsigned)EVS_FETCH_CLOSE) != 0,
        .redirects = from->redirects,
        .timeout_ms = from->timeout_ms,
        .connect_timeout_ms = from->connect_timeout_ms,
        .max_body = from->max_body,
        .trusts_anybody = (from->flags & (unsigned)EVS_FETCH_UNVERIFIED) != 0,
        .ca_file = from->ca_file,
        .cert_file = from->cert_file,
        .key_file = from->key_file,
        .server_name = from->server_name,
    };
}

/* Begin the fetch of fetching. Returns 0, or -errno with a text in err. */
static int start_fetching(struct evs_fetching *fetching, const struct evs_fetch_request *wanted, char *err,
                          size_t errlen)
{
    size_t count = count_headers(wanted->headers);
    struct fetch_field *fields = mem_alloc((count + 1) * sizeof *fields);
    if (fields == NULL) {
        return error_text(err, errlen, -ENOMEM, "out of memory");
    }
    struct fetch_request request = translate(wanted, fields, count);
    request.base_fd = fetching->host->base_fd;
    enum fetch_kind kind = fetch_start(&fetching->fetch, fetching->host->outbound, &request, on_fetched, fetching, err,
                                       errlen);
    mem_free(fields);
    return kind == FETCH_SUCCESS ? 0 : errno_of_kind(kind);
}

int64_t evs_fetch(evserve *server, unsigned thread, const struct evs_fetch_request *request,
                  void (*done)(const struct evs_fetched *fetched, void *arg), void *arg, char *err, size_t errlen)
{
    struct evs_host *host = NULL;
    const unsigned known_flags = EVS_FETCH_UNVERIFIED | EVS_FETCH_CLOSE;
    const char *mistake = request->size != sizeof *request       ? "size is not sizeof(struct evs_fetch_request)"
                          : request->url == NULL                 ? "url is NULL"
                          : done == NULL                         ? "done is NULL"
                          : (request->flags & ~known_flags) != 0 ? "flags has a bit that is none of EVS_FETCH_..."
                                                                 : NULL;
    if (mistake != NULL) {
        return error_text(err, errlen, -EINVAL, "evs_fetch: %s", mistake);
    }
    int rv = find_fetch_host(server, thread, &host, err, errlen);
    if (rv < 0) {
        return rv;
    }
    struct evs_fetching *fetching = mem_zalloc(sizeof *fetching);
    if (fetching == NULL || (fetching->id = evs_slots_take(&host->fetch_ids, fetching)) == 0) {
        mem_free(fetching);
        return error_text(err, errlen, -ENOMEM, "out of memory");
    }
    fetching->host = host;
    fetching->done = done;
    fetching->arg = arg;
    rv = start_fetching(fetching, request, err, errlen);
    if (rv < 0) {
        evs_slots_put(&host->fetch_ids, fetching->id);
        mem_free(fetching);
        return rv;
    }
    fetching->next = host->fetches;
    if (fetching->next != NULL) {
        fetching->next->prev = fetching;
    }
    host->fetches = fetching;
    return (int64_t)((uint64_t)host->thread << EVS_THREAD_SHIFT | fetching->id);
}

int evs_fetch_cancel(evserve *server, int64_t id)
{
    struct evs_host *host = id <= 0 ? NULL : evs_host_of_id((const struct evs_door *)(void *)server, (uint64_t)id);
    if (host == NULL) {
        return -ENOENT;
    }
    if (evs_host_is_in_child(host)) {
        return -ECHILD;
    }
    if (!mailbox_is_mine(host->mailbox)) {
        return -EPERM;
    }
    struct evs_fetching *fetching = evs_slots_find(&host->fetch_ids, evs_id_within((uint64_t)id));
    if (fetching == NULL) {
        return -ENOENT;
    }
    forget_fetching(fetching);
    free_fetching(fetching);
    return 0;
}

const char *evs_fetched_header(const struct evs_fetched *fetched, const char *name)
{
    for (size_t i = 0; i < fetched->header_count; i++) {
        if (ascii_compare(fetched->headers[i].name, name) == 0) {
            return fetched->headers[i].value;
        }
    }
    return NULL;
}
