# Limits: max_message, and frames without content.

case message_of_max_message_bytes
max_message 1000
> text x=1000 | a
message text x=1000 | a

case message_of_one_byte_more
max_message 1000
> text x=1001 | a
fail 1009 by=8 | message is longer than max_message

case message_is_refused_by_its_head_alone
max_message 1000
> binary says=1001
fail 1009 by=8 | message is longer than max_message

case short_limit_with_a_length_in_7_bits
max_message 10
> text x=10 | a
> text x=11 | a
message text x=10 | a
fail 1009 by=22 | message is longer than max_message

case limit_of_no_bytes
max_message 0
> text
> text | a
message text
fail 1009 by=12 | message is longer than max_message

case fragments_of_max_message_bytes_together
max_message 1000
> text more x=500 | a
> continuation x=500 | a
message text x=1000 | a

case fragments_of_one_byte_more
max_message 1000
> text more x=500 | a
> continuation x=501 | a
fail 1009 by=516 | message is longer than max_message

case second_fragment_announces_too_much
max_message 1000
> text more | a
> continuation says=1000 | a
fail 1009 by=15 | message is longer than max_message

case last_fragment_of_many_is_one_byte_too_long
max_message 10
> text more | ab
> continuation more | ab
> continuation more | ab
> continuation more | ab
> continuation more | ab
> continuation | c
fail 1009 by=46 | message is longer than max_message

case limit_is_for_each_message
max_message 10
> text | 0123456789
> text | 0123456789
> text | 0123456789
message text | 0123456789
message text | 0123456789
message text | 0123456789

case limit_is_for_each_fragmented_message
max_message 4
> text more | ab
> continuation | cd
> text more | ab
> continuation | cd
message text | abcd
message text | abcd

case control_frames_do_not_count
max_message 4
> text more | ab
> ping | 0123456789
> continuation | cd
ping | 0123456789
message text | abcd

case control_frames_may_be_longer_than_max_message
max_message 1
> ping x=125 | p
> close code=1000 | too long a reason
ping x=125 | p
close 1000 | too long a reason

case message_of_the_default_limit
> binary x=50000 | abcdefgh
message binary x=50000 | abcdefgh

case message_of_a_mebibyte_and_a_byte
> binary says=1048577 | a
fail 1009 by=14 | message is longer than max_message

case message_of_a_mebibyte_may_begin
> binary says=1048576 | a
unfinished

case too_long_after_a_message
max_message 5
> text | Hello
> text | Hello!
message text | Hello
fail 1009 by=17 | message is longer than max_message

case message_with_64_empty_fragments
> text more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation | a
message text | a

case message_with_65_empty_fragments
> text more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation | a
fail 1008 by=390 | too many empty fragments in a message

case empty_fragments_of_one_message_do_not_count_for_the_next
> text more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation
> text more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation more
> continuation
message text
message text

case empty_fragments_count_between_others
> text more | a
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
> continuation more | b
> continuation more
fail 1008 | too many empty fragments in a message
