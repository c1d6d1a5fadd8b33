/* Happy path: sessions lie in a ring, the latest one last. To find one, all are looked at, from the latest on: with 256
 * of them that is nothing beside a handshake.
 *
 * Failure modes: a session that is too old, or whose server's certificate has expired since, is dropped. */

#include "core/tls_sessions.h"

#include "core/mem.h"
#include "core/sys.h"
#include "core/tls_openssl.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#ifdef EVSERVE_HAS_TLS

struct kept_session {
    SSL_SESSION *session; /* one reference */
    char *server;         /* owned */
    uint64_t context;
    int64_t until_s; /* of the wall clock */
};

struct tls_sessions {
    struct kept_session list[TLS_SESSIONS_MAX]; /* count of them, the oldest one first */
    size_t count;
};

struct tls_sessions *tls_sessions_create(void)
{
    return mem_zalloc(sizeof(struct tls_sessions));
}

/* Take the n-th one out. What it held is the caller's. */
static struct kept_session remove_session(struct tls_sessions *sessions, size_t n)
{
    struct kept_session removed = sessions->list[n];
    sessions->count--;
    memmove(&sessions->list[n], &sessions->list[n + 1], (sessions->count - n) * sizeof sessions->list[0]);
    return removed;
}

static void drop_session(struct tls_sessions *sessions, size_t n)
{
    struct kept_session dropped = remove_session(sessions, n);
    SSL_SESSION_free(dropped.session);
    mem_free(dropped.server);
}

void tls_sessions_destroy(struct tls_sessions *sessions)
{
    if (sessions != NULL) {
        while (sessions->count > 0) {
            drop_session(sessions, sessions->count - 1);
        }
        mem_free(sessions);
    }
}

static bool is_of(const struct kept_session *kept, uint64_t context, const char *server)
{
    return kept->context == context && strcmp(kept->server, server) == 0;
}

/* Make room for one more of a server. */
static void make_session_room(struct tls_sessions *sessions, uint64_t context, const char *server)
{
    size_t of_server = 0;
    for (size_t i = sessions->count; i > 0; i--) {
        if (is_of(&sessions->list[i - 1], context, server) && ++of_server >= TLS_SESSIONS_OF_SERVER) {
            drop_session(sessions, i - 1);
        }
    }
    if (sessions->count == TLS_SESSIONS_MAX) {
        drop_session(sessions, 0);
    }
}

void tls_sessions_put(struct tls_sessions *sessions, uint64_t context, const char *server,
                      struct ssl_session_st *session)
{
    char *copy = mem_copy_text(server);
    if (copy == NULL) {
        SSL_SESSION_free(session);
        return;
    }
    make_session_room(sessions, context, server);
    sessions->list[sessions->count++] = (struct kept_session){.session = session,
                                                              .server = copy,
                                                              .context = context,
                                                              .until_s = sys_wall_time_s() + TLS_SESSION_KEPT_S};
}

/* Whether it may be resumed now: also a clock that was set back makes an end of it. */
static bool is_good(const struct kept_session *kept)
{
    time_t now = (time_t)sys_wall_time_s();
    const X509 *leaf = SSL_SESSION_get0_peer(kept->session);
    return now < kept->until_s && now >= kept->until_s - TLS_SESSION_KEPT_S &&
           SSL_SESSION_is_resumable(kept->session) == 1 &&
           (leaf == NULL || X509_cmp_time(X509_get0_notAfter(leaf), &now) > 0);
}

struct ssl_session_st *tls_sessions_take(struct tls_sessions *sessions, uint64_t context, const char *server)
{
    for (size_t i = sessions->count; i > 0; i--) {
        struct kept_session *kept = &sessions->list[i - 1];
        if (!is_of(kept, context, server)) {
            continue;
        }
        if (!is_good(kept)) {
            drop_session(sessions, i - 1);
            continue;
        }
        SSL_SESSION *session = kept->session;
        if (SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION) {
            mem_free(remove_session(sessions, i - 1).server);
        } else if (SSL_SESSION_up_ref(session) != 1) {
            session = NULL;
        }
        return session;
    }
    return NULL;
}

void tls_sessions_forget(struct tls_sessions *sessions, uint64_t context, const char *server)
{
    for (size_t i = sessions->count; i > 0; i--) {
        if (is_of(&sessions->list[i - 1], context, server)) {
            drop_session(sessions, i - 1);
        }
    }
}

#endif
