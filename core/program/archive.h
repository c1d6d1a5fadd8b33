#ifndef EVSERVE_CORE_PROGRAM_ARCHIVE_H
#define EVSERVE_CORE_PROGRAM_ARCHIVE_H

/* The files that a program made by evserve --pack has inside: a ZIP archive behind the ELF file, whose first entry,
 * ARCHIVE_MARK, has the path of the script as its content. unzip(1) and other tools read it. */

#include <stddef.h>
#include <sys/types.h>

struct evs_asset;

#define ARCHIVE_MARK "evserve.pack"

struct archive {
    const char *script;      /* path of the script, one of the files */
    struct evs_asset *files; /* a NULL path ends them; contents are in the mapping */
    char *names;             /* all paths and the script's */
    void *map;               /* the program's file from its beginning */
    size_t map_len;          /* bytes of it */
};

/* The end of the ELF file that fd is open for, behind which an archive begins, or -errno. */
off_t archive_elf_end(int fd);

/* Open the archive behind the file at path. All of it is checked. Returns 0; -ENOENT if there is none, or the file
 * cannot be read; or -errno with a text in err: -EBADMSG for one that is damaged, -ENOMEM. */
int archive_open(struct archive *archive, const char *path, char *err, size_t errlen);

/* Give back what archive_open() took. All zeros is allowed. */
void archive_close(struct archive *archive);

#endif
