/* Forms whose body has been read as a whole: application/x-www-form-urlencoded (URL Standard, section 5.1) and
 * multipart/form-data (RFC 7578). evs_form() treats both alike.
 *
 * Failure modes: a body that is no form gives a status, negated; it is the same however often the host asks. */

#include "http/host/evs_form.h"

#include "core/mem.h"
#include "http/host/evs_blame.h"
#include "http/host/evs_internal.h"
#include "http/host/evs_parsed.h"
#include "http/multipart.h"
#include "http/status.h"
#include "http/url.h"

#include <errno.h>

_Static_assert(FORM_FIELDS_MAX == 1000, "a reason in form_parse() has the number");

const char *evs_body_type(const struct exchange *exchange, size_t *len)
{
    *len = 0;
    const char *type = exchange_known_field(exchange, FIELD_CONTENT_TYPE, len);
    return type == NULL ? "" : type;
}

const char *evs_multipart_reason(int status)
{
    return status == 415 ? "the request body must be multipart/form-data"
                         : "the Content-Type has no boundary, or an invalid one";
}

/* The size of a multipart body. */
struct measure {
    size_t parts; /* complete ones */
    size_t len;   /* bytes of their names and contents */
};

/* Go through a multipart body: measure it, and add its parts to pairs unless that is NULL. Returns 0 or a status,
 * negated, with the reason. */
static int form_take_parts(struct multipart *multipart, const char *body, size_t body_len, struct pairs *pairs,
                           struct measure *measure, const char **reason)
{
    for (size_t at = 0;;) {
        size_t used, len;
        const char *content;
        char name[MULTIPART_HEAD_MAX];
        int name_len;
        switch (multipart_parse(multipart, body + at, body_len - at, &used, &content, &len)) {
        case MULTIPART_PART:
            name_len = multipart_parameter(multipart, "name", name);
            measure->len += (size_t)name_len; /* a part without a name is an error */
            if (pairs != NULL) {
                pairs_begin(pairs, name, (size_t)name_len);
            }
            break;
        case MULTIPART_CONTENT:
            measure->len += len;
            if (pairs != NULL) {
                pairs_append(pairs, content, len);
            }
            break;
        case MULTIPART_PART_END:
            measure->parts++;
            if (pairs != NULL) {
                pairs_end(pairs);
            }
            break;
        case MULTIPART_ERROR:
            *reason = multipart->reason;
            return -multipart->status;
        case MULTIPART_MORE:
            if (!multipart_finish(multipart)) {
                *reason = multipart->reason;
                return -multipart->status;
            }
            return 0;
        }
        at += used;
    }
}

static int parse_multipart_form(const struct exchange *exchange, struct evs_parsed *parsed, const char *type,
                                size_t type_len)
{
    struct multipart multipart;
    struct measure measure = {0};
    int status = multipart_begin(&multipart, type, type_len);
    if (status != 0) {
        parsed->reason = evs_multipart_reason(status);
        return -status;
    }
    const char *body = exchange->body == NULL ? "" : exchange->body;
    int rv = form_take_parts(&multipart, body, exchange->body_len, NULL, &measure, &parsed->reason);
    if (rv < 0) {
        return rv;
    }
    parsed->form = pairs_create(measure.parts, measure.len);
    if (parsed->form == NULL) {
        parsed->reason = "out of memory";
        return -503;
    }
    (void)multipart_begin(&multipart, type, type_len);
    return form_take_parts(&multipart, body, exchange->body_len, parsed->form, &measure, &parsed->reason);
}

static int form_parse(const struct exchange *exchange, struct evs_parsed *parsed)
{
    size_t len;
    const char *type = evs_body_type(exchange, &len);
    if (media_type_is(type, len, "multipart/form-data")) {
        return parse_multipart_form(exchange, parsed, type, len);
    }
    if (!media_type_is(type, len, "application/x-www-form-urlencoded")) {
        parsed->reason = "the request body must be application/x-www-form-urlencoded or multipart/form-data";
        return -415;
    }
    int rv = pairs_of_query(&parsed->form, exchange->body, exchange->body_len, FORM_FIELDS_MAX);
    if (rv == -E2BIG) {
        parsed->reason = "the form has more than 1000 fields";
        return -413;
    }
    if (rv < 0) {
        parsed->reason = "out of memory";
        return -503;
    }
    return 0;
}

/* The form, or NULL with *status. */
static const struct pairs *form_of(evs_request *request, const char *function, int *status)
{
    struct exchange *exchange = exchange_of(request);
    struct evs_parsed *parsed = evs_parsed_of(exchange);
    *status = -503;
    if (parsed == NULL) {
        return NULL;
    }
    if (evs_streams_body(exchange)) {
        evs_blame(exchange, LOG_ERROR, function, "the route has EVS_STREAM_BODY: use evs_part_next() or evs_read()");
        *status = -EINVAL;
        return NULL;
    }
    if (parsed->form == NULL && parsed->form_status == 0) {
        parsed->form_status = form_parse(exchange, parsed);
    }
    *status = parsed->form_status;
    return parsed->form;
}

const char *evs_form(evs_request *request, const char *name)
{
    int status;
    return name == NULL ? NULL : pairs_find(form_of(request, "evs_form", &status), name);
}

int evs_form_at(evs_request *request, unsigned index, const char **name, const char **value)
{
    int status;
    return pairs_at(form_of(request, "evs_form_at", &status), index, name, value) ? 1 : 0;
}

int evs_form_count(evs_request *request)
{
    int status;
    const struct pairs *form = form_of(request, "evs_form_count", &status);
    return form == NULL ? status : (int)form->count;
}

const char *evs_body_error(evs_request *request)
{
    const struct exchange *exchange = exchange_of(request);
    if (exchange->parsed != NULL && exchange->parsed->reason != NULL) {
        return exchange->parsed->reason;
    }
    switch (exchange->body_status) {
    case 0:
        return NULL;
    case 413:
        return "the request body is longer than max_body";
    case 408:
        return "the request body arrived too slowly";
    default:
        return exchange->body_reason == NULL ? status_reason(exchange->body_status) : exchange->body_reason;
    }
}
