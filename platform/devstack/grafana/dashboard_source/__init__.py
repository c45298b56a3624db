"""Grafana's dashboards, made from code: `make dashboards` writes them anew."""
