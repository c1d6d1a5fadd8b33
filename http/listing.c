/* Directories as pages.
 *
 * Happy path: listing_step() reads the directory, a block at a time, and keeps the entries to show in a heap whose top
 * is the last in order; then it takes the heap apart, which puts it in order; then it writes the rows, and asks for the
 * size and date of each only now.
 *
 * Failure modes: an entry that disappears between reading and writing is left out. If memory is short, or the
 * directory cannot be read to its end, there is no page. If there are more entries than the page may show, the last in
 * order are left out, and the page says so. */

#include "http/listing.h"

#include "core/ascii.h"
#include "core/beneath.h"
#include "core/mem.h"
#include "core/sys.h"
#include "core/write_buffer.h"
#include "http/listing_page.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

enum {
    DIRECTORY_BYTES = 16384, /* of a directory that are read at once */
    FIRST_ROWS = 64,         /* room for so many entries at first */
    STEP_WORK = 1024,        /* what a step does, in units of about a microsecond */
    LOOK_WORK = 8,           /* of them: opening what a link leads to */
    ROW_WORK = 4,            /* asking for size and date, and writing a row */
};

struct listing_entry {
    uint64_t size;   /* bytes of a file */
    int64_t mtime_s; /* last change of its contents, since the epoch */
    bool is_directory;
    bool is_known; /* size and mtime_s are known: it was looked at when it was read */
    uint16_t name_len;
    char name[]; /* with its NUL, at most NAME_MAX bytes before it */
};

enum phase { READING, SORTING, WRITING, WRITTEN };

struct listing_job {
    const struct listing *listing; /* borrowed */
    int root_fd;                   /* of this step */
    int dir_fd;                    /* owned */
    enum phase phase;
    int work; /* left for this step */

    struct listing_entry **list; /* owned: a heap while reading, and its part that is not in order yet */
    size_t count;                /* of list */
    size_t capacity;             /* of list */
    size_t unsorted;             /* SORTING: entries still in the heap */
    size_t written;              /* WRITING: entries that are done */
    bool is_cut;                 /* there were more */

    struct write_buffer page; /* as far as it is written */
    uint64_t rows;            /* in it */

    size_t block_at, block_len;                            /* of block: entries not looked at yet */
    _Alignas(struct dirent64) char block[DIRECTORY_BYTES]; /* read from the directory */
};

/* Reading. */

static int open_below(int root_fd, const char *path, int flags)
{
    int fd;
    do {
        fd = open_beneath(root_fd, path, flags | O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    } while (fd == -EINTR);
    return fd;
}

/* Look at the file to which a link leads, if that is beneath the root. */
static int stat_target(const struct listing_job *job, const char *name, struct stat *st)
{
    char path[BENEATH_PATH_MAX];
    const char *below = job->listing->path;
    int len = snprintf(path, sizeof path, "%s%s%s", below, below[0] == '\0' ? "" : "/", name);
    if (len < 0 || (size_t)len >= sizeof path) {
        return -ENAMETOOLONG;
    }
    int fd = open_below(job->root_fd, path, 0);
    if (fd < 0) {
        return fd;
    }
    int rv = sys_stat(fd, st);
    sys_close(fd);
    return rv;
}

/* Find out the kind of an entry. The kernel reports it for most of them; links, and entries of unknown kind, are looked
 * at. Returns whether the entry is to be listed; is_known says whether *st has more than the kind. */
static bool look_at_entry(struct listing_job *job, const struct dirent64 *raw, struct stat *st, bool *is_known)
{
    *st = (struct stat){.st_mode = (mode_t)DTTOIF(raw->d_type)};
    *is_known = raw->d_type == DT_LNK || raw->d_type == DT_UNKNOWN;
    int rv = 0;
    if (raw->d_type == DT_UNKNOWN) {
        job->work -= LOOK_WORK;
        rv = sys_stat_at(job->dir_fd, raw->d_name, st);
    }
    if (rv == 0 && S_ISLNK(st->st_mode)) {
        job->work -= LOOK_WORK;
        rv = stat_target(job, raw->d_name, st);
    }
    return rv == 0 && (S_ISREG(st->st_mode) || S_ISDIR(st->st_mode));
}

static struct listing_entry *make_entry(const char *name, const struct stat *st, bool is_known)
{
    size_t len = strlen(name);
    struct listing_entry *entry = mem_alloc(sizeof *entry + len + 1);
    if (entry != NULL) {
        *entry = (struct listing_entry){
            .size = (uint64_t)st->st_size,
            .mtime_s = st->st_mtim.tv_sec,
            .is_directory = S_ISDIR(st->st_mode),
            .is_known = is_known,
            .name_len = (uint16_t)len,
        };
        memcpy(entry->name, name, len + 1);
    }
    return entry;
}

/* Order. */

/* Whether one comes before other. */
static bool is_before(const struct listing_entry *one, const struct listing_entry *other)
{
    if (one->is_directory != other->is_directory) {
        return one->is_directory;
    }
    int order = ascii_compare(one->name, other->name);
    return order != 0 ? order < 0 : strcmp(one->name, other->name) < 0;
}

/* Let the entry at i sink to its place in the heap of count entries, the last in order on top. */
static void sink(struct listing_entry **heap, size_t count, size_t i)
{
    struct listing_entry *entry = heap[i];
    for (size_t child = 2 * i + 1; child < count; child = 2 * i + 1) {
        if (child + 1 < count && is_before(heap[child], heap[child + 1])) {
            child++;
        }
        if (!is_before(entry, heap[child])) {
            break;
        }
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = entry;
}

/* Let the entry at i rise to its place. */
static void rise(struct listing_entry **heap, size_t i)
{
    struct listing_entry *entry = heap[i];
    while (i > 0 && is_before(heap[(i - 1) / 2], entry)) {
        heap[i] = heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap[i] = entry;
}

static int grow_list(struct listing_job *job)
{
    size_t capacity = job->capacity == 0 ? FIRST_ROWS : job->capacity * 2;
    struct listing_entry **list = mem_resize(job->list, capacity * sizeof *list);
    if (list == NULL) {
        return -ENOMEM;
    }
    job->list = list;
    job->capacity = capacity;
    return 0;
}

/* Keep an entry, or only the entries before it if there is no room for all. Takes it over. */
static int keep(struct listing_job *job, struct listing_entry *entry)
{
    if (job->count < job->listing->rows_max) {
        if (job->count == job->capacity && grow_list(job) < 0) {
            mem_free(entry);
            return -ENOMEM;
        }
        job->list[job->count] = entry;
        rise(job->list, job->count++);
        return 0;
    }
    job->is_cut = true;
    if (is_before(entry, job->list[0])) {
        mem_free(job->list[0]);
        job->list[0] = entry;
        sink(job->list, job->count, 0);
    } else {
        mem_free(entry);
    }
    return 0;
}

/* Steps. Each does what work allows. Returns 0 or -errno. */

static int take_entry(struct listing_job *job, const struct dirent64 *raw)
{
    const char *name = raw->d_name;
    struct stat st;
    bool is_known = false;
    bool is_self_or_parent = strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
    bool is_hidden = name[0] == '.' && !job->listing->shows_dotfiles;
    if (is_self_or_parent || is_hidden || strlen(name) > NAME_MAX || !look_at_entry(job, raw, &st, &is_known)) {
        return 0;
    }
    struct listing_entry *entry = make_entry(name, &st, is_known);
    return entry == NULL ? -ENOMEM : keep(job, entry);
}

static int read_some(struct listing_job *job)
{
    if (job->block_at == job->block_len) {
        ssize_t got = sys_read_dir(job->dir_fd, job->block, sizeof job->block);
        if (got == 0) {
            job->unsorted = job->count;
            job->phase = SORTING;
        }
        if (got <= 0) {
            return got == -EINTR ? 0 : (int)got;
        }
        job->block_at = 0;
        job->block_len = (size_t)got;
    }
    const struct dirent64 *raw = (const struct dirent64 *)(const void *)(job->block + job->block_at);
    job->block_at += raw->d_reclen;
    job->work--;
    return take_entry(job, raw);
}

/* A heap sort, which allocates nothing and can stop anywhere. */
static int sort_some(struct listing_job *job)
{
    if (job->unsorted <= 1) {
        job->phase = WRITING;
        return listing_put_head(&job->page, job->listing, job->is_cut ? job->count : 0);
    }
    struct listing_entry *last = job->list[0];
    job->list[0] = job->list[--job->unsorted];
    job->list[job->unsorted] = last;
    sink(job->list, job->unsorted, 0);
    job->work--;
    return 0;
}

static int write_some(struct listing_job *job)
{
    if (job->written == job->count) {
        job->phase = WRITTEN;
        return listing_put_tail(&job->page, job->rows, job->is_cut);
    }
    struct listing_entry *entry = job->list[job->written];
    struct stat st;
    job->list[job->written++] = NULL;
    job->work -= ROW_WORK;
    bool is_there = true;
    if (!entry->is_known) {
        is_there = sys_stat_at(job->dir_fd, entry->name, &st) == 0 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode));
    }
    int rv = 0;
    if (is_there) {
        struct listing_row row = {
            .name = entry->name,
            .name_len = entry->name_len,
            .size = entry->is_known ? entry->size : (uint64_t)st.st_size,
            .mtime_s = entry->is_known ? entry->mtime_s : st.st_mtim.tv_sec,
            .is_directory = entry->is_known ? entry->is_directory : S_ISDIR(st.st_mode),
        };
        rv = listing_put_row(&job->page, &row);
        job->rows++;
    }
    mem_free(entry);
    return rv;
}

int listing_step(struct listing_job *job, int root_fd)
{
    int rv = 0;
    job->root_fd = root_fd;
    job->work = STEP_WORK;
    while (rv == 0 && job->work > 0 && job->phase != WRITTEN) {
        rv = job->phase == READING ? read_some(job) : job->phase == SORTING ? sort_some(job) : write_some(job);
    }
    return rv < 0 ? rv : job->phase == WRITTEN ? LISTING_DONE : LISTING_MORE;
}

/* The interface. */

int listing_open(const struct listing *listing)
{
    return open_below(listing->root_fd, listing->path[0] == '\0' ? "." : listing->path, O_DIRECTORY);
}

int listing_begin(struct listing_job **job, const struct listing *listing, int dir_fd)
{
    struct listing_job *made = mem_alloc(sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    memset(made, 0, offsetof(struct listing_job, block)); /* the block is long, and is written first */
    made->listing = listing;
    made->dir_fd = dir_fd;
    *job = made;
    return 0;
}

struct listing_page listing_take(struct listing_job *job)
{
    /* Nothing was consumed, so the bytes begin where the block does. */
    struct listing_page page = {
        .bytes = job->page.block,
        .len = write_buffer_len(&job->page),
        .rows = job->rows,
        .is_cut = job->is_cut,
    };
    char *trimmed = mem_resize(page.bytes, page.len);
    page.bytes = trimmed != NULL ? trimmed : page.bytes;
    write_buffer_init(&job->page);
    return page;
}

void listing_end(struct listing_job *job)
{
    if (job == NULL) {
        return;
    }
    for (size_t i = job->written; i < job->count; i++) {
        mem_free(job->list[i]);
    }
    mem_free(job->list);
    write_buffer_done(&job->page);
    sys_close(job->dir_fd);
    mem_free(job);
}
