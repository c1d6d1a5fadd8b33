#ifndef EVSERVE_HTTP_ENCODING_H
#define EVSERVE_HTTP_ENCODING_H

/* Content codings of files that were compressed beforehand, and the choice among them by Accept-Encoding (RFC 9110
 * sections 8.4.1 and 12.5.3). Pure: no allocation, no I/O, one look at each byte. Any thread. */

#include <stddef.h>
#include <stdint.h>

/* Identity is no coding at all. The others are in our order of preference: the densest first. */
enum encoding { ENCODING_IDENTITY, ENCODING_BR, ENCODING_ZSTD, ENCODING_GZIP, ENCODING_COUNT };

/* The value of Content-Encoding: "br" (RFC 7932), "zstd" (RFC 8878), "gzip" (RFC 9110 section 8.4.1.3); NULL for
 * identity. */
const char *encoding_name(enum encoding encoding);

enum { ENCODING_SUFFIX_MAX = 4 }; /* bytes of the longest suffix */

/* The end of the name of a file in that coding: ".br", ".zst", ".gz"; "" for identity. */
const char *encoding_suffix(enum encoding encoding);

/* The encoding whose suffix a name ends in, or ENCODING_IDENTITY. */
enum encoding encoding_of_name(const char *name, size_t len);

enum { QUALITY_UNSAID = -1 };

/* What a client accepts: qualities in thousandths, 0 for codings that it rejects. */
struct encoding_wishes {
    int16_t quality[ENCODING_COUNT]; /* of each coding by its name; QUALITY_UNSAID if it was not named */
    int16_t rest;                    /* of "*": all codings that were not named, identity among them */
};

/* Begin with a client that named nothing. */
void encoding_wishes_init(struct encoding_wishes *wishes);

/* Add the value of one Accept-Encoding line; a request may have several. Codings are compared without case, "x-gzip" is
 * gzip, and unknown codings are skipped. If a coding is named twice, the lowest quality counts, and a quality that
 * cannot be read counts as 0: when in doubt, the client gets what every client understands. */
void encoding_wishes_add(struct encoding_wishes *wishes, const char *value, size_t len);

/* Choose among the codings of available (set of 1 << ENCODING_x; identity is always there). The highest quality wins;
 * among equal ones our preference decides, and any coding goes before identity. If identity was not named, it comes
 * after every coding that the client accepts, however low the quality. A client that named nothing, because it sent no
 * field or an empty one, gets identity. So does a client that rejects everything available, identity included: we
 * disregard its wishes rather than respond with 406 (section 12.4.1). */
enum encoding encoding_choose(const struct encoding_wishes *wishes, unsigned available);

/* The same with a preference of the caller's own among count codings, identity not among them: the one that it likes
 * best comes first. */
enum encoding encoding_choose_in(const struct encoding_wishes *wishes, const enum encoding *order, unsigned count);

#endif
