"""What all signers with a credential share: the broker in the middle."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from geostack_dagster.auth.broker import BROKER, Broker
from geostack_dagster.auth.resolution import Settings
from geostack_dagster.auth.signer import Credential, SignedRequest
from geostack_dagster.domain.hrefs import Href


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokeredSigner(ABC):
    """Signs with a credential that the broker holds and renews.

    A scheme says what one credential opens, how to get one, and how to use it.
    """

    settings: Settings = field(default_factory=Settings)
    broker: Broker = BROKER

    @abstractmethod
    def scope(self, href: Href) -> str:
        """What one credential opens."""

    @abstractmethod
    def _fetch(self, href: Href) -> Credential: ...

    @abstractmethod
    def _signed(self, href: Href, credential: Credential) -> SignedRequest: ...

    def sign(self, href: Href) -> SignedRequest:
        """A request that is valid now.

        Raises:
            MissingCredentialError: If nothing was found to sign with.
            RejectedCredentialError: If what was found was refused.
            ServiceError: If the token service is busy or down.
        """
        return self._signed(href, self.credential(href))

    def credential(self, href: Href) -> Credential:
        """The credential that opens `href`, from the broker."""
        return self.broker.credential(self._slot(href), lambda: self._fetch(href))

    def forget(self, href: Href, refused: SignedRequest) -> bool:
        """Replace the credential behind a refused request; True if there is another to try."""
        return self.broker.renew(self._slot(href), refused.credential, lambda: self._fetch(href))

    def _slot(self, href: Href) -> str:
        # Two resources with accounts of their own must not share what the broker holds.
        return f"{type(self).__name__}:{self.scope(href)}{self.settings.mark}"
