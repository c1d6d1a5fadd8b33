#ifndef EVSERVE_TESTS_OPEN_FDS_H
#define EVSERVE_TESTS_OPEN_FDS_H

/* For tests on the real kernel: how many fds this process has open, so that a test can end with as many as it began. */

int open_fds(void);

#endif
