#ifndef EVSERVE_HTTP_SOURCE_H
#define EVSERVE_HTTP_SOURCE_H

/* Content that is sent from where it is: borrowed memory, or a range of a file; or that is made on the way out. Nothing here knows whose file it
 * is, or how the content is framed. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct exchange;

/* Memory that is sent from where it is. */
struct borrowed {
    const char *data;           /* first byte still to be sent */
    size_t len;                 /* bytes still to be sent */
    void (*release)(void *arg); /* called once, when the bytes are no longer needed; may be NULL */
    void *arg;                  /* handed to release */
};

/* A range of an open file. Its owner keeps fd open, and *has_no_sendfile, until release(). */
struct file_range {
    int fd;                  /* open for reading */
    int64_t offset;          /* next byte to send */
    uint64_t len;            /* bytes still to send */
    bool *has_no_sendfile;   /* the file does not support sendfile(2): set by the first call that fails */
    int (*check)(void *arg); /* whether the file is still what the head announced: 0, -EAGAIN: look again, or -errno */
    void (*release)(void *arg); /* called once, when the range is no longer needed */
    void *arg;                  /* handed to both */
    int64_t doubted_ms;         /* when check() first said -EAGAIN, else 0 */
    bool is_checked;            /* check() said 0 in this turn */
};

/* Content that does not exist yet: struct continuation makes it when the queue is short, once in a turn. */
struct made_content {
    bool has_run; /* in this turn */
};

enum source_kind { SOURCE_NONE, SOURCE_BORROWED, SOURCE_FILE, SOURCE_MADE };

/* How the content goes on behind the range that is being sent, if it is not in one piece. */
struct continuation {
    /* The range is sent: queue bytes (response_queue()) and set the range behind them (response_set_file()). Without a
     * new range the content ends behind what was queued. Returns 0 or -errno, which cuts the connection. NULL for
     * content that has no further range. */
    int (*next)(struct exchange *exchange, void *arg);
    void (*release)(void *arg); /* called once, when the response is over or lost; may be NULL */
    void *arg;                  /* handed to both */
};

/* One range, and what comes after it. Zeroed: nothing. */
struct source {
    enum source_kind kind;    /* which member of the union holds */
    struct continuation then; /* until the response is over */
    union {
        struct borrowed borrowed; /* of SOURCE_BORROWED */
        struct file_range file;   /* of SOURCE_FILE */
        struct made_content made; /* of SOURCE_MADE */
    };
};

/* Read the next len bytes of a range, at most all of them, into data, and move on. Returns 0, -ENODATA when the file
 * ends before that, since what was announced cannot be sent, or -errno. */
int source_read_file(struct file_range *file, char *data, size_t len);

/* The range is sent: release it and go on to the next one, if there is one. Returns 0, or -errno when the response
 * cannot be completed. exchange is handed to source->then.next(). For the framing. */
int source_next(struct source *source, struct exchange *exchange);

/* Release the range and how it would go on: it is sent, or never will be. The source is then as zeroed. */
void source_release(struct source *source);

/* Whether there is anything to release. */
static inline bool source_is_used(const struct source *source)
{
    return source->kind != SOURCE_NONE || source->then.release != NULL;
}

#endif
