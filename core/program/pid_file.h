#ifndef EVSERVE_CORE_PROGRAM_PID_FILE_H
#define EVSERVE_CORE_PROGRAM_PID_FILE_H

/* The file of --pid-file: the process id of the program that serves, as a line. Each program that keeps one has a
 * shared lock on it (flock(2)), so a file without a lock is one that a dead program left, and its number may belong to
 * another process by now.
 *
 * Empty lines behind the number say what has happened since the program began to serve: shells and other programs that
 * read the number ignore them. Both counts begin anew after PID_FILE_COUNTS, so whoever waits for one to change looks
 * often. For programs. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { PID_FILE_COUNTS = 4 }; /* values that a count in the file can have */

/* What is in the file. */
struct pid_file_news {
    pid_t pid;         /* 0 while there is none */
    unsigned reloads;  /* that are over, modulo PID_FILE_COUNTS */
    unsigned refusals; /* upgrades that did not happen, likewise */
    bool has_failed;   /* the last reload has */
};

struct pid_file {
    const char *path;          /* borrowed; NULL: there is none */
    int fd;                    /* open and locked; < 0 before pid_file_open() */
    struct pid_file_news news; /* what was written */
};

/* Make the file, or take it over, before rights are given up. If root makes it for a program that is to become user
 * (NULL: none), it is that user's, and so the next program can write it. path may be NULL: nothing happens, then or
 * later. Returns 0, or -errno with a text in err. */
int pid_file_open(struct pid_file *file, const char *path, const char *user, char *err, size_t errlen);

/* Write the number of this process, when it serves. */
void pid_file_write(struct pid_file *file);

/* Say that a reload is over, or that an upgrade did not happen. Nothing is written if the file has another program's
 * number by now: a program that was replaced still drains. */
void pid_file_tell_reload(struct pid_file *file, bool has_failed);
void pid_file_tell_refusal(struct pid_file *file);

/* Empty and remove the file, unless it has another program's number by now; close it. */
void pid_file_close(struct pid_file *file);

/* For other programs: read what the program that keeps the file at path has written. Returns 0, or -errno with a text
 * in err: -ESRCH if no program keeps it. */
int pid_file_read(const char *path, struct pid_file_news *news, char *err, size_t errlen);

#endif
