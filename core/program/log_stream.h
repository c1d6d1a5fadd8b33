#ifndef EVSERVE_CORE_PROGRAM_LOG_STREAM_H
#define EVSERVE_CORE_PROGRAM_LOG_STREAM_H

/* A sink for log lines, for programs: each line goes to standard error or to a file, as log_text.h writes it, unless
 * too many come from one place (log_limit.h).
 *
 * Writing a line never waits for the reader of the stream. What the stream does not take at once is queued, and a
 * thread that exists only until the queue is empty writes it. When the queue is full, lines are dropped and counted,
 * and a line of the log reports their number as soon as there is room again. Lines can be held back until the program
 * has printed its own first line. */

#include "core/program/log_limit.h"
#include "core/program/log_text.h"
#include "core/write_buffer.h"
#include "evserve.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum {
    LOG_STREAM_QUEUE_MAX = 1 << 20, /* bytes that may wait for the reader, and that may be held back */
    LOG_STREAM_END_MS = 1000,       /* how long log_stream_done() waits for the reader */
};

/* How a stream is written to. */
enum log_stream_kind {
    LOG_STREAM_PLAIN,  /* write(2), which does not wait for a reader */
    LOG_STREAM_SOCKET, /* send(2) */
    LOG_STREAM_ASKED,  /* write(2), once poll(2) reports room */
};

struct log_stream {
    pthread_mutex_t lock;      /* any thread may log */
    int fd;                    /* to write to: a description of our own that does not block, or the borrowed one */
    enum log_stream_kind kind; /* how to write to fd */
    bool is_own;               /* fd is our own, to be closed */
    bool is_made;              /* the file was made when it was opened first */
    struct write_buffer held;  /* lines held back */
    struct write_buffer queue; /* what the stream has not taken yet */
    unsigned held_lines;       /* in held */
    unsigned queued_lines;     /* put into queue since it was empty */
    unsigned lost_lines;       /* dropped, and not yet reported */
    unsigned reported_lines;   /* in a report that is still queued */
    int error;                 /* why the last line was lost, -errno; 0: the queue was full */
    bool is_holding;           /* until log_stream_release() */
    bool is_dropping;          /* the queue was full, and is still more than half full */
    bool is_within_line;       /* the stream has taken the begin of a line, and not its end */
    bool is_ending;            /* log_stream_done() was called */
    bool has_thread;           /* thread must be joined */
    bool is_draining;          /* thread has not ended yet */
    pthread_t thread;          /* writes the queue, and counts the lines of a place once its span is over */
    enum log_format format;    /* of the lines */
    int level;                 /* the most verbose one that log_stream_write() writes */
    const char *path;          /* of the file that fd is; borrowed; NULL: it is an inherited stream */
    struct log_limit limit;    /* lines of one place */
};

/* Write to fd, which is borrowed and keeps its flags, since other processes may share it. Lines are held back from the
 * beginning. */
void log_stream_init(struct log_stream *stream, int fd);

/* Write to a file instead, which is made if it is not there (mode 0640), or to a FIFO. path is borrowed. Before the
 * first line. Returns 0, or -errno with a text in err. */
int log_stream_open(struct log_stream *stream, const char *path, char *err, size_t errlen);

/* A file that log_stream_open() has made gets this owner, who can then open it again. Returns 0 or -errno. */
int log_stream_give(const struct log_stream *stream, uid_t user, gid_t group);

/* Open the file again, since it was renamed, perhaps; nothing happens without one. Returns 0, or -errno with a text in
 * err and lines going on to where they went. */
int log_stream_reopen(struct log_stream *stream, char *err, size_t errlen);

/* How lines look from now on, and the most verbose level that log_stream_write() writes; LOG_FORMAT_TEXT and LOG_INFO
 * at first. */
void log_stream_set_format(struct log_stream *stream, enum log_format format, int level);

/* The sink for lines in parts (evserve_config.log_entry): arg is the stream. Any thread may call. */
void log_stream_take(void *arg, const struct evs_log_entry *entry);

/* The sink: arg is the stream. Any thread may call. If a line cannot be held back, the others are released, too. */
void log_stream_write(void *arg, int level, const char *line);

/* Say something to those who look at standard error: the line as it is, even while other lines are held back. With a
 * file, it is a line of the log of this level, too; without one, and in a format that programs read, it is in that
 * format. */
void log_stream_print(struct log_stream *stream, int level, const char *line);

/* Write what was held back; from now on lines are written at once. */
void log_stream_release(struct log_stream *stream);

/* Write what is queued, for LOG_STREAM_END_MS at most, and close. Lines still held back are dropped. No other thread
 * may log any more. */
void log_stream_done(struct log_stream *stream);

#endif
