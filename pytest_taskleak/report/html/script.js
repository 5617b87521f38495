"use strict";
(() => {
  const root = document.documentElement;
  const KEY = "taskleak-theme";
  const dark = matchMedia("(prefers-color-scheme: dark)");

  const remembered = () => {
    try { return localStorage.getItem(KEY); } catch { return null; }  // some browsers keep nothing for files
  };
  const theme = () => root.dataset.theme || (dark.matches ? "dark" : "light");
  const known = remembered();
  if (known === "dark" || known === "light") root.dataset.theme = known;
  root.classList.add("script");

  const themes = () => {
    const button = document.getElementById("theme");
    const say = () => {
      const other = theme() === "dark" ? "light" : "dark";
      button.textContent = other === "dark" ? "Dark" : "Light";
      button.setAttribute("aria-label", `Switch to the ${other} theme`);
    };
    button.addEventListener("click", () => {
      root.dataset.theme = theme() === "dark" ? "light" : "dark";
      try { localStorage.setItem(KEY, root.dataset.theme); } catch { /* then it holds for this page */ }
      say();
    });
    dark.addEventListener("change", say);
    say();
  };

  const copying = () => document.addEventListener("toggle", (event) => {
    const place = event.target.querySelector(".copied");
    if (!place || place.querySelector("button")) return;
    const button = place.appendChild(document.createElement("button"));
    button.type = "button";
    button.textContent = "Copy";
    button.addEventListener("click", copy);
  }, true);  // `toggle` does not bubble

  const copy = async ({ target: button }) => {
    const code = button.parentElement.querySelector("code");
    getSelection().selectAllChildren(code);
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      button.textContent = document.execCommand("copy") ? "Copied" : "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  };

  const filters = () => {
    const form = document.getElementById("filter");
    if (!form) return;
    const [text, shown, clear, nothing] = ["text", "shown", "clear", "nothing"].map((id) => document.getElementById(id));
    const chips = [...form.querySelectorAll("input[type=checkbox]")];
    const causes = [...document.querySelectorAll("#causes article")].map((article) => ({
      article, kind: article.dataset.kind, count: Number(article.dataset.count || 1), words: null,
    }));
    const by = new Map(causes.map((cause) => [`#${cause.article.id}`, cause]));
    const sections = [...document.querySelectorAll("#causes section")];
    const leaks = [...document.querySelectorAll("#owners li:not(:has(ul))")];
    const branches = [...document.querySelectorAll("#owners li:has(ul)")];
    const all = Number(shown.dataset.causes);
    const many = (number, one) => `${number.toLocaleString("en")} ${one}${number === 1 ? "" : "s"}`;

    const apply = () => {
      const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
      const kinds = new Set(chips.filter((chip) => chip.checked).map((chip) => chip.value));
      let number = 0;
      let count = 0;
      for (const cause of causes) {
        if (words.length && cause.words === null) cause.words = cause.article.textContent.toLowerCase();
        const fits = (!kinds.size || kinds.has(cause.kind)) && words.every((word) => cause.words.includes(word));
        cause.article.hidden = !fits;
        number += fits;
        count += fits ? cause.count : 0;
      }
      for (const section of sections) section.hidden = !section.querySelector("article:not([hidden])");
      for (const leak of leaks) {
        const link = leak.querySelector("a");
        leak.hidden = link ? by.get(link.hash).article.hidden : Boolean(words.length || kinds.size);
      }
      for (const branch of branches) branch.hidden = !branch.querySelector("li:not([hidden]):not(:has(ul))");
      const filtered = Boolean(words.length || kinds.size);
      shown.textContent = filtered
        ? `${number.toLocaleString("en")} of ${many(all, "cause")}, ${many(count, "leak")}`
        : `${many(all, "cause")}, ${many(Number(shown.dataset.leaks), "leak")}`;
      clear.hidden = !filtered;
      nothing.hidden = number > 0;
      nothing.textContent = number ? "" : `Nothing matches${words.length ? ` “${text.value.trim()}”` : ""}`
        + `${kinds.size ? ` among: ${[...kinds].join(", ")}` : ""}.`;
    };

    let timer = 0;
    text.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(apply, 150);
    });
    const reset = () => {
      form.reset();
      apply();
    };
    form.addEventListener("change", apply);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      apply();
    });
    clear.addEventListener("click", () => {
      reset();
      text.focus();
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "/" && !event.ctrlKey && !event.metaKey && !event.altKey && event.target !== text) {
        event.preventDefault();
        text.focus();
      } else if (event.key === "Escape" && event.target === text) {
        reset();
      }
    });
    const arrive = () => {
      const cause = by.get(location.hash);
      if (cause && cause.article.hidden) {
        reset();
        cause.article.scrollIntoView();
      }
    };
    addEventListener("hashchange", arrive);
    apply();
  };

  const measuring = () => {
    const bar = document.getElementById("filter");
    if (!bar) return;
    new ResizeObserver(() => root.style.setProperty("--bar", `${bar.offsetHeight}px`)).observe(bar);
  };

  const printing = () => {
    let opened = [];
    addEventListener("beforeprint", () => {
      opened = [...document.querySelectorAll("details:not([open])")];
      for (const details of opened) details.open = true;
    });
    addEventListener("afterprint", () => {
      for (const details of opened) details.open = false;
      opened = [];
    });
  };

  document.addEventListener("DOMContentLoaded", () => {
    themes();
    copying();
    filters();
    measuring();
    printing();
  });
})();
