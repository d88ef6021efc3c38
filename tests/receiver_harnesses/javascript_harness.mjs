// Runs one JavaScript receiver as its platform would, on commands by line: {"do": …} in, ">" and the answer out.
// Whatever else the receiver prints goes out as it is.

import { webcrypto } from "node:crypto";
import { createInterface } from "node:readline";

globalThis.crypto ??= webcrypto; // Node 18 has it, but not as a global

const { Refused, verify } = await import("./receive.js");

const cloudflare = async () => {
  const { default: worker } = await import("./cloudflare_worker/worker.js");
  const kv = new Map();
  const bucket = new Map();
  const held = [];
  const env = {
    WEBHOOK_SECRETS: process.env.WEBHOOK_SECRETS,
    RESULTS: {
      put: async (key, bytes, { httpMetadata }) => {
        bucket.set(key, { body: Buffer.from(bytes).toString("base64"), content_type: httpMetadata.contentType });
      },
    },
    SEEN: process.env.HAS_KV && {
      get: async (key) => kv.get(key)?.value ?? null,
      delete: async (key) => void kv.delete(key),
      put: async (key, value, { expirationTtl }) => {
        if (expirationTtl < 60) throw new Error("KV takes no time-to-live below 60 s");
        if (kv.has(key)) throw new Error("KV takes one write a second for a key");
        kv.set(key, { value, secondsToLive: expirationTtl });
      },
    },
  };
  const passTime = (seconds) => {
    for (const [key, entry] of kv) if ((entry.secondsToLive -= seconds) <= 0) kv.delete(key);
  };
  const call = (request) => worker.fetch(request, env, { waitUntil: (promise) => held.push(promise) });
  return { held, call, passTime, bucket };
};

const vercel = async () => {
  const { held } = await import("@vercel/functions");
  const route = await import("./vercel_route/route.js");
  const refuse = () => new Response(null, { status: 405 });
  return { held, call: (request) => (route[request.method] ?? refuse)(request) };
};

const platform = await { cloudflare, vercel }[process.argv[2]]();

const actions = {
  async verify({ secrets, headers, body, now }) {
    try {
      return { id: await verify(secrets, new Headers(headers), Buffer.from(body, "base64"), now) };
    } catch (error) {
      if (error instanceof Refused) return { status: error.status };
      throw error;
    }
  },
  async call({ method, headers, body }) {
    const payload = method === "GET" ? undefined : Buffer.from(body, "base64");
    try {
      const answer = await platform.call(new Request("https://receiver.example/hook", { method, headers, body: payload }));
      return { status: answer.status };
    } catch (error) {
      console.log(error);
      return { status: 500 };
    }
  },
  async pass_time({ seconds }) {
    platform.passTime(seconds);
    return {};
  },
  async bucket() {
    return Object.fromEntries(platform.bucket);
  },
  async settle() {
    return { settled: (await Promise.all(platform.held.splice(0))).length };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  process.stdout.write(`>${JSON.stringify(await actions[command.do](command))}\n`);
}
