"""What a person runs, and a small Python client: `async for message in capture([server], source)`.

Speaks only the public contract: HTTP and WebSocket here, the bus by way of the package `stenobus`.
"""
