// Asks the server with the key, which is kept in this tab alone.

const KEY = "statusmirror-key";

export function key() {
  return sessionStorage.getItem(KEY);
}

export function keep(text) {
  sessionStorage.setItem(KEY, text);
}

export function forget() {
  sessionStorage.removeItem(KEY);
}

// Why there is no answer, in words.
export class Refused extends Error {
  constructor(status, words) {
    super(words);
    this.status = status;
  }
}

// The answer to a GET; fails with `Refused` if it is none.
export async function ask(address, { signal, headers = {} } = {}) {
  let answer;
  try {
    answer = await fetch(address, {
      signal,
      headers: { ...headers, "X-Api-Key": key() ?? "" },
      cache: "no-store",
      credentials: "omit",
      referrerPolicy: "no-referrer",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The server cannot be reached. It may be starting again, or the network is down.");
  }
  if (answer.ok) return answer;
  throw new Refused(answer.status, await words(answer));
}

async function words(answer) {
  try {
    const { detail } = await answer.json();
    if (detail) return detail;
  } catch {
    // A proxy in between may answer with something else.
  }
  return `The server answered ${answer.status} and did not say why.`;
}
