// Shows the chosen reason in the sentence that the user reads. Without this script the sentence names the field.
"use strict";

for (const shown of document.querySelectorAll("[data-why-shown]")) {
  const form = shown.closest("form");
  const unset = shown.textContent;
  const update = () => {
    const chosen = form.elements.why.selectedOptions[0];
    const parts = [chosen && chosen.value && chosen.textContent, form.elements.reason.value.trim()];
    shown.textContent = parts.filter(Boolean).join(": ") || unset;
  };
  form.addEventListener("input", update);
  update();
}
