"""People: who may ask for and approve a looser limit, and that it is they: names and salted hashes of secrets, in the state folder.

It keeps the record honest among people who share an engine's user. Whoever owns that user's files can change this one too.
"""

from __future__ import annotations

import hashlib
import hmac
import os

import msgspec

from hft.limit_changes import name_word
from processes.errors import EngineError
from processes.instance import Instance, write_durably

#: Fewest letters of a secret.
SECRET_LEAST = 12


def _hash(secret: str, salt: bytes) -> bytes:
    return hashlib.scrypt(secret.encode(), salt=salt, n=1 << 14, r=8, p=1)


def _read(instance: Instance) -> dict[str, list[str]]:
    try:
        return msgspec.json.decode(instance.people_file.read_bytes(), type=dict[str, list[str]])
    except FileNotFoundError:
        return {}
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise EngineError(f"{instance.people_file}: damaged: {error}") from error


def add_person(instance: Instance, name: str, secret: str) -> None:
    """Keep a new name and its secret. Raises EngineError for a name that is none or is taken, and a secret that is too short."""
    try:
        name_word(name)
    except ValueError as error:
        raise EngineError(str(error)) from None
    people = _read(instance)
    if name in people:
        raise EngineError(f"{name} is known already; to give a new secret, take the name out of {instance.people_file} first")
    if len(secret) < SECRET_LEAST:
        raise EngineError(f"the secret has {len(secret)} letters, expected at least {SECRET_LEAST}")
    salt = os.urandom(16)
    people[name] = [salt.hex(), _hash(secret, salt).hex()]
    instance.make_folders()
    write_durably(instance.people_file, msgspec.json.encode(people))


def prove(instance: Instance, name: str, secret: str) -> None:
    """Raise EngineError unless the secret is that of the name; the message does not say which of the two is wrong."""
    salt, kept = (bytes.fromhex(part) for part in _read(instance).get(name, ["00" * 16, ""]))
    if not hmac.compare_digest(_hash(secret, salt), kept):
        raise EngineError(f"this is not {name} as `hftctl risk person` knows them")
