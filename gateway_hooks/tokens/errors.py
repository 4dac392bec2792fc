"""The base of what can go wrong with counting. Nobody but this package sees one: the byte bound stands in."""


class TokensError(Exception):
    """``code`` is stable; the text quotes no prompt."""

    code = "tokens"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class TokenizerError(TokensError):
    """A folder holds no tokenizer, or one that cannot be read."""

    code = "tokenizer_unusable"


class TemplateRefusedError(TokensError):
    """The template does not take this conversation; vLLM answers the same with a 400."""

    code = "template_refused"
