"""Readers of one media type each: bytes or text in, title and blocks out."""
