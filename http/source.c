/* Whatever happens, a range is released exactly once: when it is sent, or with its response. It is released last, since
 * release() may be a host's function, which then finds everything in order. */

#include "http/source.h"

#include "core/sys.h"

#include <errno.h>

static void release_range(const struct source *source)
{
    if (source->kind == SOURCE_FILE) {
        source->file.release(source->file.arg);
    } else if (source->kind == SOURCE_BORROWED && source->borrowed.release != NULL) {
        source->borrowed.release(source->borrowed.arg);
    }
}

int source_read_file(struct file_range *file, char *data, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t got = sys_pread(file->fd, data + done, len - done, (off_t)(file->offset + (int64_t)done));
        if (got < 0 && got != -EINTR) {
            return (int)got;
        }
        if (got == 0) {
            return -ENODATA;
        }
        done += got > 0 ? (size_t)got : 0;
    }
    file->offset += (int64_t)len;
    file->len -= len;
    return 0;
}

int source_next(struct source *source, struct exchange *exchange)
{
    struct source sent = *source;
    source->kind = SOURCE_NONE;
    int rv = sent.then.next == NULL ? 0 : sent.then.next(exchange, sent.then.arg);
    release_range(&sent);
    return rv;
}

void source_release(struct source *source)
{
    struct source lost = *source;
    source->kind = SOURCE_NONE;
    source->then = (struct continuation){0};
    release_range(&lost);
    if (lost.then.release != NULL) {
        lost.then.release(lost.then.arg);
    }
}
