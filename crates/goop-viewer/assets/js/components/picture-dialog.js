// Making a square picture of a file: the part that is kept is moved and sized with the mouse, touch or the keyboard.
// Offers: cropPicture, PictureButton.

import { upload } from '../api.js';
import { size } from '../format.js';
import { html, useEffect, useLayoutEffect, useRef, useState } from '../../vendor/ui.js';
import { Dialog, openDialog } from './dialog.js';

const strings = {
  title: 'Your picture',
  hint: 'Drag the picture, or use the sliders. Others see what is inside the circle.',
  view: 'The part of the picture that is kept',
  zoom: 'Size',
  left: 'Left and right',
  top: 'Up and down',
  save: 'Use this picture',
  saving: 'Sending…',
  cancel: 'Cancel',
  unreadable: 'This file is no picture the browser can read. Choose a PNG, JPEG, GIF or WebP file.',
  large: (bytes) => `The picture would take ${size(bytes)}; 256 KB is the most. Choose one with fewer details.`,
};

const PICTURES = 'image/png,image/jpeg,image/gif,image/webp,image/*';
/** Width and height of what is sent. */
const SIDE = 256;
/** Largest picture that is taken, in bytes (peer-directory.md 7). */
const MAX_BYTES = 256 * 1024;
const MAX_ZOOM = 5;
/** How far one press of an arrow key moves, of the way that is possible. */
const STEP = 0.04;

const within = (value, low, high) => Math.min(high, Math.max(low, value));

/** Draws the part of `image` that `crop` names onto a square canvas. `x` and `y` are 0 to 1 of the way that is possible. */
function draw(canvas, image, crop) {
  const part = Math.min(image.width, image.height) / crop.zoom;
  const context = canvas.getContext('2d');
  context.imageSmoothingQuality = 'high';
  context.clearRect(0, 0, SIDE, SIDE);
  context.drawImage(image, (image.width - part) * crop.x, (image.height - part) * crop.y, part, part, 0, 0, SIDE, SIDE);
}

function Crop({ file, onClose }) {
  const [image, setImage] = useState(null);
  const [crop, setCrop] = useState({ zoom: 1, x: 0.5, y: 0.5 });
  const [error, setError] = useState('');
  const [busy, setBusy] = useState(false);
  const canvas = useRef(null);
  const from = useRef(null);
  useEffect(() => {
    createImageBitmap(file).then(setImage, () => setError(strings.unreadable));
  }, []);
  useLayoutEffect(() => {
    if (image) draw(canvas.current, image, crop);
  }, [image, crop]);

  const set = (change) => setCrop((old) => ({ ...old, ...change }));
  /** Moves by pixels of the view. */
  function move(dx, dy) {
    const part = Math.min(image.width, image.height) / crop.zoom;
    const scale = part / canvas.current.clientWidth;
    const along = (at, by, room) => (room <= 0 ? 0.5 : within(at - (by * scale) / room, 0, 1));
    set({ x: along(crop.x, dx, image.width - part), y: along(crop.y, dy, image.height - part) });
  }
  function drag(event) {
    if (!from.current || !image) return;
    move(event.clientX - from.current.x, event.clientY - from.current.y);
    from.current = { x: event.clientX, y: event.clientY };
  }
  function wheel(event) {
    event.preventDefault();
    set({ zoom: within(crop.zoom * (event.deltaY < 0 ? 1.1 : 1 / 1.1), 1, MAX_ZOOM) });
  }
  async function save() {
    setBusy(true);
    setError('');
    try {
      const blob = await new Promise((done) => { canvas.current.toBlob(done, 'image/png'); });
      if (blob.size > MAX_BYTES) throw new Error(strings.large(blob.size));
      const form = new FormData();
      form.append('avatar', blob, 'avatar.png');
      await upload('/api/avatar/upload', form);
      onClose(true);
    } catch (failure) {
      setError(failure.message);
      setBusy(false);
    }
  }
  const slider = (name, text, min, max, step) => html`<label class="slider"><span class="small">${text}</span>
    <input type="range" min=${min} max=${max} step=${step} value=${crop[name]} data-first=${name === 'zoom' || undefined}
      onInput=${(event) => set({ [name]: Number(event.currentTarget.value) })} /></label>`;
  return html`<${Dialog} title=${strings.title} onClose=${() => onClose(false)} keep>
    <p class="small muted">${strings.hint}</p>
    <div class="crop">
      <canvas ref=${canvas} width=${SIDE} height=${SIDE} role="img" aria-label=${strings.view} onWheel=${wheel}
        onPointerDown=${(event) => { event.currentTarget.setPointerCapture(event.pointerId); from.current = { x: event.clientX, y: event.clientY }; }}
        onPointerMove=${drag} onPointerUp=${() => { from.current = null; }} onPointerCancel=${() => { from.current = null; }}></canvas>
      <div class="stack">${slider('zoom', strings.zoom, 1, MAX_ZOOM, 0.05)}${slider('x', strings.left, 0, 1, STEP)}${slider('y', strings.top, 0, 1, STEP)}</div>
    </div>
    ${error && html`<p class="field-error" role="alert">${error}</p>`}
    <div class="row dialog-ways">
      <button type="button" class="button" onClick=${() => onClose(false)}>${strings.cancel}</button>
      <button type="button" class="button primary" aria-disabled=${String(!image || busy)} onClick=${() => image && !busy && save()}>${busy ? strings.saving : strings.save}</button>
    </div>
  <//>`;
}

/** Asks which part of `file` becomes the own picture and sends it; true when there is a new one. */
export const cropPicture = (file) => openDialog((close) => html`<${Crop} file=${file} onClose=${close} />`);

/** A button that asks for a file; `onDone` is called when there is a new picture. */
export function PictureButton({ text, onDone, primary = false }) {
  const input = useRef(null);
  async function chosen() {
    const [file] = input.current.files;
    input.current.value = '';
    if (file && await cropPicture(file)) onDone();
  }
  return html`<button type="button" class=${primary ? 'button primary' : 'button'} onClick=${() => input.current.click()}>${text}</button>
    <input ref=${input} type="file" accept=${PICTURES} hidden onChange=${chosen} />`;
}
