#ifndef EVSERVE_HTTP_ACCESS_FORMAT_H
#define EVSERVE_HTTP_ACCESS_FORMAT_H

/* The format of the access log: a text with nginx's $variables, parsed once into a list of parts. Pure: it knows no
 * request; http/access_line.h writes lines with it. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* VARIABLE(name in the text, name here): all of them, in the order of their names. "$http_" and the name of a request
 * field, in lower case with '_' in place of '-', is one more, and so is "$sent_http_" with that of a response. */
/* clang-format off */
#define ACCESS_VARIABLES(X)                                                                                            \
    X(args, ARGS)                                                                                                      \
    X(body_bytes_sent, BODY_BYTES_SENT)                                                                                \
    X(bytes_sent, BYTES_SENT)                                                                                          \
    X(host, HOST)                                                                                                      \
    X(msec, MSEC)                                                                                                      \
    X(pid, PID)                                                                                                        \
    X(proxy_protocol_addr, PROXY_PROTOCOL_ADDR)                                                                        \
    X(proxy_protocol_port, PROXY_PROTOCOL_PORT)                                                                        \
    X(proxy_protocol_server_addr, PROXY_PROTOCOL_SERVER_ADDR)                                                          \
    X(proxy_protocol_server_port, PROXY_PROTOCOL_SERVER_PORT)                                                          \
    X(proxy_protocol_tlv_unique_id, PROXY_PROTOCOL_TLV_UNIQUE_ID)                                                      \
    X(query_string, QUERY_STRING)                                                                                      \
    X(realip_remote_addr, REALIP_REMOTE_ADDR)                                                                          \
    X(realip_remote_port, REALIP_REMOTE_PORT)                                                                          \
    X(remote_addr, REMOTE_ADDR)                                                                                        \
    X(remote_port, REMOTE_PORT)                                                                                        \
    X(remote_user, REMOTE_USER)                                                                                        \
    X(request, REQUEST)                                                                                                \
    X(request_completion, REQUEST_COMPLETION)                                                                          \
    X(request_id, REQUEST_ID)                                                                                          \
    X(request_length, REQUEST_LENGTH)                                                                                  \
    X(request_method, REQUEST_METHOD)                                                                                  \
    X(request_time, REQUEST_TIME)                                                                                      \
    X(request_uri, REQUEST_URI)                                                                                        \
    X(route, ROUTE)                                                                                                    \
    X(scheme, SCHEME)                                                                                                  \
    X(server_protocol, SERVER_PROTOCOL)                                                                                \
    X(ssl_cipher, SSL_CIPHER)                                                                                          \
    X(ssl_protocol, SSL_PROTOCOL)                                                                                      \
    X(ssl_server_name, SSL_SERVER_NAME)                                                                                \
    X(status, STATUS)                                                                                                  \
    X(time_iso8601, TIME_ISO8601)                                                                                      \
    X(time_local, TIME_LOCAL)                                                                                          \
    X(tls_cipher, TLS_CIPHER)                                                                                          \
    X(tls_server_name, TLS_SERVER_NAME)                                                                                \
    X(tls_version, TLS_VERSION)                                                                                        \
    X(upstream_addr, UPSTREAM_ADDR)                                                                                    \
    X(upstream_response_time, UPSTREAM_RESPONSE_TIME)                                                                  \
    X(upstream_status, UPSTREAM_STATUS)                                                                                \
    X(uri, URI)
/* clang-format on */

#define ACCESS_VARIABLE_NAME(text, name) ACCESS_##name,
enum access_variable {
    ACCESS_NOTHING,    /* the part is text alone */
    ACCESS_FIELD,      /* "$http_": a field of the request */
    ACCESS_SENT_FIELD, /* "$sent_http_": a field that a handler added to the response */
    ACCESS_VARIABLES(ACCESS_VARIABLE_NAME) ACCESS_VARIABLE_COUNT
};
#undef ACCESS_VARIABLE_NAME

enum {
    ACCESS_FORMAT_MAX = 1024, /* bytes of a format */
    ACCESS_PARTS_MAX = 48,    /* variables of a format, plus one */
    ACCESS_FIELDS_MAX = 16,   /* fields of requests that a format shows, and as many of responses */
    ACCESS_COPY_SLACK = 16,   /* bytes that may be read behind every text of a format */
    ACCESS_VALUE_LEAST = 48,  /* bytes that every value has room for, whatever comes before it */
};

/* A text, and the variable behind it. */
struct access_part {
    const char *text;              /* in the format's memory */
    uint16_t text_len;             /* bytes of text */
    uint16_t rest;                 /* bytes of a line that are kept for what follows this part's value */
    enum access_variable variable; /* ACCESS_NOTHING in the last part only */
    uint8_t field; /* of ACCESS_FIELD and ACCESS_REMOTE_USER: which of the format's fields; or of those sent */
};

/* A field that a line shows: all those of a request are found in one pass over its head. */
struct access_field {
    const char *name; /* in lower case, with '-' */
    uint8_t len;      /* bytes of name */
};

struct access_format {
    unsigned references; /* atomic: http/access_log.h */
    bool is_json;        /* values are escaped as strings of JSON, and one that is missing is empty, not "-" */
    bool is_timed;       /* it has $request_time */
    bool is_combined;    /* it is "combined": http/access_combined.h */
    uint8_t field_count; /* of fields */
    uint8_t sent_count;  /* of sent_fields */
    uint64_t field_lens; /* the set of their lengths: bit n is n bytes */
    struct access_field fields[ACCESS_FIELDS_MAX];
    struct access_field sent_fields[ACCESS_FIELDS_MAX];
    unsigned count;             /* of parts */
    struct access_part parts[]; /* and behind them their texts */
};

/* Parse "combined", "json", or a text with $variables, "escape=json " before it for values that stand in strings of
 * JSON. "${name}" ends a name in front of a letter; "$$" is a dollar sign. Returns 0 with a reference in *format, or
 * -EINVAL or -ENOMEM with a text in err that names what is wrong, its place, and the variable that was meant. */
int access_format_parse(struct access_format **format, const char *text, char *err, size_t errlen);

/* Take one more reference; give one back: the last one frees the format. NULL is allowed. Any thread. */
struct access_format *access_format_ref(struct access_format *format);
void access_format_put(struct access_format *format);

#endif
