"use strict";
(() => {
  const months = "JanFebMarAprMayJunJulAugSepOctNovDec";
  const body = document.body, table = document.querySelector("table");
  const make = (tag, set, ...kids) => {
    const e = Object.assign(document.createElement(tag), set);
    e.append(...kids);
    return e;
  };
  const rows = () => [...table.tBodies[0].rows].filter((r) => !r.classList.contains("up"));
  const time = (r) => {
    const t = r.cells[1].textContent; // 2024-Feb-03 04:05:06, UTC
    const m = t && /^(-?\d+)-(\w{3})-(\d\d) (\d\d):(\d\d):(\d\d)$/.exec(t);
    return m ? Date.UTC(+m[1], months.indexOf(m[2]) / 3, +m[3], +m[4], +m[5], +m[6]) : -Infinity;
  };
  const size = (r) => (r.cells[2].textContent === "-" ? -1 : Number(r.cells[2].textContent));
  const name = (r) => r.cells[0].textContent;
  const words = new Intl.Collator(undefined, { numeric: true });
  const orders = [
    (a, b) => (b.classList.contains("d") - a.classList.contains("d")) || words.compare(name(a), name(b)),
    (a, b) => time(a) - time(b),
    (a, b) => size(a) - size(b),
  ];

  // Sorting.
  const heads = [...table.tHead.rows[0].cells];
  let by = -1, down = false;
  const sort = () => {
    if (by < 0) return;
    const list = rows().sort(orders[by]);
    if (down) list.reverse();
    table.tBodies[0].append(...list);
    heads.forEach((h, i) => {
      if (i === by) h.setAttribute("aria-sort", down ? "descending" : "ascending");
      else h.removeAttribute("aria-sort");
    });
  };
  heads.forEach((h, i) => {
    const b = make("button", { type: "button", textContent: h.textContent });
    b.addEventListener("click", () => {
      down = by === i ? !down : i > 0;
      by = i;
      sort();
    });
    h.replaceChildren(b);
  });

  // Age: a bar beside each row, the stronger the later it changed.
  const limits = [60, 3600, 86400, 7 * 86400, 30 * 86400]; // seconds
  const age = () => {
    const now = Date.now();
    for (const r of rows()) {
      const past = (now - time(r)) / 1000, step = limits.findIndex((l) => past < l);
      if (step >= 0) r.dataset.age = step;
      else delete r.dataset.age;
    }
  };

  // A filter, and moving about by keys.
  const filter = make("input", { type: "search", placeholder: "filter  ( / )", ariaLabel: "filter by name" });
  document.querySelector("header").append(filter);
  const sift = () => {
    const want = filter.value.toLowerCase();
    for (const r of rows()) r.hidden = !name(r).toLowerCase().includes(want);
  };
  filter.addEventListener("input", sift);
  addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.altKey || e.metaKey) return;
    if (e.key === "Escape" && e.target === filter) {
      filter.value = "";
      sift();
      filter.blur();
    } else if (e.key === "/" && e.target !== filter) {
      e.preventDefault();
      filter.focus();
    } else if (e.key === "u" && e.target !== filter) {
      table.querySelector("tr.up a")?.click();
    } else if (e.key === "ArrowDown" || e.key === "ArrowUp") {
      const links = [...table.tBodies[0].rows].filter((r) => !r.hidden).map((r) => r.querySelector("a")).filter(Boolean);
      const next = links.indexOf(document.activeElement) + (e.key === "ArrowDown" ? 1 : -1);
      if (links[next]) {
        e.preventDefault();
        links[next].focus();
      }
    }
  });

  // The path, each part a link; the address in the commands.
  const parts = body.dataset.path === "" ? [] : body.dataset.path.split("/");
  const title = document.querySelector("h1");
  title.replaceChildren(make("a", { href: "../".repeat(parts.length) || "./", textContent: location.host }), " / ");
  parts.forEach((p, i) => {
    title.append(make("a", { href: "../".repeat(parts.length - 1 - i) || "./", textContent: p }), " / ");
  });
  const here = "'" + location.origin + location.pathname.replaceAll("'", "%27");
  const commands = () => {
    for (const c of document.querySelectorAll("pre")) c.textContent = c.textContent.replace("URL", () => here).replace(/$/m, "'");
  };

  // Live: ask for what differs from this page, and be told when it does.
  let tag = body.dataset.tag ? '"' + body.dataset.tag + '"' : "", wait = 0;
  const state = make("span", { id: "state" });
  document.querySelector("header").append(state);
  const say = (text, bad) => {
    state.textContent = text;
    state.className = bad ? "bad" : "";
  };
  const pause = (ms) => new Promise((go) => setTimeout(go, ms));
  const seen = () => document.hidden ? new Promise((go) => document.addEventListener("visibilitychange", go, { once: true })) : null;
  const key = (r) => r.cells[0].querySelector("a")?.getAttribute("href") + r.cells[1].textContent + r.cells[2].textContent;
  const show = (text) => {
    const page = new DOMParser().parseFromString(text, "text/html");
    const fresh = page.querySelector("table")?.tBodies[0];
    if (!fresh) throw new Error("not a listing");
    const old = new Set(rows().map(key)), focused = document.activeElement?.getAttribute("href");
    table.tBodies[0].replaceWith(document.adoptNode(fresh));
    for (const r of rows()) r.classList.toggle("new", !old.has(key(r)));
    document.querySelector("#about").textContent = page.querySelector("#about").textContent;
    sort();
    sift();
    age();
    if (focused) [...table.querySelectorAll("a")].find((a) => a.getAttribute("href") === focused)?.focus();
  };
  const live = async () => {
    for (;;) {
      await seen();
      try {
        const headers = tag ? { "If-None-Match": tag } : {};
        const r = await fetch("?html&wait=" + wait, { headers, cache: "no-store" });
        if (r.status === 200) {
          const text = await r.text();
          if (tag || wait) show(text);
          tag = r.headers.get("ETag") || "";
        } else if (r.status !== 304) {
          throw new Error(r.status);
        }
        const told = r.headers.get("Tidemark-State") || "";
        say(told, told === "degraded" || told === "stale");
        age();
        wait = 40;
        await pause(r.headers.get("Retry-After") ? 5000 : 200);
      } catch {
        say("not connected", true);
        await pause(5000);
      }
    }
  };
  age();
  commands();
  if (!body.dataset.still) live();
})();
