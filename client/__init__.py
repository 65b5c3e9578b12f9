"""What a person runs, and a small Python client: `async for message in capture([server], source)`.

Speaks only the public HTTP and WebSocket contract.
"""
