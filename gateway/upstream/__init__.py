"""The HTTP/1.1 client for model servers: one request at a time on connections that are kept."""
