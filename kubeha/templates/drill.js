"use strict";
// Comfort only: without it nothing is missing.
(() => {
  // A line under the pointer that tells the time it stands for.
  const places = (lanes) => lanes.dataset.ticks.trim().split(" ").map((each) => {
    const [label, place] = each.split("@");
    return [parseFloat(label.replace("\u2212", "-")), parseFloat(place)];
  });
  const timeAt = (ticks, place) => {
    let i = ticks.findIndex((tick) => tick[1] >= place);
    i = Math.max(1, i < 0 ? ticks.length - 1 : i);
    const [[t0, x0], [t1, x1]] = [ticks[i - 1], ticks[i]];
    return t0 + ((t1 - t0) * (place - x0)) / (x1 - x0);
  };
  const told = (time) => (time < 0 ? "\u2212" : "+") + Math.abs(time).toFixed(2) + " s";
  for (const lanes of document.querySelectorAll(".lanes")) {
    const back = lanes.querySelector(".back");
    const ticks = places(lanes);
    if (ticks.length < 2) continue;
    const line = document.createElement("div");
    const text = document.createElement("span");
    line.className = "pointer";
    line.hidden = true;
    line.append(text);
    lanes.append(line);
    lanes.addEventListener("pointermove", (event) => {
      const box = back.getBoundingClientRect();
      const place = ((event.clientX - box.left) / box.width) * 100;
      line.hidden = place < 0 || place > 100;
      line.style.left = event.clientX - lanes.getBoundingClientRect().left + "px";
      line.classList.toggle("turned", place > 80);
      text.textContent = told(timeAt(ticks, place));
    });
    lanes.addEventListener("pointerleave", () => { line.hidden = true; });
  }
  // One button opens all trials, and closes them.
  const button = document.createElement("button");
  const trials = document.querySelectorAll("details.trial");
  const opened = new Set([...trials].filter((each) => each.open));
  button.type = "button";
  button.className = "toggle";
  const show = (all) => {
    for (const each of trials) each.open = all || opened.has(each);
    button.textContent = all ? "Close them again" : "Open every trial";
    button.setAttribute("aria-pressed", all);
  };
  button.addEventListener("click", () => show(button.getAttribute("aria-pressed") !== "true"));
  show(false);
  document.querySelector(".title").append(button);
  // On paper nothing can be opened.
  addEventListener("beforeprint", () => { for (const each of trials) each.open = true; });
})();
