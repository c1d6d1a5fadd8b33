/* http/vhosts.c and http/vhost.c: which host has a name, and what it leaves open. */

#include "http/vhosts.h"

#include "http/file_cache.h"
#include "http/site.h"
#include "http/site_parts.h"

#include "tests/lib/fake_mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(rows) (sizeof(rows) / sizeof(rows)[0])

static struct site *make_site(void)
{
    struct site *site = NULL;
    assert_int_equal(site_create(&site, NULL), 0);
    return site;
}

static struct vhost *add_host(struct site *site, const char *where)
{
    struct vhost *vhost = NULL;
    assert_int_equal(site_add_host(site, where, &vhost), 0);
    return vhost;
}

static void name_host(struct site *site, struct vhost *vhost, const char *name)
{
    char err[512] = "";
    if (vhosts_add_name(site->hosts, vhost, name, err, sizeof err) < 0) {
        fail_msg("%s", err);
    }
}

/* A byte behind the authority that is read would be found. */
static const struct vhost *find_host(const struct site *site, const char *text, size_t *from)
{
    struct vhost_look look;
    size_t len = strlen(text);
    char *exact = malloc(len + 1);
    assert_non_null(exact);
    memcpy(exact, text, len);
    exact = realloc(exact, len > 0 ? len : 1);
    assert_non_null(exact);
    const struct vhost *found = vhosts_find(site->hosts, exact, len, &look);
    *from = look.from;
    free(exact);
    return found;
}

static void longest_name_wins(void **state)
{
    (void)state;
    static const char *const names[] = {"*.org",           "example.org", "*.example.org", "*.a.b.example.org",
                                        "www.example.org", "::1"};
    static const struct {
        const char *host, *name; /* name: of the host that has it, or NULL */
        size_t from;
    } rows[] = {
        {"example.org", "example.org", 0},
        {"EXAMPLE.ORG.:80", "example.org", 0},
        {"www.example.org", "www.example.org", 0},
        {"ftp.example.org", "*.example.org", 2},
        {"x.y.example.org", "*.example.org", 2},
        {"a.b.example.org", "*.example.org", 2},
        {"c.a.b.example.org", "*.a.b.example.org", 0},
        {"d.c.a.b.example.org", "*.a.b.example.org", 2},
        {"other.org", "*.org", 4},
        {"org", NULL, 0},
        {".org", NULL, 0},
        {"x.com", NULL, 0},
        {"badexample.org", "*.org", 9},
        {"[0::1]:80", "[::1]", 0},
        {"", NULL, 0},
        {".", NULL, 0},
        {"..", NULL, 0},
    };
    struct site *site = make_site();
    for (size_t i = 0; i < COUNT(names); i++) {
        name_host(site, add_host(site, ""), names[i]);
    }
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t from = 99;
        const struct vhost *found = find_host(site, rows[i].host, &from);
        if (found == NULL || rows[i].name == NULL) {
            assert_true(found == NULL && rows[i].name == NULL);
            continue;
        }
        assert_string_equal(found->name, rows[i].name);
        assert_int_equal(from, rows[i].from);
    }
    site_destroy(site);
}

static void deepest_wildcard_is_found(void **state)
{
    (void)state;
    char wildcard[256] = "*", name[256] = "b", too_short[256] = "";
    for (int i = 0; i < 126; i++) {
        strcat(wildcard, ".a");
        strcat(name, i < 125 ? ".a" : ".a.");
        strcat(too_short, ".a");
    }
    struct site *site = make_site();
    struct vhost *vhost = add_host(site, "");
    name_host(site, vhost, wildcard);
    size_t from;
    assert_ptr_equal(find_host(site, name, &from), vhost);
    assert_null(find_host(site, too_short + 1, &from));
    site_destroy(site);
}

static void two_hosts_do_not_have_one_name(void **state)
{
    (void)state;
    char err[512];
    struct site *site = make_site();
    struct vhost *first = add_host(site, "site.lua:7"), *second = add_host(site, "site.lua:9");
    name_host(site, first, "example.org");
    assert_int_equal(vhosts_add_name(site->hosts, first, "Example.org.", err, sizeof err), -EEXIST);
    assert_string_equal(err, "\"example.org\" is given twice");
    assert_int_equal(vhosts_add_name(site->hosts, second, "EXAMPLE.org", err, sizeof err), -EEXIST);
    assert_string_equal(err, "the name \"example.org\" is taken by the host at site.lua:7");
    name_host(site, second, "*.example.org");
    assert_int_equal(vhosts_add_name(site->hosts, first, "*.example.org", err, sizeof err), -EEXIST);
    assert_int_equal(vhosts_add_name(site->hosts, second, "a:1", err, sizeof err), -EINVAL);
    assert_string_equal(vhosts_name(site->hosts, second, 0), "*.example.org");
    assert_null(vhosts_name(site->hosts, second, 1));
    site_destroy(site);
}

static void names_of_pinned_hosts_win_without_an_error(void **state)
{
    (void)state;
    char err[512];
    struct site *site = make_site();
    struct vhost *pinned = add_host(site, ""), *twin = add_host(site, ""), *later = add_host(site, "site.lua:1");
    pinned->is_pinned = twin->is_pinned = true;
    name_host(site, pinned, "example.org");
    assert_int_equal(vhosts_add_name(site->hosts, twin, "example.org", err, sizeof err), -EEXIST);
    assert_string_equal(err, "the name \"example.org\" is taken by the host before it");
    name_host(site, later, "example.org");
    name_host(site, later, "www.example.org");
    size_t from;
    assert_ptr_equal(find_host(site, "example.org", &from), pinned);
    assert_ptr_equal(find_host(site, "www.example.org", &from), later);
    assert_string_equal(later->name, "www.example.org");
    site_destroy(site);
}

static void names_have_a_limit(void **state)
{
    (void)state;
    char text[64], err[512];
    size_t from;
    struct site *site = make_site();
    struct vhost *vhosts[2] = {add_host(site, ""), add_host(site, "")};
    for (int i = 0; i < VHOST_NAMES_MAX; i++) {
        snprintf(text, sizeof text, "%sn%d.example", i % 3 == 0 ? "*." : "", i);
        name_host(site, vhosts[i & 1], text);
    }
    assert_int_equal(vhosts_add_name(site->hosts, vhosts[0], "one.more", err, sizeof err), -ENOSPC);
    assert_string_equal(err, "\"one.more\" is one too many: a site has at most 1000 names of hosts");
    for (int i = 0; i < VHOST_NAMES_MAX; i++) {
        snprintf(text, sizeof text, "%sn%d.example", i % 3 == 0 ? "x." : "", i);
        assert_ptr_equal(find_host(site, text, &from), vhosts[i & 1]);
    }
    site_destroy(site);
}

static void what_a_host_leaves_open_is_as_in_the_site(void **state)
{
    (void)state;
    char err[512];
    struct site *site = make_site();
    struct vhost *open = add_host(site, ""), *own = add_host(site, "site.lua:3");
    name_host(site, own, "example.org");
    site->default_host.trailing_slash = SLASH_REDIRECT;
    site->limits.max_body_bytes = 1000;
    own->trailing_slash = SLASH_STRICT;
    own->has_slash = true;
    assert_int_equal(vhost_set_limit(own, limits_find("write_timeout"), 5000), 0);
    assert_int_equal(site_settle_hosts(site, err, sizeof err), 0);
    assert_int_equal(open->trailing_slash, SLASH_REDIRECT);
    assert_int_equal(own->trailing_slash, SLASH_STRICT);
    assert_ptr_equal(vhost_limits(open, &site->limits), &site->limits);
    assert_int_equal(vhost_limits(own, &site->limits)->max_body_bytes, 1000);
    assert_int_equal(vhost_limits(own, &site->limits)->write_timeout_ms, 5000);

    assert_int_equal(vhost_set_limit(own, limits_find("write_high_mark"), site->limits.write_cap_bytes + 1), 0);
    assert_int_equal(site_settle_hosts(site, err, sizeof err), -EINVAL);
    assert_non_null(strstr(err, "site.lua:3: limits of the host example.org: "));
    site_destroy(site);
}

static void hosts_are_made_whole_or_not(void **state)
{
    (void)state;
    char err[512];
    size_t live = fake_mem_live();
    for (uint64_t n = 1;; n++) {
        struct site *site = make_site();
        struct vhost *vhost = NULL;
        fake_mem_fail_after(n, false);
        int rv = site_add_host(site, "site.lua:1", &vhost);
        rv = rv < 0 ? rv : vhosts_add_name(site->hosts, vhost, "*.example.org", err, sizeof err);
        rv = rv < 0 ? rv : vhost_set_limit(vhost, limits_find("max_body"), 1);
        bool failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        site_destroy(site);
        assert_int_equal(fake_mem_live(), live);
        if (!failed) {
            assert_int_equal(rv, 0);
            break;
        }
        assert_true(rv == -ENOMEM || rv == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(longest_name_wins),
        cmocka_unit_test(deepest_wildcard_is_found),
        cmocka_unit_test(two_hosts_do_not_have_one_name),
        cmocka_unit_test(names_of_pinned_hosts_win_without_an_error),
        cmocka_unit_test(names_have_a_limit),
        cmocka_unit_test(what_a_host_leaves_open_is_as_in_the_site),
        cmocka_unit_test(hosts_are_made_whole_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
