// Updates the overview's numbers and counts selected sessions. All pages work without this script.
"use strict";

for (const live of document.querySelectorAll("[data-live]")) {
  const pause = live.querySelector("[data-pause]");
  const words = [pause.textContent, pause.dataset.resume];
  let stream = null;
  let again = null;

  const show = (message) => {
    live.querySelector("[data-at]").textContent = message.at;
    for (const [name, text] of Object.entries(message.numbers)) live.querySelector(`[data-number="${name}"]`).textContent = text;
    for (const [name, [picture, text]] of Object.entries(message.charts)) {
      live.querySelector(`[data-chart="${name}"]`).innerHTML = picture;
      live.querySelector(`[data-words="${name}"]`).textContent = text;
    }
  };
  const begin = () => {
    stream = new EventSource(live.dataset.live);
    stream.onmessage = (event) => show(JSON.parse(event.data));
    // Browsers reconnect after a broken connection, but not after an HTTP error such as 503.
    stream.onerror = () => {
      if (stream && stream.readyState === EventSource.CLOSED) again = setTimeout(begin, 15000);
    };
    pause.textContent = words[0];
  };
  const stop = () => {
    clearTimeout(again);
    stream.close();
    stream = null;
    pause.textContent = words[1];
  };
  pause.hidden = false;
  pause.addEventListener("click", () => (stream ? stop() : begin()));
  begin();
}

for (const form of document.querySelectorAll("[data-select]")) {
  const boxes = [...form.querySelectorAll("tbody [type=checkbox]")];
  const place = form.querySelector("thead td");
  const button = form.querySelector("[data-selected]");
  if (!place || !boxes.length) continue;
  const unselected = button.textContent;
  button.setAttribute("aria-live", "polite");
  const all = document.createElement("input");
  all.type = "checkbox";
  all.setAttribute("aria-label", place.textContent.trim());
  place.replaceChildren(all);
  const count = () => {
    const chosen = boxes.filter((box) => box.checked).length;
    const text = chosen === 1 ? button.dataset.one : button.dataset.many;
    button.textContent = chosen ? text.replace("%s", chosen) : unselected;
    all.checked = chosen === boxes.length;
    all.indeterminate = chosen > 0 && chosen < boxes.length;
  };
  all.addEventListener("change", () => {
    for (const box of boxes) box.checked = all.checked;
    count();
  });
  form.addEventListener("change", count);
}
