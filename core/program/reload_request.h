#ifndef EVSERVE_CORE_PROGRAM_RELOAD_REQUEST_H
#define EVSERVE_CORE_PROGRAM_RELOAD_REQUEST_H

/* evserve --reload PIDFILE: have the program that keeps the file (pid_file.h) reload, and wait for the result. For
 * ExecReload= of systemd, and for scripts. */

/* Returns the exit status: 0 when it has reloaded, else 1, with a text on standard error. */
int reload_request(const char *pid_path);

#endif
