/* Happy path: each part is written when it is needed and what it shows has changed.
 *
 * Failure modes: none. */

#include "http/access_memo.h"

#include "http/access_format.h"
#include "http/digits.h"
#include "http/head_text.h"

#include <string.h>
#include <time.h>

/* Times. */

/* Write both times for a second. */
void access_memo_renew_times(struct access_memo *memo, int64_t now_s)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t now = (time_t)now_s;
    struct tm tm = {0};
    (void)localtime_r(&now, &tm);
    long offset = tm.tm_gmtoff / 60;
    char sign = offset < 0 ? '-' : '+';
    unsigned minutes = (unsigned)(offset < 0 ? -offset : offset);
    char *at = put_two_digits(memo->local, (unsigned)tm.tm_mday);
    *at++ = '/';
    at = put(at, months + 3 * (size_t)tm.tm_mon, 3);
    *at++ = '/';
    at = put_two_digits(at, (unsigned)(tm.tm_year + 1900) / 100);
    at = put_two_digits(at, (unsigned)(tm.tm_year + 1900) % 100);
    char *clock = memo->iso;
    clock = put_two_digits(clock, (unsigned)(tm.tm_year + 1900) / 100);
    clock = put_two_digits(clock, (unsigned)(tm.tm_year + 1900) % 100);
    *clock++ = '-';
    clock = put_two_digits(clock, (unsigned)tm.tm_mon + 1);
    *clock++ = '-';
    clock = put_two_digits(clock, (unsigned)tm.tm_mday);
    *clock++ = 'T';
    *at++ = ':';
    char *hours = at;
    at = put_two_digits(at, (unsigned)tm.tm_hour);
    *at++ = ':';
    at = put_two_digits(at, (unsigned)tm.tm_min);
    *at++ = ':';
    at = put_two_digits(at, (unsigned)tm.tm_sec);
    clock = put(clock, hours, (size_t)(at - hours));
    *at++ = ' ';
    *at++ = *clock++ = sign;
    at = put_two_digits(at, minutes / 60);
    at = put_two_digits(at, minutes % 60);
    clock = put_two_digits(clock, minutes / 60);
    *clock++ = ':';
    clock = put_two_digits(clock, minutes % 60);
    memo->local_len = (uint8_t)(at - memo->local);
    memo->iso_len = (uint8_t)(clock - memo->iso);
    memo->second = now_s;
    memo->begin_second = -1;
}

/* The client. */

void access_memo_renew_peer(struct access_memo *memo, const struct peer *peer)
{
    memo->begin_second = -1;
    memo->family = peer->family;
    memcpy(memo->address, peer->address, sizeof memo->address);
    if (peer->family == AF_INET) {
        char *at = memo->peer_text;
        for (int i = 0; i < 4; i++) {
            at = put_number(at, peer->address[i]);
            *at++ = '.';
        }
        memo->peer_len = (uint8_t)(at - 1 - memo->peer_text);
        return;
    }
    char text[NET_TEXT_MAX];
    peer_format(peer, text, sizeof text);
    const char *begin = text[0] == '[' ? text + 1 : text;
    const char *bracket = strchr(begin, ']');
    size_t len = bracket == NULL ? strlen(begin) : (size_t)(bracket - begin);
    len = len < ACCESS_VALUE_LEAST ? len : (size_t)ACCESS_VALUE_LEAST;
    memcpy(memo->peer_text, begin, len);
    memo->peer_len = (uint8_t)len;
}

void access_memo_renew_begin(struct access_memo *memo, const struct peer *peer, int64_t now_s)
{
    if (memo->second != now_s || memo->local_len == 0) {
        access_memo_renew_times(memo, now_s);
    }
    if (!access_memo_has_peer(memo, peer)) {
        access_memo_renew_peer(memo, peer);
    }
    char *at = put(memo->combined_begin, memo->peer_text, memo->peer_len);
    at = put_text(at, " - - [");
    at = put(at, memo->local, memo->local_len);
    at = put_text(at, "] \"");
    memo->begin_len = (uint8_t)(at - memo->combined_begin);
    memo->begin_second = now_s;
}
