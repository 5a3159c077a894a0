"use strict";
// Comfort only: without it nothing is missing.
(() => {
  // A line under the pointer that tells the time it stands for.
  const pairs = (lanes) => lanes.dataset.points.split(" ").map((each) => each.split("@").map(Number));
  const timeAt = (points, place) => {
    const last = Math.max(1, points.findIndex((point) => point[1] >= place));
    const [[t0, x0], [t1, x1]] = [points[last - 1], points[last]];
    return t0 + ((t1 - t0) * (place - x0)) / (x1 - x0);
  };
  const told = (time) => (time < 0 ? "\u2212" : "+") + Math.abs(time).toFixed(2) + " s";
  for (const lanes of document.querySelectorAll(".lanes")) {
    const back = lanes.querySelector(".back");
    const points = pairs(lanes);
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
      text.textContent = told(timeAt(points, place));
    });
    lanes.addEventListener("pointerleave", () => { line.hidden = true; });
  }
  // One button opens all trials, and closes them.
  const button = document.createElement("button");
  const trials = document.querySelectorAll("details.trial");
  const opened = new Set([...trials].filter((each) => each.open));
  button.type = "button";
  button.className = "toggle";
  let all = false;
  const show = () => {
    for (const each of trials) each.open = all || opened.has(each);
    button.textContent = all ? "Close them again" : "Open every trial";
  };
  button.addEventListener("click", () => { all = !all; show(); });
  show();
  document.querySelector(".title").append(button);
  // On paper nothing can be opened.
  addEventListener("beforeprint", () => { for (const each of trials) each.open = true; });
})();
