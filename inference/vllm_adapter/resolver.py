"""How vLLM finds an adapter: only what the door has seen signed and the bank has verified."""

from vllm.lora.request import LoRARequest
from vllm.lora.resolver import LoRAResolver, LoRAResolverRegistry

from gateway_hooks.contract.identity import adapter_model_name
from inference.adapter_bank import AdapterBank

NAME = "tenantry"
_PREFIX = adapter_model_name("")


class BankResolver(LoRAResolver):  # type: ignore[misc]  # vLLM publishes no types to us
    def __init__(self, bank: AdapterBank) -> None:
        self._bank = bank

    async def resolve_lora(self, base_model_name: str, lora_name: str) -> LoRARequest | None:
        """The verified copy's request. vLLM sets its number; None answers 404."""
        del base_model_name  # the bank checked the base when it verified the adapter
        if not lora_name.startswith(_PREFIX):
            return None
        folder = self._bank.get(lora_name.removeprefix(_PREFIX))
        if folder is None:
            return None
        return LoRARequest(lora_name=lora_name, lora_int_id=1, lora_path=str(folder))


def register(bank: AdapterBank) -> None:
    LoRAResolverRegistry.register_resolver(NAME, BankResolver(bank))
