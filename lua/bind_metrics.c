/* Happy path: app.metrics() registers a route that responds in C (http/metrics.h). app.counter() and its siblings
 * define a metric (http/metrics_own.h), whose methods find it by its number and add to the thread's own shard.
 *
 * Failure modes: every mistake raises an error that begins with the file and line of the script. */

#include "lua/bind_metrics.h"

#include "http/metrics.h"
#include "http/metrics_hosts.h"
#include "http/metrics_own.h"
#include "http/number.h"
#include "http/router.h"
#include "http/site.h"
#include "lua/bind_host.h"
#include "lua/object.h"
#include "lua/routes.h"
#include "lua/script_error.h"

#include <errno.h>
#include <math.h>
#include <string.h>

/* What Lua holds of a metric: a number, no pointer. */
struct metric_handle {
    uint32_t number; /* of metrics_own_get() */
    bool is_lost;    /* the server has no metrics: nothing is counted */
};

/* The list of hosts at index, which may be nil. */
static void add_metrics_hosts(lua_State *L, int index, const char *what)
{
    char err[SCRIPT_TEXT_MAX];
    if (lua_isnil(L, index)) {
        return;
    }
    if (lua_type(L, index) != LUA_TTABLE) {
        script_raise(L, "%s: hosts: a list such as { \"example.org\" } expected, got %s", what,
                     luaL_typename(L, index));
    }
    size_t count = lua_objlen(L, index);
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, index, (int)i + 1);
        if (lua_type(L, -1) != LUA_TSTRING) {
            script_raise(L, "%s: hosts: text expected as a name, got %s", what, luaL_typename(L, -1));
        }
        const char *name = script_check_text(L, lua_gettop(L), what);
        int rv = metrics_hosts_add(&script_of(L)->site->metrics_hosts, name, err, sizeof err);
        if (rv == -ENOMEM) {
            script_raise_memory(L);
        }
        if (rv < 0) {
            script_raise(L, "%s: hosts: %s", what, err);
        }
        lua_pop(L, 1);
    }
}

/* metrics(what, path, hosts, host): what is the function that was called, for errors. */
static int app_metrics(lua_State *L)
{
    struct script *script = script_of(L);
    char place[PLACE_MAX];
    char err[SCRIPT_TEXT_MAX];
    lua_settop(L, 4);
    const char *what = luaL_checkstring(L, 1);
    script_check_loading(L, what);
    if (lua_type(L, 2) != LUA_TSTRING) {
        script_raise(L, "%s: a path such as \"/metrics\" expected, got %s", what, luaL_typename(L, 2));
    }
    const char *path = script_check_text(L, 2, what);
    add_metrics_hosts(L, 3, what);
    const struct vhost *vhost = host_check(L, 4);
    script_place(L, place);
    struct lua_route *route = routes_make(script, vhost, place, metrics_serve);
    if (route == NULL) {
        script_raise_memory(L);
    }
    route->handler.body_mode = BODY_UNWANTED;
    if (router_add(vhost->router, METHOD_BIT(METHOD_GET), path, &route->handler, place, err, sizeof err) < 0) {
        lua_pushstring(L, err); /* has the place already */
        return lua_error(L);
    }
    script->site->has_metrics = true;
    return 0;
}

/* Defining. */

/* The text at index. Raises; article is what it is, as in "a name". */
static const char *check_metric_text(lua_State *L, int index, const char *what, const char *article)
{
    if (lua_type(L, index) != LUA_TSTRING) {
        script_raise(L, "%s: %s expected, got %s", what, article, luaL_typename(L, index));
    }
    return script_check_text(L, index, what);
}

/* The list of labels at index, which may be nil. The texts stay in it. */
static void check_metric_labels(lua_State *L, int index, const char *what, struct own_definition *definition)
{
    if (lua_isnil(L, index)) {
        return;
    }
    if (lua_type(L, index) != LUA_TTABLE) {
        script_raise(L, "%s: a list of labels such as { \"kind\" } expected, got %s", what, luaL_typename(L, index));
    }
    size_t count = lua_objlen(L, index);
    if (count > OWN_LABELS_MAX) {
        script_raise(L, "%s: at most %d labels expected, got %d", what, (int)OWN_LABELS_MAX, (int)count);
    }
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, index, (int)i + 1);
        if (lua_type(L, -1) != LUA_TSTRING) {
            script_raise(L, "%s: text expected as the name of a label, got %s (buckets come after the labels)", what,
                         luaL_typename(L, -1));
        }
        definition->labels[i] = script_check_text(L, lua_gettop(L), what);
        lua_pop(L, 1);
    }
    definition->label_count = count;
}

/* The list of bounds at index, which may be nil. */
static void check_metric_bounds(lua_State *L, int index, const char *what, struct own_definition *definition,
                                double bounds[OWN_BOUNDS_MAX])
{
    if (lua_isnil(L, index)) {
        return;
    }
    if (lua_type(L, index) != LUA_TTABLE) {
        script_raise(L, "%s: a list of buckets such as { 0.1, 1, 10 } expected, got %s", what, luaL_typename(L, index));
    }
    definition->bound_count = lua_objlen(L, index);
    definition->bounds = bounds;
    for (size_t i = 0; i < definition->bound_count && i < OWN_BOUNDS_MAX; i++) {
        lua_rawgeti(L, index, (int)i + 1);
        if (lua_type(L, -1) != LUA_TNUMBER) {
            script_raise(L, "%s: a list of numbers expected as buckets, got %s", what, luaL_typename(L, -1));
        }
        bounds[i] = lua_tonumber(L, -1);
        lua_pop(L, 1);
    }
}

static enum metric_kind kind_of(const char *name)
{
    return name[0] == 'c' ? METRIC_COUNTER : name[0] == 'g' ? METRIC_GAUGE : METRIC_HISTOGRAM;
}

/* metric(what, kind, name, help, labels, buckets): an object. */
static int app_metric(lua_State *L)
{
    struct script *script = script_of(L);
    struct own_definition definition = {0};
    struct own_metric *metric = NULL;
    double bounds[OWN_BOUNDS_MAX] = {0};
    char err[SCRIPT_TEXT_MAX];
    lua_settop(L, 6);
    const char *what = luaL_checkstring(L, 1);
    script_check_loading(L, what);
    definition.kind = kind_of(luaL_checkstring(L, 2));
    definition.name = check_metric_text(L, 3, what, "a name such as \"orders_total\"");
    definition.help = check_metric_text(L, 4, what, "a help text, which says what is counted,");
    check_metric_labels(L, 5, what, &definition);
    check_metric_bounds(L, 6, what, &definition, bounds);
    struct metric_handle *handle = lua_newuserdata(L, sizeof *handle);
    *handle = (struct metric_handle){.is_lost = script->metrics == NULL};
    script_push_ref(script, L, REF_METRIC_META);
    lua_setmetatable(L, -2);
    if (!handle->is_lost) {
        if (metrics_own_define(script->metrics, &definition, &metric, err, sizeof err) < 0) {
            script_raise(L, "%s: %s", what, err);
        }
        handle->number = own_metric_number(metric);
    }
    return 1;
}

/* Counting. */

/* The number at index, or 1 if there is none. */
static double check_metric_number(lua_State *L, int index, const char *what, bool may_be_absent)
{
    if (may_be_absent && lua_isnoneornil(L, index)) {
        return 1;
    }
    if (lua_type(L, index) != LUA_TNUMBER) {
        script_raise(L, "%s: a number expected first, got %s (values of labels come after it)", what,
                     luaL_typename(L, index));
    }
    return lua_tonumber(L, index);
}

/* Values of labels: the arguments from index 3 on. A number becomes text in place. */
static void check_label_values(lua_State *L, const char *what, const char *name, size_t count, struct own_value *values)
{
    size_t given = (size_t)lua_gettop(L) < 3 ? 0 : (size_t)lua_gettop(L) - 2;
    if (given != count) {
        script_raise(L, "%s: %s has %d label%s, whose values are expected after the number; got %d", what, name,
                     (int)count, count == 1 ? "" : "s", (int)given);
    }
    for (size_t i = 0; i < count; i++) {
        int index = (int)i + 3;
        if (lua_type(L, index) != LUA_TSTRING && lua_type(L, index) != LUA_TNUMBER) {
            script_raise(L, "%s: text expected as a label's value, got %s", what, luaL_typename(L, index));
        }
        values[i].text = lua_tolstring(L, index, &values[i].len);
    }
}

static int count_metric(lua_State *L, const char *what, bool is_set, bool is_kind[3], bool may_be_absent)
{
    const struct script *script = script_of(L);
    const struct metric_handle *handle = object_check(L, 1, REF_METRIC_META, sizeof *handle, what);
    struct own_metric *metric = handle->is_lost ? NULL : metrics_own_get(script->metrics, handle->number);
    struct own_value values[OWN_LABELS_MAX];
    double number = check_metric_number(L, 2, what, may_be_absent);
    if (metric == NULL) {
        return 0;
    }
    if (!is_kind[own_metric_kind(metric)]) {
        script_raise(L, "%s: %s has no such method: a counter has inc, a gauge inc and set, a histogram observe", what,
                     own_metric_name(metric));
    }
    check_label_values(L, what, own_metric_name(metric), own_metric_labels(metric), values);
    int rv = is_set ? own_metric_set(metric, script->thread, number, values)
                    : own_metric_add(metric, script->thread, number, values);
    if (rv == -EINVAL && isnan(number)) {
        script_raise(L, "%s: %s: a number expected, got NaN", what, own_metric_name(metric));
    }
    if (rv == -EINVAL) {
        char text[NUMBER_TEXT_MAX + 1];
        text[number_format(text, number)] = '\0';
        script_raise(L, "%s: %s is a counter, which only grows: a number from 0 on expected, got %s", what,
                     own_metric_name(metric), text);
    }
    return 0; /* without memory the value is lost: no reason to fail a request */
}

static int metric_inc(lua_State *L)
{
    return count_metric(L, "metric:inc", false, (bool[]){true, true, false}, true);
}

static int metric_set(lua_State *L)
{
    return count_metric(L, "metric:set", true, (bool[]){false, true, false}, false);
}

static int metric_observe(lua_State *L)
{
    return count_metric(L, "metric:observe", false, (bool[]){false, false, true}, false);
}

void bind_metrics(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"inc", metric_inc},
        {"set", metric_set},
        {"observe", metric_observe},
        {NULL, NULL},
    };
    static const luaL_Reg functions[] = {
        {"metrics", app_metrics},
        {"metric", app_metric},
        {NULL, NULL},
    };
    object_set_methods(L, methods, "metric", REF_METRIC_META);
    luaL_register(L, NULL, functions);
}
