"""Pure ASGI middleware, outermost first: RequestContext, Logger, Recovery, Access."""
