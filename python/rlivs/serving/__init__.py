"""Streams over HTTP: an OpenAI-compatible API, session routes, metrics and a page. Needs the extra `serve`."""
