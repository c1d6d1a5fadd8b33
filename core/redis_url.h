#ifndef EVSERVE_CORE_REDIS_URL_H
#define EVSERVE_CORE_REDIS_URL_H

/* The URL of a Redis server, or of one that speaks its protocol. Pure; any thread.
 *
 *     redis://127.0.0.1                       port 6379, database 0
 *     redis://user:password@host:6380/2       or redis://:password@host; %XX stands for a byte
 *     rediss://[fd00::1]/0?ca_file=ca.pem     TLS; authorities to trust in place of the system's
 *     unix:/run/redis.sock?db=2               a unix socket
 *
 * db, user, password and ca_file may follow a '?' in all of them, joined by '&'. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    REDIS_URL_MAX = 2048, /* bytes of a URL */
    REDIS_TEXT_MAX = 512, /* bytes of a user, of a password and of the name of a file */
    REDIS_HOST_MAX = 253, /* bytes of a name (RFC 1035, section 2.3.4) */
    REDIS_PATH_MAX = 107, /* bytes of the path of a unix socket (unix(7)) */
    REDIS_DATABASE_MAX = 1000000,
    REDIS_PLACE_NAME_MAX = REDIS_HOST_MAX + 32, /* bytes of redis_url.name with its NUL */
};

struct redis_url {
    char host[REDIS_HOST_MAX + 1]; /* without brackets; "": path */
    char path[REDIS_PATH_MAX + 1]; /* of a unix socket */
    uint16_t port;
    bool tls;
    unsigned database;
    bool has_password;
    char user[REDIS_TEXT_MAX + 1];     /* "": the default user */
    char password[REDIS_TEXT_MAX + 1]; /* of has_password */
    char ca_file[REDIS_TEXT_MAX + 1];  /* "": the authorities that the system trusts */
    char name[REDIS_PLACE_NAME_MAX];   /* what may be shown of the URL: "redis://127.0.0.1:6379/0", "unix:/run/x" */
};

/* Take a URL apart. Returns 0, or -EINVAL with a text in err that says what is wrong, and shows neither the password
 * nor anything that could be a part of it. */
int redis_url_parse(struct redis_url *url, const char *text, char *err, size_t errlen);

#endif
