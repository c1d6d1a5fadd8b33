/* Happy path: the library is loaded once; each hash has a working area of its own.
 *
 * Failure modes: the library is not there, or knows no such hash: it says so by NULL, or by a text that begins with
 * '*', which no hash does. */

#include "core/crypt_calls.h"

#include "core/log.h"
#include "core/mem.h"

#include <errno.h>
#include <string.h>

#ifdef EVSERVE_HAS_CRYPT

#include <dlfcn.h>
#include <pthread.h>

enum { CRYPT_AREA = 160 << 10 }; /* bytes of struct crypt_data: 32 KiB in libxcrypt, 128 KiB in older libraries */

typedef char *(*crypt_r_fn)(const char *password, const char *setting, void *area);

typedef char *(*crypt_gensalt_fn)(const char *prefix, unsigned long cost, const char *random, int random_len,
                                  char *text, int size);

static crypt_r_fn crypt_found;
static crypt_gensalt_fn crypt_gensalt_found; /* NULL: the library has none */
static pthread_once_t crypt_once = PTHREAD_ONCE_INIT;

static void load_crypt(void)
{
    static const char *const names[] = {"libcrypt.so.1", "libcrypt.so.2"};
    void *function = NULL, *gensalt = NULL;
    for (size_t i = 0; function == NULL && i < sizeof names / sizeof names[0]; i++) {
        void *library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
        function = library == NULL ? NULL : dlsym(library, "crypt_r");
        gensalt = library == NULL ? NULL : dlsym(library, "crypt_gensalt_rn");
    }
    if (function == NULL) {
        function = dlsym(RTLD_DEFAULT, "crypt_r");
    }
    memcpy(&crypt_found, &function, sizeof function);
    memcpy(&crypt_gensalt_found, &gensalt, sizeof gensalt);
}

int crypt_load(char *err, size_t errlen)
{
    pthread_once(&crypt_once, load_crypt);
    return crypt_found != NULL ? 0
                               : error_text(err, errlen, -ELIBACC,
                                            "password hashes of this kind need libcrypt (Debian: apt install "
                                            "libcrypt1); those of \"openssl passwd -apr1\" do not");
}

int crypt_hash(const char *stored, const char *password, char *text, size_t size)
{
    if (crypt_load(NULL, 0) < 0) {
        return -ELIBACC;
    }
    void *area = mem_zalloc(CRYPT_AREA);
    if (area == NULL) {
        return -ENOMEM;
    }
    const char *made = crypt_found(password, stored, area);
    size_t len = made == NULL || made[0] == '*' ? 0 : strlen(made);
    int rv = len == 0 ? -EINVAL : len >= size ? -ENOBUFS : (int)len;
    if (rv > 0) {
        memcpy(text, made, len + 1);
    }
    explicit_bzero(area, CRYPT_AREA);
    mem_free(area);
    return rv;
}

int crypt_make_setting(unsigned cost, const void *random, size_t len, char *text, size_t size)
{
    if (crypt_load(NULL, 0) < 0) {
        return -ELIBACC;
    }
    if (crypt_gensalt_found == NULL) {
        return -ENOTSUP;
    }
    const char *made = crypt_gensalt_found("$y$", cost, random, (int)len, text, (int)size);
    return made == NULL || made[0] == '*' ? -EINVAL : (int)strlen(made);
}

#else

int crypt_load(char *err, size_t errlen)
{
    return error_text(err, errlen, -ELIBACC,
                      "this evserve was built without libcrypt (EVSERVE_CRYPT=OFF), which password hashes of this kind "
                      "need; those of \"openssl passwd -apr1\" do not");
}

int crypt_hash(const char *stored, const char *password, char *text, size_t size)
{
    (void)stored;
    (void)password;
    (void)text;
    (void)size;
    return -ELIBACC;
}

int crypt_make_setting(unsigned cost, const void *random, size_t len, char *text, size_t size)
{
    (void)cost;
    (void)random;
    (void)len;
    (void)text;
    (void)size;
    return -ELIBACC;
}

#endif
