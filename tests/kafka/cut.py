"""A TCP proxy before a broker that can be told to swallow everything: neither side is told, as when a cable is pulled."""

import asyncio
import threading


class Cut:
    """Passes everything on from `listen` to `target`, until it is cut."""

    def __init__(self, listen, target):
        self.listen, self.target = listen, target
        self.loop = asyncio.new_event_loop()
        self.open = None
        started = threading.Event()
        threading.Thread(target=self.run, args=(started,), daemon=True).start()
        started.wait()

    def run(self, started):
        asyncio.set_event_loop(self.loop)
        self.open = asyncio.Event()
        self.open.set()
        self.loop.run_until_complete(asyncio.start_server(self.serve, "127.0.0.1", self.listen))
        started.set()
        self.loop.run_forever()

    async def serve(self, reader, writer):
        await self.open.wait()
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self.pump(reader, far_writer), self.pump(far_reader, writer), return_exceptions=True)

    async def pump(self, reader, writer):
        try:
            while data := await reader.read(1 << 16):
                await self.open.wait()
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()

    def cut(self):
        self.loop.call_soon_threadsafe(self.open.clear)

    def mend(self):
        self.loop.call_soon_threadsafe(self.open.set)
