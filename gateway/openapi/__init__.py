"""The OpenAPI document: a module for each group of routes, and what puts them together."""
