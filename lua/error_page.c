/* The page that a developer sees in place of a plain 500: what failed, the source around the place, the traceback, the
 * request.
 *
 * Happy path: error_page_keep() writes the parts into the scratch buffer, each bounded, all text escaped.
 *
 * Failure modes: a source that cannot be read is left out. Without memory there is no page, and the response is the
 * plain one. */

#include "lua/error_page.h"

#include "core/ascii.h"
#include "core/sys.h"
#include "http/exchange.h"
#include "http/response.h"
#include "lua/coro_pool.h"
#include "lua/json_encode.h"
#include "lua/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum {
    SOURCE_BYTES_MAX = 1 << 20, /* of a source file that are looked at */
    LINES_AROUND = 6,           /* lines of source shown before and after the one that failed */
    LINE_SHOWN_MAX = 300,       /* bytes shown of one of them, or of a header's value */
    SOURCE_BYTES = 4096,        /* read at a time */
};

/* A text being made. Without memory it gets no further. */
struct page {
    struct write_buffer *out;
    bool is_short; /* of memory */
};

static void page_put(struct page *page, const char *text, size_t len)
{
    page->is_short = page->is_short || write_buffer_append(page->out, text, len, SIZE_MAX) < 0;
}

static void page_put_text(struct page *page, const char *text)
{
    page_put(page, text, strlen(text));
}

static void page_put_escaped(struct page *page, const char *text, size_t len)
{
    static const char *const escapes[128] = {
        ['&'] = "&amp;", ['<'] = "&lt;", ['>'] = "&gt;", ['"'] = "&quot;", ['\''] = "&#39;", ['\0'] = "&#xfffd;",
    };
    for (size_t done = 0; done < len;) {
        size_t plain = 0;
        while (done + plain < len &&
               ((unsigned char)text[done + plain] >= 128 || escapes[(unsigned char)text[done + plain]] == NULL)) {
            plain++;
        }
        page_put(page, text + done, plain);
        done += plain;
        if (done < len) {
            page_put_text(page, escapes[(unsigned char)text[done++]]);
        }
    }
}

static void put_shown(struct page *page, const char *text, size_t len)
{
    page_put_escaped(page, text, len < LINE_SHOWN_MAX ? len : LINE_SHOWN_MAX);
    page_put_text(page, len <= LINE_SHOWN_MAX ? "\n" : "...\n");
}

/* Source. */

static void put_source_line(struct page *page, unsigned long number, bool is_it, const char *text, size_t len)
{
    char label[64];
    snprintf(label, sizeof label, "%s%5lu  ", is_it ? "<b>" : "", number);
    page_put_text(page, label);
    put_shown(page, text, len);
    page_put_text(page, is_it ? "</b>" : "");
}

/* All that is to be read of the file, behind what the page has already. Returns its length, or -errno. */
static ssize_t read_source(struct write_buffer *out, int fd)
{
    size_t before = write_buffer_len(out);
    struct stat st;
    int rv = sys_stat(fd, &st);
    if (rv < 0 || !S_ISREG(st.st_mode)) {
        return rv < 0 ? rv : -EINVAL;
    }
    for (size_t len = 0; len < SOURCE_BYTES_MAX; len = write_buffer_len(out) - before) {
        char *room = write_buffer_reserve(out, SOURCE_BYTES, SIZE_MAX, &rv);
        if (room == NULL) {
            return rv;
        }
        ssize_t got = sys_pread(fd, room, SOURCE_BYTES, (off_t)len);
        if (got < 0 && got != -EINTR) {
            return got;
        }
        if (got == 0) {
            break;
        }
        write_buffer_commit(out, got < 0 ? 0 : (size_t)got);
    }
    return (ssize_t)(write_buffer_len(out) - before);
}

/* The lines around the wanted one of a source. */
static void put_lines(struct page *page, const char *source, size_t len, unsigned long wanted)
{
    const char *end = source + len;
    page_put_text(page, "<pre>");
    for (unsigned long number = 1; source < end && number <= wanted + LINES_AROUND; number++) {
        const char *newline = memchr(source, '\n', (size_t)(end - source));
        size_t line_len = (size_t)((newline == NULL ? end : newline) - source);
        if (number + LINES_AROUND >= wanted) {
            put_source_line(page, number, number == wanted, source, line_len);
        }
        source += line_len + 1;
    }
    page_put_text(page, "</pre>\n");
}

/* The source around a place such as "scripts/site.lua:12". */
static void put_source(struct page *page, int base_fd, const char *place)
{
    char path[PLACE_MAX];
    const char *colon = strrchr(place, ':');
    uint64_t line = 0;
    if (colon == NULL || !ascii_parse_number(colon + 1, strlen(colon + 1), INT32_MAX, &line) || line == 0) {
        return;
    }
    snprintf(path, sizeof path, "%.*s", (int)(colon - place), place);
    int fd = sys_open(sys_base(base_fd), path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        return;
    }
    struct write_buffer source;
    write_buffer_init(&source);
    ssize_t len = read_source(&source, fd);
    sys_close(fd);
    if (len > 0) {
        put_lines(page, write_buffer_data(&source), (size_t)len, line);
    }
    write_buffer_done(&source);
}

/* The request. */

/* Whoever sees the page may not be who sent the request: a screenshot travels far. */
static bool is_secret(const char *name, size_t len)
{
    static const char *const secrets[] = {"auth", "cookie", "key", "password", "secret", "token"};
    for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
        size_t secret_len = strlen(secrets[i]);
        for (size_t at = 0; at + secret_len <= len; at++) {
            if (ascii_equals(name + at, secrets[i], secret_len)) {
                return true;
            }
        }
    }
    return false;
}

static void put_request(struct page *page, const struct exchange *exchange)
{
    const struct head *head = &exchange->head;
    page_put_text(page, "<h2>Request</h2>\n<pre>");
    page_put_escaped(page, exchange_text(exchange, head->method_text), head->method_text.len);
    page_put_text(page, " ");
    put_shown(page, exchange_text(exchange, head->target), head->target.len);
    for (unsigned i = 0; i < head->field_count; i++) {
        const struct field *field = &head->fields[i];
        const char *name = exchange_text(exchange, field->name);
        page_put_escaped(page, name, field->name.len);
        page_put_text(page, ": ");
        if (is_secret(name, field->name.len)) {
            page_put_text(page, "(not shown)\n");
        } else {
            put_shown(page, exchange_text(exchange, field->value), field->value.len);
        }
    }
    page_put_text(page, "</pre>\n");
}

/* The page. */

static const char top[] =
    "<!DOCTYPE html>\n<meta charset=\"utf-8\">\n<title>Error</title>\n<style>\n"
    "body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }\n"
    "h1 { font-size: 1.3rem; overflow-wrap: anywhere } h2 { font-size: 1rem }\n"
    "pre { background: #f4f4f4; color: #222; padding: .8rem; overflow-x: auto; font-size: .85rem }\n"
    "b { background: #fdd; display: block }\n</style>\n";

/* Push the page about what is told in traceback: a text and lines below it. */
static int push_html(lua_State *L, const struct coro *coro, const char *traceback, const char *place)
{
    size_t text_len = strcspn(traceback, "\n");
    struct page page = {.out = script_lend_scratch(L, "the error page")};
    page_put_text(&page, top);
    page_put_text(&page, "<h1>");
    page_put_escaped(&page, traceback, text_len);
    page_put_text(&page, "</h1>\n");
    put_source(&page, script_of(L)->base_fd, place);
    page_put_text(&page, "<h2>Traceback</h2>\n<pre>");
    page_put_escaped(&page, traceback, strlen(traceback));
    page_put_text(&page, "</pre>\n");
    put_request(&page, coro->exchange);
    page_put_text(&page,
                  "<p>This page is shown because of <code>app.set { debug = true }</code>. Never set it on a site "
                  "that others can reach.</p>\n");
    if (!page.is_short) {
        lua_pushlstring(L, write_buffer_data(page.out), write_buffer_len(page.out));
    }
    script_return_scratch(L);
    return page.is_short ? 0 : 1;
}

/* {"error": the text, "traceback": [lines]} */
static int push_json(lua_State *L, const struct coro *coro, const char *traceback)
{
    static const char heading[] = "\nstack traceback:";
    size_t len = strcspn(traceback, "\n");
    lua_createtable(L, 0, 2);
    lua_pushlstring(L, traceback, len);
    lua_setfield(L, -2, "error");
    lua_newtable(L);
    script_push_ref(coro->script, L, REF_ARRAY_META);
    lua_setmetatable(L, -2);
    int count = 0;
    const char *first = traceback + len;
    first += strncmp(first, heading, sizeof heading - 1) == 0 ? sizeof heading - 1 : 0;
    for (const char *line = first; *line == '\n'; line += len) {
        line += 1 + strspn(line + 1, "\t");
        len = strcspn(line, "\n");
        lua_pushlstring(L, line, len);
        lua_rawseti(L, -2, ++count);
    }
    lua_setfield(L, -2, "traceback");
    struct write_buffer *out = script_lend_scratch(L, "the error page");
    json_encode(L, lua_gettop(L), out);
    lua_pushlstring(L, write_buffer_data(out), write_buffer_len(out));
    script_return_scratch(L);
    return 1;
}

/* Whether the client would rather have JSON: it says so, and does not speak of HTML. */
static bool wants_json(const struct exchange *exchange)
{
    static const char json[] = "application/json";
    static const char html[] = "text/html";
    size_t len;
    const char *accept = exchange_field(exchange, "accept", &len);
    return accept != NULL && memmem(accept, len, json, sizeof json - 1) != NULL &&
           memmem(accept, len, html, sizeof html - 1) == NULL;
}

void error_page_keep(lua_State *L, struct coro *coro, int traceback, const char *place)
{
    const struct script *script = coro->script;
    if (!script->settings.debug || coro->exchange == NULL || coro->exchange->response_state != RESPONSE_NONE ||
        coro->held[HELD_PAGE] != NULL) {
        return;
    }
    coro->is_page_json = wants_json(coro->exchange);
    const char *text = lua_tostring(L, traceback);
    int count = coro->is_page_json ? push_json(L, coro, text) : push_html(L, coro, text, place);
    if (count > 0) {
        (void)coro_hold(L, coro, HELD_PAGE, lua_gettop(L));
    }
}

static const char *page_type(const struct coro *coro)
{
    return coro->is_page_json ? "application/json" : "text/html; charset=utf-8";
}

int error_page_push(lua_State *L, struct coro *coro)
{
    const struct anchor *page = coro->held[HELD_PAGE];
    if (page == NULL) {
        return 0;
    }
    lua_pushlstring(L, page->data, page->len);
    lua_pushstring(L, page_type(coro));
    coro_let_go(coro, HELD_PAGE);
    return 2;
}

bool error_page_send(struct coro *coro, int status)
{
    /* No script, no request from elsewhere: whatever the page quotes can do nothing. */
    static const char policy_name[] = "Content-Security-Policy";
    static const char policy[] = "default-src 'none'; style-src 'unsafe-inline'";
    struct anchor *page = coro->held[HELD_PAGE];
    if (page == NULL || coro->exchange == NULL || coro->exchange->response_state != RESPONSE_NONE) {
        return false;
    }
    coro->held[HELD_PAGE] = NULL;
    struct exchange *exchange = coro_detach(coro);
    response_clear_fields(exchange);
    (void)response_add_field(exchange, "Cache-Control", 13, "no-store", 8);
    (void)response_add_field(exchange, policy_name, sizeof policy_name - 1, policy, sizeof policy - 1);
    response_send_borrowed(exchange, status, page_type(coro), page->data, page->len, script_release, page);
    return true;
}
