/* What scripts say of HTTPS. app.tls: a table of options becomes a certificate and settings of the script's plan. Files
 * are read later, when all scripts have been loaded. app.acme and hsts of app.set go to the site.
 *
 * Failure modes: a value of the wrong kind raises an error that begins with the file and line of the script, and so do
 * members that contradict each other. Texts stay alive in the table of options until they are copied. */

#include "lua/bind_tls.h"

#include "http/site.h"
#include "http/site_parts.h"
#include "lua/script_error.h"

#include <string.h>

/* The options, in the order of tls_names(); each is a text. */
enum tls_option {
    TLS_OPTION_CERT,
    TLS_OPTION_KEY,
    TLS_OPTION_NAME,
    TLS_OPTION_CLIENT_CA,
    TLS_OPTION_CLIENT,
    TLS_OPTION_MIN_VERSION,
    TLS_OPTION_CIPHERS,
    TLS_OPTION_GROUPS,
    TLS_OPTION_COUNT,
};

static const char *const tls_option_names[TLS_OPTION_COUNT] = {
    [TLS_OPTION_CERT] = "cert",           [TLS_OPTION_KEY] = "key",       [TLS_OPTION_NAME] = "name",
    [TLS_OPTION_CLIENT_CA] = "client_ca", [TLS_OPTION_CLIENT] = "client", [TLS_OPTION_MIN_VERSION] = "min_version",
    [TLS_OPTION_CIPHERS] = "ciphers",     [TLS_OPTION_GROUPS] = "groups",
};

/* tls_names(): a list of the names of the options. */
static int tls_names(lua_State *L)
{
    lua_newtable(L);
    for (int i = 0; i < TLS_OPTION_COUNT; i++) {
        lua_pushstring(L, tls_option_names[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* The text of an option of the table at index 1, or NULL. A version may be given as a number. */
static const char *take_text(lua_State *L, const char *what, enum tls_option option)
{
    const char *name = tls_option_names[option];
    lua_getfield(L, 1, name);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        return NULL;
    }
    if (lua_type(L, -1) == LUA_TNUMBER && option == TLS_OPTION_MIN_VERSION) {
        double version = lua_tonumber(L, -1);
        lua_pop(L, 1);
        return version == 1.2 ? "1.2" : version == 1.3 ? "1.3" : "another number";
    }
    if (lua_type(L, -1) != LUA_TSTRING) {
        script_raise(L, "%s: %s: text expected, got %s", what, name, luaL_typename(L, -1));
    }
    if (strlen(lua_tostring(L, -1)) != lua_objlen(L, -1)) {
        script_raise(L, "%s: %s: the text contains a NUL byte", what, name);
    }
    if (lua_objlen(L, -1) == 0) {
        script_raise(L, "%s: %s: the text is empty", what, name);
    }
    const char *text = lua_tostring(L, -1);
    lua_pop(L, 1); /* the table keeps it */
    return text;
}

/* PEM text instead of the name of a file. */
static bool is_pem(const char *text)
{
    return text != NULL && strstr(text, "-----BEGIN ") != NULL;
}

/* The certificate that the options describe; false: they describe none. */
static bool take_certificate(lua_State *L, const char *what, struct tls_certificate *certificate)
{
    const char *cert = take_text(L, what, TLS_OPTION_CERT);
    const char *key = take_text(L, what, TLS_OPTION_KEY);
    const char *client_ca = take_text(L, what, TLS_OPTION_CLIENT_CA);
    const char *client = take_text(L, what, TLS_OPTION_CLIENT);
    *certificate = (struct tls_certificate){.name = take_text(L, what, TLS_OPTION_NAME)};
    *(is_pem(cert) ? &certificate->cert_pem : &certificate->cert_file) = cert;
    *(is_pem(key) ? &certificate->key_pem : &certificate->key_file) = key;
    *(is_pem(client_ca) ? &certificate->client_ca_pem : &certificate->client_ca_file) = client_ca;
    if (client != NULL && strcmp(client, "required") != 0 && strcmp(client, "optional") != 0) {
        script_raise(L, "%s: client: \"required\" or \"optional\" expected, got \"%.40s\"", what, client);
    }
    if (client != NULL && client_ca == NULL) {
        script_raise(L, "%s: client = \"%s\" needs client_ca: the certificates that clients' may be signed by", what,
                     client);
    }
    certificate->is_client_optional = client != NULL && strcmp(client, "optional") == 0;
    bool is_any = cert != NULL || key != NULL || certificate->name != NULL || client_ca != NULL;
    if (is_any && cert == NULL) {
        script_raise(L, "%s: cert is missing: the file of a certificate in PEM, or its text", what);
    }
    return is_any;
}

/* tls(options, what): the names of the options were checked. */
static int app_tls(lua_State *L)
{
    struct script *script = script_of(L);
    struct tls_certificate certificate;
    char place[PLACE_MAX];
    char err[SCRIPT_TEXT_MAX];
    const char *what = luaL_checkstring(L, 2);
    script_check_loading(L, what);
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    script_place(L, place);
    struct tls_settings settings = {
        .min_version = take_text(L, what, TLS_OPTION_MIN_VERSION),
        .ciphers = take_text(L, what, TLS_OPTION_CIPHERS),
        .groups = take_text(L, what, TLS_OPTION_GROUPS),
    };
    settings.ciphers_place = settings.ciphers == NULL ? NULL : place;
    settings.groups_place = settings.groups == NULL ? NULL : place;
    bool has_certificate = take_certificate(L, what, &certificate);
    if (tls_plan_set(&script->tls, &settings, err, sizeof err) < 0 ||
        (has_certificate && tls_plan_add(&script->tls, &certificate, place, err, sizeof err) < 0)) {
        script_raise(L, "%s: %s", what, err);
    }
    return 0;
}

/* hsts(text). */
static int app_hsts(lua_State *L)
{
    char err[SCRIPT_TEXT_MAX];
    script_check_loading(L, "app.set");
    if (lua_type(L, 1) != LUA_TSTRING) {
        script_raise(L, "app.set: hsts: a text such as \"365d\" expected, got %s", luaL_typename(L, 1));
    }
    if (hsts_parse(&script_of(L)->site->hsts, script_check_text(L, 1, "app.set: hsts"), err, sizeof err) < 0) {
        script_raise(L, "app.set: %s", err);
    }
    return 0;
}

/* acme(directory). */
static int app_acme(lua_State *L)
{
    script_check_loading(L, "app.acme");
    if (lua_type(L, 1) != LUA_TSTRING || lua_objlen(L, 1) == 0) {
        script_raise(L, "app.acme: a directory such as \"/var/lib/acme/challenges\" expected, got %s",
                     lua_type(L, 1) == LUA_TSTRING ? "an empty text" : luaL_typename(L, 1));
    }
    if (site_set_acme(script_of(L)->site, script_check_text(L, 1, "app.acme")) < 0) {
        script_raise_memory(L);
    }
    return 0;
}

void bind_tls(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"tls_names", tls_names}, {"tls", app_tls}, {"hsts", app_hsts}, {"acme", app_acme}, {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
}
