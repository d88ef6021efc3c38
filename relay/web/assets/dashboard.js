// Keeps a page with live data fresh: the same page is fetched again, and its <main> takes the place of the old one.
"use strict";

const EVERY_MS = 10_000;

function isBusy(main) {
  // Somebody types, is about to press something or marks text to copy: nothing may move under their hands.
  return main.contains(document.activeElement) || getSelection().type === "Range";
}

async function refresh() {
  const main = document.querySelector("main[data-live]");
  if (!main || document.hidden || isBusy(main)) return;
  let response;
  try {
    response = await fetch(location.href, { headers: { accept: "text/html" }, signal: AbortSignal.timeout(EVERY_MS) });
  } catch {
    return; // away for a moment: what is shown says when it was true
  }
  if (response.status === 401) return location.reload();
  if (!response.ok || isBusy(main)) return;
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html").querySelector("main");
  if (!fresh) return;
  for (const details of main.querySelectorAll("details[id]")) {
    const same = fresh.querySelector(`#${CSS.escape(details.id)}`);
    if (same) same.open = details.open;
  }
  main.replaceWith(fresh);
}

// A notice belongs to what was just done: neither a reload nor a bookmark says it again.
const here = new URL(location.href);
if (here.searchParams.has("notice")) {
  here.searchParams.delete("notice");
  history.replaceState(null, "", here);
}

setInterval(refresh, EVERY_MS);
document.addEventListener("visibilitychange", refresh);
