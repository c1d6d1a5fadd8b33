/* Happy path: the first caller loads a library and finds all functions.
 *
 * Failure modes: it is not installed, or too old to have them all; then it counts as absent. */

#include "core/coder_calls.h"

#include <stdbool.h>
#include <string.h>

#if defined(EVSERVE_HAS_BROTLI) || defined(EVSERVE_HAS_ZSTD)
#include <dlfcn.h>
#include <pthread.h>

/* Write the function called name to call, a pointer to one. */
static bool find_coder_call(void *library, const char *name, void *call)
{
    void *found = dlsym(library, name);
    memcpy(call, &found, sizeof found);
    return found != NULL;
}
#endif

#ifdef EVSERVE_HAS_BROTLI

static struct brotli_calls brotli_found;
static bool brotli_is_there;
static pthread_once_t brotli_once = PTHREAD_ONCE_INIT;

static void load_brotli(void)
{
    void *library = dlopen("libbrotlienc.so.1", RTLD_NOW | RTLD_LOCAL);
    brotli_is_there = library != NULL &&
                      find_coder_call(library, "BrotliEncoderCreateInstance", &brotli_found.create) &&
                      find_coder_call(library, "BrotliEncoderSetParameter", &brotli_found.set) &&
                      find_coder_call(library, "BrotliEncoderCompressStream", &brotli_found.run) &&
                      find_coder_call(library, "BrotliEncoderHasMoreOutput", &brotli_found.has_more);
}

const struct brotli_calls *coder_load_brotli(void)
{
    pthread_once(&brotli_once, load_brotli);
    return brotli_is_there ? &brotli_found : NULL;
}

#else

const struct brotli_calls *coder_load_brotli(void)
{
    return NULL;
}

#endif

#ifdef EVSERVE_HAS_ZSTD

static struct zstd_calls zstd_found;
static bool zstd_is_there;
static pthread_once_t zstd_once = PTHREAD_ONCE_INIT;

static void load_zstd(void)
{
    void *library = dlopen("libzstd.so.1", RTLD_NOW | RTLD_LOCAL);
    zstd_is_there = library != NULL && find_coder_call(library, "ZSTD_createCCtx", &zstd_found.create) &&
                    find_coder_call(library, "ZSTD_CCtx_setParameter", &zstd_found.set) &&
                    find_coder_call(library, "ZSTD_CCtx_reset", &zstd_found.reset) &&
                    find_coder_call(library, "ZSTD_compressStream2", &zstd_found.run) &&
                    find_coder_call(library, "ZSTD_isError", &zstd_found.is_error) &&
                    find_coder_call(library, "ZSTD_freeCCtx", &zstd_found.destroy);
}

const struct zstd_calls *coder_load_zstd(void)
{
    pthread_once(&zstd_once, load_zstd);
    return zstd_is_there ? &zstd_found : NULL;
}

#else

const struct zstd_calls *coder_load_zstd(void)
{
    return NULL;
}

#endif
