#include "lua/fetch_options.h"

#include "core/ascii.h"
#include "http/limits.h"
#include "lua/bind_settings.h"
#include "lua/duration.h"
#include "lua/script_error.h"

#include <string.h>

enum fetch_option {
    OPTION_BODY, /* the prelude's */
    OPTION_CA,
    OPTION_CLIENT_CERT,
    OPTION_CONNECT_TIMEOUT,
    OPTION_FORM, /* likewise */
    OPTION_GZIP,
    OPTION_HEADERS,
    OPTION_KEEPALIVE,
    OPTION_LENGTH,
    OPTION_MAX_BODY,
    OPTION_MAX_HEAD,
    OPTION_METHOD,
    OPTION_QUERY, /* likewise */
    OPTION_REDIRECTS,
    OPTION_SERVER_NAME,
    OPTION_STREAM,
    OPTION_TIMEOUT,
    OPTION_TLS,
    OPTION_UNIX,
    OPTION_VERIFY,
    FETCH_OPTION_COUNT,
};

static const char *const option_names[FETCH_OPTION_COUNT] = {
    [OPTION_BODY] = "body",
    [OPTION_CA] = "ca",
    [OPTION_CLIENT_CERT] = "client_cert",
    [OPTION_CONNECT_TIMEOUT] = "connect_timeout",
    [OPTION_FORM] = "form",
    [OPTION_GZIP] = "gzip",
    [OPTION_HEADERS] = "headers",
    [OPTION_KEEPALIVE] = "keepalive",
    [OPTION_LENGTH] = "length",
    [OPTION_MAX_BODY] = "max_body",
    [OPTION_MAX_HEAD] = "max_head",
    [OPTION_METHOD] = "method",
    [OPTION_QUERY] = "query",
    [OPTION_REDIRECTS] = "redirects",
    [OPTION_SERVER_NAME] = "server_name",
    [OPTION_STREAM] = "stream",
    [OPTION_TIMEOUT] = "timeout",
    [OPTION_TLS] = "tls",
    [OPTION_UNIX] = "unix",
    [OPTION_VERIFY] = "verify",
};

/* Header fields. */

static const char *check_field_name(lua_State *L, int index, size_t *len)
{
    if (lua_type(L, index) != LUA_TSTRING) {
        script_raise(L, "app.fetch: headers: names must be strings, got %s; write { [\"x-name\"] = \"value\" }",
                     luaL_typename(L, index));
    }
    return lua_tolstring(L, index, len);
}

/* The value on top of the stack is one of the field name. */
static void add_request_field(lua_State *L, struct fetch_fields *fields, const char *name, size_t name_len)
{
    if (fields->count >= fields->room) { /* a finalizer has run since they were counted */
        script_raise(L, "app.fetch: headers: the table was changed while it was read");
    }
    struct fetch_field *field = &fields->list[fields->count];
    *field = (struct fetch_field){.name = name, .name_len = name_len};
    if (lua_type(L, -1) == LUA_TSTRING) {
        field->value = lua_tolstring(L, -1, &field->value_len);
    } else if (lua_type(L, -1) == LUA_TNUMBER) {
        field->value = fields->numbers[fields->count];
        field->value_len = number_format(fields->numbers[fields->count], lua_tonumber(L, -1));
    } else {
        script_raise(L, "app.fetch: headers: %.100s: a string, a number or a list of them expected, got %s", name,
                     luaL_typename(L, -1));
    }
    fields->count++;
}

/* Room for the fields of the table at index, and one more. It stays on the stack. */
static void make_fields_room(lua_State *L, int index, struct fetch_fields *fields)
{
    size_t count = 1;
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
        count += lua_istable(L, -1) ? lua_objlen(L, -1) : 1;
        if (count > FETCH_REQUEST_FIELDS_MAX + 1) {
            script_raise(L, "app.fetch: headers: more than %d fields", (int)FETCH_REQUEST_FIELDS_MAX);
        }
    }
    if (count > FETCH_FIELDS_FEW) {
        fields->list = lua_newuserdata(L, count * sizeof *fields->list);
        fields->numbers = lua_newuserdata(L, count * sizeof *fields->numbers);
        fields->room = count - 1;
    }
}

static void read_request_fields(lua_State *L, int value, struct fetch_fields *fields)
{
    if (!lua_istable(L, value)) {
        script_raise(L, "app.fetch: headers: a table such as { [\"x-name\"] = \"value\" } expected, got %s",
                     luaL_typename(L, value));
    }
    make_fields_room(L, value, fields);
    for (lua_pushnil(L); lua_next(L, value) != 0; lua_pop(L, 1)) {
        size_t len;
        const char *name = check_field_name(L, -2, &len);
        fields->has_type = fields->has_type || ascii_is(name, len, "content-type");
        if (!lua_istable(L, -1)) {
            add_request_field(L, fields, name, len);
            continue;
        }
        int list = lua_gettop(L);
        size_t count = lua_objlen(L, list);
        for (size_t i = 1; i <= count; i++) {
            lua_rawgeti(L, list, (int)i);
            add_request_field(L, fields, name, len);
            lua_pop(L, 1);
        }
    }
}

/* The others. */

static const char *check_option_text(lua_State *L, int value, enum fetch_option option, const char *example)
{
    if (lua_type(L, value) != LUA_TSTRING) {
        script_raise(L, "app.fetch: %s: %s expected, got %s", option_names[option], example, luaL_typename(L, value));
    }
    return script_check_text(L, value, option_names[option]);
}

static bool check_option_flag(lua_State *L, int value, enum fetch_option option)
{
    if (!lua_isboolean(L, value)) {
        script_raise(L, "app.fetch: %s: true or false expected, got %s", option_names[option], luaL_typename(L, value));
    }
    return lua_toboolean(L, value) != 0;
}

static uint32_t check_option_time(lua_State *L, int value, enum fetch_option option)
{
    bool is_whole = option == OPTION_TIMEOUT;
    uint32_t ms = duration_check(L, value, is_whole ? "app.fetch: timeout" : "app.fetch: connect_timeout");
    if (ms == 0 || ms > FETCH_TIMEOUT_MAX_MS) {
        script_raise(L, "app.fetch: %s: a time from 1 ms to \"24h\" expected", option_names[option]);
    }
    script_warn_of_seconds_once(L, value, "app.fetch", option_names[option], ms);
    return ms;
}

static uint64_t check_option_bytes(lua_State *L, int value, enum fetch_option option, uint64_t most)
{
    char err[SCRIPT_TEXT_MAX];
    uint64_t bytes = 0;
    if (lua_type(L, value) == LUA_TNUMBER) {
        double number = lua_tonumber(L, value);
        bytes = number >= 1 && number <= 0x1p53 && number == (double)(uint64_t)number ? (uint64_t)number : 0;
    } else if (lua_type(L, value) != LUA_TSTRING) {
        script_raise(L, "app.fetch: %s: a size such as \"64K\" expected, got %s", option_names[option],
                     luaL_typename(L, value));
    } else if (limits_parse_value(LIMIT_BYTES, script_check_text(L, value, option_names[option]), &bytes, err,
                                  sizeof err) < 0) {
        script_raise(L, "app.fetch: %s: %s", option_names[option], err);
    }
    if (bytes == 0 || bytes > most) {
        script_raise(L, "app.fetch: %s: a size from 1 byte to %llu expected", option_names[option],
                     (unsigned long long)most);
    }
    return bytes;
}

/* How many redirects are followed; false: none. */
static int check_fetch_redirects(lua_State *L, int value)
{
    double number = lua_type(L, value) == LUA_TNUMBER ? lua_tonumber(L, value) : -1;
    if (lua_isboolean(L, value)) {
        return lua_toboolean(L, value) ? FETCH_REDIRECTS : -1;
    }
    if (!(number >= 0 && number <= FETCH_REDIRECTS_MAX) || number != (double)(int)number) {
        script_raise(L, "app.fetch: redirects: false, or a whole number from 0 to %d expected",
                     (int)FETCH_REDIRECTS_MAX);
    }
    return number > 0 ? (int)number : -1;
}

static int64_t check_body_length(lua_State *L, int value)
{
    double number = lua_type(L, value) == LUA_TNUMBER ? lua_tonumber(L, value) : -1;
    if (!(number >= 0 && number <= 0x1p53) || number != (double)(int64_t)number) {
        script_raise(L, "app.fetch: length: the number of bytes that the function for the body gives expected");
    }
    return (int64_t)number;
}

/* The texts stay in the table. */
static void read_client_cert(lua_State *L, int value, struct fetch_request *request)
{
    static const char expected[] = "app.fetch: client_cert: { cert = \"file.pem\", key = \"file-key.pem\" } expected";
    if (!lua_istable(L, value)) {
        script_raise(L, "%s", expected);
    }
    lua_pushliteral(L, "cert");
    lua_rawget(L, value);
    lua_pushliteral(L, "key");
    lua_rawget(L, value);
    if (lua_type(L, -2) != LUA_TSTRING || (lua_type(L, -1) != LUA_TSTRING && !lua_isnil(L, -1))) {
        script_raise(L, "%s", expected);
    }
    request->cert_file = script_check_text(L, -2, "app.fetch: client_cert");
    request->key_file = lua_isnil(L, -1) ? request->cert_file : script_check_text(L, -1, "app.fetch: client_cert");
    lua_pop(L, 2);
}

static enum fetch_option find_option(const char *name)
{
    unsigned option = 0;
    while (option < FETCH_OPTION_COUNT && strcmp(option_names[option], name) != 0) {
        option++;
    }
    return (enum fetch_option)option;
}

/* The option whose value lies at index value, if it is one of TLS. Returns whether it is. */
static bool read_tls_option(lua_State *L, int value, enum fetch_option option, struct fetch_request *request)
{
    switch (option) {
    case OPTION_CA:
        request->ca_file = check_option_text(L, value, option, "a file with certificates");
        return true;
    case OPTION_CLIENT_CERT:
        read_client_cert(L, value, request);
        return true;
    case OPTION_SERVER_NAME:
        request->server_name = check_option_text(L, value, option, "a name such as \"api.example.org\"");
        return true;
    case OPTION_VERIFY:
        request->trusts_anybody = !check_option_flag(L, value, option);
        return true;
    default:
        return false;
    }
}

/* A table with options of TLS, as app.connect has it. */
static void read_tls_options(lua_State *L, int value, struct fetch_request *request)
{
    if (!lua_istable(L, value)) {
        script_raise(L, "app.fetch: tls: a table of options expected, got %s; an https:// URL needs none",
                     luaL_typename(L, value));
    }
    for (lua_pushnil(L); lua_next(L, value) != 0; lua_pop(L, 1)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        if (!read_tls_option(L, lua_gettop(L), find_option(name), request)) {
            script_raise(L, "app.fetch: tls: unknown option \"%.100s\": there are ca, client_cert, server_name, verify",
                         name);
        }
    }
}

/* The option whose value lies at index value. */
static void read_option(lua_State *L, int value, enum fetch_option option, struct fetch_request *request)
{
    switch (option) {
    case OPTION_CONNECT_TIMEOUT:
        request->connect_timeout_ms = check_option_time(L, value, option);
        break;
    case OPTION_GZIP:
        request->keeps_coding = !check_option_flag(L, value, option);
        break;
    case OPTION_KEEPALIVE:
        request->closes = !check_option_flag(L, value, option);
        break;
    case OPTION_LENGTH:
        request->body_length = check_body_length(L, value);
        break;
    case OPTION_MAX_BODY:
        request->max_body = check_option_bytes(L, value, option, UINT64_C(1) << 53);
        break;
    case OPTION_MAX_HEAD:
        request->max_head = (size_t)check_option_bytes(L, value, option, FETCH_RESPONSE_HEAD_MAX);
        break;
    case OPTION_METHOD:
        request->method = check_option_text(L, value, option, "a method such as \"POST\"");
        request->method_len = lua_objlen(L, value);
        break;
    case OPTION_REDIRECTS:
        request->redirects = check_fetch_redirects(L, value);
        break;
    case OPTION_STREAM:
        request->streams_response = check_option_flag(L, value, option);
        break;
    case OPTION_TIMEOUT:
        request->timeout_ms = check_option_time(L, value, option);
        break;
    case OPTION_UNIX:
        request->unix_path = check_option_text(L, value, option, "the path of a unix socket");
        request->unix_path_len = lua_objlen(L, value);
        if (request->unix_path_len == 0) {
            script_raise(L, "app.fetch: unix: the path of a unix socket expected, got an empty one");
        }
        break;
    case OPTION_TLS:
        read_tls_options(L, value, request);
        break;
    case OPTION_CA:
    case OPTION_CLIENT_CERT:
    case OPTION_SERVER_NAME:
    case OPTION_VERIFY:
        (void)read_tls_option(L, value, option, request);
        break;
    case OPTION_BODY:
    case OPTION_FORM:
    case OPTION_QUERY:
    case OPTION_HEADERS:
    case FETCH_OPTION_COUNT:
        break;
    }
}

bool fetch_options_read(lua_State *L, int index, const char *type, struct fetch_request *request,
                        struct fetch_fields *fields)
{
    static const char type_name[] = "content-type";
    fields->list = fields->few;
    fields->numbers = fields->few_numbers;
    fields->count = 0;
    fields->room = FETCH_FIELDS_FEW - 1;
    fields->has_type = false;
    lua_pushliteral(L, "headers"); /* first, since it may leave something on the stack */
    lua_rawget(L, index);
    if (!lua_isnil(L, -1)) {
        read_request_fields(L, lua_gettop(L), fields);
    }
    if (type != NULL && !fields->has_type) {
        fields->list[fields->count++] = (struct fetch_field){type_name, type, sizeof type_name - 1, strlen(type)};
    }
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
        enum fetch_option option = lua_type(L, -2) == LUA_TSTRING ? find_option(lua_tostring(L, -2))
                                                                  : FETCH_OPTION_COUNT;
        if (option == FETCH_OPTION_COUNT) {
            lua_pop(L, 1);
            return false;
        }
        read_option(L, lua_gettop(L), option, request);
    }
    request->fields = fields->list;
    request->field_count = fields->count;
    return true;
}
