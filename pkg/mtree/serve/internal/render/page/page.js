"use strict";
(() => {
  const months = "JanFebMarAprMayJunJulAugSepOctNovDec";
  const body = document.body, table = document.querySelector("table");
  const make = (tag, set, ...kids) => {
    const e = Object.assign(document.createElement(tag), set);
    e.append(...kids);
    return e;
  };
  const tbody = table.tBodies[0];
  const entries = (of) => [...of.rows].filter((r) => !r.classList.contains("up"));
  const rows = () => entries(tbody);
  const time = (t) => { // 2024-Feb-03 04:05:06, UTC
    const m = t && /^(-?\d+)-(\w{3})-(\d\d) (\d\d):(\d\d):(\d\d)$/.exec(t);
    return m ? Date.UTC(+m[1], months.indexOf(m[2]) / 3, +m[3], +m[4], +m[5], +m[6]) : -Infinity;
  };

  // What a row says, read once: there may be ten thousand.
  const known = new WeakMap();
  const facts = (r) => {
    let f = known.get(r);
    if (!f) {
      const [n, m, s] = [...r.children].map((c) => c.textContent);
      const href = r.querySelector("a")?.getAttribute("href");
      f = { name: n, low: n.toLowerCase(), time: time(m), size: s === "-" ? -1 : Number(s), dir: r.classList.contains("d"), key: [href, n, m, s].join("\n") };
      known.set(r, f);
    }
    return f;
  };
  const words = new Intl.Collator(undefined, { numeric: true });
  const orders = [
    (a, b) => (b.dir - a.dir) || words.compare(a.name, b.name),
    (a, b) => a.time - b.time,
    (a, b) => a.size - b.size,
  ];

  // Sorting.
  const heads = [...table.tHead.rows[0].cells];
  let by = -1, down = false;
  const sorted = (list) => {
    if (by < 0) return list;
    list.sort((a, b) => orders[by](facts(a), facts(b)));
    return down ? list.reverse() : list;
  };
  heads.forEach((h, i) => {
    const b = make("button", { type: "button", textContent: h.textContent });
    b.addEventListener("click", () => {
      down = by === i ? !down : i > 0;
      by = i;
      tbody.replaceChildren(...tbody.querySelectorAll("tr.up"), ...sorted(rows()));
      heads.forEach((h, i) => {
        if (i === by) h.setAttribute("aria-sort", down ? "descending" : "ascending");
        else h.removeAttribute("aria-sort");
      });
    });
    h.replaceChildren(b);
  });

  // Age: a bar beside each row, the stronger the later it changed, and in words in the place of the date,
  // which shows where the pointer or the focus is. What is dated ahead of the server's clock tells nothing.
  const limits = [60, 3600, 86400, 7 * 86400, 30 * 86400]; // seconds
  const units = [[60, "s"], [3600, "min"], [86400, "h"], [365 * 86400, "d"], [Infinity, "y"]];
  const inWords = (past) => { // 5 min ago
    let size = 1;
    for (const [end, unit] of units) {
      if (past < end) return Math.max(1, Math.floor(past / size)) + " " + unit + " ago";
      size = end;
    }
  };
  let ahead = 0; // milliseconds by which the server's clock is ahead of ours
  const age = () => {
    const now = Date.now() + ahead;
    for (const r of rows()) {
      const past = (now - facts(r).time) / 1000, step = past < -60 ? -1 : limits.findIndex((l) => past < l);
      if (step < 0) delete r.dataset.age;
      else if (r.dataset.age !== String(step)) r.dataset.age = step;
      const when = r.children[1], ago = past >= -1 && past < Infinity ? inWords(Math.max(0, past)) : undefined;
      if (when.dataset.ago === ago) continue;
      if (ago) when.dataset.ago = ago;
      else delete when.dataset.ago;
    }
  };

  // A filter, and moving about by keys.
  const filter = make("input", { type: "search", placeholder: "filter  ( / )", ariaLabel: "filter by name" });
  document.querySelector("header").append(filter);
  const sift = () => {
    const want = filter.value.toLowerCase();
    for (const r of rows()) r.hidden = !facts(r).low.includes(want);
  };
  filter.addEventListener("input", sift);
  addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.altKey || e.metaKey) return;
    if (e.target !== filter && e.target.tagName === "INPUT" && !e.key.startsWith("Arrow")) return; // it is typed there
    if (e.key === "Escape" && e.target === filter) {
      filter.value = "";
      sift();
      filter.blur();
    } else if (e.key === "/" && e.target !== filter) {
      e.preventDefault();
      filter.focus();
    } else if (e.key === "u" && e.target !== filter) {
      tbody.querySelector("tr.up a")?.click();
    } else if (e.key === "Enter" && e.target === filter) {
      rows().find((r) => !r.hidden)?.querySelector("a")?.click();
    } else if (e.key === "ArrowDown" || e.key === "ArrowUp") {
      const forth = e.key === "ArrowDown";
      let r = document.activeElement.closest("tbody tr"), link = null;
      if (!r && !forth) return;
      do r = r ? (forth ? r.nextElementSibling : r.previousElementSibling) : tbody.rows[0];
      while (r && (r.hidden || !(link = r.querySelector("a"))));
      if (!r && forth) return;
      e.preventDefault();
      (r ? link : filter).focus();
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
    for (const c of document.querySelectorAll("footer pre")) c.textContent = c.textContent.replace(/URL(\S*)/, (_, rest) => here + rest + "'");
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
  // Rows that say the same stay as they are, and so do the place and the focus.
  const show = (text) => {
    const page = new DOMParser().parseFromString(text, "text/html");
    const fresh = page.querySelector("table")?.tBodies[0];
    if (!fresh) throw new Error("not a listing");
    const old = new Map(rows().map((r) => [facts(r).key, r])), focused = document.activeElement?.getAttribute("href");
    const list = entries(fresh).map((r) => {
      const same = old.get(facts(r).key);
      old.delete(facts(r).key);
      (same || r).classList.toggle("new", !same);
      return same || document.adoptNode(r);
    });
    for (const r of old.values()) r.remove();
    let at = rows()[0] || null;
    for (const r of sorted(list)) {
      if (r === at) at = at.nextElementSibling;
      else tbody.insertBefore(r, at);
    }
    document.querySelector("#about").textContent = page.querySelector("#about").textContent;
    const readme = page.querySelector("#readme");
    document.querySelector("#readme")?.remove();
    if (readme) table.after(document.adoptNode(readme));
    sift();
    if (focused && document.activeElement === body) [...tbody.querySelectorAll("a")].find((a) => a.getAttribute("href") === focused)?.focus();
  };
  const live = async () => {
    for (;;) {
      await seen();
      try {
        const headers = tag ? { "If-None-Match": tag } : {};
        const r = await fetch("?" + (body.dataset.format || "html") + "&wait=" + wait, { headers, cache: "no-store" });
        if (r.status === 200) {
          const text = await r.text();
          if (tag || wait) show(text);
          tag = r.headers.get("ETag") || "";
        } else if (r.status !== 304) {
          throw new Error(r.status);
        }
        ahead = Number(r.headers.get("Tidemark-Now")) * 1000 - Date.now() || 0;
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
