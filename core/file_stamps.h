#ifndef EVSERVE_CORE_FILE_STAMPS_H
#define EVSERVE_CORE_FILE_STAMPS_H

/* A list of files, and whether one of them has changed. Any thread may call any function but _init and _done.
 *
 * Some are what a program is made of, others are data that it has read. */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

struct file_stamp;

enum { FILE_STAMPS_MAX = 1024 }; /* files; more are not watched */

/* Files, with what stat(2) said of them when they were noted. */
struct file_stamps {
    pthread_mutex_t lock;    /* of all below */
    struct file_stamp *list; /* count of them, capacity of them allocated */
    size_t count, capacity;
    int base_fd; /* see sys_base() */
};

/* Begin with an empty list; free it. No other thread uses it then. */
void file_stamps_init(struct file_stamps *stamps);

/* Relative paths start at the directory base_fd, borrowed, and not at the working directory of the moment. */
void file_stamps_set_base(struct file_stamps *stamps, int base_fd);
void file_stamps_done(struct file_stamps *stamps);

/* Remember a file that the program is made of, as it is now; one that is on the list already is looked at anew. Returns 0,
 * -ENOSPC or -ENOMEM. */
int file_stamps_note(struct file_stamps *stamps, const char *path);

/* Remember a file of data. One that is empty, or no regular file, is not remembered: those of /proc are another at each
 * look. Returns as file_stamps_note(). */
int file_stamps_note_data(struct file_stamps *stamps, const char *path);

/* The program has written the file itself: as data its changes do not count from now on. */
void file_stamps_ignore(struct file_stamps *stamps, const char *path);

/* Whether a file of the list is another one than it was, or has another size or time of change, since it was noted or
 * this was last asked. A file that is not there counts as unchanged: it is being replaced. */
bool file_stamps_changed(struct file_stamps *stamps);

/* Call fn with the path of each file that the program is made of, until it returns other than 0. Returns that,
 * or 0. fn must not call back. */
int file_stamps_each(struct file_stamps *stamps, int (*fn)(void *arg, const char *path), void *arg);

#endif
