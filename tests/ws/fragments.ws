# Messages in several frames (RFC 6455 section 5.4).

case text_in_two_frames   RFC 6455 section 5.4
> text more | frag
> continuation | ment
message text | fragment

case text_in_frames_of_one_byte   RFC 6455 section 5.4
> text more | f
> continuation more | r
> continuation more | a
> continuation more | g
> continuation more | m
> continuation more | e
> continuation more | n
> continuation | t
message text | fragment

case text_with_an_empty_first_frame   RFC 6455 section 5.4
> text more
> continuation | all
message text | all

case text_with_an_empty_last_frame   RFC 6455 section 5.4
> text more | all
> continuation
message text | all

case text_with_an_empty_frame_in_the_middle   RFC 6455 section 5.4
> text more | a
> continuation more
> continuation | b
message text | ab

case text_in_two_empty_frames   RFC 6455 section 5.4
> text more
> continuation
message text

case text_in_three_empty_frames   RFC 6455 section 5.4
> text more
> continuation more
> continuation
message text

case text_in_long_frames   RFC 6455 section 5.4
> text more x=20000 | a
> continuation more x=30000 | a
> continuation x=10000 | a
message text x=60000 | a

case binary_in_two_frames   RFC 6455 section 5.4
> binary more | frag
> continuation | ment
message binary | fragment

case binary_in_frames_of_one_byte   RFC 6455 section 5.4
> binary more | f
> continuation more | r
> continuation more | a
> continuation more | g
> continuation more | m
> continuation more | e
> continuation more | n
> continuation | t
message binary | fragment

case binary_with_an_empty_first_frame   RFC 6455 section 5.4
> binary more
> continuation | all
message binary | all

case binary_with_an_empty_last_frame   RFC 6455 section 5.4
> binary more | all
> continuation
message binary | all

case binary_with_an_empty_frame_in_the_middle   RFC 6455 section 5.4
> binary more | a
> continuation more
> continuation | b
message binary | ab

case binary_in_two_empty_frames   RFC 6455 section 5.4
> binary more
> continuation
message binary

case binary_in_three_empty_frames   RFC 6455 section 5.4
> binary more
> continuation more
> continuation
message binary

case binary_in_long_frames   RFC 6455 section 5.4
> binary more x=20000 | a
> continuation more x=30000 | a
> continuation x=10000 | a
message binary x=60000 | a

case frames_around_the_widths_of_lengths
> binary more x=125 | z
> continuation more x=126 | z
> continuation more x=65535 | z
> continuation x=65536 | z
message binary x=131322 | z

case two_fragmented_messages
> text more | a
> continuation | b
> binary more | c
> continuation | d
message text | ab
message binary | cd

case message_in_one_frame_after_a_fragmented_one
> text more | a
> continuation | b
> text | c
message text | ab
message text | c

case fragmented_message_after_one_in_one_frame
> text | c
> text more | a
> continuation | b
message text | c
message text | ab

case long_fragmented_message_and_then_a_short_one
> text more x=1000 | abc
> continuation | abc
> text more | e
> continuation | f
message text x=1001 | abc
message text | ef

case continuation_without_a_message   RFC 6455 section 5.4
> continuation | a
fail 1002 by=6 | continuation of no message

case continuation_with_more_to_come_without_a_message   RFC 6455 section 5.4
> continuation more | a
> continuation | b
fail 1002 by=6 | continuation of no message

case empty_continuation_without_a_message   RFC 6455 section 5.4
> continuation
fail 1002 by=6 | continuation of no message

case continuation_after_a_message_in_one_frame   RFC 6455 section 5.4
> text | a
> continuation | b
message text | a
fail 1002 by=13 | continuation of no message

case continuation_after_a_fragmented_message   RFC 6455 section 5.4
> text more | a
> continuation | b
> continuation | c
message text | ab
fail 1002 by=20 | continuation of no message

case continuation_after_a_ping   RFC 6455 section 5.4
> ping
> continuation | b
ping
fail 1002 by=12 | continuation of no message

case text_begins_inside_of_text   RFC 6455 section 5.4
> text more | a
> text | b
fail 1002 by=13 | message begins before the one before it has ended

case binary_begins_inside_of_text   RFC 6455 section 5.4
> text more | a
> binary | b
fail 1002 by=13 | message begins before the one before it has ended

case text_begins_inside_of_binary   RFC 6455 section 5.4
> binary more | a
> text | b
fail 1002 by=13 | message begins before the one before it has ended

case binary_begins_inside_of_binary   RFC 6455 section 5.4
> binary more | a
> binary | b
fail 1002 by=13 | message begins before the one before it has ended

case fragmented_text_begins_inside_of_text   RFC 6455 section 5.4
> text more | a
> text more | b
fail 1002 by=13 | message begins before the one before it has ended

case text_begins_after_two_frames_of_another_one   RFC 6455 section 5.4
> text more | a
> continuation more | b
> text | c
fail 1002 by=20 | message begins before the one before it has ended

case text_begins_inside_of_an_empty_fragment   RFC 6455 section 5.4
> text more
> text | b
fail 1002 by=12 | message begins before the one before it has ended

case fragmented_message_does_not_end   RFC 6455 section 5.4
> text more | a
> continuation more | b
unfinished

case empty_fragment_does_not_end   RFC 6455 section 5.4
> text more
unfinished

case fragments_with_different_masks   RFC 6455 section 5.3
> text more mask=01020304 | abcde
> continuation mask=0a0b0c0d | fghij
message text | abcdefghij

case frame_of_three_bytes_does_not_shift_the_next_mask   RFC 6455 section 5.3
> binary more | abc
> continuation more | defg
> continuation | h
message binary | abcdefgh
