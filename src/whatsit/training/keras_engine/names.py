"""Where Keras keeps the weights of its applications."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple, NoReturn

import keras
from keras.src.utils import file_utils


class Address(NamedTuple):
    """A file in Keras's storage; the hash is an MD5 or SHA-256 in hexadecimal, None where Keras states none."""

    url: str
    file: str
    hash: str | None


class _AskedError(Exception):
    def __init__(self, address: Address) -> None:
        self.address = address


def address(application: str) -> Address:
    """The file that `keras.applications.NAME(weights="imagenet")` would download. Nothing is downloaded.

    Keras builds the address inside that function, so it is called, with a stand-in for the download.
    """

    def stand_in(fname: str | None = None, origin: str = "", file_hash: str | None = None, **other: Any) -> NoReturn:
        raise _AskedError(Address(origin, fname or origin.rpartition("/")[2], file_hash or other.get("md5_hash")))

    original = file_utils.get_file
    file_utils.get_file = stand_in
    try:
        with warnings.catch_warnings(action="ignore"):  # MobileNet says that its default size is its default
            getattr(keras.applications, application)(weights="imagenet")
    except _AskedError as asked:
        return asked.address
    finally:
        file_utils.get_file = original
        keras.backend.clear_session()
    raise AssertionError(f"keras.applications.{application} downloaded nothing")
