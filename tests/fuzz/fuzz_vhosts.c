/* Names of hosts (http/host_name.c, http/vhosts.c). The lines of the input that begin with '+' are names, each of a host
 * of its own; the others are values of Host. Each authority lies flush against a page that must not be touched. The host
 * that is found is the one that a look at all names, one after the other, finds. */

#include "http/authority.h"
#include "http/site.h"
#include "http/site_parts.h"
#include "tests/lib/fuzz.h"

#include <string.h>

enum { NAMES_MOST = 64, LINE_MOST = 400 };

struct model {
    struct host_name names[NAMES_MOST]; /* in the form in which they are compared */
    const struct vhost *vhosts[NAMES_MOST];
    size_t count;
};

static struct model model;

static void add_name(struct site *site, const char *line, size_t len)
{
    char text[LINE_MOST + 1], err[512];
    struct vhost *vhost = NULL;
    struct host_name name;
    memcpy(text, line, len);
    text[len] = '\0';
    if (memchr(text, '\0', len) != NULL || model.count == NAMES_MOST) {
        return;
    }
    int parsed = host_name_parse(&name, text, err, sizeof err);
    FUZZ_MUST(site_add_host(site, "", &vhost) == 0);
    int rv = vhosts_add_name(site->hosts, vhost, text, err, sizeof err);
    FUZZ_MUST(parsed == 0 || rv == parsed);
    bool is_taken = false;
    for (size_t i = 0; parsed == 0 && i < model.count; i++) {
        is_taken = is_taken || strcmp(model.names[i].text, name.text) == 0;
    }
    FUZZ_MUST(parsed < 0 || (rv < 0) == is_taken);
    if (rv == 0) {
        FUZZ_MUST(strlen(name.text) == name.len && strcmp(vhost->name, name.text) == 0);
        model.names[model.count] = name;
        model.vhosts[model.count++] = vhost;
    }
}

static const struct vhost *find_plainly(const struct host_name *asked)
{
    const struct vhost *found = NULL;
    size_t longest = 0;
    for (size_t i = 0; i < model.count; i++) {
        const struct host_name *name = &model.names[i];
        if (strcmp(name->text, asked->text) == 0 && name->text[0] != '*') {
            return model.vhosts[i];
        }
        size_t tail = name->len - 1; /* of a wildcard, what follows its '*' */
        if (name->text[0] == '*' && asked->len > tail && tail > longest &&
            strcmp(asked->text + asked->len - tail, name->text + 1) == 0) {
            found = model.vhosts[i];
            longest = tail;
        }
    }
    return found;
}

static void look_for(const struct site *site, const char *line, size_t len)
{
    struct host_name asked;
    struct vhost_look look;
    const char *text = guarded_at_end(fuzz_guarded(), line, len);
    if (len > 0 && !authority_is_valid(text, len)) {
        return;
    }
    host_name_of_authority(&asked, text, len);
    const struct vhost *found = vhosts_find(site->hosts, text, len, &look);
    FUZZ_MUST(found == (asked.len == 0 ? NULL : find_plainly(&asked)));
    FUZZ_MUST(look.name == text && look.len <= len && look.from <= look.len);
    FUZZ_MUST(look.from == 0 || (found != NULL && look.name[look.from + 1] == '.'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct site *site = NULL;
    struct vhost *first = NULL;
    FUZZ_MUST(site_create(&site, NULL) == 0 && site_add_host(site, "", &first) == 0);
    model.count = 0;
    for (int round = 0; round < 2; round++) { /* names first */
        for (size_t at = 0; at < len;) {
            const char *line = (const char *)data + at;
            const char *newline = memchr(line, '\n', len - at);
            size_t line_len = newline == NULL ? len - at : (size_t)(newline - line);
            at += line_len + 1;
            if (line_len > LINE_MOST) {
                continue;
            }
            if (line_len > 0 && line[0] == '+') {
                if (round == 0) {
                    add_name(site, line + 1, line_len - 1);
                }
            } else if (round == 1) {
                look_for(site, line, line_len);
            }
        }
    }
    site_destroy(site);
    return 0;
}
