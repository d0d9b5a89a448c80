"""S9: bodies that two parsers would read differently, or that break one, are refused."""

import sys

import httpx
import pytest
from fastapi import FastAPI

from adapter.domain.errors import WireError
from adapter.protocol.strict_json import decode
from adapter.web.registry import registry_router

HOSTILE = {
    "empty": b"",
    "blank": b"   ",
    "BOM": b'\xef\xbb\xbf{"a":1}',
    "UTF-16 LE with BOM": '{"a":1}'.encode("utf-16"),
    "UTF-16 BE": '{"a":1}'.encode("utf-16-be"),
    "UTF-16 LE": '{"a":1}'.encode("utf-16-le"),
    "UTF-32": '{"a":1}'.encode("utf-32"),
    "Latin-1": '{"a":"é"}'.encode("latin-1"),
    "overlong NUL": b'{"a":"\xc0\x80"}',
    "overlong slash": b'{"a":"\xc0\xaf"}',
    "surrogate in UTF-8": b'{"a":"\xed\xa0\x80"}',
    "beyond Unicode": b'{"a":"\xf4\x90\x80\x80"}',
    "cut character": b'{"a":"\xe2\x82"}',
    "cut at the end": b'{"a":"\xe2',
    "lone high surrogate": b'{"a":"\\ud800"}',
    "lone low surrogate": b'{"a":"\\udc00"}',
    "surrogates in wrong order": b'{"a":"\\udc00\\ud800"}',
    "lone surrogate in a key": b'{"\\ud800":1}',
    "lone surrogate deep inside": b'{"a":[{"b":"x\\uD83D"}]}',
    "duplicate key": b'{"a":1,"a":2}',
    "duplicate key, same value": b'{"a":1,"a":1}',
    "duplicate key, escaped": b'{"a":1,"\\u0061":2}',
    "duplicate key deep inside": b'{"x":[{"b":{"a":1,"a":2}}]}',
    "duplicate empty key": b'{"":1,"":2}',
    "NaN": b'{"a":NaN}',
    "-NaN": b'{"a":-NaN}',
    "Infinity": b'{"a":Infinity}',
    "-Infinity": b'{"a":-Infinity}',
    "nan": b'{"a":nan}',
    "1e400": b'{"a":1e400}',
    "-1e400": b'{"a":-1e400}',
    "1e-400": b'{"a":1e-400}',
    "0e999999999": b'{"a":0e999999999}',
    "1e31": b'{"a":1e31}',
    "1e-31": b'{"a":1e-31}',
    "exponent of 10^10": b'{"a":1e9999999999}',
    "exponent of 1,000 digits": b'{"a":1e' + b"9" * 1_000 + b"}",
    "41 digits": b'{"a":' + b"9" * 41 + b"}",
    "41 digits with a sign": b'{"a":-' + b"9" * 41 + b"}",
    "5,000 digits": b'{"a":' + b"9" * 5_000 + b"}",
    "42 decimals": b'{"a":0.' + b"1" * 42 + b"}",
    "5,000 decimals": b'{"a":0.' + b"1" * 5_000 + b"}",
    "leading zero": b'{"a":01}',
    "leading plus": b'{"a":+1}',
    "no digit before the point": b'{"a":.5}',
    "no digit after the point": b'{"a":5.}',
    "hexadecimal": b'{"a":0x10}',
    "underscore": b'{"a":1_000}',
    "digits of another script": b'{"a":\xd9\xa1}',
    "65 arrays": b"[" * 65 + b"]" * 65,
    "65 objects": b'{"a":' * 65 + b"1" + b"}" * 65,
    "100,000 arrays": b"[" * 100_000 + b"]" * 100_000,
    "100,000 open arrays": b"[" * 100_000,
    "100,000 open objects": b'{"a":' * 100_000,
    "deep after a string of brackets": b'["' + b"]" * 100 + b'",' + b"[" * 64 + b"]" * 65,
    "single quotes": b"{'a':1}",
    "name without quotes": b"{a:1}",
    "comment": b'{"a":1/*x*/}',
    "line comment": b'{"a":1}//x',
    "final comma in an object": b'{"a":1,}',
    "final comma in an array": b"[1,]",
    "two values": b"{}{}",
    "text behind the value": b"{} x",
    "NUL behind the value": b"{}\x00",
    "NUL in a string": b'{"a":"\x00"}',
    "newline in a string": b'{"a":"\n"}',
    "unknown escape": b'{"a":"\\x41"}',
    "short escape": b'{"a":"\\u12"}',
    "open string": b'{"a":"x',
    "open escape": b'{"a":"\\',
    "True": b'{"a":True}',
    "undefined": b'{"a":undefined}',
    "vertical tab as blank": b'{"a":\x0b1}',
    "no-break space as blank": '{"a":\u00a01}'.encode(),
    "form": b"a=1&b=2",
    "XML": b"<a/>",
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_s9_hostile_body_is_refused_with_a_code(body: bytes) -> None:
    with pytest.raises(WireError) as caught:
        decode(body)
    assert caught.value.code == "SCH_INVALID_JSON"
    assert len(caught.value.message) < 300
    assert caught.value.message.isprintable()


def test_s9_there_are_enough_bodies() -> None:
    assert len(HOSTILE) >= 60


def test_s9_numbers_are_bounded_before_python_would_refuse_them() -> None:
    """int() of more than 4,300 digits raises ValueError, which would be a fault of ours."""
    assert sys.get_int_max_str_digits() > 40
    with pytest.raises(WireError):
        decode(b"9" * (sys.get_int_max_str_digits() + 1))


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
async def test_s9_an_endpoint_of_our_own_answers_400_and_echoes_nothing(body: bytes) -> None:
    app = FastAPI()
    app.include_router(registry_router(lambda wanted: []))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        response = await client.post("/lookup", content=body)
    assert response.status_code in (400, 413)
    assert response.json()["error"]["code"] in ("SCH_INVALID_JSON", "SCH_INVALID_FORMAT")
    assert len(response.content) < 400
