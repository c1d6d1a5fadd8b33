/* From a file and a request to a response: conditions, ranges, statuses.
 *
 * Happy path: without conditions and without a Range, representation_answer() sends the head and the contents that were
 * prepared beforehand.
 *
 * Failure modes: without memory the response is a 503. */

#include "http/representation.h"

#include "http/byteranges.h"
#include "http/cached_file.h"
#include "http/conditional.h"
#include "http/exchange.h"
#include "http/mount.h"
#include "http/range.h"
#include "http/response.h"
#include "http/response_file.h"

#include <errno.h>

int representation_status(int error)
{
    switch (error) {
    case -ENOENT:
    case -ENOTDIR:
    case -EISDIR:
    case -ENAMETOOLONG:
    case -ELOOP:
        return 404;
    case -EACCES:
    case -EPERM:
    case -EXDEV:
        return 403;
    case -EMFILE:
    case -ENFILE:
    case -ENOMEM:
    case -EAGAIN: /* it changes faster than it can be read */
        return 503;
    default:
        return 500;
    }
}

void representation_send(struct exchange *exchange, int status, struct cached_file *file, const char *type)
{
    const struct prebuilt *full = &file->full;
    bool is_good = status < 300; /* else it does not represent the resource, and its tag means nothing */
    if (is_good) {
        response_drop_rivals(exchange, full->bytes + full->lines_offset, full->lines_len);
    }
    if (is_good && response_add_lines(exchange, full->bytes + full->lines_offset, full->lines_len) < 0) {
        cached_file_put(file);
        response_error(exchange, 503, NULL);
        return;
    }
    response_file(exchange, status, type == NULL ? file->type : type, file, 0, file->size);
}

void representation_refuse(struct exchange *exchange, int error)
{
    response_refuse(exchange, representation_status(error), NULL);
}

/* The conditions hold: respond with the file, or with the parts of it that the client wants. Takes over the
 * reference. */
static void answer_contents(struct exchange *exchange, const struct mount *mount, struct cached_file *file,
                            const char *type, const struct validators *validators)
{
    struct range_set ranges;
    enum range_verdict verdict = RANGE_IGNORED;
    const struct field *range = conditional_range(&exchange->head, exchange->head_data, validators);
    if (range != NULL) {
        verdict = range_parse(exchange_text(exchange, range->value), range->value.len, file->size, &ranges);
    }
    if (verdict == RANGE_SATISFIABLE) {
        byteranges_answer(exchange, file, type == NULL ? file->type : type, &ranges);
    } else if (verdict == RANGE_IGNORED && type != NULL) {
        representation_send(exchange, 200, file, type);
    } else if (verdict == RANGE_IGNORED) {
        response_send_prebuilt(exchange, &file->full, file, file->size);
    } else {
        mount_add_fields(exchange, mount);
        byteranges_refuse(exchange, file->size);
        cached_file_put(file);
    }
}

/* Respond if the request has conditions or a Range, or if type is not the file's own. */
__attribute__((noinline)) static void answer_asked(struct exchange *exchange, const struct mount *mount,
                                                   struct cached_file *file, const char *type)
{
    struct validators validators = {
        .etag = file->etag,
        .etag_len = file->etag_len,
        .has_last_modified = file->last_modified_s >= 0,
        .last_modified_s = file->last_modified_s,
    };
    switch (conditional_evaluate(&exchange->head, exchange->head_data, &validators)) {
    case PRECONDITION_HOLDS:
        answer_contents(exchange, mount, file, type, &validators);
        return;
    case PRECONDITION_NOT_MODIFIED:
        response_send_prebuilt(exchange, &file->not_modified, NULL, 0);
        break;
    case PRECONDITION_FAILED:
        mount_add_fields(exchange, mount);
        response_refuse(exchange, 412, NULL);
        break;
    }
    cached_file_put(file);
}

void representation_answer(struct exchange *exchange, const struct mount *mount, struct cached_file *file,
                           const char *type)
{
    if (type == NULL && !conditional_is_asked(&exchange->head)) {
        response_send_prebuilt(exchange, &file->full, file, file->size);
    } else {
        answer_asked(exchange, mount, file, type);
    }
}
