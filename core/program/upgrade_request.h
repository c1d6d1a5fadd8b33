#ifndef EVSERVE_CORE_PROGRAM_UPGRADE_REQUEST_H
#define EVSERVE_CORE_PROGRAM_UPGRADE_REQUEST_H

/* evserve --upgrade PIDFILE: have the program that keeps the file (pid_file.h) start the version that is installed now
 * and hand over to it, and wait until it has. */

/* Returns the exit status: 0 when another process has taken over, else 1, with a text on standard error. */
int upgrade_request(const char *pid_path);

#endif
