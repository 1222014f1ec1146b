// Form fields: a label, the control, a hint, and the error beside it.
// Offers: Field, Text, Choice, Switch, Secret.

import { html, useState } from '../../vendor/ui.js';
import { Icon } from './icon.js';

const strings = {
  set: 'set',
  notSet: 'not set',
  toErase: 'will be erased',
  show: 'Show',
  hide: 'Hide',
  erase: 'Erase',
  keep: 'Keep it',
  stays: 'Leave empty to keep what is set',
  generate: 'Generate',
  restart: 'takes effect after a restart',
  pending: 'saved, waits for a restart',
};

/** Label, hint and error around a control; `children(props)` draws it with the names it has to carry. */
export function Field({ id, label, hint, error, restart, pending, extra, children }) {
  const notes = [hint && `${id}-hint`, (restart || pending) && `${id}-restart`, error && `${id}-error`].filter(Boolean).join(' ');
  return html`<div class="field" data-invalid=${Boolean(error)}>
    <div class="field-head"><label for=${id}>${label}</label>${extra}
      ${(restart || pending) && html`<span id=${`${id}-restart`} class=${pending ? 'badge warn' : 'badge later'}>${!pending && html`<${Icon} name="restart" />`}${pending ? strings.pending : strings.restart}</span>`}</div>
    ${children({ id, 'aria-describedby': notes || undefined, 'aria-invalid': error ? 'true' : undefined })}
    ${hint && html`<p id=${`${id}-hint`} class="hint">${hint}</p>`}
    ${error && html`<p id=${`${id}-error`} class="field-error"><${Icon} name="error" />${error}</p>`}
  </div>`;
}

/** A line of text or a number. What is typed stays as it is; `onChange` hears the text. */
export const Text = ({ value, onChange, type = 'text', input = {}, ...field }) => html`<${Field} ...${field}>
  ${(names) => html`<input ...${names} ...${input} type=${type} value=${value} onInput=${(event) => onChange(event.currentTarget.value)} />`}
<//>`;

/** One of `choices`, pairs of value and text. */
export const Choice = ({ value, choices, onChange, input = {}, ...field }) => html`<${Field} ...${field}>
  ${(names) => html`<select ...${names} ...${input} value=${value} onChange=${(event) => onChange(event.currentTarget.value)}>
    ${choices.map(([key, text]) => html`<option key=${key} value=${key} selected=${key === value}>${text}</option>`)}
  </select>`}
<//>`;

/** On or off. */
export function Switch({ id, label, value, onChange, hint, error, restart, pending, disabled }) {
  const notes = [hint && `${id}-hint`, (restart || pending) && `${id}-restart`, error && `${id}-error`].filter(Boolean).join(' ');
  return html`<div class="field" data-invalid=${Boolean(error)}>
    <div class="field-head"><label class="switch"><input id=${id} type="checkbox" role="switch" checked=${value} disabled=${disabled}
      aria-describedby=${notes || undefined} aria-invalid=${error ? 'true' : undefined} onChange=${(event) => onChange(event.currentTarget.checked)} /><span>${label}</span></label>
      ${(restart || pending) && html`<span id=${`${id}-restart`} class=${pending ? 'badge warn' : 'badge later'}>${!pending && html`<${Icon} name="restart" />`}${pending ? strings.pending : strings.restart}</span>`}</div>
    ${hint && html`<p id=${`${id}-hint`} class="hint">${hint}</p>`}
    ${error && html`<p id=${`${id}-error`} class="field-error"><${Icon} name="error" />${error}</p>`}
  </div>`;
}

/** A secret that the peer never tells: it is set or not, a new one can be typed, and it can be erased (`null`). */
export function Secret({ value, isSet, onChange, generate, input = {}, ...field }) {
  const [open, setOpen] = useState(false);
  const erased = value === null;
  const status = erased ? strings.toErase : isSet ? strings.set : strings.notSet;
  const make = () => { onChange(generate()); setOpen(true); };
  return html`<${Field} ...${field} extra=${html`<span class="badge" data-set=${isSet && !erased}>${status}</span>`}>
    ${(names) => html`<div class="with-buttons">
      <input ...${names} ...${input} type=${open ? 'text' : 'password'} autocomplete="off" spellcheck=${false} value=${value ?? ''} disabled=${erased || input.disabled}
        placeholder=${isSet && !erased ? strings.stays : ''} onInput=${(event) => onChange(event.currentTarget.value)} />
      <button type="button" class="button small" aria-pressed=${String(open)} aria-label=${`${open ? strings.hide : strings.show}: ${field.label}`} disabled=${!value} onClick=${() => setOpen(!open)}>
        <${Icon} name=${open ? 'eye-off' : 'eye'} />${open ? strings.hide : strings.show}</button>
      ${generate && html`<button type="button" class="button small" aria-label=${`${strings.generate}: ${field.label}`} disabled=${input.disabled} onClick=${make}><${Icon} name="key" />${strings.generate}</button>`}
      ${isSet && html`<button type="button" class="button small" aria-label=${`${erased ? strings.keep : strings.erase}: ${field.label}`} onClick=${() => onChange(erased ? '' : null)}>
        <${Icon} name=${erased ? 'undo' : 'trash'} />${erased ? strings.keep : strings.erase}</button>`}
    </div>`}
  <//>`;
}
