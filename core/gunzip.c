/* Happy path: zlib decodes member after member. It is loaded, as OpenSSL is, so it costs nothing until it is needed; of
 * its interface, which has not changed since 1995, the few parts that are used are declared here: zlib itself checks
 * that they fit.
 *
 * Failure modes: zlib is not there; input that is not gzip, or damaged, which its checksum shows. An input that ends
 * too early shows by gunzip_is_whole(). */

#include "core/gunzip.h"

#include "core/mem.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>

#ifdef EVSERVE_HAS_ZLIB

/* z_stream of zlib.h. */
struct zlib_stream {
    const unsigned char *next_in;
    unsigned avail_in;
    unsigned long total_in;
    unsigned char *next_out;
    unsigned avail_out;
    unsigned long total_out;
    const char *message;
    void *state;
    void *(*alloc)(void *arg, unsigned count, unsigned size);
    void (*free)(void *arg, void *block);
    void *arg;
    int data_type;
    unsigned long check, reserved;
};

enum { ZLIB_OK = 0, ZLIB_AT_END = 1, ZLIB_NO_MEMORY = -4, ZLIB_NO_PROGRESS = -5 };
enum { GZIP_WINDOW = 15 + 16 };              /* inflateInit2(): the largest window, and the gzip format */
static const char zlib_version[] = "1.2.11"; /* only the first digit counts: that of the interface */

struct gunzip {
    struct zlib_stream zlib;
    bool is_whole; /* at the end of a member, or before the first */
};

/* The functions of zlib. */
static struct {
    bool is_there;
    int (*init)(struct zlib_stream *stream, int window_bits, const char *version, int size);
    int (*inflate)(struct zlib_stream *stream, int flush);
    int (*reset)(struct zlib_stream *stream);
    int (*end)(struct zlib_stream *stream);
} zlib_calls;
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
    zlib_calls.is_there = library != NULL && find_zlib_call(library, "inflateInit2_", &zlib_calls.init) &&
                          find_zlib_call(library, "inflate", &zlib_calls.inflate) &&
                          find_zlib_call(library, "inflateReset", &zlib_calls.reset) &&
                          find_zlib_call(library, "inflateEnd", &zlib_calls.end);
}

bool gunzip_is_there(void)
{
    pthread_once(&zlib_once, load_zlib);
    return zlib_calls.is_there;
}

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

int gunzip_create(struct gunzip **created)
{
    if (!gunzip_is_there()) {
        return -ENOSYS;
    }
    struct gunzip *gunzip = mem_zalloc(sizeof *gunzip);
    if (gunzip == NULL) {
        return -ENOMEM;
    }
    gunzip->zlib.alloc = zlib_alloc;
    gunzip->zlib.free = zlib_free;
    gunzip->is_whole = true;
    int rv = zlib_calls.init(&gunzip->zlib, GZIP_WINDOW, zlib_version, (int)sizeof gunzip->zlib);
    if (rv != ZLIB_OK) {
        mem_free(gunzip);
        return rv == ZLIB_NO_MEMORY ? -ENOMEM : -ENOSYS;
    }
    *created = gunzip;
    return 0;
}

void gunzip_destroy(struct gunzip *gunzip)
{
    if (gunzip != NULL) {
        zlib_calls.end(&gunzip->zlib);
        mem_free(gunzip);
    }
}

/* Decode some of the input. Returns 0, or -errno. */
static int inflate_some(struct gunzip *gunzip, const char **in, size_t *in_len)
{
    struct zlib_stream *zlib = &gunzip->zlib;
    unsigned piece = *in_len < INT_MAX ? (unsigned)*in_len : INT_MAX;

    if (gunzip->is_whole && piece > 0 && zlib->total_in > 0) { /* another member follows */
        zlib_calls.reset(zlib);
    }
    zlib->next_in = (const unsigned char *)*in;
    zlib->avail_in = piece;
    int rv = zlib_calls.inflate(zlib, 0);
    *in += piece - zlib->avail_in;
    *in_len -= piece - zlib->avail_in;
    gunzip->is_whole = rv == ZLIB_AT_END;
    if (rv != ZLIB_OK && rv != ZLIB_AT_END && rv != ZLIB_NO_PROGRESS) {
        return rv == ZLIB_NO_MEMORY ? -ENOMEM : -EPROTO;
    }
    return 0;
}

ssize_t gunzip_run(struct gunzip *gunzip, const char **in, size_t *in_len, char *out, size_t room)
{
    struct zlib_stream *zlib = &gunzip->zlib;
    unsigned space = room < INT_MAX ? (unsigned)room : INT_MAX;
    int rv = 0;

    zlib->next_out = (unsigned char *)out;
    zlib->avail_out = space;
    while (rv == 0 && *in_len > 0 && zlib->avail_out > 0) {
        rv = inflate_some(gunzip, in, in_len);
    }
    if (rv == 0 && *in_len == 0 && zlib->avail_out > 0 && !gunzip->is_whole) {
        rv = inflate_some(gunzip, in, in_len); /* zlib may hold what had no room in the last call */
    }
    return rv < 0 ? rv : (ssize_t)(space - zlib->avail_out);
}

bool gunzip_is_whole(const struct gunzip *gunzip)
{
    return gunzip->is_whole;
}

#else

bool gunzip_is_there(void)
{
    return false;
}

int gunzip_create(struct gunzip **gunzip)
{
    (void)gunzip;
    return -ENOSYS;
}

void gunzip_destroy(struct gunzip *gunzip)
{
    (void)gunzip;
}

ssize_t gunzip_run(struct gunzip *gunzip, const char **in, size_t *in_len, char *out, size_t room)
{
    (void)gunzip;
    (void)in;
    (void)in_len;
    (void)out;
    (void)room;
    return -ENOSYS;
}

bool gunzip_is_whole(const struct gunzip *gunzip)
{
    (void)gunzip;
    return true;
}

#endif
