/* Happy path: rows are collected from the router, the mounts, the rules and the error pages, measured, sorted, printed. Speed does not
 * matter: it runs if the command line asks for the table. */

#include "http/route_table.h"

#include "core/mem.h"
#include "http/error_pages.h"
#include "http/exchange.h"
#include "http/router.h"
#include "http/rules/rules.h"
#include "http/site.h"
#include "http/static_mounts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct row {
    uint64_t methods;               /* of a route; none of other rows */
    const char *what;               /* in place of methods: "static" */
    const char *path;               /* pattern or prefix; NULL for an error page */
    const char *name;               /* never NULL */
    const char *place;              /* file and line, or directory, or what a rule says */
    const char *says;               /* in front of place, of a proxy: its upstreams; NULL: nothing */
    size_t order;                   /* of registration */
    char status[ERROR_STATUS_TEXT]; /* in place of path */
};

/* Put a row into rows, unless that is NULL: then they are only counted. */
static void put_row(struct row *rows, size_t *count, struct row row)
{
    if (rows != NULL) {
        row.order = *count;
        rows[*count] = row;
    }
    (*count)++;
}

static void collect_routes(const struct vhost *vhost, struct row *rows, size_t *count)
{
    const struct route *route;
    const struct handler_row *last = NULL;
    for (size_t n = 0; (route = router_route(vhost->router, n)) != NULL; n++) {
        const struct handler *handler = route->handler;
        const char *name = handler->name == NULL ? "-" : handler->name;
        struct row row = {.methods = route->methods, .path = route->pattern, .name = name, .place = route->where};
        if (handler->row != NULL) {
            row = (struct row){.what = handler->row->what,
                               .path = handler->row->path,
                               .name = name,
                               .says = handler->row->says,
                               .place = route->where};
        }
        if (handler->row == NULL || handler->row != last) { /* its routes follow each other */
            put_row(rows, count, row);
        }
        last = handler->row;
    }
}

static void collect_rules(const struct vhost *vhost, struct row *rows, size_t *count)
{
    const struct rule *rule;
    for (size_t n = 0; vhost->rules != NULL && (rule = rules_get(vhost->rules, n)) != NULL; n++) {
        struct rule_row told;
        for (size_t i = 0; rule_tell(rule, i, &told); i++) {
            put_row(rows, count, (struct row){.what = told.what, .path = told.path, .name = "-", .place = told.says});
        }
    }
}

/* Put all rows of a host into rows, unless that is NULL. Returns how many there are. */
static size_t collect_rows(const struct vhost *vhost, struct row *rows)
{
    size_t count = 0;
    const char *prefix, *directory;
    collect_routes(vhost, rows, &count);
    for (size_t n = 0; static_mounts_get(vhost->mounts, n, &prefix, &directory); n++) {
        const char *place = directory == NULL ? "(in memory)" : directory;
        put_row(rows, &count, (struct row){.what = "static", .path = prefix, .name = "-", .place = place});
    }
    collect_rules(vhost, rows, &count);
    struct row page = {.what = "error", .name = "-"};
    for (size_t n = 0; error_pages_get(vhost->error_pages, n, page.status, &page.place); n++) {
        put_row(rows, &count, page);
    }
    return count;
}

static const char *path_of_row(const struct row *row)
{
    return row->path == NULL ? row->status : row->path;
}

/* A list without blanks, so that a column is a word: "GET,POST", "*", "static", "rule" or "308". */
static void format_methods(const struct vhost *vhost, const struct row *row, char text[ROUTE_METHODS_TEXT_MAX])
{
    if (row->methods == 0) {
        snprintf(text, ROUTE_METHODS_TEXT_MAX, "%s", row->what);
        return;
    }
    router_format_methods(vhost->router, row->methods, text);
    char *out = text;
    for (const char *in = text; *in != '\0'; in++) {
        if (*in != ' ') {
            *out++ = *in;
        }
    }
    *out = '\0';
}

static int compare(const void *a, const void *b)
{
    const struct row *first = a, *second = b;
    int rv = strcmp(path_of_row(first), path_of_row(second));
    return rv != 0 ? rv : first->order < second->order ? -1 : 1;
}

static int widest(int width, const char *text)
{
    size_t len = strlen(text);
    return len > (size_t)width ? (int)len : width;
}

static int write_rows(const struct vhost *vhost, void (*line)(void *arg, const char *text), void *arg)
{
    size_t count = collect_rows(vhost, NULL);
    struct row *rows = mem_alloc((count + 1) * sizeof *rows);
    if (rows == NULL) {
        return -ENOMEM;
    }
    (void)collect_rows(vhost, rows);
    qsort(rows, count, sizeof *rows, compare);
    char methods[ROUTE_METHODS_TEXT_MAX];
    int methods_width = 0, path_width = 0, name_width = 0;
    for (size_t i = 0; i < count; i++) {
        format_methods(vhost, &rows[i], methods);
        methods_width = widest(methods_width, methods);
        path_width = widest(path_width, path_of_row(&rows[i]));
        name_width = widest(name_width, rows[i].name);
    }
    for (size_t i = 0; i < count; i++) {
        char text[ROUTE_TABLE_LINE_MAX];
        format_methods(vhost, &rows[i], methods);
        const char *says = rows[i].says;
        snprintf(text, sizeof text, "%-*s  %-*s  %-*s  %s%s%s", methods_width, methods, path_width,
                 path_of_row(&rows[i]), name_width, rows[i].name, says == NULL ? "" : says, says == NULL ? "" : "  ",
                 rows[i].place);
        line(arg, text);
    }
    mem_free(rows);
    return 0;
}

/* "host  example.org *.example.org", as much of it as fits. */
static void write_names_of_host(const struct vhosts *hosts, const struct vhost *vhost,
                                void (*line)(void *arg, const char *text), void *arg)
{
    char text[ROUTE_TABLE_LINE_MAX] = "host ";
    size_t used = strlen(text);
    const char *name;
    for (size_t n = 0; (name = vhosts_name(hosts, vhost, n)) != NULL && used < sizeof text; n++) {
        used += (size_t)snprintf(text + used, sizeof text - used, " %s", name);
    }
    line(arg, text);
}

int route_table_write(const struct site *site, void (*line)(void *arg, const char *text), void *arg)
{
    int rv = 0;
    const struct vhost *vhost;
    for (size_t n = 0; rv == 0 && (vhost = site_host(site, n)) != NULL; n++) {
        if (n > 0) {
            write_names_of_host(site->hosts, vhost, line, arg);
        }
        rv = write_rows(vhost, line, arg);
    }
    return rv;
}
