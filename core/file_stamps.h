#ifndef EVSERVE_CORE_FILE_STAMPS_H
#define EVSERVE_CORE_FILE_STAMPS_H

/* A list of files, and whether one of them has changed: the files that a program is made of, and data that it has read.
 * Any thread may call any function except _init and _done. */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

struct file_stamp;

enum { FILE_STAMPS_MAX = 1024 }; /* files; more are not watched */

/* Files, with the result of stat(2) when they were noted. */
struct file_stamps {
    pthread_mutex_t lock;    /* protects all below */
    struct file_stamp *list; /* count of them, capacity of them allocated */
    size_t count, capacity;
    int base_fd; /* see sys_base() */
};

/* Begin with an empty list; and free it. No other thread may use it at that time. */
void file_stamps_init(struct file_stamps *stamps);

/* Let relative paths start at the directory base_fd, which is borrowed, and not at the current working directory. */
void file_stamps_set_base(struct file_stamps *stamps, int base_fd);
void file_stamps_done(struct file_stamps *stamps);

/* Remember a file that the program is made of, as it is now; if it is on the list already, it is looked at again.
 * Returns 0, -ENOSPC or -ENOMEM. */
int file_stamps_note(struct file_stamps *stamps, const char *path);

/* Remember a file of data. A file that is empty or not regular is not remembered, since those of /proc differ each
 * time. Returns as file_stamps_note() does. */
int file_stamps_note_data(struct file_stamps *stamps, const char *path);

/* From now on, changes of this file do not count if it is data: the program has written it itself. */
void file_stamps_ignore(struct file_stamps *stamps, const char *path);

/* Whether a file of the list was replaced, or has another size or time of change, since it was noted or since the last
 * call. A file that does not exist counts as unchanged: it is being replaced. */
bool file_stamps_changed(struct file_stamps *stamps);

/* Call fn with the path of each file that the program is made of, until it returns something other than 0. Returns
 * that, or 0. fn must not call back. */
int file_stamps_each(struct file_stamps *stamps, int (*fn)(void *arg, const char *path), void *arg);

#endif
