/* Happy path: the files are collected in the order of their names and read; the script is loaded with them, as --check
 * does, so that a mistake shows now; the program is copied without what it has inside itself, the archive is written
 * behind it, and the result takes its name.
 *
 * Failure modes: a file that cannot be read, a script that does not load, a disk that is full. Whatever was at the name
 * of the result stays until all is written. */

#include "core/program/pack_request.h"

#include "core/crc32.h"
#include "core/log.h"
#include "core/program/archive.h"
#include "core/program/command_line.h"
#include "core/program/program_config.h"
#include "core/program/zip.h"
#include "evserve.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PACK_DEPTH_MAX = 32,       /* folders in each other */
    PACK_COPY_BYTES = 1 << 16, /* of the program, at a time */
    PACK_ERROR_MAX = 2048,     /* bytes of a text */
};

static const uint64_t pack_bytes_max = INT32_MAX; /* of the result */

struct pack {
    struct evs_asset *files; /* count of them, and room for one that ends them; paths and contents are owned */
    size_t count, capacity;
    uint64_t total; /* bytes of their contents */
    char err[PACK_ERROR_MAX];
};

/* Reading. */

static int complain_of(struct pack *pack, const char *path, const char *what)
{
    return error_text(pack->err, sizeof pack->err, -1, "--pack: %s: %s", path, what);
}

static int read_content(struct pack *pack, const char *path, size_t len, char **content)
{
    FILE *file = fopen(path, "re");
    char *made = file == NULL ? NULL : malloc(len + 1);
    size_t got = made == NULL ? 0 : fread(made, 1, len + 1, file);
    int error = made == NULL || ferror(file) ? errno : 0;
    if (file != NULL) {
        fclose(file);
    }
    if (error != 0 || got != len) {
        free(made);
        return complain_of(pack, path, error != 0 ? errno_text(error) : "it changes while it is read");
    }
    *content = made;
    return 0;
}

static int add_file(struct pack *pack, const char *path, uint64_t len)
{
    pack->total += len;
    if (pack->count == ZIP_FILES_MAX - 1 || pack->total > pack_bytes_max || strlen(path) > ZIP_NAME_MAX) {
        return complain_of(pack, path, "too many files, too long a name, or more than 2 GiB");
    }
    if (pack->count + 1 >= pack->capacity) {
        size_t capacity = pack->capacity == 0 ? 64 : 2 * pack->capacity;
        struct evs_asset *files = realloc(pack->files, capacity * sizeof *files);
        if (files == NULL) {
            return complain_of(pack, path, errno_text(ENOMEM));
        }
        pack->files = files;
        pack->capacity = capacity;
    }
    char *content = NULL;
    if (read_content(pack, path, (size_t)len, &content) < 0) {
        return -1;
    }
    char *name = strdup(path);
    if (name == NULL) {
        free(content);
        return complain_of(pack, path, errno_text(ENOMEM));
    }
    pack->files[pack->count++] = (struct evs_asset){.path = name, .content = content, .len = (size_t)len};
    pack->files[pack->count] = (struct evs_asset){.path = NULL};
    return 0;
}

/* Names that begin with a dot are left out, as in files that are served, except .well-known. */
static int is_packed_name(const struct dirent *entry)
{
    return entry->d_name[0] != '.' || strcmp(entry->d_name, ".well-known") == 0;
}

static int add_all(struct pack *pack, const char *path, unsigned depth);

static int add_folder(struct pack *pack, const char *path, unsigned depth)
{
    struct dirent **entries;
    int count = depth == PACK_DEPTH_MAX ? -1 : scandir(path, &entries, is_packed_name, NULL);
    if (count < 0) {
        return complain_of(pack, path, depth == PACK_DEPTH_MAX ? "folders in too many others" : errno_text(errno));
    }
    int rv = 0;
    for (int i = 0; i < count; i++) {
        char below[2 * ZIP_NAME_MAX];
        int len = strcmp(path, ".") == 0 ? snprintf(below, sizeof below, "%s", entries[i]->d_name)
                                         : snprintf(below, sizeof below, "%s/%s", path, entries[i]->d_name);
        if (rv == 0) {
            rv = len > ZIP_NAME_MAX ? complain_of(pack, path, "too long a name") : add_all(pack, below, depth + 1);
        }
        free(entries[i]);
    }
    free(entries);
    return rv;
}

static int add_all(struct pack *pack, const char *path, unsigned depth)
{
    struct stat st;
    if (stat(path, &st) < 0) {
        return complain_of(pack, path, errno_text(errno));
    }
    if (S_ISDIR(st.st_mode)) {
        return add_folder(pack, path, depth);
    }
    return S_ISREG(st.st_mode) ? add_file(pack, path, (uint64_t)st.st_size)
                               : complain_of(pack, path, "neither a file nor a folder");
}

/* Add what the user has named: without "./" before it and slashes behind it. */
static int add_named_path(struct pack *pack, const char *named, char name[ZIP_NAME_MAX + 1])
{
    while (strncmp(named, "./", 2) == 0) {
        named += 2 + strspn(named + 2, "/");
    }
    size_t len = strlen(named);
    while (len > 1 && named[len - 1] == '/') {
        len--;
    }
    if (named[0] == '/' || len > ZIP_NAME_MAX) {
        return complain_of(pack, named,
                           "a path relative to the working directory expected: the program finds the file "
                           "by the same path");
    }
    snprintf(name, ZIP_NAME_MAX + 1, "%.*s", len == 0 ? 1 : (int)len, len == 0 ? "." : named);
    return add_all(pack, name, 0);
}

static int compare_assets(const void *a, const void *b)
{
    return strcmp(((const struct evs_asset *)a)->path, ((const struct evs_asset *)b)->path);
}

static void free_asset(const struct evs_asset *asset)
{
    free((void *)(uintptr_t)asset->path);
    free((void *)(uintptr_t)asset->content);
}

/* Put the files in order, each once: the script may lie in a folder that is named, too. */
static void sort_files(struct pack *pack)
{
    size_t kept = 0;
    qsort(pack->files, pack->count, sizeof *pack->files, compare_assets);
    for (size_t i = 0; i < pack->count; i++) {
        if (kept > 0 && compare_assets(&pack->files[kept - 1], &pack->files[i]) == 0) {
            free_asset(&pack->files[i]);
        } else {
            pack->files[kept++] = pack->files[i];
        }
    }
    pack->count = kept;
    pack->files[kept] = (struct evs_asset){.path = NULL};
}

/* Checking. */

static void ignore_line(void *arg, const char *text)
{
    (void)arg;
    (void)text;
}

static int check_site(struct pack *pack, const struct command_line *options, const char *script)
{
    struct command_line packed = *options;
    struct evserve_config config;
    struct evs_certificate certificates[TLS_PAIRS_MAX + 1];
    packed.script = script;
    packed.script_files = pack->files;
    program_config_fill(&config, certificates, &packed);
    return evserve_check(&config, ignore_line, NULL, pack->err, sizeof pack->err);
}

/* Empty a folder, except for folders in it, and remove it. The path must have room for a name behind it. */
static void remove_folder(const char *path)
{
    struct dirent **entries;
    int count = scandir(path, &entries, NULL, NULL);
    for (int i = 0; i < count; i++) {
        char name[PATH_MAX];
        snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
        unlink(name);
        free(entries[i]);
    }
    if (count >= 0) {
        free(entries);
    }
    rmdir(path);
}

/* Load the script in an empty folder, and warn if it does not load there: it needs a file that is not inside. It may be
 * one that is to lie beside the program, such as a file of passwords. */
static void warn_of_missing(struct pack *pack, const struct command_line *options, const char *script)
{
    char folder[] = "/tmp/evserve-pack.XXXXXX";
    int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (here >= 0 && mkdtemp(folder) != NULL) {
        if (chdir(folder) == 0 && check_site(pack, options, script) < 0) {
            fprintf(stderr,
                    "evserve: warning: something that the script needs is not inside, so the program needs it beside "
                    "itself: %s\n",
                    pack->err);
            pack->err[0] = '\0';
        }
        if (fchdir(here) < 0) {
            complain_of(pack, ".", errno_text(errno));
        }
        remove_folder(folder);
    }
    if (here >= 0) {
        close(here);
    }
}

/* Writing. */

static bool copy_program(FILE *out, off_t *end)
{
    static char piece[PACK_COPY_BYTES];
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    *end = fd < 0 ? -errno : archive_elf_end(fd);
    bool is_good = *end > 0;
    for (off_t done = 0; is_good && done < *end;) {
        size_t part = *end - done < PACK_COPY_BYTES ? (size_t)(*end - done) : PACK_COPY_BYTES;
        ssize_t got = pread(fd, piece, part, done);
        is_good = got > 0 && fwrite(piece, 1, (size_t)got, out) == (size_t)got;
        done += got > 0 ? got : 0;
    }
    if (fd >= 0) {
        close(fd);
    }
    return is_good;
}

static struct zip_entry describe_file(const struct evs_asset *file, uint64_t offset)
{
    return (struct zip_entry){
        .crc = crc32_of(file->content, file->len),
        .len = (uint32_t)file->len,
        .offset = (uint32_t)offset,
        .name_len = (uint16_t)strlen(file->path),
    };
}

/* Write the archive: the mark, the files, their directory. */
static bool write_archive(FILE *out, const struct pack *pack, const char *script, off_t start)
{
    uint64_t offset = (uint64_t)start;
    size_t count = pack->count + 1, room = 0;
    const struct evs_asset mark = {.path = ARCHIVE_MARK, .content = script, .len = strlen(script)};
    for (size_t i = 0; i < count; i++) {
        room += ZIP_CENTRAL_BYTES + strlen(i == 0 ? mark.path : pack->files[i - 1].path);
    }
    uint8_t *directory = malloc(room), *at = directory;
    for (size_t i = 0; i < count && directory != NULL; i++) {
        const struct evs_asset *file = i == 0 ? &mark : &pack->files[i - 1];
        const struct zip_entry entry = describe_file(file, offset);
        uint8_t local[ZIP_LOCAL_BYTES];
        zip_put_local(local, &entry);
        fwrite(local, 1, sizeof local, out);
        fwrite(file->path, 1, entry.name_len, out);
        fwrite(file->content, 1, file->len, out);
        zip_put_central(at, &entry);
        memcpy(at + ZIP_CENTRAL_BYTES, file->path, entry.name_len);
        at += ZIP_CENTRAL_BYTES + entry.name_len;
        offset += (uint64_t)ZIP_LOCAL_BYTES + entry.name_len + file->len;
    }
    if (directory == NULL || offset > pack_bytes_max) {
        errno = directory == NULL ? ENOMEM : EFBIG;
        free(directory);
        return false;
    }
    uint8_t end[ZIP_END_BYTES];
    zip_put_end(end, &(struct zip_end){.offset = (uint32_t)offset, .size = (uint32_t)room, .count = (uint16_t)count});
    fwrite(directory, 1, room, out);
    fwrite(end, 1, sizeof end, out);
    free(directory);
    return ferror(out) == 0;
}

/* Write the program beside its place, then put it there: a program that runs cannot be overwritten. */
static int write_program(struct pack *pack, const char *script, const char *output)
{
    char path[PATH_MAX];
    off_t end = 0;
    if (snprintf(path, sizeof path, "%s.XXXXXX", output) >= (int)sizeof path) {
        return complain_of(pack, output, errno_text(ENAMETOOLONG));
    }
    int fd = mkostemp(path, O_CLOEXEC);
    FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
    if (out == NULL) {
        return complain_of(pack, output, errno_text(errno));
    }
    mode_t mask = umask(0);
    umask(mask);
    bool is_good = copy_program(out, &end) && write_archive(out, pack, script, end) && fflush(out) == 0 &&
                   fchmod(fd, 0777 & ~mask) == 0;
    int error = errno;
    is_good = fclose(out) == 0 && is_good && rename(path, output) == 0;
    if (!is_good) {
        error = end < 0 ? (int)-end : error != 0 ? error : errno;
        unlink(path);
        return complain_of(pack, output, errno_text(error));
    }
    return 0;
}

int pack_request(const struct command_line *options)
{
    struct pack pack = {.err = ""};
    char script[ZIP_NAME_MAX + 1], name[ZIP_NAME_MAX + 1];
    int rv = add_named_path(&pack, options->script, script);
    for (unsigned i = 0; i < options->pack_count && rv >= 0; i++) {
        rv = add_named_path(&pack, options->pack_paths[i], name);
    }
    if (rv >= 0) {
        sort_files(&pack);
        rv = check_site(&pack, options, script);
    }
    if (rv >= 0) {
        warn_of_missing(&pack, options, script);
    }
    rv = rv < 0 ? rv : write_program(&pack, script, options->output);
    if (rv < 0) {
        fprintf(stderr, "evserve: %s\n", pack.err);
    } else {
        printf("%s: %zu file%s, %llu bytes\n", options->output, pack.count, pack.count == 1 ? "" : "s",
               (unsigned long long)pack.total);
    }
    for (size_t i = 0; i < pack.count; i++) {
        free_asset(&pack.files[i]);
    }
    free(pack.files);
    return rv < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
