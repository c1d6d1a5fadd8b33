/* Happy path: the first caller loads the library and finds all functions.
 *
 * Failure modes: it is not installed, or too old to have them all; then it counts as absent. */

#include "core/zlib_calls.h"

#include "core/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

static void *zlib_alloc(void *arg, unsigned count, unsigned size)
{
    (void)arg;
    return mem_alloc((size_t)count * size);
}

static void zlib_free(void *arg, void *block)
{
    (void)arg;
    mem_free(block);
}

void zlib_stream_init(struct zlib_stream *stream)
{
    *stream = (struct zlib_stream){.alloc = zlib_alloc, .free = zlib_free};
}

#ifdef EVSERVE_HAS_ZLIB

#include <dlfcn.h>
#include <pthread.h>

static struct zlib_calls zlib_found;
static bool zlib_is_there;
static pthread_once_t zlib_once = PTHREAD_ONCE_INIT;

/* Write the function called name to call, a pointer to one. */
static bool find_zlib_call(void *library, const char *name, void *call)
{
    void *found = dlsym(library, name);
    memcpy(call, &found, sizeof found);
    return found != NULL;
}

static void load_zlib(void)
{
    void *library = dlopen("libz.so.1", RTLD_NOW | RTLD_LOCAL);
    zlib_is_there = library != NULL && find_zlib_call(library, "inflateInit2_", &zlib_found.inflate_init) &&
                    find_zlib_call(library, "inflate", &zlib_found.inflate) &&
                    find_zlib_call(library, "inflateReset", &zlib_found.inflate_reset) &&
                    find_zlib_call(library, "inflateResetKeep", &zlib_found.inflate_reset_keep) &&
                    find_zlib_call(library, "inflateEnd", &zlib_found.inflate_end) &&
                    find_zlib_call(library, "deflateInit2_", &zlib_found.deflate_init) &&
                    find_zlib_call(library, "deflate", &zlib_found.deflate) &&
                    find_zlib_call(library, "deflateReset", &zlib_found.deflate_reset) &&
                    find_zlib_call(library, "deflateEnd", &zlib_found.deflate_end);
}

const struct zlib_calls *zlib_load(void)
{
    pthread_once(&zlib_once, load_zlib);
    return zlib_is_there ? &zlib_found : NULL;
}

#else

const struct zlib_calls *zlib_load(void)
{
    return NULL;
}

#endif
