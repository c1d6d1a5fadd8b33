# Closes (RFC 6455 sections 5.5.1 and 7.4).

case close_without_a_code   RFC 6455 section 5.5.1
> close
close 1005

case close_with_half_a_code   RFC 6455 section 5.5.1
> close | \x03
fail 1002 by=7 | close frame with half a code

case close_with_a_code_alone   RFC 6455 section 5.5.1
> close code=1000
close 1000

case close_with_a_reason   RFC 6455 section 5.5.1
> close code=1001 | going home
close 1001 | going home

case close_with_the_longest_reason   RFC 6455 section 5.5
> close code=1000 x=123 | r
close 1000 x=123 | r

case close_with_a_reason_of_124_bytes   RFC 6455 section 5.5
> close code=1000 x=124 | r
fail 1002 by=2 | control frame longer than 125 bytes

case close_with_a_reason_in_UTF8   RFC 6455 section 5.5.1
> close code=1000 | tsch\xc3\xbc\xc3\x9f \xe2\x82\xac
close 1000 | tsch\xc3\xbc\xc3\x9f \xe2\x82\xac

case close_with_a_reason_that_is_not_UTF8   RFC 6455 section 8.1
> close code=1000 | \xce\xba\xed\xa0\x80
fail 1007 | reason of a close is not UTF-8

case close_with_a_reason_that_ends_in_half_a_character   RFC 6455 section 8.1
> close code=1000 | ab\xe2\x82
fail 1007 | reason of a close is not UTF-8

case code_1000_may_be_sent   RFC 6455 section 7.4
> close code=1000 | why
close 1000 | why

case code_1001_may_be_sent   RFC 6455 section 7.4
> close code=1001 | why
close 1001 | why

case code_1002_may_be_sent   RFC 6455 section 7.4
> close code=1002 | why
close 1002 | why

case code_1003_may_be_sent   RFC 6455 section 7.4
> close code=1003 | why
close 1003 | why

case code_1007_may_be_sent   RFC 6455 section 7.4
> close code=1007 | why
close 1007 | why

case code_1008_may_be_sent   RFC 6455 section 7.4
> close code=1008 | why
close 1008 | why

case code_1009_may_be_sent   RFC 6455 section 7.4
> close code=1009 | why
close 1009 | why

case code_1010_may_be_sent   RFC 6455 section 7.4
> close code=1010 | why
close 1010 | why

case code_1011_may_be_sent   RFC 6455 section 7.4
> close code=1011 | why
close 1011 | why

case code_1012_may_be_sent   RFC 6455 section 7.4
> close code=1012 | why
close 1012 | why

case code_1013_may_be_sent   RFC 6455 section 7.4
> close code=1013 | why
close 1013 | why

case code_1014_may_be_sent   RFC 6455 section 7.4
> close code=1014 | why
close 1014 | why

case code_3000_may_be_sent   RFC 6455 section 7.4
> close code=3000 | why
close 3000 | why

case code_3001_may_be_sent   RFC 6455 section 7.4
> close code=3001 | why
close 3001 | why

case code_3999_may_be_sent   RFC 6455 section 7.4
> close code=3999 | why
close 3999 | why

case code_4000_may_be_sent   RFC 6455 section 7.4
> close code=4000 | why
close 4000 | why

case code_4001_may_be_sent   RFC 6455 section 7.4
> close code=4001 | why
close 4001 | why

case code_4999_may_be_sent   RFC 6455 section 7.4
> close code=4999 | why
close 4999 | why

case code_0_must_not_be_sent   RFC 6455 section 7.4
> close code=0 | why
fail 1002 by=11 | close code that must not be sent

case code_1_must_not_be_sent   RFC 6455 section 7.4
> close code=1 | why
fail 1002 by=11 | close code that must not be sent

case code_999_must_not_be_sent   RFC 6455 section 7.4
> close code=999 | why
fail 1002 by=11 | close code that must not be sent

case code_1004_must_not_be_sent   RFC 6455 section 7.4
> close code=1004 | why
fail 1002 by=11 | close code that must not be sent

case code_1005_must_not_be_sent   RFC 6455 section 7.4
> close code=1005 | why
fail 1002 by=11 | close code that must not be sent

case code_1006_must_not_be_sent   RFC 6455 section 7.4
> close code=1006 | why
fail 1002 by=11 | close code that must not be sent

case code_1015_must_not_be_sent   RFC 6455 section 7.4
> close code=1015 | why
fail 1002 by=11 | close code that must not be sent

case code_1016_must_not_be_sent   RFC 6455 section 7.4
> close code=1016 | why
fail 1002 by=11 | close code that must not be sent

case code_1100_must_not_be_sent   RFC 6455 section 7.4
> close code=1100 | why
fail 1002 by=11 | close code that must not be sent

case code_1999_must_not_be_sent   RFC 6455 section 7.4
> close code=1999 | why
fail 1002 by=11 | close code that must not be sent

case code_2000_must_not_be_sent   RFC 6455 section 7.4
> close code=2000 | why
fail 1002 by=11 | close code that must not be sent

case code_2999_must_not_be_sent   RFC 6455 section 7.4
> close code=2999 | why
fail 1002 by=11 | close code that must not be sent

case code_5000_must_not_be_sent   RFC 6455 section 7.4
> close code=5000 | why
fail 1002 by=11 | close code that must not be sent

case code_32768_must_not_be_sent   RFC 6455 section 7.4
> close code=32768 | why
fail 1002 by=11 | close code that must not be sent

case code_65535_must_not_be_sent   RFC 6455 section 7.4
> close code=65535 | why
fail 1002 by=11 | close code that must not be sent

case bad_code_is_seen_before_a_bad_reason
> close code=1005 | \xff
fail 1002 | close code that must not be sent

case messages_after_a_close_are_dropped   RFC 6455 section 5.5.1
> close code=1000
> text | late
> ping | late
close 1000

case second_close_is_dropped   RFC 6455 section 5.5.1
> close code=1000 | one
> close code=1001 | two
close 1000 | one

case broken_frames_after_a_close_are_dropped   RFC 6455 section 5.5.1
> close code=1000
> 7 rsv3 unmasked | x
close 1000

case close_after_messages
> text | one
> text | two
> close code=1000 | done
message text | one
message text | two
close 1000 | done

case close_after_a_ping
> ping | p
> close code=1000
ping | p
close 1000

case close_between_fragments_drops_the_message   RFC 6455 section 5.4
> text more | He
> close code=1000 | bye
> continuation | llo
close 1000 | bye

case close_between_the_halves_of_a_character
> text more | \xe2\x82
> close code=1000 | bye
close 1000 | bye

case fragmented_close   RFC 6455 section 5.5
> close more code=1000
fail 1002 by=1 | fragmented control frame

case close_without_a_mask   RFC 6455 section 5.1
> close unmasked code=1000
fail 1002 by=2 | frame without a mask

case close_with_a_length_in_16_bits   RFC 6455 section 5.5
> close len16 code=1000
fail 1002 by=2 | control frame longer than 125 bytes

case close_that_does_not_end
> close code=1000 says=5 | by
unfinished

case close_after_a_bad_text_is_not_seen   RFC 6455 section 7.1.7
> text | \xff
> close code=1000
fail 1007 | text is not UTF-8
