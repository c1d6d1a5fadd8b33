#ifndef EVSERVE_CORE_ZLIB_CALLS_H
#define EVSERVE_CORE_ZLIB_CALLS_H

/* zlib, which is loaded at first use, as OpenSSL is: it costs nothing until it is needed. For core/gunzip.c,
 * core/deflater.c and core/inflater.c, which say what each of them makes of it.
 *
 * Of its interface, which has not changed since 1995, the few parts that are used are declared here: zlib itself checks
 * that they fit. */

enum { ZLIB_OK = 0, ZLIB_AT_END = 1, ZLIB_NO_MEMORY = -4, ZLIB_NO_PROGRESS = -5 };
enum { ZLIB_NO_FLUSH = 0, ZLIB_SYNC_FLUSH = 2 };
enum { ZLIB_DEFLATED = 8, ZLIB_DEFAULT_STRATEGY = 0 };

#define ZLIB_INTERFACE "1.2.11" /* only the first digit counts */

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

/* The functions of zlib, as its manual describes them. */
struct zlib_calls {
    int (*inflate_init)(struct zlib_stream *stream, int window_bits, const char *version, int size);
    int (*inflate)(struct zlib_stream *stream, int flush);
    int (*inflate_reset)(struct zlib_stream *stream);
    int (*inflate_reset_keep)(struct zlib_stream *stream); /* likewise, but the window stays */
    int (*inflate_end)(struct zlib_stream *stream);
    int (*deflate_init)(struct zlib_stream *stream, int level, int method, int window_bits, int mem_level, int strategy,
                        const char *version, int size);
    int (*deflate)(struct zlib_stream *stream, int flush);
    int (*deflate_reset)(struct zlib_stream *stream);
    int (*deflate_end)(struct zlib_stream *stream);
};

/* Load zlib, unless an earlier call did. Returns NULL if it is not installed, or not built in (EVSERVE_HAS_ZLIB). The
 * first call has to come before the sandbox, where nothing can be loaded any more. Any thread. */
const struct zlib_calls *zlib_load(void);

/* Begin a stream, all zeros, that allocates by core/mem.h. */
void zlib_stream_init(struct zlib_stream *stream);

#endif
