// A slider over the steps of a figure: parts move, texts change, pictures of other steps are hidden.
(() => {
  const root = document.getElementById("PLAY"), slider = root.querySelector("input[type=range]");
  const { moves = {}, texts = {}, spoken, start } = JSON.parse(root.querySelector("script").textContent);

  function show(step) {
    slider.value = step;
    slider.setAttribute("aria-valuetext", spoken[step]);
    for (const [part, places] of Object.entries(moves)) {
      const [x, y] = places[step], [x0, y0] = places[start];
      root.querySelector(`.move.${part}`).setAttribute("transform", `translate(${x - x0} ${y - y0})`);
    }
    for (const [name, words] of Object.entries(texts))
      root.querySelectorAll(`[data-text=${name}]`).forEach(place => place.textContent = words[step]);
    root.querySelectorAll("[data-step]").forEach(picture => picture.hidden = picture.dataset.step != step);
  }

  function nearest(panel, event) {  // a place that every step shares, such as a line's height, does not count
    const svg = panel.querySelector("svg"), places = moves[panel.dataset.drag];
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const upright = places.every(([, y]) => y === places[0][1]);
    const far = places.map(([x, y]) => Math.hypot(x - at.x, upright ? 0 : y - at.y));
    return far.indexOf(Math.min(...far));
  }

  for (const panel of root.querySelectorAll("[data-drag]")) {
    panel.onpointerdown = event => { panel.setPointerCapture(event.pointerId); show(nearest(panel, event)); };
    panel.onpointermove = event => { if (event.buttons) show(nearest(panel, event)); };
  }
  slider.oninput = () => show(+slider.value);
  show(start);
})();
