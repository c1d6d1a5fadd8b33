/* Happy path: the priority, the time and the tag go before the line, in one datagram.
 *
 * Failure modes: no daemon at the socket; one that was started anew has another socket, which is found when the logs
 * are reopened. */

#include "http/access_syslog.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/sys.h"
#include "core/sys_append.h"
#include "http/head_text.h"

#include <errno.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>

enum { TAG_MAX = 32, DATAGRAM_MAX = 4096 + 96 };

struct access_syslog {
    int fd;            /* owned */
    unsigned priority; /* facility and severity */
    char tag[TAG_MAX + 1];
};

static const char syslog_prefix[] = "syslog:";

bool access_syslog_is(const char *target)
{
    return strncmp(target, syslog_prefix, sizeof syslog_prefix - 1) == 0;
}

/* The number of a name in a list of names with spaces behind them, or -1. */
static int find_name(const char *list, const char *name, size_t len)
{
    for (int number = 0; *list != '\0'; number++) {
        size_t name_len = strcspn(list, " ");
        if (name_len == len && memcmp(list, name, len) == 0) {
            return number;
        }
        list += name_len + 1;
    }
    return -1;
}

static bool is_option(const char *text, size_t len, const char *name, const char **value, size_t *value_len)
{
    size_t name_len = strlen(name);
    *value = text + name_len;
    *value_len = len - name_len;
    return len > name_len && memcmp(text, name, name_len) == 0;
}

static bool is_syslog_tag(const char *tag, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        bool is_letter = (tag[i] >= 'a' && tag[i] <= 'z') || (tag[i] >= 'A' && tag[i] <= 'Z');
        if (!is_letter && !(tag[i] >= '0' && tag[i] <= '9') && tag[i] != '_' && tag[i] != '-' && tag[i] != '.') {
            return false;
        }
    }
    return len <= TAG_MAX;
}

/* Take one option of len bytes. Returns whether it is valid. */
static bool take_option(struct access_syslog *syslog, struct sockaddr_un *address, const char *text, size_t len,
                        unsigned *facility, unsigned *severity)
{
    static const char facilities[] =
        "kern user mail daemon auth intern lpr news uucp clock authpriv ftp ntp audit alert "
        "cron local0 local1 local2 local3 local4 local5 local6 local7 ";
    static const char severities[] = "emerg alert crit error warn notice info debug ";
    const char *value;
    size_t value_len;
    int number = 0;
    if (is_option(text, len, "facility=", &value, &value_len)) {
        number = find_name(facilities, value, value_len);
        *facility = (unsigned)number;
    } else if (is_option(text, len, "severity=", &value, &value_len)) {
        number = find_name(severities, value, value_len);
        *severity = (unsigned)number;
    } else if (is_option(text, len, "tag=", &value, &value_len) && is_syslog_tag(value, value_len)) {
        memcpy(syslog->tag, value, value_len);
        syslog->tag[value_len] = '\0';
    } else if (is_option(text, len, "server=unix:", &value, &value_len) && value_len < sizeof address->sun_path) {
        memcpy(address->sun_path, value, value_len);
        address->sun_path[value_len] = '\0';
    } else {
        return false;
    }
    return number >= 0;
}

int access_syslog_open(struct access_syslog **syslog, const char *target, char *err, size_t errlen)
{
    struct access_syslog made = {.tag = "evserve"};
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};
    unsigned facility = 23, severity = 6;
    const char *at = target + sizeof syslog_prefix - 1;
    while (*at != '\0') {
        size_t len = strcspn(at, ",");
        if (!take_option(&made, &address, at, len, &facility, &severity)) {
            return error_text(
                err, errlen, -EINVAL,
                "access log %.100s: \"%.*s\" is none of server=unix:PATH, facility=NAME (such as local7 or "
                "daemon), severity=NAME (such as info) and tag=NAME (letters, digits, _ . -, at most %d)",
                target, (int)(len < 80 ? len : 80), at, TAG_MAX);
        }
        at += len + (at[len] == ',');
    }
    made.priority = facility * 8 + severity;
    made.fd = sys_connect_datagram((const struct sockaddr *)&address, sizeof address);
    if (made.fd < 0) {
        return error_text(err, errlen, made.fd, "cannot open the access log %.100s: no syslog daemon at %s: %s", target,
                          address.sun_path, errno_text(-made.fd));
    }
    *syslog = mem_alloc(sizeof made);
    if (*syslog == NULL) {
        sys_close(made.fd);
        return error_text(err, errlen, -ENOMEM, "cannot open the access log %.100s: %s", target, errno_text(ENOMEM));
    }
    **syslog = made;
    return 0;
}

void access_syslog_close(struct access_syslog *syslog)
{
    if (syslog != NULL) {
        sys_close(syslog->fd);
        mem_free(syslog);
    }
}

static char *put_clock(char *at, int number, char fill)
{
    *at++ = (char)(number < 10 ? fill : '0' + number / 10);
    *at++ = (char)('0' + number % 10);
    return at;
}

ssize_t access_syslog_send(struct access_syslog *syslog, const char *line, size_t len, int64_t now_s)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    char datagram[DATAGRAM_MAX], *at = datagram;
    time_t now = (time_t)now_s;
    struct tm tm = {0};
    (void)localtime_r(&now, &tm);
    *at++ = '<';
    at = put_number(at, syslog->priority);
    *at++ = '>';
    at = put(at, months + 3 * (size_t)tm.tm_mon, 3);
    *at++ = ' ';
    at = put_clock(at, tm.tm_mday, ' ');
    *at++ = ' ';
    at = put_clock(at, tm.tm_hour, '0');
    *at++ = ':';
    at = put_clock(at, tm.tm_min, '0');
    *at++ = ':';
    at = put_clock(at, tm.tm_sec, '0');
    *at++ = ' ';
    at = put_text(at, syslog->tag);
    *at++ = ':';
    *at++ = ' ';
    at = put(at, line, len - 1);
    ssize_t put_len = sys_append_message(syslog->fd, datagram, (size_t)(at - datagram));
    return put_len < 0 ? (put_len == -ENOBUFS ? -EAGAIN : put_len) : (ssize_t)len;
}
