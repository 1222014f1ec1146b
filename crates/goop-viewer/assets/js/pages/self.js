// Me: who I am to others, and every setting of this peer. The pages of a rendezvous server alone show what counts for it
// (viewer-pages.md 14).

import { download, get, post, upload } from '../api.js';
import { plain, size } from '../format.js';
import { restart, wait, waiting } from '../restart.js';
import { loadSession, serverAlone, session, setTheme, theme } from '../session.js';
import { Contents } from '../components/contents.js';
import { confirm } from '../components/dialog.js';
import { Device } from '../components/device.js';
import { Choice, Secret, Switch, Text } from '../components/field.js';
import { SaveBar, useForm } from '../components/form.js';
import { Icon } from '../components/icon.js';
import { copyText, mount, useListener, useLoad } from '../components/mount.js';
import { PathField } from '../components/path-picker.js';
import { PictureButton } from '../components/picture-dialog.js';
import { Progress } from '../components/progress.js';
import { SPLASHES, Splash } from '../components/splash.js';
import { SplitPane } from '../components/split-pane.js';
import { Loaded, Offline } from '../components/states.js';
import { toast, toastError } from '../components/toast.js';
import { html, useEffect, useRef, useState } from '../../vendor/ui.js';
import { Standing } from '../components/standing.js';
import { check, fields, sections as all } from './self-fields.js';

export const title = serverAlone ? 'Settings' : 'Me';
export const broad = true;
export const alone = true;

const strings = {
  heading: title,
  settings: 'Settings',
  site: 'Open my site',
  dashboard: 'Open dashboard',
  alone: 'Running in rendezvous-only mode',
  aloneText: 'This folder runs a server that introduces peers, and nothing else: it has no site, and it meets nobody itself. Settings of a peer show when the folder runs as one.',
  noEmail: 'no e-mail set',
  picture: 'My picture',
  change: 'Change picture',
  remove: 'Remove picture',
  removed: 'Your picture is gone; your initials are shown.',
  changed: 'Others see your new picture now.',
  copyId: 'Copy peer id',
  copiedId: 'Peer id copied',
  id: 'Peer id',
  version: 'Version',
  paths: serverAlone ? { folder: 'Folder of this server', config: 'Settings file' } : { folder: 'Folder of this peer', config: 'Settings file', site: 'Folder of the site' },
  template: 'Active template',
  saved: 'Saved.',
  copy: 'Copy',
  copied: 'Copied',
  none: 'none',
  look: 'Look',
  lookText: 'Applies at once, in this browser.',
  theme: 'Theme',
  themes: [['', 'as the system'], ['dark', 'dark'], ['light', 'light']],
  sections: 'Sections of the settings',
  restartTitle: (n) => (n === 1 ? 'One setting waits for a restart' : `${n} settings wait for a restart`),
  restartText: serverAlone ? 'A restart takes a few seconds. Peers come back by themselves.' : 'A restart takes a few seconds. Visitors of your site notice it.',
  restart: 'Restart now',
  restarting: 'Restarting…',
  restarted: `Your ${serverAlone ? 'server' : 'peer'} runs with the new settings.`,
  data: 'Data',
  dataText: 'Your site as one file, its database with it.',
  export: 'Export the site',
  exporting: (bytes, total) => (total ? `Exporting: ${size(bytes)} of ${size(total)}` : `Exporting: ${size(bytes)}`),
  exported: 'The export is among your downloads.',
  exportName: 'goop2-site.zip',
  exportHint: 'Makes a .zip file of everything in the site, with every row of its tables.',
  import: 'Import a site',
  importHint: 'Takes a .zip file that was exported before.',
  importTitle: 'Replace your site?',
  importText: (name) => `Everything in your site is replaced by what is in “${name}”. A backup of what is there now is kept.`,
  importOk: 'Replace it',
  tablesTitle: 'Replace tables, too?',
  tablesText: (tables) => `These tables are replaced with all their rows: ${Object.entries(tables).map(([name, rows]) => `${name} (${rows === 1 ? 'one row' : `${rows} rows`})`).join(', ')}. A copy of your database is kept with the backup.`,
  importing: 'Importing…',
  imported: (files, tables, backup) => `${files === 1 ? 'One file was' : `${files} files were`} imported${rowsOf(tables)}. What was there before is in ${backup}.`,
};

/** How many rows came, in words; nothing where no tables did. */
function rowsOf(tables) {
  const counts = Object.values(tables);
  const rows = counts.reduce((sum, count) => sum + count, 0);
  return counts.length ? ` with ${counts.length === 1 ? 'one table' : `${counts.length} tables`} and ${rows === 1 ? 'one row' : `${rows} rows`}` : '';
}

/** The sections of the form. */
const sections = serverAlone ? all.filter((section) => section.server) : all;
/** Sections that are no part of the settings form. */
const EXTRA = serverAlone ? { look: strings.look } : { look: strings.look, data: strings.data };
const contents = (value) => [
  ...sections.filter((section) => !section.when || section.when(value)).map(({ id, title: text }) => ({ id, text })),
  ...Object.entries(EXTRA).map(([id, text]) => ({ id, text })),
];

function Card({ me, paths, template, again }) {
  const [turn, setTurn] = useState(me.avatar_hash || 'none');
  const renew = (text) => {
    setTurn(Date.now());
    toast(text, { level: 'success' });
  };
  const remove = () => post('/api/avatar/delete').then(() => renew(strings.removed), toastError);
  return html`<section class="card cover stack me-card">
    <div class="row identity">
      <img class="avatar huge" src=${`/api/avatar?v=${turn}`} alt=${strings.picture} />
      <div class="who stack-tight"><p class="me-name few-lines" title=${plain(me.label)}>${plain(me.label)}</p><p class="muted few-lines">${me.email || strings.noEmail}</p>
        <div class="row actions-grid"><${PictureButton} text=${strings.change} onDone=${() => { renew(strings.changed); again(); }} />
          <button type="button" class="button quiet bad" onClick=${remove}>${strings.remove}</button></div></div>
    </div>
    <dl class="facts">
      ${me.id && html`<dt>${strings.id}</dt><dd class="mono"><button type="button" class="link mono" title=${strings.copyId} aria-label=${`${strings.copyId}: ${me.id}`} onClick=${() => copyText(me.id, strings.copiedId)}>${me.id}<${Icon} name="copy" /></button></dd>`}
      ${paths && Object.entries(strings.paths).map(([name, text]) => paths[name] && html`<dt key=${`${name}-t`}>${text}</dt><dd key=${name} class="mono">${paths[name]}</dd>`)}
      ${template && html`<dt>${strings.template}</dt><dd>${template}</dd>`}
      <dt>${strings.version}</dt><dd>${session.value?.version}</dd>
    </dl>
  </section>`;
}

/** Says what waits for a restart, and restarts. */
function Restart({ onDone }) {
  const box = useRef(null);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState('');
  if (waiting.value.length === 0 && !busy) return null;
  async function act() {
    setBusy(true);
    setError('');
    try {
      await restart();
      toast(strings.restarted, { level: 'success' });
      onDone();
    } catch (failure) {
      setError(failure.message);
      setBusy(false);
      return;
    }
    // The button that was pressed goes with what waited; whoever stood on it goes on at the beginning of the page.
    const stood = box.current?.contains(document.activeElement);
    setBusy(false);
    if (stood) document.getElementById('main').focus({ preventScroll: true });
  }
  return html`<section ref=${box} class="note warn stack-tight waiting" aria-label=${strings.restart}>
    <div class="row spread"><div><strong>${strings.restartTitle(waiting.value.length)}</strong><p class="small">${strings.restartText}</p></div>
      <button type="button" class="button" aria-disabled=${String(busy)} onClick=${() => busy || act()}><${Icon} name="restart" />${strings.restart}</button></div>
    ${busy && html`<${Progress} label=${strings.restarting} />`}
    ${error && html`<p class="field-error" role="alert">${error}</p>`}
  </section>`;
}

/** Three pictures to choose from. */
const Pictures = ({ id, label, value, onChange }) => html`<fieldset class="pictures"><legend class="hidden">${label}</legend>
  ${SPLASHES.map(([file, name]) => html`<label key=${file} class="picture"><input type="radio" name=${id} value=${file} checked=${value === file} onChange=${() => onChange(file)} />
    <${Splash} name=${file} /><span class="small">${name}</span></label>`)}
</fieldset>`;

const Fixed = ({ label, value }) => html`<div class="field"><p class="field-head"><strong>${label}</strong></p>
  <p class="mono">${value || strings.none}${' '}${value && html`<button type="button" class="link" aria-label=${`${strings.copy}: ${label}`} onClick=${() => copyText(value, strings.copied)}>${strings.copy}</button>`}</p></div>`;

/** One field of the form. */
function Setting({ field, form, secrets }) {
  const { key, kind } = field;
  const off = Boolean(field.needs) && !form.value(field.needs);
  const common = {
    id: field.id ?? key.replace('.', '-'), label: field.label, hint: field.hint, error: form.errors[key], restart: field.restart,
    pending: waiting.value.includes(key), value: form.value(key), onChange: (value) => form.set(key, value),
  };
  const input = { maxlength: field.max && kind === 'text' ? field.max : undefined, autocomplete: field.autocomplete ?? 'off', placeholder: field.placeholder, disabled: off };
  if (kind === 'fixed') return html`<${Fixed} label=${field.label} value=${form.value(key)} />`;
  if (kind === 'picture') return html`<${Pictures} ...${common} />`;
  if (kind === 'folder') return html`<${PathField} ...${common} value=${common.value ?? ''} input=${input} />`;
  if (kind === 'device') return html`<${Device} ...${common} value=${common.value ?? ''} of=${field.of} />`;
  if (kind === 'switch') return html`<${Switch} ...${common} value=${Boolean(common.value)} disabled=${off} />`;
  if (kind === 'secret') return html`<${Secret} ...${common} isSet=${Boolean(secrets[key])} generate=${field.generate} input=${{ disabled: off }} />`;
  const number = kind === 'number';
  return html`<${Text} ...${common} value=${common.value ?? ''} type=${number ? 'text' : field.type === 'email' ? 'email' : 'text'} input=${number ? { ...input, inputmode: 'numeric', class: 'short' } : input} />`;
}

const Section = ({ id, heading, text, children }) => html`<section class="card stack" id=${id} aria-labelledby=${`${id}-title`}>
  <div><h2 id=${`${id}-title`}>${heading}</h2>${text && html`<p class="small muted">${text}</p>`}</div>${children}</section>`;

function Look() {
  return html`<${Section} id="look" heading=${strings.look} text=${strings.lookText}>
    <${Choice} id="theme" label=${strings.theme} choices=${strings.themes} value=${theme.value} onChange=${(name) => setTheme(name).catch(toastError)} /><//>`;
}

function Data() {
  const [busy, setBusy] = useState(null);
  const [note, setNote] = useState(null);
  const input = useRef(null);
  async function run(work) {
    setNote(null);
    try {
      const text = await work();
      setNote(text ? { text } : null);
    } catch (error) {
      setNote({ text: error.message, bad: true });
    }
    setBusy(null);
  }
  const exportSite = () => run(async () => {
    setBusy({ label: strings.exporting(0, 0) });
    const { blob, name } = await download('/api/site/export', (bytes, total) => setBusy({ label: strings.exporting(bytes, total), value: total ? bytes / total : undefined }));
    const anchor = document.createElement('a');
    anchor.href = URL.createObjectURL(blob);
    anchor.download = name || strings.exportName;
    anchor.click();
    setTimeout(() => URL.revokeObjectURL(anchor.href), 60_000);
    return strings.exported;
  });
  async function importSite() {
    const [file] = input.current.files;
    input.current.value = '';
    if (!file || !await confirm({ title: strings.importTitle, text: strings.importText(file.name), ok: strings.importOk, bad: true })) return;
    run(async () => {
      setBusy({ label: strings.importing, value: 0 });
      const form = new FormData();
      form.append('file', file);
      const send = (path) => upload(path, form, (part) => setBusy({ label: strings.importing, value: part < 1 ? part : undefined }));
      const { files, tables, backup } = await send('/api/site/import').catch(async (failure) => {
        const replaced = failure.status === 409 && failure.data?.tables;
        if (!replaced) throw failure;
        if (!await confirm({ title: strings.tablesTitle, text: strings.tablesText(replaced), ok: strings.importOk, bad: true })) return {};
        return send('/api/site/import?replace=true');
      });
      return backup ? strings.imported(files, tables, backup) : '';
    });
  }
  return html`<${Section} id="data" heading=${strings.data} text=${strings.dataText}>
    <div class="row ways">
      <div><button type="button" class="button" aria-disabled=${String(Boolean(busy))} onClick=${() => busy || exportSite()}><${Icon} name="download" />${strings.export}</button><p class="hint">${strings.exportHint}</p></div>
      <div><button type="button" class="button" aria-disabled=${String(Boolean(busy))} onClick=${() => busy || input.current.click()}><${Icon} name="upload" />${strings.import}</button><p class="hint">${strings.importHint}</p>
        <input ref=${input} type="file" accept=".zip,application/zip" hidden onChange=${importSite} /></div>
    </div>
    ${busy && html`<${Progress} ...${busy} />`}
    ${note && html`<p class=${note.bad ? 'note bad' : 'note'} role=${note.bad ? 'alert' : 'status'}>${note.text}</p>`}
  <//>`;
}

const flat = (sectionsOf) => Object.fromEntries(Object.entries(sectionsOf).flatMap(([section, values]) =>
  Object.entries(values).map(([name, value]) => [`${section}.${name}`, value])));

/** What a change takes along: without a server there is nothing to run alone, and one that runs alone is one. */
function whole(changes) {
  if (changes['presence.rendezvous_host'] === false) return { ...changes, 'presence.rendezvous_only': false };
  if (changes['presence.rendezvous_only'] === true) return { ...changes, 'presence.rendezvous_host': true };
  return changes;
}

/** Edits as the API takes them: by section, numbers as numbers. */
function nested(changes) {
  const out = {};
  for (const [key, value] of Object.entries(whole(changes))) {
    const [section, name] = key.split('.');
    out[section] ??= {};
    out[section][name] = fields.get(key)?.kind === 'number' ? Number(value) : value;
  }
  return out;
}

/** An error of the API whose texts name fields as the form does. */
function worded(error) {
  for (const item of error.data?.errors ?? []) {
    item.message = item.message.replace(/\b[a-z0-9]+\.[a-z_]+\b/g, (key) => (fields.has(key) ? `“${fields.get(key).label}”` : key));
  }
  return error;
}

function Settings({ settings, again }) {
  const { secrets = {} } = settings;
  // A field that this peer does not have in goop.json is left out of the form.
  const stored = flat(settings.sections);
  async function send(changes) {
    const answer = await post('/api/settings', nested(changes)).catch((error) => { throw worded(error); });
    wait(answer?.restart ?? []);
    await again();
    loadSession().catch(() => {});
    toast(strings.saved, { level: 'success' });
  }
  const form = useForm({ name: 'settings', stored, send, check, lost: (key) => key in secrets });
  useListener(window, 'keydown', (event) => {
    if (event.key !== 's' || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    form.submit();
  });
  const shown = sections.filter((section) => !section.when || section.when(form.value));
  return html`<${SplitPane} name="settings" initial=${22} min=${14} max=${40}
    left=${html`<${Contents} list=${contents(form.value)} label=${strings.sections} />`}
    right=${html`<div class="stack" id="settings">
      <${Restart} onDone=${again} />
      <form class="stack" ref=${form.form} onSubmit=${form.submit} noValidate aria-label=${strings.settings}>
        ${shown.map((section) => html`<${Section} key=${section.id} id=${section.id} heading=${section.title} text=${section.text}>
          ${section.fields.filter((field) => field.key in stored && (!serverAlone || field.server !== false) && (!field.when || field.when(form.value)))
    .map((field) => html`<${Setting} key=${field.key} field=${field} form=${form} secrets=${secrets} />`)}
          ${section.id === 'rendezvous' && html`<${Standing} />`}<//>`)}
        <${SaveBar} form=${form} />
      </form>
      <${Look} />${!serverAlone && html`<${Data} />`}
    </div>`} />`;
}

function Me() {
  const settings = useLoad(() => get('/api/settings'));
  return html`<div class="stack">
    <div class="row spread"><h1>${strings.heading}</h1>
      <a class="button primary" href=${session.value?.site_url} target="_blank" rel="noreferrer"><${Icon} name="out" />${serverAlone ? strings.dashboard : strings.site}</a></div>
    <${Offline} />
    ${serverAlone && html`<div class="note stack-tight" role="note"><strong>${strings.alone}</strong><p class="small">${strings.aloneText}</p></div>`}
    <${Loaded} from=${settings}>${(data) => html`
      <${Card} me=${data.me} paths=${data.paths} template=${serverAlone ? '' : data.sections.viewer?.active_template} again=${settings.again} />
      <${Settings} settings=${data} again=${settings.again} />`}<//>
  </div>`;
}

export const show = (main) => mount(main, html`<${Me} />`);
