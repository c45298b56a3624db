"""The gateway, run as a real server."""
