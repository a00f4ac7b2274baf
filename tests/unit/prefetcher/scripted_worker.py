"""In place of the agent's worker: it speaks its protocol, and does to each image what a file beside it says.

`script.json`: {"<id>": {"do": .., "size": n, "seconds": n}}, with `do` one of
    good      the image comes in the given time            fail      {"failed": reason}
    hang      some bytes come, then none                   silent    not one byte comes, and nothing is answered
    exit      the process ends with a status               garbage   what is no JSON
    strange   JSON that makes no sense                     endless   a line that does not end
and under the key "start" what happens before the first request is read: {"do": "exit" | "refuse" | "hang"}; under
"database": {"do": "away"}, every request fails. What is cached is a file and a row of `rows.json`.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

BASE = Path(__file__).resolve().parent.parent
SETTINGS = json.loads((BASE / "prefetcher.json").read_text())
CACHE = Path(SETTINGS["cacheDir"])
ROWS = BASE / "rows.json"
REQUESTS = BASE / "requests"
STEPS = 20
writing = threading.Lock()


def script() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((BASE / "script.json").read_text())
    return found


def send(message: Any) -> None:
    with writing:
        sys.stdout.write(f"{json.dumps(message)}\n")
        sys.stdout.flush()


def rows() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ROWS.read_text()) if ROWS.exists() else {}
    return found


def set_rows(content: dict[str, Any]) -> None:
    ROWS.with_suffix(".new").write_text(json.dumps(content))
    ROWS.with_suffix(".new").replace(ROWS)


def sizes() -> dict[str, int]:
    return {path.name: path.stat().st_size for path in CACHE.iterdir() if path.is_file()}


def used() -> int:
    return sum(path.stat().st_size for path in CACHE.rglob("*") if path.is_file())


def cached() -> list[dict[str, Any]]:
    there = sizes()
    return [{"id": key, "size": there[key], **row} for key, row in rows().items() if key in there]


def repair() -> dict[str, Any]:
    leftovers = list((CACHE / "incomplete").glob("*"))
    for path in leftovers:
        path.unlink()
    kept, before = {row["id"] for row in cached()}, rows()
    set_rows({key: row for key, row in before.items() if key in kept})
    return {"orphans": 0, "staleRows": len(before) - len(kept), "leftovers": len(leftovers), "gone": []}


def prune(target: int, keep: list[str]) -> dict[str, Any]:
    removed = []
    for row in sorted(cached(), key=lambda row: row["lastAccessed"]):
        if used() > target and row["id"] not in keep:
            delete(row["id"])
            removed.append({"id": row["id"], "size": row["size"]})
    return {"removed": removed, "bytes": sum(row["size"] for row in removed)}


def delete(image_id: str) -> dict[str, Any]:
    was_there = image_id in sizes()
    (CACHE / image_id).unlink(missing_ok=True)
    set_rows({key: row for key, row in rows().items() if key != image_id})
    return {"deleted": was_there}


def facts(ids: list[str]) -> dict[str, Any]:
    known = script()
    return {
        "images": {key: {"size": known[key].get("size"), "status": "active"} if key in known else None for key in ids}
    }


def fetch(request: dict[str, Any]) -> None:
    image_id = request["id"]
    what = script().get(image_id, {"do": "fail", "reason": "ImageNotFound"})
    size, do = what.get("size", 1000), what["do"]
    if image_id in {row["id"] for row in cached()}:
        send({"done": "already", "size": sizes()[image_id]})
        return
    if size > request["roomBytes"]:
        send({"failed": "TooLarge", "message": "no room", "size": size})
        return
    part = CACHE / "incomplete" / image_id
    part.touch()
    if do == "good":
        for step in range(STEPS):
            send({"progress": size * step // STEPS, "size": size})
            part.write_bytes(bytes(size * step // STEPS))
            time.sleep(what.get("seconds", 0) / STEPS)
        part.write_bytes(bytes(size))
        part.replace(CACHE / image_id)
        set_rows({**rows(), image_id: {"hits": 0, "lastAccessed": time.time()}})
        send({"done": "fetched", "size": size})
        return
    if do == "fail":
        part.unlink()
        send({"failed": what["reason"], "message": what.get("message", "scripted"), "size": size})
        return
    if do != "silent":
        send({"progress": size // 2, "size": size})
    if do == "exit":
        os._exit(what.get("status", 1))
    if do == "strange":
        send({"progress": "half"})
    if do == "garbage":
        os.write(1, b"\x00\xff this is no JSON\n")
    while do == "endless":
        os.write(1, b"x" * 65536)
    time.sleep(3600)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    if script().get("database"):
        return {"failed": "DatabaseUnreachable", "message": "The database failed."}
    do = request["do"]
    if do == "list":
        volume = os.statvfs(CACHE)
        return {"cached": cached(), "usedBytes": used(), "freeBytes": volume.f_bavail * volume.f_frsize}
    if do == "repair":
        return repair()
    if do == "facts":
        return facts(request["ids"])
    if do == "prune":
        return prune(request["targetBytes"], request["keep"])
    assert do == "delete", do
    return delete(request["id"])


def main() -> None:
    (CACHE / "incomplete").mkdir(parents=True, exist_ok=True)
    start = script().get("start", {}).get("do")
    if start == "exit":
        os._exit(3)
    if start == "refuse":
        send({"failed": "WorkerFailed", "message": "The cache driver is not there."})
        os._exit(78)
    if start == "hang":
        time.sleep(3600)
    for line in sys.stdin:
        request = json.loads(line)
        with REQUESTS.open("a") as file:
            file.write(f"{request['do']} {request.get('id', '')}\n")
        if request["do"] == "fetch":
            threading.Thread(target=fetch, args=(request,), daemon=True).start()
        else:
            send({**answer(request), "tag": request["tag"]})
    os._exit(0)


main()
