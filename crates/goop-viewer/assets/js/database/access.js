// Who may do what with a table: policies, roles, and what follows from them as the peer itself decides it.
// Offers: Rights, PolicyFields, AccessView.

import { post } from '../api.js';
import { confirm } from '../components/dialog.js';
import { Choice } from '../components/field.js';
import { Icon } from '../components/icon.js';
import { useLoad } from '../components/mount.js';
import { Failure } from '../components/states.js';
import { toast, toastError } from '../components/toast.js';
import { html, useEffect, useState } from '../../vendor/ui.js';

const strings = {
  policies: 'Policies',
  operations: { read: 'Read', insert: 'Add', update: 'Change', delete: 'Delete' },
  words: [['open', 'everybody'], ['group', 'members with a role'], ['owner', 'me; authors their own rows'], ['local', 'me alone'], ['', '(not said)']],
  /** A row that is not there yet has no author. */
  wordsOfInsert: { owner: 'me' },
  classicHint: 'This table has no schema. Everybody reads it unless it is local; who adds rows is said here.',
  insertPolicy: 'Who adds rows',
  roles: 'Roles',
  rolesHint: 'What members of this site’s group may do where a policy says “members with a role”.',
  role: 'Role',
  newRole: 'New role',
  addRole: 'Add role',
  dropRole: (role) => `Remove the role ${role}`,
  dropText: 'Members with this role may then do nothing that needs a role.',
  remove: 'Remove',
  may: (role, operation) => `${role}: ${operation}`,
  badRole: 'A role needs a name of its own',
  preview: 'What can a stranger do here?',
  previewHint: 'Answered by the same function that decides about every request. It shows what is typed above, saved or not.',
  who: 'Who',
  stranger: 'A stranger',
  member: (role) => `Member “${role}”`,
  owner: 'You',
  can: { all: 'yes', own: 'own rows', no: 'no' },
  save: 'Save access',
  saved: 'Access saved',
};

const wordsOf = (operation) => strings.words.map(([value, text]) => [value, (operation === 'insert' && strings.wordsOfInsert[value]) || text]);

export const OPERATIONS = ['read', 'insert', 'update', 'delete'];
/** What is meant where a schema does not say it. */
const followed = (policy) => ({ read: 'open', insert: policy || 'owner', update: 'owner', delete: 'owner' });
/** Milliseconds after a change before what follows from it is asked for. */
const PAUSE = 150;

/** What everybody may do, asked of the peer for the rules as they stand here. */
export function Rights({ table, access, roles }) {
  const [state, setState] = useState({ callers: null, error: null });
  const key = JSON.stringify([table, access, roles]);
  useEffect(() => {
    let here = true;
    const timer = setTimeout(() => {
      post('/api/data/tables/rights', { table: table || 'new', access, roles }).then(
        ({ callers }) => here && setState({ callers, error: null }),
        (error) => here && setState({ callers: null, error }),
      );
    }, PAUSE);
    return () => {
      here = false;
      clearTimeout(timer);
    };
  }, [key]);
  const name = ({ who, role }) => (who === 'member' ? strings.member(role) : strings[who]);
  return html`<section class="stack-tight">
    <h3>${strings.preview}</h3><p class="hint">${strings.previewHint}</p>
    ${state.error && html`<${Failure} error=${state.error} />`}
    ${state.callers && html`<div class="table-box" tabindex="0" role="region" aria-label=${strings.preview}><table class="table rights" aria-label=${strings.preview}>
      <thead><tr><th scope="col">${strings.who}</th>${OPERATIONS.map((word) => html`<th key=${word} scope="col">${strings.operations[word]}</th>`)}</tr></thead>
      <tbody>${state.callers.map((caller) => html`<tr key=${name(caller)}><th scope="row">${name(caller)}</th>
        ${OPERATIONS.map((word) => {
    const { can, why } = caller.rights[word];
    return html`<td key=${word} data-can=${can}><span class="right"><${Icon} name=${can === 'no' ? 'close' : 'check'} />${strings.can[can]}</span>${why && html`<span class="small muted">${why}</span>`}</td>`;
  })}</tr>`)}</tbody></table></div>`}
  </section>`;
}

/** The four policies. */
export const PolicyFields = ({ id, access, onChange }) => html`<div class="policy-fields">
  ${OPERATIONS.map((word) => html`<${Choice} key=${word} id=${`${id}-${word}`} label=${strings.operations[word]} value=${access[word] ?? ''} choices=${wordsOf(word).filter(([value]) => value !== '' || !access[word])}
    onChange=${(value) => onChange({ ...access, [word]: value })} />`)}
</div>`;

function Roles({ roles, onChange }) {
  const [name, setName] = useState('');
  const [error, setError] = useState('');
  function add(event) {
    event.preventDefault();
    const role = name.trim();
    if (!role || role === 'owner' || role in roles) {
      setError(strings.badRole);
      return;
    }
    onChange({ ...roles, [role]: { read: true } });
    setName('');
  }
  const drop = async (role) => {
    if (!await confirm({ title: strings.dropRole(role), text: strings.dropText, ok: strings.remove, bad: true })) return;
    const { [role]: gone, ...rest } = roles;
    onChange(rest);
  };
  return html`<section class="stack-tight">
    <h3>${strings.roles}</h3><p class="hint">${strings.rolesHint}</p>
    ${Object.keys(roles).length > 0 && html`<div class="table-box" tabindex="0" role="region" aria-label=${strings.roles}><table class="table designer" aria-label=${strings.roles}>
      <thead><tr><th scope="col">${strings.role}</th>${OPERATIONS.map((word) => html`<th key=${word} scope="col">${strings.operations[word]}</th>`)}<th scope="col"><span class="hidden">${strings.remove}</span></th></tr></thead>
      <tbody>${Object.entries(roles).map(([role, may]) => html`<tr key=${role}><th scope="row">${role}</th>
        ${OPERATIONS.map((word) => html`<td key=${word}><input type="checkbox" class="box" aria-label=${strings.may(role, strings.operations[word])} checked=${Boolean(may[word])}
          onChange=${(event) => onChange({ ...roles, [role]: { ...may, [word]: event.currentTarget.checked } })} /></td>`)}
        <td><button type="button" class="icon-button" aria-label=${strings.dropRole(role)} onClick=${() => drop(role)}><${Icon} name="trash" /></button></td></tr>`)}</tbody></table></div>`}
    <form class="row" onSubmit=${add}><input class="search" aria-label=${strings.newRole} placeholder=${strings.newRole} maxlength="64" value=${name} aria-invalid=${error ? 'true' : undefined} onInput=${(event) => { setName(event.currentTarget.value); setError(''); }} />
      <button type="submit" class="button"><${Icon} name="plus" />${strings.addRole}</button>${error && html`<p class="field-error" role="alert">${error}</p>`}</form>
  </section>`;
}

/** The access of one table. `info` is `{schema, policy}`; a classic table has no schema. */
export function AccessView({ table, info, onSaved }) {
  const stored = useLoad(async () => ({ access: info.schema?.access ?? followed(info.policy), roles: info.schema?.roles ?? {}, policy: info.policy }), [table, info]);
  const [edits, setEdits] = useState({});
  const [saving, setSaving] = useState(false);
  useEffect(() => setEdits({}), [table]);
  if (!stored.data) return null;
  const now = { ...stored.data, ...edits };
  const changed = Object.keys(edits).length > 0;
  async function save() {
    setSaving(true);
    try {
      if (edits.access) await post('/api/data/schemas/set-access', { name: table, access: now.access });
      if (edits.roles) await post('/api/data/schemas/set-roles', { name: table, roles: now.roles });
      if (edits.policy) await post('/api/data/tables/set-policy', { table, policy: now.policy });
      toast(strings.saved, { level: 'success' });
      setEdits({});
      onSaved();
    } catch (error) {
      toastError(error);
    }
    setSaving(false);
  }
  // A classic table's policies follow from one word.
  const classic = { read: now.policy === 'local' ? 'local' : 'open', insert: now.policy, update: now.policy === 'local' ? 'local' : 'owner', delete: now.policy === 'local' ? 'local' : 'owner' };
  return html`<div class="stack">
    ${info.schema ? html`<section class="stack-tight"><h3>${strings.policies}</h3>
      <${PolicyFields} id="access" access=${now.access} onChange=${(access) => setEdits({ ...edits, access })} /></section>
      <${Roles} roles=${now.roles} onChange=${(roles) => setEdits({ ...edits, roles })} />`
    : html`<${Choice} id="access-insert" label=${strings.insertPolicy} hint=${strings.classicHint} value=${now.policy} choices=${wordsOf('insert').filter(([value]) => value)} onChange=${(policy) => setEdits({ ...edits, policy })} />`}
    <div class="row"><button type="button" class="button primary" aria-disabled=${String(!changed || saving)} onClick=${() => changed && !saving && save()}>${strings.save}</button></div>
    <${Rights} table=${table} access=${info.schema ? (edits.access ?? info.schema.access) : classic} roles=${now.roles} />
  </div>`;
}
