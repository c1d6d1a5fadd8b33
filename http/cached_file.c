/* References to a version of a file, and whether the file still is that version.
 *
 * Failure mode: a file whose fd fstat(2) or pread(2) refuses counts as changed. */

#include "http/cached_file.h"

#include "core/mem.h"
#include "core/sys.h"
#include "core/units.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

void cached_file_ref(struct cached_file *file)
{
    file->refs++;
}

static void cached_file_free(struct cached_file *file)
{
    if (file->fd >= 0) {
        sys_close(file->fd);
    }
    if (file->page_bytes != NULL) {
        *file->page_bytes -= file->size;
    }
    prebuilt_done(&file->full);
    prebuilt_done(&file->not_modified);
    mem_free(file);
}

void cached_file_put(struct cached_file *file)
{
    if (file == NULL) {
        return;
    }
    assert(file->refs > 0);
    if (--file->refs == 0) {
        cached_file_free(file);
    }
}

int64_t cached_file_time_ns(struct timespec time)
{
    int64_t ns;
    /* A time beyond the year 2262 is told from others by what the arithmetic leaves of it. */
    bool is_beyond = __builtin_mul_overflow((int64_t)time.tv_sec, (int64_t)NS_PER_S, &ns);
    return is_beyond ? (int64_t)time.tv_sec : ns + time.tv_nsec;
}

ssize_t cached_file_read(int fd, char *contents, size_t len, uint64_t offset)
{
    size_t done = 0;
    while (done < len) {
        ssize_t got = sys_pread(fd, contents + done, len - done, (off_t)(offset + done));
        if (got < 0 && got != -EINTR) {
            return got;
        }
        if (got == 0) {
            break;
        }
        done += got > 0 ? (size_t)got : 0;
    }
    return (ssize_t)done;
}

ssize_t cached_file_read_tail(int fd, uint64_t size, char tail[FILE_TAIL_BYTES])
{
    size_t len = size < FILE_TAIL_BYTES ? (size_t)size : FILE_TAIL_BYTES;
    return cached_file_read(fd, tail, len, size - len);
}

/* Whether a file that has grown since it was loaded still has its former bytes, as far as the last of them tell. */
static bool is_appended(const struct cached_file *file)
{
    char tail[FILE_TAIL_BYTES];
    ssize_t len = cached_file_read_tail(file->fd, file->size, tail);
    return len >= (ssize_t)file->tail_len && memcmp(tail, file->tail, file->tail_len) == 0;
}

int cached_file_check(const struct cached_file *file)
{
    struct stat st;
    int rv = sys_stat(file->fd, &st);
    if (rv < 0) {
        return rv;
    }
    bool has_grown = (uint64_t)st.st_size > file->size;
    if ((uint64_t)st.st_size == file->size && cached_file_time_ns(st.st_mtim) == file->mtime_ns) {
        return 0;
    }
    if ((uint64_t)st.st_size < file->size || !is_appended(file)) {
        return -ESTALE;
    }
    return has_grown ? 0 : -EAGAIN;
}
