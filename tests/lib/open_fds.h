#ifndef EVSERVE_TESTS_OPEN_FDS_H
#define EVSERVE_TESTS_OPEN_FDS_H

/* For tests on the real kernel: how many fds this process has open, so that a test can end with as many as it began. */

#include <dirent.h>
#include <stddef.h>

static inline int open_fds(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (dir != NULL && readdir(dir) != NULL) {
        count++;
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return count;
}

#endif
