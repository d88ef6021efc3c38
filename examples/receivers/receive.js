// What the two JavaScript receivers share: the checks of Standard Webhooks 1.0, by WebCrypto alone, and the order of
// things: verify, take each event once, answer, and only then work. Event types come to be: work leaves alone what it does
// not know, and only `id`, `type`, `timestamp` and `data` are in all of them.

const TOLERANCE_SECONDS = 300;

// A claim whose work never ended gives way after this; kept ids outlive the relay's longest schedule by days.
export const CLAIMED_SECONDS = 300;
export const KEPT_SECONDS = 7 * 86400;

export class Refused extends Error {
  constructor(status, reason) {
    super(reason);
    this.status = status;
  }
}

// `secrets`: one or more whsec_…, by spaces or commas, while a secret rotates. Returns the webhook-id, or throws Refused.
export async function verify(secrets, headers, body, nowSeconds = Date.now() / 1000) {
  const id = headers.get("webhook-id");
  const timestamp = headers.get("webhook-timestamp");
  const signatures = headers.get("webhook-signature");
  if (!id || !timestamp || !signatures) throw new Refused(400, "a webhook- header is missing");
  if (!/^\d{1,12}$/.test(timestamp)) throw new Refused(400, "webhook-timestamp is not a number of seconds");
  if (Math.abs(nowSeconds - Number(timestamp)) > TOLERANCE_SECONDS) throw new Refused(401, "webhook-timestamp is too far off");

  const keys = (secrets ?? "").split(/[\s,]+/).filter(Boolean);
  if (keys.length === 0) throw new Error("WEBHOOK_SECRETS is not set");
  const expected = await Promise.all(keys.map((key) => sign(key, `${id}.${timestamp}.`, body)));
  // Other versions (v1a) and malformed entries are passed over: one good signature is enough.
  const given = signatures.split(" ").filter((entry) => entry.startsWith("v1,"));
  const isGood = given.some((entry) => expected.some((signature) => isEqual(entry.slice(3), signature)));
  if (!isGood) throw new Refused(401, "no signature matches");
  return id;
}

// `seen`: claim(id) → is it the first; keep(id) when its work is done; forget(id) when it failed.
// `work`: what your application does with an event. `waitUntil`: the platform's, which lets work outlive the answer.
export async function receive(request, { secrets, seen, work, waitUntil }) {
  if (request.method !== "POST") return new Response(null, { status: 405, headers: { allow: "POST" } });
  let id, event;
  try {
    const body = new Uint8Array(await request.arrayBuffer());
    id = await verify(secrets, request.headers, body);
    event = parse(body);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return Response.json({ error: error.message }, { status: error.status });
  }
  if (!(await seen.claim(id))) return Response.json({ duplicate: id });
  waitUntil(afterwards(event, id, seen, work));
  return Response.json({ accepted: id }, { status: 202 });
}

// Each file of a completed job as { name, type, bytes }, by the relay's link, which leads to a URL that is valid now.
export async function* filesOf(job) {
  if (!("result" in job)) throw new Error('the thin payload does not list the files: subscribe with "payload": "full"');
  for (const [number, { kind }] of (job.result?.files ?? []).entries()) {
    const answer = await fetch(`${job.result_url}?file=${number}`);
    if (!answer.ok) throw new Error(`file ${number} of the result answers ${answer.status}`);
    const type = answer.headers.get("content-type") ?? "application/octet-stream";
    yield { name: `${job.id}/${number}-${kind}`, type, bytes: await answer.arrayBuffer() };
  }
}

// Enough for one process: others do not see it, and it ends with the process.
export function inMemory() {
  const ids = new Set();
  return {
    async claim(id) {
      if (ids.has(id)) return false;
      ids.add(id);
      return true;
    },
    async keep() {},
    async forget(id) {
      ids.delete(id);
    },
  };
}

// The relay has its answer and will not call again by itself: a redelivery, by hand or by recovery, finds the id free.
async function afterwards(event, id, seen, work) {
  try {
    await work(event);
  } catch (error) {
    console.error(`${id} failed, and waits for a redelivery:`, error);
    await seen.forget(id);
    return;
  }
  await seen.keep(id);
}

async function sign(secret, prefix, body) {
  const raw = Uint8Array.from(atob(secret.replace(/^whsec_/, "")), (character) => character.charCodeAt(0));
  const key = await crypto.subtle.importKey("raw", raw, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const head = new TextEncoder().encode(prefix);
  const content = new Uint8Array(head.length + body.length);
  content.set(head);
  content.set(body, head.length);
  return btoa(String.fromCharCode(...new Uint8Array(await crypto.subtle.sign("HMAC", key, content))));
}

// Takes the same time wherever the two differ.
function isEqual(left, right) {
  let difference = left.length ^ right.length;
  for (let index = 0; index < right.length; index++) difference |= left.charCodeAt(index) ^ right.charCodeAt(index);
  return difference === 0;
}

function parse(body) {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch {
    throw new Refused(400, "the body is not JSON");
  }
}
