"""What people do with the buckets and the stack, drawn from the seed."""

import io
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

from PIL import Image

from image_drop.state.circuit_breaker import BY_HAND
from image_drop.storage import retry_queue
from image_drop.storage.output_bucket import ANSWERS
from image_drop.uploads import FRESH, Upload, starts_nothing
from tests.simulation.aws.s3 import Version
from tests.simulation.deployment import INPUT, OUTPUT, Cloud
from tests.simulation.venice import EDIT
from tests.simulation.words import (
    DEFAULT_MODEL,
    OTHER_MODEL,
    POISON,
    PRIVATE,
    SECRET,
    STRANGER,
    UNKNOWN_MODEL,
    UNTRUSTED,
)

FOLDERS = ("", "shop/", "shop/summer/", "customers/")
NAMES = ("a.jpg", "b.jpg", "c c+ü.jpg", "a.jpg.pink", "a.jpg.original")
KINDS: Mapping[str, int] = {
    "upload": 30,
    "upload with tags": 14,
    "same bytes again": 6,
    "put sidecar": 14,
    "put tags": 5,
    "remove sidecar": 3,
    "put folder file": 6,
    "remove folder file": 2,
    "put layer": 4,
    "delete image": 4,
    "rename image": 4,
    "remove result": 5,
    "retry": 6,
    "redrive": 3,
    "backfill": 3,
    "account away": 4,
    "account back": 6,
    "limit changes": 3,
    "key changes": 2,
    "foreign object": 3,
    "upload rubbish": 2,
    "daily limit changes": 2,
    "wave": 1,
    "bus away": 2,
    "deploy": 2,
    "pause by hand": 2,
    "resume by hand": 3,
    "cancel": 3,
}
INSTRUCTIONS: tuple[Mapping[str, Any], ...] = (
    {"mode": "background-remove"},
    {"prompt": "red"},
    {"prompt": "blue sky", "enhance_prompt": True},
    {"prompt": "a wet street", "aspect_ratio": "16:9"},
    {"prompt": "on marble", "layers": ["_layers/mask.png"]},
    {"mode": "background-remove", "finish": {"size": "200x200", "background": "white"}},
    {"mode": "background-remove", "finish": {"size": "100x100", "format": "jpeg"}},
    {
        "mode": "background-remove",
        "finish": {"size": "90x90", "format": "jpeg"},
        "keep_original": True,
    },
    {"prompt": "with wood", "finish": {"background": "_layers/wood.jpg"}, "keep_original": True},
    {"variants": {"cut": {"mode": "background-remove"}, "pink": {"prompt": "pink"}}},
    {"variants": {"pink": {"prompt": "pink"}}},
    {"mode": "edit"},
    {"promt": "a slip"},
    {"mode": "upscale", "upscale": 3},
    {"mode": "upscale"},
    {"prompt": "red", "model": UNKNOWN_MODEL},
    {"prompt": "red", "model": DEFAULT_MODEL},
    {"prompt": "green", "model": OTHER_MODEL},
    {"prompt": "so " * 600},
    {"prompt": "a frame", "layers": [f"/{PRIVATE}"]},
    {"mode": "background-remove", "finish": {"background": f"/{PRIVATE}"}},
)
CROWD: tuple[Mapping[str, Any], ...] = (
    {"mode": "background-remove"},
    {"prompt": "red"},
    {"prompt": "red", "model": DEFAULT_MODEL},
    {"prompt": "green", "model": OTHER_MODEL},
)
RUBBISH: tuple[bytes, ...] = (
    b"",
    b"This is no picture.",
    bytes.fromhex("ffd8ffc0000808012c012c00ffda00080101003f00" + "55" * 64 + "ffd9"),
)  # the last one is a JPEG without components
SUFFIXES = (".png", ".png", ".jpg", ".pink.png", ".cut.png", ".original.png", ".error.json")
WAVES = ("400", "422", "503", "html", "403 for this one")
COPIED = 8  # objects at most
WAVE = 60.0  # seconds
DAILY_LIMITS = ("0.04", "0.08", "0.12", "0.2", "50", "0")


STARTS = (
    *("upload", "upload with tags", "upload rubbish", "same bytes again"),
    *("put sidecar", "put tags", "retry"),
)


@cache
def picture(number: int) -> bytes:
    """Return a small JPEG that no other number has."""
    target = io.BytesIO()
    colour = (number % 256, number // 256 % 256, 99)
    Image.new("RGB", (300, 300), colour).save(target, "JPEG", quality=50, comment=SECRET)
    return target.getvalue()


@dataclass(frozen=True)
class Act:
    """Something that a person does. `number` makes its content different from all others."""

    at: float
    kind: str
    key: str
    number: int
    instructions: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return (
            f"{self.kind} {self.key} {json.dumps(self.instructions) if self.instructions else ''}"
        )


def drawn(seed: object, most: int, seconds: float) -> list[Act]:
    """Draw up to `most` acts within so many seconds, in their order."""
    rng = random.Random(f"{seed} workload")
    kinds, weights = list(KINDS), list(KINDS.values())
    keys = rng.sample([folder + name for folder in FOLDERS for name in NAMES], rng.randrange(1, 5))
    first = [
        Act(rng.uniform(0, 20), "put folder file", "", 0, {"mode": "background-remove"})
    ] * rng.randrange(2)
    acts = [
        Act(
            rng.uniform(0, seconds) if rng.random() < 0.6 else rng.uniform(0, 60),
            rng.choices(kinds, weights)[0],
            key := rng.choice(keys),
            number,
            _worded(rng.choice(INSTRUCTIONS), key),
        )
        for number in range(1, rng.randrange(3, most + 1))
    ]
    return sorted([*first, *acts], key=lambda act: act.at)


def _worded(instructions: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return the instructions as the writer of a key words them."""
    if not key.startswith(UNTRUSTED):
        return instructions
    worded = dict(instructions)
    if "prompt" in worded:
        worded["prompt"] = STRANGER + worded["prompt"]
    if "variants" in worded:
        worded["variants"] = {name: _worded(each, key) for name, each in worded["variants"].items()}
    return worded


def _as_tags(instructions: Mapping[str, Any]) -> Mapping[str, str]:
    """Return those of the instructions that a tag can hold."""
    return {k: v for k, v in instructions.items() if isinstance(v, str) and len(v) <= 256}


@dataclass
class People:
    """Who acts. They note what they have removed, for nobody else knows."""

    cloud: Cloud
    removed: set[str] = field(default_factory=set)  # keys of the output bucket
    away: bool = False
    limits: list[float] = field(default_factory=list)  # when the limit was changed
    begun: dict[str, float] = field(default_factory=dict)  # when something last started an image
    asked: list[tuple[float, str]] = field(default_factory=list)  # prefixes of keys to edit
    changed: list[tuple[float, str]] = field(default_factory=list)  # prefixes, without an event
    foreign: set[str] = field(default_factory=set)  # versions that are not Image Drop's
    markers: set[str] = field(default_factory=set)  # delete markers that are not Image Drop's
    away_until: list[float] = field(default_factory=list)  # when the account came back
    poisoned: set[str] = field(default_factory=set)  # images that Venice refuses
    s3_was_busy: bool = False
    reworded: list[tuple[float, str]] = field(default_factory=list)  # when, and which image
    cancelled: list[tuple[float, str]] = field(default_factory=list)  # when, and below what
    tidied: list[float] = field(default_factory=list)  # when all kept answers were removed
    fresh: set[str] = field(default_factory=set)  # images of which a new draw was asked for

    def __post_init__(self) -> None:
        self.cloud.s3.put(INPUT, PRIVATE, picture(0))

    def act(self, act: Act) -> None:
        """Do it now."""
        self.cloud.note(f"somebody: {act}")
        if act.kind in STARTS:
            self._starts(act.key)
        if act.kind in ("backfill", "redrive"):
            # A scan asks when it comes to an image, which may be some rounds later.
            self.asked.append((self.cloud.world.time + 900, ""))
        if act.kind in ("put sidecar", "put tags"):
            self.reworded.append((self.cloud.world.time, act.key))
        _ACTS[act.kind](self, act)

    def end(self) -> None:
        """Put the account in order, so that everything can come to its end."""
        self.limits.append(self.cloud.world.time)
        self.account_back(None)
        self.resume_by_hand(None)
        self.cloud.venice.change(bad_keys=(), limit=20, latency=EDIT)
        limit = float(self.cloud.environment["DAILY_SPEND_LIMIT_USD"])
        waiting = len(self.cloud.sqs.messages) * (10 if self.poisoned else 1)
        if waiting * 0.08 > 3 * limit > 0:  # else it takes many days
            self.cloud.change_daily_limit("50")
        if self.poisoned:
            self._bring_another(0)

    def _bring_another(self, number: int) -> None:
        """Bring one image after the other, until one shows that the account works."""
        if self.cloud.is_settled or number > 100:
            return
        pauses = self.cloud.journal.pauses
        if self.cloud.is_paused and pauses and not pauses[-1].spent:
            key = f"shop/last-{number}.jpg"
            self._starts(key)
            self.cloud.s3.put(INPUT, key, picture(900 + number), tags={"prompt": "red"})
        self.cloud.world.call(700.0, partial(self._bring_another, number + 1))

    def is_current(self, key: str) -> bool:
        """Whether nothing that starts no edit has changed since something last started this one."""
        return not any(
            key.startswith(prefix) and at >= self.begun.get(key, 0.0) for at, prefix in self.changed
        )

    def asked_since(self, key: str, since: float) -> bool:
        """Whether anything may have started an image since a time."""
        asked = [*self.asked, *self.changed]
        return any(at > since and key.startswith(prefix) for at, prefix in asked)

    def was_cancelled(self, key: str) -> bool:
        """Whether somebody has dropped what was asked for since something last started it.

        S3 knows whole seconds, so what comes within the same one may be dropped, too.
        """
        begun = self.begun.get(key, 0.0)
        return any(key.startswith(prefix) and at > begun - 1 for at, prefix in self.cancelled)

    def has_layer(self, key: str) -> bool:
        """Whether the image may wait for a layer."""
        there = self.cloud.s3.current(INPUT, f"{key}.json")
        folder = key.rpartition("/")[0]
        return there is not None or (INPUT, f"{folder}/.image-drop.json") in self.cloud.s3.versions

    def _starts(self, key: str) -> None:
        self.begun[key] = self.cloud.world.time
        self.asked.append((self.cloud.world.time, key))

    def _changed(self, prefix: str) -> None:
        self.changed.append((self.cloud.world.time, prefix))

    def upload(self, act: Act) -> None:
        self.cloud.s3.put(INPUT, act.key, picture(act.number))

    def upload_with_tags(self, act: Act) -> None:
        plain = _as_tags(act.instructions)
        if POISON in plain.values():
            self.poisoned.add(act.key)
        # Some programs can set user metadata, but no tags.
        tags, metadata = ({}, plain) if act.number % 3 == 0 else (plain, {})
        self.cloud.s3.put(INPUT, act.key, picture(act.number), tags=tags, metadata=metadata)

    def put_tags(self, act: Act) -> None:
        if self.cloud.s3.current(INPUT, act.key):
            self.cloud.s3.tag(INPUT, act.key, _as_tags(act.instructions))

    def upload_rubbish(self, act: Act) -> None:
        tags = {"mode": "background-remove"}
        self.cloud.s3.put(INPUT, act.key, RUBBISH[act.number % len(RUBBISH)], tags=tags)

    def crowd(self, act: Act) -> None:
        for number in range(act.instructions["count"]):
            self._starts(key := f"{act.key}{number}.jpg")
            self.cloud.s3.put(
                INPUT,
                key,
                picture(act.number * 100 + number),
                tags=CROWD[(act.number + number) % len(CROWD)],
            )

    def crowd_again(self, act: Act) -> None:
        for key in self.cloud.s3.keys(INPUT, act.key):
            there = self.cloud.s3.current(INPUT, key)
            assert there
            assert there.body
            self._starts(key)
            self.cloud.s3.put(INPUT, key, there.body, tags=there.tags)

    def crowd_leaves(self, act: Act) -> None:
        for key in self.cloud.s3.keys(INPUT, act.key):
            self.cloud.s3.delete(INPUT, key)

    def same_bytes_again(self, act: Act) -> None:
        if there := self.cloud.s3.current(INPUT, act.key):
            self.cloud.s3.put(INPUT, act.key, there.body or b"", tags=there.tags)

    def put_sidecar(self, act: Act) -> None:
        body = json.dumps(act.instructions).encode()
        self.cloud.s3.put(INPUT, f"{act.key}.json", body)

    def remove_sidecar(self, act: Act) -> None:
        if self.cloud.s3.current(INPUT, f"{act.key}.json"):
            self.cloud.s3.delete(INPUT, f"{act.key}.json")
            self._changed(act.key)

    def put_folder_file(self, act: Act) -> None:
        folder = act.key.rpartition("/")[0]
        self._changed(f"{folder}/" if folder else "")
        name = f"{folder}/.image-drop.json" if folder else ".image-drop.json"
        self.cloud.s3.put(INPUT, name, json.dumps(act.instructions).encode())

    def remove_folder_file(self, act: Act) -> None:
        folder = act.key.rpartition("/")[0]
        self._changed(f"{folder}/" if folder else "")
        self.cloud.s3.delete(INPUT, f"{folder}/.image-drop.json" if folder else ".image-drop.json")

    def put_layer(self, act: Act) -> None:
        folder = act.key.rpartition("/")[0]
        self._changed(f"{folder}/" if folder else "")
        for name in ("_layers/mask.png", "_layers/wood.jpg"):
            key = f"{folder}/{name}" if folder else name
            self.cloud.s3.put(INPUT, key, picture(1000 + act.number))

    def delete_image(self, act: Act) -> None:
        if self.cloud.s3.current(INPUT, act.key):
            self.cloud.s3.delete(INPUT, act.key)

    def rename_image(self, act: Act) -> None:
        there = self.cloud.s3.current(INPUT, act.key)
        if there:
            self._copy(there, f"{act.key[:-4]}-{act.number}.jpg")
            self.cloud.s3.delete(INPUT, act.key)

    def copy_images(self, act: Act) -> None:
        """Copy some images into a folder, with their tags and sidecars."""
        for number, key in enumerate(self.cloud.s3.keys(INPUT)[:COPIED]):
            there = self.cloud.s3.current(INPUT, key)
            if starts_nothing(key) or key.endswith(".json") or there is None:
                continue
            if key.startswith(UNTRUSTED) and not act.key.startswith(UNTRUSTED):
                continue  # who copies a stranger's words makes them his own
            new = f"{act.key}copy-{act.number}-{number}.jpg"
            if sidecar := self.cloud.s3.current(INPUT, f"{key}.json"):
                self.cloud.s3.put(INPUT, f"{new}.json", sidecar.body or b"")
            self._copy(there, new)

    def _copy(self, there: Version, key: str) -> None:
        """Copy an image with its tags."""
        self._starts(key)
        if POISON in there.tags.values():
            self.poisoned.add(key)
        self.cloud.s3.put(INPUT, key, there.body or b"", tags=there.tags)

    def remove_result(self, act: Act) -> None:
        for key in self.cloud.s3.keys(OUTPUT, act.key):
            self.removed.add(key)
            self.markers.add(self.cloud.s3.delete(OUTPUT, key).id)

    def remove_kept_answers(self, act: Act) -> None:
        for key in self.cloud.s3.keys(OUTPUT, ANSWERS):
            self.markers.add(self.cloud.s3.delete(OUTPUT, key).id)
        self.tidied.append(self.cloud.world.time)

    def retry(self, act: Act) -> None:
        if self.cloud.s3.current(INPUT, act.key):
            upload = Upload(INPUT, act.key, retry=f"again-{act.number}")
            self.cloud.sqs.send(retry_queue.message(upload))

    def fresh_retry(self, act: Act) -> None:
        if self.cloud.s3.current(INPUT, act.key):
            self._starts(act.key)
            self.fresh.add(act.key)
            upload = Upload(INPUT, act.key, retry=f"{FRESH}{act.number}")
            self.cloud.sqs.send(retry_queue.message(upload))

    def redrive(self, act: Act) -> None:
        self.cloud.sqs.redrive()

    def backfill(self, act: Act) -> None:
        services = self.cloud.onlooker()
        current = services.scans.current()
        if not (current and current.running):
            services.scans.start("", self.cloud.world.time)

    def account_away(self, act: Act) -> None:
        self.away = True
        kinds = ("no_balance", "spend_limit", "bad_key", "forbidden")
        self.cloud.venice.change(account=kinds[act.number % 4])

    def account_back(self, _: Act | None) -> None:
        if self.cloud.venice.settings_now.account != "ok":
            self.away_until.append(self.cloud.world.time)
        self.cloud.venice.change(account="ok")

    def limit_changes(self, act: Act) -> None:
        limit = act.instructions.get("limit", (5, 20, 60)[act.number % 3])
        self.limits.append(self.cloud.world.time)
        self.cloud.venice.change(limit=limit)

    def key_changes(self, act: Act) -> None:
        old = self.cloud.parameters.key
        self.cloud.parameters.key = f"key-{act.number + 1}"
        self.cloud.venice.change(bad_keys=(old,))

    def foreign_object(self, act: Act) -> None:
        suffix = act.instructions.get("suffix", SUFFIXES[act.number % len(SUFFIXES)])
        self.removed.add(f"{act.key}{suffix}")
        version = self.cloud.s3.put(OUTPUT, f"{act.key}{suffix}", b"somebody else's")
        self.foreign.add(version.id)

    def daily_limit_changes(self, act: Act) -> None:
        chosen = DAILY_LIMITS[act.number % len(DAILY_LIMITS)]
        self.cloud.change_daily_limit(act.instructions.get("usd", chosen))

    def limit_today(self, act: Act) -> None:
        self.cloud.limit_today(act.instructions["usd"])

    def s3_busy(self, act: Act) -> None:
        self.s3_was_busy = True
        self.cloud.s3_is_busy_until = self.cloud.world.time + act.instructions["seconds"]
        self.cloud.s3_is_busy_with = act.instructions["with"]

    def bus_away(self, act: Act) -> None:
        seconds = act.instructions.get("seconds", 20 * (act.number % 20))
        self.cloud.bus.away_until = self.cloud.world.time + seconds

    def wave(self, act: Act) -> None:
        kind = act.instructions.get("kind", WAVES[act.number % len(WAVES)])
        seconds = act.instructions.get("seconds", WAVE)
        self.cloud.venice.wave = self.cloud.world.time + seconds, kind

    def latency_changes(self, act: Act) -> None:
        self.cloud.venice.change(latency=act.instructions["seconds"])

    def deploy(self, act: Act) -> None:
        self.cloud.redeploy()

    def pause_by_hand(self, act: Act) -> None:
        self.cloud.onlooker().circuit_breaker.stop(BY_HAND, "Somebody did.", self.cloud.world.now())

    def resume_by_hand(self, _: Act | None) -> None:
        breaker = self.cloud.onlooker().circuit_breaker
        if (status := breaker.status()).by_hand:
            breaker.resume(self.cloud.world.now(), stop=status.id)

    def cancel(self, act: Act) -> None:
        prefix = act.key.rpartition("/")[0] if act.number % 2 else act.key
        self.cancelled.append((self.cloud.world.time, prefix))
        self.cloud.onlooker().orders.cancel(prefix, self.cloud.world.now())


_ACTS = {
    "upload": People.upload,
    "upload with tags": People.upload_with_tags,
    "same bytes again": People.same_bytes_again,
    "put sidecar": People.put_sidecar,
    "put tags": People.put_tags,
    "remove sidecar": People.remove_sidecar,
    "put folder file": People.put_folder_file,
    "remove folder file": People.remove_folder_file,
    "put layer": People.put_layer,
    "delete image": People.delete_image,
    "rename image": People.rename_image,
    "copy images": People.copy_images,
    "fresh retry": People.fresh_retry,
    "remove result": People.remove_result,
    "remove kept answers": People.remove_kept_answers,
    "retry": People.retry,
    "redrive": People.redrive,
    "backfill": People.backfill,
    "account away": People.account_away,
    "account back": People.account_back,
    "limit changes": People.limit_changes,
    "key changes": People.key_changes,
    "foreign object": People.foreign_object,
    "upload rubbish": People.upload_rubbish,
    "crowd": People.crowd,
    "crowd again": People.crowd_again,
    "crowd leaves": People.crowd_leaves,
    "daily limit changes": People.daily_limit_changes,
    "limit today": People.limit_today,
    "wave": People.wave,
    "bus away": People.bus_away,
    "S3 is busy": People.s3_busy,
    "latency changes": People.latency_changes,
    "deploy": People.deploy,
    "pause by hand": People.pause_by_hand,
    "resume by hand": People.resume_by_hand,
    "cancel": People.cancel,
}
