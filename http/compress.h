#ifndef EVSERVE_HTTP_COMPRESS_H
#define EVSERVE_HTTP_COMPRESS_H

/* Responses compressed on the fly: a struct framing in front of the one that carries the exchange. It looks at the head;
 * if the response stays as it is, it is gone then. Otherwise what is written goes through a coder.
 *
 *   known whole and short    compressed at once, with Content-Length
 *   long, in memory          piece by piece, whenever the client has taken what was queued (SOURCE_MADE)
 *   a stream                 as it is written, and flushed when the connection has its turn: once for all that was
 *                            written since
 *
 * Files, ranges, and what has a coding already stay as they are. Hosts without struct compress_options pay nothing. */

struct compressor;
struct exchange;

/* The exchange has a head, and its host has options: get ready for its response, and let the handler see the entity tags
 * that it knows in If-Match and If-None-Match. Without memory the response stays as it is. */
void compress_install(struct exchange *exchange);

/* Free what a server keeps for it, NULL before the first request. */
void compressor_destroy(struct compressor *compressor);

#endif
