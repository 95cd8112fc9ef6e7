// What pages can't do without it: uploading, copying, and numbers that follow the swarm. All else works without.
"use strict";

const REFRESH = 5000;

const ask = async (url) => {
  const response = await fetch(url, { headers: { accept: "application/json" } });
  if (!response.ok) throw new Error(response.statusText);
  return response.json();
};

const show = (root, torrent) => {
  for (const field of root.querySelectorAll("[data-live]")) {
    const text = torrent[field.dataset.live].toLocaleString("en");
    if (field.textContent !== text) field.textContent = text;
  }
};

const refreshers = {
  torrent: async (root) => show(root, await ask(root.dataset.api)),
  results: async (root) => {
    for (const torrent of (await ask(root.dataset.api)).torrents) {
      const row = root.querySelector(`[data-hash="${torrent.info_hash}"]`);
      if (row) show(row, torrent);
    }
  },
  page: async (root) => {
    const response = await fetch(location.href);
    if (!response.ok) throw new Error(response.statusText);
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    const part = fresh.querySelector("[data-refresh=page]");
    if (part) root.replaceChildren(...part.childNodes);
  },
};

for (const root of document.querySelectorAll("[data-refresh]")) {
  const refresh = refreshers[root.dataset.refresh];
  setInterval(() => {
    // A page that nobody looks at asks nothing; one that can't be reached shows what it had.
    if (!document.hidden) refresh(root).catch(() => {});
  }, REFRESH);
}

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copy);
    const before = button.textContent;
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      // Without HTTPS there is no clipboard: at least it is selected.
      getSelection().selectAllChildren(source);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = before; }, 2000);
  });
}

const form = document.getElementById("upload");
if (form) {
  const input = form.querySelector("input[type=file]");
  const drop = form.querySelector(".drop");
  const chosen = document.getElementById("chosen");
  const result = document.getElementById("result");
  const send = form.querySelector("button");

  const name = () => { chosen.textContent = input.files[0] ? input.files[0].name : ""; };
  input.addEventListener("change", name);
  for (const type of ["dragenter", "dragover"]) {
    drop.addEventListener(type, (event) => { event.preventDefault(); drop.classList.add("over"); });
  }
  for (const type of ["dragleave", "drop"]) {
    drop.addEventListener(type, (event) => { event.preventDefault(); drop.classList.remove("over"); });
  }
  drop.addEventListener("drop", (event) => {
    if (event.dataTransfer.files.length) { input.files = event.dataTransfer.files; name(); }
  });

  const say = (kind, text, link) => {
    result.className = `card ${kind}`;
    result.hidden = false;
    result.textContent = text;
    if (link) {
      const a = document.createElement("a");
      a.href = link.href;
      a.textContent = link.text;
      result.append(" ", a);
    }
    result.focus();
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const file = input.files[0];
    if (!file) { say("bad", "Choose a .torrent first."); return; }
    const body = new FormData();
    for (const field of ["title", "tags", "description"]) {
      const value = form.elements[field].value.trim();
      if (value) body.append(field, value);
    }
    body.append("torrent", file);
    const token = form.elements.token.value.trim();
    const headers = token ? { authorization: `Bearer ${token}` } : {};
    send.disabled = true;
    try {
      const response = await fetch("/api/v1/torrents", { method: "POST", body, headers });
      const answer = await response.json();
      if (!response.ok) say("bad", `Not published: ${answer.error}`);
      else {
        const words = answer.duplicate ? "It was listed already:" : "Published:";
        say("note", words, { href: `/torrent/${answer.info_hash}`, text: answer.title });
        if (!answer.duplicate) { form.reset(); name(); }
      }
    } catch (error) {
      say("bad", `Not published: ${error.message}`);
    } finally {
      send.disabled = false;
    }
  });
}
