/* A plugin that serves: libevserve.a is in it, and only plugin_run() is what it shows. */

#include <evserve.h>

const char *plugin_run(void);

const char *plugin_run(void)
{
    return evserve_version();
}
