# Reserved bits (RFC 6455 section 5.2), with no extension agreed on.

case text_with_rsv1   RFC 6455 section 5.2
> text rsv1 | Hello
fail 1002 by=1 | RSV1 is set, but no compression was agreed on

case text_with_rsv2   RFC 6455 section 5.2
> text rsv2 | Hello
fail 1002 by=1 | a reserved bit (RSV2, RSV3) is set

case text_with_rsv3   RFC 6455 section 5.2
> text rsv3 | Hello
fail 1002 by=1 | a reserved bit (RSV2, RSV3) is set

case text_with_rsv1_and_rsv2   RFC 6455 section 5.2
> text rsv1 rsv2 | Hello
fail 1002 by=1 | a reserved bit (RSV2, RSV3) is set

case text_with_rsv1_and_rsv3   RFC 6455 section 5.2
> text rsv1 rsv3 | Hello
fail 1002 by=1 | a reserved bit (RSV2, RSV3) is set

case text_with_rsv2_and_rsv3   RFC 6455 section 5.2
> text rsv2 rsv3 | Hello
fail 1002 by=1 | a reserved bit (RSV2, RSV3) is set

case text_with_rsv1_and_rsv2_and_rsv3   RFC 6455 section 5.2
> text rsv1 rsv2 rsv3 | Hello
fail 1002 by=1 | a reserved bit (RSV2, RSV3) is set

case binary_with_rsv1   RFC 6455 section 5.2
> binary rsv1 | Hello
fail 1002 by=1 | RSV1 is set, but no compression was agreed on

case binary_with_rsv2   RFC 6455 section 5.2
> binary rsv2 | Hello
fail 1002 by=1 | a reserved bit (RSV2, RSV3) is set

case binary_with_rsv3   RFC 6455 section 5.2
> binary rsv3 | Hello
fail 1002 by=1 | a reserved bit (RSV2, RSV3) is set

case binary_with_rsv1_and_rsv2   RFC 6455 section 5.2
> binary rsv1 rsv2 | Hello
fail 1002 by=1 | a reserved bit (RSV2, RSV3) is set

case binary_with_rsv1_and_rsv3   RFC 6455 section 5.2
> binary rsv1 rsv3 | Hello
fail 1002 by=1 | a reserved bit (RSV2, RSV3) is set

case binary_with_rsv2_and_rsv3   RFC 6455 section 5.2
> binary rsv2 rsv3 | Hello
fail 1002 by=1 | a reserved bit (RSV2, RSV3) is set

case binary_with_rsv1_and_rsv2_and_rsv3   RFC 6455 section 5.2
> binary rsv1 rsv2 rsv3 | Hello
fail 1002 by=1 | a reserved bit (RSV2, RSV3) is set

case ping_with_rsv1   RFC 6455 section 5.2
> ping rsv1 | Hello
fail 1002 by=1 | RSV1 is set, but no compression was agreed on

case ping_with_rsv2   RFC 6455 section 5.2
> ping rsv2 | Hello
fail 1002 by=1 | a reserved bit (RSV2, RSV3) is set

case ping_with_rsv3   RFC 6455 section 5.2
> ping rsv3 | Hello
fail 1002 by=1 | a reserved bit (RSV2, RSV3) is set

case ping_with_rsv1_and_rsv2   RFC 6455 section 5.2
> ping rsv1 rsv2 | Hello
fail 1002 by=1 | a reserved bit (RSV2, RSV3) is set

case ping_with_rsv1_and_rsv3   RFC 6455 section 5.2
> ping rsv1 rsv3 | Hello
fail 1002 by=1 | a reserved bit (RSV2, RSV3) is set

case ping_with_rsv2_and_rsv3   RFC 6455 section 5.2
> ping rsv2 rsv3 | Hello
fail 1002 by=1 | a reserved bit (RSV2, RSV3) is set

case ping_with_rsv1_and_rsv2_and_rsv3   RFC 6455 section 5.2
> ping rsv1 rsv2 rsv3 | Hello
fail 1002 by=1 | a reserved bit (RSV2, RSV3) is set

case pong_with_rsv1   RFC 6455 section 5.2
> pong rsv1 | Hello
fail 1002 by=1 | RSV1 is set, but no compression was agreed on

case pong_with_rsv2   RFC 6455 section 5.2
> pong rsv2 | Hello
fail 1002 by=1 | a reserved bit (RSV2, RSV3) is set

case pong_with_rsv3   RFC 6455 section 5.2
> pong rsv3 | Hello
fail 1002 by=1 | a reserved bit (RSV2, RSV3) is set

case pong_with_rsv1_and_rsv2   RFC 6455 section 5.2
> pong rsv1 rsv2 | Hello
fail 1002 by=1 | a reserved bit (RSV2, RSV3) is set

case pong_with_rsv1_and_rsv3   RFC 6455 section 5.2
> pong rsv1 rsv3 | Hello
fail 1002 by=1 | a reserved bit (RSV2, RSV3) is set

case pong_with_rsv2_and_rsv3   RFC 6455 section 5.2
> pong rsv2 rsv3 | Hello
fail 1002 by=1 | a reserved bit (RSV2, RSV3) is set

case pong_with_rsv1_and_rsv2_and_rsv3   RFC 6455 section 5.2
> pong rsv1 rsv2 rsv3 | Hello
fail 1002 by=1 | a reserved bit (RSV2, RSV3) is set

case close_with_rsv1   RFC 6455 section 5.2
> close rsv1 code=1000 | Hello
fail 1002 by=1 | RSV1 is set, but no compression was agreed on

case close_with_rsv2   RFC 6455 section 5.2
> close rsv2 code=1000 | Hello
fail 1002 by=1 | a reserved bit (RSV2, RSV3) is set

case close_with_rsv3   RFC 6455 section 5.2
> close rsv3 code=1000 | Hello
fail 1002 by=1 | a reserved bit (RSV2, RSV3) is set

case close_with_rsv1_and_rsv2   RFC 6455 section 5.2
> close rsv1 rsv2 code=1000 | Hello
fail 1002 by=1 | a reserved bit (RSV2, RSV3) is set

case close_with_rsv1_and_rsv3   RFC 6455 section 5.2
> close rsv1 rsv3 code=1000 | Hello
fail 1002 by=1 | a reserved bit (RSV2, RSV3) is set

case close_with_rsv2_and_rsv3   RFC 6455 section 5.2
> close rsv2 rsv3 code=1000 | Hello
fail 1002 by=1 | a reserved bit (RSV2, RSV3) is set

case close_with_rsv1_and_rsv2_and_rsv3   RFC 6455 section 5.2
> close rsv1 rsv2 rsv3 code=1000 | Hello
fail 1002 by=1 | a reserved bit (RSV2, RSV3) is set

case continuation_with_rsv1   RFC 6455 section 5.2
> text more | He
> continuation rsv1 | llo
fail 1002 by=9 | RSV1 is set, but no compression was agreed on

case continuation_with_rsv2   RFC 6455 section 5.2
> text more | He
> continuation rsv2 | llo
fail 1002 by=9 | a reserved bit (RSV2, RSV3) is set

case continuation_with_rsv3   RFC 6455 section 5.2
> text more | He
> continuation rsv3 | llo
fail 1002 by=9 | a reserved bit (RSV2, RSV3) is set

case continuation_with_rsv1_and_rsv2   RFC 6455 section 5.2
> text more | He
> continuation rsv1 rsv2 | llo
fail 1002 by=9 | a reserved bit (RSV2, RSV3) is set

case continuation_with_rsv1_and_rsv3   RFC 6455 section 5.2
> text more | He
> continuation rsv1 rsv3 | llo
fail 1002 by=9 | a reserved bit (RSV2, RSV3) is set

case continuation_with_rsv2_and_rsv3   RFC 6455 section 5.2
> text more | He
> continuation rsv2 rsv3 | llo
fail 1002 by=9 | a reserved bit (RSV2, RSV3) is set

case continuation_with_rsv1_and_rsv2_and_rsv3   RFC 6455 section 5.2
> text more | He
> continuation rsv1 rsv2 rsv3 | llo
fail 1002 by=9 | a reserved bit (RSV2, RSV3) is set

case reserved_bit_after_a_message_and_a_ping
> text | Hello
> ping
> text rsv3 | again
message text | Hello
ping
fail 1002 by=18 | a reserved bit (RSV2, RSV3) is set

case reserved_bit_in_an_empty_frame
> text rsv2
fail 1002 by=1 | a reserved bit (RSV2, RSV3) is set

case reserved_bit_and_unknown_opcode
> 3 rsv2 | a
fail 1002 by=1 | a reserved bit (RSV2, RSV3) is set
