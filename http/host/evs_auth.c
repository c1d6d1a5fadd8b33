/* Failure modes: an invalid member is refused with a text that names it. */

#include "http/host/evs_auth.h"

#include "core/log.h"
#include "core/mem.h"
#include "evserve.h"
#include "http/error_pages.h"
#include "http/exchange.h"
#include "http/host/evs_block.h"
#include "http/host/evs_events.h"
#include "http/host/evs_internal.h"
#include "http/host/evs_stalls.h"
#include "http/rules/basic_auth.h"
#include "http/service.h"
#include "http/vhost.h"

#include <errno.h>
#include <string.h>

enum { PAGE_WHY_MAX = 512 };

/* A function of the host that knows the passwords. */
struct host_auth {
    int (*authenticate)(evs_request *request, const char *user, const char *password, void *arg);
    void *arg;
};

static enum rules_verdict ask_authenticate(struct exchange *exchange, const struct credentials *credentials, void *arg)
{
    const struct host_auth *auth = arg;
    evs_hook(exchange);
    int is_right = auth->authenticate(request_of(exchange), credentials->name, credentials->password, auth->arg);
    evs_stalls_note(exchange->service->reactor, "evs_rule.authenticate");
    if (exchange->response_state != RESPONSE_NONE) {
        return RULES_ANSWERED;
    }
    evs_part(request_of(exchange));
    return is_right == 1 ? RULES_PASS : RULES_ANSWERED;
}

int evs_auth_add(struct rules **rules, const struct evs_rule *rule, int base_fd, char *err, size_t errlen)
{
    struct basic_auth_options options = {.base_fd = base_fd, .realm = rule->realm};
    struct basic_auth_asked asked = {.ask = ask_authenticate, .destroy = mem_free};
    if (rule->authenticate != NULL) {
        struct host_auth *auth = mem_alloc(sizeof *auth);
        if (auth == NULL) {
            return error_text(err, errlen, -ENOMEM, "%s", errno_text(ENOMEM));
        }
        *auth = (struct host_auth){rule->authenticate, rule->authenticate_arg};
        asked.arg = auth;
        options.asked = &asked;
    } else if (rule->basic_auth[0] != '\0') {
        options.file = rule->basic_auth;
    }
    int rv = basic_auth_add(rules, rule->prefix, &options, err, errlen);
    if (rv < 0) {
        mem_free(asked.arg);
    }
    return rv;
}

const char *evs_user(evs_request *request, char *text, size_t size)
{
    char name[CREDENTIALS_MAX];
    size_t len = basic_auth_user(exchange_of(request), name);
    if (len == 0 || size == 0) {
        return NULL;
    }
    len = len < size ? len : size - 1;
    memcpy(text, name, len);
    text[len] = '\0';
    return text;
}

struct evs_error_page *evs_error_pages_put(struct evs_block *block, const struct evs_error_page *pages)
{
    size_t count = 0;
    while (pages[count].statuses != NULL) {
        count++;
    }
    struct evs_error_page *copy = evs_block_put(block, pages, (count + 1) * sizeof pages[0]);
    for (size_t i = 0; i < count; i++) {
        struct evs_error_page page = pages[i];
        page.statuses = evs_block_text(block, page.statuses);
        page.file = evs_block_text(block, page.file);
        if (copy != NULL) {
            copy[i] = page;
        }
    }
    return copy;
}

struct evs_error_page *evs_error_pages_copy(const struct evs_error_page *pages)
{
    struct evs_block block = {0};
    evs_error_pages_put(&block, pages);
    block = (struct evs_block){.data = mem_alloc(block.used)};
    return block.data == NULL ? NULL : evs_error_pages_put(&block, pages);
}

int evs_error_pages_add(struct vhost *vhost, struct file_cache *cache, int base_fd, const struct evs_error_page *pages,
                        const char *name, char *err, size_t errlen)
{
    int rv = 0;
    for (size_t i = 0; rv == 0 && pages[i].statuses != NULL; i++) {
        char why[PAGE_WHY_MAX] = "no file is given";
        rv = pages[i].file == NULL ? -EINVAL
                                   : error_pages_add(&vhost->error_pages, cache, base_fd, pages[i].statuses,
                                                     pages[i].file, pages[i].for_proxied != 0, why, sizeof why);
        if (rv < 0) {
            return error_text(err, errlen, rv, "%s[%zu]: %s", name, i, why);
        }
    }
    return rv;
}
