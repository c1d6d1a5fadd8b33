#ifndef EVSERVE_CORE_PROGRAM_USER_H
#define EVSERVE_CORE_PROGRAM_USER_H

/* Giving up root, for a program that starts as root to bind its addresses. */

#include <stddef.h>

/* Become the user of that name, with its groups, in all threads, and verify that root is out of reach afterwards.
 * Returns 0, or -errno with a text in err that names the user; what was given up by then stays given up. */
int user_become(const char *name, char *err, size_t errlen);

#endif
