# Lengths, masks and messages one after the other (RFC 6455 section 5.2).

case text_of_no_bytes   RFC 6455 section 5.2
> text
message text

case text_of_one_byte
> text | x
message text | x

case text_of_125_bytes_the_longest_with_a_length_in_7_bits   RFC 6455 section 5.2
> text x=125 | *
message text x=125 | *

case text_of_126_bytes_the_shortest_with_16_bits   RFC 6455 section 5.2
> text x=126 | *
message text x=126 | *

case text_of_127_bytes_the_number_that_announces_64_bits   RFC 6455 section 5.2
> text x=127 | *
message text x=127 | *

case text_of_128_bytes_more_than_7_bits   RFC 6455 section 5.2
> text x=128 | *
message text x=128 | *

case text_of_65535_bytes_the_longest_with_16_bits   RFC 6455 section 5.2
> text x=65535 | *
message text x=65535 | *

case text_of_65536_bytes_the_shortest_with_64_bits   RFC 6455 section 5.2
> text x=65536 | *
message text x=65536 | *

case text_of_65537_bytes_one_more_than_that   RFC 6455 section 5.2
> text x=65537 | *
message text x=65537 | *

case text_longer_than_a_read_block
> text x=30000 | abcdefg
message text x=30000 | abcdefg

case binary_of_no_bytes   RFC 6455 section 5.2
> binary
message binary

case binary_of_one_byte
> binary | x
message binary | x

case binary_of_125_bytes_the_longest_with_a_length_in_7_bits   RFC 6455 section 5.2
> binary x=125 | \xfe
message binary x=125 | \xfe

case binary_of_126_bytes_the_shortest_with_16_bits   RFC 6455 section 5.2
> binary x=126 | \xfe
message binary x=126 | \xfe

case binary_of_127_bytes_the_number_that_announces_64_bits   RFC 6455 section 5.2
> binary x=127 | \xfe
message binary x=127 | \xfe

case binary_of_128_bytes_more_than_7_bits   RFC 6455 section 5.2
> binary x=128 | \xfe
message binary x=128 | \xfe

case binary_of_65535_bytes_the_longest_with_16_bits   RFC 6455 section 5.2
> binary x=65535 | \xfe
message binary x=65535 | \xfe

case binary_of_65536_bytes_the_shortest_with_64_bits   RFC 6455 section 5.2
> binary x=65536 | \xfe
message binary x=65536 | \xfe

case binary_of_65537_bytes_one_more_than_that   RFC 6455 section 5.2
> binary x=65537 | \xfe
message binary x=65537 | \xfe

case binary_longer_than_a_read_block
> binary x=30000 | abcdefg
message binary x=30000 | abcdefg

case binary_with_every_byte
> binary | \x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f !"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~\x7f\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f\x90\x91\x92\x93\x94\x95\x96\x97\x98\x99\x9a\x9b\x9c\x9d\x9e\x9f\xa0\xa1\xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xaa\xab\xac\xad\xae\xaf\xb0\xb1\xb2\xb3\xb4\xb5\xb6\xb7\xb8\xb9\xba\xbb\xbc\xbd\xbe\xbf\xc0\xc1\xc2\xc3\xc4\xc5\xc6\xc7\xc8\xc9\xca\xcb\xcc\xcd\xce\xcf\xd0\xd1\xd2\xd3\xd4\xd5\xd6\xd7\xd8\xd9\xda\xdb\xdc\xdd\xde\xdf\xe0\xe1\xe2\xe3\xe4\xe5\xe6\xe7\xe8\xe9\xea\xeb\xec\xed\xee\xef\xf0\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8\xf9\xfa\xfb\xfc\xfd\xfe\xff
message binary | \x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f !"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~\x7f\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f\x90\x91\x92\x93\x94\x95\x96\x97\x98\x99\x9a\x9b\x9c\x9d\x9e\x9f\xa0\xa1\xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xaa\xab\xac\xad\xae\xaf\xb0\xb1\xb2\xb3\xb4\xb5\xb6\xb7\xb8\xb9\xba\xbb\xbc\xbd\xbe\xbf\xc0\xc1\xc2\xc3\xc4\xc5\xc6\xc7\xc8\xc9\xca\xcb\xcc\xcd\xce\xcf\xd0\xd1\xd2\xd3\xd4\xd5\xd6\xd7\xd8\xd9\xda\xdb\xdc\xdd\xde\xdf\xe0\xe1\xe2\xe3\xe4\xe5\xe6\xe7\xe8\xe9\xea\xeb\xec\xed\xee\xef\xf0\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8\xf9\xfa\xfb\xfc\xfd\xfe\xff

case text_with_a_nul
> text | a\x00b
message text | a\x00b

case text_with_every_ascii_byte
> text | \x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f !"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~\x7f
message text | \x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f !"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~\x7f

case binary_of_2_bytes_around_the_width_of_a_word
> binary | \x00\x01
message binary | \x00\x01

case binary_of_3_bytes_around_the_width_of_a_word
> binary | \x00\x01\x02
message binary | \x00\x01\x02

case binary_of_7_bytes_around_the_width_of_a_word
> binary | \x00\x01\x02\x03\x04\x05\x06
message binary | \x00\x01\x02\x03\x04\x05\x06

case binary_of_8_bytes_around_the_width_of_a_word
> binary | \x00\x01\x02\x03\x04\x05\x06\x07
message binary | \x00\x01\x02\x03\x04\x05\x06\x07

case binary_of_9_bytes_around_the_width_of_a_word
> binary | \x00\x01\x02\x03\x04\x05\x06\x07\x08
message binary | \x00\x01\x02\x03\x04\x05\x06\x07\x08

case binary_of_15_bytes_around_the_width_of_a_word
> binary | \x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e
message binary | \x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e

case binary_of_16_bytes_around_the_width_of_a_word
> binary | \x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f
message binary | \x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f

case binary_of_31_bytes_around_the_width_of_a_vector
> binary | \x00\x07\x0e\x15\x1c#*18?FMT[bipw~\x85\x8c\x93\x9a\xa1\xa8\xaf\xb6\xbd\xc4\xcb\xd2
message binary | \x00\x07\x0e\x15\x1c#*18?FMT[bipw~\x85\x8c\x93\x9a\xa1\xa8\xaf\xb6\xbd\xc4\xcb\xd2

case binary_of_32_bytes_around_the_width_of_a_vector
> binary | \x00\x07\x0e\x15\x1c#*18?FMT[bipw~\x85\x8c\x93\x9a\xa1\xa8\xaf\xb6\xbd\xc4\xcb\xd2\xd9
message binary | \x00\x07\x0e\x15\x1c#*18?FMT[bipw~\x85\x8c\x93\x9a\xa1\xa8\xaf\xb6\xbd\xc4\xcb\xd2\xd9

case binary_of_33_bytes_around_the_width_of_a_vector
> binary | \x00\x07\x0e\x15\x1c#*18?FMT[bipw~\x85\x8c\x93\x9a\xa1\xa8\xaf\xb6\xbd\xc4\xcb\xd2\xd9\xe0
message binary | \x00\x07\x0e\x15\x1c#*18?FMT[bipw~\x85\x8c\x93\x9a\xa1\xa8\xaf\xb6\xbd\xc4\xcb\xd2\xd9\xe0

case binary_of_63_bytes_around_the_width_of_a_vector
> binary | \x00\x07\x0e\x15\x1c#*18?FMT[bipw~\x85\x8c\x93\x9a\xa1\xa8\xaf\xb6\xbd\xc4\xcb\xd2\xd9\xe0\xe7\xee\xf5\xfc\x03\x0a\x11\x18\x1f&-4;BIPW^elsz\x81\x88\x8f\x96\x9d\xa4\xab\xb2
message binary | \x00\x07\x0e\x15\x1c#*18?FMT[bipw~\x85\x8c\x93\x9a\xa1\xa8\xaf\xb6\xbd\xc4\xcb\xd2\xd9\xe0\xe7\xee\xf5\xfc\x03\x0a\x11\x18\x1f&-4;BIPW^elsz\x81\x88\x8f\x96\x9d\xa4\xab\xb2

case binary_of_64_bytes_around_the_width_of_a_vector
> binary | \x00\x07\x0e\x15\x1c#*18?FMT[bipw~\x85\x8c\x93\x9a\xa1\xa8\xaf\xb6\xbd\xc4\xcb\xd2\xd9\xe0\xe7\xee\xf5\xfc\x03\x0a\x11\x18\x1f&-4;BIPW^elsz\x81\x88\x8f\x96\x9d\xa4\xab\xb2\xb9
message binary | \x00\x07\x0e\x15\x1c#*18?FMT[bipw~\x85\x8c\x93\x9a\xa1\xa8\xaf\xb6\xbd\xc4\xcb\xd2\xd9\xe0\xe7\xee\xf5\xfc\x03\x0a\x11\x18\x1f&-4;BIPW^elsz\x81\x88\x8f\x96\x9d\xa4\xab\xb2\xb9

case binary_of_65_bytes_around_the_width_of_a_vector
> binary | \x00\x07\x0e\x15\x1c#*18?FMT[bipw~\x85\x8c\x93\x9a\xa1\xa8\xaf\xb6\xbd\xc4\xcb\xd2\xd9\xe0\xe7\xee\xf5\xfc\x03\x0a\x11\x18\x1f&-4;BIPW^elsz\x81\x88\x8f\x96\x9d\xa4\xab\xb2\xb9\xc0
message binary | \x00\x07\x0e\x15\x1c#*18?FMT[bipw~\x85\x8c\x93\x9a\xa1\xa8\xaf\xb6\xbd\xc4\xcb\xd2\xd9\xe0\xe7\xee\xf5\xfc\x03\x0a\x11\x18\x1f&-4;BIPW^elsz\x81\x88\x8f\x96\x9d\xa4\xab\xb2\xb9\xc0

case binary_of_95_bytes_around_the_width_of_a_vector
> binary | \x00\x07\x0e\x15\x1c#*18?FMT[bipw~\x85\x8c\x93\x9a\xa1\xa8\xaf\xb6\xbd\xc4\xcb\xd2\xd9\xe0\xe7\xee\xf5\xfc\x03\x0a\x11\x18\x1f&-4;BIPW^elsz\x81\x88\x8f\x96\x9d\xa4\xab\xb2\xb9\xc0\xc7\xce\xd5\xdc\xe3\xea\xf1\xf8\xff\x06\x0d\x14\x1b")07>ELSZahov}\x84\x8b\x92
message binary | \x00\x07\x0e\x15\x1c#*18?FMT[bipw~\x85\x8c\x93\x9a\xa1\xa8\xaf\xb6\xbd\xc4\xcb\xd2\xd9\xe0\xe7\xee\xf5\xfc\x03\x0a\x11\x18\x1f&-4;BIPW^elsz\x81\x88\x8f\x96\x9d\xa4\xab\xb2\xb9\xc0\xc7\xce\xd5\xdc\xe3\xea\xf1\xf8\xff\x06\x0d\x14\x1b")07>ELSZahov}\x84\x8b\x92

case binary_of_127_bytes_around_the_width_of_a_vector
> binary | \x00\x07\x0e\x15\x1c#*18?FMT[bipw~\x85\x8c\x93\x9a\xa1\xa8\xaf\xb6\xbd\xc4\xcb\xd2\xd9\xe0\xe7\xee\xf5\xfc\x03\x0a\x11\x18\x1f&-4;BIPW^elsz\x81\x88\x8f\x96\x9d\xa4\xab\xb2\xb9\xc0\xc7\xce\xd5\xdc\xe3\xea\xf1\xf8\xff\x06\x0d\x14\x1b")07>ELSZahov}\x84\x8b\x92\x99\xa0\xa7\xae\xb5\xbc\xc3\xca\xd1\xd8\xdf\xe6\xed\xf4\xfb\x02\x09\x10\x17\x1e%,3:AHOV]dkr
message binary | \x00\x07\x0e\x15\x1c#*18?FMT[bipw~\x85\x8c\x93\x9a\xa1\xa8\xaf\xb6\xbd\xc4\xcb\xd2\xd9\xe0\xe7\xee\xf5\xfc\x03\x0a\x11\x18\x1f&-4;BIPW^elsz\x81\x88\x8f\x96\x9d\xa4\xab\xb2\xb9\xc0\xc7\xce\xd5\xdc\xe3\xea\xf1\xf8\xff\x06\x0d\x14\x1b")07>ELSZahov}\x84\x8b\x92\x99\xa0\xa7\xae\xb5\xbc\xc3\xca\xd1\xd8\xdf\xe6\xed\xf4\xfb\x02\x09\x10\x17\x1e%,3:AHOV]dkr

case mask_of_zeros   RFC 6455 section 5.3
> text mask=00000000 | Hello
message text | Hello

case mask_of_ones   RFC 6455 section 5.3
> text mask=ffffffff | Hello
message text | Hello

case mask_that_makes_the_payload_look_like_a_frame   RFC 6455 section 5.3
> binary mask=88800000 | \x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00
message binary | \x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00

case mask_is_another_one_in_each_frame   RFC 6455 section 5.3
> text mask=01020304 | one
> text mask=a0b0c0d0 | two
> text mask=ff00ff00 | three
message text | one
message text | two
message text | three

case frame_of_the_RFC   RFC 6455 section 5.7
>| \x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58
message text | Hello

case frame_without_a_mask   RFC 6455 section 5.1
> text unmasked | Hello
fail 1002 by=2 | frame without a mask

case empty_frame_without_a_mask   RFC 6455 section 5.1
> text unmasked
fail 1002 by=2 | frame without a mask

case binary_without_a_mask   RFC 6455 section 5.1
> binary unmasked | \x01
fail 1002 by=2 | frame without a mask

case continuation_without_a_mask   RFC 6455 section 5.1
> text more | a
> continuation unmasked | b
fail 1002 by=9 | frame without a mask

case long_frame_without_a_mask   RFC 6455 section 5.1
> text unmasked x=70000 | a
fail 1002 by=2 | frame without a mask

case length_of_0_in_16_bits   RFC 6455 section 5.2
> text len16 x=0 | a
fail 1002 by=4 | length is not in its shortest form

case length_of_1_in_16_bits   RFC 6455 section 5.2
> text len16 x=1 | a
fail 1002 by=4 | length is not in its shortest form

case length_of_5_in_16_bits   RFC 6455 section 5.2
> text len16 x=5 | a
fail 1002 by=4 | length is not in its shortest form

case length_of_125_in_16_bits   RFC 6455 section 5.2
> text len16 x=125 | a
fail 1002 by=4 | length is not in its shortest form

case length_of_0_in_64_bits   RFC 6455 section 5.2
> text len64 x=0 | a
fail 1002 by=10 | length is not in its shortest form

case length_of_125_in_64_bits   RFC 6455 section 5.2
> text len64 x=125 | a
fail 1002 by=10 | length is not in its shortest form

case length_of_126_in_64_bits   RFC 6455 section 5.2
> text len64 x=126 | a
fail 1002 by=10 | length is not in its shortest form

case length_of_65535_in_64_bits   RFC 6455 section 5.2
> text len64 x=65535 | a
fail 1002 by=10 | length is not in its shortest form

case length_of_2_to_the_63   RFC 6455 section 5.2
> text says=0x8000000000000000 | a
fail 1002 by=10 | length of 2^63 or more

case length_with_all_64_bits   RFC 6455 section 5.2
> binary says=0xffffffffffffffff | a
fail 1002 by=10 | length of 2^63 or more

case length_of_2_to_the_63_less_one   RFC 6455 section 5.2
> text says=0x7fffffffffffffff | a
fail 1009 by=14 | message is longer than max_message

case length_of_4_GiB
> binary says=0x100000000 | a
fail 1009 by=14 | message is longer than max_message

case messages_come_in_their_order
> text | message 0
> text | message 1
> text | message 2
> text | message 3
> text | message 4
> text | message 5
> text | message 6
> text | message 7
> text | message 8
> text | message 9
message text | message 0
message text | message 1
message text | message 2
message text | message 3
message text | message 4
message text | message 5
message text | message 6
message text | message 7
message text | message 8
message text | message 9

case text_and_binary_by_turns
> text | a
> binary | \xff
> text | b
> binary | \x00
message text | a
message binary | \xff
message text | b
message binary | \x00

case empty_messages_in_a_row
> text
> binary
> text
message text
message binary
message text

case long_message_between_short_ones
> text | a
> text x=3000 | b
> text | c
message text | a
message text x=3000 | b
message text | c

case message_that_does_not_end
> text says=5 | abc
unfinished

case long_message_that_does_not_end
> text x=1000 says=60000 | abc
unfinished

case head_that_does_not_end
>| \x81\xfe\x01
unfinished

case first_byte_of_a_head_alone
>| \x81
unfinished

case mask_that_does_not_end
>| \x81\x85\x01\x02\x03
unfinished

case second_message_does_not_end
> text | one
> text says=3 | tw
message text | one
unfinished

case message_before_a_broken_frame_is_handed_over
> text | one
> text unmasked | two
message text | one
fail 1002 by=11 | frame without a mask

case what_follows_a_broken_frame_is_dropped   RFC 6455 section 7.1.7
> text unmasked | one
> text | two
> close code=1000
fail 1002 | frame without a mask

case request_of_HTTP_instead_of_a_frame
>| GET / HTTP/1.1\r\n\r\n
fail 1002 by=1 | unknown opcode
