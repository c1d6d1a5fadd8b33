/* Happy path: the queue is empty and the stream takes the whole line, so a line costs one write(2), no memory and no
 * thread.
 *
 * No write may block, but the flags of an inherited description are not ours to change: O_NONBLOCK would affect the
 * shell that shares its terminal with us. So a pipe or a terminal is opened a second time, for a description of our
 * own; a socket, which cannot be, is sent to with MSG_DONTWAIT; a file never waits for a reader. A pipe of another user
 * cannot be opened again: it is polled for room first, and gets at most PIPE_BUF bytes, which then fit (pipe(7)),
 * unless another process fills the pipe at that moment.
 *
 * Failure modes: if the reader stalls, lines are queued, and dropped once the queue is full. If the reader has gone,
 * the disk is full, or there is no memory for the queue, lines are lost. All of them are counted, and reported once a
 * line gets through. */

#include "core/program/log_stream.h"

#include "core/log.h"
#include "core/program/sys_stream.h"
#include "core/sys.h"
#include "core/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    HEAD_MAX = 128,
    TEXT_MAX = HEAD_MAX + LOG_LINE_MAX + 1, /* a whole line with its newline, and a NUL */
    LOOK_MS = 100,                          /* how often the thread checks whether it should end */
};

void log_stream_init(struct log_stream *stream, int fd)
{
    *stream = (struct log_stream){.fd = fd, .kind = LOG_STREAM_PLAIN, .is_holding = true};
    pthread_mutex_init(&stream->lock, NULL);
    write_buffer_init(&stream->held);
    write_buffer_init(&stream->queue);
    struct stat st;
    if (sys_stat(fd, &st) < 0) {
        return;
    }
    if (S_ISSOCK(st.st_mode)) {
        stream->kind = LOG_STREAM_SOCKET;
    } else if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)) {
        char path[32];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        int own = sys_open(AT_FDCWD, path, O_WRONLY | O_NONBLOCK | O_NOCTTY);
        stream->is_own = own >= 0;
        stream->fd = own >= 0 ? own : fd;
        stream->kind = own >= 0 ? LOG_STREAM_PLAIN : LOG_STREAM_ASKED;
    }
}

/* Write as much as the stream takes without waiting. Returns the number of bytes, 0 for none at present, or -errno. */
static ssize_t give(const struct log_stream *stream, const char *data, size_t len)
{
    ssize_t put;
    do {
        if (stream->kind == LOG_STREAM_SOCKET) {
            put = sys_send_now(stream->fd, data, len);
        } else if (stream->kind == LOG_STREAM_ASKED && sys_wait_writable(stream->fd, 0) <= 0) {
            put = -EAGAIN;
        } else {
            put = sys_write(stream->fd, data, stream->kind == LOG_STREAM_ASKED && len > PIPE_BUF ? PIPE_BUF : len);
        }
    } while (put == -EINTR);
    return put == -EAGAIN ? 0 : put;
}

static void lose(struct log_stream *stream, unsigned lines, int error)
{
    stream->lost_lines += lines;
    stream->error = error;
}

/* Put the time and the level in front of a line. */
static void write_head(int level, char head[HEAD_MAX])
{
    char when[80] = "";
    time_t now = (time_t)sys_wall_time_s();
    struct tm tm;
    if (gmtime_r(&now, &tm) != NULL) {
        snprintf(when, sizeof when, "%04d-%02d-%02dT%02d:%02d:%02dZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
                 tm.tm_hour, tm.tm_min, tm.tm_sec);
    }
    snprintf(head, HEAD_MAX, "%s %s ", when, log_level_name(level));
}

/* Queue a line with the number of lost lines. */
static void queue_report(struct log_stream *stream)
{
    char head[HEAD_MAX], text[TEXT_MAX];
    write_head(LOG_WARN, head);
    int len = snprintf(text, sizeof text, "%s%u line%s of the log %s dropped because standard error %s%s\n", head,
                       stream->lost_lines, stream->lost_lines == 1 ? "" : "s", stream->lost_lines == 1 ? "was" : "were",
                       stream->error == 0 ? "was not read" : "could not be written: ",
                       stream->error == 0 ? "" : errno_text(-stream->error));
    if (write_buffer_append(&stream->queue, text, (size_t)len, SIZE_MAX) == 0) {
        stream->reported_lines += stream->lost_lines;
        stream->lost_lines = 0;
    }
}

/* The stream has taken some bytes. */
static void on_progress(struct log_stream *stream)
{
    if (write_buffer_len(&stream->queue) <= LOG_STREAM_QUEUE_MAX / 2) {
        stream->is_dropping = false;
        if (stream->lost_lines > 0) {
            queue_report(stream);
        }
    }
}

/* Write the queue. Returns whether something is left in it. */
static bool flush(struct log_stream *stream)
{
    struct write_buffer *queue = &stream->queue;
    ssize_t put = 1;
    while (put > 0 && write_buffer_len(queue) > 0) {
        put = give(stream, write_buffer_data(queue), write_buffer_len(queue));
        if (put > 0) {
            write_buffer_consume(queue, (size_t)put);
            on_progress(stream);
        }
    }
    if (put < 0) {
        write_buffer_consume(queue, write_buffer_len(queue));
        stream->is_dropping = false;
        lose(stream, stream->queued_lines + stream->reported_lines, (int)put);
    }
    if (write_buffer_len(queue) > 0) {
        return true;
    }
    stream->queued_lines = stream->reported_lines = 0;
    write_buffer_done(queue);
    return false;
}

static void *drain(void *arg)
{
    struct log_stream *stream = arg;
    pthread_mutex_lock(&stream->lock);
    while (flush(stream) && !stream->is_ending) {
        pthread_mutex_unlock(&stream->lock);
        (void)sys_wait_writable(stream->fd, LOOK_MS);
        pthread_mutex_lock(&stream->lock);
    }
    stream->is_draining = false;
    pthread_mutex_unlock(&stream->lock);
    return NULL;
}

static void join(struct log_stream *stream)
{
    if (stream->has_thread) {
        pthread_join(stream->thread, NULL);
        stream->has_thread = false;
    }
}

/* Have the queue written. If no thread can be started, the next line tries again. */
static void start_draining(struct log_stream *stream)
{
    if (stream->is_draining || !flush(stream)) {
        return;
    }
    join(stream); /* it is about to end */
    stream->has_thread = stream->is_draining = thread_start(&stream->thread, drain, stream) == 0;
}

/* Write a line; queue what the stream does not take, or count the line as lost. */
static void put_line(struct log_stream *stream, const char *text, size_t len)
{
    size_t done = 0;
    if (write_buffer_len(&stream->queue) == 0) {
        ssize_t put = give(stream, text, len);
        if (put < 0) {
            lose(stream, 1, (int)put);
            return;
        }
        done = (size_t)put;
        if (done == len && stream->lost_lines > 0) {
            on_progress(stream);
        }
    }
    int rv = stream->is_dropping ? -ENOBUFS
             : done < len        ? write_buffer_append(&stream->queue, text + done, len - done, LOG_STREAM_QUEUE_MAX)
                                 : 0;
    if (rv < 0) {
        stream->is_dropping = rv == -ENOBUFS;
        lose(stream, 1, stream->is_dropping ? 0 : rv);
    } else {
        stream->queued_lines += done < len;
    }
    if (write_buffer_len(&stream->queue) > 0) {
        start_draining(stream);
    }
}

static void release(struct log_stream *stream)
{
    stream->is_holding = false;
    if (write_buffer_len(&stream->held) == 0) {
        return;
    }
    if (write_buffer_len(&stream->queue) == 0) {
        stream->queue = stream->held;
        write_buffer_init(&stream->held);
        stream->queued_lines = stream->held_lines;
    } else if (write_buffer_append(&stream->queue, write_buffer_data(&stream->held), write_buffer_len(&stream->held),
                                   2 * (size_t)LOG_STREAM_QUEUE_MAX) == 0) {
        stream->queued_lines += stream->held_lines;
    } else {
        lose(stream, stream->held_lines, -ENOMEM);
    }
    write_buffer_done(&stream->held);
    start_draining(stream);
}

/* Hold a line back, if it can be. */
static bool hold(struct log_stream *stream, const char *text, size_t len)
{
    bool is_held = stream->is_holding && write_buffer_append(&stream->held, text, len, LOG_STREAM_QUEUE_MAX) == 0;
    stream->held_lines += is_held;
    return is_held;
}

void log_stream_write(void *arg, int level, const char *line)
{
    struct log_stream *stream = arg;
    char head[HEAD_MAX], text[TEXT_MAX], shown[LOG_LINE_MAX];
    write_head(level, head);
    log_line(shown, line, strlen(line)); /* the program's own lines may contain errors of scripts */
    size_t len = (size_t)snprintf(text, sizeof text, "%s%s\n", head, shown);
    pthread_mutex_lock(&stream->lock);
    if (!hold(stream, text, len)) {
        if (stream->is_holding) {
            release(stream);
        }
        put_line(stream, text, len);
    }
    pthread_mutex_unlock(&stream->lock);
}

void log_stream_print(struct log_stream *stream, const char *line)
{
    char text[TEXT_MAX], shown[LOG_LINE_MAX];
    log_line(shown, line, strlen(line));
    size_t len = (size_t)snprintf(text, sizeof text, "%s\n", shown);
    pthread_mutex_lock(&stream->lock);
    put_line(stream, text, len);
    pthread_mutex_unlock(&stream->lock);
}

void log_stream_release(struct log_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    release(stream);
    pthread_mutex_unlock(&stream->lock);
}

void log_stream_done(struct log_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    stream->is_ending = true;
    pthread_mutex_unlock(&stream->lock);
    join(stream);
    int64_t end_ns = sys_now_ns() + LOG_STREAM_END_MS * 1000000LL;
    int64_t left_ns = end_ns;
    while (left_ns > 0 && flush(stream)) {
        (void)sys_wait_writable(stream->fd, LOOK_MS);
        left_ns = end_ns - sys_now_ns();
    }
    write_buffer_done(&stream->held);
    write_buffer_done(&stream->queue);
    if (stream->is_own) {
        sys_close(stream->fd);
    }
    pthread_mutex_destroy(&stream->lock);
}
