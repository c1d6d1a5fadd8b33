/* Directories as pages.
 *
 * Happy path: listing_make() opens the directory, read_entries() collects what is worth showing, sort_entries() puts it
 * in order, put_page() writes it into one block of memory, which becomes the answer's content.
 *
 * Failure modes: an entry that disappears between reading and looking at it is left out. Without memory, or when the
 * directory cannot be read to its end, there is no page. What does not fit is left out, and the page says so. */

#include "http/listing.h"

#include "core/ascii.h"
#include "core/beneath.h"
#include "core/mem.h"
#include "core/sys.h"
#include "core/write_buffer.h"
#include "http/url.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    READ_BYTES = 16384, /* of a directory at once */
    TAIL_ROOM = 256,    /* bytes of a page that are kept for its end */
    ESCAPED_MAX = 6,    /* bytes that one byte of a text becomes at the most */
    ROW_ROOM = 256,     /* bytes of a row beside its name */
};

struct entry {
    struct entry *next; /* as they were read */
    uint64_t size;      /* bytes of a file */
    int64_t mtime_s;    /* last change of its contents, since the epoch */
    bool is_directory;
    uint16_t name_len;
    char name[]; /* with its NUL, at most NAME_MAX bytes before it */
};

struct entries {
    struct entry *first; /* as they were read; owned */
    struct entry **list; /* the same in order; owned */
    size_t count;
    bool is_cut; /* there were more */
};

/* Reading. */

static int open_below(const struct listing *listing, const char *path, int flags)
{
    int fd;
    do {
        fd = open_beneath(listing->root_fd, path, flags | O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    } while (fd == -EINTR);
    return fd;
}

/* What a link leads to, when it stays beneath the root. */
static int stat_target(const struct listing *listing, const char *name, struct stat *st)
{
    char path[BENEATH_PATH_MAX];
    int len = snprintf(path, sizeof path, "%s%s%s", listing->path, listing->path[0] == '\0' ? "" : "/", name);
    if (len < 0 || (size_t)len >= sizeof path) {
        return -ENAMETOOLONG;
    }
    int fd = open_below(listing, path, 0);
    if (fd < 0) {
        return fd;
    }
    int rv = sys_stat(fd, st);
    sys_close(fd);
    return rv;
}

/* Whether name is to be listed; *st then says what it is. */
static bool is_listed(const struct listing *listing, int dir_fd, const char *name, struct stat *st)
{
    bool is_self_or_parent = strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
    bool is_hidden = name[0] == '.' && !listing->shows_dotfiles;
    if (is_self_or_parent || is_hidden || strlen(name) > NAME_MAX) {
        return false;
    }
    int rv = sys_stat_at(dir_fd, name, st);
    if (rv == 0 && S_ISLNK(st->st_mode)) {
        rv = stat_target(listing, name, st);
    }
    return rv == 0 && (S_ISREG(st->st_mode) || S_ISDIR(st->st_mode));
}

static int add_entry(struct entries *entries, const char *name, const struct stat *st)
{
    size_t len = strlen(name);
    struct entry *entry = mem_alloc(sizeof *entry + len + 1);
    if (entry == NULL) {
        return -ENOMEM;
    }
    *entry = (struct entry){
        .next = entries->first,
        .size = (uint64_t)st->st_size,
        .mtime_s = st->st_mtim.tv_sec,
        .is_directory = S_ISDIR(st->st_mode),
        .name_len = (uint16_t)len,
    };
    memcpy(entry->name, name, len + 1);
    entries->first = entry;
    entries->count++;
    return 0;
}

/* Collect the entries of an open directory. Hidden ones count against the bound too: it is about the work. */
static int read_entries(const struct listing *listing, int dir_fd, struct entries *entries)
{
    _Alignas(struct dirent64) char block[READ_BYTES];
    int left = LISTING_ENTRIES_MAX;
    for (;;) {
        ssize_t got = sys_read_dir(dir_fd, block, sizeof block);
        if (got == -EINTR) {
            continue;
        }
        if (got <= 0) {
            return (int)got;
        }
        for (const char *at = block; at < block + got;) {
            const struct dirent64 *raw = (const struct dirent64 *)(const void *)at;
            struct stat st;
            at += raw->d_reclen;
            if (left-- == 0) {
                entries->is_cut = true;
                return 0;
            }
            if (is_listed(listing, dir_fd, raw->d_name, &st) && add_entry(entries, raw->d_name, &st) < 0) {
                return -ENOMEM;
            }
        }
    }
}

static void free_entries(struct entries *entries)
{
    struct entry *next;
    for (struct entry *entry = entries->first; entry != NULL; entry = next) {
        next = entry->next;
        mem_free(entry);
    }
    mem_free(entries->list);
}

/* Order. */

/* Whether one comes before other. */
static bool is_before(const struct entry *one, const struct entry *other)
{
    if (one->is_directory != other->is_directory) {
        return one->is_directory;
    }
    int order = ascii_compare(one->name, other->name);
    return order != 0 ? order < 0 : strcmp(one->name, other->name) < 0;
}

/* Let the entry at i sink to its place in the heap of count entries, the last in order on top. */
static void sink(struct entry **heap, size_t count, size_t i)
{
    struct entry *entry = heap[i];
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

/* A heap sort: qsort() may allocate, and not through core/mem.h. */
static int sort_entries(struct entries *entries)
{
    struct entry **list = mem_alloc((entries->count + 1) * sizeof *list);
    if (list == NULL) {
        return -ENOMEM;
    }
    entries->list = list;
    size_t count = 0;
    for (struct entry *entry = entries->first; entry != NULL; entry = entry->next) {
        list[count++] = entry;
    }
    for (size_t i = count / 2; i-- > 0;) {
        sink(list, count, i);
    }
    while (count > 1) {
        struct entry *last = list[0];
        list[0] = list[--count];
        list[count] = last;
        sink(list, count, 0);
    }
    return 0;
}

/* Writing. */

static int put(struct write_buffer *page, const char *text)
{
    return write_buffer_append(page, text, strlen(text), LISTING_PAGE_MAX);
}

/* The length of the UTF-8 character that text begins with, or 0 for what is none or does not show (RFC 3629 section 4). */
static size_t character_length(const unsigned char *text, size_t len)
{
    unsigned char lead = text[0];
    if (lead < 0x80) {
        return lead >= 0x20 && lead != 0x7f ? 1 : 0;
    }
    size_t size = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (lead < 0xc2 || lead > 0xf4 || size > len) {
        return 0;
    }
    unsigned char least = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80; /* no overlong forms */
    unsigned char most = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;  /* no surrogates, nothing above U+10FFFF */
    if (text[1] < least || text[1] > most) {
        return 0;
    }
    for (size_t i = 2; i < size; i++) {
        if (text[i] < 0x80 || text[i] > 0xbf) {
            return 0;
        }
    }
    return lead == 0xc2 && text[1] < 0xa0 ? 0 : size; /* C1 controls */
}

/* Append text so that HTML takes it for text, in a quoted attribute too. */
static int put_escaped(struct write_buffer *page, const char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        size_t size = character_length((const unsigned char *)text + i, len - i);
        const char *escape = size == 0         ? "\xef\xbf\xbd"
                             : text[i] == '&'  ? "&amp;"
                             : text[i] == '<'  ? "&lt;"
                             : text[i] == '>'  ? "&gt;"
                             : text[i] == '"'  ? "&quot;"
                             : text[i] == '\'' ? "&#39;"
                                               : NULL;
        int rv = escape != NULL ? put(page, escape) : write_buffer_append(page, text + i, size, LISTING_PAGE_MAX);
        if (rv < 0) {
            return rv;
        }
        i += size == 0 ? 1 : size;
    }
    return 0;
}

static int put_link(struct write_buffer *page, const struct entry *entry)
{
    char link[3 * NAME_MAX];
    size_t len = url_encode_segment(entry->name, entry->name_len, link);
    /* What begins with "./" is no scheme and no host, whatever follows (RFC 3986 section 4.2). */
    int rv = put(page, "<td><a href=\"./");
    rv = rv < 0 ? rv : write_buffer_append(page, link, len, LISTING_PAGE_MAX);
    return rv < 0 ? rv : put(page, entry->is_directory ? "/\"><bdi>" : "\"><bdi>");
}

/* "1.4 KiB": short, rounded down to what it reaches. */
static void format_size(uint64_t size, char text[32])
{
    static const char units[] = "KMGTPE";
    if (size < 1024) {
        snprintf(text, 32, "%" PRIu64 " B", size);
        return;
    }
    size_t unit = 0;
    for (; size >= UINT64_C(1024) * 1024; size /= 1024) {
        unit++;
    }
    snprintf(text, 32, "%" PRIu64 ".%" PRIu64 " %ciB", size / 1024, size % 1024 * 10 / 1024, units[unit]);
}

static int put_row(struct write_buffer *page, const struct entry *entry)
{
    char cells[ROW_ROOM];
    char size[32] = "";
    struct tm tm = {0};
    time_t time = entry->mtime_s;
    if (!entry->is_directory) {
        format_size(entry->size, size);
    }
    bool has_date = gmtime_r(&time, &tm) != NULL && tm.tm_year >= -1900 && tm.tm_year <= 9999 - 1900;
    int date_len = snprintf(cells, sizeof cells, "%s</bdi></a></td><td>%s</td><td>", entry->is_directory ? "/" : "",
                            size);
    if (has_date) {
        int year = tm.tm_year + 1900, month = tm.tm_mon + 1;
        snprintf(cells + date_len, sizeof cells - (size_t)date_len,
                 "<time datetime=\"%04d-%02d-%02dT%02d:%02d:%02dZ\">%04d-%02d-%02d %02d:%02d</time>", year, month,
                 tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, year, month, tm.tm_mday, tm.tm_hour, tm.tm_min);
    }
    int rv = put(page, "<tr>");
    rv = rv < 0 ? rv : put_link(page, entry);
    rv = rv < 0 ? rv : put_escaped(page, entry->name, entry->name_len);
    rv = rv < 0 ? rv : put(page, cells);
    return rv < 0 ? rv : put(page, "</td></tr>\n");
}

static int put_head(struct write_buffer *page, const struct listing *listing)
{
    static const char style[] =
        "</title>\n<style>\n"
        ":root{color-scheme:light dark}\n"
        "body{margin:0 auto;max-width:56rem;padding:2rem 1rem;font:16px/1.5 system-ui,sans-serif}\n"
        "h1{font-size:1.25rem;overflow-wrap:anywhere}\n"
        "table{width:100%;border-collapse:collapse}\n"
        "th,td{padding:.3rem .6rem;text-align:left;border-bottom:1px solid #8884}\n"
        "th{font-weight:600;font-size:.85rem;opacity:.7}\n"
        "td:first-child{overflow-wrap:anywhere}\n"
        "th+th,td+td{width:1%;text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}\n"
        "a{color:LinkText;text-decoration:none}\na:hover{text-decoration:underline}\n"
        "tbody tr:hover{background:#8881}\n"
        "p{opacity:.7;font-size:.85rem}\n"
        "</style>\n</head>\n<body>\n<h1>Index of <bdi>";
    static const char table[] = "</bdi></h1>\n<table>\n<thead><tr><th>Name</th><th>Size</th><th>Modified "
                                "(UTC)</th></tr></thead>\n<tbody>\n";
    static const char parent[] = "<tr><td><a href=\"../\">Parent directory</a></td><td></td><td></td></tr>\n";
    int rv = put(page, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                       "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>Index of ");
    rv = rv < 0 ? rv : put_escaped(page, listing->title, listing->title_len);
    rv = rv < 0 ? rv : put(page, style);
    rv = rv < 0 ? rv : put_escaped(page, listing->title, listing->title_len);
    rv = rv < 0 ? rv : put(page, table);
    return rv < 0 || !listing->has_parent ? rv : put(page, parent);
}

static int put_page(struct write_buffer *page, const struct listing *listing, struct entries *entries)
{
    int rv = put_head(page, listing);
    size_t shown = 0;
    while (rv == 0 && shown < entries->count) {
        const struct entry *entry = entries->list[shown];
        size_t most = ROW_ROOM + (size_t)entry->name_len * (3 + ESCAPED_MAX);
        if (write_buffer_len(page) + most + TAIL_ROOM > LISTING_PAGE_MAX) {
            entries->is_cut = true;
            break;
        }
        rv = put_row(page, entry);
        shown++;
    }
    char tail[TAIL_ROOM];
    snprintf(tail, sizeof tail, "</tbody>\n</table>\n<p>%zu %s%s</p>\n</body>\n</html>\n", shown,
             shown == 1 ? "entry" : "entries", entries->is_cut ? " shown; there are more in this directory" : "");
    return rv < 0 ? rv : put(page, tail);
}

int listing_make(const struct listing *listing, char **page, size_t *len)
{
    int dir_fd = open_below(listing, listing->path[0] == '\0' ? "." : listing->path, O_DIRECTORY);
    if (dir_fd < 0) {
        return dir_fd;
    }
    struct entries entries = {0};
    struct write_buffer made;
    write_buffer_init(&made);
    int rv = read_entries(listing, dir_fd, &entries);
    rv = rv < 0 ? rv : sort_entries(&entries);
    rv = rv < 0 ? rv : put_page(&made, listing, &entries);
    free_entries(&entries);
    sys_close(dir_fd);
    if (rv < 0) {
        write_buffer_done(&made);
        return rv;
    }
    /* Nothing was consumed, so the bytes begin where the block does, and the block is ours to give away. */
    *page = made.block;
    *len = write_buffer_len(&made);
    return 0;
}
