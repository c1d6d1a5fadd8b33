#ifndef EVSERVE_CORE_PROGRAM_COMMAND_LINE_H
#define EVSERVE_CORE_PROGRAM_COMMAND_LINE_H

/* The command line of evserve: its options, what they mean, and --help. */

#include "core/program/log_text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    EXIT_USAGE = 2, /* exit status for a command line that makes no sense */
    LISTEN_TEXT_MAX = 4096,
    ALLOW_TEXT_MAX = 4096, /* all paths of --allow-read, or of --allow-write, and all servers of --allow-connect */
    REQUEST_HEADERS_MAX = 100,
    TLS_PAIRS_MAX = 32,      /* of --tls-cert and --tls-key */
    TLS_DEV_TEXT_MAX = 4096, /* all names of --tls-dev, with commas between them */
};

struct evs_asset;

/* The strings are borrowed from argv. */
struct command_line {
    char listen[LISTEN_TEXT_MAX]; /* all --listen addresses, or systemd's sockets, separated by commas */
    bool has_listen;              /* --listen was given */
    const char *root;
    const char *script;
    unsigned reactors;
    int sandbox;                        /* as in the config */
    char allow_read[ALLOW_TEXT_MAX];    /* paths, separated by colons */
    char allow_write[ALLOW_TEXT_MAX];   /* likewise */
    char allow_connect[ALLOW_TEXT_MAX]; /* servers, separated by commas */
    const char *user;                   /* to become, or NULL */
    const char *pid_file;               /* to write, or NULL */
    const char *reload;                 /* PID file of a server to reload, or NULL */
    const char *upgrade;                /* PID file of a server to upgrade, or NULL */
    struct {
        const char *cert, *key; /* files; key is NULL if it is in cert */
    } tls[TLS_PAIRS_MAX];       /* of --tls-cert and --tls-key, tls_count of them */
    unsigned tls_count;
    const char *acme;               /* directory of ACME challenges, or NULL */
    const char *log;                /* the file of the log, or NULL for standard error */
    int log_level;                  /* as in the config; 0 when it was not given */
    enum log_format log_format;     /* of its lines, if has_log_format */
    bool has_log_format;            /* --log-format was given */
    uint64_t log_slow_ms;           /* as in the config; 0 when it was not given */
    const char *access_log;         /* where it goes, or NULL */
    const char *access_log_format;  /* "combined", "json" or a text, or NULL */
    const char *hsts;               /* Strict-Transport-Security, or NULL */
    char tls_dev[TLS_DEV_TEXT_MAX]; /* names of --tls-dev, separated by commas */
    bool has_tls_dev;               /* --tls-dev was given */
    bool tls_dev_anywhere;
    bool watch;
    bool supervise;
    uint64_t reload_timeout_ms; /* of a script; 0 when it was not given */
    bool check;
    bool pack;               /* write a program with the script inside: */
    const char *output;      /* to this file; NULL when it was not given */
    char *const *pack_paths; /* files and folders beside the script, pack_count of them; in argv */
    unsigned pack_count;
    const char *packed_script;            /* set by the caller: the script that this program has inside, or NULL */
    const struct evs_asset *script_files; /* likewise: all files that it has inside, or NULL */
    bool routes;
    const char *request;                      /* "GET /users/7", or NULL */
    const char *headers[REQUEST_HEADERS_MAX]; /* field lines of the request, header_count of them */
    unsigned header_count;
    const char *body;   /* text or @FILE, or NULL */
    char *content;      /* the content of body, once serve_request_read_body() has read it; freed by the caller */
    size_t content_len; /* bytes of content */
    unsigned timeout_s; /* 0 when it was not given */
    const char *test;   /* a file of tests, or NULL */
    const char *only;   /* which of its cases, or NULL for all */
    bool version;
    bool help;
};

/* Read argv into a struct that is zero except for what the caller has set. Prints what --version and --help ask for, and
 * mistakes to standard error. Returns -1 if the program is to run, or its exit status. */
int command_line_read(int argc, char **argv, struct command_line *options);

/* Add an address to those of --listen. Returns whether there was room. */
bool command_line_add_listen(struct command_line *options, const char *address);

#endif
