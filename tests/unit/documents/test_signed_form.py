"""What is accepted as a signed document, and that nothing else is."""

from __future__ import annotations

import base64
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrec.contracts.canonical_json import canonical_json
from streamrec.contracts.errors import DocumentRefusedError, InvalidInputError
from streamrec.documents.refusals import Refusal
from streamrec.documents.signed_form import HIGHEST_REVISION, sign, verify
from streamrec.documents.signing import PublicKey, SigningKey, TrustedKeys

SCHEMA = "streamrec.example.v1"
KEY = SigningKey.generate()
TRUST = TrustedKeys.of(KEY.public)
DOCUMENT = {"schema": SCHEMA, "revision": 7, "text": "Zürich ☃", "share": 0.25}
MAXIMUM_BYTES = 4_096


def refusal(content, trust=TRUST):
    with pytest.raises(DocumentRefusedError) as caught:
        verify(content, trust, SCHEMA, MAXIMUM_BYTES)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
    return caught.value.code


def with_signature(**changed):
    document = json.loads(sign(DOCUMENT, KEY))
    document["signature"].update(changed)
    return canonical_json(document)


def test_what_was_signed_is_read_back_without_its_signature():
    assert verify(sign(DOCUMENT, KEY), TRUST, SCHEMA, MAXIMUM_BYTES) == DOCUMENT


def test_the_same_document_has_the_same_bytes_in_any_order():
    assert sign(dict(reversed(DOCUMENT.items())), KEY) == sign(DOCUMENT, KEY)


def test_the_key_id_is_the_beginning_of_the_digest_of_the_public_key():
    # RFC 8032, section 7.1, test 1.
    raw = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    prefix = bytes.fromhex("302a300506032b6570032100")  # RFC 8410: what says "an Ed25519 key follows"
    encoded = base64.b64encode(prefix + raw).decode()
    key = PublicKey.from_pem(f"-----BEGIN PUBLIC KEY-----\n{encoded}\n-----END PUBLIC KEY-----\n".encode())
    assert key.key_id == "21fe31dfa154a261"
    signature = bytes.fromhex(
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b"
    )
    assert key.verifies(signature, b"")
    assert not key.verifies(signature, b"x")


def test_every_flipped_bit_is_refused():
    content = sign(DOCUMENT, KEY)
    for position in range(len(content)):
        for bit in range(8):
            flipped = bytearray(content)
            flipped[position] ^= 1 << bit
            refusal(bytes(flipped))


@given(st.binary(max_size=600))
def test_nothing_random_is_accepted(content):
    refusal(content)


@given(
    st.dictionaries(
        st.text(max_size=8).filter(lambda name: name not in ("schema", "revision", "signature")),
        st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e9, 1e9) | st.text(max_size=8) | st.none(),
        max_size=5,
    ),
    st.integers(1, HIGHEST_REVISION),
    st.data(),
)
def test_any_document_is_read_back_and_refused_when_a_bit_of_it_flips(body, revision, data):
    document = {"schema": SCHEMA, "revision": revision, **body}
    content = sign(document, KEY)
    assert verify(content, TRUST, SCHEMA, MAXIMUM_BYTES) == document
    position = data.draw(st.integers(0, len(content) * 8 - 1))
    flipped = bytearray(content)
    flipped[position // 8] ^= 1 << position % 8
    refusal(bytes(flipped))


def test_ten_megabytes_are_refused_unread():
    assert refusal(b" " * 10_000_000) == Refusal.TOO_LARGE
    assert refusal(sign({**DOCUMENT, "text": "x" * MAXIMUM_BYTES}, KEY)) == Refusal.TOO_LARGE


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}}",
        b"[]",
        b"\xff\xfe{}",
        b"[" * 3_000,
        sign(DOCUMENT, KEY)[:-1],
        sign(DOCUMENT, KEY).replace(b"0.25", b"NaN"),
        sign(DOCUMENT, KEY).replace(b"0.25", b"-Infinity"),
        sign(DOCUMENT, KEY).replace(b"0.25", b"1e999"),
        sign(DOCUMENT, KEY).replace(b'"share":0.25', b'"share":0.25,"share":0.5'),
    ],
    ids=["empty", "more", "list", "utf-16", "deep", "cut", "nan", "infinity", "too large", "key twice"],
)
def test_what_is_no_strict_json_is_refused(content):
    assert refusal(content) == Refusal.MALFORMED


@pytest.mark.parametrize(
    "content",
    [
        sign(DOCUMENT, KEY) + b"\n",
        json.dumps(json.loads(sign(DOCUMENT, KEY)), indent=2).encode(),
        sign(DOCUMENT, KEY).replace(b"0.25", b"0.250"),
        sign(DOCUMENT, KEY).replace("ü".encode(), b"\\u00fc"),
    ],
    ids=["line break", "indented", "another spelling of a number", "escaped"],
)
def test_the_same_document_in_other_bytes_is_refused(content):
    assert refusal(content) == Refusal.MALFORMED


def test_a_document_without_a_signature_is_refused_and_says_what_to_do():
    content = json.dumps(DOCUMENT, indent=2).encode() + b"\n"
    assert refusal(content) == Refusal.UNSIGNED
    with pytest.raises(DocumentRefusedError, match="not signed; publish it again"):
        verify(content, TRUST, SCHEMA, MAXIMUM_BYTES)


def spare_bit_set():
    value = json.loads(sign(DOCUMENT, KEY))["signature"]["value"]
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = value[:85] + digits[digits.index(value[85]) ^ 1] + value[86:]
    assert base64.b64decode(other) == base64.b64decode(value)
    return other


@pytest.mark.parametrize(
    "content",
    [
        canonical_json({**DOCUMENT, "signature": None}),
        canonical_json({**DOCUMENT, "signature": "signed"}),
        canonical_json({**DOCUMENT, "signature": {"algorithm": "ed25519"}}),
        with_signature(more=1),
        with_signature(algorithm="none"),
        with_signature(algorithm=["ed25519"]),
        with_signature(key_id=["a"]),
        with_signature(value=1),
        with_signature(value=""),
        with_signature(value="@@@@"),
        with_signature(value="ü"),
        with_signature(value=base64.b64encode(bytes(64)).decode()),
        with_signature(value=base64.b64encode(bytes(63)).decode()),
        with_signature(value=spare_bit_set()),
        canonical_json({**json.loads(sign(DOCUMENT, KEY)), "text": "changed"}),
        canonical_json({**json.loads(sign(DOCUMENT, KEY)), "added": 1}),
    ],
)
def test_a_wrong_signature_is_refused(content):
    assert refusal(content) == Refusal.WRONG_SIGNATURE


def test_keys_that_are_unknown_or_revoked_do_not_count():
    content = sign(DOCUMENT, SigningKey.generate())
    assert refusal(content) == Refusal.UNKNOWN_KEY
    assert refusal(content, TrustedKeys()) == Refusal.UNKNOWN_KEY
    revoked = TrustedKeys(TRUST.keys, frozenset({KEY.key_id}))
    assert refusal(sign(DOCUMENT, KEY), revoked) == Refusal.REVOKED_KEY


def test_a_key_that_claims_the_id_of_another_is_refused():
    stranger = SigningKey.generate()
    forged = json.loads(sign(DOCUMENT, stranger))
    forged["signature"]["key_id"] = KEY.key_id
    assert refusal(canonical_json(forged)) == Refusal.WRONG_SIGNATURE
    with pytest.raises(InvalidInputError, match="stands under the id"):
        TrustedKeys({KEY.key_id: stranger.public})


@pytest.mark.parametrize("schema", ["streamrec.example.v2", "streamrec.traffic.v1", "", "x" * 500, "a\nb"])
def test_another_schema_is_refused_although_it_is_signed(schema):
    assert refusal(sign({**DOCUMENT, "schema": schema}, KEY)) == Refusal.UNKNOWN_SCHEMA


@pytest.mark.parametrize("revision", [None, 0, -1, True, 1.5, "7"])
def test_what_is_no_revision_is_neither_signed_nor_accepted(revision):
    with pytest.raises(InvalidInputError, match="revision"):
        sign({**DOCUMENT, "revision": revision}, KEY)
    document = {**DOCUMENT, "revision": revision}
    value = base64.b64encode(KEY.sign(canonical_json(document))).decode()
    signature = {"algorithm": "ed25519", "key_id": KEY.key_id, "value": value}
    assert refusal(canonical_json({**document, "signature": signature})) == Refusal.INVALID_CONTENT


@pytest.mark.parametrize(
    "wrong",
    [{"signature": {}}, {"schema": None}, {"share": float("nan")}, {"share": 2**53}, {"revision": 2**53}],
    ids=str,
)
def test_what_could_not_be_read_back_is_not_signed(wrong):
    with pytest.raises(InvalidInputError):
        sign({**DOCUMENT, **wrong}, KEY)


def test_a_private_key_shows_and_leaves_nothing():
    secret = KEY.to_pem().splitlines()[1].decode()
    assert secret not in repr(KEY)
    assert secret not in str(vars(KEY))
    with pytest.raises(TypeError, match="stays in its process"):
        pickle.dumps(KEY)
    assert SigningKey.from_pem(KEY.to_pem()).key_id == KEY.key_id


@pytest.mark.parametrize(
    "content",
    [b"", b"garbage", KEY.public.to_pem(), KEY.to_pem()[:-30]],
    ids=["nothing", "garbage", "a public key", "a cut key"],
)
def test_what_is_no_private_key_is_refused_without_being_quoted(content):
    with pytest.raises(InvalidInputError, match="signing_key") as caught:
        SigningKey.from_pem(content)
    assert caught.value.__cause__ is None


AGREEMENT_KEY = b"""-----BEGIN PUBLIC KEY-----
MCowBQYDK2VuAyEAhSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=
-----END PUBLIC KEY-----
"""
"""An X25519 key: for agreeing on secrets, not for signing."""


@pytest.mark.parametrize("content", [b"", KEY.to_pem(), AGREEMENT_KEY, b"x" * 9_000])
def test_what_is_no_public_ed25519_key_is_refused(content):
    with pytest.raises(InvalidInputError, match="public_key"):
        PublicKey.from_pem(content)
