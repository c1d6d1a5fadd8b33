/* The file cache's side of a response: a cached file as a source of content.
 *
 * Happy path: one copy of what the cache has made ready, or a range of the file's fd.
 * Failure modes: those of response_send_source(). A file that ends before its time cuts the response. */

#include "http/response_file.h"

#include "http/cached_file.h"
#include "http/exchange.h"
#include "http/prebuilt.h"
#include "http/response.h"

#include <assert.h>
#include <errno.h>

enum { COPY_PIECE = 4096 }; /* bytes of a file that are copied at once */

static void put_file(void *arg)
{
    cached_file_put(arg);
}

static int check_file(void *arg)
{
    return cached_file_check(arg);
}

/* len bytes of a file as a source. is_fresh: the cache has looked at the file just now. */
static void set_range(struct source *source, struct cached_file *file, uint64_t offset, uint64_t len, bool is_fresh)
{
    if (file->fd >= 0) {
        source->kind = SOURCE_FILE;
        source->file = (struct file_range){.fd = file->fd,
                                           .offset = (int64_t)offset,
                                           .len = len,
                                           .has_no_sendfile = &file->has_no_sendfile,
                                           .check = check_file,
                                           .release = put_file,
                                           .arg = file,
                                           .is_checked = is_fresh};
    } else {
        assert(offset <= file->size && len <= file->size - offset);
        source->kind = SOURCE_BORROWED;
        source->borrowed = (struct borrowed){.data = cached_file_contents(file) + offset,
                                             .len = (size_t)len,
                                             .release = put_file,
                                             .arg = file};
    }
}

void response_set_file(struct exchange *exchange, struct cached_file *file, uint64_t offset, uint64_t len)
{
    set_range(&exchange->source, file, offset, len, exchange->response_state == RESPONSE_NONE);
}

void response_file(struct exchange *exchange, int status, const char *type, struct cached_file *file, uint64_t offset,
                   uint64_t len)
{
    struct source source = {.kind = SOURCE_NONE};
    set_range(&source, file, offset, len, true);
    response_send_source(exchange, status, type, len, &source);
}

int response_queue_file(struct exchange *exchange, const struct cached_file *file, uint64_t offset, size_t len)
{
    if (file->fd < 0) {
        return response_queue(exchange, cached_file_contents(file) + offset, len);
    }
    char piece[COPY_PIECE];
    int rv = 0;
    for (size_t done = 0; rv == 0 && done < len;) {
        size_t part = len - done < sizeof piece ? len - done : sizeof piece;
        ssize_t got = cached_file_read(file->fd, piece, part, offset + done);
        rv = got < 0 ? (int)got : (size_t)got < part ? -ENODATA : response_queue(exchange, piece, part);
        done += part;
    }
    return rv; /* -ENODATA: it was truncated, so what was announced cannot be sent */
}

/* What describes the content is in the head that was made beforehand. A type that was added has no place in it: the
 * file's own is there, or it is a 304, which has none (RFC 9110 section 15.4.5). */
static void drop_rivals(struct exchange *exchange, const struct prebuilt *prebuilt)
{
    if (write_buffer_len(&exchange->fields) > 0) {
        response_drop_field(exchange, "Content-Type", 12);
        response_drop_rivals(exchange, prebuilt->bytes + prebuilt->lines_offset, prebuilt->lines_len);
    }
}

void response_send_prebuilt(struct exchange *exchange, const struct prebuilt *prebuilt, struct cached_file *file,
                            uint64_t file_len)
{
    assert(exchange->response_state == RESPONSE_NONE); /* one response a request */
    drop_rivals(exchange, prebuilt);
    size_t content_len = exchange->head_only ? 0 : prebuilt->content_len;
    bool is_lent = content_len > PREBUILT_COPY_MAX && file != NULL;
    bool has_rest = file_len > 0 && !exchange->head_only && (is_lent || prebuilt->content_len == 0);
    if (exchange->framing->prebuilt(exchange, prebuilt, is_lent ? 0 : content_len) < 0) {
        exchange->response_state = RESPONSE_ABORTED;
        cached_file_put(file);
    } else {
        response_count(exchange, prebuilt->status);
        if (file != NULL && has_rest) {
            set_range(&exchange->source, file, 0, file_len, true);
        } else {
            cached_file_put(file);
        }
    }
    response_complete(exchange);
}
