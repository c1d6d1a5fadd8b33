/* Happy path: a place has a span of a second from its first line on, in which its lines are counted. When it is over,
 * those that were not written are reported, and the place is free. No failure modes: there is always a place to
 * free. */

#include "core/program/log_limit.h"

#include <stdio.h>
#include <string.h>

/* Count the lines of a place that were not written, and free it. */
static void end_span(struct log_limit *limit, struct log_limit_place *place, log_limit_report_fn report, void *arg)
{
    unsigned hidden = place->count > LOG_LIMIT_LINES ? place->count - LOG_LIMIT_LINES : 0;
    if (hidden > 0) {
        char text[LOG_LIMIT_TEXT_MAX + 64];
        snprintf(text, sizeof text, "%u more line%s like this within a second: %s", hidden, hidden == 1 ? "" : "s",
                 place->text);
        const struct log_entry entry = {.level = place->level, .text = text};
        report(arg, &entry);
        limit->hiding--;
    }
    place->place = NULL;
    limit->used--;
}

void log_limit_expire(struct log_limit *limit, int64_t now_ms, log_limit_report_fn report, void *arg)
{
    for (unsigned i = 0; limit->used > 0 && i < LOG_LIMIT_PLACES; i++) {
        struct log_limit_place *place = &limit->places[i];
        if (place->place != NULL && place->until_ms <= now_ms) {
            end_span(limit, place, report, arg);
        }
    }
}

/* The entry of a place: its own, a free one, or the one that is over first. */
static struct log_limit_place *find_limited(struct log_limit *limit, const void *wanted, log_limit_report_fn report,
                                            void *arg)
{
    struct log_limit_place *free_one = NULL, *first = &limit->places[0];
    for (unsigned i = 0; i < LOG_LIMIT_PLACES; i++) {
        struct log_limit_place *place = &limit->places[i];
        if (place->place == wanted) {
            return place;
        }
        free_one = place->place == NULL && free_one == NULL ? place : free_one;
        first = place->until_ms < first->until_ms ? place : first;
    }
    if (free_one == NULL) {
        end_span(limit, first, report, arg);
        free_one = first;
    }
    return free_one;
}

/* Keep the begin of the line that stands for the others, up to the end of its first line. */
static void keep_begin(struct log_limit_place *place, const struct log_entry *entry)
{
    size_t len = strcspn(entry->text, "\n");
    if (len >= sizeof place->text) {
        len = sizeof place->text - 1;
        while (len > 0 && ((unsigned char)entry->text[len] & 0xc0) == 0x80) { /* within a character */
            len--;
        }
    }
    memcpy(place->text, entry->text, len);
    place->text[len] = '\0';
    place->level = entry->level;
}

bool log_limit_take(struct log_limit *limit, const struct log_entry *entry, int64_t now_ms, log_limit_report_fn report,
                    void *arg)
{
    log_limit_expire(limit, now_ms, report, arg);
    if (entry->subject.place == NULL || entry->level >= LOG_DEBUG) {
        return true;
    }
    struct log_limit_place *place = find_limited(limit, entry->subject.place, report, arg);
    if (place->place == NULL) {
        *place = (struct log_limit_place){.place = entry->subject.place, .until_ms = now_ms + LOG_LIMIT_SPAN_MS};
        limit->used++;
    }
    if (++place->count <= LOG_LIMIT_LINES) {
        return true;
    }
    if (place->count == LOG_LIMIT_LINES + 1) {
        keep_begin(place, entry);
        limit->hiding++;
    }
    return false;
}
