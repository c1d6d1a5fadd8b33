#ifndef EVSERVE_CORE_FILE_TEXT_H
#define EVSERVE_CORE_FILE_TEXT_H

/* Reading a whole file, or a pipe until its end. */

#include <stdbool.h>
#include <stddef.h>

struct write_buffer;

/* Append the content of the file at path, until text has at most max bytes. Does not seek; waits for a pipe. Returns 0,
 * or -errno, -EFBIG if the file has more; then a part may have been appended. A relative path starts at base_fd
 * (sys_base()). */
int file_text_read(struct write_buffer *text, int base_fd, const char *path, size_t max);

/* Whether path leads to something that can be read only once: a pipe, a terminal or a socket. A relative path
 * starts at base_fd. */
bool file_text_is_passing(int base_fd, const char *path);

#endif
