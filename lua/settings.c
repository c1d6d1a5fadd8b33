/* Settings by name: the table of lua/settings.def. */

#include "lua/settings.h"

#include <string.h>

const struct limit_info setting_table[] = {
#define SETTING(name, scope, unit, initial, least, most, what)                                                         \
    {#name,   LIMIT_##scope, LIMIT_##unit, offsetof(struct settings, LIMIT_FIELD_##unit(name)),                        \
     initial, least,         most,         what},
#include "lua/settings.def"
#undef SETTING
};
const size_t setting_table_len = sizeof setting_table / sizeof setting_table[0];

void settings_init(struct settings *settings)
{
    for (size_t i = 0; i < setting_table_len; i++) {
        memcpy((char *)settings + setting_table[i].offset, &setting_table[i].initial, sizeof(uint64_t));
    }
}

const struct limit_info *settings_find(const char *name)
{
    for (size_t i = 0; i < setting_table_len; i++) {
        if (strcmp(setting_table[i].name, name) == 0) {
            return &setting_table[i];
        }
    }
    return NULL;
}

uint64_t settings_get(const struct settings *settings, const struct limit_info *info)
{
    uint64_t value;
    memcpy(&value, (const char *)settings + info->offset, sizeof value);
    return value;
}

int settings_set(struct settings *settings, const struct limit_info *info, uint64_t value, char *err, size_t errlen)
{
    int rv = limit_check_value(info, value, err, errlen);
    if (rv == 0) {
        memcpy((char *)settings + info->offset, &value, sizeof value);
    }
    return rv;
}

int settings_fix(struct settings *settings, const struct settings *fixed, char *err, size_t errlen)
{
    int rv = 0;
    for (size_t i = 0; rv == 0 && i < setting_table_len; i++) {
        uint64_t value = settings_get(fixed, &setting_table[i]);
        rv = value == 0 ? 0 : settings_set(settings, &setting_table[i], value, err, errlen);
    }
    return rv;
}
