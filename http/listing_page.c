/* The HTML of a listing. Text goes through page_add_escaped(), links through url_encode_segment(): no name of a file is
 * ever more than a name. */

#include "http/listing_page.h"

#include "core/utf8.h"
#include "http/url.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { CELLS_ROOM = 256 }; /* bytes of a row beside its name */

static int page_add(struct write_buffer *page, const char *text)
{
    return write_buffer_append(page, text, strlen(text), SIZE_MAX);
}

/* The length of the UTF-8 character that text begins with, or 0 if there is none or it is a control character (C0, DEL,
 * C1). */
static size_t character_length(const unsigned char *text, size_t len)
{
    bool is_control = text[0] < 0x20 || text[0] == 0x7f || (len > 1 && text[0] == 0xc2 && text[1] < 0xa0);
    return is_control ? 0 : utf8_len(text, len);
}

/* Append text with HTML escapes, also good for a quoted attribute. */
static int page_add_escaped(struct write_buffer *page, const char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        size_t size = character_length((const unsigned char *)text + i, len - i);
        const char *escape = size == 0         ? "\xef\xbf\xbd"
                             : text[i] == '&'  ? "&amp;"
                             : text[i] == '<'  ? "&lt;"
                             : text[i] == '>'  ? "&gt;"
                             : text[i] == '"'  ? "&quot;"
                             : text[i] == '\'' ? "&#39;"
                                               : NULL;
        int rv = escape != NULL ? page_add(page, escape) : write_buffer_append(page, text + i, size, SIZE_MAX);
        if (rv < 0) {
            return rv;
        }
        i += size == 0 ? 1 : size;
    }
    return 0;
}

static int put_link(struct write_buffer *page, const struct listing_row *row)
{
    char link[3 * NAME_MAX];
    size_t len = url_encode_segment(row->name, row->name_len, link);
    /* A link that begins with "./" has no scheme and no host, whatever follows (RFC 3986 section 4.2). */
    int rv = page_add(page, "<td><a href=\"./");
    rv = rv < 0 ? rv : write_buffer_append(page, link, len, SIZE_MAX);
    return rv < 0 ? rv : page_add(page, row->is_directory ? "/\"><bdi>" : "\"><bdi>");
}

/* "1.4 KiB": short, and rounded down. */
static void format_size(uint64_t size, char text[32])
{
    static const char units[] = "KMGTPE";
    if (size < 1024) {
        snprintf(text, 32, "%" PRIu64 " B", size);
        return;
    }
    size_t unit = 0;
    for (; size >= UINT64_C(1024) * 1024; size /= 1024) {
        unit++;
    }
    snprintf(text, 32, "%" PRIu64 ".%" PRIu64 " %ciB", size / 1024, size % 1024 * 10 / 1024, units[unit]);
}

int listing_put_row(struct write_buffer *page, const struct listing_row *row)
{
    char cells[CELLS_ROOM];
    char size[32] = "";
    struct tm tm = {0};
    time_t time = row->mtime_s;
    if (!row->is_directory) {
        format_size(row->size, size);
    }
    bool has_date = gmtime_r(&time, &tm) != NULL && tm.tm_year >= -1900 && tm.tm_year <= 9999 - 1900;
    int date_len = snprintf(cells, sizeof cells, "%s</bdi></a></td><td>%s</td><td>", row->is_directory ? "/" : "",
                            size);
    if (has_date) {
        int year = tm.tm_year + 1900, month = tm.tm_mon + 1;
        snprintf(cells + date_len, sizeof cells - (size_t)date_len,
                 "<time datetime=\"%04d-%02d-%02dT%02d:%02d:%02dZ\">%04d-%02d-%02d %02d:%02d</time>", year, month,
                 tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, year, month, tm.tm_mday, tm.tm_hour, tm.tm_min);
    }
    int rv = page_add(page, "<tr>");
    rv = rv < 0 ? rv : put_link(page, row);
    rv = rv < 0 ? rv : page_add_escaped(page, row->name, row->name_len);
    rv = rv < 0 ? rv : page_add(page, cells);
    return rv < 0 ? rv : page_add(page, "</td></tr>\n");
}

int listing_put_head(struct write_buffer *page, const struct listing *listing, uint64_t cut_rows)
{
    static const char style[] =
        "</title>\n<style>\n"
        ":root{color-scheme:light dark}\n"
        "body{margin:0 auto;max-width:56rem;padding:2rem 1rem;font:16px/1.5 system-ui,sans-serif}\n"
        "h1{font-size:1.25rem;overflow-wrap:anywhere}\n"
        "table{width:100%;border-collapse:collapse}\n"
        "th,td{padding:.3rem .6rem;text-align:left;border-bottom:1px solid #8884}\n"
        "th{font-weight:600;font-size:.85rem;opacity:.7}\n"
        "td:first-child{overflow-wrap:anywhere}\n"
        "th+th,td+td{width:1%;text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}\n"
        "a{color:LinkText;text-decoration:none}\na:hover{text-decoration:underline}\n"
        "tbody tr:hover{background:#8881}\n"
        "p{opacity:.7;font-size:.85rem}\n"
        "</style>\n</head>\n<body>\n<h1>Index of <bdi>";
    static const char table[] = "</bdi></h1>\n<table>\n<thead><tr><th>Name</th><th>Size</th><th>Modified "
                                "(UTC)</th></tr></thead>\n<tbody>\n";
    static const char parent[] = "<tr><td><a href=\"../\">Parent directory</a></td><td></td><td></td></tr>\n";
    char cut[80] = "";
    if (cut_rows > 0) {
        snprintf(cut, sizeof cut, "<meta name=\"listing-cut\" content=\"%" PRIu64 "\">\n", cut_rows);
    }
    int rv = page_add(page, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                            "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n");
    rv = rv < 0 ? rv : page_add(page, cut);
    rv = rv < 0 ? rv : page_add(page, "<title>Index of ");
    rv = rv < 0 ? rv : page_add_escaped(page, listing->title, listing->title_len);
    rv = rv < 0 ? rv : page_add(page, style);
    rv = rv < 0 ? rv : page_add_escaped(page, listing->title, listing->title_len);
    rv = rv < 0 ? rv : page_add(page, table);
    return rv < 0 || !listing->has_parent ? rv : page_add(page, parent);
}

int listing_put_tail(struct write_buffer *page, uint64_t rows, bool is_cut)
{
    char tail[256];
    snprintf(tail, sizeof tail, "</tbody>\n</table>\n<p>%" PRIu64 " %s%s</p>\n</body>\n</html>\n", rows,
             rows == 1 ? "entry" : "entries", is_cut ? " shown; there are more in this directory" : "");
    return page_add(page, tail);
}
