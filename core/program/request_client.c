/* Happy path: the bytes of the request are made at once and sent as the socket takes them; the response's head is kept
 * until its empty line, then handed over, and says how the content ends: by length, by chunks or with the connection.
 * Interim responses (1xx) are passed over.
 *
 * Failure modes: a socket that refuses to be sent to is still read, since the response may be there already; a response
 * that ends early, whose head is malformed or longer than any of ours, or whose chunks are malformed, is
 * REQUEST_CUT. */

#include "core/program/request_client.h"

#include "core/ascii.h"
#include "core/mem.h"
#include "core/sys.h"
#include "http/field_line.h"
#include "http/h1/chunked.h"
#include "http/limits.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum {
    CLIENT_HEAD_MAX = 65536, /* bytes of a response's head, more than the server ever sends */
    CLIENT_READ_BYTES = 16384,
};

struct request_client {
    int fd;                      /* borrowed */
    request_answer_fn on_answer; /* takes the response */
    void *arg;                   /* handed to on_answer */
    char *bytes;                 /* the request */
    size_t len, sent;            /* of bytes */

    /* Where in the response the next byte is. */
    enum { HEAD, CONTENT, CONTENT_TO_END, CHUNKS, COMPLETE, BROKEN } at;
    bool is_head;               /* of a HEAD request: there is no content */
    int status;                 /* 0 before it is known */
    uint64_t left;              /* bytes of the content still to come */
    struct chunk_parser chunk;  /* of chunked content */
    struct limits limits;       /* of its trailers */
    size_t head_len;            /* of head */
    char head[CLIENT_HEAD_MAX]; /* with its empty line */
};

/* The request. */

static bool client_has_header(const struct request_text *text, const char *name)
{
    for (size_t i = 0; i < text->header_count; i++) {
        const char *colon = strchr(text->headers[i], ':');
        if (colon != NULL && ascii_is(text->headers[i], (size_t)(colon - text->headers[i]), name)) {
            return true;
        }
    }
    return false;
}

static char *put_piece(char *at, const char *text)
{
    return stpcpy(at, text);
}

static char *put_field(char *at, const char *text)
{
    return put_piece(put_piece(at, text), "\r\n");
}

static int make_request(struct request_client *client, const struct request_text *text)
{
    char length[64];
    snprintf(length, sizeof length, "Content-Length: %zu", text->body_len);
    size_t most = strlen("GET  HTTP/1.1\r\nHost: localhost\r\n\r\n\r\n") + strlen(text->request) + sizeof length +
                  text->body_len;
    for (size_t i = 0; i < text->header_count; i++) {
        most += strlen(text->headers[i]) + strlen("\r\n");
    }
    client->bytes = mem_alloc(most);
    if (client->bytes == NULL) {
        return -ENOMEM;
    }
    char *at = put_piece(client->bytes, strchr(text->request, ' ') != NULL ? "" : "GET ");
    at = put_field(put_piece(at, text->request), " HTTP/1.1");
    at = client_has_header(text, "host") ? at : put_field(at, "Host: localhost");
    for (size_t i = 0; i < text->header_count; i++) {
        at = put_field(at, text->headers[i]);
    }
    if (text->body != NULL && !client_has_header(text, "content-length") &&
        !client_has_header(text, "transfer-encoding")) {
        at = put_field(at, length);
    }
    at = put_piece(at, "\r\n");
    if (text->body != NULL) {
        memcpy(at, text->body, text->body_len);
        at += text->body_len;
    }
    client->len = (size_t)(at - client->bytes);
    client->is_head = strncmp(text->request, "HEAD ", 5) == 0;
    return 0;
}

/* The response. */

/* Hand the head over without its carriage returns. */
static void tell_head(const struct request_client *client)
{
    for (const char *line = client->head; *line != '\0';) {
        size_t len = strcspn(line, "\r");
        if (len > 0) {
            client->on_answer(client->arg, line, len);
        }
        line += line[len] == '\r' ? len + 1 : len;
    }
}

/* Three digits behind the version; 0 when there are none. */
static int read_status(const char *head)
{
    uint64_t status = 0;
    const char *space = strchr(head, ' ');
    if (space != NULL) {
        (void)ascii_parse_number(space + 1, strspn(space + 1, "0123456789"), 999, &status);
    }
    return (int)status;
}

/* What the fields of a response say about its content. */
struct content_fields {
    bool is_chunked, has_length;
    uint64_t length; /* 0 without one */
};

/* Read the field lines of a head, which begin at from. Returns whether they are in order; of several fields with the
 * same name, the first one counts. */
static bool read_fields(const struct request_client *client, size_t from, struct content_fields *out)
{
    struct field_line line = {.pos = (uint32_t)from};
    enum field_line_verdict verdict;
    struct field field;

    *out = (struct content_fields){0};
    while ((verdict = field_line_scan(&line, client->head, client->head_len, &field)) == FIELD_LINE_WHOLE) {
        const char *name = client->head + field.name.offset;
        const char *value = client->head + field.value.offset;
        if (ascii_is(name, field.name.len, "Transfer-Encoding")) {
            out->is_chunked = true;
        } else if (!out->has_length && ascii_is(name, field.name.len, "Content-Length")) {
            out->has_length = true;
            (void)ascii_parse_number(value, strspn(value, "0123456789"), UINT64_MAX, &out->length);
        }
    }
    return verdict == FIELD_LINE_EMPTY;
}

/* The head is there: hand it over, and find out how the content ends. */
static void begin_content(struct request_client *client)
{
    struct content_fields fields;
    const char *line_end = memchr(client->head, '\n', client->head_len);

    client->head[client->head_len] = '\0';
    client->status = read_status(client->head);
    bool is_in_order = read_fields(client, (size_t)(line_end - client->head) + 1, &fields);
    client->head_len = 0;
    if (!is_in_order) {
        client->at = BROKEN;
        return;
    }
    if (client->status < 200) { /* another head follows */
        return;
    }
    tell_head(client);
    client->left = fields.length;
    if (client->is_head || client->status == 204 || client->status == 304) {
        client->at = COMPLETE;
    } else if (fields.is_chunked) {
        client->at = CHUNKS;
        chunk_parser_reset(&client->chunk);
    } else if (!fields.has_length) {
        client->at = CONTENT_TO_END;
    } else {
        client->at = client->left == 0 ? COMPLETE : CONTENT;
    }
}

/* One byte of a head. */
static void take_head_byte(struct request_client *client, char byte)
{
    client->head[client->head_len++] = byte;
    if (client->head_len >= 4 && memcmp(client->head + client->head_len - 4, "\r\n\r\n", 4) == 0) {
        begin_content(client);
    } else if (client->head_len == CLIENT_HEAD_MAX - 1) {
        client->at = BROKEN; /* no server of ours sends that */
    }
}

/* Bytes of chunked content. Returns the number of those taken. */
static size_t take_chunks(struct request_client *client, const char *data, size_t len)
{
    size_t used = 0;
    struct slice piece;
    enum parse_verdict verdict = parse_chunked(&client->chunk, &client->limits, data, len, &used, &piece);

    if (piece.len > 0) {
        client->on_answer(client->arg, data + piece.offset, piece.len);
    }
    if (verdict != PARSE_INCOMPLETE) {
        client->at = verdict == PARSE_COMPLETE ? COMPLETE : BROKEN;
    }
    return used;
}

static void take_answer(struct request_client *client, const char *data, size_t len)
{
    while (len > 0 && client->at < COMPLETE) {
        size_t used = 1;
        if (client->at == HEAD) {
            take_head_byte(client, *data);
        } else if (client->at == CHUNKS) {
            used = take_chunks(client, data, len);
        } else if (client->at == CONTENT_TO_END) {
            used = len;
            client->on_answer(client->arg, data, used);
        } else {
            used = client->left < len ? (size_t)client->left : len;
            client->on_answer(client->arg, data, used);
            client->left -= used;
            client->at = client->left == 0 ? COMPLETE : CONTENT;
        }
        data += used;
        len -= used;
    }
}

/* The exchange. */

int request_client_create(struct request_client **created, int fd, const struct request_text *text,
                          request_answer_fn on_answer, void *arg)
{
    struct request_client *client = mem_zalloc(sizeof *client);
    if (client == NULL || make_request(client, text) < 0) {
        mem_free(client);
        return -ENOMEM;
    }
    limits_init(&client->limits);
    client->fd = fd;
    client->on_answer = on_answer;
    client->arg = arg;
    *created = client;
    return 0;
}

bool request_client_wants_room(const struct request_client *client)
{
    return client->sent < client->len;
}

static bool is_passing(ssize_t error)
{
    return error == -EAGAIN || error == -EINTR;
}

enum request_progress request_client_advance(struct request_client *client)
{
    if (client->sent < client->len) {
        ssize_t sent = sys_send(client->fd, client->bytes + client->sent, client->len - client->sent, false);
        if (sent >= 0) {
            client->sent += (size_t)sent;
        } else if (!is_passing(sent)) {
            client->sent = client->len; /* the rest is not wanted; what was answered can still be read */
        }
    }
    char block[CLIENT_READ_BYTES];
    ssize_t len = sys_recv(client->fd, block, sizeof block);
    if (len > 0) {
        take_answer(client, block, (size_t)len);
        return client->at == COMPLETE ? REQUEST_ANSWERED : client->at == BROKEN ? REQUEST_CUT : REQUEST_WAITS;
    }
    if (len == 0 && client->at == CONTENT_TO_END) {
        client->at = COMPLETE;
        return REQUEST_ANSWERED;
    }
    return is_passing(len) ? REQUEST_WAITS : REQUEST_CUT;
}

int request_client_status(const struct request_client *client)
{
    return client->status;
}

void request_client_destroy(struct request_client *client)
{
    if (client != NULL) {
        mem_free(client->bytes);
        mem_free(client);
    }
}
