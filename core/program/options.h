#ifndef EVSERVE_CORE_PROGRAM_OPTIONS_H
#define EVSERVE_CORE_PROGRAM_OPTIONS_H

/* A command line, read by a table in which each row is a long option with the kind of its value and where to store it.
 * For programs: it uses getopt_long(3), whose state exists once in a process. */

#include <stdbool.h>
#include <stddef.h>

enum option_kind {
    OPTION_FLAG,  /* a bool that becomes true */
    OPTION_LAST,  /* likewise, and what follows is ignored: --help, --version */
    OPTION_TEXT,  /* a const char * into argv */
    OPTION_VALUE, /* a value that set() takes */
    OPTION_MAYBE, /* set() takes the value of --name=value, or NULL for --name alone */
};

enum {
    OPTIONS_MAX = 64,       /* rows of a table */
    OPTION_ERROR_MAX = 256, /* bytes of a complaint with its NUL */
};

struct option_row {
    const char *name; /* without the "--"; a single letter is "-o FILE", with OPTION_TEXT */
    enum option_kind kind;
    size_t offset; /* in the program's options, for a row without set() */
    /* Returns whether the value is valid; if not, with a text in err, of OPTION_ERROR_MAX bytes, that names the
     * option. */
    bool (*set)(void *options, const char *value, char *err);
};

/* Read argv into options, and reorder argv so that options come first. Returns the index of the first argument that is
 * not an option, or -EINVAL with a text in err, of OPTION_ERROR_MAX bytes, that names the culprit. */
int options_read(const struct option_row *rows, size_t count, int argc, char **argv, void *options, char *err);

/* A number from 1 to most, in decimal digits and nothing else. */
bool options_parse_number(const char *text, unsigned most, unsigned *number);

/* Append to a list of size bytes, which is "" at first. Returns whether there was room. */
bool options_append(char *list, size_t size, char separator, const char *text);

#endif
