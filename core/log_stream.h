#ifndef EVSERVE_CORE_LOG_STREAM_H
#define EVSERVE_CORE_LOG_STREAM_H

/* A sink for log lines, for programs: each goes to a stream with the time (UTC) and its level before it. A program that
 * wants to say something before its first line holds them back until it has. */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct log_stream {
    pthread_mutex_t lock; /* threads may log while the stream is released */
    FILE *to;             /* borrowed */
    char *held;           /* lines held back, NULL without any */
    size_t held_len;      /* bytes of them */
    bool is_holding;
};

/* Lines are held back from the beginning. */
void log_stream_init(struct log_stream *stream, FILE *to);

/* The sink: arg is the stream. A line that there is no memory to hold is written at once. Any thread may call. */
void log_stream_write(void *arg, int level, const char *line);

/* Write what was held back; from now on lines are written at once. Once is enough. */
void log_stream_release(struct log_stream *stream);

/* What is still held back is dropped. */
void log_stream_done(struct log_stream *stream);

#endif
