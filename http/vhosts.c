/* Hosts in a list, their names in a table; a wildcard stands there by what follows its '*', which begins with a dot, so
 * it cannot be taken for a name.
 *
 * Failure modes: a name that is none, that another host has, or that is one too many, is an error text, and nothing has
 * changed. */

#include "http/vhosts.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/name_table.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { DEPTH_MAX = 127 }; /* dots of a name of 253 bytes, with something between two of them: not one more */

struct vhost_name {
    struct named_entry entry; /* first: the table hands it out */
    struct vhost *vhost;
    char text[]; /* as it was given, in its form: "*.example.org" */
};

struct vhosts {
    struct name_table table;
    size_t count; /* of list */
    struct vhost **list;
    size_t name_count;                         /* of names */
    struct vhost_name *names[VHOST_NAMES_MAX]; /* in the order in which they were given */
    uint8_t depth_max;                         /* the most dots of a wildcard, without its '*'; 0: there is none */
    uint64_t depths[(DEPTH_MAX + 64) / 64];    /* the set of those numbers */
};

int vhosts_create(struct vhosts **hosts)
{
    *hosts = mem_zalloc(sizeof **hosts);
    return *hosts == NULL ? -ENOMEM : 0;
}

static void free_vhost(struct vhost *vhost)
{
    vhost_done(vhost);
    mem_free(vhost);
}

void vhosts_destroy(struct vhosts *hosts)
{
    if (hosts == NULL) {
        return;
    }
    for (size_t i = 0; i < hosts->name_count; i++) {
        mem_free(hosts->names[i]);
    }
    for (size_t i = 0; i < hosts->count; i++) {
        free_vhost(hosts->list[i]);
    }
    name_table_done(&hosts->table);
    mem_free(hosts->list);
    mem_free(hosts);
}

int vhosts_add(struct vhosts *hosts, struct file_cache *cache, const char *where, struct vhost **made)
{
    struct vhost **list = mem_resize(hosts->list, (hosts->count + 1) * sizeof *list);
    if (list == NULL) {
        return -ENOMEM;
    }
    hosts->list = list;
    struct vhost *vhost = mem_zalloc(sizeof *vhost);
    if (vhost == NULL) {
        return -ENOMEM;
    }
    vhost->where = mem_copy_text(where);
    if (vhost->where == NULL || vhost_init(vhost, cache) < 0) {
        free_vhost(vhost);
        return -ENOMEM;
    }
    hosts->list[hosts->count++] = vhost;
    *made = vhost;
    return 0;
}

/* Names come from operators, so the hash needs no key: clients only look for them. */
static uint64_t hash_host_name(const char *text, size_t len)
{
    uint64_t hash = len;
    for (; len > 0;) {
        uint64_t word = 0;
        size_t taken = len < sizeof word ? len : sizeof word;
        memcpy(&word, text, taken);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15U;
        hash ^= hash >> 32;
        text += taken;
        len -= taken;
    }
    return hash;
}

static const struct vhost_name *find_text(const struct vhosts *hosts, const char *text, size_t len)
{
    return (const struct vhost_name *)(const void *)name_table_find(&hosts->table, hash_host_name(text, len), text,
                                                                    len);
}

static unsigned count_dots(const char *text)
{
    unsigned dots = 0;
    for (; *text != '\0'; text++) {
        dots += *text == '.';
    }
    return dots;
}

/* "the host at site.lua:7", or the host that the program has set. */
static int complain_of_taken(const struct vhost_name *taken, const struct vhost *vhost, char *err, size_t errlen)
{
    const char *where = taken->vhost->where;
    if (taken->vhost == vhost) {
        return error_text(err, errlen, -EEXIST, "\"%s\" is given twice", taken->text);
    }
    return error_text(err, errlen, -EEXIST, "the name \"%s\" is taken by the host%s%s", taken->text,
                      where[0] == '\0' ? " before it" : " at ", where);
}

int vhosts_add_name(struct vhosts *hosts, struct vhost *vhost, const char *name, char *err, size_t errlen)
{
    struct host_name parsed;
    int rv = host_name_parse(&parsed, name, err, errlen);
    if (rv < 0) {
        return rv;
    }
    size_t skipped = parsed.text[0] == '*' ? 1 : 0;
    const struct vhost_name *taken = find_text(hosts, parsed.text + skipped, parsed.len - skipped);
    if (taken != NULL && taken->vhost->is_pinned && !vhost->is_pinned) {
        return 0;
    }
    if (taken != NULL) {
        return complain_of_taken(taken, vhost, err, errlen);
    }
    if (hosts->name_count == VHOST_NAMES_MAX) {
        return error_text(err, errlen, -ENOSPC, "\"%s\" is one too many: a site has at most %d names of hosts",
                          parsed.text, (int)VHOST_NAMES_MAX);
    }
    struct vhost_name *made = mem_zalloc(sizeof *made + parsed.len + 1);
    if (made == NULL) {
        return error_text(err, errlen, -ENOMEM, "%s", errno_text(ENOMEM));
    }
    memcpy(made->text, parsed.text, parsed.len + 1);
    made->vhost = vhost;
    made->entry.name = made->text + skipped;
    made->entry.len = parsed.len - skipped;
    made->entry.hash = hash_host_name(made->entry.name, made->entry.len);
    if (name_table_add(&hosts->table, &made->entry) < 0) {
        mem_free(made);
        return error_text(err, errlen, -ENOMEM, "%s", errno_text(ENOMEM));
    }
    hosts->names[hosts->name_count++] = made;
    vhost->name = vhost->name == NULL ? made->text : vhost->name;
    if (skipped > 0) {
        unsigned depth = count_dots(made->text);
        hosts->depths[depth / 64] |= (uint64_t)1 << depth % 64;
        hosts->depth_max = depth > hosts->depth_max ? (uint8_t)depth : hosts->depth_max;
    }
    return 0;
}

/* The longest of them is the last one found from the right. What stands for '*' has a byte at least. */
static const struct vhost *find_wildcard(const struct vhosts *hosts, const struct host_name *name, size_t *from)
{
    const struct vhost *found = NULL;
    unsigned depth = 0;
    for (size_t i = name->len - 1; i > 0 && depth < hosts->depth_max; i--) {
        if (name->text[i] != '.') {
            continue;
        }
        depth++;
        if ((hosts->depths[depth / 64] >> depth % 64 & 1) != 0) {
            const struct vhost_name *wildcard = find_text(hosts, name->text + i, name->len - i);
            found = wildcard == NULL ? found : wildcard->vhost;
            *from = wildcard == NULL ? *from : i - 1;
        }
    }
    return found;
}

const struct vhost *vhosts_find(const struct vhosts *hosts, const struct host_name *name, size_t *from)
{
    bool is_wildcard = name->text[0] == '.'; /* that is how wildcards stand in the table, and no name begins so */
    const struct vhost_name *exact = is_wildcard ? NULL : find_text(hosts, name->text, name->len);
    *from = 0;
    if (exact != NULL) {
        return exact->vhost;
    }
    return hosts->depth_max == 0 || name->len == 0 ? NULL : find_wildcard(hosts, name, from);
}

struct vhost *vhosts_get(const struct vhosts *hosts, size_t n)
{
    return hosts == NULL || n >= hosts->count ? NULL : hosts->list[n];
}

const char *vhosts_name(const struct vhosts *hosts, const struct vhost *vhost, size_t n)
{
    for (size_t i = 0; i < hosts->name_count; i++) {
        if (hosts->names[i]->vhost == vhost && n-- == 0) {
            return hosts->names[i]->text;
        }
    }
    return NULL;
}
