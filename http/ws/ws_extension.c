/* Happy path: "permessage-deflate; client_max_window_bits", which is what browsers send.
 *
 * Failure modes: a value that is no list of extensions, which ends the handshake; offers that we cannot take, which are
 * skipped: the connection goes without compression. */

#include "http/ws/ws_extension.h"

#include "core/ascii.h"
#include "http/char_class.h"

#include <string.h>

/* A field value, and how far it was read. */
struct extension_text {
    const char *at, *end;
};

/* A parameter. */
struct extension_parameter {
    const char *name, *value; /* value is NULL: it has none */
    size_t name_len, value_len;
};

enum { EXTENSION_VALUE_MAX = 16 }; /* bytes of a value in quotes that can be a number of bits, however it is escaped */

static bool extension_next_is(struct extension_text *text, char c)
{
    text->at += char_skip_space(text->at, (size_t)(text->end - text->at), 0);
    if (text->at < text->end && *text->at == c) {
        text->at++;
        return true;
    }
    return false;
}

/* Read a token behind white space. Returns its length; 0: there is none. */
static size_t read_extension_token(struct extension_text *text, const char **token)
{
    text->at += char_skip_space(text->at, (size_t)(text->end - text->at), 0);
    *token = text->at;
    while (text->at < text->end && char_is(*text->at, CLASS_TOKEN)) {
        text->at++;
    }
    return (size_t)(text->at - *token);
}

/* Read the rest of a token in quotes, behind the first one. Its beginning, without backslashes, goes to room. */
static bool read_extension_quotes(struct extension_text *text, char room[EXTENSION_VALUE_MAX], size_t *value_len)
{
    size_t len = 0;
    while (text->at < text->end && *text->at != '"') {
        text->at += *text->at == '\\';
        if (text->at == text->end || !char_is(*text->at, CLASS_TOKEN)) {
            return false;
        }
        if (len < EXTENSION_VALUE_MAX) {
            room[len++] = *text->at;
        }
        text->at++;
    }
    *value_len = len;
    return text->at++ < text->end && len > 0;
}

/* Read a parameter, behind its semicolon. room is where the value may come to lie. */
static bool read_extension_parameter(struct extension_text *text, struct extension_parameter *parameter,
                                     char room[EXTENSION_VALUE_MAX])
{
    parameter->name_len = read_extension_token(text, &parameter->name);
    parameter->value = NULL;
    parameter->value_len = 0;
    if (parameter->name_len == 0) {
        return false;
    }
    if (!extension_next_is(text, '=')) {
        return true;
    }
    if (extension_next_is(text, '"')) {
        parameter->value = room;
        return read_extension_quotes(text, room, &parameter->value_len);
    }
    parameter->value_len = read_extension_token(text, &parameter->value);
    return parameter->value_len > 0;
}

/* A number of bits, from least to 15, without leading zeros. Returns 0 for anything else. */
static uint8_t read_window_bits(const struct extension_parameter *parameter, unsigned least)
{
    uint64_t bits = 0;
    if (parameter->value == NULL || parameter->value[0] == '0' ||
        !ascii_parse_number(parameter->value, parameter->value_len, WS_WINDOW_BITS_MOST, &bits) || bits < least) {
        return 0;
    }
    return (uint8_t)bits;
}

static bool parameter_is(const struct extension_parameter *parameter, const char *name)
{
    return parameter->name_len == strlen(name) && memcmp(parameter->name, name, parameter->name_len) == 0;
}

/* Take a parameter of permessage-deflate. Returns whether the offer can still be taken. */
static bool take_parameter(struct ws_offer *offer, const struct extension_parameter *parameter)
{
    if (parameter_is(parameter, "server_no_context_takeover")) {
        bool is_second = offer->server_forgets;
        offer->server_forgets = true;
        return !is_second && parameter->value == NULL;
    }
    if (parameter_is(parameter, "client_no_context_takeover")) {
        bool is_second = offer->client_forgets;
        offer->client_forgets = true;
        return !is_second && parameter->value == NULL;
    }
    if (parameter_is(parameter, "server_max_window_bits")) {
        bool is_second = offer->server_bits != 0;
        offer->server_bits = read_window_bits(parameter, 9);
        return !is_second && offer->server_bits != 0;
    }
    if (parameter_is(parameter, "client_max_window_bits")) {
        bool is_second = offer->has_client_bits;
        offer->has_client_bits = true;
        offer->client_bits = parameter->value == NULL ? WS_WINDOW_BITS_MOST : read_window_bits(parameter, 8);
        return !is_second && offer->client_bits != 0;
    }
    return false;
}

/* Read one extension of the list with its parameters. */
static bool read_extension(struct extension_text *text, struct ws_offer *offer)
{
    static const char ours[] = "permessage-deflate";
    struct ws_offer found = {.client_bits = WS_WINDOW_BITS_MOST};
    const char *name;
    size_t len = read_extension_token(text, &name);
    bool is_taken = len == sizeof ours - 1 && memcmp(name, ours, len) == 0;
    if (len == 0) {
        return false;
    }
    while (extension_next_is(text, ';')) {
        struct extension_parameter parameter;
        char room[EXTENSION_VALUE_MAX];
        if (!read_extension_parameter(text, &parameter, room)) {
            return false;
        }
        is_taken = is_taken && take_parameter(&found, &parameter);
    }
    if (is_taken && !offer->is_there) {
        *offer = found;
        offer->is_there = true;
    }
    return true;
}

bool ws_extension_read(struct ws_offer *offer, const char *value, size_t len)
{
    struct extension_text text = {value, value + len};
    for (;;) {
        while (extension_next_is(&text, ',')) { /* empty elements are allowed (RFC 9110 section 5.6.1.2) */
        }
        if (text.at == text.end) {
            return true;
        }
        if (!read_extension(&text, offer)) {
            return false;
        }
        if (!extension_next_is(&text, ',')) {
            return text.at == text.end;
        }
    }
}

void ws_extension_agree(struct ws_deflate_terms *terms, const struct ws_offer *offer, bool may_keep)
{
    *terms = (struct ws_deflate_terms){
        .server_keeps = may_keep && !offer->server_forgets,
        .client_keeps = may_keep && !offer->client_forgets,
        .says_server_bits = offer->server_bits != 0,
        .server_bits = offer->server_bits != 0 ? offer->server_bits : WS_WINDOW_BITS_MOST,
        .client_bits = offer->client_bits,
    };
    if (terms->client_keeps && offer->has_client_bits) {
        terms->says_client_bits = true;
        terms->client_bits = offer->client_bits < WS_WINDOW_BITS_OURS ? offer->client_bits : WS_WINDOW_BITS_OURS;
    }
}

size_t ws_extension_write(char text[WS_EXTENSION_MAX], const struct ws_deflate_terms *terms)
{
    static const char name[] = "permessage-deflate";
    size_t len = sizeof name - 1;
    memcpy(text, name, len);
    const struct {
        bool is_said;
        const char *text;
        unsigned bits; /* its value; 0: it has none */
    } parameters[] = {
        {!terms->server_keeps, "; server_no_context_takeover", 0},
        {!terms->client_keeps, "; client_no_context_takeover", 0},
        {terms->says_server_bits, "; server_max_window_bits=", terms->server_bits},
        {terms->says_client_bits, "; client_max_window_bits=", terms->client_bits},
    };
    for (size_t i = 0; i < sizeof parameters / sizeof *parameters; i++) {
        if (!parameters[i].is_said) {
            continue;
        }
        size_t piece = strlen(parameters[i].text);
        memcpy(text + len, parameters[i].text, piece);
        len += piece;
        if (parameters[i].bits >= 10) {
            text[len++] = '1';
        }
        if (parameters[i].bits > 0) {
            text[len++] = (char)('0' + parameters[i].bits % 10);
        }
    }
    return len;
}
