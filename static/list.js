// The list of sessions: selecting rows, one menu for all of them, and shortcuts. The list works without this script.
"use strict";

const OFF = "shortcuts-off";
const menu = document.getElementById("row-menu");
const help = document.getElementById("shortcuts");
const rows = () => [...document.querySelectorAll("#list tbody tr")];
const boxes = () => [...document.querySelectorAll("#list tbody [type=checkbox]")];

// The head of the column of boxes selects the page; the button says how many are selected. Both are new after each update.
function prepare() {
  const place = document.querySelector("#list thead td.c-check");
  if (place && !place.querySelector("input")) {
    const all = document.createElement("input");
    all.type = "checkbox";
    all.className = "box";
    all.dataset.all = "";
    all.setAttribute("aria-label", place.textContent.trim());
    const label = document.createElement("label");
    label.className = "pick";
    label.append(all);
    place.replaceChildren(label);
  }
  count();
}

function count() {
  const button = document.querySelector("[data-selected]");
  if (!button) return;
  const all = boxes();
  const chosen = all.filter((box) => box.checked).length;
  button.dataset.none ??= button.textContent;
  const text = chosen === 1 ? button.dataset.one : button.dataset.many;
  button.textContent = chosen ? text.replace("%s", chosen) : button.dataset.none;
  const head = document.querySelector("[data-all]");
  head.checked = chosen > 0 && chosen === all.length;
  head.indeterminate = chosen > 0 && chosen < all.length;
}

let last = null;
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-row-menu]");
  if (opener && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    open_menu(opener);
  }
  // With the shift key, all rows from the one before are selected.
  const box = event.target.closest("#list tbody [type=checkbox]");
  if (box) {
    const all = boxes();
    if (event.shiftKey && last && all.includes(last)) {
      const [from, to] = [all.indexOf(last), all.indexOf(box)].sort((a, b) => a - b);
      for (const one of all.slice(from, to + 1)) one.checked = box.checked;
      count();
    }
    last = box;
  }
  if (event.target.closest("[data-row-copy]")) {
    navigator.clipboard?.writeText(menu.dataset.handle);
    menu.hidePopover();
  }
});

document.addEventListener("change", ({ target }) => {
  if (target.matches("[data-all]")) {
    // One's own session is never selected by the way.
    for (const box of boxes()) box.checked = target.checked && !box.closest("[data-own]");
  }
  if (target.matches("[data-shortcuts-on]")) {
    if (target.checked) localStorage.removeItem(OFF);
    else localStorage.setItem(OFF, "1");
  }
  if (target.closest("#list")) count();
});
document.addEventListener("reset", () => setTimeout(count));

function open_menu(opener) {
  const row = opener.closest("tr");
  const link = (name, from) => {
    const target = menu.querySelector(`[data-row-${name}]`);
    target.hidden = !from;
    if (from) target.href = from.href;
  };
  menu.querySelector("[data-row-name]").textContent = row.dataset.name;
  menu.dataset.handle = row.dataset.handle;
  link("page", opener);
  link("user", row.querySelector("a.who"));
  link("ip", row.querySelector(".c-ip a"));
  menu.querySelector("[data-row-copy]").hidden = !navigator.clipboard;
  const end = menu.querySelector("[data-row-end]");
  if (end) end.value = row.dataset.handle;
  menu.showPopover({ source: opener });
  if (matchMedia("(min-width: 48.0625rem)").matches) {
    const at = opener.getBoundingClientRect();
    const below = at.bottom + menu.offsetHeight < innerHeight;
    menu.style.inset = "auto";
    menu.style.left = `${Math.max(8, at.right - menu.offsetWidth)}px`;
    menu.style.top = `${Math.max(8, below ? at.bottom : at.top - menu.offsetHeight)}px`;
  }
  menu.querySelector("a:not([hidden])").focus();
}

// Shortcuts of one key: only where nothing else takes them, and they can be turned off (WCAG 2.1.4).
function move(step) {
  const all = rows();
  const now = all.indexOf(document.activeElement?.closest?.("#list tbody tr"));
  const next = all[Math.max(0, Math.min(all.length - 1, now < 0 ? 0 : now + step))];
  next?.querySelector("th a")?.focus();
}

const KEYS = {
  "/": () => document.getElementById("q").focus(),
  "?": () => help.showModal(),
  j: () => move(1),
  k: () => move(-1),
  x() {
    const box = document.activeElement?.closest?.("#list tbody tr")?.querySelector("[type=checkbox]");
    if (box) {
      box.checked = !box.checked;
      count();
    }
  },
  e() {
    const button = document.querySelector("[data-selected]");
    if (!button) return;
    const row = document.activeElement?.closest?.("#list tbody tr");
    if (!boxes().some((box) => box.checked) && row) row.querySelector("[type=checkbox]").checked = true;
    if (boxes().some((box) => box.checked)) button.form.requestSubmit(button);
  },
};

document.addEventListener("keydown", (event) => {
  const is_typing = event.target.matches("input:not([type=checkbox]), select, textarea, [contenteditable]");
  if (event.ctrlKey || event.metaKey || event.altKey || is_typing || document.querySelector("dialog[open]")) return;
  const act = KEYS[event.key];
  if (!act || (localStorage.getItem(OFF) && event.key !== "?")) return;
  event.preventDefault();
  act();
});

help.querySelector("[data-shortcuts-on]").checked = !localStorage.getItem(OFF);
document.addEventListener("htmx:after:swap", prepare);
prepare();
