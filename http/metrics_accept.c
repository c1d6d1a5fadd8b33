/* Happy path: of each element of the list, its type, version and weight are read; the best weights of the two formats
 * are compared. Ranges such as "text/x" or "*" are no vote for OpenMetrics, since clients that know it name it. */

#include "http/metrics_accept.h"

#include "core/ascii.h"

#include <string.h>

enum { WEIGHT_ONE = 1000, WEIGHT_DIGITS_MAX = 5 /* of "0.125" */ };

/* A part of a text. */
struct range_text {
    const char *at, *end;
};

/* Take what comes before a separator, without spaces around it. Returns false at the end. */
static bool take_part(struct range_text *from, char separator, struct range_text *part)
{
    if (from->at == NULL || from->at >= from->end) {
        return false;
    }
    const char *end = memchr(from->at, separator, (size_t)(from->end - from->at));
    *part = (struct range_text){from->at, end == NULL ? from->end : end};
    from->at = end == NULL ? from->end : end + 1;
    while (part->at < part->end && (*part->at == ' ' || *part->at == '\t')) {
        part->at++;
    }
    while (part->at < part->end && (part->end[-1] == ' ' || part->end[-1] == '\t')) {
        part->end--;
    }
    return true;
}

/* Whether a part begins with a prefix, in any case; then it goes on behind that. */
static bool skip_prefix(struct range_text *part, const char *prefix)
{
    size_t len = strlen(prefix);
    bool begins = (size_t)(part->end - part->at) >= len && ascii_equals(part->at, prefix, len);
    part->at += begins ? len : 0;
    return begins;
}

/* A weight in thousandths; 0 for what is none. */
static int read_weight_of(struct range_text text)
{
    int weight = 0, unit = WEIGHT_ONE;
    if (text.end - text.at > WEIGHT_DIGITS_MAX) {
        return 0;
    }
    for (; text.at < text.end; text.at++) {
        bool is_point = unit == WEIGHT_ONE / 10 && *text.at == '.';
        if (!is_point && (*text.at < '0' || *text.at > '9')) {
            return 0;
        }
        weight += is_point ? 0 : (*text.at - '0') * unit;
        unit = is_point ? unit : unit / 10;
    }
    return weight > WEIGHT_ONE ? 0 : weight;
}

bool metrics_accept_open(const char *value, size_t len)
{
    struct range_text list = {value, value == NULL ? NULL : value + len}, element, part;
    int open = 0, plain = 0;
    while (take_part(&list, ',', &element)) {
        int weight = WEIGHT_ONE;
        bool is_usable = true;
        if (!take_part(&element, ';', &part)) {
            continue;
        }
        struct range_text type = part;
        bool is_open = skip_prefix(&type, "application/openmetrics-text") && type.at == type.end;
        type = part;
        bool is_plain = skip_prefix(&type, "text/plain") && type.at == type.end;
        while (take_part(&element, ';', &part)) {
            if (skip_prefix(&part, "q=")) {
                weight = read_weight_of(part);
            } else if (skip_prefix(&part, "version=")) {
                is_usable = !is_open || (part.at < part.end && *part.at == '1');
            }
        }
        open = is_open && is_usable && weight > open ? weight : open;
        plain = is_plain && weight > plain ? weight : plain;
    }
    return open > 0 && open >= plain;
}
