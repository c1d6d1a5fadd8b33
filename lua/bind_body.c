/* Request bodies as scripts take them: whole, in pieces, or part by part. prelude_request.lua makes req.body,
 * req:chunks() and the others of these functions.
 *
 * Happy path: what has arrived is taken from the exchange at once. If nothing has, the coroutine waits with
 * body_wait, which resumes it with true, and the prelude calls the function again.
 *
 * Failure modes: a body that is too large, broken or too slow raises an error that is a response (413, 400, 408). When
 * the client goes away the function gives, or the coroutine is resumed with, false, from which the prelude makes the
 * error that ends it, once; a script that goes on waiting is not resumed any more. */

#include "lua/bind_body.h"

#include "core/ascii.h"
#include "http/exchange.h"
#include "http/limits.h"
#include "http/multipart.h"
#include "http/status.h"
#include "http/url.h"
#include "lua/bind_request.h"
#include "lua/coro.h"
#include "lua/object.h"
#include "lua/relay.h"
#include "lua/request_fields.h"
#include "lua/script_error.h"

#include <string.h>

/* What parts_step() gives first. The prelude knows these numbers. */
enum { STEP_PART = 1, STEP_CONTENT, STEP_PART_END };

/* The parser of a multipart body; a userdata of its own, no pointers in it. */
struct parts {
    struct multipart multipart;
    size_t offset; /* taken of a body that was read as a whole before */
};

/* The coroutine whose body is to be taken; NULL when its client has gone, which is then to be told with false. */
static struct coro *check_body(lua_State *L, const struct request *request, const char *what)
{
    struct coro *coro = request_coro(L, request);
    if (coro == NULL || (coro->exchange == NULL && !coro->is_gone)) {
        request_raise_over(L, what);
    }
    if (coro->route != NULL && coro->route->is_rule) {
        script_raise(L, "%s: a function of app.basic_auth cannot read the body: it is the handler's", what);
    }
    return coro;
}

/* The request's own coroutine runs, and may wait. */
static void check_waiting(lua_State *L, const struct coro *coro, const char *what)
{
    if (coro_check_waiting(L, what) != coro) {
        script_raise(L, "%s: only the handler of the request can wait for its body", what);
    }
}

/* What to return when the client has gone: false, the first time. The caller has count arguments. */
static int say_gone(lua_State *L, struct coro *coro, const char *what, int count)
{
    if (relay_is_needed(L)) {
        lua_settop(L, count);
        return relay_call(L);
    }
    check_waiting(L, coro, what);
    return coro_say_gone(L, coro);
}

/* More of the body, its end, or a fault: the script asks for it again. */
static void go_on_reading(struct coro *coro)
{
    lua_pushboolean(coro->L, 1);
    coro_resume(coro, 1);
}

static int push_false(struct coro *coro)
{
    lua_pushboolean(coro->L, 0);
    return 1;
}

static const struct coro_wait body_wait = {.on_data = go_on_reading, .on_gone = push_false};

static int wait_for_body(lua_State *L, struct coro *coro, const char *what, int count)
{
    if (relay_is_needed(L)) {
        lua_settop(L, count);
        return relay_call(L);
    }
    check_waiting(L, coro, what);
    return coro_wait(L, coro, &body_wait);
}

/* Raise for a body that cannot be had. */
_Noreturn static void raise_status(lua_State *L, const struct exchange *exchange, int status)
{
    if (status == 413) {
        script_raise_answer(L, status, "the request body is longer than %llu bytes",
                            (unsigned long long)exchange->limits->max_body_bytes);
    }
    if (status == 408) {
        script_raise_answer(L, status, "the request body arrived too slowly");
    }
    const char *reason = exchange->body_reason != NULL ? exchange->body_reason : status_reason(status);
    script_raise_answer(L, status, "request body: %s", reason);
}

/* take_body(req, "body"): the whole body; true: call again; false: the client has gone. The prelude calls it with what
 * is known to be a request. */
static int take_body(lua_State *L)
{
    static const char what[] = "req.body";
    struct request *request = request_check_self(L, what);
    lua_settop(L, 1);
    lua_pushliteral(L, "body");
    if (request->has_store != 0) {
        request_push_kept(L, request, 2);
        if (!lua_isnil(L, 3)) {
            return 1;
        }
    }
    struct coro *coro = check_body(L, request, what);
    if (coro->exchange == NULL) {
        return say_gone(L, coro, what, 2);
    }
    if (coro->body_use != BODY_UNUSED) {
        script_raise(L, "req.body: req:%s() has already begun to read the body",
                     coro->body_use == BODY_IN_PARTS ? "parts" : "chunks");
    }
    struct exchange *exchange = coro->exchange;
    int verdict = exchange_collect_body(exchange);
    if (verdict == BODY_WAIT) {
        return wait_for_body(L, coro, what, 2);
    }
    if (verdict < 0) {
        raise_status(L, exchange, -verdict);
    }
    lua_pushlstring(L, exchange->body == NULL ? "" : exchange->body, exchange->body_len);
    request_keep(L, request, 2);
    exchange_forget_body(exchange); /* the string is kept with the request */
    return 1;
}

/* Push the body if the whole of it was taken, else begin to take it in pieces. Returns the coroutine, or NULL when the
 * body was pushed. */
static struct coro *begin_pieces(lua_State *L, const char *what, enum body_use use)
{
    struct request *request = request_check(L, what);
    lua_settop(L, 1);
    lua_pushliteral(L, "body");
    request_push_kept(L, request, 2);
    if (!lua_isnil(L, 3)) {
        return NULL;
    }
    struct coro *coro = check_body(L, request, what);
    if (coro->body_use != BODY_UNUSED && (coro->body_use != use || use == BODY_IN_PARTS)) {
        script_raise(L, "%s: req:%s() has already begun to read the body", what,
                     coro->body_use == BODY_IN_PARTS ? "parts" : "chunks");
    }
    return coro;
}

/* begin_chunks(req): the body, if the whole of it was taken before; else nil. */
static int begin_chunks(lua_State *L)
{
    struct coro *coro = begin_pieces(L, "req:chunks", BODY_IN_CHUNKS);
    if (coro != NULL) {
        coro->body_use = BODY_IN_CHUNKS;
    }
    return 1;
}

/* take_chunk(req): the next piece; nil at the end; true: call again; false: the client has gone. */
static int take_chunk(lua_State *L)
{
    static const char what[] = "req:chunks";
    struct coro *coro = check_body(L, request_check(L, what), what);
    if (coro->exchange == NULL) {
        return say_gone(L, coro, what, 1);
    }
    const char *data;
    size_t len;
    int verdict = exchange_read_body(coro->exchange, &data, &len);
    if (verdict == BODY_WAIT) {
        return wait_for_body(L, coro, what, 1);
    }
    if (verdict < 0) {
        raise_status(L, coro->exchange, -verdict);
    }
    if (verdict == BODY_END) {
        lua_pushnil(L);
    } else {
        lua_pushlstring(L, data, len);
    }
    return 1;
}

/* Types. */

static const char *content_type(const struct exchange *exchange, size_t *len)
{
    *len = 0;
    const char *type = exchange_known_field(exchange, FIELD_CONTENT_TYPE, len);
    return type == NULL ? "" : type;
}

/* application/json, or application/something+json (RFC 6839 section 3.1). */
static bool is_json(const char *type, size_t len)
{
    const char *semicolon = memchr(type, ';', len);
    size_t end = semicolon == NULL ? len : (size_t)(semicolon - type);
    while (end > 0 && (type[end - 1] == ' ' || type[end - 1] == '\t')) {
        end--;
    }
    return media_type_is(type, len, "application/json") || (end > 5 && ascii_equals(type + end - 5, "+json", 5));
}

/* check_json(req): raises 415 for a body that is not called JSON. */
static int check_json(lua_State *L)
{
    struct coro *coro = check_body(L, request_check(L, "req:json"), "req:json");
    if (coro->exchange != NULL) {
        size_t len;
        const char *type = content_type(coro->exchange, &len);
        if (!is_json(type, len)) {
            script_raise_answer(L, 415, "the request body must be application/json");
        }
    }
    return 0;
}

/* check_form(req): whether the body is a multipart form; raises 415 for what is no form. */
static int check_form(lua_State *L)
{
    struct coro *coro = check_body(L, request_check(L, "req:form"), "req:form");
    bool is_multipart = false;
    if (coro->exchange != NULL) {
        size_t len;
        const char *type = content_type(coro->exchange, &len);
        is_multipart = media_type_is(type, len, "multipart/form-data");
        if (!is_multipart && !media_type_is(type, len, "application/x-www-form-urlencoded")) {
            script_raise_answer(L, 415,
                                "the request body must be application/x-www-form-urlencoded or "
                                "multipart/form-data");
        }
    }
    lua_pushboolean(L, is_multipart);
    return 1;
}

/* Forms. */

/* parse_form(text, is_query): a list of name, value, name, value ... */
static int parse_form(lua_State *L)
{
    size_t left;
    const char *text = luaL_checklstring(L, 1, &left);
    bool is_query = lua_toboolean(L, 2) != 0;
    struct url_pair pair;
    int count = 0;
    lua_newtable(L);
    while (url_next_pair(&text, &left, &pair)) {
        if (count == 2 * FORM_FIELDS_MAX && is_query) {
            script_raise_answer(L, 400, "the query has more than %d names", FORM_FIELDS_MAX);
        }
        if (count == 2 * FORM_FIELDS_MAX) {
            script_raise_answer(L, 413, "the form has more than %d fields", FORM_FIELDS_MAX);
        }
        request_push_decoded(L, pair.name, pair.name_len);
        lua_rawseti(L, -2, ++count);
        request_push_decoded(L, pair.value, pair.value_len);
        lua_rawseti(L, -2, ++count);
    }
    return 1;
}

/* begin_parts(req): a parser, and the body if the whole of it was taken before. Raises 415 and 400. */
static int begin_parts(lua_State *L)
{
    static const char what[] = "req:parts";
    struct coro *coro = begin_pieces(L, what, BODY_IN_PARTS);
    struct parts *parts = lua_newuserdata(L, sizeof *parts);
    *parts = (struct parts){0};
    script_push_ref(script_of(L), L, REF_PARTS_META);
    lua_setmetatable(L, -2);
    struct coro *of_request = check_body(L, lua_touserdata(L, 1), what);
    if (of_request->exchange == NULL) {
        coro_raise_closed(L);
    }
    size_t len;
    const char *type = content_type(of_request->exchange, &len);
    int status = multipart_begin(&parts->multipart, type, len);
    if (status == 415) {
        script_raise_answer(L, status, "the request body must be multipart/form-data");
    }
    if (status == 400) {
        script_raise_answer(L, status, "the Content-Type has no boundary, or an invalid one");
    }
    if (coro != NULL) {
        coro->body_use = BODY_IN_PARTS;
    }
    lua_insert(L, 3); /* before the body or nil */
    return 2;
}

/* Push a table of the part's header fields, names in any case. */
static void push_part_headers(lua_State *L, const struct multipart *multipart)
{
    lua_createtable(L, 0, multipart->field_count);
    for (unsigned i = 0; i < multipart->field_count; i++) {
        const struct field *field = &multipart->fields[i];
        request_push_lower(L, multipart->head + field->name.offset, field->name.len);
        lua_pushlstring(L, multipart->head + field->value.offset, field->value.len);
        lua_rawset(L, -3);
    }
    script_push_ref(script_of(L), L, REF_HEADERS_META);
    lua_setmetatable(L, -2);
}

/* Push the name of a part or of its file; nil when it has none. */
static void push_name(lua_State *L, int len, const char *value)
{
    if (len < 0) {
        lua_pushnil(L);
    } else {
        lua_pushlstring(L, value, (size_t)len);
    }
}

/* Push what an event tells. Returns the number of values. */
static int push_event(lua_State *L, const struct multipart *multipart, enum multipart_event event, const char *content,
                      size_t content_len)
{
    size_t len;
    const char *type;
    char value[MULTIPART_HEAD_MAX];
    switch (event) {
    case MULTIPART_PART:
        lua_pushinteger(L, STEP_PART);
        push_name(L, multipart_parameter(multipart, "name", value), value);
        push_name(L, multipart_filename(multipart, value), value);
        type = multipart_field(multipart, "content-type", &len);
        if (type == NULL) {
            lua_pushnil(L);
        } else {
            lua_pushlstring(L, type, len);
        }
        push_part_headers(L, multipart);
        return 5;
    case MULTIPART_CONTENT:
        lua_pushinteger(L, STEP_CONTENT);
        lua_pushlstring(L, content, content_len);
        return 2;
    case MULTIPART_PART_END:
        lua_pushinteger(L, STEP_PART_END);
        return 1;
    case MULTIPART_ERROR:
        script_raise_answer(L, multipart->status, "multipart body: %s", multipart->reason);
    case MULTIPART_MORE:
        break;
    }
    return 0;
}

/* parts_step(req, parts, body): what comes next, see push_event(); nil at the end; true: call again; false: the client
 * has gone. body is the whole of it, if that was taken before. */
static int parts_step(lua_State *L)
{
    static const char what[] = "req:parts";
    const struct request *request = request_check(L, what);
    struct parts *parts = object_check(L, 2, REF_PARTS_META, sizeof(struct parts), what);
    struct coro *coro = NULL;
    size_t body_len = 0;
    const char *body = lua_tolstring(L, 3, &body_len);
    if (body == NULL) {
        coro = check_body(L, request, what);
        if (coro->exchange == NULL) {
            return say_gone(L, coro, what, 2);
        }
    }
    for (const char *data = "";;) {
        size_t used, content_len, len = 0;
        const char *content;
        /* First without more bytes: the end of a part may have come with its last ones. */
        enum multipart_event event = multipart_parse(&parts->multipart, data, 0, &used, &content, &content_len);
        if (event == MULTIPART_MORE && body != NULL) {
            len = parts->offset < body_len ? body_len - parts->offset : 0;
            event = multipart_parse(&parts->multipart, body + parts->offset, len, &used, &content, &content_len);
            parts->offset += used;
        } else if (event == MULTIPART_MORE) {
            int verdict = exchange_read_body(coro->exchange, &data, &len);
            if (verdict == BODY_WAIT) {
                return wait_for_body(L, coro, what, 2);
            }
            if (verdict < 0) {
                raise_status(L, coro->exchange, -verdict);
            }
            len = verdict == BODY_END ? 0 : len;
            event = multipart_parse(&parts->multipart, data, len, &used, &content, &content_len);
            if (used < len) {
                exchange_unread_body(coro->exchange, len - used);
            }
        }
        if (event != MULTIPART_MORE) {
            return push_event(L, &parts->multipart, event, content, content_len);
        }
        if (len == 0) {
            if (!multipart_finish(&parts->multipart)) {
                return push_event(L, &parts->multipart, MULTIPART_ERROR, NULL, 0);
            }
            lua_pushnil(L);
            return 1;
        }
    }
}

void bind_body(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"take_body", take_body},     {"begin_chunks", begin_chunks}, {"take_chunk", take_chunk},
        {"check_json", check_json},   {"check_form", check_form},     {"parse_form", parse_form},
        {"begin_parts", begin_parts}, {"parts_step", parts_step},     {NULL, NULL},
    };
    static const luaL_Reg no_methods[] = {{NULL, NULL}};
    object_set_methods(L, no_methods, "parts", REF_PARTS_META);
    luaL_register(L, NULL, functions);
}
