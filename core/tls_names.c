/* Happy path: a sorted list, searched by halves; once for the name, once for its wildcard. */

#include "core/tls_names.h"

#include "core/ascii.h"
#include "core/mem.h"

#include <errno.h>
#include <string.h>

enum { SERVER_NAME_MAX = 255 }; /* bytes of a DNS name */

struct tls_name {
    char *text;  /* lower-case, owned */
    void *value; /* borrowed */
};

/* Lower case, without a dot at the end. Returns the length, 0 for what is no name. */
static size_t normalise_name(char out[SERVER_NAME_MAX + 1], const char *name, size_t len)
{
    len -= len > 0 && name[len - 1] == '.' ? 1 : 0;
    if (len > SERVER_NAME_MAX || memchr(name, '\0', len) != NULL) {
        return 0;
    }
    for (size_t i = 0; i < len; i++) {
        out[i] = ascii_lower(name[i]);
    }
    out[len] = '\0';
    return len;
}

/* Where text is, or would be. */
static size_t find_name_place(const struct tls_names *names, const char *text, bool *is_there)
{
    size_t low = 0, high = names->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(names->list[middle].text, text);
        if (order == 0) {
            *is_there = true;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *is_there = false;
    return low;
}

/* Add a name at its place. Returns 0 or -ENOMEM. */
static int insert_name(struct tls_names *names, size_t place, const char *text, void *value)
{
    if (names->count == names->capacity) {
        size_t capacity = names->capacity == 0 ? 4 : names->capacity * 2;
        struct tls_name *list = mem_resize(names->list, capacity * sizeof *list);
        if (list == NULL) {
            return -ENOMEM;
        }
        names->list = list;
        names->capacity = capacity;
    }
    char *copy = mem_copy_text(text);
    if (copy == NULL) {
        return -ENOMEM;
    }
    memmove(names->list + place + 1, names->list + place, (names->count - place) * sizeof *names->list);
    names->list[place] = (struct tls_name){.text = copy, .value = value};
    names->count++;
    return 0;
}

int tls_names_add(struct tls_names *names, const char *name, size_t len, void *value)
{
    char text[SERVER_NAME_MAX + 1];
    bool is_there;
    if (normalise_name(text, name, len) == 0) {
        return -EINVAL;
    }
    size_t place = find_name_place(names, text, &is_there);
    if (is_there) {
        return names->list[place].value == value ? 0 : -EEXIST;
    }
    return insert_name(names, place, text, value);
}

int tls_names_set(struct tls_names *names, const char *name, size_t len, void *value)
{
    char text[SERVER_NAME_MAX + 1];
    bool is_there;
    if (normalise_name(text, name, len) == 0) {
        return -EINVAL;
    }
    size_t place = find_name_place(names, text, &is_there);
    if (is_there) {
        names->list[place].value = value;
        return 0;
    }
    return insert_name(names, place, text, value);
}

void *tls_names_get(const struct tls_names *names, const char *name, size_t len)
{
    char text[SERVER_NAME_MAX + 1];
    bool is_there;
    if (normalise_name(text, name, len) == 0) {
        return NULL;
    }
    size_t place = find_name_place(names, text, &is_there);
    return is_there ? names->list[place].value : NULL;
}

const char *tls_names_at(const struct tls_names *names, size_t n)
{
    return n < names->count ? names->list[n].text : NULL;
}

void *tls_names_find(const struct tls_names *names, const char *name, size_t len)
{
    char text[SERVER_NAME_MAX + 1];
    bool is_there;
    if (normalise_name(text, name, len) == 0) {
        return NULL;
    }
    size_t place = find_name_place(names, text, &is_there);
    if (is_there) {
        return text[0] == '*' ? NULL : names->list[place].value;
    }
    char *dot = strchr(text, '.');
    if (dot == NULL || dot == text) {
        return NULL;
    }
    dot[-1] = '*'; /* over the last byte of the first label */
    place = find_name_place(names, dot - 1, &is_there);
    return is_there ? names->list[place].value : NULL;
}

char *tls_names_join(const struct tls_names *names, const void *value)
{
    size_t size = 1, used = 0;
    for (size_t i = 0; i < names->count; i++) {
        size += names->list[i].value == value ? strlen(names->list[i].text) + 1 : 0;
    }
    char *text = mem_alloc(size);
    if (text == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < names->count; i++) {
        if (names->list[i].value == value) {
            size_t len = strlen(names->list[i].text);
            memcpy(text + used, names->list[i].text, len);
            text[used + len] = ' ';
            used += len + 1;
        }
    }
    text[used == 0 ? 0 : used - 1] = '\0';
    return text;
}

void tls_names_done(struct tls_names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        mem_free(names->list[i].text);
    }
    mem_free(names->list);
    *names = (struct tls_names){0};
}
