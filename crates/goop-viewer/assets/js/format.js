// Words for times and sizes, and texts of others as they are shown.

import { signal } from '../vendor/ui.js';

const strings = {
  now: 'just now',
  minutes: (n) => `${n} min ago`,
  hours: (n) => `${n} h ago`,
  days: (n) => (n === 1 ? 'yesterday' : `${n} days ago`),
  never: 'a while ago',
  today: 'Today',
  yesterday: 'Yesterday',
  units: ['bytes', 'KB', 'MB', 'GB'],
};

/** Longest name that is shown, in characters; the own one may have as many. */
const MAX_NAME = 200;

/** Milliseconds between two looks at the clock. */
const TICK = 30_000;

/** The time, for whoever shows how long ago something was. */
export const clock = signal(Date.now());
setInterval(() => { clock.value = Date.now(); }, TICK);

/** How long ago `time` (Unix milliseconds) was. */
export function ago(time) {
  const minutes = Math.floor((clock.value - time) / 60_000);
  if (!Number.isFinite(minutes) || minutes > 60 * 24 * 30) return strings.never;
  if (minutes < 1) return strings.now;
  if (minutes < 60) return strings.minutes(minutes);
  return minutes < 60 * 24 ? strings.hours(Math.floor(minutes / 60)) : strings.days(Math.floor(minutes / 60 / 24));
}

const times = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const dates = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' });
const datesOfYears = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'long', year: 'numeric' });

/** The time of day of `time` (Unix milliseconds). */
export const moment = (time) => times.format(time);

/** The day of `time`, as people say it. */
export function day(time) {
  const now = new Date(clock.value);
  const then = new Date(time);
  const start = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate());
  // Days are not always 24 hours long.
  const days = Math.round((start(now) - start(then)) / 86_400_000);
  if (days === 0) return strings.today;
  if (days === 1) return strings.yesterday;
  return (now.getFullYear() === then.getFullYear() ? dates : datesOfYears).format(then);
}

/** A number of bytes, as `1.4 MB`. */
export function size(bytes) {
  const step = bytes < 1 ? 0 : Math.min(strings.units.length - 1, Math.floor(Math.log(bytes) / Math.log(1024)));
  const value = bytes / 1024 ** step;
  return `${step === 0 || value >= 10 ? Math.round(value) : value.toFixed(1)} ${strings.units[step]}`;
}

/** A text of somebody else as it is shown: one line, nothing that turns around what stands beside it, not without end. */
export function plain(text, most = MAX_NAME) {
  const line = text.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ').replace(/[\u202a-\u202e\u2066-\u2069]/g, '').trim();
  return line.length > most ? `${line.slice(0, most - 1).replace(/[\ud800-\udbff]$/, '')}…` : line;
}
