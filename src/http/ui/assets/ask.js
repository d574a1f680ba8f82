// Requests to the server with the API key. The key is stored in this tab only.

const STORAGE_KEY = "statusmirror-key";

export function key() {
  return sessionStorage.getItem(STORAGE_KEY);
}

export function storeKey(text) {
  sessionStorage.setItem(STORAGE_KEY, text);
}

export function clearKey() {
  sessionStorage.removeItem(STORAGE_KEY);
}

// Error of a failed request: the HTTP status (0 without a response), and the reason in words.
export class RequestError extends Error {
  constructor(status, reason) {
    super(reason);
    this.status = status;
  }
}

// Response to a GET. Throws `RequestError` if the request fails, and `AbortError` if it is aborted.
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
    const reason = "The server cannot be reached. It may be starting again, or the network is down.";
    throw new RequestError(0, reason);
  }
  if (answer.ok) return answer;
  throw new RequestError(answer.status, await failureReason(answer));
}

async function failureReason(answer) {
  try {
    const { detail } = await answer.json();
    if (detail) return detail;
  } catch {
    // The response of a proxy may have another body.
  }
  return `The server answered ${answer.status} and did not say why.`;
}
