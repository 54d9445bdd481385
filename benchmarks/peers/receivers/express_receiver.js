// A receiver as many are written on Express: parse the body, compare the secret, take the alert's id with SET NX EX, push
// the alert on a list with LPUSH, answer. Express (expressjs/express) with its own body parser, ioredis
// (redis/ioredis) on one connection, as their manuals show them. Two commands, one after the other: an alert whose
// process dies between them is taken for a duplicate when it is sent again, and is nowhere.
//
// Environment: PEER_PORT, PEER_REDIS (path of the socket), PEER_SECRET.

"use strict";

const { timingSafeEqual } = require("node:crypto");
const express = require("express");
const { Redis } = require("ioredis");

const REMEMBERED_S = 86400;
const secret = Buffer.from(process.env.PEER_SECRET);
// Commands of one turn of the event loop leave together.
const redis = new Redis(process.env.PEER_REDIS, { enableAutoPipelining: true });

function isSecret(text) {
  const bytes = Buffer.from(String(text));
  return bytes.length === secret.length && timingSafeEqual(bytes, secret);
}

const app = express();
// Neither is any use to a sender of alerts, and both cost.
app.disable("etag");
app.disable("x-powered-by");
app.use(express.json());

app.post("/webhook", async (request, response) => {
  const { secret: given, ...alert } = request.body;
  if (!isSecret(given)) {
    response.status(401).json({ ok: false });
    return;
  }
  const first = await redis.set(`seen:${alert.id}`, "1", "EX", REMEMBERED_S, "NX");
  if (first !== null) {
    await redis.lpush("alerts", JSON.stringify(alert));
  }
  response.json({ ok: true, duplicate: first === null });
});

app.listen(Number(process.env.PEER_PORT), "127.0.0.1");
