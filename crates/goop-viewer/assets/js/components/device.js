// Which camera or microphone is used. Browsers hide the names of devices until somebody allows that they are used; that is asked
// only when the button for it is pressed, and what was opened for it is closed at once.
// Offers: Device.

import { html, signal, useEffect, useState } from '../../vendor/ui.js';
import { Field } from './field.js';
import { Icon } from './icon.js';

const strings = {
  default: 'as the system says',
  kept: 'the one that was chosen before',
  unnamed: (number) => `device ${number}`,
  ask: 'Show the names',
  asking: 'The browser asks you…',
  refused: 'The browser was not allowed to say the names. Its settings for this page can change that.',
  none: 'No such device was found. Plug one in, then press the button again.',
  unable: 'This browser shows no devices to pages. Try another browser on this machine.',
};

/** What getUserMedia calls what enumerateDevices lists. */
const WANTS = { videoinput: { video: true }, audioinput: { audio: true } };

/** The devices as this browser tells them now. */
const devices = signal([]);
const media = () => navigator.mediaDevices;

async function look() {
  devices.value = await media().enumerateDevices();
}

/** Asks for one of the kind, so that the browser tells names, and lets it go again. */
async function name(of) {
  const stream = await media().getUserMedia(WANTS[of]);
  await look();
  for (const track of stream.getTracks()) track.stop();
}

/** `of` is `videoinput` or `audioinput`; the value is the browser's id of a device, or '' for the system's own. */
export function Device({ value, onChange, of, ...field }) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState('');
  useEffect(() => {
    if (!media()?.enumerateDevices) return undefined;
    const again = () => look().catch(() => {});
    again();
    media().addEventListener('devicechange', again);
    return () => media().removeEventListener('devicechange', again);
  }, []);
  const list = devices.value.filter(({ kind, deviceId }) => kind === of && deviceId !== '' && deviceId !== 'default');
  const known = list.some(({ deviceId, label }) => deviceId === value || label === value);
  const ask = async () => {
    setBusy(true);
    setProblem('');
    try {
      if (!media()?.getUserMedia) throw new Error(strings.unable);
      await name(of);
    } catch (error) {
      setProblem({ NotAllowedError: strings.refused, NotFoundError: strings.none }[error.name] ?? error.message);
    }
    setBusy(false);
  };
  // Go peers keep an id, people who edit the file by hand a name: both are shown as what they are.
  const idOf = (device) => (device.label !== '' && device.label === value ? value : device.deviceId);
  return html`<${Field} ...${field} error=${field.error || problem}>${(names) => html`<div class="with-buttons">
    <select ...${names} value=${value} onChange=${(event) => onChange(event.currentTarget.value)}>
      <option value="" selected=${value === ''}>${strings.default}</option>
      ${list.map((device, at) => html`<option key=${device.deviceId} value=${idOf(device)} selected=${idOf(device) === value}>${device.label || strings.unnamed(at + 1)}</option>`)}
      ${value !== '' && !known && html`<option value=${value} selected>${strings.kept}</option>`}
    </select>
    ${!list.some(({ label }) => label !== '') && html`<button type="button" class="button small" aria-label=${`${strings.ask}: ${field.label}`} aria-disabled=${String(busy)} onClick=${() => busy || ask()}>
      <${Icon} name="camera" />${busy ? strings.asking : strings.ask}</button>`}
  </div>`}<//>`;
}
