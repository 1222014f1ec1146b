// The first minute: somebody whose peer still has the name every peer starts with is asked for a name and a picture.

import { post } from '../api.js';
import { loadSession } from '../session.js';
import { html, useState } from '../../vendor/ui.js';
import { Dialog, openDialog } from './dialog.js';
import { Text } from './field.js';
import { PictureButton } from './picture-dialog.js';
import { toast } from './toast.js';

const strings = {
  title: 'Welcome to Goop²',
  text: 'Your folder is online. Others on your network see it under your name, and only while this peer runs.',
  name: 'Your name',
  hint: 'Any name you like. It can be changed later on the page Me.',
  needed: 'Type a name, or choose “Later”.',
  picture: 'Choose a picture',
  optional: 'A picture is optional.',
  save: 'That is me',
  saving: 'Saving…',
  later: 'Later',
  done: 'Others see you under your name now.',
};

/** Remembers that "Later" was chosen, as long as the tab lives. */
const KEY = 'welcome-later';

function Welcome({ me, onClose }) {
  const [name, setName] = useState('');
  const [error, setError] = useState('');
  const [busy, setBusy] = useState(false);
  const [turn, setTurn] = useState(me.avatar_hash);
  async function save(event) {
    event.preventDefault();
    if (busy) return;
    if (!name.trim()) {
      setError(strings.needed);
      return;
    }
    setBusy(true);
    try {
      await post('/api/settings/quick', { label: name });
      loadSession().catch(() => {});
      toast(strings.done, { level: 'success' });
      onClose();
    } catch (failure) {
      setError(failure.message);
      setBusy(false);
    }
  }
  function later() {
    sessionStorage.setItem(KEY, 'yes');
    onClose();
  }
  return html`<${Dialog} title=${strings.title} onClose=${later} keep>
    <form class="stack" onSubmit=${save}>
      <p>${strings.text}</p>
      <${Text} id="welcome-name" label=${strings.name} hint=${strings.hint} error=${error} value=${name}
        onChange=${(text) => { setName(text); setError(''); }} input=${{ maxlength: 200, autocomplete: 'nickname', 'data-first': true }} />
      <div class="row"><img class="avatar large" src=${`/api/avatar?v=${turn}`} alt="" />
        <div><${PictureButton} text=${strings.picture} onDone=${() => setTurn(Date.now())} /><p class="hint">${strings.optional}</p></div></div>
      <div class="row dialog-ways">
        <button type="button" class="button" onClick=${later}>${strings.later}</button>
        <button type="submit" class="button primary" aria-disabled=${String(busy)}>${busy ? strings.saving : strings.save}</button>
      </div>
    </form>
  <//>`;
}

/** Asks, unless that was put off. */
export function welcome(me) {
  if (sessionStorage.getItem(KEY) !== 'yes') openDialog((close) => html`<${Welcome} me=${me} onClose=${close} />`);
}
