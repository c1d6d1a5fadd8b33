/* From a set of ranges to 206.
 *
 * Happy path: one range is sent like a file, except that it starts elsewhere. For several ranges the head announces the
 * length of all parts, which content_length() adds up beforehand, and next_part() is called whenever a range is sent:
 * it queues the head of the next part and sets its range. Short parts are copied behind their heads, so that many of
 * them leave in one system call.
 *
 * Failure modes: if memory is short before the head is written, the response is a 503. If there is no memory for the
 * head of a part later on, or the file has become too short for the announced length, the connection is cut. */

#include "http/byteranges.h"

#include "core/mem.h"
#include "core/sys.h"
#include "http/cached_file.h"
#include "http/exchange.h"
#include "http/response.h"
#include "http/response_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    BOUNDARY_BYTES = 12,               /* of chance: contents have it by accident once in 2^96 places */
    BOUNDARY_LEN = 2 * BOUNDARY_BYTES, /* in hexadecimal */
    DELIMITER_LEN = 4 + BOUNDARY_LEN,  /* CRLF "--" boundary */
    RANGE_TEXT_MAX = 60 + sizeof "-/", /* three numbers */
    COPIED_MAX = 2048,                 /* content of a part up to here is copied */
    COPIED_TOGETHER = 32 << 10,        /* bytes of heads and copied parts that are queued at once */
};

static const char end_of_head[] = "\r\n\r\n";
static const char closing[] = "--\r\n"; /* makes the delimiter behind the last part the closing one */

/* A multipart response in progress. */
struct range_parts {
    struct cached_file *file; /* one reference is ours */
    size_t count;             /* of ranges */
    size_t begun;             /* parts whose heads are queued */
    size_t lead_len;          /* bytes of lead */
    char *lead;               /* delimiter and head of each part, up to the numbers of Content-Range; behind ranges */
    struct byte_range ranges[];
};

/* The numbers of Content-Range (RFC 9110 section 14.4). Returns their length. */
static size_t format_range(char text[RANGE_TEXT_MAX], const struct byte_range *range, uint64_t size)
{
    return (size_t)snprintf(text, RANGE_TEXT_MAX, "%" PRIu64 "-%" PRIu64 "/%" PRIu64, range->first,
                            range->first + range->len - 1, size);
}

/* Several ranges. */

static uint64_t content_length(const struct range_parts *parts)
{
    char text[RANGE_TEXT_MAX];
    uint64_t sum = DELIMITER_LEN + sizeof closing - 1;
    for (size_t i = 0; i < parts->count; i++) {
        const struct byte_range *range = &parts->ranges[i];
        sum += parts->lead_len + format_range(text, range, parts->file->size) + sizeof end_of_head - 1 + range->len;
    }
    return sum;
}

/* The first delimiter has its CRLF too, though nothing is before it: RFC 9110 section 14.6 allows it, other servers
 * send it, and zsync waits for it. */
static int queue_part_head(struct exchange *exchange, const struct range_parts *parts, const struct byte_range *range)
{
    char text[RANGE_TEXT_MAX];
    size_t len = format_range(text, range, parts->file->size);
    int rv = response_queue(exchange, parts->lead, parts->lead_len);
    rv = rv < 0 ? rv : response_queue(exchange, text, len);
    return rv < 0 ? rv : response_queue(exchange, end_of_head, sizeof end_of_head - 1);
}

static int next_part(struct exchange *exchange, void *arg)
{
    struct range_parts *parts = arg;
    int rv = 0;
    while (rv == 0 && parts->begun < parts->count) {
        const struct byte_range *range = &parts->ranges[parts->begun];
        bool is_copied = range->len <= COPIED_MAX && exchange_queued(exchange) < COPIED_TOGETHER;
        rv = queue_part_head(exchange, parts, range);
        if (rv < 0) {
            return rv;
        }
        parts->begun++;
        if (!is_copied) {
            cached_file_ref(parts->file);
            response_set_file(exchange, parts->file, range->first, range->len);
            return 0;
        }
        rv = response_queue_file(exchange, parts->file, range->first, (size_t)range->len);
    }
    rv = rv < 0 ? rv : response_queue(exchange, parts->lead, DELIMITER_LEN);
    return rv < 0 ? rv : response_queue(exchange, closing, sizeof closing - 1);
}

static void release_parts(void *arg)
{
    struct range_parts *parts = arg;
    cached_file_put(parts->file);
    mem_free(parts);
}

/* Make a random boundary: with a predictable one, somebody could write a file that breaks out of its part. Returns 0 or
 * -errno. */
static int make_boundary(char boundary[BOUNDARY_LEN + 1])
{
    unsigned char bytes[BOUNDARY_BYTES];
    int rv = sys_random(bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes && rv == 0; i++) {
        snprintf(boundary + 2 * i, 3, "%02x", bytes[i]);
    }
    return rv;
}

/* Takes over the reference to file on success. Returns 0 or -errno. */
static int make_range_parts(struct cached_file *file, const char *type, const struct range_set *set,
                            const char *boundary, struct range_parts **parts)
{
    static const char format[] = "\r\n--%s\r\nContent-Type: %s\r\nContent-Range: bytes ";
    size_t room = sizeof format + BOUNDARY_LEN + strlen(type);
    size_t ranges_room = set->count * sizeof set->ranges[0];
    struct range_parts *made = mem_alloc(sizeof *made + ranges_room + room);
    if (made == NULL) {
        return -ENOMEM;
    }
    *made = (struct range_parts){.file = file, .count = set->count, .lead = (char *)made->ranges + ranges_room};
    memcpy(made->ranges, set->ranges, ranges_room);
    made->lead_len = (size_t)snprintf(made->lead, room, format, boundary, type);
    *parts = made;
    return 0;
}

/* The parts carry Content-Range, the head must not (RFC 9110 section 15.3.7.2). Returns 0, or -errno without
 * a response. */
static int answer_several(struct exchange *exchange, struct cached_file *file, const char *part_type,
                          const struct range_set *set)
{
    char boundary[BOUNDARY_LEN + 1];
    char type[sizeof "multipart/byteranges; boundary=" + BOUNDARY_LEN];
    struct range_parts *parts = NULL;
    int rv = make_boundary(boundary);
    rv = rv < 0 ? rv : make_range_parts(file, part_type, set, boundary, &parts);
    if (rv < 0) {
        return rv;
    }
    snprintf(type, sizeof type, "multipart/byteranges; boundary=%s", boundary);
    struct continuation then = {.next = next_part, .release = release_parts, .arg = parts};
    response_send_ranges(exchange, 206, type, content_length(parts), &then);
    return 0;
}

/* One range. */

static int answer_one(struct exchange *exchange, struct cached_file *file, const char *type,
                      const struct byte_range *range)
{
    char text[RANGE_TEXT_MAX];
    char line[sizeof "Content-Range: bytes \r\n" + RANGE_TEXT_MAX];
    format_range(text, range, file->size);
    int len = snprintf(line, sizeof line, "Content-Range: bytes %s\r\n", text);
    int rv = response_add_lines(exchange, line, (size_t)len);
    if (rv == 0) {
        response_file(exchange, 206, type, file, range->first, range->len);
    }
    return rv;
}

void byteranges_answer(struct exchange *exchange, struct cached_file *file, const char *type,
                       const struct range_set *set)
{
    const struct prebuilt *full = &file->full;
    response_drop_rivals(exchange, full->bytes + full->lines_offset, full->lines_len);
    int rv = response_add_lines(exchange, full->bytes + full->lines_offset, full->lines_len);
    if (rv == 0) {
        rv = set->count == 1 ? answer_one(exchange, file, type, &set->ranges[0])
                             : answer_several(exchange, file, type, set);
    }
    if (rv < 0) {
        cached_file_put(file);
        response_error(exchange, 503, NULL);
    }
}

void byteranges_refuse(struct exchange *exchange, uint64_t size)
{
    char value[sizeof "bytes */" + 20];
    int len = snprintf(value, sizeof value, "bytes */%" PRIu64, size);
    response_drop_content_fields(exchange);
    int rv = response_set_field(exchange, "Content-Range", 13, value, (size_t)len);
    rv = rv < 0 ? rv : response_set_field(exchange, "Accept-Ranges", 13, "bytes", 5);
    if (rv < 0) {
        response_error(exchange, 503, NULL);
        return;
    }
    response_error_page(exchange, 416, NULL);
}
