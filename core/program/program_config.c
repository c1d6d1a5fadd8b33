/* Failure modes: none. evserve_start() finds what is wrong. */

#include "core/program/program_config.h"

#include "core/file_text.h"
#include "core/program/log_stream.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

void program_config_fill(struct evserve_config *config, struct evs_certificate certificates[TLS_PAIRS_MAX + 1],
                         const struct command_line *options)
{
    bool is_trial = options->request != NULL ||
                    options->test != NULL; /* it listens nowhere, and the access log has no line about it */
    memset(certificates, 0, (TLS_PAIRS_MAX + 1) * sizeof *certificates);
    for (unsigned i = 0; i < options->tls_count; i++) {
        certificates[i].cert_file = options->tls[i].cert;
        certificates[i].key_file = options->tls[i].key;
    }
    *config = (struct evserve_config){
        .size = sizeof *config,
        .listen = is_trial                     ? "none"
                  : options->listen[0] == '\0' ? NULL
                                               : options->listen,
        .root = options->root,
        .script = options->script,
        .script_files = options->script_files,
        .reactors = options->reactors,
        .log_level = options->log_level,
        .sandbox = options->sandbox,
        .allow_read = options->allow_read,
        .allow_write = options->allow_write,
        .allow_connect = options->allow_connect[0] == '\0' ? NULL : options->allow_connect,
        .certificates = certificates,
        .acme = options->acme,
        .hsts = options->hsts,
        .access_log = is_trial ? "off" : options->access_log,
        .access_log_format = options->access_log_format,
        .tls_dev = options->has_tls_dev ? options->tls_dev : NULL,
        .tls_dev_anywhere = options->tls_dev_anywhere ? 1 : 0,
        .log_slow_ms = options->log_slow_ms,
        .reload_timeout_ms = options->reload_timeout_ms,
    };
}

void program_config_warn(const struct command_line *options, struct log_stream *log)
{
    if (options->watch && options->script != NULL && file_text_is_passing(0, options->script)) {
        char line[256];
        snprintf(line, sizeof line, "--watch has no effect: %.120s came through a pipe and cannot be read again",
                 options->script);
        log_stream_write(log, EVSERVE_LOG_WARN, line);
    }
}
