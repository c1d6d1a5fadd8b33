/* One head in one allocation, with room for the content.
 *
 * Happy path: prebuilt_init() writes status line, type, the caller's lines and Content-Length one behind the other.
 * Failure mode: no memory. */

#include "http/prebuilt.h"

#include "core/ascii.h"
#include "core/mem.h"
#include "http/head_text.h"
#include "http/http_date.h"
#include "http/status.h"

#include <errno.h>
#include <string.h>

/* Whether field lines, each with CRLF, have one of that name. */
static bool has_line(const char *lines, const char *name)
{
    const size_t len = strlen(name);
    for (const char *end; (end = strchr(lines, '\n')) != NULL; lines = end + 1) {
        if ((size_t)(end - lines) > len && lines[len] == ':' && ascii_equals(lines, name, len)) {
            return true;
        }
    }
    return false;
}

int prebuilt_init(struct prebuilt *prebuilt, int status, const char *type, const char *fields, uint64_t content_length,
                  uint32_t content_room)
{
    size_t type_len = type == NULL ? 0 : strlen(type);
    char *start = mem_alloc(HEAD_ROOM + type_len + strlen(fields) + content_room);
    if (start == NULL) {
        return -ENOMEM;
    }
    char *at = put_status_line(start, status);
    *prebuilt =
        (struct prebuilt){.bytes = start, .status = status, .type = type, .date_offset = (uint32_t)(at - start)};
    prebuilt->lines_len = (uint32_t)strlen(fields);
    prebuilt->has_hsts = has_line(fields, "strict-transport-security");
    at += HTTP_DATE_LEN;
    at = put_text(at, "\r\n");
    if (type != NULL) {
        at = put_text(at, "Content-Type: ");
        at = put_text(at, type);
        at = put_text(at, "\r\n");
    }
    prebuilt->lines_offset = (uint32_t)(at - start);
    at = put(at, fields, prebuilt->lines_len);
    if (!status_has_no_body(status)) {
        at = put_text(at, "Content-Length: ");
        at = put_number(at, content_length);
        at = put_text(at, "\r\n");
    }
    at = put_text(at, "\r\n");
    prebuilt->head_len = (uint32_t)(at - start);
    return 0;
}

void prebuilt_done(struct prebuilt *prebuilt)
{
    mem_free(prebuilt->bytes);
    *prebuilt = (struct prebuilt){0};
}
