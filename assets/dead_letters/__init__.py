"""What becomes of messages that no row could be made of."""
