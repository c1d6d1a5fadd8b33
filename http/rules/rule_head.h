#ifndef EVSERVE_HTTP_RULES_RULE_HEAD_H
#define EVSERVE_HTTP_RULES_RULE_HEAD_H

/* Rules for the heads of responses: those that the server makes itself, files, handlers' and proxied ones alike. A
 * struct framing in front of the one that carries the exchange changes a head on its way out, and is gone then. Sites
 * without such rules do not have it, so they pay nothing. */

#include <stdbool.h>
#include <stddef.h>

struct exchange;
struct rules;

/* A head that is about to be written. Its field lines are in exchange->fields, and those of a file in lines too. */
struct rule_head {
    int status;
    const char *type;  /* Content-Type, or NULL for none beside the fields. Of a file's 304: that of the file */
    const char *lines; /* of a file: lines_len bytes, each line with CRLF; Date and Content-Length are not among them */
    size_t lines_len;
    bool is_sent_with_type; /* the head has type as a line of its own */
    bool is_moved;          /* the lines of the file were copied to exchange->fields, and changed there */
};

/* The rules are to see the head of the response of this exchange. Called once for a request. */
void rule_head_install(struct exchange *exchange, struct rules *rules);

/* For kinds: whether the head has a field of that name (in any case). */
bool rule_head_has(const struct exchange *exchange, const struct rule_head *head, const char *name, size_t name_len);

/* Add len bytes of field lines, each with CRLF. Returns 0 or -ENOMEM. */
int rule_head_add(struct exchange *exchange, const char *lines, size_t len);

/* Drop the fields of that name (in any case). Returns 0, or -ENOMEM with nothing dropped. */
int rule_head_drop(struct exchange *exchange, struct rule_head *head, const char *name, size_t name_len);

#endif
