/* Happy path: rows are collected from the router and the mounts, measured, sorted, printed. Speed does not
 * matter: it runs if the command line asks for the table. */

#include "http/route_table.h"

#include "core/mem.h"
#include "http/exchange.h"
#include "http/router.h"
#include "http/site.h"
#include "http/static_mounts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct row {
    uint64_t methods;  /* of a route; none of a mount */
    const char *path;  /* pattern or prefix */
    const char *name;  /* never NULL */
    const char *place; /* file and line, or directory */
    size_t order;      /* of registration */
};

static size_t count_rows(const struct site *site)
{
    const char *prefix, *directory;
    size_t routes = 0, mounts = 0;
    while (router_route(site->default_host.router, routes) != NULL) {
        routes++;
    }
    while (static_mounts_get(site->default_host.mounts, mounts, &prefix, &directory)) {
        mounts++;
    }
    return routes + mounts;
}

/* A list without blanks, so that a column is a word: "GET,POST", "*" or "static". */
static void format_methods(const struct site *site, uint64_t methods, char text[ROUTE_METHODS_TEXT_MAX])
{
    if (methods == 0) {
        strcpy(text, "static");
        return;
    }
    router_format_methods(site->default_host.router, methods, text);
    char *out = text;
    for (const char *in = text; *in != '\0'; in++) {
        if (*in != ' ') {
            *out++ = *in;
        }
    }
    *out = '\0';
}

static void collect_rows(const struct site *site, struct row *rows)
{
    size_t count = 0;
    const struct route *route;
    for (size_t n = 0; (route = router_route(site->default_host.router, n)) != NULL; n++) {
        const char *name = route->handler->name;
        rows[count++] = (struct row){.methods = route->methods,
                                     .path = route->pattern,
                                     .name = name == NULL ? "-" : name,
                                     .place = route->where,
                                     .order = n};
    }
    const char *prefix, *directory;
    for (size_t n = 0; static_mounts_get(site->default_host.mounts, n, &prefix, &directory); n++) {
        rows[count] = (struct row){0, prefix, "-", directory == NULL ? "(in memory)" : directory, count};
        count++;
    }
}

static int compare(const void *a, const void *b)
{
    const struct row *first = a, *second = b;
    int rv = strcmp(first->path, second->path);
    return rv != 0 ? rv : first->order < second->order ? -1 : 1;
}

static int widest(int width, const char *text)
{
    size_t len = strlen(text);
    return len > (size_t)width ? (int)len : width;
}

int route_table_write(const struct site *site, void (*line)(void *arg, const char *text), void *arg)
{
    size_t count = count_rows(site);
    struct row *rows = mem_alloc((count + 1) * sizeof *rows);
    if (rows == NULL) {
        return -ENOMEM;
    }
    collect_rows(site, rows);
    qsort(rows, count, sizeof *rows, compare);
    char methods[ROUTE_METHODS_TEXT_MAX];
    int methods_width = 0, path_width = 0, name_width = 0;
    for (size_t i = 0; i < count; i++) {
        format_methods(site, rows[i].methods, methods);
        methods_width = widest(methods_width, methods);
        path_width = widest(path_width, rows[i].path);
        name_width = widest(name_width, rows[i].name);
    }
    for (size_t i = 0; i < count; i++) {
        char text[ROUTE_TABLE_LINE_MAX];
        format_methods(site, rows[i].methods, methods);
        snprintf(text, sizeof text, "%-*s  %-*s  %-*s  %s", methods_width, methods, path_width, rows[i].path,
                 name_width, rows[i].name, rows[i].place);
        line(arg, text);
    }
    mem_free(rows);
    return 0;
}
