"""Signs a callback URL: python3 sign_callback_url.py ADDRESS SOURCE [NAME=VALUE]...

The secret is in GATEWAY_SECRET.
"""

import hashlib
import hmac
import os
import sys
from urllib.parse import urlencode


def sign_callback_url(address, source, secret, parameters):
    """Returns the URL. Parameters (texts): destination, expires (Unix seconds), action, key, messageid, service."""
    lines = [source, parameters.get("destination", ""), parameters.get("expires", "")]
    for name in ("action", "key", "messageid", "service"):
        if name in parameters:
            lines.append(f"{name}={parameters[name]}")
    text = "\n".join(lines)
    signature = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    return f"{address}?{urlencode({**parameters, 'signature': signature})}"


if __name__ == "__main__":
    address, source, *pairs = sys.argv[1:]
    parameters = dict(pair.split("=", 1) for pair in pairs)
    print(sign_callback_url(address, source, os.environ["GATEWAY_SECRET"], parameters))
