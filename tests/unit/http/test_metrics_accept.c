/* http/metrics_accept.c: what clients send, and what they get. */

#include "http/metrics_accept.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void format_is_the_one_that_the_client_prefers(void **state)
{
    (void)state;
    static const struct {
        const char *accept;
        bool is_open;
    } cases[] = {
        /* Prometheus 3, 2.49 and 2.5. */
        {"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
         "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
         "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
         true},
        {"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
         "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
         true},
        {"application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", false},
        {"text/plain;version=0.0.4;q=1,*/*;q=0.1", false},
        {"application/openmetrics-text", true},
        {"APPLICATION/OpenMetrics-Text ; Version=1.0.0 ; Q=0.001", true},
        {"application/openmetrics-text;q=0.5, text/plain;q=0.5", true},
        {"application/openmetrics-text;q=0.4, text/plain;q=0.5", false},
        {"text/plain, application/openmetrics-text;q=0.999", false},
        {"application/openmetrics-text;q=0", false},
        {"application/openmetrics-text;q=0.000", false},
        {"application/openmetrics-text;q=x", false},
        {"application/openmetrics-text;q=2", false},
        {"application/openmetrics-text;q=0.12345", false},
        {"application/openmetrics-text;version=", false},
        {"application/openmetrics-text2", false},
        {"*/*", false},
        {"", false},
        {",;,", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (metrics_accept_open(cases[i].accept, strlen(cases[i].accept)) != cases[i].is_open) {
            fail_msg("%s", cases[i].accept);
        }
    }
    assert_false(metrics_accept_open(NULL, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(format_is_the_one_that_the_client_prefers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
