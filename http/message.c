/* Names of methods, and what is taken out of a head. */

#include "http/message.h"

#include <string.h>

const char *method_name(enum method method)
{
    static const char *const names[METHOD_COUNT] = {
        [METHOD_GET] = "GET",     [METHOD_HEAD] = "HEAD",     [METHOD_POST] = "POST",       [METHOD_PUT] = "PUT",
        [METHOD_PATCH] = "PATCH", [METHOD_DELETE] = "DELETE", [METHOD_OPTIONS] = "OPTIONS", [METHOD_OTHER] = "*",
    };

    return names[method];
}

enum method method_find(const char *name, size_t len)
{
#define IS(word) (memcmp(name, word, sizeof(word) - 1) == 0)
    switch (len) {
    case 3:
        return IS("GET") ? METHOD_GET : IS("PUT") ? METHOD_PUT : METHOD_OTHER;
    case 4:
        return IS("HEAD") ? METHOD_HEAD : IS("POST") ? METHOD_POST : METHOD_OTHER;
    case 5:
        return IS("PATCH") ? METHOD_PATCH : METHOD_OTHER;
    case 6:
        return IS("DELETE") ? METHOD_DELETE : METHOD_OTHER;
    case 7:
        return IS("OPTIONS") ? METHOD_OPTIONS : METHOD_OTHER;
    default:
        return METHOD_OTHER;
    }
#undef IS
}

void head_drop_field(struct head *head, unsigned index)
{
    for (unsigned known = 0; known < FIELD_KNOWN_COUNT; known++) {
        if (head->first[known] == index + 1) {
            head->first[known] = 0;
        } else if (head->first[known] > index + 1) {
            head->first[known]--;
        }
    }
    head->field_count--;
    memmove(&head->fields[index], &head->fields[index + 1], (head->field_count - index) * sizeof head->fields[0]);
}
