/* From what a handler returned to a response: the return conventions, in one place.
 *
 *   text                    200, text/plain
 *   table                   200, JSON
 *   function                200, a stream: called with an object that has write()
 *   status                  that status with a short text, or without content (2xx)
 *   nothing, nil            204
 *   response object         of app.html, app.redirect, app.file, app.events, app.pass, or what nxt() gave to a middleware
 *   status, any of these    with that status
 *   ..., table              header fields last
 *
 * Failure modes: what makes no sense raises an error, before any byte of the response exists; coro_error.c makes a 500
 * of it. */

#include "lua/answer.h"

#include "core/ascii.h"
#include "core/log.h"
#include "core/publication.h"
#include "http/event_stream.h"
#include "http/exchange.h"
#include "http/exchange_log.h"
#include "http/file_reply.h"
#include "http/response.h"
#include "http/server.h"
#include "http/site.h"
#include "http/static_files.h"
#include "http/static_mounts.h"
#include "http/status.h"
#include "lua/anchor.h"
#include "lua/bind_number.h"
#include "lua/bind_stream.h"
#include "lua/bind_topics.h"
#include "lua/bind_websocket.h"
#include "lua/coro_pool.h"
#include "lua/json_encode.h"
#include "lua/object.h"
#include "lua/scratch.h"
#include "lua/script_error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char plain_type[] = "text/plain; charset=utf-8";
static const char application_json[] = "application/json";

/* A response, taken apart. Indices are of L's stack; 0 means that there is none. */
struct reply {
    int status;       /* 0 until known */
    int body;         /* index of the body */
    int headers;      /* index of the table of header fields */
    bool is_pass;     /* the static files answer */
    int file;         /* index of the path of a file, which is the content; root is that of its directory */
    int root;         /* index */
    int websocket;    /* index of the function of a WebSocket, which follows a 101 */
    int events;       /* index of the table of a stream of events, which is the content */
    bool is_uncoded;  /* the handler does not want it to be compressed */
    bool dotfiles;    /* the file's path may name dot files */
    bool has_type;    /* the handler gives its own Content-Type */
    const char *type; /* which that is, for a file; the table of headers keeps it */
    int64_t length;   /* Content-Length that the handler gives to a stream */
};

/* Header fields. */

_Noreturn static void refuse_field(lua_State *L, const char *name, int error)
{
    switch (error) {
    case -EINVAL:
        script_raise(L,
                     "header \"%.100s\": the name must be a token, and the value must not contain control characters",
                     name);
    case -EPERM:
        script_raise(L, "header \"%.100s\" is set by the server itself", name);
    case -EEXIST: /* clients differ in which of two they take */
        script_raise(L, "header \"%.100s\" is set twice: a response may have it only once", name);
    case -ENOBUFS:
        script_raise(L, "header \"%.100s\": the header fields are longer than %d bytes in total", name,
                     RESPONSE_FIELDS_MAX);
    default:
        script_raise_memory(L);
    }
}

/* A stream may tell its length. */
static void take_length(lua_State *L, struct reply *reply, const char *text, size_t len)
{
    uint64_t length;
    if (!ascii_parse_number(text, len, INT64_MAX, &length)) {
        script_raise(L, "header \"content-length\" must be a number of bytes");
    }
    reply->length = (int64_t)length;
}

/* What the host has set for all responses (its function before) is there already; the script's line of a field that is
 * sent once takes its place. Returns as response_add_field(). */
static int add_line(struct exchange *exchange, const char *name, size_t name_len, const char *value, size_t len)
{
    int rv = response_add_field(exchange, name, name_len, value, len);
    bool is_default = rv == -EEXIST && response_keeps_field(exchange, name, name_len);
    return is_default ? response_set_field(exchange, name, name_len, value, len) : rv;
}

/* Add one field line; the value lies on top of the stack. */
static void add_field(lua_State *L, struct exchange *exchange, struct reply *reply, const char *name, size_t name_len)
{
    int type = lua_type(L, -1);
    if (type != LUA_TSTRING && type != LUA_TNUMBER) {
        script_raise(L, "header \"%.100s\": a value must be a string or a number, not %s", name, lua_typename(L, type));
    }
    if (type == LUA_TNUMBER) {
        script_number_to_text(L, -1);
    }
    size_t len;
    const char *value = lua_tolstring(L, -1, &len);
    if (ascii_is(name, name_len, "content-length") && reply->body != 0 && lua_isfunction(L, reply->body)) {
        take_length(L, reply, value, len);
        return;
    }
    bool is_type = ascii_is(name, name_len, "content-type");
    if (is_type && reply->has_type) { /* that of a file is no field yet */
        refuse_field(L, name, -EEXIST);
    }
    bool is_file_type = is_type && reply->file != 0 && type == LUA_TSTRING;
    int rv = is_file_type ? response_check_field(name, name_len, value, len)
                          : add_line(exchange, name, name_len, value, len);
    if (rv < 0) {
        refuse_field(L, name, rv);
    }
    reply->has_type = reply->has_type || is_type;
    reply->type = is_file_type ? value : reply->type;
}

/* Add the fields of a table: name to value, or to a list of values, each a line of its own. */
static void add_fields(lua_State *L, struct exchange *exchange, struct reply *reply)
{
    for (lua_pushnil(L); lua_next(L, reply->headers) != 0; lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING) {
            script_raise(L, "header names must be strings, not %s", luaL_typename(L, -2));
        }
        size_t len;
        const char *name = lua_tolstring(L, -2, &len);
        if (!lua_istable(L, -1)) {
            add_field(L, exchange, reply, name, len);
            continue;
        }
        int values = lua_gettop(L);
        size_t count = lua_objlen(L, values);
        for (size_t i = 1; i <= count; i++) {
            lua_rawgeti(L, values, (int)i);
            add_field(L, exchange, reply, name, len);
            lua_pop(L, 1);
        }
    }
}

/* Bodies. */

static const char *type_of(const struct reply *reply, const char *usual)
{
    return reply->has_type ? NULL : usual;
}

static void send_text(lua_State *L, struct coro *coro, int status, const char *type, int index)
{
    size_t len;
    const char *text = lua_tolstring(L, index, &len);
    if (len < BORROW_MIN) {
        response_send(coro_detach(coro), status, type, text, len);
        return;
    }
    struct anchor *anchor = script_anchor(L, index);
    struct exchange *exchange = coro_detach(coro);
    anchor_send(anchor, exchange);
    response_send_borrowed(exchange, status, type, anchor->data, anchor->len, script_release, anchor);
}

/* No body: success says nothing, all else names itself. */
static void send_status(struct coro *coro, const struct reply *reply)
{
    char text[RESPONSE_PAGE_MAX];
    if (reply->status < 300) {
        response_send(coro_detach(coro), reply->status, NULL, NULL, 0);
        return;
    }
    size_t len = response_format_page(text, reply->status, NULL);
    struct exchange *exchange = coro_detach(coro);
    if (reply->status < 400 || !response_send_page(exchange, reply->status)) {
        response_send(exchange, reply->status, type_of(reply, plain_type), text, len);
    }
}

static void pass_on(struct coro *coro)
{
    struct exchange *exchange = coro_detach(coro);
    struct static_mounts *mounts = exchange->vhost->mounts;
    exchange->match.allowed = 0; /* that the path is a route's as well matters no more */
    if (static_mounts_cover(mounts, exchange->path, exchange->path_len)) {
        static_files_serve(mounts, exchange);
    } else {
        response_refuse(exchange, 404, NULL);
    }
}

/* The file of an app.file(). */
static void send_file_reply(lua_State *L, struct coro *coro, const struct reply *reply)
{
    struct file_replies *replies = coro->script->site->replies;
    char err[SCRIPT_TEXT_MAX];
    struct file_reply file = {
        .root = lua_tostring(L, reply->root),
        .path = lua_tolstring(L, reply->file, NULL),
        .path_len = lua_objlen(L, reply->file),
        .status = reply->status,
        .type = reply->type,
        .dotfiles = reply->dotfiles,
    };
    if (file_reply_check(replies, &file, err, sizeof err) < 0) {
        script_raise(L, "app.file: root: %s", err);
    }
    file_reply_send(replies, coro_detach(coro), &file);
}

/* The stream of events of an app.events(). */
static void send_event_stream(lua_State *L, struct coro *coro, const struct reply *reply)
{
    struct event_stream_options options;
    topics_check_stream(L, reply->events, &options);
    struct exchange *exchange = coro_detach(coro);
    int rv = event_stream_begin(exchange, &options);
    if (rv < 0) {
        const char *why = message_error_text(rv);
        exchange_log(exchange, LOG_ERROR, why, "app.events: %s", why);
        response_error(exchange, 503, NULL);
    }
}

/* Returns the values for the prelude's run(): the function to call and what to call it with, if there is one. */
static int begin_stream(lua_State *L, struct coro *coro, const struct reply *reply)
{
    lua_pushvalue(L, reply->body);
    return stream_open(L, coro, reply->status, type_of(reply, plain_type), reply->length) ? 2 : 0;
}

/* Send what the reply says. */
static int send_reply(lua_State *L, struct coro *coro, struct reply *reply)
{
    struct write_buffer *json = NULL;
    int type = reply->body == 0 ? LUA_TNIL : lua_type(L, reply->body);
    bool is_elsewhere = reply->is_pass || reply->file != 0 || reply->events != 0; /* where the content comes from */
    if (reply->events != 0 && reply->status != 0 && reply->status != 200) {
        script_raise(L, "app.events with the status %d: clients read a stream of events only with 200", reply->status);
    }
    if (reply->status != 0 && (reply->is_pass || (reply->file != 0 && status_has_no_body(reply->status)))) {
        script_raise(L, "%s with the status %d: %s", reply->is_pass ? "app.pass" : "app.file", reply->status,
                     reply->is_pass ? "the static files determine the status" : "such a response has no content");
    }
    if (reply->status == 0) {
        reply->status = type == LUA_TNIL && !is_elsewhere ? 204 : 200;
    }
    if (type == LUA_TTABLE) {
        if (object_has_meta(L, reply->body, REF_FETCHED_META)) {
            script_raise(L, "the handler returned a response of app.fetch: return what is to be sent of it, such as "
                            "res.status, res.body");
        }
        json = script_lend_scratch(L, "a JSON response");
        json_encode(L, reply->body, json);
    } else if (type != LUA_TNIL && type != LUA_TSTRING && type != LUA_TFUNCTION) {
        script_raise(L, "the handler returned a %s as the body: it must be a string, a table or a function",
                     lua_typename(L, type));
    }
    coro->exchange->is_uncoded = reply->is_uncoded;
    if (reply->headers != 0) {
        add_fields(L, coro->exchange, reply);
    }
    if (reply->websocket != 0) {
        return websocket_answer(L, coro, reply->websocket);
    }
    if (reply->is_pass) {
        if (reply->has_type) {
            script_raise(L, "app.pass always sends the Content-Type of the file");
        }
        pass_on(coro);
    } else if (reply->file != 0) {
        send_file_reply(L, coro, reply);
    } else if (reply->events != 0) {
        send_event_stream(L, coro, reply);
    } else if (type == LUA_TFUNCTION) {
        return begin_stream(L, coro, reply);
    } else if (type == LUA_TSTRING) {
        send_text(L, coro, reply->status, type_of(reply, plain_type), reply->body);
    } else if (json != NULL) {
        response_send(coro_detach(coro), reply->status, type_of(reply, application_json), write_buffer_data(json),
                      write_buffer_len(json));
        script_return_scratch(L);
    } else {
        send_status(coro, reply);
    }
    return 0;
}

/* Taking apart. */

static int check_status(lua_State *L, int index)
{
    double number = lua_tonumber(L, index);
    if (!(number >= 200 && number <= 599) || number != (double)(int)number) {
        lua_pushnumber(L, number);
        script_raise(L, "the handler returned the status %s: it must be a whole number from 200 to 599",
                     lua_tostring(L, -1));
    }
    return (int)number;
}

static bool is_response(lua_State *L, int index)
{
    return lua_type(L, index) == LUA_TTABLE && object_has_meta(L, index, REF_RESPONSE_META);
}

/* Check what ought to be a table of headers; 0 when it is nil. */
static int check_header_table(lua_State *L, int index)
{
    if (lua_isnoneornil(L, index)) {
        return 0;
    }
    if (!lua_istable(L, index)) {
        script_raise(L, "headers must be a table of names and values; the handler returned a %s",
                     luaL_typename(L, index));
    }
    return index;
}

/* Whether the content of the response object at index 1 is that of app.pass, app.file or a topic. */
static void read_elsewhere(lua_State *L, struct reply *reply)
{
    lua_getfield(L, 1, "pass");
    reply->is_pass = lua_toboolean(L, -1) != 0;
    lua_getfield(L, 1, "dotfiles");
    reply->dotfiles = lua_toboolean(L, -1) != 0;
    lua_getfield(L, 1, "events");
    reply->events = lua_istable(L, -1) ? lua_gettop(L) : 0;
    lua_getfield(L, 1, "root");
    lua_getfield(L, 1, "file");
    if (lua_type(L, -1) == LUA_TSTRING && lua_type(L, -2) == LUA_TSTRING) {
        reply->file = lua_gettop(L);
        reply->root = reply->file - 1;
    }
}

/* Whether a response object, at index 1, is that of a WebSocket, with the status on top of the stack. */
static bool read_websocket(lua_State *L, struct reply *reply)
{
    bool is_switch = reply->body == 0 && lua_type(L, -1) == LUA_TNUMBER && lua_tonumber(L, -1) == 101;
    lua_getfield(L, 1, "websocket");
    if (!is_switch || !lua_isfunction(L, -1)) {
        lua_pop(L, 1);
        return false;
    }
    reply->websocket = lua_gettop(L);
    reply->status = 101;
    return true;
}

/* A response object: the prelude has brought all that was returned into one. */
static int answer_response(lua_State *L, struct coro *coro)
{
    script_push_ref(script_of(L), L, REF_TO_RESPONSE);
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    struct reply reply = {.length = RESPONSE_LENGTH_UNKNOWN};
    lua_getfield(L, 1, "compress");
    reply.is_uncoded = lua_type(L, -1) == LUA_TBOOLEAN && !lua_toboolean(L, -1);
    lua_pop(L, 1);
    lua_getfield(L, 1, "body");
    reply.body = lua_isnil(L, -1) ? 0 : lua_gettop(L);
    if (reply.body == 0) { /* a middleware may have put a body in the place of a file */
        read_elsewhere(L, &reply);
    }
    lua_getfield(L, 1, "status");
    if (!lua_isnil(L, -1) && !read_websocket(L, &reply)) {
        if (lua_type(L, -1) != LUA_TNUMBER) {
            script_raise(L, "the response's status must be a number, not %s", luaL_typename(L, -1));
        }
        reply.status = check_status(L, -1);
    }
    lua_getfield(L, 1, "headers");
    reply.headers = check_header_table(L, lua_gettop(L));
    return send_reply(L, coro, &reply);
}

bool answer_plainly(struct coro *coro, int index)
{
    lua_State *L = coro->L;
    if (lua_gettop(L) != index || lua_type(L, index) != LUA_TSTRING || coro->exchange == NULL ||
        coro->exchange->response_state != RESPONSE_NONE) {
        return false;
    }
    size_t len;
    const char *text = lua_tolstring(L, index, &len);
    if (len >= BORROW_MIN) {
        return false;
    }
    response_send(coro_detach(coro), 200, plain_type, text, len);
    return true;
}

/* answer(...): answer with what the handler returned. Gives run() the stream function and its argument, if it is
 * one. */
static int answer(lua_State *L)
{
    struct coro *coro = coro_check_running(L, "an answer");
    int count = lua_gettop(L);
    if (coro->exchange == NULL) { /* the client went away while the handler was at work */
        return 0;
    }
    if (coro->exchange->response_state != RESPONSE_NONE) {
        script_raise(L, "the response has already begun");
    }
    while (count > 1 && lua_isnil(L, count)) { /* what a wrapper passes on has them */
        count--;
    }
    if (lua_isnil(L, 1) && lua_type(L, 2) == LUA_TSTRING) { /* such as return app.fetch(url) */
        script_raise(L, "the handler returned nil and \"%.300s\": respond to a failure with a status, or use assert()",
                     lua_tostring(L, 2));
    }
    int body = lua_type(L, 1) == LUA_TNUMBER ? 2 : 1;
    if (count > body + 1) {
        script_raise(L, "the handler returned %d values, but a response is at most a status, a body and headers",
                     count);
    }
    if (is_response(L, body)) {
        return answer_response(L, coro);
    }
    struct reply reply = {
        .status = body == 2 ? check_status(L, 1) : 0,
        .body = lua_isnoneornil(L, body) ? 0 : body,
        .headers = check_header_table(L, body + 1),
        .length = RESPONSE_LENGTH_UNKNOWN,
    };
    return send_reply(L, coro, &reply);
}

void bind_reply(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"answer", answer},
        {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
}
