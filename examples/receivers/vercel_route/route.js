// Receives the relay's webhooks as a route of Next.js on Vercel, for example app/api/relay/route.js.
// Environment: WEBHOOK_SECRETS; UPSTASH_REDIS_REST_URL and UPSTASH_REDIS_REST_TOKEN (without them ids are kept in memory).

import { waitUntil } from "@vercel/functions";

import { CLAIMED_SECONDS, KEPT_SECONDS, filesOf, inMemory, receive } from "../receive.js";

// The answer goes out at once; what waitUntil holds is cut off after this many seconds.
export const maxDuration = 60;

const { WEBHOOK_SECRETS, UPSTASH_REDIS_REST_URL, UPSTASH_REDIS_REST_TOKEN } = process.env;
const seen = UPSTASH_REDIS_REST_URL ? inRedis(UPSTASH_REDIS_REST_URL, UPSTASH_REDIS_REST_TOKEN) : inMemory();

export async function POST(request) {
  return receive(request, { secrets: WEBHOOK_SECRETS, seen, work, waitUntil });
}

async function work(event) {
  if (event.type === "job.completed") {
    // Keep the bytes of every file: the provider's links die.
    for await (const { name, bytes } of filesOf(event.data)) console.log(`${name} ${bytes.byteLength} bytes`);
  }
  console.log(`${event.type} ${event.id}`);
}

function inRedis(url, token) {
  const command = async (...words) => {
    const headers = { authorization: `Bearer ${token}` };
    const answer = await fetch(url, { method: "POST", headers, body: JSON.stringify(words) });
    if (!answer.ok) throw new Error(`Redis answers ${answer.status}`);
    return (await answer.json()).result;
  };
  return {
    claim: async (id) => (await command("SET", `webhook:${id}`, "claimed", "NX", "EX", `${CLAIMED_SECONDS}`)) === "OK",
    keep: (id) => command("SET", `webhook:${id}`, "kept", "EX", `${KEPT_SECONDS}`),
    forget: (id) => command("DEL", `webhook:${id}`),
  };
}
