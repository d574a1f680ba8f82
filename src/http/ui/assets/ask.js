// Requests to the server with the API key. The key is stored in this tab only.

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

// Error of a failed request: the HTTP status (0 without a response), and the reason in words.
export class Refused extends Error {
  constructor(status, words) {
    super(words);
    this.status = status;
  }
}

// Response to a GET. Throws `Refused` if the request fails, and `AbortError` if it is aborted.
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
    // The response of a proxy may have another body.
  }
  return `The server answered ${answer.status} and did not say why.`;
}
