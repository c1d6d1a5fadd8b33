/* Nanoseconds for the host of a request: from the value of Host to what is served, among 1, 100 and 1,000 names, of
 * which every other one is a wildcard. "one host" asks for the same one again and again, "all hosts" for all of them in
 * random order. */

#include "core/sys.h"
#include "http/site.h"
#include "http/site_parts.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HOST_TEXT_MAX = 80, LOOK_ROUNDS = 2000000, LOOK_RUNS = 5 };

struct host_probe {
    char text[HOST_TEXT_MAX]; /* of the field Host */
    size_t len;               /* of text */
};

static struct host_probe host_probes[VHOST_NAMES_MAX];

static void die(const char *why)
{
    fprintf(stderr, "bench_vhosts: %s\n", why);
    exit(1);
}

/* The best of a few runs, in nanoseconds a host. stride: from one probe to the next. */
static double measure_hosts(const struct vhosts *hosts, size_t first, size_t count, size_t stride)
{
    double best = 1e9;
    for (int run = 0; run < LOOK_RUNS; run++) {
        size_t next = first, missing = 0;
        int64_t start_ns = sys_now_ns();
        for (int i = 0; i < LOOK_ROUNDS; i++) {
            struct vhost_look look;
            missing += vhosts_find(hosts, host_probes[next].text, host_probes[next].len, &look) == NULL;
            next = next + stride >= count ? (next + stride) % count : next + stride;
        }
        double each_ns = (double)(sys_now_ns() - start_ns) / LOOK_ROUNDS;
        best = each_ns < best ? each_ns : best;
        if (missing != 0) {
            die("a name was not found");
        }
    }
    return best;
}

static void measure_names(size_t count)
{
    struct site *site = NULL;
    struct vhost *vhost = NULL;
    char err[256] = "out of memory";
    if (site_create(&site, NULL) < 0 || site_add_host(site, "", &vhost) < 0) {
        die(err);
    }
    for (size_t n = 0; n < count; n++) {
        char name[HOST_TEXT_MAX];
        snprintf(name, sizeof name, "%scustomer-%zu.example.org", n % 2 == 0 ? "" : "*.", n);
        int len = snprintf(host_probes[n].text, HOST_TEXT_MAX, "%sCustomer-%zu.example.org%s", n % 2 == 0 ? "" : "www.",
                           n, n % 3 == 0 ? ":8080" : "");
        host_probes[n].len = (size_t)len;
        if (vhosts_add_name(site->hosts, vhost, name, err, sizeof err) < 0) {
            die(err);
        }
    }
    printf("%5zu names   one name %5.1f ns", count, measure_hosts(site->hosts, 0, 1, 0));
    if (count > 1) {
        printf("   a wildcard's %5.1f ns   all hosts %5.1f ns", measure_hosts(site->hosts, 1, 2, 0),
               measure_hosts(site->hosts, 0, count, 37));
    }
    printf("\n");
    site_destroy(site);
}

int main(void)
{
    measure_names(1);
    measure_names(100);
    measure_names(VHOST_NAMES_MAX);
    return 0;
}
