/* Happy path: the library is there, and has all functions. They are looked up together, not each one when it is first
 * called, so that nothing can be missing later, when root is given up and the sandbox is closed.
 *
 * Failure modes: the library is not installed, older than the headers that this was compiled with, or out of reach. */

#include "core/tls_openssl.h"

#include "core/log.h"
#include "core/sys.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#ifdef EVSERVE_HAS_TLS

#ifdef EVSERVE_TLS_LINKED

int tls_openssl_load(char *err, size_t errlen)
{
    (void)err;
    (void)errlen;
    return 0;
}

#else

struct tls_openssl tls_openssl;

/* The version is that of the headers, whose macros and types are compiled in: libssl.so.3 is any OpenSSL 3. */
#define OPENSSL_TEXT(number)   #number
#define OPENSSL_SONAME(number) "libssl.so." OPENSSL_TEXT(number)
static const char soname[] = OPENSSL_SONAME(OPENSSL_SHLIB_VERSION);

/* In the order of the table, with a NUL behind each. Pointers to them would have to be relocated at every start. */
#define OPENSSL_FUNCTION(name) #name "\0"
static const char function_names[] =
#include "core/tls_openssl.def"
    ;
#undef OPENSSL_FUNCTION

enum { OPENSSL_FUNCTIONS = sizeof(struct tls_openssl) / sizeof(void *) };

/* A process in a sandbox reads no libraries any more: the root folder shows whether that is so. */
static bool is_confined(void)
{
    int fd = sys_open(AT_FDCWD, "/", O_RDONLY | O_DIRECTORY);
    if (fd >= 0) {
        sys_close(fd);
    }
    return fd == -EACCES || fd == -EPERM;
}

static int complain_of_library(char *err, size_t errlen)
{
    const char *reason = dlerror();
    if (is_confined()) {
        return error_text(err, errlen, -ELIBACC,
                          "HTTPS needs OpenSSL, which cannot be loaded inside a sandbox: start the first server with "
                          "HTTPS before the one that enters the sandbox (%s)",
                          reason);
    }
    return error_text(err, errlen, -ELIBACC, "HTTPS needs OpenSSL 3 (Debian: apt install libssl3): %s", reason);
}

/* Fill the table. */
static int load_functions(char *err, size_t errlen)
{
    struct tls_openssl found;
    const char *name = function_names;
    void *library = dlopen(soname, RTLD_NOW | RTLD_LOCAL); /* its functions, and those of libcrypto, which it needs */
    if (library == NULL) {
        return complain_of_library(err, errlen);
    }
    for (size_t i = 0; i < OPENSSL_FUNCTIONS; i++, name += strlen(name) + 1) {
        void *function = dlsym(library, name);
        if (function == NULL) {
            return error_text(
                err, errlen, -ELIBACC,
                "the installed OpenSSL is too old for HTTPS: evserve was compiled with %s, but in %s there "
                "is no %s",
                OPENSSL_VERSION_TEXT, soname, name);
        }
        memcpy((char *)&found + i * sizeof function, &function, sizeof function);
    }
    tls_openssl = found;
    return 0;
}

int tls_openssl_load(char *err, size_t errlen)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static bool is_loaded; /* with the lock */
    pthread_mutex_lock(&lock);
    int rv = is_loaded ? 0 : load_functions(err, errlen);
    is_loaded = rv == 0;
    pthread_mutex_unlock(&lock);
    return rv;
}

#endif

#endif
