// What a script adds to every page: menus beside their buttons, dialogs, copying, showing passwords. No page needs it.
"use strict";

// What is wrong with a form is read out first.
document.querySelector("[data-focus]")?.focus();

const WIDE = matchMedia("(min-width: 48.0625rem)");

// Browsers without anchor positioning put a menu anywhere.
if (!CSS.supports("position-area: bottom")) {
  document.addEventListener(
    "toggle",
    ({ target: menu, newState }) => {
      if (newState !== "open" || !menu.matches(".menu[popover]") || !WIDE.matches) return;
      const button = document.querySelector(`[popovertarget="${menu.id}"]:hover, [popovertarget="${menu.id}"]:focus`);
      const at = (button ?? document.querySelector(`[popovertarget="${menu.id}"]`)).getBoundingClientRect();
      const below = at.bottom + menu.offsetHeight < innerHeight;
      const left = menu.classList.contains("from-start") ? at.left : at.right - menu.offsetWidth;
      menu.style.left = `${Math.max(8, Math.min(left, innerWidth - menu.offsetWidth - 8))}px`;
      menu.style.top = `${Math.max(8, below ? at.bottom : at.top - menu.offsetHeight - 8)}px`;
    },
    true,
  );
}

// Pages that are not served by https have no navigator.clipboard.
function copyWithoutClipboard(text) {
  const put = (event) => {
    event.clipboardData.setData("text/plain", text);
    event.preventDefault();
  };
  document.addEventListener("copy", put, { once: true });
  document.execCommand("copy");
}

const HOOKS = {
  async copy(button) {
    if (navigator.clipboard) await navigator.clipboard.writeText(button.dataset.copy);
    else copyWithoutClipboard(button.dataset.copy);
    const use = button.querySelector("use");
    const [before, label] = [use?.getAttribute("href"), button.getAttribute("aria-label")];
    use?.setAttribute("href", before.replace(/#.*/, "#check"));
    if (button.dataset.done) button.setAttribute("aria-label", button.dataset.done);
    setTimeout(() => {
      use?.setAttribute("href", before);
      if (label) button.setAttribute("aria-label", label);
    }, 2000);
  },
  show(button) {
    const field = document.getElementById(button.dataset.show);
    const isShown = field.type === "text";
    field.type = isShown ? "password" : "text";
    button.setAttribute("aria-pressed", String(!isShown));
    const text = button.querySelector("span");
    [text.textContent, button.dataset.hide] = [button.dataset.hide, text.textContent];
    const use = button.querySelector("use");
    use.setAttribute("href", use.getAttribute("href").replace(/#.*/, isShown ? "#eye" : "#eye-off"));
  },
  dialog(link, event) {
    event.preventDefault();
    document.getElementById(link.dataset.dialog).showModal();
  },
  close(button) {
    button.closest("dialog, [popover]")?.[button.closest("dialog") ? "close" : "hidePopover"]();
  },
  print() {
    print();
  },
};

document.addEventListener("click", (event) => {
  for (const [name, act] of Object.entries(HOOKS)) {
    const found = event.target.closest(`[data-${name}]`);
    if (found && found.matches("button, a")) act(found, event);
  }
});

document.addEventListener("change", ({ target }) => {
  if (target.matches("[data-submit]")) target.form.requestSubmit();
});

// A password is sent as such, so that password managers and the browser's history treat it as one.
document.addEventListener("submit", ({ target }) => {
  for (const button of target.querySelectorAll('[data-show][aria-pressed="true"]')) HOOKS.show(button);
});

// An answer that is no part of a page, such as the sign-in after a session has ended.
document.addEventListener("htmx:before:swap", (event) => {
  const { raw } = event.detail.ctx.response;
  if (raw.redirected || raw.status === 401) location.reload();
});
document.addEventListener("htmx:response:error", () => location.reload());
