"""prometheus-blackbox-exporter as a peer: the same calls by its HTTPS prober and its scripted SMTP dialogue."""

import asyncio
import base64
import json
import time
from hashlib import sha256
from pathlib import Path

import aiohttp
import uvloop

MESSAGE = ("From: probe@example.com", "To: probe@example.com.sink.sparkpostmail.com", "Subject: bench", "", "x", ".")


def modules(key: str, ca_file: Path) -> str:
    """Write the exporter's configuration; YAML reads JSON."""
    login = base64.b64encode(f"\0SMTP_Injection\0{key}".encode()).decode()
    tls = {"ca_file": str(ca_file), "server_name": "localhost"}
    body = {
        "recipients": [{"address": "probe@example.com.sink.sparkpostmail.com"}],
        "content": {"from": "probe@example.com", "subject": "bench", "text": "x"},
    }
    dialogue = [
        {"expect": "^220 "},
        {"send": "EHLO bench\r"},
        {"expect": "^250 "},
        {"send": "STARTTLS\r"},
        {"expect": "^220 "},
        {"starttls": True},
        {"send": "EHLO bench\r"},
        {"expect": "^250 "},
        {"send": f"AUTH PLAIN {login}\r"},
        {"expect": "^235 "},
        {"send": "MAIL FROM:<probe@example.com>\r"},
        {"expect": "^250 "},
        {"send": "RCPT TO:<probe@example.com.sink.sparkpostmail.com>\r"},
        {"expect": "^250 "},
        {"send": "DATA\r"},
        {"expect": "^354 "},
        *({"send": f"{line}\r"} for line in MESSAGE),
        {"expect": "^250 "},
        {"send": "QUIT\r"},
    ]
    return json.dumps(
        {
            "modules": {
                "api": {
                    "prober": "http",
                    "timeout": "9s",
                    "http": {
                        "method": "POST",
                        "headers": {"Authorization": key, "Content-Type": "application/json"},
                        "body": json.dumps(body),
                        "preferred_ip_protocol": "ip4",
                        "tls_config": tls,
                    },
                },
                "smtp": {
                    "prober": "tcp",
                    "timeout": "9s",
                    "tcp": {"query_response": dialogue, "preferred_ip_protocol": "ip4", "tls_config": tls},
                },
            }
        }
    )


async def drive(exporter: str, probes: dict[str, str], targets: int, seconds: int) -> tuple[int, int]:
    """Ask for each target once a second; return how many probes succeeded and failed."""
    done = [0, 0]

    async def one(session: aiohttp.ClientSession, module: str, number: int) -> None:
        name = f"{module}{number}"
        phase = int.from_bytes(sha256(name.encode()).digest()[:4], "big") / 2**32 * 0.9
        second = int(time.time()) + 1
        for second in range(second, second + seconds):  # noqa: B020
            await asyncio.sleep(max(0.0, second + phase - time.time()))
            parameters = {"target": probes[module], "module": module}
            async with session.get(f"{exporter}/probe", params=parameters) as reply:
                done["probe_success 1" not in await reply.text()] += 1

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(one(session, module, number) for module in probes for number in range(targets)))
    return done[0], done[1]


def run(exporter: str, probes: dict[str, str], targets: int, seconds: int) -> tuple[int, int]:
    """Drive the exporter on uvloop."""
    return uvloop.run(drive(exporter, probes, targets, seconds))
