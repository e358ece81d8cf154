// Adds the reader's own time to times in UTC. Without a script there are only those.
"use strict";

const format = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "long" });
for (const place of document.querySelectorAll("[data-local]")) {
  const at = place.closest("dd")?.querySelector("time")?.dateTime;
  // Where both are the same, one is enough.
  if (!at || new Date(at).getTimezoneOffset() === 0) continue;
  place.textContent = ` · ${format.format(new Date(at))}`;
  place.hidden = false;
}
