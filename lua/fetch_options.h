#ifndef EVSERVE_LUA_FETCH_OPTIONS_H
#define EVSERVE_LUA_FETCH_OPTIONS_H

/* The options of app.fetch. */

#include "http/client/fetch.h"
#include "http/number.h"
#include "lua/state.h"

enum { FETCH_FIELDS_FEW = 24 }; /* fields that need no memory of their own */

/* Room for the fields of a request. */
struct fetch_fields {
    struct fetch_field few[FETCH_FIELDS_FEW];
    char few_numbers[FETCH_FIELDS_FEW][NUMBER_TEXT_MAX]; /* values that are numbers, as text */
    struct fetch_field *list;                            /* the fields */
    char (*numbers)[NUMBER_TEXT_MAX];                    /* as few_numbers, for list */
    size_t count;                                        /* of list */
    size_t room;                                         /* of list, without that for Content-Type */
    bool has_type;                                       /* Content-Type is among them */
};

/* Fill in request from the options in the table at index; what it points to belongs to them and to fields, and lasts
 * until the calling C function returns or runs Lua code. type is the Content-Type unless the options have one; NULL:
 * there is none. The body and the URL are the caller's. Returns true; or false with the name of an unknown option on
 * top of the stack. Raises for anything else that is wrong. */
bool fetch_options_read(lua_State *L, int index, const char *type, struct fetch_request *request,
                        struct fetch_fields *fields);

#endif
