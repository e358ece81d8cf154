"""Our sessions, on the store whose URL is the first argument."""

from __future__ import annotations

import asyncio
import os
import sys

from benchmarks.application import application


async def main() -> None:
    app, _ = application(sys.argv[1])
    app.listen(int(os.environ["PORT"]), "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
