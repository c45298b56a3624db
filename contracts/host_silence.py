"""When a TCP connection is given up whose other host has gone silent.

The system's own defaults notice a cut after hours where an answer is waited for, and after a
quarter of an hour where something was sent (https://www.man7.org/linux/man-pages/man7/tcp.7.html).
"""

IDLE_SECONDS = 10
"""Of silence, until the other host is asked."""
INTERVAL_SECONDS = 5
"""Between questions."""
UNANSWERED_QUESTIONS = 3
"""After as many the connection ends."""
UNACKNOWLEDGED_SECONDS = IDLE_SECONDS + INTERVAL_SECONDS * UNANSWERED_QUESTIONS
"""After as long it ends where something was sent: 25."""
