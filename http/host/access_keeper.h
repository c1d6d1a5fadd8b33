#ifndef EVSERVE_HTTP_ACCESS_KEEPER_H
#define EVSERVE_HTTP_ACCESS_KEEPER_H

/* The access logs of a server: the file and the format that all its threads use, and the files of hosts that have a log of
 * their own, replaced by a reload. One for each handle, with a lock of its own; any thread may call. */

#include "http/access_hosts.h"

#include <pthread.h>
#include <stddef.h>

struct access_file;
struct access_format;
struct log;

struct access_keeper {
    pthread_mutex_t lock;                         /* of all up to base_fd */
    struct access_file *file;                     /* a reference; NULL: there is no access log */
    struct access_format *format;                 /* likewise */
    size_t count;                                 /* of others */
    struct access_file *others[ACCESS_HOSTS_MAX]; /* references: files of hosts, file not among them, no target twice */
    int base_fd;                                  /* borrowed: where relative paths start */
    const struct log *log;                        /* borrowed */
};

void access_keeper_init(struct access_keeper *keeper, int base_fd, const struct log *log);
void access_keeper_done(struct access_keeper *keeper);

/* Log to target (NULL or "off": nowhere) in format (NULL: "combined"), and to those that hosts have (NULL: none). A
 * target that is in use stays open. Returns 0, or -errno with a text in err and everything as it was. One thread at a
 * time. */
int access_keeper_set(struct access_keeper *keeper, const char *target, const char *format,
                      const struct access_hosts *hosts, char *err, size_t errlen);

/* References to what is in use, which the caller gives back; NULL for both without an access log. */
void access_keeper_get(struct access_keeper *keeper, struct access_file **file, struct access_format **format);

/* A reference to the file of a target that is in use, which the caller gives back; NULL if it is not. */
struct access_file *access_keeper_find(struct access_keeper *keeper, const char *target);

/* Call fn with the path of each log that goes to a file, until it returns less than 0, and return that; else 0. Before
 * threads run. */
int access_keeper_each_path(const struct access_keeper *keeper, int (*fn)(void *arg, const char *path), void *arg);

/* The rights of root have been given up: warn of files that could not be opened again, as SIGUSR1 and upgrades do. */
void access_keeper_settle(struct access_keeper *keeper);

/* Open the files again: access_file_reopen() of each, even if others fail. Returns 0, also without any, or -errno with
 * the text of the first failure in err; the log has those of the others. */
int access_keeper_reopen(struct access_keeper *keeper, char *err, size_t errlen);

#endif
