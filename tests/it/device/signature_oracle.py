"""Signs and verifies requests with http-message-signatures: the oracle of signature_oracle.rs.

Reads one JSON object a line and answers with one a line, in the same order.
"""

import base64
import datetime
import json
import sys

import http_message_signatures as hms
from http_message_signatures.algorithms import ECDSA_P256_SHA256, ED25519

ALGORITHMS = {"ed25519": ED25519, "ecdsa-p256-sha256": ECDSA_P256_SHA256}


class Message:
    def __init__(self, asked):
        self.method = asked["method"]
        self.url = asked["url"]
        self.headers = dict(asked["headers"])


def sign(asked, message, body, keys):
    signer = hms.HTTPMessageSigner(
        signature_algorithm=ALGORITHMS[asked["algorithm"]], key_resolver=keys
    )
    signer.sign(
        message,
        key_id=asked["keyid"],
        created=datetime.datetime.fromtimestamp(asked["created"], datetime.timezone.utc),
        nonce=asked["nonce"],
        label=asked["label"],
        tag=asked["tag"],
        include_alg=asked["alg"],
        covered_component_ids=asked["components"],
        body=body or None,
    )
    return {"headers": list(message.headers.items())}


def verify(asked, message, body, keys):
    verifier = hms.HTTPMessageVerifier(
        signature_algorithm=ALGORITHMS[asked["algorithm"]], key_resolver=keys
    )
    try:
        (result,) = verifier.verify(message, max_age=None, expect_tag="oncegate", body=body or None)
    except hms.InvalidSignature as error:
        return {"verified": False, "why": str(error)}
    return {"verified": True, "components": list(result.covered_components)}


for line in sys.stdin:
    asked = json.loads(line)
    pem = asked["pem"].encode()
    keys = hms.MappingKeyResolver(
        public_keys={asked["keyid"]: pem}, private_keys={asked["keyid"]: pem}
    )
    body = base64.b64decode(asked["body"])
    work = {"sign": sign, "verify": verify}[asked["do"]]
    print(json.dumps(work(asked, Message(asked), body, keys)), flush=True)
