// Save/undo forms. Edits are kept apart from what is stored, only what differs is sent, and errors stand at their
// fields. Edits outlive the page they were made on, as long as the tab lives. Undo first drops edits; straight after a save it brings back what was before that save (one level).
// Offers: useForm, SaveBar.

import { html, useEffect, useRef, useState } from '../../vendor/ui.js';
import { Icon } from './icon.js';

const strings = {
  save: 'Save',
  saving: 'Saving…',
  undo: 'Undo',
  undoSave: 'Undo the last save',
  changed: (n) => (n === 1 ? 'One change is not saved' : `${n} changes are not saved`),
  wrong: (n) => (n === 1 ? 'One field needs a look' : `${n} fields need a look`),
  saved: 'Everything is saved',
};

/** Edits by the form's name. */
const drafts = new Map();

addEventListener('beforeunload', (event) => {
  if ([...drafts.values()].some((edits) => Object.keys(edits).length > 0)) event.preventDefault();
});

/** `name` names the form; `stored` maps a field's key to its value. `send(changes)` saves and throws an error whose `data.errors` are
 * `[{field, message}]`; `check(key, value)` gives what is wrong with a value before it is sent; `lost(key)` names
 * fields whose old value nobody knows, so that undo leaves them out. */
export function useForm({ name, stored, send, check = () => '', lost = () => false }) {
  const [edits, setEdits] = useState(() => drafts.get(name) ?? {});
  const [errors, setErrors] = useState({});
  const [problem, setProblem] = useState('');
  const [saving, setSaving] = useState(false);
  const [before, setBefore] = useState(null);
  const form = useRef(null);
  const dirty = Object.keys(edits).length;

  useEffect(() => { drafts.set(name, edits); }, [edits]);

  function set(key, value) {
    setEdits((old) => {
      const next = { ...old, [key]: value };
      // A number that is typed back to what it was is no change either.
      if (value !== null && String(value) === String(stored[key] ?? '')) delete next[key];
      return next;
    });
    setErrors(({ [key]: gone, ...rest }) => rest);
    setProblem('');
  }

  function show(found, text) {
    setErrors(found);
    setProblem(text);
    requestAnimationFrame(() => form.current?.querySelector('[aria-invalid="true"]')?.focus());
  }

  async function push(changes, undoTo) {
    setSaving(true);
    try {
      await send(changes);
      setEdits({});
      show({}, '');
      setBefore(undoTo);
    } catch (error) {
      const found = Object.fromEntries((error.data?.errors ?? []).map(({ field, message }) => [field, message]));
      const inForm = Object.keys(found).filter((key) => key in stored);
      const others = Object.entries(found).filter(([key]) => !(key in stored)).map(([key, text]) => `${key}: ${text}`);
      show(found, others.join(' ') || (inForm.length ? '' : error.message));
    }
    setSaving(false);
  }

  function submit(event) {
    event?.preventDefault();
    if (!dirty || saving) return;
    const found = Object.fromEntries(Object.entries(edits).map(([key, value]) => [key, check(key, value)]).filter(([, text]) => text));
    if (Object.keys(found).length) show(found, '');
    else push(edits, Object.fromEntries(Object.keys(edits).filter((key) => !lost(key)).map((key) => [key, stored[key]])));
  }

  function undo() {
    if (saving) return;
    if (dirty) {
      setEdits({});
      show({}, '');
    } else if (before) push(before, null);
  }

  const value = (key) => (key in edits ? edits[key] : stored[key]);
  const canUndo = dirty > 0 || (before !== null && Object.keys(before).length > 0);
  const wrong = Object.keys(errors).filter((key) => key in stored).length;
  return { value, set, edits, errors, problem: problem || (wrong > 0 ? strings.wrong(wrong) : ''), saving, dirty, submit, undo, canUndo, form };
}

/** Save and Undo, dimmed until something changes. Ctrl-S saves, too. A dimmed button keeps the focus of who just pressed it. */
export function SaveBar({ form }) {
  const state = form.problem || (form.dirty ? strings.changed(form.dirty) : form.canUndo ? strings.saved : '');
  return html`<div class="save-bar" data-dirty=${form.dirty > 0}>
    <p role="status" class=${form.problem ? 'field-error' : 'small muted'}>${form.problem && html`<${Icon} name="error" />`}${state}</p>
    <div class="row">
      <button type="button" class="button" aria-disabled=${String(!form.canUndo || form.saving)} onClick=${form.undo}><${Icon} name="undo" />${form.dirty || !form.canUndo ? strings.undo : strings.undoSave}</button>
      <button type="submit" class="button primary" aria-disabled=${String(!form.dirty || form.saving)}>${form.saving ? strings.saving : strings.save}</button>
    </div>
  </div>`;
}
