// Days and times of day. The browser's own fields are used: they speak everybody's language, take keys, and open the system's own
// calendar on a phone. Beside them stand a way to now and a way to nothing.
// Offers: DateField (`2026-03-09`), TimeField (`14:05:00`).

import { html, useRef } from '../../vendor/ui.js';
import { Field } from './field.js';
import { Icon } from './icon.js';

const strings = {
  today: 'Today',
  now: 'Now',
  clear: 'Clear',
  badDate: 'This day does not exist. Type year, month and day.',
  badTime: 'This time is not complete. Type hours and minutes.',
};

const two = (number) => String(number).padStart(2, '0');
const dayOf = (time) => `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
/** Times are kept with their seconds, as the database does; the field shows hours and minutes. */
const timeOf = (time) => `${two(time.getHours())}:${two(time.getMinutes())}:00`;
const whole = (text) => (text.length === 5 ? `${text}:00` : text);

function Moment({ type, value, onChange, onBroken, now, nowText, input, names, label }) {
  const box = useRef(null);
  const hear = ({ currentTarget: field }) => {
    // Half a date reads as none. What was there before stays until it is whole, or taken away on purpose; whoever goes on with half
    // a date is told.
    if (field.validity.badInput) return;
    onBroken(false);
    onChange(type === 'time' && field.value ? whole(field.value) : field.value);
  };
  const set = (text) => {
    onBroken(false);
    // A half-typed one has no value to compare with, so it would stay.
    box.current.value = text;
    onChange(text);
    box.current.focus();
  };
  return html`<div class="with-buttons moment">
    <input ...${names} ...${input} ref=${box} type=${type} value=${value} onInput=${hear} onBlur=${({ currentTarget: field }) => onBroken(field.validity.badInput)} />
    <button type="button" class="button small" disabled=${input.disabled} aria-label=${`${nowText}: ${label}`} onClick=${() => set(now())}>${nowText}</button>
    ${value && html`<button type="button" class="button small" disabled=${input.disabled} aria-label=${`${strings.clear}: ${label}`} onClick=${() => set('')}><${Icon} name="close" />${strings.clear}</button>`}
  </div>`;
}

const field = (type, now, nowText, broken) => ({ value, onChange, onBroken = () => {}, isBroken = false, input = {}, error, ...rest }) =>
  html`<${Field} ...${rest} error=${error || (isBroken ? broken : '')}>
    ${(names) => html`<${Moment} type=${type} value=${value} onChange=${onChange} onBroken=${onBroken} now=${now} nowText=${nowText} input=${input} names=${names} label=${rest.label} />`}<//>`;

/** A day. `onBroken(yes)` hears that what is typed is no day yet; `isBroken` says so at the field. */
export const DateField = field('date', () => dayOf(new Date()), strings.today, strings.badDate);

/** A time of day. */
export const TimeField = field('time', () => timeOf(new Date()), strings.now, strings.badTime);
