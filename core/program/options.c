/* Happy path: getopt_long(3) returns the number of a row, and the row determines what to do.
 *
 * Failure modes: getopt_long(3) returns something else, which is put into words; or the row's set() rejects the
 * value. */

#include "core/program/options.h"

#include "core/ascii.h"
#include "core/log.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

enum { FIRST = 256 }; /* the lowest number of a row; no character, so that optopt identifies an unknown "-x" */

/* The error text for getopt_long(3): verdict is ':' or '?', argument is where it stopped. */
static int complain(int verdict, const char *argument, char *err)
{
    if (optopt > 0 && optopt < FIRST) { /* it may be one letter of several */
        return error_text(err, OPTION_ERROR_MAX, -EINVAL, "unknown option -%c", optopt);
    }
    if (optopt > 0) {
        return error_text(err, OPTION_ERROR_MAX, -EINVAL, "%.200s %s", argument,
                          verdict == ':' ? "needs a value" : "takes no value");
    }
    return error_text(err, OPTION_ERROR_MAX, -EINVAL, "unknown option %.200s", argument);
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

int options_read(const struct option_row *rows, size_t count, int argc, char **argv, void *options, char *err)
{
    static const int arguments[] = {
        [OPTION_FLAG] = no_argument,        [OPTION_LAST] = no_argument,        [OPTION_TEXT] = required_argument,
        [OPTION_VALUE] = required_argument, [OPTION_MAYBE] = optional_argument,
    };
    struct option table[OPTIONS_MAX + 1] = {{0}};
    for (size_t i = 0; i < count && i < OPTIONS_MAX; i++) {
        table[i] = (struct option){rows[i].name, arguments[rows[i].kind], NULL, FIRST + (int)i};
    }
    int found;
    optind = 0; /* begin anew (getopt(3)) */
    while ((found = getopt_long(argc, argv, ":", table, NULL)) != -1) {
        if (found < FIRST) {
            return complain(found, argv[optind - 1], err);
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
