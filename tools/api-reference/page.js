// The filter of a page's contents. Without this all is there, unfiltered.
"use strict";

const filter = document.getElementById("filter");
if (filter) {
  const entries = [...document.querySelectorAll(".contents > ul > li")];
  const show = () => {
    const words = filter.querySelector("input").value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (element) => words.every((word) => element.textContent.toLowerCase().includes(word));
    for (const group of entries) {
      const isNamed = fits(group.firstElementChild);
      const inner = [...group.querySelectorAll("li")];
      for (const entry of inner) {
        entry.hidden = !isNamed && !fits(entry);
      }
      group.hidden = !isNamed && inner.every((entry) => entry.hidden);
    }
  };
  filter.hidden = false;
  filter.addEventListener("input", show);
}

// Whoever comes by an address of something in a closed part finds it open.
const open = () => {
  for (let e = document.getElementById(location.hash.slice(1)); e; e = e.parentElement) {
    if (e.tagName === "DETAILS") {
      e.open = true;
    }
  }
};
addEventListener("hashchange", open);
open();
