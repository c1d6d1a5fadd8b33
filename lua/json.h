#ifndef EVSERVE_LUA_JSON_H
#define EVSERVE_LUA_JSON_H

/* JSON (RFC 8259) of Lua values, strict in what it reads: what json_encode.c and json_decode.c have in common.
 * lua/README.md tells how values correspond. */

enum {
    JSON_DEPTH_MAX = 128,    /* arrays and objects inside each other; also ends a table that contains itself */
    JSON_TEXT_MAX = 1 << 30, /* bytes of an encoded text; nor more than lua_memory */
    JSON_LOOK = 1024,        /* values between two looks at the deadline of the run */
    JSON_LOOK_BYTES = 65536, /* bytes of text between two looks, when there are fewer values in them */
};

#endif
