// Signs a callback URL: node sign_callback_url.mjs ADDRESS SOURCE [NAME=VALUE]...
// The secret is in GATEWAY_SECRET.
import { createHmac } from "node:crypto";
import { argv, env } from "node:process";
import { pathToFileURL } from "node:url";

// Returns the URL. Parameters (texts): destination, expires (Unix seconds), action, key, messageid, service.
export function signCallbackUrl(address, source, secret, parameters) {
  const lines = [source, parameters.destination ?? "", parameters.expires ?? ""];
  for (const name of ["action", "key", "messageid", "service"]) {
    if (name in parameters) lines.push(`${name}=${parameters[name]}`);
  }
  const signature = createHmac("sha256", secret).update(lines.join("\n")).digest("hex");
  return `${address}?${new URLSearchParams({ ...parameters, signature })}`;
}

if (import.meta.url === pathToFileURL(argv[1]).href) {
  const [address, source, ...pairs] = argv.slice(2);
  const parameters = {};
  for (const pair of pairs) {
    const end = pair.indexOf("=");
    parameters[pair.slice(0, end)] = pair.slice(end + 1);
  }
  console.log(signCallbackUrl(address, source, env.GATEWAY_SECRET, parameters));
}
