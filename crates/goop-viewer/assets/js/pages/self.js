// Me: name, picture, theme. What others see of this peer.

import { get, post, upload } from '../api.js';
import { setTheme } from '../app.js';
import { el, toast } from '../dom.js';

export const title = 'Me';

const strings = {
  heading: 'Me',
  site: 'Open my site',
  name: 'Name',
  email: 'E-mail (others see it)',
  save: 'Save',
  saved: 'Saved. Others see it now.',
  picture: 'Picture',
  choose: 'Choose a picture',
  remove: 'Remove it',
  hint: 'PNG, JPEG, GIF or WebP, at most 256 KB.',
  theme: 'Theme',
  themes: [['', 'as the system'], ['dark', 'dark'], ['light', 'light']],
  id: 'My peer id',
  version: 'Version',
};

export async function show(main) {
  const [me, session] = await Promise.all([get('/api/self'), get('/api/session')]);
  const say = (error) => toast(error.message);
  const name = el('input', { id: 'name', value: me.label, maxlength: 200, autocomplete: 'nickname' });
  const email = el('input', { id: 'email', value: me.email, maxlength: 320, type: 'email', autocomplete: 'email' });
  const form = el('form', { class: 'stack', onsubmit: (event) => {
    event.preventDefault();
    post('/api/settings/quick', { label: name.value, email: email.value }).then(() => toast(strings.saved)).catch(say);
  } },
    el('div', { class: 'field' }, el('label', { for: 'name' }, strings.name), name),
    el('div', { class: 'field' }, el('label', { for: 'email' }, strings.email), email),
    el('div', {}, el('button', { class: 'button primary' }, strings.save)));

  const image = el('img', { class: 'avatar large', src: `/api/avatar?v=${me.avatar_hash}`, alt: strings.picture });
  const reload = () => { image.src = `/api/avatar?v=${Date.now()}`; };
  const file = el('input', { id: 'file', type: 'file', accept: 'image/png,image/jpeg,image/gif,image/webp', onchange: () => {
    const data = new FormData();
    data.append('avatar', file.files[0]);
    upload('/api/avatar/upload', data).then(reload).catch(say);
  } });
  const theme = el('select', { id: 'theme', onchange: () => {
    setTheme(theme.value);
    if (theme.value) localStorage.setItem('theme', theme.value);
    else localStorage.removeItem('theme');
    if (theme.value) post('/api/settings/quick', { theme: theme.value }).catch(say);
  } }, strings.themes.map(([value, text]) => el('option', { value, selected: (localStorage.getItem('theme') ?? '') === value }, text)));

  main.replaceChildren(el('div', { class: 'stack' },
    el('div', { class: 'row spread' }, el('h1', {}, strings.heading),
      el('a', { class: 'button primary', href: session.site_url, target: '_blank', rel: 'noreferrer' }, strings.site)),
    el('section', { class: 'card stack' }, form),
    el('section', { class: 'card stack' }, el('h2', {}, strings.picture),
      el('div', { class: 'row' }, image,
        el('div', { class: 'field' }, el('label', { for: 'file' }, strings.choose), file, el('p', { class: 'small muted' }, strings.hint)),
        el('button', { class: 'button bad', type: 'button', onclick: () => post('/api/avatar/delete').then(reload).catch(say) }, strings.remove))),
    el('section', { class: 'card stack' },
      el('div', { class: 'field' }, el('label', { for: 'theme' }, strings.theme), theme),
      el('dl', { class: 'facts' },
        el('dt', {}, strings.id), el('dd', { class: 'mono' }, me.id),
        el('dt', {}, strings.version), el('dd', {}, session.version)))));
}
