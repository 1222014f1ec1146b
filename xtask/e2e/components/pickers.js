// Fields that are filled by choosing: a path, a day, a time, an emoji, a camera.

import { DateField, TimeField } from '/assets/js/components/date-time.js';
import { Device } from '/assets/js/components/device.js';
import { EmojiButton } from '/assets/js/components/emoji.js';
import { PathField, pickPath } from '/assets/js/components/path-picker.js';
import { html, useRef, useState } from '/assets/vendor/ui.js';
import { HEBREW, MARKUP, say } from './stage.js';

/** A machine with a few folders. */
const folder = (name) => ({ name, is_dir: true });
const file = (name, size) => ({ name, is_dir: false, size });
const machine = {
  '/home': [folder('empty'), folder(HEBREW), folder('photos'), folder('projects'), folder('secret'), file('notes.txt', 12), file(MARKUP.replaceAll('/', '-'), 5)],
  '/home/empty': null,
  '/home/photos': [file('a.png', 2048), file('b.PNG', 1), file('c.txt', 1)],
  '/home/projects': [folder('goop')],
  '/home/projects/goop': null,
  '/': [folder('home')],
};
async function browse(dir) {
  const asked = dir || '/home';
  if (!(asked in machine)) throw Object.assign(new Error('cannot read directory'), { status: 400 });
  return { dir: asked, parent: asked.replace(/\/[^/]*$/, '') || '/', entries: machine[asked] };
}

/** Cameras whose names are hidden until somebody allows that they are used. */
let allowed = false;
let refuse = true;
let open = 0;
const camera = (at) => ({ kind: 'videoinput', deviceId: `id-${at}`, label: allowed ? `Camera ${at} ${at === 2 ? MARKUP : ''}`.trim() : '' });
const media = Object.assign(new EventTarget(), {
  enumerateDevices: async () => [camera(1), camera(2), { kind: 'audioinput', deviceId: 'mic', label: '' }],
  getUserMedia: async (wants) => {
    if (refuse) throw new DOMException('no', 'NotAllowedError');
    allowed = true;
    open += 1;
    return { getTracks: () => [{ stop: () => { open -= 1; say(`asked for ${Object.keys(wants)}, ${open} left open`); } }] };
  },
});
Object.defineProperty(navigator, 'mediaDevices', { value: media });

export function Part() {
  const [path, setPath] = useState('');
  const [day, setDay] = useState('2026-03-09');
  const [isBroken, setBroken] = useState(false);
  const [time, setTime] = useState('');
  const [device, setDevice] = useState('');
  const box = useRef(null);
  const choose = () => pickPath({ kind: 'file', ends: ['.png'], from: '/home/photos', browse }).then((found) => say(`file ${found}`));
  return html`<div class="card stack">
    <${PathField} id="path" label="Store" value=${path} onChange=${setPath} browse=${browse} />
    <p><button type="button" class="button" onClick=${choose}>Choose a picture</button></p>
    <${DateField} id="day" label="Day" value=${day} onChange=${(value) => { setDay(value); say(`day ${value}`); }} isBroken=${isBroken} onBroken=${setBroken} />
    <${TimeField} id="time" label="Time" value=${time} onChange=${(value) => { setTime(value); say(`time ${value}`); }} />
    <div class="row"><label for="message">Message</label><input id="message" class="search" ref=${box} onInput=${(event) => say(`message ${event.currentTarget.value}`)} /><${EmojiButton} field=${box} /></div>
    <${Device} id="device" label="Camera" of="videoinput" value=${device} onChange=${setDevice} />
    <button type="button" class="button" onClick=${() => { refuse = false; }}>Allow cameras</button>
  </div>`;
}
