# Texts are UTF-8 (RFC 6455 section 8.1, RFC 3629), which is checked while they arrive.
# by=N: the failure is seen when the first N bytes of the connection are there. A head has 6.

case valid_two_bytes   RFC 3629
> text | Hello-\xc2\xb5@\xc3\x9f\xc3\xb6\xc3\xa4\xc3\xbc\xc3\xa0\xc3\xa1-UTF-8!!
message text | Hello-\xc2\xb5@\xc3\x9f\xc3\xb6\xc3\xa4\xc3\xbc\xc3\xa0\xc3\xa1-UTF-8!!

case valid_greek   RFC 3629
> text | \xce\xba\xcf\x8c\xcf\x83\xce\xbc\xce\xb5
message text | \xce\xba\xcf\x8c\xcf\x83\xce\xbc\xce\xb5

case valid_first_of_two_bytes   RFC 3629
> text | \xc2\x80
message text | \xc2\x80

case valid_first_of_three_bytes   RFC 3629
> text | \xe0\xa0\x80
message text | \xe0\xa0\x80

case valid_first_of_four_bytes   RFC 3629
> text | \xf0\x90\x80\x80
message text | \xf0\x90\x80\x80

case valid_last_of_one_byte   RFC 3629
> text | \x7f
message text | \x7f

case valid_last_of_two_bytes   RFC 3629
> text | \xdf\xbf
message text | \xdf\xbf

case valid_last_of_three_bytes   RFC 3629
> text | \xef\xbf\xbf
message text | \xef\xbf\xbf

case valid_last_of_all   RFC 3629
> text | \xf4\x8f\xbf\xbf
message text | \xf4\x8f\xbf\xbf

case valid_before_the_surrogates   RFC 3629
> text | \xed\x9f\xbf
message text | \xed\x9f\xbf

case valid_behind_the_surrogates   RFC 3629
> text | \xee\x80\x80
message text | \xee\x80\x80

case valid_replacement_character   RFC 3629
> text | \xef\xbf\xbd
message text | \xef\xbf\xbd

case valid_not_a_character_fffe   RFC 3629
> text | \xef\xbf\xbe
message text | \xef\xbf\xbe

case valid_not_a_character_fdd0   RFC 3629
> text | \xef\xb7\x90
message text | \xef\xb7\x90

case valid_not_a_character_1fffe   RFC 3629
> text | \xf0\x9f\xbf\xbe
message text | \xf0\x9f\xbf\xbe

case valid_not_a_character_10fffe   RFC 3629
> text | \xf4\x8f\xbf\xbe
message text | \xf4\x8f\xbf\xbe

case valid_byte_order_mark   RFC 3629
> text | \xef\xbb\xbf
message text | \xef\xbb\xbf

case valid_emoji   RFC 3629
> text | \xf0\x9f\x8e\x89\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7
message text | \xf0\x9f\x8e\x89\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7

case valid_mixed_lengths   RFC 3629
> text | a\xc2\xb5\xe2\x82\xac\xf0\x9f\x98\x80a\xc2\xb5\xe2\x82\xac\xf0\x9f\x98\x80a\xc2\xb5\xe2\x82\xac\xf0\x9f\x98\x80a\xc2\xb5\xe2\x82\xac\xf0\x9f\x98\x80a\xc2\xb5\xe2\x82\xac\xf0\x9f\x98\x80
message text | a\xc2\xb5\xe2\x82\xac\xf0\x9f\x98\x80a\xc2\xb5\xe2\x82\xac\xf0\x9f\x98\x80a\xc2\xb5\xe2\x82\xac\xf0\x9f\x98\x80a\xc2\xb5\xe2\x82\xac\xf0\x9f\x98\x80a\xc2\xb5\xe2\x82\xac\xf0\x9f\x98\x80

case valid_chinese   RFC 3629
> text | \xe4\xbd\xa0\xe5\xa5\xbd\xe4\xb8\x96\xe7\x95\x8c
message text | \xe4\xbd\xa0\xe5\xa5\xbd\xe4\xb8\x96\xe7\x95\x8c

case valid_last_byte_of_a_word   RFC 3629
> text | abcdefg\xc2\xb5hijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz\xc3\xa9
message text | abcdefg\xc2\xb5hijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz\xc3\xa9

case valid_long_ascii_and_one_character_at_its_end
> text | aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xc3\xa9
message text | aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xc3\xa9

case valid_long_text_of_three_bytes_each
> text x=3000 | \xe2\x82\xac
message text x=3000 | \xe2\x82\xac

case character_of_two_bytes_in_two_frames   RFC 6455 section 5.6
> text more | \xc2
> continuation | \xb5
message text | \xc2\xb5

case character_of_three_bytes_in_three_frames   RFC 6455 section 5.6
> text more | \xe2
> continuation more | \x82
> continuation | \xac
message text | \xe2\x82\xac

case character_of_four_bytes_in_four_frames   RFC 6455 section 5.6
> text more | \xf0
> continuation more | \x9f
> continuation more | \x8e
> continuation | \x89
message text | \xf0\x9f\x8e\x89

case character_around_an_empty_frame   RFC 6455 section 5.6
> text more | \xe2\x82
> continuation more
> continuation | \xac
message text | \xe2\x82\xac

case binary_is_not_checked   RFC 6455 section 5.6
> binary | \xff\xc0\xed\xa0\x80
message binary | \xff\xc0\xed\xa0\x80

case fragmented_binary_is_not_checked   RFC 6455 section 5.6
> binary more | \xff
> continuation | \xc0
message binary | \xff\xc0

case binary_after_text_is_not_checked
> text | a
> binary | \xff
> text | b
message text | a
message binary | \xff
message text | b

case invalid_continuation_byte_alone   RFC 3629
> text | \x80
fail 1007 by=7 | text is not UTF-8

case invalid_last_continuation_byte_alone   RFC 3629
> text | \xbf
fail 1007 by=7 | text is not UTF-8

case invalid_continuation_byte_behind_ascii   RFC 3629
> text | a\x80
fail 1007 by=8 | text is not UTF-8

case invalid_byte_c0   RFC 3629
> text | \xc0\xaf
fail 1007 by=7 | text is not UTF-8

case invalid_byte_c1   RFC 3629
> text | \xc1\xbf
fail 1007 by=7 | text is not UTF-8

case invalid_byte_f5   RFC 3629
> text | \xf5\x80\x80\x80
fail 1007 by=7 | text is not UTF-8

case invalid_byte_f8   RFC 3629
> text | \xf8\x88\x80\x80\x80
fail 1007 by=7 | text is not UTF-8

case invalid_byte_fc   RFC 3629
> text | \xfc\x84\x80\x80\x80\x80
fail 1007 by=7 | text is not UTF-8

case invalid_byte_fe   RFC 3629
> text | \xfe
fail 1007 by=7 | text is not UTF-8

case invalid_byte_ff   RFC 3629
> text | \xff
fail 1007 by=7 | text is not UTF-8

case invalid_overlong_slash_in_three_bytes   RFC 3629
> text | \xe0\x80\xaf
fail 1007 by=8 | text is not UTF-8

case invalid_overlong_slash_in_four_bytes   RFC 3629
> text | \xf0\x80\x80\xaf
fail 1007 by=8 | text is not UTF-8

case invalid_overlong_nul   RFC 3629
> text | \xc0\x80
fail 1007 by=7 | text is not UTF-8

case invalid_greatest_overlong_in_three_bytes   RFC 3629
> text | \xe0\x9f\xbf
fail 1007 by=8 | text is not UTF-8

case invalid_greatest_overlong_in_four_bytes   RFC 3629
> text | \xf0\x8f\xbf\xbf
fail 1007 by=8 | text is not UTF-8

case invalid_first_surrogate   RFC 3629
> text | \xed\xa0\x80
fail 1007 by=8 | text is not UTF-8

case invalid_last_high_surrogate   RFC 3629
> text | \xed\xaf\xbf
fail 1007 by=8 | text is not UTF-8

case invalid_first_low_surrogate   RFC 3629
> text | \xed\xb0\x80
fail 1007 by=8 | text is not UTF-8

case invalid_last_surrogate   RFC 3629
> text | \xed\xbf\xbf
fail 1007 by=8 | text is not UTF-8

case invalid_pair_of_surrogates   RFC 3629
> text | \xed\xa0\x80\xed\xb0\x80
fail 1007 by=8 | text is not UTF-8

case invalid_above_the_last_character   RFC 3629
> text | \xf4\x90\x80\x80
fail 1007 by=8 | text is not UTF-8

case invalid_far_above_the_last_character   RFC 3629
> text | \xf7\xbf\xbf\xbf
fail 1007 by=7 | text is not UTF-8

case invalid_two_bytes_with_ascii_inside   RFC 3629
> text | \xc3a
fail 1007 by=8 | text is not UTF-8

case invalid_three_bytes_with_ascii_second   RFC 3629
> text | \xe2a\xac
fail 1007 by=8 | text is not UTF-8

case invalid_three_bytes_with_ascii_third   RFC 3629
> text | \xe2\x82a
fail 1007 by=9 | text is not UTF-8

case invalid_four_bytes_with_ascii_fourth   RFC 3629
> text | \xf0\x9f\x8ea
fail 1007 by=10 | text is not UTF-8

case invalid_two_bytes_with_a_first_byte_second   RFC 3629
> text | \xc3\xc3
fail 1007 by=8 | text is not UTF-8

case invalid_one_continuation_byte_too_many   RFC 3629
> text | \xc2\xb5\xb5
fail 1007 by=9 | text is not UTF-8

case invalid_greek_and_a_surrogate   RFC 3629
> text | \xce\xba\xcf\x8c\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited
fail 1007 by=18 | text is not UTF-8

case invalid_bad_byte_behind_16_of_ascii   RFC 3629
> text | 0123456789abcdef\xff
fail 1007 by=23 | text is not UTF-8

case invalid_bad_byte_behind_40_of_ascii   RFC 3629
> text | xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\x80yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy
fail 1007 by=47 | text is not UTF-8

case invalid_bad_byte_at_the_end_of_a_word   RFC 3629
> text | 1234567\xff
fail 1007 by=14 | text is not UTF-8

case ends_in_two_bytes_without_the_last   RFC 3629
> text | \xc2
fail 1007 by=7 | text is not UTF-8

case ends_in_three_bytes_without_the_last   RFC 3629
> text | \xe2\x82
fail 1007 by=8 | text is not UTF-8

case ends_in_three_bytes_with_the_first_only   RFC 3629
> text | \xe2
fail 1007 by=7 | text is not UTF-8

case ends_in_four_bytes_without_the_last   RFC 3629
> text | \xf0\x9f\x8e
fail 1007 by=9 | text is not UTF-8

case ends_in_four_bytes_with_two   RFC 3629
> text | \xf0\x9f
fail 1007 by=8 | text is not UTF-8

case ends_in_text_and_half_a_character   RFC 3629
> text | Hello \xe2\x82
fail 1007 by=14 | text is not UTF-8

case ends_in_half_a_character_over_two_frames   RFC 6455 section 5.6
> text more | \xe2
> continuation | \x82
fail 1007 by=14 | text is not UTF-8

case half_a_character_at_the_end_of_a_text_is_not_made_whole_by_the_next_one
> text | \xe2\x82
> text | \xac
fail 1007 by=8 | text is not UTF-8

case bad_byte_in_the_second_frame   RFC 6455 section 5.6
> text more | Hello\x20
> continuation | w\xffrld
fail 1007 by=20 | text is not UTF-8

case bad_byte_is_seen_before_its_frame_has_ended   RFC 6455 section 8.1
> text says=1000 | ab\xff
fail 1007 by=11 | text is not UTF-8

case bad_byte_is_seen_before_its_message_has_ended   RFC 6455 section 8.1
> text more | ab\xffcd
fail 1007 by=9 | text is not UTF-8

case bad_first_byte_of_a_character_that_goes_on_in_the_next_frame   RFC 6455 section 8.1
> text more | \xf4
> continuation | \x90
fail 1007 by=14 | text is not UTF-8

case bad_text_after_a_good_one
> text | good
> text | \xff
message text | good
fail 1007 by=17 | text is not UTF-8

case bad_text_in_a_long_frame
> text says=66000 | aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
unfinished

case bad_byte_deep_in_a_long_frame   RFC 6455 section 8.1
> text says=66000 | aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xc0
fail 1007 by=715 | text is not UTF-8
