#ifndef EVSERVE_HTTP_HANDLER_H
#define EVSERVE_HTTP_HANDLER_H

/* What responds to a route: all that http/ knows of hosts in C and of Lua. */

#include <stdbool.h>
#include <stddef.h>

struct exchange;
struct limits;

enum body_mode {
    BODY_UNWANTED,  /* serve() is called when the head is there; a body is drained or the connection closed */
    BODY_WHOLE,     /* serve() is called when the body is there, all of it, at most max_body bytes */
    BODY_STREAM,    /* serve() is called when the head is there; the handler takes the body with exchange_read_body() */
    BODY_UNDECIDED, /* the request is held (http/rules/rules.h): what becomes of the body is decided later */
};

/* A line of a table of routes that stands for all routes of a handler. Texts live as long as the handler. */
struct handler_row {
    const char *what; /* one word: "proxy" */
    const char *path; /* prefix */
    const char *says; /* what happens there */
};

/* What parameters of the type {int} are to a handler that asks for their values by type, such as a script's. */
enum handler_ints {
    HANDLER_INTS_USUAL, /* what is usual there */
    HANDLER_INTS_NUMBERS,
    HANDLER_INTS_TEXT,
};

/* What responds to the requests of a route. Owned by whoever registers it; must outlive the server. */
struct handler {
    /* Answer the exchange with the functions of http/response.h, during the call or later. */
    void (*serve)(struct exchange *exchange, void *ctx);
    void *ctx; /* handed to serve */
    /* Write to text where the script waits that serves the exchange, for the log; NULL without a script. Only between
     * serve and the end of the response, while on_gone is set. */
    void (*say_place)(const struct exchange *exchange, char *text, size_t size);
    enum body_mode body_mode;       /* what serve needs to find */
    const struct handler *refusals; /* responds where the server refuses a request of the route (http/refusal.h), or
                                     * NULL: the server does so itself */
    const char *name;               /* of the route, for tables of routes; NULL without one */
    const struct handler_row *row;  /* in tables of routes, or NULL: each of its routes has a line */
    const struct limits *limits;    /* of its exchanges, where limits.def says ROUTE; NULL: the site's */
    bool half_close;                /* its clients may shut their side and still read: that is no leaving */
    bool is_unlogged;               /* its requests are not in the access log */
    bool keeps_coding;              /* it takes bodies as they were sent, whatever their Content-Encoding */
    bool is_uncoded;                /* its responses are not compressed on the fly: http/compress.h */
    bool before_files; /* of a route that ends in a rest: it comes before files (struct route.after_files) */
    enum handler_ints ints;
    bool owns_paths; /* of a route for all paths: they exist, so other methods get 405 instead of 404 */
};

#endif
