"""The asyncio server, through its public calls, with real clients."""
