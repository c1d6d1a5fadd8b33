/* What Lua sites hand to our functions, and what their handlers return (lua/). The input is lines; the first letter
 * says what is done with the values in the rest of it (tests/lib/lua_values.h):
 *
 *   l   the functions of app are called at start-up       r   a handler returns them
 *   s   a stream writes them                              e   a handler raises the first
 *   m   middleware sets status, body and header fields    c   the functions of app are called by a handler
 *   q   methods of the request are called with them       k   set_cookie() of a response
 *   d   they are called after the answer, and by timers   b   the rest is a request's body, which a handler looks at
 *
 * Each request gets at most one answer, well-formed whatever was returned; only a stream may be cut. Errors say where.
 * In the end no memory and no fd is left. */

#include "tests/lib/fuzz.h"
#include "tests/lib/lua_scene.h"
#include "tests/lib/lua_values.h"
#include "tests/wire/wire_answers.h"

enum { INPUT_MAX = 2048, REQUESTS_MAX = 16 };

static const char site_text[] = APP
    "local names = {}\n"
    "for name, fn in pairs(app) do if type(fn) == 'function' then names[#names + 1] = name end end\n"
    "table.sort(names)\n"
    "local calls = {}\n"
    "for i, name in ipairs(names) do calls[i] = app[name] end\n"
    "calls[#calls + 1] = app.json.encode\n"
    "calls[#calls + 1] = app.json.decode\n"
    "calls[#calls + 1] = app.json.array\n"
    "local store = app.store('fuzz', { size = '64K' })\n"
    "for _, name in ipairs { 'get', 'set', 'add', 'replace', 'delete', 'incr', 'once', 'expire', 'ttl', 'keys', 'stats',\n"
    "    'flush' } do\n"
    "    calls[#calls + 1] = function(...) return store[name](store, ...) end\n"
    "end\n"
    "local function say(out) out:write('a', 1) out:write('b') end\n"
    "local functions = {\n"
    "    function(...) return ... end, function(x) error(x) end, say,\n"
    "    function(out) say(out) error 'after some' end, function() app.sleep '1ms' return 'slept' end,\n"
    "    function(req) return req.body end, function(req, nxt) return nxt(req) end, print,\n"
    "    coroutine.wrap(function(...) while true do coroutine.yield(...) end end),\n"
    "}\n"
    "local values = fuzz(calls, functions)\n"
    "local function try(...) for i, fn in ipairs(calls) do pcall(fn, ...) end end\n"
    "local methods = { 'header', 'query_all', 'chunks', 'json', 'form', 'form_all', 'parts' }\n"
    "app.get('/r', function() return values() end)\n"
    "app.get('/s', function() return 200, function(out) out:write(values()) end end)\n"
    "app.get('/e', function() error((values())) end)\n"
    "app.get('/c', function() try(values()) return 'called' end)\n"
    "app.route({ 'GET', 'POST' }, '/q', function(req)\n"
    "    for _, name in ipairs(methods) do pcall(req[name], req, values()) end\n"
    "    pcall(function(k, v) req[k] = v return req[k] end, values())\n"
    "    return 'asked'\n"
    "end)\n"
    "app.get('/k', function() return app.html('x'):set_cookie(values()) end)\n"
    "app.get('/d', function()\n"
    "    app.defer(function() try(values()) end)\n"
    "    app.after('1ms', function() try(values()) end)\n"
    "    return 'later'\n"
    "end)\n"
    "app.post('/b', function(req)\n"
    "    local ok, got = pcall(req.json, req)\n"
    "    return { tostring(got), select(2, pcall(req.form, req)), req.cookies, req.query, #req.body }\n"
    "end)\n"
    "app.use(function(req, nxt)\n"
    "    if req.path ~= '/m' then return nxt() end\n"
    "    local res = nxt()\n"
    "    res.status, res.body = values()\n"
    "    local _, _, key, value, other = values()\n"
    "    res.headers[key] = value\n"
    "    res.headers['x-other'] = other\n"
    "    return res\n"
    "end)\n"
    "app.get('/m', function() return 'plain' end)\n"
    "try(values())\n";

static struct lua_values line; /* the one that is being played */

/* values(): those of the line, made anew. */
static int push_line(lua_State *L)
{
    struct lua_values values = line;
    return values_push(&values, L, '\0');
}

/* fuzz(calls, functions): values. */
static int begin(lua_State *L)
{
    lua_settop(L, 2);
    lua_setfield(L, LUA_REGISTRYINDEX, "fuzz.functions");
    lua_setfield(L, LUA_REGISTRYINDEX, "fuzz.app");
    lua_pushcfunction(L, push_line);
    return 1;
}

static int init(lua_State *L, void *arg)
{
    (void)arg;
    lua_pushcfunction(L, begin);
    lua_setglobal(L, "fuzz");
    return 0;
}

/* Only what a stream began may be cut. */
static void check_answer(const struct fake_peer *peer, const char *kind)
{
    static struct answers answers;
    static const bool is_head[ANSWERS_MAX];
    size_t len;
    const char *output = fake_peer_output(peer, &len);
    answers_read(&answers, output, len, is_head, fake_peer_saw_end(peer));
    if (answers.error[0] != '\0' && !answers.is_cut) {
        fprintf(stderr, "%s: %s\n%s\n", kind, answers.error, output);
        abort();
    }
    FUZZ_MUST(answers.count <= 1 && answers.interim == 0);
    for (size_t i = 0; i < answers.count; i++) {
        FUZZ_MUST(answers.list[i].status >= 200 && answers.list[i].status <= 599);
    }
    answers_done(&answers);
}

static void ask_line(struct scene *scene, char kind, const char *text, size_t len)
{
    char target[] = {'/', kind, '\0'};
    struct fake_peer *peer = fake_peer_connect(scene->listener_fd);
    if (kind == 'b' || kind == 'q') {
        char head[256];
        snprintf(
            head, sizeof head,
            "POST %s?a=1&b=%%41 HTTP/1.1\r\nHost: a\r\nCookie: a=b; c\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n",
            target, len % 2 == 0 ? "application/json" : "application/x-www-form-urlencoded", len);
        fake_peer_send_text(peer, head);
        fake_peer_send(peer, text, len);
    } else {
        char head[64];
        snprintf(head, sizeof head, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", target);
        fake_peer_send_text(peer, head);
    }
    settle(scene);
    for (int i = 0; i < 3; i++) {
        pass_ms(scene, 1);
    }
    check_answer(peer, target);
    fake_peer_reset(peer, 0);
    settle(scene);
}

/* The next line of the input. */
static bool next_line(const char **at, const char *end)
{
    if (*at >= end) {
        return false;
    }
    const char *lf = memchr(*at, '\n', (size_t)(end - *at));
    line = (struct lua_values){.at = *at, .end = lf == NULL ? end : lf};
    *at = lf == NULL ? end : lf + 1;
    return true;
}

static void play(struct scene *scene, const char *at, const char *end)
{
    for (int asked = 0; asked < REQUESTS_MAX && next_line(&at, end);) {
        char kind = line.at < line.end ? *line.at : '\0';
        if (kind == '\0' || strchr("rsecqkdbm", kind) == NULL) {
            continue;
        }
        line.at++;
        ask_line(scene, kind, line.at, (size_t)(line.end - line.at));
        asked++;
    }
}

static void remove_script(void);

/* One for all inputs: the script is always the same. */
static struct scene *make_scene(void)
{
    static struct scene scene;
    char path[sizeof scene.path];
    if (scene.path[0] == '\0') {
        write_script(&scene, site_text);
        atexit(remove_script);
    }
    memcpy(path, scene.path, sizeof path);
    memset(&scene, 0, sizeof scene);
    memcpy(scene.path, path, sizeof path);
    scene.log = (struct log){.sink = on_line, .arg = &scene, .level = LOG_INFO};
    return &scene;
}

static void remove_script(void)
{
    unlink(make_scene()->path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const char *at = (const char *)data, *end = at + len;
    (void)fuzz_guarded();
    if (len > INPUT_MAX) {
        return 0;
    }
    struct scene *scene = make_scene();
    const char *first = at;
    if (!next_line(&first, end) || line.at == line.end || *line.at != 'l') {
        line = (struct lua_values){.at = end, .end = end};
    } else {
        line.at++;
        at = first;
    }
    if (start(scene, init, NULL) == 0) {
        play(scene, at, end);
    } else {
        FUZZ_MUST(strchr(scene->err, ':') != NULL && strchr(scene->err, '\n') == NULL);
    }
    stop(scene);
    if (fake_sys_open_fds() != 0) {
        fake_sys_print_open_fds();
    }
    FUZZ_MUST(fake_sys_open_fds() == 0 && fake_mem_live() == 0);
    fake_sys_reset();
    return 0;
}
