// Receives the relay's webhooks on Cloudflare Workers, and saves every file of a completed job in R2 before its link dies.
// Bindings: WEBHOOK_SECRETS (secret), SEEN (KV namespace; without it ids are kept in memory), RESULTS (R2 bucket).

import { CLAIMED_SECONDS, KEPT_SECONDS, filesOf, inMemory, receive } from "../receive.js";

const memory = inMemory();

export default {
  async fetch(request, env, ctx) {
    return receive(request, {
      secrets: env.WEBHOOK_SECRETS,
      seen: env.SEEN ? inKV(env.SEEN) : memory,
      work: (event) => work(event, env),
      waitUntil: (promise) => ctx.waitUntil(promise),
    });
  },
};

// When it fails half-way, the redelivery writes the same names once more.
async function work(event, env) {
  if (event.type === "job.completed") {
    for await (const { name, type, bytes } of filesOf(event.data)) {
      await env.RESULTS.put(name, bytes, { httpMetadata: { contentType: type } });
      console.log(`${name} ${bytes.byteLength} bytes`);
    }
  }
  console.log(`${event.type} ${event.id}`);
}

// Two keys for an id, since KV takes one write a second for each. KV needs up to a minute to tell its other places, so two
// calls at the same moment in two of them may both be taken: where that matters, put a Durable Object here.
function inKV(kv) {
  return {
    async claim(id) {
      if ((await kv.get(`kept:${id}`)) || (await kv.get(`claimed:${id}`))) return false;
      await kv.put(`claimed:${id}`, "1", { expirationTtl: CLAIMED_SECONDS });
      return true;
    },
    keep: (id) => kv.put(`kept:${id}`, "1", { expirationTtl: KEPT_SECONDS }),
    forget: (id) => kv.delete(`claimed:${id}`),
  };
}
