// Keeps the overview up to date, and says so when it no longer is. The page works without this script, as of when it was drawn.
"use strict";

for (const box of document.querySelectorAll("[data-live]")) {
  const bar = document.querySelector("[data-live-bar]");
  const age = bar.querySelector("[data-live-age]");
  const state = document.querySelector("[data-live-state]");
  const pause = document.querySelector("[data-live-pause]");
  // The server sends an update every two seconds. Two missed ones, and a second for the network, make the page stale.
  const STALE_AFTER = 5000;
  // Browsers reconnect after a broken connection, but not after an HTTP error such as 503.
  const RECONNECT_AFTER = 5000;
  let stream = null;
  let again = null;
  let updated = Date.now();
  let isPaused = false;

  const put = (attribute, texts, property) => {
    for (const [name, text] of Object.entries(texts || {})) {
      for (const place of box.querySelectorAll(`[${attribute}="${name}"]`)) {
        if (place[property] !== text) place[property] = text;
      }
    }
  };
  const put_parts = (parts) => {
    for (const [name, html] of Object.entries(parts || {})) {
      for (const place of box.querySelectorAll(`[data-part="${name}"]`)) {
        // Compared with what was sent before: the browser's own innerHTML differs from it. Hover and focus stay undisturbed.
        if (place.sentHtml !== html) {
          // It gets no lower, so that texts of changing lengths do not move what stands below.
          place.style.minBlockSize = `${place.offsetHeight}px`;
          const parts = () => [...place.querySelectorAll("a, summary")];
          const at = parts().indexOf(document.activeElement);
          const open = [...place.querySelectorAll("details")].map((each) => each.open);
          place.innerHTML = html;
          place.querySelectorAll("details").forEach((each, number) => { each.open = open[number] ?? false; });
          if (at >= 0) parts()[at]?.focus({ preventScroll: true });
          place.sentHtml = html;
        }
      }
    }
  };
  const say = (name) => {
    if (state.textContent === state.dataset[name]) return;
    state.textContent = state.dataset[name];
    state.classList.toggle("is-off", name !== "fresh");
  };
  const judge = () => {
    const missed = Date.now() - updated;
    const isStale = !isPaused && missed > STALE_AFTER;
    box.toggleAttribute("data-stale", isStale);
    // The number is hidden from screen readers, so that the bar is announced once, when it appears.
    if (isStale) age.textContent = age.dataset.liveAge.replace("%s", Math.round(missed / 1000));
    if (bar.hidden === isStale) bar.hidden = !isStale;
    say(isPaused ? "paused" : isStale ? "off" : "fresh");
  };
  const show = (message) => {
    updated = Date.now();
    for (const place of document.querySelectorAll("[data-at]")) place.textContent = message.at;
    put("data-number", message.numbers, "textContent");
    put_parts(message.parts);
    judge();
  };
  const stop = () => {
    clearTimeout(again);
    if (stream) stream.close();
    stream = null;
  };
  const begin = () => {
    stop();
    stream = new EventSource(box.dataset.live);
    stream.onmessage = (event) => show(JSON.parse(event.data));
    // The stream works, but the store does not answer: no update, only what is wrong.
    stream.addEventListener("down", (event) => put_parts(JSON.parse(event.data).parts));
    stream.onerror = () => {
      if (stream && stream.readyState === EventSource.CLOSED) {
        clearTimeout(again);
        again = setTimeout(begin, RECONNECT_AFTER);
      }
    };
  };

  pause.addEventListener("click", () => {
    isPaused = !isPaused;
    pause.setAttribute("aria-pressed", String(isPaused));
    updated = Date.now();
    if (isPaused) stop();
    else begin();
    judge();
  });
  bar.querySelector("[data-live-retry]").addEventListener("click", begin);
  const fit = () => {
    for (const place of box.querySelectorAll("[data-part]")) place.style.minBlockSize = "";
  };
  addEventListener("resize", fit);
  box.addEventListener("click", ({ target }) => target.closest("summary") && fit());
  // A sleeping tab gets no time: judge at once when it is seen again.
  document.addEventListener("visibilitychange", judge);
  setInterval(judge, 1000);
  begin();
}
