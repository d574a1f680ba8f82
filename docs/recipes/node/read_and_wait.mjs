// Queries statusmirror and waits: node read_and_wait.mjs BASE NUMBER MESSAGEID SECONDS
// The API key is in STATUSMIRROR_KEY.
import { argv, env } from "node:process";
import { pathToFileURL } from "node:url";

const FINAL = ["REJECTED", "UNDELIVERED", "DELIVERED", "READ"];

export class Mirror {
  constructor(base, key) {
    this.base = base;
    this.key = key;
  }

  // Returns the response, or undefined for 404. Throws any other error.
  async get(path, seconds = 0) {
    const answer = await fetch(this.base + path, {
      headers: { "X-Api-Key": this.key },
      signal: AbortSignal.timeout((seconds + 10) * 1000),
    });
    if (answer.status === 404) return undefined;
    if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
    return answer.json();
  }

  async messagesTo(number) {
    const path = `/api/messagestatus/phonenumber/${encodeURIComponent(number)}`;
    return (await this.get(path)).messages.map((entry) => entry.message);
  }

  async message(messageid) {
    return (await this.get(`/api/messagestatus/${messageid}`))?.message;
  }

  // Returns the message when its status is final, or its current state after the given time.
  async waitUntilFinal(messageid, seconds) {
    const end = performance.now() + seconds * 1000;
    while (true) {
      const left = Math.ceil((end - performance.now()) / 1000);
      const wait = Math.max(1, Math.min(60, left));
      const path = `/api/messagestatus/${messageid}?wait=${wait}&until=final`;
      const message = (await this.get(path, wait))?.message;
      if (FINAL.includes(message?.status) || performance.now() >= end) return message;
    }
  }
}

if (import.meta.url === pathToFileURL(argv[1]).href) {
  const [base, number, messageid, seconds] = argv.slice(2);
  const mirror = new Mirror(base, env.STATUSMIRROR_KEY);
  for (const message of await mirror.messagesTo(number)) console.log(message.id, message.status);
  console.log("now", (await mirror.message(messageid))?.status ?? "unknown");
  console.log("then", (await mirror.waitUntilFinal(messageid, Number(seconds)))?.status ?? "unknown");
}
