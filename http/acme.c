/* Happy path: the path ends in a token; the file of that name is read, and sent as it is.
 *
 * Failure modes: what is no token, no plain file, or not there is 404. A file that cannot be read is 403, 500 or 503,
 * and a line in the log, since the certificate authority does not tell the administrator much. */

#include "http/acme.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "http/exchange.h"
#include "http/exchange_log.h"
#include "http/file_cache.h"
#include "http/file_room.h"
#include "http/no_route.h"
#include "http/response.h"
#include "http/service.h"
#include "http/site.h"

#include <errno.h>
#include <string.h>

enum { ACME_QUIET_MS = 10000 }; /* between two lines in the log */

struct acme {
    char *directory;    /* its name */
    int base_fd;        /* where a relative one starts */
    int64_t may_say_ms; /* reactor time from which the log may have the next line */
};

int acme_create(struct acme **acme, const char *directory, int base_fd)
{
    struct acme *made = mem_zalloc(sizeof *made);
    char *name = made == NULL ? NULL : mem_copy_text(directory);
    if (name == NULL) {
        mem_free(made);
        return -ENOMEM;
    }
    for (size_t len = strlen(name); len > 1 && name[len - 1] == '/'; len--) {
        name[len - 1] = '\0';
    }
    made->directory = name;
    made->base_fd = base_fd;
    *acme = made;
    return 0;
}

void acme_destroy(struct acme *acme)
{
    if (acme != NULL) {
        mem_free(acme->directory);
        mem_free(acme);
    }
}

const char *acme_directory(const struct acme *acme)
{
    return acme->directory;
}

static int open_again(int dir_fd, const char *path, int flags)
{
    int fd;
    do {
        fd = sys_open(dir_fd, path, flags);
    } while (fd == -EINTR);
    return fd;
}

static int open_challenges(const struct acme *acme)
{
    return open_again(sys_base(acme->base_fd), acme->directory, O_PATH | O_DIRECTORY);
}

void acme_warn(const struct acme *acme, const struct log *log)
{
    int fd = open_challenges(acme);
    if (fd < 0) {
        log_write(log, LOG_WARN, "the directory of ACME challenges, %s, cannot be used yet: %s", acme->directory,
                  errno_text(-fd));
    } else {
        sys_close(fd);
    }
}

/* Read a plain file of at most ACME_FILE_MAX bytes. Returns its length, or -errno. A pipe does not hold us up. */
static ssize_t read_challenge_at(int dir_fd, const char *token, char text[ACME_FILE_MAX + 1])
{
    struct stat st;
    int fd = open_again(dir_fd, token, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        return fd;
    }
    ssize_t rv = sys_stat(fd, &st);
    if (rv == 0 && !S_ISREG(st.st_mode)) {
        rv = -ENOENT;
    }
    size_t len = 0;
    while (rv == 0 && len <= ACME_FILE_MAX) {
        ssize_t got = sys_pread(fd, text + len, ACME_FILE_MAX + 1 - len, (off_t)len);
        if (got == 0) {
            break;
        }
        rv = got < 0 && got != -EINTR ? got : 0;
        len += got > 0 ? (size_t)got : 0;
    }
    sys_close(fd);
    return rv < 0 ? rv : len > ACME_FILE_MAX ? -EFBIG : (ssize_t)len;
}

static ssize_t read_challenge(struct exchange *exchange, const char *token, char text[ACME_FILE_MAX + 1])
{
    const struct acme *acme = exchange->site->acme;
    int tries = FILE_ROOM_TRIES;
    ssize_t rv;
    do {
        int dir_fd = open_challenges(acme);
        rv = dir_fd;
        if (dir_fd >= 0) {
            rv = read_challenge_at(dir_fd, token, text);
            sys_close(dir_fd);
        }
    } while (rv < 0 && --tries > 0 && file_room_make(file_cache_room(exchange->site->cache), (int)rv));
    return rv;
}

/* base64url without padding (RFC 8555 section 8.3): no dot, so no hidden file, and no slash. */
static bool is_challenge_token(const char *token, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        bool is_letter = (token[i] >= 'a' && token[i] <= 'z') || (token[i] >= 'A' && token[i] <= 'Z');
        bool is_digit = token[i] >= '0' && token[i] <= '9';
        if (!is_letter && !is_digit && token[i] != '-' && token[i] != '_') {
            return false;
        }
    }
    return len > 0 && len <= ACME_TOKEN_MAX;
}

static void refuse_challenge(struct exchange *exchange, const char *token, int error)
{
    struct acme *acme = exchange->site->acme;
    if (error == -ENOENT || error == -ENOTDIR || error == -ELOOP) {
        response_error(exchange, 404, NULL);
        return;
    }
    int64_t now_ms = reactor_now_ms(exchange->service->reactor);
    if (now_ms >= acme->may_say_ms) {
        acme->may_say_ms = now_ms + ACME_QUIET_MS;
        exchange_log(exchange, LOG_ERROR, acme, "cannot read the ACME challenge %s/%s: %s", acme->directory, token,
                     errno_text(-error));
    }
    response_error(exchange,
                   error == -EACCES || error == -EPERM            ? 403
                   : error == -ENOMEM || sys_is_out_of_fds(error) ? 503
                                                                  : 500,
                   NULL);
}

static void send_challenge(struct exchange *exchange, const char *token)
{
    char text[ACME_FILE_MAX + 1];
    exchange_time_turn(exchange);
    ssize_t len = read_challenge(exchange, token, text);
    if (len < 0) {
        refuse_challenge(exchange, token, (int)len);
    } else {
        response_send(exchange, 200, "application/octet-stream", text, (size_t)len);
    }
}

bool acme_serve(struct exchange *exchange)
{
    static const char prefix[] = "/.well-known/acme-challenge/";
    const size_t prefix_len = sizeof prefix - 1;
    if (exchange->path_len < prefix_len || memcmp(exchange->path, prefix, prefix_len) != 0) {
        return false;
    }
    const char *token = exchange->path + prefix_len;
    const uint64_t methods = METHOD_BIT(METHOD_GET) | METHOD_BIT(METHOD_HEAD);
    if (!is_challenge_token(token, exchange->path_len - prefix_len)) {
        response_error(exchange, 404, NULL);
    } else if (exchange->head.method == METHOD_GET || exchange->head.method == METHOD_HEAD) {
        send_challenge(exchange, token);
    } else if (exchange->head.method == METHOD_OPTIONS) {
        no_route_answer_options(exchange, methods);
    } else {
        exchange->match.allowed = methods | METHOD_BIT(METHOD_OPTIONS);
        response_error(exchange, 405, NULL);
    }
    return true;
}
