"""The API as a process: it ends with its parent and not with Ctrl-C, and shows itself without help from outside."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs

from tests.portal.conftest import Portal
from tests.portal.process import free_port, prepared, serving


def test_the_end_of_the_parent_is_the_end_and_ctrl_c_is_not(tmp_path: Path) -> None:
    settings, _ = prepared(tmp_path)
    read_end, write_end = os.pipe()
    with serving(settings, read_end) as (process, port):
        os.close(read_end)
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert httpx.get(f"http://127.0.0.1:{port}/healthz").is_success
        os.close(write_end)
        assert process.wait(timeout=60) == 0


def test_without_a_parent_ctrl_c_ends_it(tmp_path: Path) -> None:
    settings, _ = prepared(tmp_path)
    with serving(settings) as (process, _):
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    settings, _ = prepared(tmp_path)
    with serving(settings) as (_, port):
        environment = dict(os.environ) | {
            "SIPSVC_DATA__DIR": str(tmp_path),
            "SIPSVC_API__LISTEN": f"127.0.0.1:{port}",
        }
        done = subprocess.run(
            [sys.executable, "-m", "portal_api"], env=environment, capture_output=True, text=True, check=False
        )
    assert done.returncode == 2
    assert done.stderr == f"api.listen = '127.0.0.1:{port}': Address already in use\n"


def test_a_bad_setting_is_named() -> None:
    environment = dict(os.environ) | {"SIPSVC_API__LISTEN": f"127.0.0.1:{free_port()}0000"}
    done = subprocess.run(
        [sys.executable, "-m", "portal_api"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("api.listen = ")
    assert "Traceback" not in done.stderr


def test_the_page_of_operations_asks_no_other_host(portal: Portal) -> None:
    page = portal.anyone.get("/docs")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert links
    for link in links:
        assert link.startswith("/")
        found = portal.anyone.get(link)
        assert found.is_success
        assert "://" not in found.text.replace("http://127.0.0.1", "")


def resolve(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        at: Any = document
        for key in schema["$ref"].split("/")[1:]:
            at = at[key]
        schema = at
    return schema


def has_example(document: dict[str, Any], content: dict[str, Any]) -> bool:
    """Beside the schema, or the schema's own, or for a page its items' own."""
    if "example" in content or "examples" in content:
        return True
    found = resolve(document, content["schema"])
    items = found.get("properties", {}).get("data", {}).get("items")
    return bool(found.get("examples")) or (items is not None and has_example(document, {"schema": items}))


def test_every_operation_is_described_with_an_example_for_every_body(portal: Portal) -> None:
    document = portal.anyone.get("/openapi.json").json()
    operations = [(path, item) for path, methods in document["paths"].items() for item in methods.values()]
    assert len(operations) > 50
    for path, operation in operations:
        assert operation["summary"], path
        closed = path.startswith("/api/v1/")
        assert bool(operation.get("security")) == closed, path
        bodies = [operation["requestBody"]] if "requestBody" in operation else []
        for body in [*bodies, *operation["responses"].values()]:
            for content in body.get("content", {}).values():
                if closed:
                    assert has_example(document, content), (path, content)
                resolve(document, content["schema"])


def test_every_example_of_a_body_is_one_the_schema_allows(portal: Portal) -> None:
    document = portal.anyone.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            # An upload is no JSON.
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if content is None:
                continue
            schema = content["schema"]
            whole = schema | {"components": document["components"]}
            for example in resolve(document, schema)["examples"]:
                faults = [error.message for error in jsonschema_rs.validator_for(whole).iter_errors(example)]
                assert not faults, (method, path, faults)
