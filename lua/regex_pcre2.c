/* Failure modes: the library is not installed, lacks a function, or is out of reach in a sandbox. */

#include "lua/regex_pcre2.h"

#include "core/log.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#ifdef EVSERVE_HAS_PCRE2

struct regex_pcre2 regex_pcre2;

static const char pcre2_soname[] = "libpcre2-8.so.0";

static int load_pcre2(char *err, size_t errlen)
{
#define PCRE2_NAME(name) #name "\0"
    static const char names[] = PCRE2_FUNCTIONS(PCRE2_NAME);
#undef PCRE2_NAME
    struct regex_pcre2 found;
    const char *name = names;
    void *library = dlopen(pcre2_soname, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        return error_text(
            err, errlen, -ELIBACC,
            "PCRE2 cannot be loaded (Debian: apt install libpcre2-8-0; in a sandbox, mention ngx.re while "
            "the script starts): %s",
            dlerror());
    }
    for (size_t i = 0; i < sizeof found / sizeof(void *); i++, name += strlen(name) + 1) {
        void *function = dlsym(library, name);
        if (function == NULL) {
            return error_text(err, errlen, -ELIBACC, "the installed PCRE2 is too old: in %s there is no %s",
                              pcre2_soname, name);
        }
        memcpy((char *)&found + i * sizeof function, &function, sizeof function);
    }
    regex_pcre2 = found;
    return 0;
}

int regex_pcre2_load(char *err, size_t errlen)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static bool is_loaded; /* with the lock */
    pthread_mutex_lock(&lock);
    int rv = is_loaded ? 0 : load_pcre2(err, errlen);
    is_loaded = rv == 0;
    pthread_mutex_unlock(&lock);
    return rv;
}

#else

int regex_pcre2_load(char *err, size_t errlen)
{
    return error_text(err, errlen, -ELIBACC, "this evserve was built without PCRE2 (EVSERVE_PCRE2)");
}

#endif
