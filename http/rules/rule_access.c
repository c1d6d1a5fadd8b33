/* Happy path: the networks of each rule that fits are compared with the client's address; the narrowest decides.
 * Failure modes: a part of a list that is no network, or one too many, is an error text. */

#include "http/rules/rule_access.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/network.h"
#include "http/exchange.h"
#include "http/exchange_log.h"
#include "http/peer.h"
#include "http/response.h"
#include "http/rules/rules.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

struct access {
    bool allows;
    unsigned count;
    struct network networks[]; /* of AF_UNSPEC: everybody */
};

enum { NOT_NAMED = -1, UNIX_BITS = 128 };

/* How narrow the narrowest network is that has a client: its bits, or NOT_NAMED. */
static int narrowest(const struct access *access, const struct peer *client)
{
    int found = NOT_NAMED;
    for (unsigned i = 0; i < access->count; i++) {
        const struct network *network = &access->networks[i];
        bool is_in = network->family == AF_UNSPEC ||
                     (network->family == AF_UNIX ? client->family == AF_UNIX
                                                 : network_has(network, client->family, client->address));
        if (is_in && network->bits > found) {
            found = network->bits;
        }
    }
    return found;
}

/* What the rules of one prefix say. */
enum access_verdict { ACCESS_UNDECIDED, ACCESS_ALLOWED, ACCESS_DENIED };

/* Ask those rules from *rule on that have the same prefix, and go past them. */
static enum access_verdict ask_prefix(const struct exchange *exchange, const struct rule **rule)
{
    const struct peer *client = exchange_client(exchange);
    size_t prefix_len = (*rule)->prefix_len;
    int allowed = NOT_NAMED, denied = NOT_NAMED;
    bool has_allow = false;
    for (; *rule != NULL && (*rule)->prefix_len == prefix_len;
         *rule = rule_next(*rule, exchange->path, exchange->path_len)) {
        const struct access *access = (*rule)->data;
        int bits = narrowest(access, client);
        int *best = access->allows ? &allowed : &denied;
        *best = bits > *best ? bits : *best;
        has_allow = has_allow || access->allows;
    }
    if (allowed == NOT_NAMED && denied == NOT_NAMED) {
        return has_allow ? ACCESS_DENIED : ACCESS_UNDECIDED;
    }
    return allowed > denied ? ACCESS_ALLOWED : ACCESS_DENIED;
}

static enum rules_verdict decide_access(struct exchange *exchange, const struct rule *first)
{
    enum access_verdict verdict = ACCESS_UNDECIDED;
    while (verdict == ACCESS_UNDECIDED && first != NULL) {
        verdict = ask_prefix(exchange, &first);
    }
    if (verdict != ACCESS_DENIED) {
        return RULES_PASS;
    }
    exchange_log(exchange, LOG_DEBUG, first, "403 for %s: the rules do not allow the client's address", exchange->path);
    response_error(exchange, 403, NULL);
    return RULES_ANSWERED;
}

/* One kind for both, but for its name. */
static const struct rules_kind allow_kind = {.order = RULE_ACCESS,
                                             .decide = decide_access,
                                             .destroy = mem_free,
                                             .name = "app.allow",
                                             .host_name = "evs_rule.allow"};
static const struct rules_kind deny_kind = {.order = RULE_ACCESS,
                                            .decide = decide_access,
                                            .destroy = mem_free,
                                            .name = "app.deny",
                                            .host_name = "evs_rule.deny"};

static int parse_client(struct network *network, const char *text, char *err, size_t errlen)
{
    if (strcmp(text, "all") == 0) {
        *network = (struct network){.family = AF_UNSPEC};
        return 0;
    }
    if (strcmp(text, "unix:") == 0) {
        *network = (struct network){.family = AF_UNIX, .bits = UNIX_BITS};
        return 0;
    }
    if (strcmp(text, "*") == 0 || strcmp(text, "any") == 0) {
        return error_text(err, errlen, -EINVAL, "\"%s\" is no address or network: write \"all\" for all clients", text);
    }
    return network_parse(network, text, err, errlen);
}

static int parse_clients(struct access *access, const char *list, char *err, size_t errlen)
{
    const char *rest = list;
    do {
        char part[NETWORK_TEXT_MAX];
        size_t len;
        const char *begin = network_next_part(&rest, &len);
        if (len == 0 || len >= sizeof part) {
            return error_text(err, errlen, -EINVAL,
                              len == 0 ? "an address is missing in \"%.200s\""
                                       : "\"%.80s...\" is no address or network",
                              len == 0 ? list : begin);
        }
        memcpy(part, begin, len);
        part[len] = '\0';
        int rv = parse_client(&access->networks[access->count++], part, err, errlen);
        if (rv < 0) {
            return rv;
        }
    } while (rest[0] != '\0' || rest[-1] == ',');
    return 0;
}

static size_t count_parts(const char *list)
{
    size_t count = 1;
    for (; *list != '\0'; list++) {
        count += *list == ',';
    }
    return count;
}

int rule_access_add(struct rules **rules, const char *prefix, bool allows, const char *list, char *err, size_t errlen)
{
    size_t count = count_parts(list);
    if (count > ACCESS_NETWORKS_MAX) {
        return error_text(err, errlen, -ENOSPC, "%zu addresses and networks: at most %d in one list", count,
                          ACCESS_NETWORKS_MAX);
    }
    struct access *access = mem_zalloc(sizeof *access + count * sizeof access->networks[0]);
    if (access == NULL) {
        return error_text(err, errlen, -ENOMEM, "%s", errno_text(ENOMEM));
    }
    access->allows = allows;
    int rv = parse_clients(access, list, err, errlen);
    if (rv == 0 && rules_add(rules, allows ? &allow_kind : &deny_kind, prefix, access, &rv, err, errlen) != NULL) {
        return 0;
    }
    mem_free(access);
    return rv;
}
