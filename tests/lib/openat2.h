#ifndef EVSERVE_TESTS_LIB_OPENAT2_H
#define EVSERVE_TESTS_LIB_OPENAT2_H

/* For tests that count system calls: on a kernel before 5.6, or where a filter refuses openat2(2), a path is opened
 * step by step (core/beneath.h), which takes more of them. Include cmocka.h before this. */

#include "core/sys.h"
#include "tests/lib/fake_sys.h"

#include <fcntl.h>

static inline void skip_without_openat2(void)
{
    int fd = sys_open_beneath(AT_FDCWD, ".", O_PATH | O_CLOEXEC);
    if (fd < 0) {
        print_message("skipped: openat2(2) is refused here (errno %d)\n", -fd);
        skip();
    }
    sys_close(fd);
    fake_sys_clear_trace();
}

#endif
