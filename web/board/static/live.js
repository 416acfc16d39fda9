// A page that shows what changes renews itself: the service says that something of it has changed, and up to which position of
// the log, and the page asks for itself again. What has the focus, is typed, chosen, opened or scrolled to stays as it is.
"use strict";
(() => {
  const REST_MS = 500, TROUBLE_MS = 2000, OLD_MS = 60000;
  let stream = null, changed = 0, isRenewing = false, isOver = false, trouble = null;

  const shown = () => document.querySelector('[data-live]:not([data-live=""])');
  const position = () => Number(new URL(shown().dataset.live, location).searchParams.get("after"));
  const rest = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });
  const say = (sentence) => { document.getElementById("liveness").textContent = sentence; };

  // One stream for a page that can be seen: browsers open only a few connections to a host that speaks HTTP/1.1.
  function follow() {
    if (stream || isOver || document.hidden || !shown()) return;
    stream = new EventSource(shown().dataset.live);
    stream.onopen = () => say("It renews itself.");
    stream.onmessage = (event) => { changed = Number(event.lastEventId); renew(); };
    stream.onerror = () => {
      say("It cannot be renewed now; it is tried again.");
      if (stream.readyState !== EventSource.CLOSED) return; // the browser comes back by itself, after the last position it had
      leave();
      trouble = setTimeout(async () => { await renew(true); follow(); }, TROUBLE_MS);
    };
  }

  function leave() {
    clearTimeout(trouble);
    stream?.close();
    stream = null;
  }

  function stop(sentence) {
    leave();
    isOver = true;
    changed = 0;
    say(sentence);
  }

  const isTyped = () => [...document.querySelectorAll("main form[method=post] :is(input, textarea)")].some((field) => field.value !== field.defaultValue);

  // A busy service is asked less often: a page rests ten times as long as it took to renew it.
  async function renew(isOld = false) {
    if (isRenewing) return;
    isRenewing = true;
    while (!document.hidden && shown() && (isOld || changed > position())) {
      const began = performance.now();
      const isDone = await replace().catch(() => false);
      isOld = false;
      await rest(isDone ? Math.max(REST_MS, 10 * (performance.now() - began)) : TROUBLE_MS);
    }
    isRenewing = false;
  }

  async function replace() {
    const address = location.href;
    const answer = await fetch(address, { headers: { "HX-Request": "true" } });
    if (answer.headers.get("HX-Refresh")) { // the session has ended
      if (isTyped()) stop("Your session has ended. Send what you typed: it is kept, and you are asked to sign in.");
      else location.reload();
      return true;
    }
    const text = await answer.text();
    if (answer.status >= 500 || answer.status === 429) return false;
    if (!answer.ok) { // it is not there any more, or not for its reader
      stop("It cannot be renewed any more.");
      return true;
    }
    if (location.href !== address) return true; // filters have changed meanwhile
    const focused = document.activeElement, height = scrollY, places = seen();
    for (const id of [shown().id, "age"]) {
      const element = document.getElementById(id);
      await htmx.swap({ text, sourceElement: element, target: element, select: `#${id}`, swap: "outerMorph ignoreTitle:true" });
    }
    scrollTo(0, height); // browsers scroll to what has the focus when it is moved
    stay(places);
    if (focused.id && focused !== document.activeElement) document.getElementById(focused.id)?.focus({ preventScroll: true });
    return true;
  }

  // What one looks at stays where it is on the screen, though rows come and go above it. At the top of a page, new ones are seen.
  function seen() {
    const top = (element) => element.getBoundingClientRect().top;
    const inside = (element) => top(element) >= 0 && top(element) < innerHeight;
    return scrollY > 0 ? [...shown().querySelectorAll("[id]")].filter(inside).map((element) => [element, top(element)]) : [];
  }

  function stay(places) {
    const moved = places.filter(([element]) => element.isConnected).map(([element, top]) => element.getBoundingClientRect().top - top);
    if (moved.length) scrollBy(0, moved.reduce((least, one) => (Math.abs(one) < Math.abs(least) ? one : least)));
  }

  document.addEventListener("visibilitychange", () => { if (document.hidden) leave(); else follow(); });
  setInterval(() => { if (stream) renew(true); }, OLD_MS); // "in 5 min" gets old without any change
  follow();
})();
