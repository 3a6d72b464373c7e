"""`medbus subscriber webhook`: the secret by which a subscriber's webhook is signed."""

from medbus.compose import settings as compose
from medbus.compose import webhook_key
from medbus.compose.cli import console
from medbus.compose.cli.options import HomeOption, KafkaOption, installation
from medbus.compose.cli.subscriber import SubscriberArgument, contract_of
from medbus.compose.settings import Settings
from medbus.projections.database import Database
from medbus.projections.directory import Contract
from medbus.schemas.webhook import secret


def webhook(subscriber: SubscriberArgument, home: HomeOption = None, kafka: KafkaOption = None) -> None:
    """Print the secret by which the webhook of a subscriber is signed.

    It stands alone on standard output: hand it over by a way that nobody else reads. It derives from the
    service's key (setting webhook_key; webhook.key in the home), so ask where that key is; it stays the same
    as long as the key does.

    Example:
        medbus subscriber webhook A-hospital > secret
    """
    settings = installation(home, kafka)
    contract = console.run(_contract(settings, subscriber))
    # Where the cluster is elsewhere the service may be too: a key made here would not be its key.
    embedded = compose.load(home=home, kafka=kafka).kafka is None
    key = webhook_key.read_or_make(settings) if embedded else webhook_key.read(settings)
    if contract.terms.webhook is None:
        console.err.print(
            f"{subscriber} has no webhook yet: enter one with `medbus subscriber change {subscriber} "
            "--webhook URL`."
        )
    console.out.print(secret(key, subscriber), soft_wrap=True)


async def _contract(settings: Settings, subscriber: str) -> Contract:
    async with Database(settings.database_url) as database:
        return await contract_of(database, subscriber)
