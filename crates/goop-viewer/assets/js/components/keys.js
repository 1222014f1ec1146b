// The key of a peer: whether what is written is sealed, comparing words on both screens, and another key than before, which
// is shown and never agreed to by itself.
// Offers: useKey, KeyFact, KeyNotice, followKeys.

import { get, post } from '../api.js';
import { nameOf } from '../chat.js';
import { listen } from '../events.js';
import { go } from '../navigate.js';
import { html, useEffect, useRef, useState } from '../../vendor/ui.js';
import { beginning } from './chat-lines.js';
import { Dialog, openDialog } from './dialog.js';
import { Icon } from './icon.js';
import { useLoad } from './mount.js';
import { Loaded } from './states.js';
import { toast, toastError } from './toast.js';

const strings = {
  title: (name) => `Compare keys with ${name}`,
  how: (name) => `Ask ${name} to open this dialog too, and read the words to each other: side by side, or in a call where you know the voice. Do not send them here.`,
  order: 'The words are the same on both screens, in the same order.',
  words: 'Words to compare',
  same: 'They are the same',
  differ: 'They differ',
  later: 'Later',
  verified: (name) => `You compared the keys with ${name}. If they ever change, nothing is sent before you decide.`,
  different: 'Then somebody may be between you. Do not write anything secret here, and compare again on another network.',
  noKey: (name) => `The key of ${name} is not known yet. It comes by itself as soon as the other side answers.`,
  close: 'Close',
  facts: {
    none: 'key not known yet',
    plain: 'what you write is not sealed',
    sealed: 'sealed, keys not compared',
    verified: 'sealed, keys compared',
    offered: 'changed; nothing is sent',
  },
  compare: 'Compare keys…',
  offeredTitle: (name) => `The key of ${name} is not the one you compared`,
  offeredText: (name) => `That happens when ${name} set up this peer anew, and it happens when somebody pretends to be ${name}. Nothing is sent until you decide: compare the new words, or ask ${name} in another way.`,
  accept: 'Compare the new words…',
  acceptTitle: (name) => `Words of the new key of ${name}`,
  replacedTitle: (name) => `${name} has another key than before`,
  replacedText: (name) => `That happens when ${name} set up this peer anew, and it happens when somebody pretends to be ${name}. Compare the keys to be sure.`,
  doubtedTitle: (name) => `${name} sees another key of yours than before`,
  doubtedText: 'That is right if you set up this peer anew. If you did not, somebody may pretend to be you. Compare the keys to be sure.',
  seen: 'I know',
  plainTitle: (name) => `${name} stopped sealing`,
  plainText: 'Messages from there came unsealed, which they were before.',
};

/** Milliseconds until a key that is not known is asked for once more. */
const ASK_AGAIN = 3000;

const path = (id) => `/api/mq/key?peer_id=${encodeURIComponent(id)}`;

/** What is known of a peer's key, newly asked for whenever it may be another one. The first key of a peer comes with its event;
 * only who needs its `words` asks for them. */
export function useKey(id, words = false) {
  const run = useRef({ begun: '', told: {} }).current;
  const state = useLoad(async () => {
    const isFirst = run.begun !== id && !words;
    if (run.begun !== id) Object.assign(run, { begun: id, told: {} });
    const now = isFirst ? (await beginning(id)).key : await get(path(id));
    return now.key ? now : { ...now, ...run.told };
  }, [id]);
  const isKnown = Boolean(state.data?.key);
  useEffect(() => listen(({ topic, payload, from }) => {
    if (!words && topic === 'mq:key' && payload.peerID === id && payload.event === 'known') {
      run.told = { key: payload.new, sealed: true };
      if (state.data) state.set({ ...state.data, ...run.told });
      return;
    }
    const isIt = from === id || (topic === 'peer:announce' && payload.peerID === id);
    if (topic === 'reset' || (topic === 'mq:key' && payload.peerID === id) || (isIt && !isKnown)) state.again();
  }), [id, state.again, state.data]);
  // A peer that did not answer is asked once more; the peer itself sees to it that this is not too often.
  useEffect(() => {
    if (!state.data || state.data.key) return undefined;
    const timer = setTimeout(state.again, ASK_AGAIN);
    return () => clearTimeout(timer);
  }, [state.data]);
  return state;
}

/** Says something about a key that was looked at. */
async function say(id, said, key, set) {
  try {
    set(await post('/api/mq/key', { peer_id: id, said, key }));
    return true;
  } catch (error) {
    toastError(error);
    return false;
  }
}

function Compare({ id, name, close, set }) {
  const key = useKey(id, true);
  const [differs, setDiffers] = useState(false);
  const { data } = key;
  const looked = data && (data.offered || data.key);
  async function same() {
    const agreed = !data.offered || await say(id, 'accept', looked, () => {});
    if (agreed && await say(id, 'verified', looked, set)) {
      toast(strings.verified(name), { level: 'success' });
      close(true);
    } else key.again();
  }
  async function differ() {
    if (!data.offered) await say(id, 'unverified', looked, set);
    setDiffers(true);
  }
  const title = data?.offered ? strings.acceptTitle(name) : strings.title(name);
  return html`<${Dialog} title=${title} onClose=${() => close(false)}>
    <${Loaded} from=${key}>${() => (data.words.length === 0 ? html`<p>${strings.noKey(name)}</p>
      <div class="row dialog-ways"><button type="button" class="button" onClick=${() => close(false)}>${strings.close}</button></div>` : html`
      <p>${strings.how(name)}</p>
      <ol class="key-words" aria-label=${strings.words}>${data.words.flat().map((word, at) => html`<li key=${at}>${word}</li>`)}</ol>
      ${differs ? html`<p class="note bad" role="alert">${strings.different}</p>
      <div class="row dialog-ways"><button type="button" class="button" onClick=${() => close(false)}>${strings.close}</button></div>`
    : html`<p class="small muted">${strings.order}</p>
      <div class="row dialog-ways">
        <button type="button" class="button" data-first onClick=${() => close(false)}>${strings.later}</button>
        <button type="button" class="button bad" onClick=${differ}>${strings.differ}</button>
        <button type="button" class="button primary" onClick=${same}>${strings.same}</button>
      </div>`}`)}<//>
  <//>`;
}

const compare = (id, name, set) => openDialog((close) => html`<${Compare} id=${id} name=${name} close=${close} set=${set} />`);

/** How it stands, in words, and the way to compare. */
export function KeyFact({ id, name, keys }) {
  const { data } = keys;
  if (!data) return html`<span class="muted">…</span>`;
  const now = data.offered ? 'offered' : !data.key ? 'none' : data.verified ? 'verified' : data.sealed ? 'sealed' : 'plain';
  return html`<span class="key-line"><span class="key-fact" data-key=${now}><${Icon} name=${now === 'verified' ? 'success' : 'key'} />${strings.facts[now]}</span>
    ${data.key && html` <button type="button" class="link" onClick=${() => compare(id, name, keys.set)}>${strings.compare}</button>`}</span>`;
}

/** Another key than before, on this side or seen by the other one. */
export function KeyNotice({ id, name, keys }) {
  const { data } = keys;
  const kind = data?.offered ? 'offered' : data?.replaced ? 'replaced' : data?.doubted ? 'doubted' : '';
  if (!kind) return null;
  const text = strings[`${kind}Text`];
  const seen = () => say(id, 'seen', data.offered || data.key, keys.set);
  return html`<div class="note warn stack-tight" role="alert">
    <h2>${strings[`${kind}Title`](name)}</h2>
    <p>${typeof text === 'function' ? text(name) : text}</p>
    <div class="row"><button type="button" class="button" onClick=${() => compare(id, name, keys.set)}><${Icon} name="key" />${kind === 'offered' ? strings.accept : strings.compare}</button>
      ${kind !== 'offered' && html`<button type="button" class="button quiet" onClick=${seen}>${strings.seen}</button>`}</div>
  </div>`;
}

/** Says it over whatever page is shown when a key is another one. */
export function followKeys() {
  const titles = { changed: strings.replacedTitle, offered: strings.offeredTitle, noticed: strings.doubtedTitle, plain: strings.plainTitle };
  listen(({ topic, payload, from }) => {
    if (topic !== 'mq:key' || from || !titles[payload.event]) return;
    const id = payload.peerID;
    const title = titles[payload.event](nameOf(id));
    toast(payload.event === 'plain' ? strings.plainText : title, { level: 'warning', title: payload.event === 'plain' ? title : '', stay: 8000, action: () => go(`/peer/${id}`) });
  });
}
