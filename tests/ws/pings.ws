# Pings and pongs (RFC 6455 sections 5.5.2 and 5.5.3).

case ping_without_payload   RFC 6455 section 5.5.2
> ping
ping

case ping_with_text   RFC 6455 section 5.5.2
> ping | payload
ping | payload

case ping_with_bytes_that_are_not_text   RFC 6455 section 5.5.2
> ping | \x00\xff\xfe\xfd\xfc\xfb\x00\xff
ping | \x00\xff\xfe\xfd\xfc\xfb\x00\xff

case ping_of_124_bytes
> ping x=124 | \xfe
ping x=124 | \xfe

case ping_of_125_bytes   RFC 6455 section 5.5
> ping x=125 | \xfe
ping x=125 | \xfe

case ping_of_126_bytes   RFC 6455 section 5.5
> ping x=126 | \xfe
fail 1002 by=2 | control frame longer than 125 bytes

case ping_of_70000_bytes   RFC 6455 section 5.5
> ping x=70000 | \xfe
fail 1002 by=2 | control frame longer than 125 bytes

case short_ping_with_a_length_in_16_bits   RFC 6455 section 5.5
> ping len16 | a
fail 1002 by=2 | control frame longer than 125 bytes

case short_ping_with_a_length_in_64_bits   RFC 6455 section 5.5
> ping len64 | a
fail 1002 by=2 | control frame longer than 125 bytes

case fragmented_ping   RFC 6455 section 5.5
> ping more | a
> continuation | b
fail 1002 by=1 | fragmented control frame

case ping_without_a_mask   RFC 6455 section 5.1
> ping unmasked | a
fail 1002 by=2 | frame without a mask

case ten_pings_in_a_row   RFC 6455 section 5.5.2
> ping | ping 0
> ping | ping 1
> ping | ping 2
> ping | ping 3
> ping | ping 4
> ping | ping 5
> ping | ping 6
> ping | ping 7
> ping | ping 8
> ping | ping 9
ping | ping 0
ping | ping 1
ping | ping 2
ping | ping 3
ping | ping 4
ping | ping 5
ping | ping 6
ping | ping 7
ping | ping 8
ping | ping 9

case ping_between_messages
> text | one
> ping | p
> text | two
message text | one
ping | p
message text | two

case ping_between_fragments   RFC 6455 section 5.4
> text more | He
> ping | p
> continuation | llo
ping | p
message text | Hello

case long_ping_between_fragments   RFC 6455 section 5.4
> text more | He
> ping x=125 | p
> continuation | llo
ping x=125 | p
message text | Hello

case pings_between_all_fragments   RFC 6455 section 5.4
> text more | a
> ping | 1
> continuation more | b
> ping | 2
> continuation more | c
> ping
> continuation | d
ping | 1
ping | 2
ping
message text | abcd

case pings_of_different_lengths_between_fragments
> binary more | a
> ping | long ping
> ping | p
> ping
> continuation | b
ping | long ping
ping | p
ping
message binary | ab

case ping_between_the_halves_of_a_character   RFC 6455 section 5.4
> text more | \xe2\x82
> ping | \xff
> continuation | \xac
ping | \xff
message text | \xe2\x82\xac

case ping_that_does_not_end
> ping says=3 | ab
unfinished

case ping_between_fragments_does_not_end
> text more | He
> ping says=3 | ab
unfinished

case pong_that_nobody_asked_for   RFC 6455 section 5.5.3
> pong
pong

case pong_with_payload_that_nobody_asked_for   RFC 6455 section 5.5.3
> pong | unsolicited pong payload
pong | unsolicited pong payload

case pong_of_125_bytes   RFC 6455 section 5.5
> pong x=125 | \x80
pong x=125 | \x80

case pong_of_126_bytes   RFC 6455 section 5.5
> pong x=126 | \x80
fail 1002 by=2 | control frame longer than 125 bytes

case fragmented_pong   RFC 6455 section 5.5
> pong more | a
fail 1002 by=1 | fragmented control frame

case pong_without_a_mask   RFC 6455 section 5.1
> pong unmasked | a
fail 1002 by=2 | frame without a mask

case pong_then_ping
> pong | one
> ping | two
pong | one
ping | two

case pong_between_fragments   RFC 6455 section 5.4
> text more | He
> pong | p
> continuation | llo
pong | p
message text | Hello

case ping_and_pong_between_fragments   RFC 6455 section 5.4
> binary more | He
> pong | p
> ping | q
> continuation | llo
pong | p
ping | q
message binary | Hello

case ping_before_a_broken_frame
> ping | a
> ping rsv2 | b
ping | a
fail 1002 by=8 | a reserved bit (RSV2, RSV3) is set
