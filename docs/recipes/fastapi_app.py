"""FastAPI: commands on uvicorn's own loop, one of them as it goes.

uvicorn fastapi_app:app
"""

from collections.abc import AsyncIterator
from subprocess import PIPE

from fastapi import FastAPI, Response
from fastapi.responses import StreamingResponse

from sockproc import aio

app = FastAPI()


@app.post("/upper")
async def upper(text: str) -> Response:
    done = await aio.run(["tr", "a-z", "A-Z"], text, text=True, check=True, timeout=10)
    return Response(done.stdout, media_type="text/plain")


@app.get("/count")
async def count() -> StreamingResponse:
    async def lines() -> AsyncIterator[str]:
        # A client that goes away cancels this, and so ends the command with its tree.
        command = "n=0; while n=$((n + 1)); do echo $n; sleep 0.1; done"
        async with aio.Process(command, None, PIPE, text=True) as process:
            async for line in process.stdout:
                yield line

    return StreamingResponse(lines(), media_type="text/plain")
