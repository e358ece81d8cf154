// Says how strong a new password is while it is typed. The server measures it, as it does when the form is sent.
"use strict";

for (const field of document.querySelectorAll("input[data-strength]")) {
  const box = document.getElementById(`${field.id}-strength`);
  const [meter, text] = box.children;
  let waiting;
  let newest = 0;

  async function measure() {
    const mine = ++newest;
    const sent = new URLSearchParams({ password: field.value });
    for (const name of ["username", "email"]) {
      const known = field.form.elements[name];
      if (known) sent.set(name, known.value);
    }
    const token = field.form.elements._xsrf.value;
    const answer = await fetch(field.dataset.strength, { method: "POST", body: sent, headers: { "X-XSRFToken": token } });
    // Busy, or no longer the newest: what is shown stays.
    if (!answer.ok || mine !== newest) return;
    const found = await answer.json();
    meter.value = found.score + 1;
    text.textContent = found.text;
  }

  field.addEventListener("input", () => {
    clearTimeout(waiting);
    if (field.value) waiting = setTimeout(() => measure().catch(() => {}), 400);
    else [meter.value, text.textContent, newest] = [0, "", newest + 1];
  });
}
