#ifndef EVSERVE_LUA_SETTINGS_H
#define EVSERVE_LUA_SETTINGS_H

/* The settings of one script, made from the table in lua/settings.def as struct limits is from its own. */

#include "http/limits.h"

#include <stddef.h>
#include <stdint.h>

struct settings {
#define SETTING(name, scope, unit, initial, least, most, what) uint64_t LIMIT_FIELD_##unit(name);
#include "lua/settings.def"
#undef SETTING
};

/* The rows; offset is that in struct settings. */
extern const struct limit_info setting_table[];
extern const size_t setting_table_len;

/* Set every setting to its default. */
void settings_init(struct settings *settings);

/* The row called name, or NULL. */
const struct limit_info *settings_find(const char *name);

/* The value of a row. */
uint64_t settings_get(const struct settings *settings, const struct limit_info *info);

/* Set one. Returns 0, or -ERANGE with a text that names the setting and its range. */
int settings_set(struct settings *settings, const struct limit_info *info, uint64_t value, char *err, size_t errlen);

/* Set what is not 0 in fixed. Returns as settings_set(). */
int settings_fix(struct settings *settings, const struct settings *fixed, char *err, size_t errlen);

#endif
