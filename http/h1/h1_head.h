#ifndef EVSERVE_HTTP_H1_HEAD_H
#define EVSERVE_HTTP_H1_HEAD_H

/* The only writer of head bytes and chunk framing: a well-formed message (RFC 9112 section 2) with Date (RFC 9110
 * section 6.6.1) and the right framing (RFC 9112 section 6). Most are functions of struct framing: see there. */

#include "http/conn.h"

#include <stdbool.h>
#include <stddef.h>

struct borrowed;
struct exchange;
struct h1;
struct prebuilt;
struct response_head;
struct service;

int h1_begin(struct exchange *exchange, const struct response_head *head);
int h1_prebuilt(struct exchange *exchange, const struct prebuilt *prebuilt, size_t content_len);
int h1_write(struct exchange *exchange, const void *content, size_t len);
int h1_borrow(struct exchange *exchange, const struct borrowed *piece);
int h1_end_content(struct exchange *exchange);
int h1_queue(struct exchange *exchange, const void *content, size_t len);
size_t h1_overhead(const struct exchange *exchange);

/* Queue 100 Continue (RFC 9110 section 15.2.1) before the response. Returns 0 or -ENOMEM. */
int h1_continue(struct h1 *h1);

/* Of struct framing. */
int h1_interim(struct exchange *exchange, int status, const char *lines, size_t len);

/* A response is about to begin that does not wait for the rest of the body. It is drained after the response if that is
 * cheap, else the connection closes; the head of the response should say so. */
void h1_plan_rest(struct h1 *h1);

/* struct protocol's refuse(). */
size_t h1_refuse_newcomer(struct service *service, const char *received, size_t len, char text[REFUSAL_MAX]);

#endif
