/* A host program as a stranger might write it: it serves the directory named on its command line, with functions and
 * headers of its own that have the names of inner ones of the library. Compiled as C99. */

#include "http/parser.h"
#include <evserve.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#ifndef HOSTS_OWN_PARSER
#error "another http/parser.h is in the way"
#endif

static evserve *server;

void log_write(void);
void *mem_alloc(size_t size);
int reactor_create(void);

/* Were the library to call these, the host would not live to answer. */
void log_write(void)
{
    abort();
}

void *mem_alloc(size_t size)
{
    (void)size;
    abort();
}

int reactor_create(void)
{
    abort();
}

static void on_signal(int number)
{
    (void)number;
    evserve_stop(server, 1000);
}

static void on_log(void *arg, int level, const char *line)
{
    (void)arg;
    (void)level;
    fprintf(stderr, "log: %s\n", line);
}

int main(int argc, char **argv)
{
    struct evserve_config config = {0};
    char err[EVSERVE_ERROR_MAX];
    int cut;
    config.size = sizeof config;
    config.listen = "127.0.0.1:0";
    config.root = argc > 1 ? argv[1] : "public";
    config.script = argc > 2 ? argv[2] : NULL;
    config.log = on_log;
    config.log_level = EVSERVE_LOG_WARN;
    server = evserve_start(&config, err, sizeof err);
    if (server == NULL) {
        fprintf(stderr, "%s\n", err);
        return 1;
    }
    signal(SIGTERM, on_signal);
    fprintf(stderr, "listening on %s\n", evserve_address(server, 0));
    cut = evserve_wait(server);
    evserve_free(server);
    return cut == 0 ? 0 : 1;
}
