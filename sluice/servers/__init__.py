"""The servers of the platform, as processes that the supervisor runs."""
