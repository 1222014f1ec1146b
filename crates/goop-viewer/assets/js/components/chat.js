// The conversation with one peer: its lines, more of them upward, what is new, what became of each own one; writing, finding.
// Offers: Chat.

import { get, post, remove } from '../api.js';
import { markRead, watching } from '../chat.js';
import { day, moment, plain } from '../format.js';
import { html, useEffect, useLayoutEffect, useRef, useState } from '../../vendor/ui.js';
import { ChatLine } from './chat-line.js';
import { useLines } from './chat-lines.js';
import { confirm } from './dialog.js';
import { EmojiButton } from './emoji.js';
import { Icon } from './icon.js';
import { openMenu } from './menu.js';
import { useListener } from './mount.js';
import { Failure, Loading } from './states.js';
import { toast, toastError } from './toast.js';

const strings = {
  heading: 'Conversation',
  lines: (name) => `Conversation with ${name}`,
  menu: 'What can be done with this conversation',
  find: 'Find in this conversation',
  findClose: 'Close the search',
  found: (n) => (n === 1 ? 'One message found' : `${n} messages found`),
  nothing: 'No message contains this.',
  gone: 'This message is not kept any more.',
  clear: 'Clear the conversation',
  clearTitle: (name) => `Clear the conversation with ${name}?`,
  clearText: 'It is forgotten here, with what still waits to be sent. The other side keeps what it has.',
  clearOk: 'Clear',
  cleared: 'The conversation is cleared',
  field: (name) => `Message to ${name}`,
  send: 'Send',
  empty: (name) => `You and ${name} have not written to each other yet.`,
  fresh: 'New',
  down: 'To the newest message',
  older: 'Older messages',
  me: 'You',
};

/** Pixels from the end that count as being there. */
const NEAR = 48;
const draftKey = (id) => `draft-${id}`;

/** Search among all lines of the conversation. */
function Find({ id, name, onShow, onClose }) {
  const [text, setText] = useState('');
  const [found, setFound] = useState(null);
  const [error, setError] = useState(null);
  const field = useRef(null);
  useEffect(() => field.current.focus(), []);
  async function search(event) {
    event.preventDefault();
    const wanted = text.trim();
    if (!wanted) return;
    try {
      setError(null);
      setFound(await get(`/api/chat/search?${new URLSearchParams({ peer_id: id, q: wanted })}`));
    } catch (why) {
      setError(why);
    }
  }
  return html`<form class="chat-find stack-tight" role="search" onSubmit=${search} onKeyDown=${(event) => event.key === 'Escape' && onClose()}>
    <div class="row"><input class="search" type="search" ref=${field} aria-label=${strings.find} placeholder=${strings.find} value=${text} onInput=${(event) => setText(event.currentTarget.value)} />
      <button type="submit" class="icon-button" aria-label=${strings.find}><${Icon} name="search" /></button>
      <button type="button" class="icon-button" aria-label=${strings.findClose} onClick=${onClose}><${Icon} name="close" /></button></div>
    ${error && html`<p class="field-error" role="alert"><${Icon} name="error" />${error.message}</p>`}
    ${found && html`<p class="small muted" role="status">${found.length > 0 ? strings.found(found.length) : strings.nothing}</p>`}
    ${found?.length > 0 && html`<ul class="chat-found" role="list">${found.map(({ line }) => html`<li key=${line.number}>
      <button type="button" class="found" onClick=${() => onShow(line.number)}><span class="cut">${plain(line.content)}</span>
        <span class="small muted">${`${line.from === id ? name : strings.me} · ${day(line.timestamp)}, ${moment(line.timestamp)}`}</span></button></li>`)}</ul>`}
  </form>`;
}

/** The field for a new line. What is typed stays until it is on the peer's disk, also when the page is left. */
function Compose({ id, name, field }) {
  const [text, setText] = useState(sessionStorage.getItem(draftKey(id)) ?? '');
  const [error, setError] = useState(null);
  const keep = (next) => {
    setText(next);
    if (next) sessionStorage.setItem(draftKey(id), next);
    else sessionStorage.removeItem(draftKey(id));
  };
  useLayoutEffect(() => {
    const box = field.current;
    box.style.height = 'auto';
    box.style.height = `${box.scrollHeight + 2}px`;
  }, [text]);
  async function send(event) {
    event?.preventDefault();
    const said = text.trim();
    if (!said) return;
    keep('');
    setError(null);
    field.current.focus();
    try {
      await post('/api/chat/send', { peer_id: id, content: said });
    } catch (why) {
      setError(why);
      // Whatever was typed meanwhile comes after it.
      const since = field.current?.value ?? '';
      keep(since ? `${said}\n${since}` : said);
    }
  }
  function key(event) {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  }
  return html`<form class="compose" onSubmit=${send}>
    ${error && html`<p class="field-error" role="alert" id="compose-error"><${Icon} name="error" />${error.message}</p>`}
    <div class="compose-row">
      <${EmojiButton} field=${field} />
      <textarea rows="1" ref=${field} dir="auto" aria-label=${strings.field(name)} placeholder=${strings.field(name)} aria-describedby=${error ? 'compose-error' : undefined}
        value=${text} onInput=${(event) => keep(event.currentTarget.value)} onKeyDown=${key}></textarea>
      <button type="submit" class="button primary compose-send" aria-label=${strings.send} aria-disabled=${String(!text.trim())}><${Icon} name="send" /></button>
    </div>
  </form>`;
}

/** Lines with marks: a new day, and where the unread ones begin. */
function marked(lines, id, mark) {
  const out = [];
  let today = '';
  let isMarked = false;
  for (const line of lines) {
    const date = day(line.timestamp);
    if (date !== today) out.push({ key: `day-${line.number}`, day: date });
    today = date;
    if (mark !== null && !isMarked && line.number > mark && line.from === id) {
      isMarked = true;
      out.push({ key: 'new', fresh: true });
    }
    out.push({ key: line.number, line });
  }
  return out;
}

function Lines({ id, name, there, held, chat, field, shown }) {
  const { lines, more, ready, read } = chat;
  const view = useRef(null);
  /** How the view stood before the lines changed. */
  const stood = useRef({ end: true, rest: 0, height: 0, room: 0, first: 0, placed: false, newest: 0 });
  const [end, setEnd] = useState(true);
  const [mark, setMark] = useState(null);

  function look() {
    const { scrollHeight, scrollTop, clientHeight } = view.current;
    // Letters and pictures that came late, or a smaller window, are no scrolling.
    const isOther = scrollHeight !== stood.current.height || clientHeight !== stood.current.room;
    if (isOther && stood.current.end) view.current.scrollTop = scrollHeight;
    else if (scrollTop < NEAR && more) chat.older();
    stand();
    seen();
  }
  /** Notes how the view stands now. */
  function stand() {
    const { scrollHeight, scrollTop, clientHeight } = view.current;
    const rest = scrollHeight - scrollTop;
    Object.assign(stood.current, { rest, height: scrollHeight, room: clientHeight, end: rest - clientHeight < NEAR });
    setEnd(stood.current.end);
  }
  /** What stands at the end before somebody's eyes is read. */
  function seen() {
    const last = lines.at(-1);
    if (!last || last.number <= read || document.hidden || !stood.current.end) return;
    markRead(id, last.number).catch(() => {});
  }
  useListener(document, 'visibilitychange', seen);
  useEffect(() => {
    const before = stood.current.newest;
    stood.current.newest = lines.at(-1)?.number ?? 0;
    const unseen = before > 0 && (document.hidden || !stood.current.end) && lines.some(({ number, from }) => number > before && from === id);
    if (unseen) setMark((old) => (old === null || old >= before ? before : old));
    seen();
  }, [lines]);
  useEffect(() => {
    if (ready && lines.some(({ number, from }) => number > read && from === id)) setMark(read);
  }, [ready]);
  useLayoutEffect(() => {
    const box = view.current;
    const first = lines[0]?.number ?? 0;
    const fresh = box.querySelector('.line-mark.fresh');
    if (!stood.current.placed && fresh) box.scrollTop = fresh.offsetTop - box.offsetTop - NEAR;
    else if (stood.current.end) box.scrollTop = box.scrollHeight;
    else if (first < stood.current.first) box.scrollTop = box.scrollHeight - stood.current.rest;
    stood.current.placed ||= Boolean(fresh);
    stood.current.first = first;
    stand();
  }, [lines, mark]);
  const newestLook = useRef(look);
  newestLook.current = look;
  useEffect(() => {
    const watcher = new ResizeObserver(() => newestLook.current());
    watcher.observe(view.current);
    watcher.observe(view.current.firstElementChild);
    return () => watcher.disconnect();
  }, []);
  useEffect(() => {
    if (!shown) return;
    const line = view.current.querySelector(`[data-number="${shown.number}"]`);
    line?.scrollIntoView({ block: 'center' });
  }, [shown]);
  const toEnd = () => {
    view.current.scrollTop = view.current.scrollHeight;
    field.current.focus();
  };
  const again = (text) => {
    field.current.value = field.current.value ? `${field.current.value}\n${text}` : text;
    field.current.dispatchEvent(new InputEvent('input', { bubbles: true }));
    field.current.focus();
  };
  return html`<div class="chat-box">
    <div class="chat-lines" role="log" tabindex="0" aria-label=${strings.lines(name)} ref=${view} onScroll=${look}><div class="chat-inner">
      ${more && html`<button type="button" class="button quiet small chat-older" onClick=${chat.older}>${strings.older}</button>`}
      ${!ready && !chat.error && html`<${Loading} />`}
      ${ready && lines.length === 0 && html`<p class="muted chat-empty">${strings.empty(name)}</p>`}
      ${marked(lines, id, mark).map((item) => (item.line
    ? html`<${ChatLine} key=${item.key} line=${item.line} mine=${item.line.from !== id} id=${id} name=${name} there=${there} held=${held} marked=${shown?.number === item.line.number} onAgain=${again} />`
    : html`<p key=${item.key} class=${item.fresh ? 'line-mark fresh' : 'line-mark'}><span>${item.fresh ? strings.fresh : item.day}</span></p>`))}
    </div></div>
    ${!end && html`<button type="button" class="button small chat-down" onClick=${toEnd}><${Icon} name="open" />${strings.down}</button>`}
  </div>`;
}

/** Leads to the conversation, and stays there while what is above it is still being drawn; until somebody moves. */
function arrive(field) {
  const section = field.closest('section');
  const show = () => section.scrollIntoView({ block: 'start' });
  field.focus({ preventScroll: true });
  const watcher = new ResizeObserver(show);
  watcher.observe(document.getElementById('main'));
  const moves = ['wheel', 'touchmove', 'pointerdown', 'keydown'];
  const stop = () => {
    watcher.disconnect();
    for (const move of moves) removeEventListener(move, stop);
  };
  for (const move of moves) addEventListener(move, stop, { passive: true });
  return stop;
}

/** `there`: the peer can be reached now. `held`: nothing goes out before the owner decided about the key. */
export function Chat({ id, name, there, held }) {
  const chat = useLines(id);
  const field = useRef(null);
  const [finding, setFinding] = useState(false);
  const [shown, setShown] = useState(null);
  useEffect(() => {
    watching.value = id;
    const stay = location.hash === '#chat' && arrive(field.current);
    return () => {
      watching.value = '';
      stay?.();
    };
  }, []);
  async function show(number) {
    if (await chat.reach(number)) setShown({ number });
    else toast(strings.gone, { level: 'warning' });
  }
  async function clear() {
    const sure = await confirm({ title: strings.clearTitle(name), text: strings.clearText, ok: strings.clearOk, bad: true });
    if (!sure) return;
    await remove(`/api/chat/history?peer_id=${encodeURIComponent(id)}`).then(() => toast(strings.cleared, { level: 'success' }), toastError);
  }
  const menu = () => [
    { text: strings.find, icon: 'search', act: () => setFinding(true) },
    chat.lines.length > 0 && { text: strings.clear, icon: 'trash', bad: true, act: clear },
  ];
  return html`<section class="card chat" id="chat" aria-labelledby="chat-heading">
    <div class="row spread chat-head"><h2 id="chat-heading" class="cut">${strings.heading}</h2>
      <button type="button" class="icon-button" aria-label=${strings.menu} aria-haspopup="menu" onClick=${(event) => openMenu(event.currentTarget, strings.menu, menu())}><${Icon} name="more" /></button></div>
    ${finding && html`<${Find} id=${id} name=${name} onShow=${show} onClose=${() => { setFinding(false); field.current.focus(); }} />`}
    ${chat.error && html`<${Failure} error=${chat.error} again=${chat.again} />`}
    <${Lines} id=${id} name=${name} there=${there} held=${held} chat=${chat} field=${field} shown=${shown} />
    <${Compose} id=${id} name=${name} field=${field} />
  </section>`;
}
