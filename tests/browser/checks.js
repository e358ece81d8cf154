// What tests look for on a page. Each function returns what is wrong, as texts; all but those of axe run without script, too.
(() => {
  const name = (element) => `${element.localName}${element.id ? `#${element.id}` : ""}.${[...element.classList].join(".")} “${element.textContent.trim().replace(/\s+/g, " ").slice(0, 40)}”`;
  const isSeen = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && element.getClientRects().length > 0;
  // Whether it is only for screen readers, as a heading of a table that a phone does not show.
  const isHidden = (element) => {
    for (let up = element; up; up = up.parentElement) if (getComputedStyle(up).clipPath === "inset(50%)") return true;
    return false;
  };
  // The style sheets need not be read: no rule that is on asks for them.
  const shared = { resultTypes: ["violations"], preload: false };
  const every = { ...shared, runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] };
  // Contrast takes most of the time, and hardly depends on the language: in a usual run it is measured in English.
  const words = { ...every, rules: { "color-contrast": { enabled: false } } };

  async function axe(where, rules) {
    const { violations } = await window.axe.run(where, rules);
    return violations.map((fault) => `${fault.id}: ${fault.nodes.map((node) => `${node.html.slice(0, 160)} (${node.any.map((one) => one.message)})`)}`);
  }

  // The whole page. What floats over it is looked at in its place or apart: axe calls a row small if a bar covers it, which scrolls.
  async function axePage(rules) {
    const toasts = document.querySelector(".toasts");
    const found = toasts ? await axe(toasts, rules) : [];
    toasts?.style.setProperty("display", "none");
    for (const bar of document.querySelectorAll(".dock")) bar.style.setProperty("position", "static");
    found.push(...(await axe(document, rules)));
    for (const bar of document.querySelectorAll(".dock")) bar.style.removeProperty("position");
    toasts?.style.removeProperty("display");
    return found;
  }

  // Whether an ancestor scrolls or hides what is outside of it.
  const isInBox = (element) => {
    for (let up = element.parentElement; up && up !== document.body; up = up.parentElement) {
      if (getComputedStyle(up).overflowX !== "visible") return true;
    }
    return false;
  };

  // Reflow (WCAG 1.4.10): no sideways scrolling, and nothing outside of the window or of its own box.
  function cut() {
    const found = [];
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth > innerWidth) found.push(`the page is ${document.documentElement.scrollWidth} px wide of ${innerWidth}`);
    for (const element of document.body.querySelectorAll("*")) {
      if (element.closest("svg, input, select, textarea, [popover]:not(:popover-open)") || !isSeen(element) || isHidden(element)) continue;
      const style = getComputedStyle(element);
      const hides = ["hidden", "clip"].includes(style.overflowX) && style.textOverflow !== "ellipsis";
      const isText = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
      if ((hides || element.matches(".btn, .badge, .c-user, .c-user > a")) && element.clientWidth && element.scrollWidth > element.clientWidth + 1) found.push(`cut at its side: ${name(element)}`);
      if (["hidden", "clip"].includes(style.overflowY) && element.clientHeight && element.scrollHeight > element.clientHeight + 2 && isText) found.push(`cut at its bottom: ${name(element)}`);
      const { left, right } = element.getBoundingClientRect();
      if (isText && (right > width + 1 || left < -1) && !isInBox(element)) found.push(`outside of the window: ${name(element)}`);
    }
    for (const field of document.querySelectorAll("input:is([type=text], [type=search], [type=email], [type=password], :not([type]))")) {
      if (isSeen(field) && !isHidden(field) && field.clientWidth < 80) found.push(`too narrow to type into: ${name(field)}`);
    }
    // Of the cells of a heading, one counts.
    const isBar = (element) => ["fixed", "sticky"].includes(getComputedStyle(element).position) && isSeen(element) && !isHidden(element)
      && !element.matches("[popover], dialog, :is(th, td):not(:first-child)");
    const bars = [...document.body.querySelectorAll("*")].filter(isBar);
    const covered = bars.reduce((sum, bar) => sum + bar.getBoundingClientRect().height, 0);
    if (covered > innerHeight / 2) found.push(`bars cover ${covered} px of ${innerHeight}: ${bars.map(name)}`);
    return found;
  }

  // Everything that shows a state by colour shows it by something else in the colours of the system (forced colours).
  function forced() {
    const found = [];
    const canvas = getComputedStyle(document.body).backgroundColor;
    const isLine = (style, side) => style[`${side}Style`] !== "none" && parseFloat(style[`${side}Width`]) >= 1 && ![canvas, "rgba(0, 0, 0, 0)"].includes(style[`${side}Color`]);
    for (const element of document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']")) {
      if (!isSeen(element) || element.disabled || element.tabIndex < 0) continue;
      element.focus({ preventScroll: true, focusVisible: true });
      if (document.activeElement !== element) continue;
      const boxes = [element, element.closest("label, .search, .with-end")].filter(Boolean).map((one) => getComputedStyle(one));
      if (!boxes.some((style) => isLine(style, "outline"))) found.push(`no focus: ${name(element)}`);
    }
    document.activeElement?.blur();
    for (const element of document.querySelectorAll(".badge")) {
      if (isSeen(element) && !isLine(getComputedStyle(element), "borderTop")) found.push(`no badge: ${name(element)}`);
    }
    const strong = "[aria-current]:not(.chips *), [aria-pressed='true']:not([data-show]), .list tbody tr:has(:checked)";
    for (const element of document.querySelectorAll(strong)) {
      const style = getComputedStyle(element);
      if (isSeen(element) && !["outline", "borderTop", "borderBottom", "borderLeft"].some((side) => isLine(style, side))) found.push(`not shown as chosen: ${name(element)}`);
    }
    for (const element of document.querySelectorAll("svg.chart :is(.bar, .line), .share rect, .progress rect")) {
      const { fill, stroke, opacity } = getComputedStyle(element);
      const shown = [fill, stroke].filter((colour) => !["none", canvas, "rgba(0, 0, 0, 0)"].includes(colour));
      if (isSeen(element) && (!shown.length || opacity === "0")) found.push(`not drawn: ${element.outerHTML.slice(0, 80)} ${fill} ${stroke}`);
    }
    return found;
  }

  // With reduced motion nothing moves.
  function moving() {
    const found = document.getAnimations().map((one) => `moves: ${one.animationName ?? one.transitionProperty}`);
    for (const element of document.querySelectorAll("*")) {
      const { animationName, transitionDuration } = getComputedStyle(element);
      if (animationName !== "none" || transitionDuration.split(", ").some((time) => parseFloat(time) > 0)) found.push(`would move: ${name(element)}`);
    }
    return found;
  }

  // What only a script shows is gone, and what only its absence shows stays, while axe runs in a page that was read without one.
  function freeze() {
    for (const element of document.querySelectorAll(".script")) element.remove();
    for (const element of document.querySelectorAll(".no-script")) element.classList.remove("no-script");
  }

  const opened = () => [...document.querySelectorAll("[popover][id], dialog[id], main details")];
  const keyOf = (element, index) => element.id.replace(/\d+$/, "") || `details “${element.querySelector("summary")?.textContent.trim().slice(0, 20) ?? index}”`;

  // Each menu, dialog and details, one after another: inside of the window, and without a fault of axe.
  async function open(known, rules) {
    const found = [];
    const keys = [];
    for (const [index, element] of opened().entries()) {
      const key = keyOf(element, index);
      const button = document.querySelector(`[popovertarget="${element.id}"], [data-dialog="${element.id}"]`);
      if (known.includes(key) || keys.includes(key) || (button && !isSeen(button)) || (element.localName === "details" && !isSeen(element))) continue;
      keys.push(key);
      button?.scrollIntoView({ block: "nearest" });
      const was = element.open;
      if (element.localName === "dialog") element.close();
      if (element.localName === "details") element.open = true;
      else if (element.localName === "dialog") element.showModal();
      else element.showPopover(button ? { source: button } : {});
      const { left, right, top, bottom } = element.getBoundingClientRect();
      if (left < -1 || right > innerWidth + 1) found.push(`${key} is outside of the window: ${left} to ${right}`);
      if (element.localName !== "details" && (top < -1 || bottom > innerHeight + 1)) found.push(`${key} is outside of the window: ${top} to ${bottom}`);
      for (const fault of await axe(element, rules)) found.push(`${key} open: ${fault}`);
      if (element.localName === "details") element.open = was;
      else if (element.localName === "dialog") {
        element.close();
        if (was) element.show();
      } else element.hidePopover();
    }
    return { found, keys };
  }

  // What axe finds, in the theme of the page; in a long run with every rule in each language, and once more in the dark theme.
  async function accessible(known, isLong, turnsDark) {
    const rules = isLong || document.documentElement.lang.startsWith("en") ? every : words;
    const found = await axePage(rules);
    const opened = await open(known, rules);
    found.push(...opened.found);
    if (turnsDark) {
      // Not a style element, which the policy of the page forbids.
      const still = new CSSStyleSheet();
      still.replaceSync("*, ::before, ::after { transition: none !important }");
      document.adoptedStyleSheets.push(still);
      document.documentElement.dataset.theme = "dark";
      const dark = [...(await axePage(every)), ...(await open(known, every)).found];
      found.push(...dark.map((fault) => `dark: ${fault}`));
      document.adoptedStyleSheets.pop();
    }
    return { found, keys: opened.keys };
  }

  const shown = () => [document.documentElement.lang.slice(0, 2), ...cut()];

  window.checks = { accessible, cut, forced, moving, freeze, shown };
})();
