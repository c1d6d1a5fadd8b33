#ifndef EVSERVE_CORE_CODER_CALLS_H
#define EVSERVE_CORE_CODER_CALLS_H

/* Brotli's encoder and zstd, which are loaded at first use, as zlib is. For core/coder.c. Of their interfaces, which are
 * stable, the few parts that are used are declared here. */

#include <stddef.h>
#include <stdint.h>

enum { BROTLI_PROCESS, BROTLI_FLUSH, BROTLI_FINISH };                /* BrotliEncoderOperation */
enum { BROTLI_QUALITY = 1, BROTLI_WINDOW_BITS = 2 };                 /* BrotliEncoderParameter */
enum { ZSTD_ON, ZSTD_FLUSH, ZSTD_END };                              /* ZSTD_EndDirective */
enum { ZSTD_LEVEL = 100, ZSTD_WINDOW_BITS = 101, ZSTD_SESSION = 1 }; /* ZSTD_cParameter, ZSTD_ResetDirective */

/* ZSTD_inBuffer, ZSTD_outBuffer. */
struct zstd_in {
    const void *data;
    size_t len;
    size_t at;
};
struct zstd_out {
    void *data;
    size_t room;
    size_t at;
};

/* The functions of libbrotlienc, as its header describes them. */
struct brotli_calls {
    void *(*create)(void *(*alloc)(void *arg, size_t size), void (*free)(void *arg, void *block), void *arg);
    int (*set)(void *state, int parameter, uint32_t value);
    int (*run)(void *state, int operation, size_t *in_len, const uint8_t **in, size_t *room, uint8_t **out,
               size_t *total);
    int (*has_more)(void *state);
};

/* Those of libzstd, likewise. */
struct zstd_calls {
    void *(*create)(void);
    size_t (*set)(void *state, int parameter, int value);
    size_t (*reset)(void *state, int what);
    size_t (*run)(void *state, struct zstd_out *out, struct zstd_in *in, int directive);
    unsigned (*is_error)(size_t code);
    size_t (*destroy)(void *state);
};

/* Load a library, unless an earlier call did. NULL if it is not installed, or not built in (EVSERVE_HAS_BROTLI,
 * EVSERVE_HAS_ZSTD). The first call has to come before the sandbox, where nothing can be loaded any more. Any thread. */
const struct brotli_calls *coder_load_brotli(void);
const struct zstd_calls *coder_load_zstd(void);

#endif
