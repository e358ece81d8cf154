// Shows the chosen reason in the sentence that the user reads. Without this script the sentence names the field.
"use strict";

for (const shown of document.querySelectorAll("[data-why-shown]")) {
  const form = shown.closest("form");
  const unset = shown.textContent;
  const update = () => {
    const chosen = form.querySelector("[name=why]:checked");
    const parts = [chosen && chosen.parentElement.textContent.trim(), form.elements.reason.value.trim()];
    shown.textContent = parts.filter(Boolean).join(": ") || unset;
  };
  form.addEventListener("input", update);
  update();
}
