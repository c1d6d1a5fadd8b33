/* From the text of a setting to a field line. No failure modes but mistakes in the text. */

#include "http/hsts.h"

#include "core/ascii.h"
#include "core/log.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum {
    HSTS_AGE_MAX_S = 315360000,     /* ten years of 365 days */
    PRELOAD_AGE_LEAST_S = 31536000, /* of a host on the list that browsers come with (hstspreload.org) */
};

static int refuse_hsts(const char *text, const char *why, char *err, size_t errlen)
{
    return error_text(err, errlen, -EINVAL, "hsts: \"%.80s\": %s", text, why);
}

/* A number with a unit, len bytes, in seconds; -1 for anything else. */
static int64_t parse_age(const char *text, size_t len)
{
    static const struct {
        char unit;
        uint32_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    for (size_t i = 0; len > 1 && i < sizeof units / sizeof units[0]; i++) {
        uint64_t number;
        if (text[len - 1] == units[i].unit &&
            ascii_parse_number(text, len - 1, HSTS_AGE_MAX_S / units[i].seconds, &number)) {
            return (int64_t)(number * units[i].seconds);
        }
    }
    return -1;
}

/* Take one directive of len bytes. Returns 0 or -EINVAL. */
static int take_directive(const char *text, size_t len, bool *subdomains, bool *preload)
{
    bool *taken = ascii_is(text, len, "includesubdomains") ? subdomains
                  : ascii_is(text, len, "preload")         ? preload
                                                           : NULL;
    if (taken == NULL || *taken) {
        return -EINVAL;
    }
    *taken = true;
    return 0;
}

int hsts_parse(struct hsts *hsts, const char *text, char *err, size_t errlen)
{
    if (strcmp(text, "off") == 0) {
        hsts->len = 0;
        return 0;
    }
    size_t len = strcspn(text, "; ");
    int64_t age_s = parse_age(text, len);
    bool subdomains = false, preload = false;
    if (age_s < 0) {
        return refuse_hsts(
            text, "a time such as \"365d\" expected, at most 3650d, or \"365d; includeSubDomains\", or \"off\"", err,
            errlen);
    }
    for (const char *at = text + len + strspn(text + len, " "); *at != '\0';) {
        const char *directive = at + 1 + strspn(at + 1, " ");
        size_t directive_len = strcspn(directive, "; ");
        if (*at != ';' || take_directive(directive, directive_len, &subdomains, &preload) < 0) {
            return refuse_hsts(text,
                               "behind the time, \"; includeSubDomains\" and \"; preload\" are allowed, once each", err,
                               errlen);
        }
        at = directive + directive_len + strspn(directive + directive_len, " ");
    }
    if (preload && (!subdomains || age_s < PRELOAD_AGE_LEAST_S)) {
        return refuse_hsts(text, "browsers' lists take \"preload\" only with includeSubDomains and at least 365d", err,
                           errlen);
    }
    int written = snprintf(hsts->line, sizeof hsts->line, "Strict-Transport-Security: max-age=%lld%s%s\r\n",
                           (long long)age_s, subdomains ? "; includeSubDomains" : "", preload ? "; preload" : "");
    hsts->len = (uint8_t)written;
    return 0;
}
