// One message of every kind, each to its own destination.

import { ago, key, message, post, url } from "./browser.mjs";

const repeat = (text, times) => Array(times).fill(text).join("");

export const kinds = {
  rejected: ["11111111-0000-4000-8000-000000000001", "+393330000001"],
  undelivered: ["22222222-0000-4000-8000-000000000002", "+393330000002"],
  late: ["33333333-0000-4000-8000-000000000003", "+393330000003"],
  contradicted: ["44444444-0000-4000-8000-000000000004", "+393330000004"],
  denied: ["55555555-0000-4000-8000-000000000005", "+393330000005"],
  sent: ["66666666-0000-4000-8000-000000000006", "+393330000006"],
  forgotten: ["77777777-0000-4000-8000-000000000007", "+393330000007"],
  read: ["88888888-0000-4000-8000-000000000008", "+393330000008"],
  impossible: ["99999999-0000-4000-8000-000000000009", "+393330000009"],
  registered: ["aaaaaaaa-0000-4000-8000-00000000000a", "+393330000010"],
  long: ["bbbbbbbb-0000-4000-8000-00000000000b", "+393330000011"],
  withoutDestination: ["cccccccc-0000-4000-8000-00000000000c", undefined],
};

const failure = (status, code, text) => ({ name: "MITTO", id: "m", status, code, message: text });

/** Posts or registers the messages of all kinds. */
export async function postMessages() {
  const postStatus = (kind, accepted, changed, status, fields) =>
    post(message(...kinds[kind], accepted, { status, statusChangedAt: ago(changed), ...fields }));
  await postStatus("rejected", 600, 595, "REJECTED", {
    provider: failure("rejected", "21610", "The recipient has opted out"),
  });
  await postStatus("undelivered", 900, 898, "SENT");
  await postStatus("undelivered", 900, 850, "UNDELIVERED", {
    provider: failure("undelivered", "30003", "The handset is unreachable"),
  });
  await postStatus("late", 7300, 7200, "DELIVERED");
  await postStatus("late", 7300, 7290, "SENT");
  await postStatus("contradicted", 3600, 3500, "UNDELIVERED", {
    provider: failure("expired", "30008", "Unknown error"),
  });
  await postStatus("contradicted", 3600, 3000, "DELIVERED");
  await postStatus("denied", 1800, 1790, "DELIVERED");
  await postStatus("denied", 1800, 1700, "UNDELIVERED", {
    provider: failure("undelivered", "30005", "Unknown destination handset"),
  });
  await postStatus("sent", 3, 1, "SENT");
  await postStatus("forgotten", 5 * 86400, 5 * 86400 - 5, "SENT");
  for (const [changed, status] of [[1190, "SENT"], [1180, "DELIVERED"], [1100, "READ"]]) {
    await postStatus("read", 1200, changed, status, { channel: "RCS" });
  }
  await postStatus("impossible", 100, 50, "READ");
  await postStatus("withoutDestination", 400, 390, "DELIVERED");
  await postStatus("long", 300, 290, "UNDELIVERED", {
    reference: { service: "SHOP", action: "AUTH", key: repeat("an-endless-key/", 34) },
    provider: failure(
      repeat("status", 40),
      repeat("code", 12),
      `<img src=x onerror=alert(1)>${repeat("Donaudampfschifffahrtselektrizitätenhauptbetriebswerk", 60)}`,
    ),
  });
  const [id, destination] = kinds.registered;
  const response = await fetch(`${url}/api/messages/${id}`, {
    method: "PUT",
    headers: { "X-Api-Key": key },
    body: JSON.stringify({ destination, providerAcceptanceAt: ago(30) }),
  });
  if (response.status !== 201) throw new Error(await response.text());
  // Authentic webhook with an unknown status, for the quarantine.
  await post(message("dddddddd-0000-4000-8000-00000000000d", "+393330000012", 60, {
    status: "LOST_AT_SEA",
    statusChangedAt: ago(50),
  }));
}
