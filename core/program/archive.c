/* Happy path: the size of the ELF file is told from its headers. If the file is longer and goes on with the mark, it is
 * mapped, and each file is checked: both records, the place, the checksum. The kernel lets nobody write to a program
 * that runs, so it stays as it was.
 *
 * Failure modes: a file that was cut off or changed. It must not run as a program without a script. */

#include "core/program/archive.h"

#include "core/crc32.h"
#include "core/log.h"
#include "core/program/zip.h"
#include "evserve.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MARK_LEN = sizeof ARCHIVE_MARK - 1 };

static uint64_t larger_end(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

off_t archive_elf_end(int fd)
{
    ElfW(Ehdr) head;
    if (pread(fd, &head, sizeof head, 0) != (ssize_t)sizeof head || memcmp(head.e_ident, ELFMAG, SELFMAG) != 0) {
        return -ENOEXEC;
    }
    uint64_t end = (uint64_t)head.e_shoff + (uint64_t)head.e_shnum * head.e_shentsize;
    for (unsigned i = 0; i < head.e_phnum; i++) { /* of a file without sections, the last segment is the end */
        ElfW(Phdr) part;
        off_t place = (off_t)(head.e_phoff + (uint64_t)i * head.e_phentsize);
        if (pread(fd, &part, sizeof part, place) != (ssize_t)sizeof part) {
            return -ENOEXEC;
        }
        end = larger_end(end, (uint64_t)part.p_offset + part.p_filesz);
    }
    return end > INT32_MAX ? -EFBIG : (off_t)end;
}

/* Whether an archive begins at a place. */
static bool has_mark(int fd, off_t place)
{
    uint8_t start[ZIP_LOCAL_BYTES + MARK_LEN];
    struct zip_entry entry;
    return pread(fd, start, sizeof start, place) == (ssize_t)sizeof start && zip_get_local(start, &entry) == 0 &&
           entry.name_len == MARK_LEN && memcmp(start + ZIP_LOCAL_BYTES, ARCHIVE_MARK, MARK_LEN) == 0;
}

/* A walk through the directory of the archive. */
struct archive_walk {
    const uint8_t *bytes; /* the file */
    struct zip_end end;
    uint64_t start; /* of the archive */
    uint64_t at;    /* next record of the directory */
    char *name;     /* where the next name goes */
};

/* Read the next file of the directory. Returns 0 or -EBADMSG. */
static int read_archived(struct archive_walk *walk, struct evs_asset *file)
{
    struct zip_entry entry, local;
    uint64_t directory_end = (uint64_t)walk->end.offset + walk->end.size;
    const uint8_t *record = walk->bytes + walk->at;
    if (directory_end - walk->at < ZIP_CENTRAL_BYTES || zip_get_central(record, &entry) < 0 || entry.name_len == 0 ||
        entry.name_len > ZIP_NAME_MAX ||
        directory_end - walk->at < (uint64_t)ZIP_CENTRAL_BYTES + entry.name_len + entry.more_len) {
        return -EBADMSG;
    }
    const uint8_t *name = record + ZIP_CENTRAL_BYTES;
    uint64_t place = entry.offset;
    if (place < walk->start || place + ZIP_LOCAL_BYTES + entry.name_len > walk->end.offset ||
        zip_get_local(walk->bytes + place, &local) < 0 || local.name_len != entry.name_len ||
        memcmp(walk->bytes + place + ZIP_LOCAL_BYTES, name, entry.name_len) != 0 || local.len != entry.len) {
        return -EBADMSG;
    }
    place += (uint64_t)ZIP_LOCAL_BYTES + local.name_len + local.more_len;
    if (place + entry.len > walk->end.offset || memchr(name, '\0', entry.name_len) != NULL ||
        crc32_of(walk->bytes + place, entry.len) != entry.crc) {
        return -EBADMSG;
    }
    memcpy(walk->name, name, entry.name_len);
    walk->name[entry.name_len] = '\0';
    *file = (struct evs_asset){.path = walk->name, .content = walk->bytes + place, .len = entry.len};
    walk->name += entry.name_len + 1;
    walk->at += (uint64_t)ZIP_CENTRAL_BYTES + entry.name_len + entry.more_len;
    return 0;
}

/* Read all files, the mark first. Returns 0, -EBADMSG or -ENOMEM. */
static int read_archive(struct archive *archive, uint64_t start)
{
    struct archive_walk walk = {.bytes = archive->map, .start = start};
    uint64_t size = archive->map_len;
    if (size - start < ZIP_END_BYTES || zip_get_end(walk.bytes + size - ZIP_END_BYTES, &walk.end) < 0 ||
        walk.end.offset < start || (uint64_t)walk.end.offset + walk.end.size + ZIP_END_BYTES != size ||
        walk.end.count < 2) {
        return -EBADMSG;
    }
    /* Each name takes less than its record and itself do. */
    archive->names = malloc((size_t)walk.end.size + ZIP_NAME_MAX + 1);
    archive->files = calloc((size_t)walk.end.count, sizeof *archive->files);
    if (archive->names == NULL || archive->files == NULL) {
        return -ENOMEM;
    }
    struct evs_asset mark;
    walk.at = walk.end.offset;
    walk.name = archive->names;
    int rv = read_archived(&walk, &mark);
    if (rv < 0 || strcmp(mark.path, ARCHIVE_MARK) != 0 || mark.len == 0 || mark.len > ZIP_NAME_MAX) {
        return -EBADMSG;
    }
    for (size_t i = 0; i + 1 < walk.end.count && rv == 0; i++) {
        rv = read_archived(&walk, &archive->files[i]);
        bool is_script = rv == 0 && strlen(archive->files[i].path) == mark.len &&
                         memcmp(archive->files[i].path, mark.content, mark.len) == 0;
        archive->script = is_script ? archive->files[i].path : archive->script;
    }
    return rv < 0 || archive->script == NULL ? -EBADMSG : 0;
}

static int refuse_archive(struct archive *archive, int error, char *err, size_t errlen)
{
    archive_close(archive);
    return error == -EBADMSG
               ? error_text(err, errlen, error,
                            "the files inside this program are damaged or cut off: copy the program "
                            "again, or make it anew with --pack")
               : error_text(err, errlen, error, "cannot read the files inside this program: %s", errno_text(-error));
}

int archive_open(struct archive *archive, const char *path, char *err, size_t errlen)
{
    *archive = (struct archive){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -ENOENT;
    }
    struct stat st;
    off_t start = archive_elf_end(fd);
    if (start < 0 || fstat(fd, &st) < 0 || st.st_size <= start || !has_mark(fd, start)) {
        close(fd);
        return -ENOENT;
    }
    archive->map_len = (size_t)st.st_size;
    archive->map = mmap(NULL, archive->map_len, PROT_READ, MAP_PRIVATE, fd, 0);
    int error = archive->map == MAP_FAILED ? -errno : 0;
    close(fd);
    if (error < 0) {
        archive->map = NULL;
        return refuse_archive(archive, error, err, errlen);
    }
    error = read_archive(archive, (uint64_t)start);
    return error < 0 ? refuse_archive(archive, error, err, errlen) : 0;
}

void archive_close(struct archive *archive)
{
    free(archive->files);
    free(archive->names);
    if (archive->map != NULL) {
        munmap(archive->map, archive->map_len);
    }
    *archive = (struct archive){0};
}
