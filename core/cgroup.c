/* Happy path: /proc/self/cgroup names the group, and a file in its directory holds the limit.
 *
 * Failure modes: none that matters. In a container the path may lead to a directory that only the host sees; then the
 * files of the directories above it are read, and the topmost one is the container's own. */

#include "core/cgroup.h"

#include "core/ascii.h"
#include "core/file_text.h"
#include "core/write_buffer.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum {
    LIST_BYTES = 65536, /* of /proc/self/cgroup */
    VALUE_BYTES = 64,   /* of a file with one number */
    PATH_BYTES = 1024,  /* of a file's path; groups with longer ones count as unlimited */
};

/* The number in the file at path; UINT64_MAX for "max", and if there is none. */
static uint64_t read_limit(int root_fd, const char *path)
{
    struct write_buffer text;
    uint64_t number = UINT64_MAX;
    write_buffer_init(&text);
    int rv = file_text_read(&text, root_fd, path, VALUE_BYTES);
    size_t len = write_buffer_len(&text);
    if (rv == 0 && len > 0 && !ascii_parse_number(write_buffer_data(&text), len - 1, UINT64_MAX, &number)) {
        number = UINT64_MAX;
    }
    write_buffer_done(&text);
    return number;
}

/* The least limit of the group at path, which is "/a/b" or "/", and of those above it. */
static uint64_t least_limit(int root_fd, const char *mount, const char *file, const char *path, size_t len)
{
    char group[PATH_BYTES], full[PATH_BYTES];
    uint64_t least = UINT64_MAX;
    if (len >= sizeof group) {
        return least;
    }
    len = len == 1 ? 0 : len; /* "/" */
    memcpy(group, path, len);
    group[len] = '\0';
    while (strstr(group, "/..") == NULL) { /* a group outside of what this process can see */
        if (snprintf(full, sizeof full, "%s%s/%s", mount, group, file) < (int)sizeof full) {
            uint64_t limit = read_limit(root_fd, full);
            least = limit < least ? limit : least;
        }
        char *slash = strrchr(group, '/');
        if (slash == NULL) {
            break;
        }
        *slash = '\0';
    }
    return least;
}

/* Whether "memory" is in a list such as "cpu,memory". */
static bool has_memory(const char *list, size_t len)
{
    static const char name[] = "memory";
    size_t name_len = sizeof name - 1;
    for (size_t at = 0; at + name_len <= len; at++) {
        bool begins = at == 0 || list[at - 1] == ',';
        bool ends = at + name_len == len || list[at + name_len] == ',';
        if (begins && ends && memcmp(list + at, name, name_len) == 0) {
            return true;
        }
    }
    return false;
}

/* The limit by a line such as "0::/system.slice/x.service" (version 2) or "4:memory:/x" (version 1). */
static uint64_t limit_of_line(int root_fd, const char *line, size_t len)
{
    const char *list = memchr(line, ':', len);
    const char *path = list == NULL ? NULL : memchr(list + 1, ':', len - (size_t)(list + 1 - line));
    if (path == NULL) {
        return UINT64_MAX;
    }
    list++;
    path++;
    size_t list_len = (size_t)(path - 1 - list), path_len = len - (size_t)(path - line);
    if (list_len == 0) {
        return least_limit(root_fd, "sys/fs/cgroup", "memory.max", path, path_len);
    }
    if (has_memory(list, list_len)) {
        return least_limit(root_fd, "sys/fs/cgroup/memory", "memory.limit_in_bytes", path, path_len);
    }
    return UINT64_MAX;
}

uint64_t cgroup_memory_bytes(int root_fd)
{
    struct write_buffer text;
    uint64_t least = UINT64_MAX;
    write_buffer_init(&text);
    int rv = file_text_read(&text, root_fd, "proc/self/cgroup", LIST_BYTES);
    const char *line = write_buffer_data(&text);
    const char *end = write_buffer_len(&text) == 0 ? line : line + write_buffer_len(&text);
    while (rv == 0 && line < end) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        size_t len = (size_t)((newline == NULL ? end : newline) - line);
        uint64_t limit = limit_of_line(root_fd, line, len);
        least = limit < least ? limit : least;
        line += newline == NULL ? len : len + 1;
    }
    write_buffer_done(&text);
    return least;
}
