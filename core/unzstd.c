/* Happy path: libzstd decodes frame after frame.
 *
 * Failure modes: it is not there; input that is not Zstandard, or damaged; a window that is too large; no memory. An
 * input that ends too early shows by unzstd_is_whole(). */

#include "core/unzstd.h"

#include <errno.h>
#include <string.h>

#ifdef EVSERVE_HAS_ZSTD

#include "core/mem.h"

#include <dlfcn.h>
#include <pthread.h>

struct unzstd {
    void *context; /* the library's */
    bool is_whole; /* at the end of a frame, or before the first */
    bool may_hold; /* it had no room left: there may be more content without further input */
};

/* Of zstd.h and zstd_errors.h. */
enum { UNZSTD_WINDOW_PARAMETER = 100, UNZSTD_NO_MEMORY = 64 };

struct unzstd_memory { /* ZSTD_customMem */
    void *(*alloc)(void *arg, size_t size);
    void (*free)(void *arg, void *block);
    void *arg;
};

struct unzstd_out {
    void *data;
    size_t size, pos;
};

struct unzstd_in {
    const void *data;
    size_t size, pos;
};

static struct {
    void *(*create)(struct unzstd_memory memory);
    size_t (*destroy)(void *context);
    size_t (*set)(void *context, int parameter, int value);
    size_t (*run)(void *context, struct unzstd_out *out, struct unzstd_in *in);
    unsigned (*is_error)(size_t code);
    int (*error)(size_t code);
} unzstd_calls;

static bool unzstd_is_loaded;
static pthread_once_t unzstd_once = PTHREAD_ONCE_INIT;

/* Write the function called name to call, a pointer to one. */
static bool find_unzstd_call(void *library, const char *name, void *call)
{
    void *found = dlsym(library, name);
    memcpy(call, &found, sizeof found);
    return found != NULL;
}

static void load_unzstd(void)
{
    void *library = dlopen("libzstd.so.1", RTLD_NOW | RTLD_LOCAL);
    unzstd_is_loaded = library != NULL && find_unzstd_call(library, "ZSTD_createDCtx_advanced", &unzstd_calls.create) &&
                       find_unzstd_call(library, "ZSTD_freeDCtx", &unzstd_calls.destroy) &&
                       find_unzstd_call(library, "ZSTD_DCtx_setParameter", &unzstd_calls.set) &&
                       find_unzstd_call(library, "ZSTD_decompressStream", &unzstd_calls.run) &&
                       find_unzstd_call(library, "ZSTD_isError", &unzstd_calls.is_error) &&
                       find_unzstd_call(library, "ZSTD_getErrorCode", &unzstd_calls.error);
}

bool unzstd_is_there(void)
{
    pthread_once(&unzstd_once, load_unzstd);
    return unzstd_is_loaded;
}

static void *unzstd_alloc(void *arg, size_t size)
{
    (void)arg;
    return mem_alloc(size);
}

static void unzstd_free(void *arg, void *block)
{
    (void)arg;
    mem_free(block);
}

int unzstd_create(struct unzstd **created)
{
    static const struct unzstd_memory memory = {unzstd_alloc, unzstd_free, NULL};
    if (!unzstd_is_there()) {
        return -ENOSYS;
    }
    struct unzstd *unzstd = mem_zalloc(sizeof *unzstd);
    if (unzstd == NULL) {
        return -ENOMEM;
    }
    unzstd->context = unzstd_calls.create(memory);
    if (unzstd->context == NULL) {
        mem_free(unzstd);
        return -ENOMEM;
    }
    (void)unzstd_calls.set(unzstd->context, UNZSTD_WINDOW_PARAMETER, UNZSTD_WINDOW_BITS);
    unzstd->is_whole = true;
    *created = unzstd;
    return 0;
}

void unzstd_destroy(struct unzstd *unzstd)
{
    if (unzstd != NULL) {
        (void)unzstd_calls.destroy(unzstd->context);
        mem_free(unzstd);
    }
}

ssize_t unzstd_run(struct unzstd *unzstd, const char **in, size_t *in_len, char *out, size_t room)
{
    struct unzstd_in input = {*in, *in_len, 0};
    struct unzstd_out output = {out, room, 0};
    while (output.pos < room && (input.pos < input.size || (unzstd->may_hold && !unzstd->is_whole))) {
        size_t rv = unzstd_calls.run(unzstd->context, &output, &input);
        if (unzstd_calls.is_error(rv) != 0) {
            return unzstd_calls.error(rv) == UNZSTD_NO_MEMORY ? -ENOMEM : -EPROTO;
        }
        unzstd->is_whole = rv == 0;
        unzstd->may_hold = output.pos == room;
    }
    *in += input.pos;
    *in_len -= input.pos;
    return (ssize_t)output.pos;
}

bool unzstd_is_whole(const struct unzstd *unzstd)
{
    return unzstd->is_whole;
}

#else

bool unzstd_is_there(void)
{
    return false;
}

int unzstd_create(struct unzstd **created)
{
    (void)created;
    return -ENOSYS;
}

void unzstd_destroy(struct unzstd *unzstd)
{
    (void)unzstd;
}

ssize_t unzstd_run(struct unzstd *unzstd, const char **in, size_t *in_len, char *out, size_t room)
{
    (void)unzstd, (void)in, (void)in_len, (void)out, (void)room;
    return -ENOSYS;
}

bool unzstd_is_whole(const struct unzstd *unzstd)
{
    (void)unzstd;
    return true;
}

#endif
