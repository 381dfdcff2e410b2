"""The bare libraries doing the daemon's attempts: aiohttp, aiosmtplib and uvloop, kept connections, nothing judged.

Started by run.py as a process of its own; prints the CPU seconds and the attempts of the measured window as JSON.
"""

import argparse
import asyncio
import json
import resource
import ssl
import time
from collections.abc import AsyncIterator
from hashlib import sha256

import aiohttp
import aiosmtplib
import uvloop

SENDER = "probe@example.com"
RECIPIENT = "probe@example.com.sink.sparkpostmail.com"


class Load:
    """Counts what is done between the warm-up and the end."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.tls = ssl.create_default_context(cafile=arguments.ca_file)
        self.attempts = 0
        self.failed = 0
        self.stop = asyncio.Event()

    async def api(self, number: int) -> None:
        """Post once a second."""
        headers = {"Authorization": self.arguments.key}
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=10, ssl=self.tls)) as session:
            async for name in self.beats(f"api{number}"):
                body = {
                    "recipients": [{"address": RECIPIENT}],
                    "content": {"from": SENDER, "subject": "bench", "text": name},
                    "metadata": {"sev1probe": name},
                }
                async with session.post(self.arguments.api_url, json=body, headers=headers) as reply:
                    answer = await reply.json()
                    self.count(reply.status == 200 and "results" in answer)

    async def smtp(self, number: int) -> None:
        """Inject once a second, reconnecting after 100 messages as the provider asks."""
        client = aiosmtplib.SMTP(
            hostname="127.0.0.1", port=self.arguments.smtp_port, start_tls=True, use_tls=False, tls_context=self.tls
        )
        used = 100
        async for name in self.beats(f"smtp{number}"):
            if used >= 100:
                if client.is_connected:
                    await client.quit()
                await client.connect()
                await client.login("SMTP_Injection", self.arguments.key)
                used = 0
            message = (
                f"From: {SENDER}\r\nTo: {RECIPIENT}\r\nSubject: bench\r\nMessage-ID: <{name}@example.com>\r\n\r\nx\r\n"
            )
            errors, _ = await client.sendmail(SENDER, [RECIPIENT], message.encode())
            used += 1
            self.count(not errors)
        client.close()

    async def beats(self, name: str) -> AsyncIterator[str]:
        """Wake once a second at a phase of one's own."""
        phase = int.from_bytes(sha256(name.encode()).digest()[:4], "big") / 2**32 * 0.9
        second = int(time.time()) + 2
        while not self.stop.is_set():
            await asyncio.sleep(max(0.0, second + phase - time.time()))
            yield f"{second}.{name}"
            second += 1

    def count(self, accepted: bool) -> None:
        """Count an attempt."""
        self.attempts += 1
        self.failed += not accepted


async def main() -> None:
    """Run for the asked time and print what it cost."""
    parser = argparse.ArgumentParser()
    for option in ("--api-url", "--ca-file", "--key"):
        parser.add_argument(option, required=True)
    for option in ("--smtp-port", "--targets", "--warm-up-s", "--seconds"):
        parser.add_argument(option, type=int, required=True)
    load = Load(parser.parse_args())
    tasks = [
        asyncio.create_task(work(number)) for number in range(load.arguments.targets) for work in (load.api, load.smtp)
    ]
    await asyncio.sleep(load.arguments.warm_up_s)
    before, attempts = resource.getrusage(resource.RUSAGE_SELF), load.attempts
    await asyncio.sleep(load.arguments.seconds)
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"cpu_s": cpu_s, "attempts": load.attempts - attempts, "failed": load.failed}))  # noqa: T201
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    uvloop.run(main())
