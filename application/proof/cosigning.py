"""Whether witnesses have cosigned what they say."""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from domain.proof.witnesses import Cosignature, WitnessKey, cosignatures


def find_cosignature(answer: bytes, key: WitnessKey, checkpoint: str) -> Cosignature | None:
    """Return the cosignature in an answer by which the owner of the key has cosigned the checkpoint; None without one."""
    public_key = Ed25519PublicKey.from_public_bytes(key.public)
    return next((one for one in cosignatures(answer, key) if _is_valid(public_key, one, checkpoint)), None)


def _is_valid(public_key: Ed25519PublicKey, cosignature: Cosignature, checkpoint: str) -> bool:
    try:
        public_key.verify(cosignature.signature, cosignature.message(checkpoint))
    except InvalidSignature:
        return False
    return True
