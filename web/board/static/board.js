// What pages do beyond htmx. They can all be read without it.
"use strict";

// What is wider than the window begins in its middle, where the present is.
function center() {
  document.querySelectorAll(".scroll").forEach((box) => { box.scrollLeft = (box.scrollWidth - box.clientWidth) / 2; });
}
center();
document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

// Escape closes an open menu.
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    document.querySelectorAll("details.menu[open]").forEach((menu) => {
      menu.open = false;
      menu.querySelector("summary").focus();
    });
  }
});

document.addEventListener("click", async (event) => {
  const copy = event.target.closest("[data-copy]");
  if (copy) {
    const text = document.getElementById(copy.dataset.copy);
    try {
      await navigator.clipboard.writeText(text.textContent);
      copy.textContent = "Copied";
    } catch { // the browser refuses it, or has none for pages without TLS from another machine
      getSelection().selectAllChildren(text);
      copy.textContent = "Selected: press Ctrl+C";
    }
  }
  const fill = event.target.closest("[data-fill]");
  if (fill) {
    const field = document.getElementById(fill.dataset.fill);
    field.value = fill.dataset.value;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    field.focus();
  }
  const all = event.target.closest("[data-all]");
  if (all) document.querySelectorAll(`input[name="${all.dataset.all}"]`).forEach((box) => { box.checked = all.checked; });
  document.querySelectorAll("details.menu[open]").forEach((menu) => {
    if (!menu.contains(event.target)) menu.open = false;
  });
});

// A form is sent once, however often its button is pressed.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = "yes";
});
window.addEventListener("pageshow", () => {
  document.querySelectorAll("form[data-sent]").forEach((form) => { delete form.dataset.sent; });
});

// What is left until a moment, by the clock of the service. Without scripts the moment itself stands there.
const ahead = Date.now() - Date.parse(document.querySelector("#age time")?.dateTime);
function countDown() {
  document.querySelectorAll("[data-until]").forEach((element) => {
    const left = Math.floor((Date.parse(element.dataset.until) - Date.now() + ahead) / 1000);
    const parts = [[Math.floor(left / 3600), "h"], [Math.floor(left / 60) % 60, "min"], [left % 60, "s"]];
    const words = parts.filter(([number], place) => number || place === 2).map((part) => part.join(" ")).join(" ");
    element.textContent = left >= 0 ? `: ${words} more` : ", which is over";
  });
}
countDown();
setInterval(countDown, 1000);
