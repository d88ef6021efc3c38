// Receives the relay's webhooks on Cloudflare Workers, and saves each finished file in R2 before its link dies.
// Bindings: WEBHOOK_SECRETS (secret), SEEN (KV namespace; without it ids are kept in memory), RESULTS (R2 bucket).

import { CLAIMED_SECONDS, KEPT_SECONDS, inMemory, receive } from "../receive.js";

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

async function work(event, env) {
  if (event.type !== "job.completed") {
    console.log(`${event.type} ${event.data.id}`);
    return;
  }
  const file = await fetch(event.data.result_url);
  if (!file.ok) throw new Error(`the result answers ${file.status}`);
  const bytes = await file.arrayBuffer();
  await env.RESULTS.put(event.data.id, bytes);
  console.log(`${event.type} ${event.data.id} ${bytes.byteLength} bytes`);
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
