#ifndef EVSERVE_CORE_PROGRAM_USER_H
#define EVSERVE_CORE_PROGRAM_USER_H

/* Giving up root, for a program that begins with it to bind its addresses. */

#include <stddef.h>

/* Become the user of that name, with its groups, in all threads. Nothing is taken on trust: root is out of reach
 * afterwards, or it is a failure. Returns 0, or -errno with a text in err that names the user; what was given up by then
 * stays so. */
int user_become(const char *name, char *err, size_t errlen);

#endif
