"""The `stenobus` command, and a small Python client: `client.session.capture.capture([server], source)`.

Speaks only the public contract: HTTP and WebSocket here, the bus through the package `stenobus`.
"""
