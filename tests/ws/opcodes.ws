# Opcodes that mean nothing (RFC 6455 section 5.2).

case opcode_3   RFC 6455 section 5.2
> 3
fail 1002 by=1 | unknown opcode

case opcode_3_with_payload_after_a_message   RFC 6455 section 5.2
> text | Hello
> 3 | reserved
> ping
message text | Hello
fail 1002 by=12 | unknown opcode

case opcode_3_between_fragments   RFC 6455 section 5.2
> text more | He
> 3 | reserved
> continuation | llo
fail 1002 by=9 | unknown opcode

case opcode_4   RFC 6455 section 5.2
> 4
fail 1002 by=1 | unknown opcode

case opcode_4_with_payload_after_a_message   RFC 6455 section 5.2
> text | Hello
> 4 | reserved
> ping
message text | Hello
fail 1002 by=12 | unknown opcode

case opcode_4_between_fragments   RFC 6455 section 5.2
> text more | He
> 4 | reserved
> continuation | llo
fail 1002 by=9 | unknown opcode

case opcode_5   RFC 6455 section 5.2
> 5
fail 1002 by=1 | unknown opcode

case opcode_5_with_payload_after_a_message   RFC 6455 section 5.2
> text | Hello
> 5 | reserved
> ping
message text | Hello
fail 1002 by=12 | unknown opcode

case opcode_5_between_fragments   RFC 6455 section 5.2
> text more | He
> 5 | reserved
> continuation | llo
fail 1002 by=9 | unknown opcode

case opcode_6   RFC 6455 section 5.2
> 6
fail 1002 by=1 | unknown opcode

case opcode_6_with_payload_after_a_message   RFC 6455 section 5.2
> text | Hello
> 6 | reserved
> ping
message text | Hello
fail 1002 by=12 | unknown opcode

case opcode_6_between_fragments   RFC 6455 section 5.2
> text more | He
> 6 | reserved
> continuation | llo
fail 1002 by=9 | unknown opcode

case opcode_7   RFC 6455 section 5.2
> 7
fail 1002 by=1 | unknown opcode

case opcode_7_with_payload_after_a_message   RFC 6455 section 5.2
> text | Hello
> 7 | reserved
> ping
message text | Hello
fail 1002 by=12 | unknown opcode

case opcode_7_between_fragments   RFC 6455 section 5.2
> text more | He
> 7 | reserved
> continuation | llo
fail 1002 by=9 | unknown opcode

case opcode_11   RFC 6455 section 5.2
> 11
fail 1002 by=1 | unknown opcode

case opcode_11_with_payload_after_a_message   RFC 6455 section 5.2
> text | Hello
> 11 | reserved
> ping
message text | Hello
fail 1002 by=12 | unknown opcode

case opcode_11_between_fragments   RFC 6455 section 5.2
> text more | He
> 11 | reserved
> continuation | llo
fail 1002 by=9 | unknown opcode

case opcode_12   RFC 6455 section 5.2
> 12
fail 1002 by=1 | unknown opcode

case opcode_12_with_payload_after_a_message   RFC 6455 section 5.2
> text | Hello
> 12 | reserved
> ping
message text | Hello
fail 1002 by=12 | unknown opcode

case opcode_12_between_fragments   RFC 6455 section 5.2
> text more | He
> 12 | reserved
> continuation | llo
fail 1002 by=9 | unknown opcode

case opcode_13   RFC 6455 section 5.2
> 13
fail 1002 by=1 | unknown opcode

case opcode_13_with_payload_after_a_message   RFC 6455 section 5.2
> text | Hello
> 13 | reserved
> ping
message text | Hello
fail 1002 by=12 | unknown opcode

case opcode_13_between_fragments   RFC 6455 section 5.2
> text more | He
> 13 | reserved
> continuation | llo
fail 1002 by=9 | unknown opcode

case opcode_14   RFC 6455 section 5.2
> 14
fail 1002 by=1 | unknown opcode

case opcode_14_with_payload_after_a_message   RFC 6455 section 5.2
> text | Hello
> 14 | reserved
> ping
message text | Hello
fail 1002 by=12 | unknown opcode

case opcode_14_between_fragments   RFC 6455 section 5.2
> text more | He
> 14 | reserved
> continuation | llo
fail 1002 by=9 | unknown opcode

case opcode_15   RFC 6455 section 5.2
> 15
fail 1002 by=1 | unknown opcode

case opcode_15_with_payload_after_a_message   RFC 6455 section 5.2
> text | Hello
> 15 | reserved
> ping
message text | Hello
fail 1002 by=12 | unknown opcode

case opcode_15_between_fragments   RFC 6455 section 5.2
> text more | He
> 15 | reserved
> continuation | llo
fail 1002 by=9 | unknown opcode
