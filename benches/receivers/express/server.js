// Receiver with Express and better-sqlite3, after their guides: `express.json` with its `verify` hook for the
// raw body, prepared statements, one transaction per request, and NODE_ENV=production. better-sqlite3 runs on
// the thread that serves, as its authors advise.

process.env.NODE_ENV ??= "production";

import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";

import Database from "better-sqlite3";
import express from "express";

const { DATABASE, LISTEN, SECRET } = process.env;

// Statuses in order of precedence.
const STATUSES = ["PROVIDER_ACCEPTANCE", "SENT", "REJECTED", "UNDELIVERED", "DELIVERED", "READ"];
const CHANNELS = ["SMS", "RCS"];
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/;

const database = new Database(DATABASE);
database.pragma("journal_mode = WAL");
database.pragma("synchronous = FULL");
database.exec(readFileSync(new URL("../schema.sql", import.meta.url), "utf8"));

const addNotification = database.prepare(`
  INSERT INTO notification (message_id, identity, status, status_changed_at, accepted_at, channel,
    destination, reference_service, reference_action, reference_key, provider_name, provider_id,
    provider_status, provider_code, provider_message, segments)
  VALUES (:id, :identity, :status, :statusChangedAt, :acceptedAt, :channel, :destination,
    :referenceService, :referenceAction, :referenceKey, :providerName, :providerId, :providerStatus,
    :providerCode, :providerMessage, :segments)
  ON CONFLICT (message_id, identity) DO NOTHING`);

const putMessage = database.prepare(`
  INSERT INTO message (id, status, status_changed_at, accepted_at, channel, destination,
    reference_service, reference_action, reference_key, provider_name, provider_id, provider_status,
    provider_code, provider_message, segments)
  VALUES (:id, :status, :statusChangedAt, :acceptedAt, :channel, :destination, :referenceService,
    :referenceAction, :referenceKey, :providerName, :providerId, :providerStatus, :providerCode,
    :providerMessage, :segments)
  ON CONFLICT (id) DO UPDATE SET status = excluded.status,
    status_changed_at = excluded.status_changed_at, accepted_at = excluded.accepted_at,
    channel = excluded.channel, destination = excluded.destination,
    reference_service = excluded.reference_service,
    reference_action = excluded.reference_action, reference_key = excluded.reference_key,
    provider_name = excluded.provider_name, provider_id = excluded.provider_id,
    provider_status = excluded.provider_status, provider_code = excluded.provider_code,
    provider_message = excluded.provider_message, segments = excluded.segments
  WHERE excluded.status > message.status`);

const selectStatus = database.prepare("SELECT status FROM message WHERE id = ?").pluck();
const selectMessage = database.prepare("SELECT * FROM message WHERE id = ?");

// Stores the message. Returns the outcome and the current status, after the changes are synced to disk.
const store = database.transaction((values) => {
  if (addNotification.run(values).changes === 0) {
    return { outcome: "duplicate", status: selectStatus.get(values.id) };
  }
  if (putMessage.run(values).changes === 0) {
    return { outcome: "superseded", status: selectStatus.get(values.id) };
  }
  return { outcome: "applied", status: values.status };
});

class Rejection extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// Verifies the signature of the raw body, before it is parsed.
function verify(request, _response, body) {
  const expected = createHmac("sha256", SECRET).update(body).digest();
  const signature = Buffer.from(request.get("X-Signature") ?? "", "hex");
  if (signature.length !== expected.length || !timingSafeEqual(signature, expected)) {
    throw new Rejection(401, "invalid signature");
  }
  request.identity = createHash("sha256").update(body).digest();
}

function isText(value) {
  return value === undefined || value === null || typeof value === "string";
}

function isTime(value) {
  return typeof value === "string" && TIME.test(value) && !Number.isNaN(Date.parse(value));
}

// Values of the webhook as parameters of the statements. Throws a rejection if the webhook is malformed.
function parse({ type, message }, identity) {
  const { reference = {}, provider = {}, sms } = message ?? {};
  const status = STATUSES.indexOf(message?.status);
  const texts = [message?.destination, reference.service, reference.action, reference.key,
    provider.name, provider.id, provider.status, provider.code, provider.message];
  const isValid = type === "STATUS_UPDATE" && typeof message?.id === "string" && UUID.test(message.id)
    && status !== -1 && CHANNELS.includes(message.channel) && isTime(message.statusChangedAt)
    && (message.providerAcceptanceAt == null || isTime(message.providerAcceptanceAt))
    && texts.every(isText) && (sms == null || Number.isInteger(sms.segments));
  if (!isValid) {
    throw new Rejection(400, "malformed webhook");
  }
  return {
    id: message.id.toLowerCase(),
    identity,
    status,
    statusChangedAt: message.statusChangedAt,
    acceptedAt: message.providerAcceptanceAt ?? null,
    channel: message.channel,
    destination: message.destination ?? null,
    referenceService: reference.service ?? null,
    referenceAction: reference.action ?? null,
    referenceKey: reference.key ?? null,
    providerName: provider.name ?? "",
    providerId: provider.id ?? "",
    providerStatus: provider.status ?? "",
    providerCode: provider.code ?? "",
    providerMessage: provider.message ?? null,
    segments: sms?.segments ?? null,
  };
}

// The content type is ignored. A body that is not JSON is rejected after its signature was verified.
const json = express.json({ limit: "256kb", type: () => true, verify });

const app = express();
app.disable("x-powered-by");

app.post("/webhooks/bench", json, (request, response) => {
  if (request.identity === undefined) {
    throw new Rejection(401, "invalid signature"); // a request without a body is not verified
  }
  const values = parse(request.body, request.identity);
  const { outcome, status } = store.immediate(values);
  const result = { messageId: values.id, outcome, status: STATUSES[status] };
  response.json({ results: [result] });
});

app.get("/api/messagestatus/:id", (request, response) => {
  const row = selectMessage.get(request.params.id.toLowerCase());
  if (row === undefined) {
    throw new Rejection(404, "unknown message");
  }
  response.json({
    message: {
      id: row.id,
      providerAcceptanceAt: row.accepted_at,
      statusChangedAt: row.status_changed_at,
      reference: {
        service: row.reference_service ?? undefined,
        action: row.reference_action ?? undefined,
        key: row.reference_key ?? undefined,
      },
      channel: row.channel,
      status: STATUSES[row.status],
      provider: {
        name: row.provider_name,
        id: row.provider_id,
        status: row.provider_status,
        code: row.provider_code,
        message: row.provider_message ?? undefined,
      },
      sms: row.segments === null ? undefined : { segments: row.segments },
    },
  });
});

// Express recognizes an error handler by its four parameters.
app.use((error, _request, response, _next) => {
  response.status(error.status ?? 503).type("text").send(error.message);
});

const colon = LISTEN.lastIndexOf(":");
const server = app.listen(Number(LISTEN.slice(colon + 1)), LISTEN.slice(0, colon));
process.once("SIGTERM", () => {
  server.close();
  server.closeAllConnections();
  database.close();
});
