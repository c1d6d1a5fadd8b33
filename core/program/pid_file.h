#ifndef EVSERVE_CORE_PROGRAM_PID_FILE_H
#define EVSERVE_CORE_PROGRAM_PID_FILE_H

/* The file of --pid-file: the process id of the program that serves, as a line. Each program that keeps one has a shared
 * lock on it (flock(2)), so a file without a lock is one that a dead program left, and its number may belong to another
 * process by now. For programs. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

struct pid_file {
    const char *path; /* borrowed; NULL: there is none */
    int fd;           /* open and locked; < 0 before pid_file_open() */
};

/* Make the file, or take it over, before rights are given up. If root makes it for a program that is to become user (NULL:
 * none), it is that user's, and so the next program can write it. path may be NULL: nothing happens, then or later.
 * Returns 0, or -errno with a text in err. */
int pid_file_open(struct pid_file *file, const char *path, const char *user, char *err, size_t errlen);

/* Write the number of this process, when it serves, and again when it goes on doing so: each time the file's
 * modification time changes. */
void pid_file_write(struct pid_file *file);

/* The same after a reload. If that has failed, an empty line follows the number. */
void pid_file_tell_reload(struct pid_file *file, bool has_failed);

/* Empty and remove the file, unless it has another program's number by now; close it. */
void pid_file_close(struct pid_file *file);

/* For other programs: read the number of the program that keeps the file at path, and look when it was written. Returns
 * the number; 0 while there is none in the file; or -errno with a text in err: -ESRCH if no program keeps it. */
pid_t pid_file_read(const char *path, struct timespec *written, char *err, size_t errlen);

/* For other programs: whether the file says that the last reload has failed. */
bool pid_file_has_failed(const char *path);

#endif
