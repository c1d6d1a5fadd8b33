/* Happy path: libbrotlidec decodes until it has no room or no input.
 *
 * Failure modes: it is not there; input that is not Brotli, for which there is no checksum; no memory. An input that
 * ends too early shows by unbrotli_is_whole(). */

#include "core/unbrotli.h"

#include <errno.h>
#include <string.h>

#ifdef EVSERVE_HAS_BROTLI

#include "core/mem.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>

struct unbrotli {
    void *state;    /* the library's */
    bool has_begun; /* some input was read */
    bool is_at_end; /* the end of the stream was read */
};

/* Of brotli/decode.h, whose interface has not changed since 1.0. */
enum { UNBROTLI_FAILED = 0, UNBROTLI_AT_END = 1 };
enum { UNBROTLI_NO_MEMORY_FIRST = -30, UNBROTLI_NO_MEMORY_LAST = -21 }; /* BROTLI_DECODER_ERROR_ALLOC_... */

static struct {
    void *(*create)(void *(*alloc)(void *arg, size_t size), void (*free)(void *arg, void *block), void *arg);
    void (*destroy)(void *state);
    int (*run)(void *state, size_t *in_len, const uint8_t **in, size_t *room, uint8_t **out, size_t *total);
    int (*error)(const void *state);
} unbrotli_calls;

static bool unbrotli_is_loaded;
static pthread_once_t unbrotli_once = PTHREAD_ONCE_INIT;

/* Write the function called name to call, a pointer to one. */
static bool find_unbrotli_call(void *library, const char *name, void *call)
{
    void *found = dlsym(library, name);
    memcpy(call, &found, sizeof found);
    return found != NULL;
}

static void load_unbrotli(void)
{
    void *library = dlopen("libbrotlidec.so.1", RTLD_NOW | RTLD_LOCAL);
    unbrotli_is_loaded = library != NULL &&
                         find_unbrotli_call(library, "BrotliDecoderCreateInstance", &unbrotli_calls.create) &&
                         find_unbrotli_call(library, "BrotliDecoderDestroyInstance", &unbrotli_calls.destroy) &&
                         find_unbrotli_call(library, "BrotliDecoderDecompressStream", &unbrotli_calls.run) &&
                         find_unbrotli_call(library, "BrotliDecoderGetErrorCode", &unbrotli_calls.error);
}

bool unbrotli_is_there(void)
{
    pthread_once(&unbrotli_once, load_unbrotli);
    return unbrotli_is_loaded;
}

static void *unbrotli_alloc(void *arg, size_t size)
{
    (void)arg;
    return mem_alloc(size);
}

static void unbrotli_free(void *arg, void *block)
{
    (void)arg;
    mem_free(block);
}

int unbrotli_create(struct unbrotli **created)
{
    if (!unbrotli_is_there()) {
        return -ENOSYS;
    }
    struct unbrotli *unbrotli = mem_zalloc(sizeof *unbrotli);
    if (unbrotli == NULL) {
        return -ENOMEM;
    }
    unbrotli->state = unbrotli_calls.create(unbrotli_alloc, unbrotli_free, NULL);
    if (unbrotli->state == NULL) {
        mem_free(unbrotli);
        return -ENOMEM;
    }
    *created = unbrotli;
    return 0;
}

void unbrotli_destroy(struct unbrotli *unbrotli)
{
    if (unbrotli != NULL) {
        unbrotli_calls.destroy(unbrotli->state);
        mem_free(unbrotli);
    }
}

static int unbrotli_failure(const struct unbrotli *unbrotli)
{
    int error = unbrotli_calls.error(unbrotli->state);
    return error >= UNBROTLI_NO_MEMORY_FIRST && error <= UNBROTLI_NO_MEMORY_LAST ? -ENOMEM : -EPROTO;
}

ssize_t unbrotli_run(struct unbrotli *unbrotli, const char **in, size_t *in_len, char *out, size_t room)
{
    size_t left = room;
    if (!unbrotli->is_at_end && (*in_len > 0 || unbrotli->has_begun)) {
        const uint8_t *next_in = (const uint8_t *)*in;
        uint8_t *next_out = (uint8_t *)out;
        unbrotli->has_begun = true;
        int rv = unbrotli_calls.run(unbrotli->state, in_len, &next_in, &left, &next_out, NULL);
        *in = (const char *)next_in;
        if (rv == UNBROTLI_FAILED) {
            return unbrotli_failure(unbrotli);
        }
        unbrotli->is_at_end = rv == UNBROTLI_AT_END;
    }
    return unbrotli->is_at_end && *in_len > 0 ? -EPROTO : (ssize_t)(room - left);
}

bool unbrotli_is_whole(const struct unbrotli *unbrotli)
{
    return unbrotli->is_at_end || !unbrotli->has_begun;
}

#else

bool unbrotli_is_there(void)
{
    return false;
}

int unbrotli_create(struct unbrotli **created)
{
    (void)created;
    return -ENOSYS;
}

void unbrotli_destroy(struct unbrotli *unbrotli)
{
    (void)unbrotli;
}

ssize_t unbrotli_run(struct unbrotli *unbrotli, const char **in, size_t *in_len, char *out, size_t room)
{
    (void)unbrotli, (void)in, (void)in_len, (void)out, (void)room;
    return -ENOSYS;
}

bool unbrotli_is_whole(const struct unbrotli *unbrotli)
{
    (void)unbrotli;
    return true;
}

#endif
