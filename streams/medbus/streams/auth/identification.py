"""Who makes a request, judged by the evidence."""

from collections.abc import Iterable
from datetime import datetime
from ipaddress import IPv6Address, ip_address, ip_network

from medbus.projections.directory.contract import Contract, Credential
from medbus.schemas.events import Apparatus, CredentialKind, Evidence, RejectionReason, Terms, Value
from medbus.streams.auth.facts import Facts


class Refusal(Value):
    """Why not, for a program and for a person."""

    reason: RejectionReason
    detail: str
    subscriber: str | None = None


class Identity(Value):
    """Who it is: a live contract, and the apparatus where the AE title names one of it."""

    contract: Contract
    apparatus: Apparatus | None


def pointed_at(evidence: Evidence, facts: Facts) -> Contract | None:
    """The contract that the strongest evidence points to: token, else certificate, else calling AE title."""
    if evidence.token is not None:
        return facts.token
    if evidence.certificate is not None:
        return facts.certificate
    return owner(evidence, facts)


def owner(evidence: Evidence, facts: Facts) -> Contract | None:
    """The contract that has the calling AE title."""
    contract = facts.ae_title
    if contract is None or apparatus_called(contract.terms, evidence.calling_ae_title) is None:
        return None
    return contract


def identify(evidence: Evidence, facts: Facts, at: datetime) -> Identity | Refusal:
    """Who makes a request. The checks, in this order; the first that fails decides:

    1. UNKNOWN_SUBSCRIBER or WRONG_CREDENTIAL: the strongest evidence points to no contract.
    2. CONTRACT_CANCELLED: the contract is no longer live.
    3. WRONG_CREDENTIAL: the token or certificate was revoked, or has expired at the time of the request.
    4. WRONG_CREDENTIAL: the calling AE title is that of another live contract, or the contract has client
       certificates and none of them was shown. One that has expired still makes them obligatory: only
       revoking it ends that, so that protection never lapses by itself.
    5. WRONG_NETWORK: it is by AE title alone, and the address is in none of the contract's networks.
    """
    contract = pointed_at(evidence, facts)
    if contract is None:
        return _unknown(evidence)
    if not contract.live:
        return Refusal(
            reason=RejectionReason.CONTRACT_CANCELLED,
            detail=f"The contract of {contract.subscriber} was cancelled. Make a new one with the service.",
            subscriber=contract.subscriber,
        )
    return (
        _bad_credential(evidence, contract, at)
        or _bad_ae_title(evidence, contract, facts, at)
        or _bad_network(evidence, contract)
        or Identity(contract=contract, apparatus=apparatus_called(contract.terms, evidence.calling_ae_title))
    )


def apparatus_called(terms: Terms, ae_title: str | None) -> Apparatus | None:
    """The apparatus with this AE title; blanks at its ends don't count (PS3.5 section 6.2, AE)."""
    wanted = (ae_title or "").strip(" ")
    return next((each for each in terms.apparatuses if each.ae_title == wanted and wanted), None)


def within(networks: Iterable[str], address: str) -> bool:
    """Whether an address lies in one of some networks; no network holds what is no address."""
    try:
        host = ip_address(address)
    except ValueError:
        return False
    if isinstance(host, IPv6Address) and host.ipv4_mapped is not None:
        host = host.ipv4_mapped
    for each in networks:
        try:
            network = ip_network(each, strict=False)
        except ValueError:
            continue
        if host.version == network.version and host in network:
            return True
    return False


def shown(text: str | None) -> str:
    """A text of the requester's as it may stand in a sentence."""
    return repr(text[:64]) if text else "none"


def _unknown(evidence: Evidence) -> Refusal:
    if evidence.token is not None:
        return Refusal(
            reason=RejectionReason.WRONG_CREDENTIAL,
            detail="This token is not known here. Ask the service's manager for one.",
        )
    if evidence.certificate is not None:
        return Refusal(
            reason=RejectionReason.WRONG_CREDENTIAL,
            detail=f"The client certificate {evidence.certificate[:16]}... is not known here. "
            "Let the service's manager enter it in your contract.",
        )
    return Refusal(
        reason=RejectionReason.UNKNOWN_SUBSCRIBER,
        detail=f"No subscriber has an apparatus with the AE title {shown(evidence.calling_ae_title)}. "
        "Check the calling AE title, or let the service's manager add the apparatus to your contract.",
    )


def _bad_credential(evidence: Evidence, contract: Contract, at: datetime) -> Refusal | None:
    if evidence.token is not None:
        kind, digest, noun = CredentialKind.BEARER_TOKEN, evidence.token, "token"
    elif evidence.certificate is not None:
        kind, digest, noun = CredentialKind.CLIENT_CERTIFICATE, evidence.certificate, "client certificate"
    else:
        return None
    issued = [each for each in contract.credentials if each.kind is kind and each.digest == digest]
    if any(_good(each, at) for each in issued):
        return None
    if all(each.revoked for each in issued):
        what = "was revoked" if issued else "is not one of this contract"
    else:
        what = "has expired"
    return Refusal(
        reason=RejectionReason.WRONG_CREDENTIAL,
        detail=f"The {noun} of {contract.subscriber} {what}. Ask the service's manager for a new one.",
        subscriber=contract.subscriber,
    )


def _bad_ae_title(evidence: Evidence, contract: Contract, facts: Facts, at: datetime) -> Refusal | None:
    titled = owner(evidence, facts)
    if titled is None or not titled.live:
        return None
    if titled.subscriber != contract.subscriber:
        return Refusal(
            reason=RejectionReason.WRONG_CREDENTIAL,
            detail=f"The AE title {shown(evidence.calling_ae_title)} is not one of {contract.subscriber}. "
            "Call with an AE title of your own contract.",
            subscriber=contract.subscriber,
        )
    demanded = [
        each
        for each in contract.credentials
        if each.kind is CredentialKind.CLIENT_CERTIFICATE and not each.revoked
    ]
    if not demanded or any(each.digest == evidence.certificate and _good(each, at) for each in demanded):
        return None
    return Refusal(
        reason=RejectionReason.WRONG_CREDENTIAL,
        detail=f"{contract.subscriber} has client certificates, and none that is good was shown. "
        "Connect by TLS with one of them, or let the service's manager revoke them.",
        subscriber=contract.subscriber,
    )


def _bad_network(evidence: Evidence, contract: Contract) -> Refusal | None:
    if evidence.token is not None or evidence.certificate is not None:
        return None
    if within(contract.terms.networks, evidence.address):
        return None
    networks = ", ".join(contract.terms.networks[:8]) or "none"
    return Refusal(
        reason=RejectionReason.WRONG_NETWORK,
        detail=f"{contract.subscriber} may not speak from {shown(evidence.address)} by AE title alone; its "
        f"networks: {networks}. Let the service's manager add the network, or show a credential.",
        subscriber=contract.subscriber,
    )


def _good(credential: Credential, at: datetime) -> bool:
    return not credential.revoked and (credential.expires_at is None or at < credential.expires_at)
