/* Happy path: open, read until the end, close. */

#include "core/file_text.h"

#include "core/sys.h"
#include "core/write_buffer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>

enum { READ_BYTES = 4096 }; /* read at a time */

static int read_all(struct write_buffer *text, int fd, size_t max)
{
    int rv = 0;
    for (;;) {
        char *room = write_buffer_reserve(text, READ_BYTES, SIZE_MAX, &rv);
        if (room == NULL) {
            return rv;
        }
        ssize_t len = sys_read(fd, room, READ_BYTES);
        if (len == -EINTR) {
            continue;
        }
        if (len <= 0) {
            return (int)len;
        }
        if ((size_t)len > max - write_buffer_len(text)) {
            return -EFBIG;
        }
        write_buffer_commit(text, (size_t)len);
    }
}

int file_text_read(struct write_buffer *text, int base_fd, const char *path, size_t max)
{
    int fd = sys_open(sys_base(base_fd), path, O_RDONLY | O_NOCTTY);
    if (fd < 0) {
        return fd;
    }
    int rv = read_all(text, fd, max);
    sys_close(fd);
    return rv;
}

bool file_text_is_passing(int base_fd, const char *path)
{
    struct stat st;
    int fd = sys_open(sys_base(base_fd), path, O_PATH);
    int rv = fd < 0 ? fd : sys_stat(fd, &st);
    if (fd >= 0) {
        sys_close(fd);
    }
    return rv == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
}
