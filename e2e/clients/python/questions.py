"""What every client is asked about the example document, in one place: the answers then differ only in form."""

import json
import os

URL = os.environ["FLIPT_URL"]
TOKEN = os.environ.get("FLIPT_TOKEN")
# Whether flags can be read here, or only evaluated.
LISTS = "FLIPT_LISTS" in os.environ

NORDIC = {"country": "NO", "plan": "pro", "days": "31"}
VARIANT = ("button-colour", "user-1", NORDIC)
FALLBACK = ("button-colour", "user-1", {})
BOOLEAN = ("new-checkout", "ann@example.com", {})
UNKNOWN = ("no-such-flag", "user-1", {})


def attempt(call):
    """What a call gives, or how it fails."""
    try:
        return call()
    except Exception as error:  # Any failure is an answer here.
        return {"error": f"{type(error).__name__}: {error}"}


def tell(answers):
    print(json.dumps(answers))
