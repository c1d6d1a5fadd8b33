#ifndef EVSERVE_CORE_PROGRAM_PACK_REQUEST_H
#define EVSERVE_CORE_PROGRAM_PACK_REQUEST_H

/* evserve --pack SITE.lua [PATH]... -o FILE: write a program that is this one with the script and files inside, which
 * archive.h finds there. */

struct command_line;

/* Returns the exit status: 0 when it has been written, else 1, with a text on standard error. */
int pack_request(const struct command_line *options);

#endif
