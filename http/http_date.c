/* HTTP-dates as text and as seconds since the epoch.
 *
 * The reader compares the text with a pattern for each of the three formats and counts the days itself: strptime()
 * would follow the locale of the host program. A text that fits no pattern, or names a day that does not exist, is no
 * date. */

#include "http/http_date.h"

#include "http/char_class.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { SECONDS_PER_DAY = 86400, DAYS_TO_EPOCH = 719162 }; /* from 1 January of the year 1 to 1 January 1970 */

/* The first and the last second whose year has four digits: all dates are between them. */
static const int64_t first_s = -62167219200, last_s = 253402300799;

struct date {
    int year, month, day; /* month 0 to 11, day from 1 */
    int hour, minute, second;
};

static const char month_names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const char day_names[] = "SunMonTueWedThuFriSat";
static const char *const long_day_names[] = {"Monday, ", "Tuesday, ",  "Wednesday, ", "Thursday, ",
                                             "Friday, ", "Saturday, ", "Sunday, "};

static bool is_leap_year(int year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int64_t date_to_seconds(const struct date *date)
{
    static const int days_before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    /* Leap days are counted in the 400 years from which year 0 is not special. */
    int64_t past = (int64_t)date->year - 1 + 400;
    int64_t days = past * 365 + past / 4 - past / 100 + past / 400 - (400 * 365 + 97);
    days += days_before[date->month] + (date->month > 1 && is_leap_year(date->year) ? 1 : 0) + date->day - 1;
    int seconds = date->hour * 3600 + date->minute * 60 + date->second;
    return (days - DAYS_TO_EPOCH) * SECONDS_PER_DAY + seconds;
}

static bool is_valid_date(const struct date *date)
{
    static const int days_in[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int days = days_in[date->month] + (date->month == 1 && is_leap_year(date->year) ? 1 : 0);
    /* A leap second is written as 60. */
    return date->day >= 1 && date->day <= days && date->hour <= 23 && date->minute <= 59 && date->second <= 60;
}

/* The number that a letter of a pattern stands for, or NULL. */
static int *date_number(struct date *date, char letter)
{
    switch (letter) {
    case 'D':
    case '_':
        return &date->day;
    case 'Y':
        return &date->year;
    case 'h':
        return &date->hour;
    case 'm':
        return &date->minute;
    case 's':
        return &date->second;
    default:
        return NULL;
    }
}

static int find_month(const char *name)
{
    for (int month = 0; month < 12; month++) {
        if (memcmp(name, month_names + (size_t)month * 3, 3) == 0) {
            return month;
        }
    }
    return -1;
}

/* Read a date as pattern says: D, Y, h, m and s are digits of the day, the year and the time, "_" is a digit of the day
 * or a space, NNN the name of a month, and everything else stands for itself. */
static bool match_date(const char *text, size_t len, const char *pattern, struct date *date)
{
    *date = (struct date){0};
    if (len != strlen(pattern)) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        int *number = date_number(date, pattern[i]);
        if (pattern[i] == 'N') {
            date->month = find_month(text + i);
            i += 2;
            if (date->month < 0) {
                return false;
            }
        } else if (number != NULL && char_is_digit(text[i])) {
            *number = *number * 10 + (text[i] - '0');
        } else if (text[i] != (pattern[i] == '_' ? ' ' : pattern[i]) || (number != NULL && pattern[i] != '_')) {
            return false;
        }
    }
    return true;
}

/* The day and the time of a second, or of the epoch if its year does not have four digits. */
static void read_clock(int64_t time_s, struct tm *tm)
{
    time_t time = time_s >= first_s && time_s <= last_s ? time_s : 0;
    gmtime_r(&time, tm);
}

/* A two-digit year is the latest that is not more than 50 years from now (RFC 9110 section 5.6.7). */
static void settle_century(struct date *date, int64_t now_s)
{
    struct tm now;
    read_clock(now_s, &now);
    struct date horizon = {now.tm_year + 1900 + 50, now.tm_mon, now.tm_mday, now.tm_hour, now.tm_min, now.tm_sec};
    date->year += horizon.year / 100 * 100;
    if (date_to_seconds(date) > date_to_seconds(&horizon)) {
        date->year -= 100;
    }
}

/* The length of the day's name at the beginning of text and of what separates it from the date, or 0. */
static size_t match_long_day_name(const char *text, size_t len)
{
    for (size_t i = 0; i < sizeof long_day_names / sizeof long_day_names[0]; i++) {
        size_t name_len = strlen(long_day_names[i]);
        if (len > name_len && memcmp(text, long_day_names[i], name_len) == 0) {
            return name_len;
        }
    }
    return 0;
}

static bool begins_with_day_name(const char *text, size_t len)
{
    for (size_t i = 0; len >= 3 && i < sizeof day_names - 1; i += 3) {
        if (memcmp(text, day_names + i, 3) == 0) {
            return true;
        }
    }
    return false;
}

bool http_date_parse(const char *text, size_t len, int64_t now_s, int64_t *time_s)
{
    if (!begins_with_day_name(text, len)) {
        return false;
    }
    struct date date;
    size_t name_len = match_long_day_name(text, len);
    if (name_len > 0) { /* obsolete RFC 850 format */
        if (!match_date(text + name_len, len - name_len, "DD-NNN-YY hh:mm:ss GMT", &date)) {
            return false;
        }
        settle_century(&date, now_s);
    } else if (!match_date(text + 3, len - 3, ", DD NNN YYYY hh:mm:ss GMT", &date) && /* IMF-fixdate */
               !match_date(text + 3, len - 3, " NNN _D hh:mm:ss YYYY", &date)) {      /* ANSI C's asctime() */
        return false;
    }
    if (!is_valid_date(&date)) {
        return false;
    }
    int64_t seconds = date_to_seconds(&date);
    if (seconds < first_s || seconds > last_s) { /* the leap second of the last day, or a clock close to either end */
        return false;
    }
    *time_s = seconds;
    return true;
}

void http_date_format(int64_t time_s, char text[HTTP_DATE_LEN])
{
    struct tm tm;
    read_clock(time_s, &tm);
    unsigned year = (unsigned)tm.tm_year + 1900;
    char line[64];
    snprintf(line, sizeof line, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT", day_names + (size_t)tm.tm_wday * 3,
             (unsigned)tm.tm_mday, month_names + (size_t)tm.tm_mon * 3, year, (unsigned)tm.tm_hour, (unsigned)tm.tm_min,
             (unsigned)tm.tm_sec);
    memcpy(text, line, HTTP_DATE_LEN);
}
