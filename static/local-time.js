// Adds the reader's own time to times in UTC. Without a script there are only those.
"use strict";

const language = document.documentElement.lang;
const whole = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "long" });
const clock = new Intl.DateTimeFormat(language, { timeStyle: "long" });
for (const place of document.querySelectorAll("[data-local]")) {
  const at = new Date(place.closest("dd")?.querySelector("time")?.dateTime);
  // Where both are the same, one is enough; an invalid time has no offset.
  if (!at.getTimezoneOffset()) continue;
  place.textContent = ` · ${(at.getDate() === at.getUTCDate() ? clock : whole).format(at)}`;
  place.hidden = false;
}
