"""Queries statusmirror and waits: python3 read_and_wait.py BASE NUMBER MESSAGEID SECONDS

The API key is in STATUSMIRROR_KEY.
"""

import json
import math
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

FINAL = {"REJECTED", "UNDELIVERED", "DELIVERED", "READ"}


class Mirror:
    def __init__(self, base, key):
        self.base, self.key = base, key

    def get(self, path, seconds=0):
        """Returns the response, or None for 404. Raises any other error."""
        request = urllib.request.Request(self.base + path, headers={"X-Api-Key": self.key})
        try:
            with urllib.request.urlopen(request, timeout=seconds + 10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def messages_to(self, number):
        number = urllib.parse.quote(number, safe="")
        messages = self.get(f"/api/messagestatus/phonenumber/{number}")["messages"]
        return [entry["message"] for entry in messages]

    def message(self, messageid):
        found = self.get(f"/api/messagestatus/{messageid}")
        return found["message"] if found else None

    def wait_until_final(self, messageid, seconds):
        """Returns the message when its status is final, or its current state after the given time."""
        end = time.monotonic() + seconds
        while True:
            wait = max(1, min(60, math.ceil(end - time.monotonic())))
            found = self.get(f"/api/messagestatus/{messageid}?wait={wait}&until=final", wait)
            message = found["message"] if found else None
            if message and message["status"] in FINAL or time.monotonic() >= end:
                return message


if __name__ == "__main__":
    base, number, messageid, seconds = sys.argv[1:]
    mirror = Mirror(base, os.environ["STATUSMIRROR_KEY"])
    for message in mirror.messages_to(number):
        print(message["id"], message["status"])
    now = mirror.message(messageid)
    print("now", now["status"] if now else "unknown", flush=True)
    then = mirror.wait_until_final(messageid, int(seconds))
    print("then", then["status"] if then else "unknown")
