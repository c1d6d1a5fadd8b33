#ifndef EVSERVE_HTTP_ACCESS_KEEPER_H
#define EVSERVE_HTTP_ACCESS_KEEPER_H

/* The access log of a server: the file and the format that all its threads use, replaced by a reload. One for each
 * handle, with a lock of its own; any thread may call. */

#include <pthread.h>
#include <stddef.h>

struct access_file;
struct access_format;
struct log;

struct access_keeper {
    pthread_mutex_t lock;         /* of the two that follow */
    struct access_file *file;     /* a reference; NULL: there is no access log */
    struct access_format *format; /* likewise */
    int base_fd;                  /* borrowed: where relative paths start */
    const struct log *log;        /* borrowed */
};

void access_keeper_init(struct access_keeper *keeper, int base_fd, const struct log *log);
void access_keeper_done(struct access_keeper *keeper);

/* Log to target (NULL or "off": nowhere) in format (NULL: "combined"). A target that is in use stays open. Returns 0,
 * or -errno with a text in err and everything as it was. */
int access_keeper_set(struct access_keeper *keeper, const char *target, const char *format, char *err, size_t errlen);

/* References to what is in use, which the caller gives back; NULL for both without an access log. */
void access_keeper_get(struct access_keeper *keeper, struct access_file **file, struct access_format **format);

/* The path of the file, or NULL if the log goes elsewhere or there is none. Valid until the next reload. */
const char *access_keeper_path(const struct access_keeper *keeper);

/* The rights of root have been given up: warn if the file could not be opened again, as SIGUSR1 and upgrades do. */
void access_keeper_settle(struct access_keeper *keeper);

/* Open the file again: access_file_reopen(). Returns 0, also without one, or -errno with a text in err. */
int access_keeper_reopen(struct access_keeper *keeper, char *err, size_t errlen);

#endif
