/* Happy path: names are checked and kept in lower case; a request's host is compared with each of the same length.
 *
 * Failure modes: what is no name, or one too many, is an error text. */

#include "http/metrics_hosts.h"

#include "core/ascii.h"
#include "core/log.h"
#include "core/mem.h"

#include <errno.h>
#include <string.h>

struct listed_host {
    size_t len;
    unsigned number;
    char name[METRICS_HOST_MAX + 1];
};

struct metrics_hosts {
    size_t count;
    struct listed_host *list[METRICS_HOSTS_MAX];
};

/* Without the dot that a name may end in. */
static size_t cut_dot(const char *name, size_t len)
{
    return len > 1 && name[len - 1] == '.' ? len - 1 : len;
}

/* Letters, digits, '-', '_' and dots between them; or what may stand in the brackets of an IPv6 address. */
static bool is_listable(const char *name, size_t len)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";
    static const char ipv6[] = "ABCDEFabcdef0123456789:.";
    if (len == 0 || len > METRICS_HOST_MAX) {
        return false;
    }
    if (name[0] == '[') {
        return len > 2 && name[len - 1] == ']' && strspn(name + 1, ipv6) == len - 2;
    }
    return strspn(name, letters) >= len && name[0] != '.';
}

static const struct listed_host *find_listed(const struct metrics_hosts *hosts, const char *name, size_t len)
{
    for (size_t i = 0; i < hosts->count; i++) {
        const struct listed_host *host = hosts->list[i];
        if (host->len == len && ascii_equals(host->name, name, len)) {
            return host;
        }
    }
    return NULL;
}

static int add_host(struct metrics_hosts *hosts, const char *name, size_t len, char *err, size_t errlen)
{
    if (find_listed(hosts, name, len) != NULL) {
        return 0;
    }
    if (hosts->count == METRICS_HOSTS_MAX) {
        return error_text(err, errlen, -ENOSPC, "\"%s\" is one too many: metrics tell at most %d hosts apart", name,
                          (int)METRICS_HOSTS_MAX);
    }
    struct listed_host *made = mem_zalloc(sizeof *made);
    if (made == NULL) {
        return error_text(err, errlen, -ENOMEM, "%s", errno_text(ENOMEM));
    }
    made->len = len;
    for (size_t i = 0; i < len; i++) {
        made->name[i] = ascii_lower(name[i]);
    }
    hosts->list[hosts->count++] = made;
    return 0;
}

int metrics_hosts_add(struct metrics_hosts **hosts, const char *name, char *err, size_t errlen)
{
    size_t len = cut_dot(name, strlen(name));
    if (!is_listable(name, len)) {
        return error_text(
            err, errlen, -EINVAL,
            "\"%.300s\" is no host name: a name such as \"example.org\" expected, or an address, without a "
            "port; IPv6 in brackets",
            name);
    }
    if (*hosts == NULL && (*hosts = mem_zalloc(sizeof **hosts)) == NULL) {
        return error_text(err, errlen, -ENOMEM, "%s", errno_text(ENOMEM));
    }
    return add_host(*hosts, name, len, err, errlen);
}

int metrics_hosts_add_list(struct metrics_hosts **hosts, const char *list, char *err, size_t errlen)
{
    int rv = 0;
    for (const char *at = list + strspn(list, ", "); rv == 0 && *at != '\0'; at += strspn(at, ", ")) {
        char name[METRICS_HOST_MAX + 3]; /* with a dot, and a byte that makes it too long */
        size_t len = strcspn(at, ", "), kept = len < sizeof name ? len : sizeof name - 1;
        memcpy(name, at, kept);
        name[kept] = '\0';
        rv = metrics_hosts_add(hosts, name, err, errlen);
        at += len;
    }
    return rv;
}

void metrics_hosts_destroy(struct metrics_hosts *hosts)
{
    for (size_t i = 0; hosts != NULL && i < hosts->count; i++) {
        mem_free(hosts->list[i]);
    }
    mem_free(hosts);
}

const char *metrics_hosts_name(const struct metrics_hosts *hosts, size_t n)
{
    return hosts == NULL || n >= hosts->count ? NULL : hosts->list[n]->name;
}

void metrics_hosts_set_number(struct metrics_hosts *hosts, size_t n, unsigned number)
{
    hosts->list[n]->number = number;
}

unsigned metrics_hosts_find(const struct metrics_hosts *hosts, const char *authority, size_t len)
{
    size_t end = 0;
    if (len > 0 && authority[0] == '[') {
        const char *bracket = memchr(authority, ']', len);
        end = bracket == NULL ? len : (size_t)(bracket + 1 - authority);
    } else {
        const char *colon = len == 0 ? NULL : memchr(authority, ':', len);
        end = colon == NULL ? len : (size_t)(colon - authority);
    }
    const struct listed_host *host = find_listed(hosts, authority, cut_dot(authority, end));
    return host == NULL ? (unsigned)HOST_OTHER : host->number;
}
