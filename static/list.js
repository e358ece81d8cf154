// What a script adds to the list of sessions: selecting all rows, one menu for all rows, shortcuts, and how many are new.
// Without it, every row links to its session, whose page does the same.
"use strict";

const menu = document.getElementById("row-menu");
const sheet = document.getElementById("shortcuts");
const toggle = document.getElementById("use-shortcuts");
const boxes = () => [...document.querySelectorAll("#rows tbody .box")];
const rows = () => [...document.querySelectorAll("#rows tbody tr")];

// --- selection ---------------------------------------------------------------------------------------------------------

function count() {
  const all = boxes();
  const chosen = all.filter((box) => box.checked).length;
  for (const box of document.querySelectorAll("[data-all] .box")) {
    box.checked = chosen > 0 && chosen === all.length;
    box.indeterminate = chosen > 0 && chosen < all.length;
  }
  const button = document.querySelector(".act .destroy");
  if (button) button.textContent = (chosen === 1 ? button.dataset.one : button.dataset.many).replace("%s", chosen);
}

// The box at the head of the table exists only with script.
function prepare() {
  const head = document.querySelector("#rows thead .c-check");
  if (head && boxes().length && !head.matches("[data-all]")) {
    const label = document.querySelector(".list-head [data-all]");
    head.dataset.all = "";
    head.innerHTML = '<label class="pick"><input class="box" type="checkbox"><span class="sr"></span></label>';
    head.querySelector("span").textContent = label.textContent.trim();
  }
  count();
}

let last = null;

document.addEventListener("change", ({ target }) => {
  if (target.closest("[data-all]")) for (const box of boxes()) box.checked = target.checked;
  if (target.closest("#rows, [data-all]")) count();
});
document.addEventListener("reset", ({ target }) => {
  if (target.id === "rows") setTimeout(count);
});

// --- rows --------------------------------------------------------------------------------------------------------------

function openMenu(link) {
  const row = link.closest("tr");
  const [user, ip] = [row.querySelector(".c-user a:not(.anon)"), row.querySelector(".c-ip a")];
  const go = { session: link, user, ip };
  for (const entry of menu.querySelectorAll("[data-go]")) {
    entry.hidden = !go[entry.dataset.go];
    if (!entry.hidden) entry.href = go[entry.dataset.go].href;
  }
  const handle = link.pathname.split("/").pop();
  menu.querySelector(".title").textContent = link.getAttribute("aria-label");
  menu.querySelector("[data-copy]").dataset.copy = handle;
  const end = menu.querySelector("form");
  if (end) {
    end.hidden = !row.querySelector(".box");
    end.elements.handle.value = handle;
  }
  document.querySelector("[popovertarget=row-menu]")?.removeAttribute("popovertarget");
  link.setAttribute("popovertarget", "row-menu");
  menu.showPopover({ source: link });
  menu.querySelector("a").focus();
}

document.addEventListener("click", (event) => {
  if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey && !event.target.matches(".box")) return;
  const link = event.target.closest("#rows .c-menu a");
  if (link && menu) {
    event.preventDefault();
    openMenu(link);
    return;
  }
  if (event.target.matches("#rows tbody .box")) {
    // With Shift, all rows from the one clicked before.
    const all = boxes();
    const [from, to] = [all.indexOf(last), all.indexOf(event.target)].sort((a, b) => a - b);
    if (event.shiftKey && from >= 0) for (const box of all.slice(from, to + 1)) box.checked = event.target.checked;
    last = event.target;
    count();
    return;
  }
  const row = event.target.closest("#rows tbody tr");
  if (!row || event.target.closest("a, button, label, input") || String(getSelection())) return;
  location.assign(row.querySelector(".c-menu a").href);
});

// --- shortcuts ---------------------------------------------------------------------------------------------------------

// Kept in this browser only. WCAG 2.1.4: single keys can be turned off.
function areOn() {
  try {
    return localStorage.getItem("shortcuts") !== "off";
  } catch {
    return true;
  }
}

function step(by) {
  const all = rows();
  const at = all.indexOf(document.activeElement?.closest?.("#rows tbody tr"));
  const row = all[Math.max(0, Math.min(all.length - 1, at < 0 ? 0 : at + by))];
  row?.querySelector(".c-user a").focus();
  row?.scrollIntoView({ block: "nearest" });
}

const KEYS = {
  "/": () => {
    const field = document.getElementById("q");
    field.focus();
    field.select();
  },
  "?": () => sheet.showModal(),
  j: () => step(1),
  k: () => step(-1),
  x: () => document.activeElement?.closest("#rows tbody tr")?.querySelector(".box")?.click(),
  e: () => {
    if (boxes().some((box) => box.checked)) document.querySelector(".act .destroy").click();
    else {
      const link = document.activeElement?.closest("#rows tbody tr")?.querySelector(".c-menu a");
      if (!link?.closest("tr").querySelector(".box")) return;
      menu.querySelector("form").elements.handle.value = link.pathname.split("/").pop();
      menu.querySelector("form").requestSubmit();
    }
  },
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || !Object.hasOwn(KEYS, event.key)) return;
  if (event.target.matches("input:not([type=checkbox]), select, textarea, [contenteditable]")) return;
  // A message is a dialog that is open, too, but leaves the page as it is.
  if (document.querySelector("dialog:modal, .menu:popover-open:not(#row-menu)") || !areOn()) return;
  event.preventDefault();
  KEYS[event.key]();
});

if (toggle) {
  toggle.checked = areOn();
  toggle.addEventListener("change", () => {
    try {
      localStorage.setItem("shortcuts", toggle.checked ? "on" : "off");
    } catch {
      toggle.checked = true;
    }
  });
}

// --- new sessions ------------------------------------------------------------------------------------------------------

setInterval(async () => {
  const link = document.querySelector("[data-new]");
  if (!link || document.hidden) return;
  try {
    const response = await fetch(link.dataset.new, { headers: { Accept: "text/plain" } });
    const text = response.ok && !response.redirected ? await response.text() : "";
    if (!text) return;
    link.textContent = text;
    link.classList.add("is-known");
  } catch {
    // The next time may be better; whoever follows a link sees what is wrong.
  }
}, 30000);

// --- new answers -------------------------------------------------------------------------------------------------------

let focused = null;

// Who has gone on before the answer to a search came would lose the focus with what it replaces.
function keepFocus() {
  if (!focused || focused.isConnected) return;
  const row = focused.closest("#rows") && document.querySelector("#rows tbody .c-user a");
  const button = (id) => document.querySelector(`#tools [popovertarget="${id}"]`);
  (row ?? button(focused.getAttribute("popovertarget")) ?? button("filters")).focus();
}

document.addEventListener("htmx:before:swap", () => {
  focused = document.activeElement;
});
document.addEventListener("htmx:after:swap", () => {
  prepare();
  keepFocus();
});
prepare();
