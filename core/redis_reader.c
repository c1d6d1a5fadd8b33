/* Happy path: hiredis parses what it is fed into a tree of replies, which is handed out one by one.
 *
 * hiredis is loaded, as zlib is, so it costs nothing until a broker is asked for. Of its interface the few parts that
 * are used are declared here. Its replies have had two layouts, of 0.14 and of 1.x: which one a library has is told by
 * a function that came with 1.0, and tried with a reply before the library is used.
 *
 * hiredis allocates with malloc(3), not with mem.h: hiredisSetAllocators() would hold for all of the host's process.
 *
 * Failure modes: hiredis is not there, or is one whose layout is neither; what comes is not RESP; a reply is larger
 * than any that was asked for. */

#include "core/redis_reader.h"

#include "core/mem.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

bool redis_reply_is(const struct redis_reply *reply, const char *text)
{
    return reply->text != NULL && reply->len == strlen(text) && memcmp(reply->text, text, reply->len) == 0;
}

#ifdef EVSERVE_HAS_HIREDIS

/* redisReply of hiredis 0.14. */
struct hiredis_reply_0 {
    int type;
    long long integer;
    size_t len;
    char *str;
    size_t elements;
    void **element;
};

/* redisReply of hiredis 1.x. */
struct hiredis_reply_1 {
    int type;
    long long integer;
    double dval;
    size_t len;
    char *str;
    char vtype[4];
    size_t elements;
    void **element;
};

/* The beginning of redisReader in all versions. */
struct hiredis_reader {
    int err;
    char errstr[128];
};

enum { HIREDIS_OK = 0, HIREDIS_NO_MEMORY = 5 };

/* redisReply.type. */
enum { HIREDIS_TEXT = 1, HIREDIS_LIST, HIREDIS_NUMBER, HIREDIS_NIL, HIREDIS_STATUS, HIREDIS_ERROR };

/* The newest first: they differ in what is not used here. */
static const char *const hiredis_names[] = {"libhiredis.so.1.3.0", "libhiredis.so.1.2.0", "libhiredis.so.1.1.0",
                                            "libhiredis.so.1.0.0", "libhiredis.so.0.14",  "libhiredis.so"};

struct redis_reader {
    struct hiredis_reader *hiredis;
    void *reply;    /* that was handed out last, or NULL */
    size_t pending; /* bytes fed since the last whole reply */
};

/* The functions of hiredis. */
static struct {
    bool is_there, is_1;
    struct hiredis_reader *(*create)(void);
    void (*free)(struct hiredis_reader *reader);
    int (*feed)(struct hiredis_reader *reader, const char *data, size_t len);
    int (*get)(struct hiredis_reader *reader, void **reply);
    void (*free_reply)(void *reply);
} hiredis_calls;
static pthread_once_t hiredis_once = PTHREAD_ONCE_INIT;

static struct redis_reply see_reply(const void *of_hiredis)
{
    struct hiredis_reply_1 seen;
    if (hiredis_calls.is_1) {
        memcpy(&seen, of_hiredis, sizeof seen);
    } else {
        struct hiredis_reply_0 old;
        memcpy(&old, of_hiredis, sizeof old);
        seen = (struct hiredis_reply_1){.type = old.type,
                                        .integer = old.integer,
                                        .len = old.len,
                                        .str = old.str,
                                        .elements = old.elements,
                                        .element = old.element};
    }
    switch (seen.type) {
    case HIREDIS_LIST:
        return (struct redis_reply){.kind = REDIS_LIST, .count = seen.elements, .items = seen.element};
    case HIREDIS_NUMBER:
        return (struct redis_reply){.kind = REDIS_NUMBER, .number = seen.integer};
    case HIREDIS_NIL:
        return (struct redis_reply){.kind = REDIS_NOTHING};
    default: /* those of version 3 are not asked for: some have a text */
        if (seen.str == NULL) {
            return (struct redis_reply){.kind = REDIS_NOTHING};
        }
        return (struct redis_reply){.kind = seen.type == HIREDIS_STATUS  ? REDIS_STATUS
                                            : seen.type == HIREDIS_ERROR ? REDIS_ERROR
                                                                         : REDIS_TEXT,
                                    .text = seen.str,
                                    .len = seen.len};
    }
}

/* Write the function called name to call, a pointer to one. */
static bool find_hiredis_call(void *library, const char *name, void *call)
{
    void *found = dlsym(library, name);
    memcpy(call, &found, sizeof found);
    return found != NULL;
}

/* Whether a reply is read as it is meant. */
static bool try_hiredis(void)
{
    static const char sample[] = "*2\r\n$4\r\nlike\r\n:7\r\n";
    void *made = NULL;
    struct hiredis_reader *reader = hiredis_calls.create();
    bool is_good = reader != NULL && hiredis_calls.feed(reader, sample, sizeof sample - 1) == HIREDIS_OK &&
                   hiredis_calls.get(reader, &made) == HIREDIS_OK && made != NULL;
    if (is_good) {
        struct redis_reply list = see_reply(made);
        is_good = list.kind == REDIS_LIST && list.count == 2 && list.items != NULL;
        struct redis_reply text = {.kind = REDIS_NOTHING}, number = text;
        if (is_good) {
            text = redis_reply_item(&list, 0);
            number = redis_reply_item(&list, 1);
        }
        is_good = redis_reply_is(&text, "like") && number.kind == REDIS_NUMBER && number.number == 7;
    }
    if (made != NULL) {
        hiredis_calls.free_reply(made);
    }
    if (reader != NULL) {
        hiredis_calls.free(reader);
    }
    return is_good;
}

static void load_hiredis(void)
{
    void *library = NULL;
    for (size_t i = 0; library == NULL && i < sizeof hiredis_names / sizeof hiredis_names[0]; i++) {
        library = dlopen(hiredis_names[i], RTLD_NOW | RTLD_LOCAL);
    }
    hiredis_calls.is_1 = library != NULL && dlsym(library, "hiredisSetAllocators") != NULL;
    hiredis_calls.is_there = library != NULL &&
                             find_hiredis_call(library, "redisReaderCreate", &hiredis_calls.create) &&
                             find_hiredis_call(library, "redisReaderFree", &hiredis_calls.free) &&
                             find_hiredis_call(library, "redisReaderFeed", &hiredis_calls.feed) &&
                             find_hiredis_call(library, "redisReaderGetReply", &hiredis_calls.get) &&
                             find_hiredis_call(library, "freeReplyObject", &hiredis_calls.free_reply) && try_hiredis();
}

bool redis_reader_is_there(void)
{
    pthread_once(&hiredis_once, load_hiredis);
    return hiredis_calls.is_there;
}

int redis_reader_create(struct redis_reader **made)
{
    if (!redis_reader_is_there()) {
        return -ENOSYS;
    }
    struct redis_reader *reader = mem_zalloc(sizeof *reader);
    if (reader == NULL) {
        return -ENOMEM;
    }
    reader->hiredis = hiredis_calls.create();
    if (reader->hiredis == NULL) {
        mem_free(reader);
        return -ENOMEM;
    }
    *made = reader;
    return 0;
}

static void drop_reply(struct redis_reader *reader)
{
    if (reader->reply != NULL) {
        hiredis_calls.free_reply(reader->reply);
        reader->reply = NULL;
    }
}

void redis_reader_destroy(struct redis_reader *reader)
{
    if (reader != NULL) {
        drop_reply(reader);
        hiredis_calls.free(reader->hiredis);
        mem_free(reader);
    }
}

static int reader_error(const struct redis_reader *reader)
{
    return reader->hiredis->err == HIREDIS_NO_MEMORY ? -ENOMEM : -EPROTO;
}

int redis_reader_feed(struct redis_reader *reader, const char *data, size_t len)
{
    if (len > REDIS_REPLY_BYTES_MAX - reader->pending) {
        return -EMSGSIZE;
    }
    reader->pending += len;
    return hiredis_calls.feed(reader->hiredis, data, len) == HIREDIS_OK ? 0 : reader_error(reader);
}

int redis_reader_next(struct redis_reader *reader, struct redis_reply *reply)
{
    drop_reply(reader);
    if (hiredis_calls.get(reader->hiredis, &reader->reply) != HIREDIS_OK) {
        return reader_error(reader);
    }
    if (reader->reply == NULL) {
        return 0;
    }
    reader->pending = 0;
    *reply = see_reply(reader->reply);
    return 1;
}

struct redis_reply redis_reply_item(const struct redis_reply *list, size_t n)
{
    const void *item;
    memcpy(&item, (const char *)list->items + n * sizeof item, sizeof item);
    return see_reply(item);
}

#else

bool redis_reader_is_there(void)
{
    return false;
}

int redis_reader_create(struct redis_reader **made)
{
    (void)made;
    return -ENOSYS;
}

void redis_reader_destroy(struct redis_reader *reader)
{
    (void)reader;
}

int redis_reader_feed(struct redis_reader *reader, const char *data, size_t len)
{
    (void)reader;
    (void)data;
    (void)len;
    return -ENOSYS;
}

int redis_reader_next(struct redis_reader *reader, struct redis_reply *reply)
{
    (void)reader;
    (void)reply;
    return -ENOSYS;
}

struct redis_reply redis_reply_item(const struct redis_reply *list, size_t n)
{
    (void)list;
    (void)n;
    return (struct redis_reply){.kind = REDIS_NOTHING};
}

#endif
