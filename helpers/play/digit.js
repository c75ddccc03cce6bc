// A digit is drawn on the first canvas, and the networks redraw it, with a map of the errors, as it grows.
(() => {
  const root = document.getElementById("PLAY"), SIDE = 28, find = name => root.querySelector(`[data-part="${name}"]`);
  const { nets, quantiles, pictures } = JSON.parse(root.querySelector("script").textContent);
  const networks = Object.entries(nets).map(([name, layers]) => [name, layers.map(unpack)]);
  const bytes = Uint8Array.from(atob(pictures), letter => letter.charCodeAt(0));
  const canvas = find("drawn"), ink = new Float32Array(SIDE * SIDE);
  let pen = { x: SIDE / 2, y: SIDE / 2 }, last = null, waiting = false, speaking;

  function paint(canvas, colour) {  // colour(k) -> [red, green, blue] of pixel k
    const context = canvas.getContext("2d"), image = context.createImageData(SIDE, SIDE);
    for (let k = 0; k < SIDE * SIDE; k++) image.data.set([...colour(k), 255], 4 * k);
    context.putImageData(image, 0, 0);
  }

  function show() {
    waiting = false;
    const here = canvas.matches(":focus-visible") ? Math.floor(pen.y) * SIDE + Math.floor(pen.x) : -1;
    paint(canvas, k => k === here ? [240, 150, 30] : Array(3).fill(255 * ink[k]));
    const said = networks.map(([name, layers]) => {
      const redrawn = redraw(layers, ink), missing = ink.map((value, k) => value - redrawn[k]);
      const error = missing.reduce((sum, value) => sum + value * value, 0) / ink.length;
      paint(find(`${name} redrawn`), k => Array(3).fill(255 * redrawn[k]));
      paint(find(`${name} map`), k => {  // red where ink is missing, blue where it was made up
        const pale = 255 * (1 - Math.min(1, Math.abs(missing[k])));
        return missing[k] > 0 ? [255 - 0.25 * (255 - pale), pale, pale] : [pale, pale, 255 - 0.25 * (255 - pale)];
      });
      const below = quantiles[name].filter(value => value < error).length;
      find(`${name} error`).textContent = error.toFixed(4);
      find(`${name} rank`).textContent = Math.min(100, below);
      return `${name} ${error.toFixed(4)}`;
    });
    clearTimeout(speaking);  // a screen reader hears the errors once the pen rests
    speaking = setTimeout(() => find("said").textContent = `Errors: ${said.join(", ")}.`, 600);
  }

  function soon() {
    if (!waiting) requestAnimationFrame(show);
    waiting = true;
  }

  function stroke(from, to) {  // two and a half pixels wide, fading at its edge
    const dx = to.x - from.x, dy = to.y - from.y, length = dx * dx + dy * dy;
    for (let k = 0; k < ink.length; k++) {
      const x = k % SIDE + 0.5, y = Math.floor(k / SIDE) + 0.5;
      const t = length ? Math.min(1, Math.max(0, ((x - from.x) * dx + (y - from.y) * dy) / length)) : 0;
      const far = Math.hypot(x - from.x - t * dx, y - from.y - t * dy);
      ink[k] = Math.max(ink[k], Math.min(1, Math.max(0, 1.9 - far)));
    }
    soon();
  }

  function fill(colour) {
    for (let k = 0; k < ink.length; k++) ink[k] = colour(k);
    soon();
  }

  function centre() {  // as the pictures of MNIST are: the centre of mass in the middle
    const mass = ink.reduce((sum, value) => sum + value, 0), old = ink.slice();
    if (!mass) return;
    const x = old.reduce((sum, value, k) => sum + value * (k % SIDE + 0.5), 0) / mass;
    const y = old.reduce((sum, value, k) => sum + value * (Math.floor(k / SIDE) + 0.5), 0) / mass;
    const right = Math.round(SIDE / 2 - x), down = Math.round(SIDE / 2 - y);
    fill(k => {
      const column = k % SIDE - right, row = Math.floor(k / SIDE) - down;
      return column >= 0 && column < SIDE && row >= 0 && row < SIDE ? old[row * SIDE + column] : 0;
    });
  }

  function place(event) {
    const box = canvas.getBoundingClientRect();
    return { x: SIDE * (event.clientX - box.left) / box.width, y: SIDE * (event.clientY - box.top) / box.height };
  }

  const clear = () => fill(() => 0);
  canvas.onpointerdown = event => {
    canvas.setPointerCapture(event.pointerId);
    last = place(event);
    stroke(last, last);
  };
  canvas.onpointermove = event => {
    if (!event.buttons || !last) return;
    const now = place(event);
    stroke(last, now);
    last = now;
  };
  canvas.onpointerup = canvas.onpointercancel = () => last = null;
  canvas.onkeydown = event => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (step) {
      const inside = value => Math.min(SIDE - 0.5, Math.max(0.5, value));
      const to = { x: inside(pen.x + step[0]), y: inside(pen.y + step[1]) };
      if (event.shiftKey) stroke(pen, to);
      pen = to;
    } else if (event.key === " ") stroke(pen, pen);
    else if (event.key === "Backspace" || event.key === "Delete") clear();
    else return;
    event.preventDefault();
    event.stopPropagation();  // Jupyter has arrow keys of its own
    soon();
  };
  canvas.onfocus = canvas.onblur = soon;
  find("clear").onclick = clear;
  find("centre").onclick = centre;
  for (const button of root.querySelectorAll("[data-digit]"))
    button.onclick = () => fill(k => bytes[button.dataset.digit * SIDE * SIDE + k] / 255);
  root.querySelector('[data-digit="0"]').click();
})();
