/* Happy path: the status has a page, the cache has its file, and representation_send() sends it.
 *
 * Failure modes: without the file the caller sends its own text, so an error page never becomes an error of its own. */

#include "http/error_pages.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "http/cached_file.h"
#include "http/exchange.h"
#include "http/file_cache.h"
#include "http/file_root.h"
#include "http/representation.h"
#include "http/response.h"
#include "http/service.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { ERROR_PAGE_PATH_MAX = 4096, STATUS_WORD_MAX = 16 };

struct error_page {
    struct file_root root; /* the directory */
    bool for_proxied;
    const char *name; /* of the file in it: the end of path */
    size_t name_len;
    char path[]; /* as it was given */
};

static struct error_page *find_page(const struct error_pages *pages, int status)
{
    int n = status - ERROR_STATUS_FIRST;
    if (pages == NULL || n < 0 || n >= ERROR_STATUS_COUNT) {
        return NULL;
    }
    uint8_t index = pages->by_status[n] != 0 ? pages->by_status[n] : pages->by_class[n / 100];
    return index == 0 ? NULL : pages->pages[index - 1];
}

/* The file of a page, with a reference, or NULL if it is not there. */
static struct cached_file *find_page_file(const struct exchange *exchange, const struct error_pages *pages,
                                          struct error_page *page)
{
    struct cached_file *file;
    int64_t now_ms = reactor_now_ms(exchange->service->reactor);
    int rv = file_cache_get(pages->cache, &page->root, page->name, page->name_len, now_ms, &file);
    return rv < 0 ? NULL : file;
}

/* Respond with the page, if there is one with a file. Fields about the content that it takes the place of are gone. */
static bool send_page_file(struct exchange *exchange, const struct error_pages *pages, struct error_page *page,
                           int status)
{
    struct cached_file *file = page == NULL ? NULL : find_page_file(exchange, pages, page);
    if (file != NULL) {
        response_drop_content_fields(exchange);
        representation_send(exchange, status, file, NULL);
    }
    return file != NULL;
}

static bool send_page_of_status(struct exchange *exchange, const struct error_pages *pages, int status)
{
    return send_page_file(exchange, pages, find_page(pages, status), status);
}

bool error_pages_replace(struct exchange *exchange, const struct error_pages *pages, int status)
{
    struct error_page *page = find_page(pages, status);
    return page != NULL && page->for_proxied && send_page_file(exchange, pages, page, status);
}

bool error_pages_get(const struct error_pages *pages, size_t n, char status[ERROR_STATUS_TEXT], const char **file)
{
    for (unsigned i = 0; pages != NULL && i < ERROR_STATUS_COUNT + 2; i++) {
        bool is_class = i >= ERROR_STATUS_COUNT;
        uint8_t index = is_class ? pages->by_class[i - ERROR_STATUS_COUNT] : pages->by_status[i];
        if (index != 0 && n-- == 0) {
            unsigned number = ERROR_STATUS_FIRST + (is_class ? 100 * (i - ERROR_STATUS_COUNT) : i);
            snprintf(status, ERROR_STATUS_TEXT, is_class ? "%uxx" : "%u", is_class ? number / 100 % 10 : number % 1000);
            *file = pages->pages[index - 1]->path;
            return true;
        }
    }
    return false;
}

/* Setting up. */

/* The place of a status, or of "4xx", in pages; NULL for what is neither. */
static uint8_t *find_status_slot(struct error_pages *pages, const char *word, size_t len)
{
    if (len != 3 || (word[0] != '4' && word[0] != '5')) {
        return NULL;
    }
    int class = word[0] - '4';
    if ((word[1] | 0x20) == 'x' && (word[2] | 0x20) == 'x') {
        return &pages->by_class[class];
    }
    bool is_number = word[1] >= '0' && word[1] <= '9' && word[2] >= '0' && word[2] <= '9';
    return is_number ? &pages->by_status[class * 100 + (word[1] - '0') * 10 + word[2] - '0'] : NULL;
}

/* Give index to each of the statuses; 0: only see whether that can be done. */
static int take_statuses(struct error_pages *pages, const char *statuses, uint8_t index, char *err, size_t errlen)
{
    static const char separators[] = ", ";
    bool has_one = false;
    for (const char *at = statuses + strspn(statuses, separators); *at != '\0'; at += strspn(at, separators)) {
        size_t len = strcspn(at, separators);
        uint8_t *slot = find_status_slot(pages, at, len);
        if (slot == NULL) {
            return error_text(err, errlen, -EINVAL,
                              "a status from 400 to 599, \"4xx\" or \"5xx\" expected, got \"%.*s\"",
                              (int)(len < STATUS_WORD_MAX ? len : STATUS_WORD_MAX), at);
        }
        if (index == 0 && *slot != 0) {
            return error_text(err, errlen, -EEXIST, "%.3s has a page already, \"%s\"", at,
                              pages->pages[*slot - 1]->path);
        }
        *slot = index == 0 ? *slot : index;
        has_one = true;
        at += len;
    }
    return has_one ? 0 : error_text(err, errlen, -EINVAL, "a status from 400 to 599, \"4xx\" or \"5xx\" expected");
}

/* Make a page of a path. Returns 0 or -errno. */
static int make_page(struct error_page **made, const struct error_pages *pages, const char *file, char *err,
                     size_t errlen)
{
    char directory[ERROR_PAGE_PATH_MAX];
    const char *slash = strrchr(file, '/');
    const char *name = slash == NULL ? file : slash + 1;
    size_t directory_len = slash == NULL ? 1 : slash == file ? 1 : (size_t)(slash - file);
    size_t name_len = strlen(name);
    if (name_len == 0 || directory_len >= sizeof directory || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        return error_text(err, errlen, -EINVAL, "a file such as \"404.html\" expected, got \"%.200s\"", file);
    }
    memcpy(directory, slash == NULL ? "." : file, directory_len);
    directory[directory_len] = '\0';
    struct error_page *page = mem_zalloc(sizeof *page + strlen(file) + 1);
    if (page == NULL) {
        return error_text(err, errlen, -ENOMEM, "%s", errno_text(ENOMEM));
    }
    strcpy(page->path, file);
    page->name = page->path + (name - file);
    page->name_len = name_len;
    int rv = file_root_open_at(&page->root, pages->base_fd, directory, "", err, errlen);
    if (rv < 0) {
        mem_free(page);
        return rv;
    }
    *made = page;
    return 0;
}

int error_pages_add(struct error_pages **pages, struct file_cache *cache, int base_fd, const char *statuses,
                    const char *file, bool for_proxied, char *err, size_t errlen)
{
    if (*pages == NULL) {
        *pages = mem_zalloc(sizeof **pages);
        if (*pages == NULL) {
            return error_text(err, errlen, -ENOMEM, "%s", errno_text(ENOMEM));
        }
        (*pages)->send = send_page_of_status;
        (*pages)->cache = cache;
        (*pages)->base_fd = base_fd;
    }
    struct error_pages *all = *pages;
    int rv = take_statuses(all, statuses, 0, err, errlen);
    if (rv < 0) {
        return rv;
    }
    if (all->count == ERROR_PAGES_MAX) {
        return error_text(err, errlen, -ENOSPC, "\"%.200s\" is one too many: at most %d pages", file, ERROR_PAGES_MAX);
    }
    rv = make_page(&all->pages[all->count], all, file, err, errlen);
    if (rv < 0) {
        return rv;
    }
    all->pages[all->count]->for_proxied = for_proxied;
    all->count++;
    return take_statuses(all, statuses, (uint8_t)all->count, err, errlen);
}

void error_pages_destroy(struct error_pages *pages)
{
    for (size_t i = 0; pages != NULL && i < pages->count; i++) {
        file_root_close(&pages->pages[i]->root);
        mem_free(pages->pages[i]);
    }
    mem_free(pages);
}

void error_pages_abandon(const struct error_pages *pages)
{
    for (size_t i = 0; pages != NULL && i < pages->count; i++) {
        file_root_abandon(&pages->pages[i]->root);
    }
}

const char *error_pages_directory(const struct error_pages *pages, size_t n)
{
    return pages == NULL || n >= pages->count ? NULL : pages->pages[n]->root.directory;
}

void error_pages_log_missing(const struct error_pages *pages, const struct log *log)
{
    for (size_t i = 0; pages != NULL && i < pages->count; i++) {
        const struct error_page *page = pages->pages[i];
        struct stat st;
        int fd = sys_open(page->root.dir_fd, page->name, O_PATH);
        int rv = fd < 0 ? fd : sys_stat(fd, &st);
        if (fd >= 0) {
            sys_close(fd);
        }
        if (rv < 0 || !S_ISREG(st.st_mode)) {
            log_write(log, LOG_WARN, "the error page %s cannot be sent yet: %s", page->path,
                      rv < 0 ? errno_text(-rv) : "no regular file");
        }
    }
}
