"""How OAuth 2.0 refuses [RFC 6749 sections 4.1.2.1 and 5.2]."""


class OAuthError(Exception):
    """`code` is one of the registered error codes, `description` is for whoever writes the client."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(f"{code}: {description}")
        self.code = code
        self.description = description
