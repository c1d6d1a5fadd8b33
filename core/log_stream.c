/* Nothing here fails: a line that cannot be written is lost. */

#include "core/log_stream.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/sys.h"

#include <string.h>
#include <time.h>

void log_stream_init(struct log_stream *stream, FILE *to)
{
    *stream = (struct log_stream){.to = to, .is_holding = true};
    pthread_mutex_init(&stream->lock, NULL);
}

/* Keep a line for later, if there is memory. */
static bool hold(struct log_stream *stream, const char *head, const char *line)
{
    size_t head_len = strlen(head), line_len = strlen(line);
    char *held = stream->is_holding ? mem_resize(stream->held, stream->held_len + head_len + line_len + 1) : NULL;
    if (held == NULL) {
        return false;
    }
    char *at = mempcpy(held + stream->held_len, head, head_len);
    at = mempcpy(at, line, line_len);
    *at = '\n';
    stream->held = held;
    stream->held_len += head_len + line_len + 1;
    return true;
}

void log_stream_write(void *arg, int level, const char *line)
{
    struct log_stream *stream = arg;
    char when[80] = "", head[128];
    time_t now = (time_t)sys_wall_time_s();
    struct tm tm;
    if (gmtime_r(&now, &tm) != NULL) {
        snprintf(when, sizeof when, "%04d-%02d-%02dT%02d:%02d:%02dZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
                 tm.tm_hour, tm.tm_min, tm.tm_sec);
    }
    snprintf(head, sizeof head, "%s %s ", when, log_level_name(level));
    pthread_mutex_lock(&stream->lock);
    if (!hold(stream, head, line)) {
        fprintf(stream->to, "%s%s\n", head, line);
    }
    pthread_mutex_unlock(&stream->lock);
}

void log_stream_release(struct log_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    if (stream->held != NULL) {
        fwrite(stream->held, 1, stream->held_len, stream->to);
    }
    mem_free(stream->held);
    stream->held = NULL;
    stream->held_len = 0;
    stream->is_holding = false;
    pthread_mutex_unlock(&stream->lock);
}

void log_stream_done(struct log_stream *stream)
{
    mem_free(stream->held);
    pthread_mutex_destroy(&stream->lock);
}
