/* Hosts in a list, their names in a table; a wildcard stands there by what follows its '*', which begins with a dot, so
 * it cannot be taken for a name.
 *
 * Failure modes: a name that is none, that another host has, or that is one too many, is an error text, and nothing has
 * changed. */

#include "http/vhosts.h"

#include "core/ascii.h"
#include "core/log.h"
#include "core/mem.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum {
    DEPTH_MAX = 127,    /* dots of a name of 253 bytes, with something between two of them: not one more */
    VHOST_SLOTS = 2048, /* a power of two, of which names take less than a half */
};
_Static_assert((int)VHOST_SLOTS >= 2 * (int)VHOST_NAMES_MAX, "slots are left, so that each search ends");

struct vhost_name {
    struct vhost *vhost;
    uint64_t hash;
    const char *key; /* what is compared: of a wildcard, text without its '*' */
    size_t key_len;  /* of key */
    char text[];     /* as it was given, in its form: "*.example.org" */
};

struct vhosts {
    uint16_t slots[VHOST_SLOTS]; /* 1 + index in names, in the slot of its hash or the next free one; 0: free */
    size_t count;                /* of list */
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

void vhosts_destroy(struct vhosts *hosts)
{
    if (hosts == NULL) {
        return;
    }
    for (size_t i = 0; i < hosts->name_count; i++) {
        mem_free(hosts->names[i]);
    }
    mem_free(hosts->list);
    mem_free(hosts);
}

int vhosts_add(struct vhosts *hosts, struct vhost *vhost)
{
    struct vhost **list = mem_resize(hosts->list, (hosts->count + 1) * sizeof *list);
    if (list == NULL) {
        return -ENOMEM;
    }
    hosts->list = list;
    hosts->list[hosts->count++] = vhost;
    return 0;
}

static uint64_t mix_hash(uint64_t hash)
{
    hash *= 0x9e3779b97f4a7c15U;
    return hash ^ hash >> 32;
}

/* Of a name in any case. Names come from operators, so the hash needs no key: clients only look for them. */
static uint64_t hash_host_name(const char *text, size_t len)
{
    uint64_t hash = len, word = 0;
    if (len < sizeof word) {
        for (size_t i = 0; i < len; i++) {
            word = word << 8 | (unsigned char)ascii_lower(text[i]);
        }
        return mix_hash(hash ^ word);
    }
    for (size_t i = 0; i + sizeof word < len; i += sizeof word) {
        hash = mix_hash(hash ^ ascii_lower_word(text + i));
    }
    return mix_hash(hash ^ ascii_lower_word(text + len - sizeof word));
}

static const struct vhost_name *find_text(const struct vhosts *hosts, const char *text, size_t len)
{
    uint64_t hash = hash_host_name(text, len);
    for (size_t slot = hash % VHOST_SLOTS; hosts->slots[slot] != 0; slot = (slot + 1) % VHOST_SLOTS) {
        const struct vhost_name *name = hosts->names[hosts->slots[slot] - 1];
        if (name->hash == hash && name->key_len == len && ascii_equals(name->key, text, len)) {
            return name;
        }
    }
    return NULL;
}

/* The last name is in the table from now on. */
static void note_name(struct vhosts *hosts, const struct vhost_name *name)
{
    size_t slot = name->hash % VHOST_SLOTS;
    while (hosts->slots[slot] != 0) {
        slot = (slot + 1) % VHOST_SLOTS;
    }
    hosts->slots[slot] = (uint16_t)hosts->name_count;
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
    made->key = made->text + skipped;
    made->key_len = parsed.len - skipped;
    made->hash = hash_host_name(made->key, made->key_len);
    hosts->names[hosts->name_count++] = made;
    note_name(hosts, made);
    vhost->name = vhost->name == NULL ? made->text : vhost->name;
    if (skipped > 0) {
        unsigned depth = count_dots(made->text);
        hosts->depths[depth / 64] |= (uint64_t)1 << depth % 64;
        hosts->depth_max = depth > hosts->depth_max ? (uint8_t)depth : hosts->depth_max;
    }
    return 0;
}

/* The longest of them is the last one found from the right. What stands for '*' has a byte at least. */
static const struct vhost *find_wildcard(const struct vhosts *hosts, struct vhost_look *look)
{
    const struct vhost *found = NULL;
    unsigned depth = 0;
    for (size_t i = look->len - 1; i > 0 && depth < hosts->depth_max; i--) {
        if (look->name[i] != '.') {
            continue;
        }
        depth++;
        if ((hosts->depths[depth / 64] >> depth % 64 & 1) != 0) {
            const struct vhost_name *wildcard = find_text(hosts, look->name + i, look->len - i);
            found = wildcard == NULL ? found : wildcard->vhost;
            look->from = wildcard == NULL ? look->from : i - 1;
        }
    }
    return found;
}

/* IPv6 addresses can be written in several ways. */
static const struct vhost *find_ipv6(const struct vhosts *hosts, const struct vhost_look *look)
{
    struct host_name name;
    host_name_of_authority(&name, look->name, look->len);
    const struct vhost_name *found = find_text(hosts, name.text, name.len);
    return found == NULL ? NULL : found->vhost;
}

const struct vhost *vhosts_find(const struct vhosts *hosts, const char *authority, size_t len, struct vhost_look *look)
{
    *look = (struct vhost_look){.name = authority, .len = host_name_cut(authority, len)};
    if (look->len == 0 || look->len > HOST_NAME_MAX_BYTES) {
        return NULL;
    }
    if (authority[0] == '[') {
        return find_ipv6(hosts, look);
    }
    bool is_wildcard = authority[0] == '.'; /* that is how wildcards stand in the table, and no name begins so */
    const struct vhost_name *exact = is_wildcard ? NULL : find_text(hosts, look->name, look->len);
    return exact != NULL ? exact->vhost : hosts->depth_max == 0 ? NULL : find_wildcard(hosts, look);
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
