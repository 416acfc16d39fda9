// Ctrl-K, or Cmd-K: a dialog that goes to any routine, run, issue, task, agent, page or id, by keyboard. Without scripts there is a search.
"use strict";
(() => {
  const dialog = document.getElementById("palette"), field = document.getElementById("wanted");
  if (!dialog) return;
  const opener = document.querySelector("[data-palette]");
  opener.hidden = false;
  document.getElementById("find").form.hidden = true;

  const options = () => [...document.querySelectorAll("#found [role=option]")];
  const chosen = () => document.querySelector("#found [aria-selected=true]");
  const isFor = (text) => document.getElementById("found").dataset.text === text.trim();
  let isWaiting = false; // for the options of what is typed, to go to the first of them

  function choose(option) {
    chosen()?.setAttribute("aria-selected", "false");
    option?.setAttribute("aria-selected", "true");
    option?.scrollIntoView({ block: "nearest" });
    if (option) field.setAttribute("aria-activedescendant", option.id);
    else field.removeAttribute("aria-activedescendant");
  }

  function open() {
    if (dialog.open) { dialog.close(); return; }
    dialog.showModal();
    field.select();
    htmx.trigger(field, "opened");
  }

  opener.addEventListener("click", open);
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); }); // beside it
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey) || event.shiftKey || event.altKey) return;
    event.preventDefault();
    open();
  });
  dialog.addEventListener("htmx:after:swap", () => {
    choose(options()[0]);
    const count = document.getElementById("count");
    count.textContent = document.getElementById("found").dataset.count;
    count.className = options().length ? "hidden" : "empty";
    if (isWaiting && isFor(field.value)) chosen()?.click();
  });
  field.addEventListener("input", () => { isWaiting = false; });
  field.addEventListener("keydown", (event) => {
    const all = options(), step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && all.length) {
      event.preventDefault();
      choose(all[(all.indexOf(chosen()) + step + all.length) % all.length]);
    } else if (event.key === "Enter" && !event.isComposing) {
      event.preventDefault();
      if (isFor(field.value)) chosen()?.click();
      else isWaiting = true;
    }
  });
})();
