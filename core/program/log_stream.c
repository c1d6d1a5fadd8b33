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
 * line gets through. A disk that takes a part of a line leaves a torn one, which a newline of its own ends. */

#include "core/program/log_stream.h"

#include "core/log.h"
#include "core/program/sys_stream.h"
#include "core/sys.h"
#include "core/sys_append.h"
#include "core/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    LOOK_MS = 100,        /* how often the thread checks whether it should end */
    LOG_FILE_MODE = 0640, /* of a file that is made */
};

/* How to write to fd. */
static enum log_stream_kind inherited_kind(const struct log_stream *stream)
{
    struct stat st;
    if (sys_stat(stream->fd, &st) < 0 || stream->is_own) {
        return LOG_STREAM_PLAIN;
    }
    return S_ISSOCK(st.st_mode)                          ? LOG_STREAM_SOCKET
           : S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode) ? LOG_STREAM_ASKED
                                                         : LOG_STREAM_PLAIN;
}

void log_stream_init(struct log_stream *stream, int fd)
{
    *stream = (struct log_stream){.fd = fd, .level = LOG_INFO, .is_holding = true};
    pthread_mutex_init(&stream->lock, NULL);
    write_buffer_init(&stream->held);
    write_buffer_init(&stream->queue);
    stream->kind = inherited_kind(stream);
    if (stream->kind == LOG_STREAM_ASKED) {
        char path[32];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        int own = sys_open(AT_FDCWD, path, O_WRONLY | O_NONBLOCK | O_NOCTTY);
        stream->is_own = own >= 0;
        stream->fd = own >= 0 ? own : fd;
        stream->kind = own >= 0 ? LOG_STREAM_PLAIN : LOG_STREAM_ASKED;
    }
}

/* Files. */

/* Open the file of the log, or make it, which *is_new tells. Returns its fd, or -errno with a text in err. */
static int open_log_file(const char *path, bool *is_new, char *err, size_t errlen)
{
    int fd = sys_open_append(AT_FDCWD, path, false, 0);
    *is_new = fd == -ENOENT;
    if (*is_new) {
        fd = sys_open_append(AT_FDCWD, path, true, LOG_FILE_MODE);
    }
    return fd < 0 ? error_text(err, errlen, fd, "cannot open the log %s: %s%s", path, errno_text(-fd),
                               fd == -ENXIO ? " (nobody reads the pipe)" : "")
                  : fd;
}

int log_stream_open(struct log_stream *stream, const char *path, char *err, size_t errlen)
{
    int fd = open_log_file(path, &stream->is_made, err, errlen);
    if (fd < 0) {
        return fd;
    }
    if (stream->is_own) {
        sys_close(stream->fd);
    }
    stream->fd = fd;
    stream->is_own = true;
    stream->kind = LOG_STREAM_PLAIN;
    stream->path = path;
    return 0;
}

int log_stream_give(const struct log_stream *stream, uid_t user, gid_t group)
{
    return stream->is_made ? sys_give_file(stream->fd, user, group) : 0;
}

int log_stream_reopen(struct log_stream *stream, char *err, size_t errlen)
{
    bool is_new;
    int fd = stream->path == NULL ? 0 : open_log_file(stream->path, &is_new, err, errlen);
    if (fd <= 0) {
        return fd;
    }
    pthread_mutex_lock(&stream->lock);
    int rv = sys_replace_fd(stream->fd, fd); /* the thread may be waiting for it: its number stays the same */
    stream->is_within_line = stream->is_within_line && (rv < 0 || write_buffer_len(&stream->queue) > 0);
    pthread_mutex_unlock(&stream->lock);
    sys_close(fd);
    return rv < 0 ? error_text(err, errlen, rv, "cannot open the log %s: %s", stream->path, errno_text(-rv)) : 0;
}

void log_stream_set_format(struct log_stream *stream, enum log_format format, int level)
{
    stream->format = format;
    stream->level = level;
}

/* Writing. */

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

/* The same, and note whether the rest of a line is still to come. */
static ssize_t give_on(struct log_stream *stream, const char *data, size_t len)
{
    ssize_t put = give(stream, data, len);
    if (put > 0) {
        stream->is_within_line = data[put - 1] != '\n';
    }
    return put;
}

static void lose(struct log_stream *stream, unsigned lines, int error)
{
    stream->lost_lines += lines;
    stream->error = error;
}

/* Queue a line with the number of lost lines. */
static void queue_report(struct log_stream *stream)
{
    char line[LOG_LINE_MAX], text[LOG_TEXT_MAX];
    snprintf(line, sizeof line, "%u line%s of the log %s dropped because %s %s%s", stream->lost_lines,
             stream->lost_lines == 1 ? "" : "s", stream->lost_lines == 1 ? "was" : "were",
             stream->path == NULL ? "standard error" : stream->path,
             stream->error == 0 ? "was not read" : "could not be written: ",
             stream->error == 0 ? "" : errno_text(-stream->error));
    const struct log_entry entry = {.level = LOG_WARN, .text = line};
    size_t len = log_text_write(text, stream->format, &entry, sys_wall_time_ms());
    if (write_buffer_append(&stream->queue, text, len, SIZE_MAX) == 0) {
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
        put = give_on(stream, write_buffer_data(queue), write_buffer_len(queue));
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

static void emit(void *arg, const struct log_entry *entry);

static void *drain(void *arg)
{
    struct log_stream *stream = arg;
    pthread_mutex_lock(&stream->lock);
    bool is_full;
    while (((is_full = flush(stream)) || stream->limit.hiding > 0) && !stream->is_ending) {
        pthread_mutex_unlock(&stream->lock);
        if (is_full) {
            (void)sys_wait_writable(stream->fd, LOOK_MS);
        } else {
            sys_sleep_ms(LOOK_MS);
        }
        pthread_mutex_lock(&stream->lock);
        log_limit_expire(&stream->limit, sys_now_ns() / 1000000, emit, stream);
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

/* Have the queue written, and hidden lines counted when their time has come. If no thread can be started, the next line
 * tries again. */
static void start_draining(struct log_stream *stream)
{
    if (stream->is_draining || (!flush(stream) && stream->limit.hiding == 0)) {
        return;
    }
    join(stream); /* it is about to end */
    stream->has_thread = stream->is_draining = thread_start(&stream->thread, drain, stream) == 0;
}

/* The rest of the last line was lost with the queue: no other line may continue it. */
static void end_torn_line(struct log_stream *stream)
{
    if (stream->is_within_line && write_buffer_len(&stream->queue) == 0 && give_on(stream, "\n", 1) == 0) {
        (void)write_buffer_append(&stream->queue, "\n", 1, SIZE_MAX);
    }
}

/* Write a line; queue what the stream does not take, or count the line as lost. */
static void put_line(struct log_stream *stream, const char *text, size_t len)
{
    size_t done = 0;
    end_torn_line(stream);
    if (write_buffer_len(&stream->queue) == 0) {
        ssize_t put = give_on(stream, text, len);
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

/* Write an entry. With the lock. */
static void emit(void *arg, const struct log_entry *entry)
{
    struct log_stream *stream = arg;
    char text[LOG_TEXT_MAX];
    size_t len = log_text_write(text, stream->format, entry, sys_wall_time_ms());
    if (!hold(stream, text, len)) {
        if (stream->is_holding) {
            release(stream);
        }
        put_line(stream, text, len);
    }
}

static void take_limited(struct log_stream *stream, const struct log_entry *entry)
{
    pthread_mutex_lock(&stream->lock);
    if (log_limit_take(&stream->limit, entry, sys_now_ns() / 1000000, emit, stream)) {
        emit(stream, entry);
    } else {
        start_draining(stream);
    }
    pthread_mutex_unlock(&stream->lock);
}

void log_stream_take(void *arg, const struct evs_log_entry *entry)
{
    struct log_field fields[LOG_FIELDS_MAX];
    unsigned count = entry->field_count < LOG_FIELDS_MAX ? entry->field_count : (unsigned)LOG_FIELDS_MAX;
    for (unsigned i = 0; i < count; i++) {
        fields[i] = (struct log_field){entry->fields[i].name, entry->fields[i].text, entry->fields[i].is_number != 0};
    }
    const struct log_entry taken = {
        .level = entry->level,
        .text = entry->text,
        .subject = {.client = entry->client,
                    .request_id = entry->request_id,
                    .place = entry->place,
                    .fields = fields,
                    .field_count = count},
    };
    take_limited(arg, &taken);
}

void log_stream_write(void *arg, int level, const char *line)
{
    char shown[LOG_LINE_MAX];
    log_line(shown, line, strlen(line)); /* the program's own lines may contain errors of scripts */
    const struct log_entry entry = {.level = level, .text = shown};
    const struct log_stream *stream = arg;
    if (level <= stream->level) {
        take_limited(arg, &entry);
    }
}

void log_stream_print(struct log_stream *stream, int level, const char *line)
{
    char text[LOG_TEXT_MAX], shown[LOG_LINE_MAX];
    log_line(shown, line, strlen(line));
    size_t len = (size_t)snprintf(text, sizeof text, "%s\n", shown);
    if (stream->path == NULL && stream->format != LOG_FORMAT_TEXT) { /* a program reads it */
        const struct log_entry entry = {.level = level, .text = shown};
        len = log_text_write(text, stream->format, &entry, sys_wall_time_ms());
    }
    if (stream->path != NULL) {
        struct log_stream standard;
        log_stream_init(&standard, STDERR_FILENO);
        (void)give(&standard, text, len);
        log_stream_done(&standard);
        log_stream_write(stream, level, line);
        return;
    }
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
    log_limit_expire(&stream->limit, INT64_MAX, emit, stream);
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
