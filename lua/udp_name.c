/* Happy path: the resolver knows the name, or says so later; the socket is opened for an address of it. Datagrams have
 * no connection that would tell which address answers, so the first one has to do that may be used at all.
 *
 * Failure modes: the name has no address; all of them are denied; the socket cannot be opened. The text that says so
 * waits with the question, since what the resolver calls must not push text for Lua: that may raise. */

#include "lua/udp_name.h"

#include "core/ascii.h"
#include "core/dial.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/outbound.h"
#include "core/reactor.h"
#include "lua/coro.h"

#include <errno.h>
#include <string.h>

static const struct destination_policy *udp_policy(const struct script_udp *udp)
{
    static const struct destination_policy none = {.denied = NULL};
    return udp->script->outbound == NULL ? &none : &udp->script->outbound->links.policy;
}

int udp_open_peer(struct script_udp *udp, const struct destination *to, char *err, size_t errlen)
{
    int rv = destinations_check(udp_policy(udp), to, err, errlen);
    if (rv < 0) {
        return rv;
    }
    rv = udp_open(udp, to->address, to->len);
    if (rv == -ENOBUFS) {
        return error_text(err, errlen, rv, "too many sockets");
    }
    if (rv == -EPERM && udp_policy(udp)->allowed != NULL) {
        return error_text(err, errlen, rv,
                          "the sandbox has no UDP unless an --allow-connect names a host other than localhost, such as "
                          "stats.example.org:8125");
    }
    if (rv < 0) {
        error_text(err, errlen, rv, "%s", errno_text(-rv));
        for (char *at = err; *at != '\0'; at++) { /* as OpenResty has it */
            *at = ascii_lower(*at);
        }
    }
    return rv;
}

int udp_open_now(struct script_udp *udp, char *err, size_t errlen)
{
    if (udp->fd >= 0) {
        return 0;
    }
    if (udp->later_len == 0 || udp_is_early(udp->script)) {
        return -EBADF;
    }
    const struct sockaddr_storage later = udp->later; /* opening closes what was there */
    socklen_t len = udp->later_len;
    const struct destination to = {.address = (const struct sockaddr *)&later, .len = len};
    int rv = udp_open_peer(udp, &to, err, errlen);
    if (rv < 0) { /* the next call says so again, or succeeds */
        udp->later = later;
        udp->later_len = len;
    }
    return rv;
}

/* Open the socket for an address of a name. Returns 1, or -errno with a text in err. */
static int open_for_answer(struct script_udp *udp, const char *name, uint16_t port,
                           const struct resolver_answer *answer, char *err, size_t errlen)
{
    int rv = answer->error;
    if (rv < 0) {
        char text[RESOLVER_TEXT_MAX];
        resolver_explain(text, name, rv);
        return error_text(err, errlen, rv, "%s", text);
    }
    for (unsigned i = 0; i < answer->count; i++) {
        struct sockaddr_storage address;
        struct destination to = {.name = name, .port = port};
        to.len = dial_fill_address(&address, &answer->addresses[i], port);
        to.address = (const struct sockaddr *)&address;
        rv = udp_open_peer(udp, &to, err, errlen);
        if (rv == 0) {
            return 1;
        }
    }
    return rv;
}

static void on_udp_answer(struct resolver_query *query, const struct resolver_answer *answer)
{
    struct udp_question *question = (struct udp_question *)query;
    struct script_udp *udp = question->udp;
    if (udp->reader == NULL) { /* nobody wants to know any more */
        udp->question = NULL;
        mem_free(question);
        return;
    }
    struct coro *coro = udp_end_wait(udp);
    udp->question = NULL; /* opening closes what was there */
    question->result = open_for_answer(udp, question->name, question->port, answer, question->text,
                                       sizeof question->text);
    udp->question = question;
    lua_pushboolean(coro->L, 1);
    coro_resume(coro, 1);
}

int udp_begin_naming(struct script_udp *udp, struct coro *coro, const char *name, uint16_t port, char *err,
                     size_t errlen)
{
    struct outbound *outbound = udp->script->outbound;
    const struct destination to = {.name = name, .port = port};
    struct resolver_answer answer;
    udp_close(udp);
    if (outbound == NULL) {
        return error_text(err, errlen, -ENOSYS, "names cannot be resolved here");
    }
    int rv = destinations_check(udp_policy(udp), &to, err, errlen);
    if (rv < 0) {
        return rv;
    }
    size_t size = strlen(name) + 1;
    struct udp_question *question = mem_zalloc(sizeof *question + size);
    if (question == NULL) {
        return error_text(err, errlen, -ENOMEM, "%s", errno_text(ENOMEM));
    }
    question->query.on_answer = on_udp_answer;
    question->udp = udp;
    question->port = port;
    memcpy(question->name, name, size);
    rv = resolver_ask(&outbound->resolver, &question->query, name, &answer, err, errlen);
    if (rv != 0) {
        mem_free(question);
        return rv < 0 ? rv : open_for_answer(udp, name, port, &answer, err, errlen);
    }
    udp->question = question;
    udp->end_ms = reactor_now_ms(udp->script->reactor) + udp->timeout_ms;
    rv = udp_begin_wait(udp, coro);
    if (rv < 0) {
        udp_close(udp);
        return error_text(err, errlen, rv, "%s", errno_text(-rv));
    }
    return 0;
}

int udp_finish_naming(struct script_udp *udp, char *err, size_t errlen)
{
    struct udp_question *question = udp->question;
    if (question == NULL) {
        return error_text(err, errlen, -EBADF, "closed");
    }
    int rv = question->result == 0 ? -ETIMEDOUT : question->result;
    error_text(err, errlen, rv, "%s", rv == -ETIMEDOUT ? "timeout" : question->text);
    resolver_cancel(&question->query);
    udp->question = NULL;
    mem_free(question);
    return rv;
}
