#ifndef EVSERVE_CORE_SANDBOX_H
#define EVSERVE_CORE_SANDBOX_H

/* Give up what a server that has started no longer needs: files but for those below some directories (landlock), rights
 * that programs would bring (no_new_privs), and system calls that it does not make (seccomp), running other programs and
 * connecting to others among them. It holds for the thread that enters, and for all threads and processes that it begins
 * later; there is no way back. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct log;

struct sandbox {
    int rules_fd;         /* of landlock, -1 when there is none */
    int error;            /* why there is none, -errno */
    int version;          /* of the kernel's landlock */
    uint64_t file_rights; /* that it can deny: they are denied unless allowed */
};

/* What may be done below a directory. */
enum sandbox_access {
    SANDBOX_READ,   /* read files and directories */
    SANDBOX_WRITE,  /* that, and make, write, rename and remove files and directories */
    SANDBOX_REMOVE, /* remove files, nothing else */
};

/* Begin with nothing allowed. A kernel without landlock is no failure: sandbox_enter() deals with it. */
void sandbox_open(struct sandbox *sandbox);
void sandbox_close(struct sandbox *sandbox);

/* Allow access below path, a directory, or to path, a file. Returns 0, or -errno when it is not there or the kernel
 * cannot. */
int sandbox_allow(struct sandbox *sandbox, const char *path, enum sandbox_access access);

/* Enter. What the kernel lacks, or this library was built without, is a warning in the log, and the rest is done; with
 * is_required it is a failure. Returns 0, or -errno with a text in err: then a part may be in force already. */
int sandbox_enter(const struct sandbox *sandbox, bool is_required, const struct log *log, char *err, size_t errlen);

#endif
