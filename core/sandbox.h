#ifndef EVSERVE_CORE_SANDBOX_H
#define EVSERVE_CORE_SANDBOX_H

/* Give up what a server no longer needs once it has started: files except those below certain directories (landlock),
 * rights that programs would bring (no_new_privs), and system calls that it does not make, such as those that run
 * programs or connect to other hosts (seccomp). This holds for the thread that enters, and for all threads and
 * processes that it starts later. There is no way back. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct destination_needs;
struct log;

struct sandbox {
    int rules_fd;                          /* of landlock, -1 if there is none */
    int error;                             /* why there is none, as -errno */
    int version;                           /* of the kernel's landlock */
    uint64_t file_rights;                  /* that landlock can deny: they are denied unless allowed */
    const struct destination_needs *needs; /* borrowed: connections that are left; NULL: none */
};

/* What may be done below a directory. */
enum sandbox_access {
    SANDBOX_READ,   /* read files and directories */
    SANDBOX_WRITE,  /* the same, and make, write, rename and remove files and directories */
    SANDBOX_REMOVE, /* remove files, nothing else */
    SANDBOX_APPEND, /* make files and write to them, nothing else */
};

/* Begin with nothing allowed, except for connections to what needs has, which may be NULL: of TCP only those to its
 * ports, where the kernel can tell them (landlock, version 4); otherwise whoever connects has to look. A kernel without
 * landlock is not an error here: sandbox_enter() deals with it. */
void sandbox_open(struct sandbox *sandbox, const struct destination_needs *needs);
void sandbox_close(struct sandbox *sandbox);

/* Allow access to a file, or to everything below a directory. Returns 0, or -errno if path does not exist or the kernel
 * refuses. */
int sandbox_allow(struct sandbox *sandbox, const char *path, enum sandbox_access access);

/* Enter the sandbox. If the kernel lacks a part, or the library was built without it, the rest is done with a warning
 * in the log, unless is_required, which makes that a failure. Returns 0, or -errno with a text in err: then a part may
 * be in force already. */
int sandbox_enter(const struct sandbox *sandbox, bool is_required, const struct log *log, char *err, size_t errlen);

#endif
