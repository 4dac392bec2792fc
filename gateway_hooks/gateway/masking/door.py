"""Where a request's texts are masked: once, after all checks, before anything is counted or sent."""

import asyncio
from typing import Any

from gateway_hooks.contract.pii import PiiPolicy
from gateway_hooks.gateway.body.endpoints import EndpointName
from gateway_hooks.gateway.masking.deeper import Deeper, Marked, marked
from gateway_hooks.gateway.masking.mask import Mask
from gateway_hooks.gateway.masking.policies import KEPT, Policies, tenant_key
from gateway_hooks.gateway.masking.request import asks_json, collected, filled, refused
from gateway_hooks.gateway.masking.seams import over_seams
from gateway_hooks.pii.masker import Masker
from gateway_hooks.pii.policy import CompiledPolicy

AT_ONCE = 4_000
"""Characters; longer texts let the event loop run in between."""


class Masking:
    """One per process. ``secret`` is the gateways' own: placeholders are made with a key of it per tenant."""

    def __init__(self, secret: bytes, *, deeper: Deeper | None = None, kept: int = KEPT) -> None:
        self._secret = secret
        self._policies = Policies(kept=kept)
        self._deeper = deeper

    async def mask(
        self, endpoint: EndpointName, fields: dict[str, Any], *, tenant_id: str, policy: PiiPolicy | None
    ) -> tuple[dict[str, Any], Mask | None]:
        """The body to go on with, and what its answer needs. None: there is nothing to mask by this policy.

        Raises ``GatewayError`` (``pii_blocked``, ``pii_unmaskable``, ``pii_failed``): nothing may be sent.
        """
        if policy is None:
            return fields, None
        try:
            compiled = self._policies.compiled(tenant_id, policy)
            if not compiled.actions:
                return fields, None
            return await self._masked(endpoint, fields, compiled, tenant_key(self._secret, tenant_id))
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the body must not leave
            raise refused(error) from None

    async def _masked(
        self, endpoint: EndpointName, fields: dict[str, Any], compiled: CompiledPolicy, key: bytes
    ) -> tuple[dict[str, Any], Mask]:
        masker = Masker(compiled, key)
        texts, groups = collected(endpoint, fields)
        marks = (
            await marked(self._deeper, texts, compiled.ner)
            if compiled.ner
            else Marked(texts, [[] for _ in texts])
        )
        for placed in over_seams(texts, groups, compiled):
            if placed is None:
                await asyncio.sleep(0)
            else:
                marks.found[placed[0]].append(placed[1])
        if sum(map(len, marks.texts)) <= AT_ONCE:
            masked = masker.mask_texts(marks.texts, marks.found)
        else:
            masked = await masker.mask_texts_async(marks.texts, marks.found)
        mask = Mask(
            masker.mapping,
            masker.counts,
            (compiled, key) if compiled.completions else None,
            json_content=asks_json(endpoint, fields),
        )
        return filled(endpoint, fields, texts, masked[: len(texts)]), mask
