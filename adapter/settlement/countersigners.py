"""Who may countersign the statements of a ledger: the platforms of its users.

Source: settlement specification, section 5; decision 0012.
"""

from adapter.settlement import accounts
from adapter.settlement.rows import User
from adapter.settlement.state import LedgerStore

_USERS_OWN = f"|{accounts.GRID}|{accounts.MAIN}"
"""Every user that is or was ACTIVE has one account that ends so."""


def represents_somebody(ledger: LedgerStore, subscriber: str) -> bool:
    """Return whether a subscriber acts for a user of the ledger, or is one.

    Looks through all users, so it is for what a party does once, not for each call.
    """
    owned = (account.id for account in ledger.accounts() if account.id.endswith(_USERS_OWN))
    users = (ledger.get(User, name.removesuffix(_USERS_OWN)) for name in owned)
    return any(user and subscriber in (user.user, user.representative) for user in users)
