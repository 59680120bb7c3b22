"use strict";
// Takes over from a new page what differs, which keeps focus, selection, scroll position and what is folded.
function update(now, next) {
  if (now.nodeType !== next.nodeType || now.nodeName !== next.nodeName) return now.replaceWith(next);
  if (now.nodeType !== Node.ELEMENT_NODE) {
    if (now.data !== next.data) now.data = next.data;
    return;
  }
  for (const name of new Set([...now.getAttributeNames(), ...next.getAttributeNames()])) {
    if (name === "open" || now.getAttribute(name) === next.getAttribute(name)) continue;
    if (next.hasAttribute(name)) now.setAttribute(name, next.getAttribute(name));
    else now.removeAttribute(name);
  }
  const before = [...now.childNodes], after = [...next.childNodes];
  after.forEach((node, place) => place < before.length ? update(before[place], node) : now.append(node));
  before.slice(after.length).forEach(node => node.remove());
}
let asked = false;
async function renew() {
  if (document.hidden || asked) return;
  asked = true;
  try {
    const answer = await fetch(location.href, {cache: "no-store"});
    if (!answer.ok) throw new Error(answer.statusText);
    const next = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of ["title", "header", "#lost", "main"]) {
      update(document.querySelector(part), next.querySelector(part));
    }
  } catch {
    document.querySelector("#lost").hidden = false;
  } finally {
    asked = false;
  }
}
setInterval(renew, 10000);
document.addEventListener("visibilitychange", renew);
