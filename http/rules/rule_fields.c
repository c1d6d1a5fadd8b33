/* Happy path: each line was made beforehand; a head gets those whose names it lacks.
 * Failure modes: a field that could break a message, or that is the server's own to say, is an error text. */

#include "http/rules/rule_fields.h"

#include "core/ascii.h"
#include "core/log.h"
#include "core/mem.h"
#include "http/exchange.h"
#include "http/response_fields.h"
#include "http/rules/rule_head.h"
#include "http/rules/rules.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

struct field_line_of_rule {
    char *text;      /* "Name: value" and CRLF; of a field that is dropped, the name alone */
    size_t len;      /* bytes of it */
    size_t name_len; /* bytes of the name */
    bool drops;      /* responses have no field of that name */
};

struct fields {
    bool replaces;
    size_t count;
    struct field_line_of_rule lines[]; /* their texts lie behind them */
};

_Static_assert((int)RULE_FIELDS_MAX <= 64, "a set of lines is a word");

static bool names_field(const struct fields *fields, const struct field_line_of_rule *line)
{
    for (size_t i = 0; i < fields->count; i++) {
        const struct field_line_of_rule *other = &fields->lines[i];
        if (other->name_len == line->name_len && ascii_equals(other->text, line->text, line->name_len)) {
            return true;
        }
    }
    return false;
}

/* Whether a rule with a longer prefix, or one that was added before, has decided about a name. */
static bool is_decided(const struct exchange *exchange, const struct rule *first, const struct rule *rule,
                       const struct field_line_of_rule *line)
{
    for (; first != rule; first = rule_next(first, exchange->path, exchange->path_len)) {
        if (names_field(first->data, line)) {
            return true;
        }
    }
    return false;
}

/* Vary is a list to which the rule adds: a response that varies by a field of its own varies by that of the rule,
 * too. */
static bool is_joined(const struct fields *fields, const struct field_line_of_rule *line)
{
    return !fields->replaces && !line->drops && ascii_is(line->text, line->name_len, "Vary");
}

/* Drop what has to go, and find the lines to be added. Returns 0 or -ENOMEM. */
static int plan_lines(struct exchange *exchange, const struct rule *first, const struct rule *rule,
                      struct rule_head *head, uint64_t *added)
{
    const struct fields *fields = rule->data;
    int rv = 0;
    *added = 0;
    for (size_t i = 0; rv == 0 && i < fields->count; i++) {
        const struct field_line_of_rule *line = &fields->lines[i];
        if (is_decided(exchange, first, rule, line)) {
            continue;
        }
        bool is_there = !is_joined(fields, line) && rule_head_has(exchange, head, line->text, line->name_len);
        if (is_there && (line->drops || fields->replaces)) {
            rv = rule_head_drop(exchange, head, line->text, line->name_len);
        }
        *added |= (uint64_t)(!line->drops && (!is_there || fields->replaces)) << i;
    }
    return rv;
}

static int put_rule_fields(struct exchange *exchange, const struct rule *first, struct rule_head *head)
{
    int rv = 0;
    for (const struct rule *rule = first; rv == 0 && rule != NULL;
         rule = rule_next(rule, exchange->path, exchange->path_len)) {
        const struct fields *fields = rule->data;
        uint64_t added;
        rv = plan_lines(exchange, first, rule, head, &added);
        for (size_t i = 0; rv == 0 && i < fields->count; i++) {
            if ((added >> i & 1) != 0) {
                rv = rule_head_add(exchange, fields->lines[i].text, fields->lines[i].len);
            }
        }
    }
    return rv;
}

static const struct rules_kind fields_kind = {
    .order = RULE_FIELDS,
    .on_head = put_rule_fields,
    .destroy = mem_free,
    .name = "app.headers",
    .host_name = "evs_rule.headers",
};

/* Fields that only who sends the content can know. */
static bool is_about_content(const char *name)
{
    static const char *const names[] = {"Content-Type", "Content-Encoding", "Content-Range"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (ascii_compare(name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

static int check_rule_field(const struct rule_field *fields, size_t i, char *err, size_t errlen)
{
    const char *name = fields[i].name, *value = fields[i].value == NULL ? "" : fields[i].value;
    int rv = response_check_field(name, strlen(name), value, strlen(value));
    if (rv == -EPERM) {
        return error_text(err, errlen, -EINVAL, "\"%.100s\": the server writes this field itself", name);
    }
    if (rv < 0) {
        return error_text(err, errlen, -EINVAL, "\"%.100s\": no valid name or value of a field", name);
    }
    if (is_about_content(name)) {
        return error_text(err, errlen, -EINVAL, "\"%.100s\" describes the content: its handler or mount says it", name);
    }
    if (fields[i].value == NULL && ascii_compare(name, "Strict-Transport-Security") == 0) {
        return error_text(err, errlen, -EINVAL, "\"%.100s\": the setting hsts says whether it is sent: \"off\"", name);
    }
    for (size_t j = 0; j < i; j++) {
        if (ascii_compare(fields[j].name, name) != 0) {
            continue;
        }
        if (fields[i].value == NULL || fields[j].value == NULL) {
            return error_text(err, errlen, -EINVAL, "\"%.100s\" is both added and dropped", name);
        }
        if (response_is_single_field(name, strlen(name))) {
            return error_text(err, errlen, -EINVAL, "\"%.100s\": a response has one field of this name at most", name);
        }
    }
    return 0;
}

static void make_lines(struct fields *made, const struct rule_field *fields, size_t count)
{
    char *at = (char *)&made->lines[count];
    for (size_t i = 0; i < count; i++) {
        struct field_line_of_rule *line = &made->lines[i];
        *line = (struct field_line_of_rule){.text = at,
                                            .name_len = strlen(fields[i].name),
                                            .drops = fields[i].value == NULL};
        at = mempcpy(at, fields[i].name, line->name_len);
        if (!line->drops) {
            at = mempcpy(at, ": ", 2);
            at = mempcpy(at, fields[i].value, strlen(fields[i].value));
            at = mempcpy(at, "\r\n", 2);
        }
        line->len = (size_t)(at - line->text);
    }
    made->count = count;
}

int rule_fields_add(struct rules **rules, const char *prefix, const struct rule_field *fields, size_t count,
                    bool replaces, char *err, size_t errlen)
{
    size_t room = 0;
    if (count == 0 || count > RULE_FIELDS_MAX) {
        return error_text(err, errlen, count == 0 ? -EINVAL : -ENOSPC, "%zu fields: 1 to %d are possible", count,
                          RULE_FIELDS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        int rv = check_rule_field(fields, i, err, errlen);
        if (rv < 0) {
            return rv;
        }
        room += strlen(fields[i].name) + (fields[i].value == NULL ? 0 : strlen(fields[i].value)) + 4;
    }
    if (room > RULE_FIELDS_TEXT_MAX) {
        return error_text(err, errlen, -ENOSPC, "%zu bytes of fields: at most %d", room, RULE_FIELDS_TEXT_MAX);
    }
    struct fields *made = mem_alloc(sizeof *made + count * sizeof made->lines[0] + room);
    if (made == NULL) {
        return error_text(err, errlen, -ENOMEM, "%s", errno_text(ENOMEM));
    }
    made->replaces = replaces;
    make_lines(made, fields, count);
    int rv = 0;
    if (rules_add(rules, &fields_kind, prefix, made, &rv, err, errlen) == NULL) {
        mem_free(made);
    }
    return rv;
}
