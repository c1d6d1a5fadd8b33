/* Happy path: getopt_long(3) returns the number of a row, and the row determines what to do.
 *
 * Failure modes: getopt_long(3) returns something else, which is put into words; or the row's set() rejects the
 * value. */

#include "core/program/options.h"

#include "core/ascii.h"
#include "core/log.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

enum { FIRST = 256 }; /* the lowest number of a row; no character, so that optopt identifies an unknown "-x" */

/* An argument that getopt_long(3) does not know: a name that is no option's, or one that several begin with. */
static int complain_of_name(const struct option_row *rows, size_t count, const char *argument, char *err)
{
    char names[OPTION_ERROR_MAX / 2] = "";
    size_t len = strcspn(argument, "="), fitting = 0;
    for (size_t i = 0; len > 2 && i < count; i++) {
        if (strncmp(rows[i].name, argument + 2, len - 2) == 0) {
            size_t used = strlen(names);
            snprintf(names + used, sizeof names - used, "%s--%s", fitting == 0 ? "" : ", ", rows[i].name);
            fitting++;
        }
    }
    return fitting > 1 ? error_text(err, OPTION_ERROR_MAX, -EINVAL, "%.*s is short for several options: %s",
                                    (int)(len < 80 ? len : 80), argument, names)
                       : error_text(err, OPTION_ERROR_MAX, -EINVAL, "unknown option %.200s", argument);
}

/* The error text for getopt_long(3): verdict is ':' or '?', argument is where it stopped. */
static int complain(const struct option_row *rows, size_t count, int verdict, const char *argument, char *err)
{
    if (optopt > 0 && optopt < FIRST) { /* it may be one letter of several */
        return error_text(err, OPTION_ERROR_MAX, -EINVAL, verdict == ':' ? "-%c needs a value" : "unknown option -%c",
                          optopt);
    }
    if (optopt > 0) {
        return error_text(err, OPTION_ERROR_MAX, -EINVAL, "%.200s %s", argument,
                          verdict == ':' ? "needs a value" : "takes no value");
    }
    return complain_of_name(rows, count, argument, err);
}

static bool set_option(const struct option_row *row, void *options, const char *value, char *err)
{
    char *place = (char *)options + row->offset;
    if (row->set != NULL) {
        return row->set(options, value, err);
    }
    if (row->kind == OPTION_TEXT) {
        memcpy(place, &value, sizeof value);
    } else {
        *(bool *)place = true;
    }
    return true;
}

static bool is_letter(const struct option_row *row)
{
    return row->name[1] == '\0';
}

/* The number of the row of a letter; what is not one stays as it is. */
static int find_letter(const struct option_row *rows, size_t count, int found)
{
    for (size_t i = 0; i < count; i++) {
        if (is_letter(&rows[i]) && rows[i].name[0] == found) {
            return FIRST + (int)i;
        }
    }
    return found;
}

int options_read(const struct option_row *rows, size_t count, int argc, char **argv, void *options, char *err)
{
    static const int arguments[] = {
        [OPTION_FLAG] = no_argument,        [OPTION_LAST] = no_argument,        [OPTION_TEXT] = required_argument,
        [OPTION_VALUE] = required_argument, [OPTION_MAYBE] = optional_argument,
    };
    struct option table[OPTIONS_MAX + 1] = {{0}};
    char letters[2 * OPTIONS_MAX + 2] = ":";
    size_t names = 0, used = 1;
    for (size_t i = 0; i < count && i < OPTIONS_MAX; i++) {
        if (is_letter(&rows[i])) {
            letters[used++] = rows[i].name[0];
            letters[used++] = ':';
        } else {
            table[names++] = (struct option){rows[i].name, arguments[rows[i].kind], NULL, FIRST + (int)i};
        }
    }
    int found;
    optind = 0; /* begin anew (getopt(3)) */
    while ((found = getopt_long(argc, argv, letters, table, NULL)) != -1) {
        found = find_letter(rows, count, found);
        if (found < FIRST) {
            return complain(rows, count, found, argv[optind - 1], err);
        }
        const struct option_row *row = &rows[found - FIRST];
        if (!set_option(row, options, optarg, err)) {
            return -EINVAL;
        }
        if (row->kind == OPTION_LAST) {
            break;
        }
    }
    return optind;
}

bool options_parse_number(const char *text, unsigned most, unsigned *number)
{
    uint64_t value = 0;
    bool is_number = ascii_parse_number(text, strlen(text), most, &value);
    *number = (unsigned)value;
    return is_number && value >= 1;
}

bool options_append(char *list, size_t size, char separator, const char *text)
{
    size_t used = strlen(list), begin = used == 0 ? 0 : used + 1, len = strlen(text);
    if (begin + len >= size) {
        return false;
    }
    if (used > 0) {
        list[used] = separator;
    }
    memcpy(list + begin, text, len + 1);
    return true;
}
